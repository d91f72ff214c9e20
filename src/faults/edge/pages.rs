//! A device in the middle of a download: page after page is read and written, and nobody else hears of any.
//!
//! Who plays many devices has one go on for a while by itself, instead of coming back to it for each page.

use bytes::Bytes;

use crate::device::Timer;
use crate::time::SimTime;

use super::{Edge, EdgeOutputs, READ_MAX, Wake};

impl Edge {
    /// When the device reads or writes a page next, if that is what comes next and concerns the device alone: more of the image comes
    /// behind it, no fault waits for anything, and all that is wanted of the transport is bytes that have arrived.
    #[must_use]
    pub fn turns_page_at(&self) -> Option<SimTime> {
        if !self.transport.downloading || self.trouble.is_some() || self.link_down || self.path.is_metered() {
            return None;
        }
        let (due, wake) = self.next?;
        let rest = self.path.rest();
        let turns = match wake {
            Wake::Read => rest > u64::from(self.wanted()) && self.device.has_room_for_page(),
            Wake::Device(_) => rest > u64::from(self.device.config().chip.page_size) && self.device.has_page_written_at(due),
            Wake::Trouble | Wake::Link | Wake::Refusal => false,
        };
        turns.then_some(due)
    }

    /// Turns the page that [`Edge::turns_page_at`] tells of, at `now`: it is in flash, and the next one, which has arrived by then, is taken
    /// from `body` and begins to be written. Gives the bytes that were read; `None`, and nothing is done, where it takes more than that.
    ///
    /// It is what [`Edge::handle_timeout`] does, and then the delivery of what it reads.
    pub fn turn_page(&mut self, body: &mut Bytes, now: SimTime, out: &mut EdgeOutputs) -> Option<u64> {
        let page = u64::from(self.device.config().chip.page_size);
        let is_due = self.next == Some((now, Wake::Device(Timer::Flash)));
        let asks_nothing = self.transport.credit == 0 && self.transport.asked == 0;
        let turns = is_due && asks_nothing && page <= READ_MAX && self.path.is_steady() && self.path.arrival(page) <= now;
        if !turns {
            return None;
        }
        let next = self.device.turn_page(body, now, &mut out.inner)?;
        debug_assert!(out.inner.is_empty(), "a page tells of nothing");
        self.path.read(page, now, self.draws());
        self.next = self.wake_beside(Some(next));
        Some(page)
    }
}
