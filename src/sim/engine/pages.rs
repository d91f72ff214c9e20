//! Downloads in one go: a device that reads and writes page after page is left at it, as far as nothing else can come between.
//!
//! What a page does concerns its device alone, but for the bytes that are counted by the second. So the pages up to the Director's next
//! look follow each other at once, each at its own moment, and not through the queue: what is at hand of a device is used while it is. A
//! run is the same as one in which every page had its turn.

use crate::model::DeviceIndex;
use crate::time::SimTime;

use super::super::link::connection_id;
use super::Engine;

impl Engine {
    /// Plays the pages of a download that come before anybody else concerns the device.
    pub(super) fn turn_pages(&mut self, device: DeviceIndex) {
        if self.edges[device.at()].turns_page_at().is_none() {
            return;
        }
        let Some(until) = self.left_alone_until(device) else {
            return;
        };
        let now = self.now;
        while self.ports[device.at()].under_way == 0
            && let Some(due) = self.edges[device.at()].turns_page_at().filter(|due| *due < until)
        {
            self.now = due.max(self.now);
            self.events += 1;
            if !self.turn_page(device) {
                self.exchange(device, |edge, now, out| edge.handle_timeout(now, out));
            }
        }
        self.now = now;
    }

    /// Turns a page in one step; false, and nothing is done, where it takes more than that.
    fn turn_page(&mut self, device: DeviceIndex) -> bool {
        let body = self.ports[device.at()].body();
        let read = body.and_then(|body| self.edges[device.at()].turn_page(body, self.now, &mut self.outputs));
        if let Some(bytes) = read {
            self.director.count_image_bytes(self.now, bytes);
        }
        read.is_some()
    }

    /// The moment before which nobody concerns a device with an undisturbed connection but itself: the Director gives directives when it
    /// is due and not before, and the server speaks first when it has waited for something.
    fn left_alone_until(&self, device: DeviceIndex) -> Option<SimTime> {
        if self.ahead.is(device) {
            let look = self.director.next_timeout()?;
            return Some(self.spoken_to_at(device).map_or(look, |speaks| speaks.min(look)));
        }
        let alone = self.rests && self.alone && self.process.is_prompt();
        let connection = self.ports[device.at()].sole().filter(|_| alone)?;
        let server = self.server.silent_until(connection_id(device, connection))?;
        Some(server.min(self.director.next_timeout()?))
    }
}
