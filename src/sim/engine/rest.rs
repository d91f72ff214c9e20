//! Devices at rest: what is online and idle is left alone, and its keep-alives are played once something else concerns it.
//!
//! A keep-alive concerns its device and their connection alone. Of everything else that may look at either (the server's packets and
//! its closing of a connection, faults, a server that stands otherwise, the end of the run) each has the device play first what is past
//! by then, so that a run is the same as one in which every keep-alive had its turn.

use crate::faults::{RestEnd, Way};
use crate::model::DeviceIndex;
use crate::wire::Packet;

use super::super::link::connection_id;
use super::{Engine, Event};

impl Engine {
    /// Leaves a device alone if nothing but keep-alives is to come; true if it does.
    pub(super) fn let_rest(&mut self, device: DeviceIndex) -> bool {
        let Some(connection) = self.ports[device.at()].idle().filter(|_| self.rests) else {
            return false;
        };
        let Some(rest) = self.edges[device.at()].rests().filter(|_| self.process.is_prompt()) else {
            return false;
        };
        if !self.server.rests(connection_id(device, connection), rest.silence) {
            return false;
        }
        let port = &mut self.ports[device.at()];
        port.resting = true;
        // The wake that was set is for a keep-alive at the latest.
        port.wake = None;
        port.generation = port.generation.wrapping_add(1);
        if let Some(until) = rest.until {
            self.wake(device, until);
        }
        true
    }

    /// Something from outside concerns a device: if it rests, it does no longer, and is looked at when it wants to be.
    pub(super) fn disturb(&mut self, device: DeviceIndex) {
        if !self.ports[device.at()].resting {
            return;
        }
        self.rouse(device);
        if let Some(wanted) = self.edges[device.at()].next_timeout() {
            self.wake(device, wanted);
        }
    }

    /// Plays what a device at rest has done up to here. At one moment devices come in their order, then everybody else.
    pub(super) fn rouse(&mut self, device: DeviceIndex) {
        if !std::mem::take(&mut self.ports[device.at()].resting) {
            return;
        }
        let end = RestEnd {
            at: self.now,
            included: self.current.is_none_or(|current| device < current),
        };
        let kept = self.edges[device.at()].keep_alive(end);
        self.events += kept.events;
        self.tell_carried(device);
        let Some(connection) = self.ports[device.at()].up().filter(|_| !self.over) else {
            return;
        };
        self.server.stirs(connection_id(device, connection), kept.heard_at);
        self.ahead.server_moves();
        match kept.under_way {
            Some((Way::Up, at)) => {
                let packet = self.boxes.pack(Packet::PingRequest);
                self.push(device, at, Event::Received { connection, packet });
            }
            Some((Way::Down, at)) => {
                let packet = self.boxes.pack(Packet::PingResponse);
                self.push(device, at, Event::Delivered { connection, packet });
            }
            None => {}
        }
    }
}
