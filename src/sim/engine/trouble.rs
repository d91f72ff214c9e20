//! What befalls the server's process in virtual time, and what its devices and its management meet meanwhile.

use crate::device::DeviceInput;
use crate::faults::ServerCondition;
use crate::luck::Purpose;
use crate::model::{AdminAction, DeviceIndex};
use crate::play::Sighting;
use crate::server::{AdminError, Admission};
use crate::wire::{DownloadError, DownloadEvent};

use super::{Engine, Event, Work, server};

/// A change that was asked for and not answered.
pub(super) struct Asked {
    action: AdminAction,
    /// A crash lost the answer, or the question; it was asked once more.
    again: bool,
}

impl Engine {
    /// Brings the server's process to how it is to stand.
    pub(super) fn befall(&mut self, condition: ServerCondition) {
        // What devices at rest have done meanwhile met the server as it stood.
        self.devices().for_each(|device| self.disturb(device));
        let before = self.process.condition();
        if condition.down && !before.down {
            self.crash();
        } else if condition.outage && !before.outage && !before.down {
            self.cut_off();
        }
        self.process.stand(condition, self.now);
        if before.down && !condition.down {
            self.come_back();
        }
    }

    /// Asks the server for a change; one that a crash may lose is kept until it is answered.
    pub(super) fn administer(&mut self, request: u64, action: AdminAction) {
        if self.process.may_crash() {
            let action = action.clone();
            self.asked.insert(request, Asked { action, again: false });
        }
        if !self.process.condition().down {
            self.reach_server(Work::Admin(request, action));
        }
    }

    /// The server answers a change.
    pub(super) fn on_administered(&mut self, request: u64, result: Result<(), AdminError>) {
        let again = self.asked.remove(&request).is_some_and(|asked| asked.again);
        let result = match result {
            // It had been made before the crash, and the answer was lost.
            Err(AdminError::Exists { .. }) if again => Ok(()),
            answer => answer.map_err(|error| error.to_string()),
        };
        self.sight(Sighting::Answered { request, result });
    }

    /// A running download ends without its last byte.
    pub(super) fn break_download(&mut self, device: DeviceIndex, error: DownloadError) {
        if self.ports[device.at()].download.take().is_some() {
            self.input(device, DeviceInput::Download(DownloadEvent::Broken(error)));
        }
    }

    /// The process is killed: a new one knows what the store does, and nobody is connected to it.
    fn crash(&mut self) {
        let written = self.plan.luck().draw(Purpose::CrashSync, 0, self.crashes) & 1 == 1;
        self.crashes += 1;
        let records = self.process.kill(written);
        self.server = server(&self.plan, records);
        self.audit_anew();
        self.admission = Admission::new(self.plan.server.limits.clone(), u64::MAX);
        for device in self.devices() {
            for connection in self.ports[device.at()].at_server().collect::<Vec<_>>() {
                self.hang_up(device, connection);
            }
            self.ports[device.at()].forget_server();
            self.break_download(device, DownloadError::Reset);
        }
    }

    /// The new process is there: it tells what the killed one had stored and not told, and is asked what that one did not answer.
    fn come_back(&mut self) {
        for event in self.process.take_untold() {
            self.sight(Sighting::Server(event));
        }
        let unanswered = self.asked.iter_mut().map(|(request, asked)| {
            asked.again = true;
            Work::Admin(*request, asked.action.clone())
        });
        for work in unanswered.collect::<Vec<_>>() {
            self.reach_server(work);
        }
    }

    /// The process loses its connections and goes on.
    fn cut_off(&mut self) {
        for device in self.devices() {
            for connection in self.ports[device.at()].at_server().collect::<Vec<_>>() {
                self.hang_up(device, connection);
                self.reach_server(Work::Device(device, Event::Gone { connection }));
            }
            self.break_download(device, DownloadError::Reset);
        }
    }

    fn devices(&self) -> impl Iterator<Item = DeviceIndex> + use<> {
        (0..self.ports.len() as u32).map(DeviceIndex)
    }
}
