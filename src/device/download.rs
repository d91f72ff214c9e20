//! One download: requests, resumption, what is transient and what is permanent (protocol, section 5).
//!
//! Bytes for the secondary slot are collected to pages; bytes for the application are counted and dropped. Offsets live in RAM only.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::model::{FailureReason, RetryReason, Secret};
use crate::time::SimTime;
use crate::wire::{DownloadError, DownloadRequest, ImageHead, ImagePrint, ImageUrl};

/// What one request may take (protocol 5.5).
pub(super) const REQUEST_BUDGET: Duration = Duration::from_secs(120);

/// A download from its first request to its last byte.
#[derive(Debug)]
pub(super) struct Download {
    target: ImageUrl,
    secret: Secret,
    /// Bytes received, and the size of the image once it is known.
    offset: u64,
    total: Option<u64>,
    /// Transient failures so far; the ceiling of the waits grows over the whole download.
    failures: u32,
    /// Why the last request failed.
    last: RetryReason,
    request: Request,
    /// Bytes received and not yet handed to flash.
    page: Vec<Bytes>,
    buffered: u32,
    /// Bytes that may still be delivered.
    credit: u32,
    /// What was handed to flash or to the application.
    handed: ImagePrint,
    /// Takes any range for the one asked for: a defect.
    trusting: bool,
}

/// The request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// None: waits.
    Waiting { until: SimTime },
    /// No answer yet.
    Asked { until: SimTime, offset: u64 },
    /// A good answer has come.
    Answered { until: SimTime, offset: u64 },
    /// None: the application has paused it.
    Suspended,
    /// Every byte has come.
    Finished,
}

/// What news of a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Go on.
    Fine,
    /// Wait, then ask again.
    Transient(RetryReason, FailureReason),
    /// Give up.
    Permanent(FailureReason),
}

impl Download {
    /// A download that has not asked yet.
    pub(super) fn new(target: ImageUrl, secret: Secret) -> Download {
        Download {
            target,
            secret,
            offset: 0,
            total: None,
            failures: 0,
            last: RetryReason::Connect,
            request: Request::Waiting { until: SimTime::ZERO },
            page: Vec::new(),
            buffered: 0,
            credit: 0,
            handed: ImagePrint::default(),
            trusting: false,
        }
    }

    /// Does not look at ranges: a defect.
    pub(super) fn trust_ranges(&mut self) {
        self.trusting = true;
    }

    /// Goes on at another host: a defect.
    pub(super) fn follow_to(&mut self, host: &str) {
        self.target.host = host.to_owned();
    }

    /// Begins a request for what is missing.
    pub(super) fn ask(&mut self, now: SimTime) -> DownloadRequest {
        self.request = Request::Asked {
            until: now + REQUEST_BUDGET,
            offset: self.offset,
        };
        self.credit = 0;
        DownloadRequest {
            target: self.target.clone(),
            secret: self.secret.clone(),
            offset: self.offset,
        }
    }

    /// Status and headers; with whether the request was ranged, where an answer was awaited.
    pub(super) fn on_answer(&mut self, head: &ImageHead) -> Option<(News, bool)> {
        let Request::Asked { until, offset } = self.request else {
            return None;
        };
        let ranged = offset > 0;
        let status = FailureReason::Status(head.status);
        let news = match head.status {
            500.. => News::Transient(RetryReason::Status, status),
            200 if !ranged => {
                self.total = head.content_length;
                News::Fine
            }
            206 if ranged => self.judge_range(head),
            _ => News::Permanent(status),
        };
        if news == News::Fine {
            self.request = Request::Answered { until, offset };
        }
        Some((news, ranged))
    }

    fn judge_range(&mut self, head: &ImageHead) -> News {
        let sound = head.content_range.filter(|range| {
            let whole = range.total > 0 && range.last == range.total - 1;
            let fits = whole && range.first == self.offset && self.total.is_none_or(|total| total == range.total);
            fits || self.trusting
        });
        match sound {
            Some(range) => {
                self.total = Some(range.total);
                News::Fine
            }
            None => News::Permanent(FailureReason::Download),
        }
    }

    /// Body bytes; `keep` those that go to flash.
    pub(super) fn on_body(&mut self, bytes: Bytes, keep: bool) {
        if !matches!(self.request, Request::Answered { .. }) {
            return;
        }
        let len = bytes.len() as u32;
        self.credit = self.credit.saturating_sub(len);
        self.offset += u64::from(len);
        if !keep {
            self.handed.add(&bytes);
        } else if len > 0 {
            self.buffered += len;
            self.page.push(bytes);
        }
    }

    /// The announced length has come.
    pub(super) fn on_finished(&mut self) -> News {
        match self.request {
            Request::Answered { .. } if self.total.is_some_and(|total| self.offset < total) => {
                News::Transient(RetryReason::Reset, FailureReason::Download)
            }
            Request::Answered { .. } => {
                self.request = Request::Finished;
                News::Fine
            }
            Request::Asked { .. } | Request::Waiting { .. } | Request::Suspended | Request::Finished => News::Fine,
        }
    }

    /// The connection was closed in good order before any answer. Zephyr's client takes that for an empty success (protocol 5.3), which
    /// lacks a range where one was asked for; without that quirk it is a reset.
    pub(super) fn on_closed(&mut self, is_success: bool) -> News {
        match self.request {
            Request::Asked { offset: 0, .. } if is_success => {
                self.request = Request::Finished;
                News::Fine
            }
            Request::Asked { .. } if is_success => News::Permanent(FailureReason::Download),
            Request::Asked { .. } | Request::Answered { .. } => self.on_broken(DownloadError::Reset),
            Request::Waiting { .. } | Request::Suspended | Request::Finished => News::Fine,
        }
    }

    /// The application pauses it: no request runs, and none is due.
    pub(super) fn suspend(&mut self) {
        self.request = match self.total == Some(self.offset) {
            true => Request::Finished,
            false => Request::Suspended,
        };
    }

    /// True while the application has paused it.
    pub(super) fn is_suspended(&self) -> bool {
        self.request == Request::Suspended
    }

    /// No more will come.
    pub(super) fn on_broken(&mut self, error: DownloadError) -> News {
        let progressed = match self.request {
            Request::Answered { .. } if self.total == Some(self.offset) => {
                self.request = Request::Finished;
                return News::Fine;
            }
            Request::Answered { offset, .. } => self.offset > offset,
            Request::Asked { .. } => false,
            Request::Waiting { .. } | Request::Suspended | Request::Finished => return News::Fine,
        };
        let failure = FailureReason::Download;
        match error {
            DownloadError::Unreachable | DownloadError::Refused => News::Transient(RetryReason::Connect, failure),
            DownloadError::Reset => News::Transient(RetryReason::Reset, failure),
            DownloadError::TimedOut => News::Transient(RetryReason::Timeout, failure),
            DownloadError::Malformed | DownloadError::Aborted if progressed => News::Transient(RetryReason::Aborted, failure),
            DownloadError::Malformed | DownloadError::Aborted | DownloadError::Tls => News::Permanent(failure),
        }
    }

    /// Counts a failure; the number of them.
    pub(super) fn fail(&mut self, reason: RetryReason) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.last = reason;
        self.failures
    }

    /// Waits for the next request.
    pub(super) fn wait(&mut self, until: SimTime) {
        self.request = Request::Waiting { until };
    }

    /// When the next request is due.
    pub(super) fn retries_at(&self) -> Option<SimTime> {
        match self.request {
            Request::Waiting { until } => Some(until),
            Request::Asked { .. } | Request::Answered { .. } | Request::Suspended | Request::Finished => None,
        }
    }

    /// When the request that is made now was due: at the end of the wait before it, if there was one.
    pub(super) fn due(&self, now: SimTime) -> SimTime {
        let waited = self.retries_at().filter(|until| *until > SimTime::ZERO);
        waited.map_or(now, |until| until.min(now))
    }

    /// When the budget of the request is used up.
    pub(super) fn budget_ends(&self) -> Option<SimTime> {
        match self.request {
            Request::Asked { until, .. } | Request::Answered { until, .. } => Some(until),
            Request::Waiting { .. } | Request::Suspended | Request::Finished => None,
        }
    }

    /// True while a request runs.
    pub(super) fn is_asking(&self) -> bool {
        self.budget_ends().is_some()
    }

    /// True while a good answer is being read.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.request, Request::Answered { .. })
    }

    /// True once every byte has come and was handed on.
    pub(super) fn is_complete(&self) -> bool {
        self.request == Request::Finished && self.buffered == 0
    }

    /// Bytes to allow so that `room` is filled; zero while some are still to come.
    pub(super) fn grant(&mut self, room: u32) -> u32 {
        let bytes = room.saturating_sub(self.buffered);
        if !self.is_reading() || self.credit > 0 {
            return 0;
        }
        self.credit = bytes;
        bytes
    }

    /// Reads the next page, which is at the front of `body`, and hands it on at once; with its position in the image. `None`, and nothing
    /// is read, where something was read before and not handed on, or is still to come.
    pub(super) fn read_page(&mut self, body: &mut Bytes, page_size: u32) -> Option<(u64, Bytes)> {
        if !self.is_reading() || self.buffered > 0 || self.credit > 0 {
            return None;
        }
        let start = self.offset;
        let bytes = body.split_to(page_size as usize);
        self.offset += u64::from(page_size);
        self.handed.add(&bytes);
        Some((start, bytes))
    }

    /// The next page and its position in the image, once it is full or the last.
    pub(super) fn take_page(&mut self, page_size: u32) -> Option<(u64, Bytes)> {
        let all = self.request == Request::Finished || self.total == Some(self.offset);
        if self.buffered == 0 || self.buffered < page_size && !all {
            return None;
        }
        let start = self.offset - u64::from(self.buffered);
        let len = self.buffered.min(page_size) as usize;
        self.buffered -= len as u32;
        let bytes = self.take_bytes(len);
        self.handed.add(&bytes);
        Some((start, bytes))
    }

    /// The first `len` bytes buffered; copied only where they came in more than one piece.
    fn take_bytes(&mut self, len: usize) -> Bytes {
        if self.page[0].len() >= len {
            let first = self.page[0].split_to(len);
            if self.page[0].is_empty() {
                self.page.remove(0);
            }
            return first;
        }
        let mut joined = BytesMut::with_capacity(len);
        while joined.len() < len {
            let take = self.page[0].len().min(len - joined.len());
            joined.extend_from_slice(&self.page[0].split_to(take));
            if self.page[0].is_empty() {
                self.page.remove(0);
            }
        }
        joined.freeze()
    }

    /// What was handed to flash or to the application so far.
    pub(super) fn handed(&self) -> ImagePrint {
        self.handed
    }

    /// Bytes received, and the size of the image once it is known.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        (self.offset, self.total)
    }

    /// Bytes received that are not written yet.
    pub(super) fn buffered(&self) -> u64 {
        u64::from(self.buffered)
    }

    /// Failures so far, and the last one.
    pub(super) fn trouble(&self) -> (u32, RetryReason) {
        (self.failures, self.last)
    }

    /// First byte of the request under way.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ContentRange;

    fn download(offset: u64) -> Download {
        let target = ImageUrl {
            tls: true,
            host: "images".into(),
            port: 443,
            path: "/a/1/0".into(),
        };
        let mut download = Download::new(target, Secret::new("secret").unwrap());
        download.ask(SimTime::ZERO);
        if offset > 0 {
            download.on_answer(&head(200, None));
            download.on_body(Bytes::from(vec![1; offset as usize]), true);
            download.on_broken(DownloadError::Reset);
            download.ask(SimTime::ZERO);
        }
        download
    }

    fn head(status: u16, range: Option<(u64, u64, u64)>) -> ImageHead {
        ImageHead {
            status,
            content_length: Some(100),
            content_range: range.map(|(first, last, total)| ContentRange { first, last, total }),
        }
    }

    #[test]
    fn statuses_are_judged_as_the_protocol_says() {
        for status in [201, 204, 206, 301, 302, 400, 401, 403, 404, 416, 429, 499] {
            let news = download(0).on_answer(&head(status, None));
            assert_eq!(news, Some((News::Permanent(FailureReason::Status(status)), false)));
        }
        for status in [500, 503, 599] {
            for offset in [0, 10] {
                let (news, _) = download(offset).on_answer(&head(status, None)).unwrap();
                assert_eq!(news, News::Transient(RetryReason::Status, FailureReason::Status(status)));
            }
        }
        let news = download(10).on_answer(&head(200, None));
        assert_eq!(news, Some((News::Permanent(FailureReason::Status(200)), true)));
    }

    #[test]
    fn a_wrong_content_range_is_permanent() {
        assert_eq!(
            download(10).on_answer(&head(206, Some((10, 99, 100)))),
            Some((News::Fine, true))
        );
        for range in [
            None,
            Some((0, 99, 100)),
            Some((10, 98, 100)),
            Some((10, 99, 101)),
            Some((10, 100, 101)),
            Some((10, 0, 0)),
        ] {
            let news = download(10).on_answer(&head(206, range));
            assert_eq!(news, Some((News::Permanent(FailureReason::Download), true)), "{range:?}");
        }
    }

    #[test]
    fn malformed_answers_are_transient_only_after_a_byte_of_this_request() {
        let permanent = News::Permanent(FailureReason::Download);
        for error in [DownloadError::Malformed, DownloadError::Aborted] {
            assert_eq!(download(0).on_broken(error), permanent);
            assert_eq!(download(10).on_broken(error), permanent);
            let mut begun = download(10);
            begun.on_answer(&head(206, Some((10, 99, 100))));
            begun.on_body(Bytes::from_static(b"x"), true);
            assert_eq!(
                begun.on_broken(error),
                News::Transient(RetryReason::Aborted, FailureReason::Download)
            );
        }
        assert_eq!(download(0).on_broken(DownloadError::Tls), permanent);
    }

    #[test]
    fn a_request_closed_before_its_first_byte_is_an_empty_success_unless_ranged() {
        let mut first = download(0);
        assert_eq!(first.on_closed(true), News::Fine);
        assert!(first.is_complete());
        assert_eq!(download(10).on_closed(true), News::Permanent(FailureReason::Download));
        let reset = News::Transient(RetryReason::Reset, FailureReason::Download);
        assert_eq!(
            [0, 10].map(|offset| download(offset).on_closed(false)),
            [reset, reset],
            "without the quirk"
        );
    }

    #[test]
    fn pages_are_cut_from_pieces_of_any_size() {
        let mut download = download(0);
        download.on_answer(&head(200, None));
        for chunk in (0..100u8).collect::<Vec<_>>().chunks(7) {
            download.on_body(Bytes::copy_from_slice(chunk), true);
        }
        let mut image = Vec::new();
        while let Some((at, page)) = download.take_page(32) {
            assert_eq!(at, image.len() as u64);
            image.extend_from_slice(&page);
        }
        assert_eq!(image, (0..100).collect::<Vec<u8>>());
        assert!(!download.is_complete());
        assert_eq!(download.on_finished(), News::Fine);
        assert!(download.is_complete());
    }
}
