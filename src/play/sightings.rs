//! What the Director is shown: each sighting goes to those who keep or judge something of it.

use crate::faults::Happening;
use crate::measure::FaultCame;
use crate::model::{Carried, DeviceIndex, Observation, ServerEvent};
use crate::time::SimTime;
use crate::wire::{DownloadRequest, Packet};

use super::io::{Directive, Sighting};
use super::{Director, messages};

impl Director {
    /// Takes one thing that the driver saw.
    pub fn handle_sighting(&mut self, at: SimTime, sighting: Sighting, _out: &mut Vec<Directive>) {
        match sighting {
            Sighting::Observed(device, observation) => self.observed(at, device, &observation),
            Sighting::Sent(device, packet) => self.sent(at, device, &packet),
            Sighting::Delivered(device, packet) => self.delivered(at, device, &packet),
            Sighting::Flash(device, counts) => self.recorder.observe_flash(at, device, counts),
            Sighting::Fault {
                device,
                fault,
                happening,
            } => self.on_fault(at, device, fault, happening),
            Sighting::Requested(device, request) => self.requested(at, device, &request),
            Sighting::Headed(device, head) => self.referee.headed(at, device, &head),
            Sighting::Carried(device, carried) => self.carried(at, device, carried),
            Sighting::Server(ServerEvent::RuleBroken { rule, device, evidence }) => {
                self.audited.told(at, &rule, device.as_ref(), &evidence);
            }
            Sighting::Server(event) if !self.concerns(&event) => {}
            Sighting::Server(event) => {
                self.recorder.observe_server(at, &event);
                self.referee.server(at, &event);
            }
            Sighting::Answered { request, result } => {
                let step = self.requests.answered(request, at);
                if let Err(message) = result {
                    let what = step.map_or_else(
                        || "request".to_owned(),
                        |step| format!("step `{}`", self.plan.steps[step].name),
                    );
                    self.errors.add(format!("{what}: {message}"), None);
                }
            }
            Sighting::Trouble { device, message } => {
                let device = device.map(|device| self.plan.devices[device.at()].id.to_string());
                self.errors.add(message, device);
            }
        }
    }

    /// The same as [`Sighting::Observed`].
    pub fn observed(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        self.recorder.observe(at, device, observation);
        self.referee.observed(at, device, observation);
        if let Observation::Transition { transition, .. } = observation {
            self.faults.entered(&self.plan, at, device, *transition);
        }
        let tried = matches!(observation, Observation::ConnectTried { .. });
        if tried && !std::mem::replace(&mut self.arrived[device.at()], true) {
            self.arrivals_left -= 1;
        }
    }

    /// The same as [`Sighting::Delivered`].
    pub fn delivered(&mut self, at: SimTime, device: DeviceIndex, packet: &Packet) {
        self.count_message(at, device, false, packet);
        self.referee.delivered(at, device, packet);
    }

    /// The same as [`Sighting::Carried`].
    pub fn carried(&mut self, at: SimTime, device: DeviceIndex, carried: Carried) {
        self.recorder.observe_carried(at, device, carried);
    }

    /// The same as [`Sighting::Sent`], of a packet that the driver still needs.
    pub fn sent(&mut self, at: SimTime, device: DeviceIndex, packet: &Packet) {
        self.count_message(at, device, true, packet);
        self.referee.sent(at, device, packet);
    }

    /// The same as [`Sighting::Requested`], of a request that the driver still needs.
    pub fn requested(&mut self, at: SimTime, device: DeviceIndex, request: &DownloadRequest) {
        self.referee.requested(at, device, request);
    }

    /// False for what the server tells of the attempts of another shard's devices.
    pub fn concerns(&self, event: &ServerEvent) -> bool {
        let split = self.plan.split;
        let device = event.device_of_attempt().filter(|_| !split.is_whole());
        let device = device.and_then(|device| self.recorder.device_index(device.as_str()));
        device.is_none_or(|device| split.holds(device))
    }

    fn on_fault(&mut self, at: SimTime, device: DeviceIndex, fault: u16, happening: Happening) {
        if usize::from(fault) < self.plan.faults.len() {
            self.faults.came(&self.plan, at, device, usize::from(fault), happening);
        }
        let (came, why) = match happening {
            Happening::Began => (FaultCame::Began, None),
            Happening::Done => (FaultCame::Done, None),
            Happening::Missed(why) => (FaultCame::Missed, Some(why)),
            Happening::Ended => (FaultCame::Ended, None),
            Happening::Spared => return self.recorder.fault_spared(at, device, fault),
        };
        self.recorder.observe_fault(at, device, fault, came, why);
    }

    fn count_message(&mut self, at: SimTime, device: DeviceIndex, up: bool, packet: &Packet) {
        if messages::is_message(packet) {
            self.recorder.observe_message(at, device, up, || messages::kind(packet));
        }
    }
}
