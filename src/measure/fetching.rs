//! One artifact on its way to one device: what was asked for, what has come, and what of it came for nothing.

use std::time::Duration;

use crate::model::{AttemptId, RetryReason};
use crate::time::SimTime;

/// Bytes a second; none where it took no time.
pub(super) fn rate(bytes: u64, took: Duration) -> Option<u64> {
    let rate = (u128::from(bytes) * 1_000_000_000).checked_div(took.as_nanos())?;
    u64::try_from(rate).ok()
}

/// Why a download goes on or begins again after power was lost.
pub(super) const POWER: &str = "power";

/// What bytes are for: the image, everything around it, and of the image what had to come again.
pub(super) const BYTE_KINDS: &[&str] = &["image", "protocol", "wasted"];

/// An artifact that a device fetches.
#[derive(Clone, Debug)]
pub(super) struct Fetching {
    attempt: AttemptId,
    index: u8,
    /// When it was first asked for.
    since: Option<SimTime>,
    /// Bytes of it that have come and were not lost.
    received: u64,
    /// A byte of it has come at some time.
    began: bool,
    /// Why the next request is not the first.
    why: &'static str,
    request: Option<Request>,
}

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// When it was due.
    pub(super) due: SimTime,
    /// When it was sent.
    pub(super) sent: SimTime,
    /// Whether it asks for a Range.
    pub(super) ranged: bool,
    /// Status of its answer.
    pub(super) code: Option<u16>,
}

/// What a request is, beside the first of its artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It goes on by Range.
    Resume(&'static str),
    /// It begins again at byte 0; so many bytes had come for nothing.
    Restart(&'static str, u64),
}

impl Fetching {
    pub(super) fn new(attempt: AttemptId, index: usize) -> Fetching {
        Fetching {
            attempt,
            index: index as u8,
            since: None,
            received: 0,
            began: false,
            why: POWER,
            request: None,
        }
    }

    pub(super) fn is_of(&self, attempt: AttemptId, index: usize) -> bool {
        (self.attempt, usize::from(self.index)) == (attempt, index)
    }

    /// A request was sent, which had been due at a moment before or then.
    pub(super) fn asked(&mut self, sent: SimTime, offset: u64, due: SimTime) -> Option<Again> {
        self.since = self.since.or(Some(due));
        self.request = Some(Request {
            due,
            sent,
            ranged: offset > 0,
            code: None,
        });
        if offset > 0 {
            return Some(Again::Resume(self.why));
        }
        let lost = std::mem::take(&mut self.received);
        std::mem::take(&mut self.began).then_some(Again::Restart(self.why, lost))
    }

    /// The head of an answer has come.
    pub(super) fn answered(&mut self, code: u16) -> Option<Request> {
        let request = self.request.as_mut()?;
        request.code = Some(code);
        Some(*request)
    }

    /// The request is over, so many bytes of the artifact being there in all.
    pub(super) fn over(&mut self, received: u64, why: Option<RetryReason>) -> Option<Request> {
        self.received = received;
        self.began |= received > 0;
        if let Some(why) = why {
            self.why = why.word();
        }
        self.request.take()
    }

    /// How long it took from the first request on, power losses and waits included.
    pub(super) fn took(&self, at: SimTime) -> Option<Duration> {
        self.since.map(|since| at.since(since))
    }

    /// Bytes a second that the request under way has brought, once all `bytes` of the artifact are there; without waits and losses.
    pub(super) fn rate_of_last(&self, at: SimTime, bytes: u64) -> Option<u64> {
        let took = at.since(self.request?.sent);
        rate(bytes.saturating_sub(self.received), took)
    }

    /// RAM was lost: so many bytes had come, and have come for nothing.
    pub(super) fn lost(&mut self, received: u64) -> Option<Request> {
        self.received = 0;
        self.began |= received > 0;
        self.why = POWER;
        self.request.take()
    }
}
