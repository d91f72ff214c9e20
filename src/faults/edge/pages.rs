//! A device in the middle of a download: page after page is read and written, and nobody else hears of any.
//!
//! Who plays many devices has one go on for a while by itself, instead of coming back to it for each page.

use crate::time::SimTime;

use super::{Edge, Wake};

impl Edge {
    /// When the device reads or writes a page next, if that is what comes next and concerns the device alone: more of the image comes
    /// behind it, no fault waits for anything, and all that is wanted of the transport is bytes that have arrived.
    #[must_use]
    pub fn turns_page_at(&self) -> Option<SimTime> {
        let (due, wake) = self.next?;
        let rest = self.path.rest();
        let alone = self.transport.downloading && self.trouble.is_none() && !self.link_down && !self.path.is_metered();
        let turns = match wake {
            Wake::Read => rest > u64::from(self.wanted()) && self.device.has_room_for_page(),
            Wake::Device => rest > u64::from(self.device.config().chip.page_size) && self.device.has_page_written_at(due),
            Wake::Trouble | Wake::Link | Wake::Refusal => false,
        };
        (alone && turns).then_some(due)
    }
}
