//! Downloads: what comes, what breaks and at which byte, what is asked for again.

use crate::measure::NameId;
use crate::model::{Phase, RetryReason, show_duration};
use crate::time::SimTime;

use super::teller::Teller;
use super::words::{breaking, bytes, position};

/// A running download.
pub(super) struct Download {
    pub(super) image: NameId,
    began_at: SimTime,
    requests: u32,
    offset: u32,
    total: Option<u32>,
    /// Of the last answer that was no success.
    status: Option<u16>,
}

impl Teller<'_> {
    /// Where a download stood whose bytes are lost.
    pub(super) fn lost_bytes(&mut self) -> String {
        let image = self.download.as_ref().map(|download| self.name(download.image));
        match (self.lost.take(), image) {
            (Some((received, total)), Some(image)) => format!(" at {} of {image}", position(received, total)),
            (Some((received, total)), None) => format!(" at {} of a download", position(received, total)),
            (None, _) => String::new(),
        }
    }

    pub(super) fn on_staged(&mut self) {
        let Some(download) = self.download.take() else {
            return self.say("the new image is there");
        };
        let image = self.name(download.image);
        let took = show_duration(self.now.since(download.began_at));
        let what = match download.total {
            Some(total) => format!("all {} of {image} are there", bytes(total)),
            None => format!("{image} is there"),
        };
        let requests = match download.requests {
            0 | 1 => String::new(),
            more => format!(" and {more} requests"),
        };
        self.say(format!("{what} after {took}{requests}"));
    }

    pub(super) fn on_handler(&mut self, image: NameId) {
        self.download = Some(Download {
            image,
            began_at: self.now,
            requests: 0,
            offset: 0,
            total: None,
            status: None,
        });
        let what = if self.phase == Phase::Installing {
            "install"
        } else {
            "download"
        };
        self.say(format!("begins to {what} {}", self.name(image)));
    }

    pub(super) fn on_request(&mut self, offset: u32) {
        let Some(download) = &mut self.download else {
            return;
        };
        download.requests += 1;
        download.offset = offset;
        match (offset, download.requests) {
            (0, 1) => {}
            (0, _) => self.say("asks again from the beginning"),
            (offset, _) => self.say(format!("asks for the rest from {}", position(offset, None))),
        }
    }

    pub(super) fn on_answer(&mut self, status: u16, length: Option<u32>) {
        let Some(download) = &mut self.download else {
            return;
        };
        if (200..300).contains(&status) {
            download.status = None;
            download.total = length.map(|length| download.offset.saturating_add(length)).or(download.total);
        } else {
            download.status = Some(status);
        }
        // A wait tells of what is worth another try.
        if (300..500).contains(&status) {
            self.say(format!("the image server answers {status}"));
        }
    }

    pub(super) fn on_retry(&mut self, reason: RetryReason, until: SimTime, received: u32) {
        let image = self
            .download
            .as_ref()
            .map_or("an image".to_owned(), |download| self.name(download.image));
        let status = self.download.as_mut().and_then(|download| download.status.take());
        let what = match (reason, status) {
            (RetryReason::Status, Some(status)) => format!("the image server answers {status}"),
            (_, _) if received == 0 => format!("cannot begin the download of {image} ({})", breaking(reason)),
            (_, _) => format!(
                "download of {image} broke at {} ({})",
                position(received, None),
                breaking(reason)
            ),
        };
        let there = if received == 0 { "" } else { " from there" };
        let wait = show_duration(until.since(self.now));
        self.say(format!("{what}; asks again in {wait}{there}"));
    }
}
