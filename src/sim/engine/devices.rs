//! Devices in virtual time: what happens to one, what it wants, and when it is looked at next.

use crate::device::{DeviceInput, DeviceOutput, LinkLoss};
use crate::faults::{Edge, EdgeOutput, EdgeOutputs, Way};
use crate::model::DeviceIndex;
use crate::play::Sighting;
use crate::time::SimTime;
use crate::wire::{DownloadEvent, ImageAnswer, Packet};

use super::{Engine, Event, head_of};

impl Engine {
    pub(super) fn input(&mut self, device: DeviceIndex, input: DeviceInput) {
        self.with_edge(device, |edge, now, out| edge.handle_input(input, now, out));
    }

    /// The rule of use: call the edge, carry out what it wants, schedule its next wake. Bytes of an image for which there is credit are
    /// handed over at once: the edge gives it when they have crossed the path.
    pub(super) fn with_edge(&mut self, device: DeviceIndex, call: impl FnOnce(&mut Edge, SimTime, &mut EdgeOutputs)) {
        self.rouse(device);
        self.exchange(device, call);
        self.turn_pages(device);
        self.tell_carried(device);
        if self.asks_flash {
            self.tell_flash(device);
        }
        self.schedule_wake(device);
    }

    /// Calls the edge and carries out what it wants.
    pub(super) fn exchange(&mut self, device: DeviceIndex, call: impl FnOnce(&mut Edge, SimTime, &mut EdgeOutputs)) {
        let mut outputs = std::mem::take(&mut self.outputs);
        call(&mut self.edges[device.at()], self.now, &mut outputs);
        loop {
            for output in outputs.drain() {
                self.carry_out(device, output);
            }
            let Some(event) = self.ports[device.at()].next_of_body() else {
                break;
            };
            if let DownloadEvent::Body(bytes) = &event {
                self.director.count_image_bytes(self.now, bytes.len() as u64);
            }
            self.edges[device.at()].handle_input(DeviceInput::Download(event), self.now, &mut outputs);
        }
        self.outputs = outputs;
        if self.ports[device.at()].served_to_the_end() {
            self.admission.download_over();
        }
    }

    pub(super) fn on_wake(&mut self, device: DeviceIndex, generation: u32) {
        if self.ports[device.at()].generation != generation {
            return;
        }
        self.ports[device.at()].wake = None;
        self.rouse(device);
        match self.edges[device.at()].next_timeout() {
            Some(due) if due <= self.now => self.with_edge(device, |edge, now, out| edge.handle_timeout(now, out)),
            // It was put off meanwhile.
            Some(_) | None => self.schedule_wake(device),
        }
    }

    pub(super) fn on_connected(&mut self, device: DeviceIndex, connection: u32) {
        if self.process.refuses() && self.ports[device.at()].is_on(connection) {
            self.ports[device.at()].connection = None;
            return self.input(device, DeviceInput::Disconnected(LinkLoss::Refused));
        }
        let port = &mut self.ports[device.at()];
        if let Some(current) = port.connection.as_mut().filter(|current| current.number == connection) {
            current.up = true;
            self.push(device, self.now, Event::Opened { connection });
            self.input(device, DeviceInput::Connected);
        }
    }

    pub(super) fn on_answered(&mut self, device: DeviceIndex, download: u32, answer: ImageAnswer) {
        let Some(running) = self.ports[device.at()].running(download) else {
            return;
        };
        let head = head_of(&answer);
        running.body = Some(answer.body);
        self.input(device, DeviceInput::Download(DownloadEvent::Answered(head)));
    }

    pub(super) fn carry_out(&mut self, device: DeviceIndex, output: EdgeOutput) {
        match output {
            EdgeOutput::Device(output) => self.carry_out_for_device(device, output),
            EdgeOutput::Sent(packet) => self.sight(Sighting::Sent(device, packet)),
            EdgeOutput::Late(packet) => self.send_to_server(device, packet),
            EdgeOutput::Delivered(packet) => self.director.delivered(self.now, device, &packet),
            EdgeOutput::Requested(request) => self.sight(Sighting::Requested(device, request)),
            EdgeOutput::Headed(head) => self.sight(Sighting::Headed(device, head)),
            EdgeOutput::Fault { fault, happening } => self.sight(Sighting::Fault {
                device,
                fault,
                happening,
            }),
        }
    }

    pub(super) fn carry_out_for_device(&mut self, device: DeviceIndex, output: DeviceOutput) {
        let (port, edge) = (&mut self.ports[device.at()], &mut self.edges[device.at()]);
        match output {
            DeviceOutput::Connect => {
                let connection = port.connect();
                let at = edge.connected_at(self.now);
                self.push(device, at, Event::Connected { connection });
            }
            DeviceOutput::Disconnect => {
                let up = port.up();
                port.connection = None;
                if let Some(connection) = up {
                    // The end of a connection travels like its last packet.
                    let at = edge.packet_arrives(Way::Up, &Packet::Disconnect, self.now);
                    self.push(device, at, Event::Gone { connection });
                }
            }
            DeviceOutput::Transmit(packet) => {
                if port.up().is_some() {
                    self.director.sent(self.now, device, &packet);
                    self.send_to_server(device, packet);
                }
            }
            DeviceOutput::StartDownload(request) => {
                let download = port.start_download();
                let at = edge.request_arrives(&request, self.now);
                self.director.requested(self.now, device, &request);
                let request = Box::new(request);
                self.push(device, at, Event::Requested { download, request });
            }
            DeviceOutput::StopDownload => port.download = None,
            DeviceOutput::Read { bytes } => {
                if let Some(running) = &mut port.download {
                    running.credit = running.credit.saturating_add(bytes as usize);
                }
            }
            DeviceOutput::FallSilent => {
                port.connection = None;
                port.download = None;
            }
            // Boards are simulated like every other device: none of them asks for one.
            DeviceOutput::Board(_) => {}
            DeviceOutput::Observed(observation) => self.director.observed(self.now, device, &observation),
        }
    }

    pub(super) fn send_to_server(&mut self, device: DeviceIndex, packet: Packet) {
        if let Some(connection) = self.ports[device.at()].up() {
            let at = self.edges[device.at()].packet_arrives(Way::Up, &packet, self.now);
            let packet = self.boxes.pack(packet);
            self.push(device, at, Event::Received { connection, packet });
        }
    }

    /// Says when a device is looked at next: at its next wake, or not before something else concerns it.
    pub(super) fn schedule_wake(&mut self, device: DeviceIndex) {
        if !self.let_rest(device)
            && let Some(wanted) = self.edges[device.at()].next_timeout()
        {
            self.wake(device, wanted);
        }
    }

    /// Looks at a device at this moment, unless it is looked at before anyway.
    pub(super) fn wake(&mut self, device: DeviceIndex, wanted: SimTime) {
        let wanted = wanted.max(self.now);
        let port = &mut self.ports[device.at()];
        // One that comes too early looks again: most are put off again and again.
        if port.wake.is_none_or(|wake| wanted < wake) {
            port.wake = Some(wanted);
            port.generation = port.generation.wrapping_add(1);
            let generation = port.generation;
            self.push(device, wanted, Event::Wake { generation });
        }
    }

    pub(super) fn tell_flash(&mut self, device: DeviceIndex) {
        let counts = self.edges[device.at()].flash_counts();
        self.sight(Sighting::Flash(device, counts));
    }

    /// Tells what has crossed the path of a device; of one that goes ahead once it is done, since nobody asks before.
    pub(super) fn tell_carried(&mut self, device: DeviceIndex) {
        if self.ahead.is(device) {
            return;
        }
        let carried = self.edges[device.at()].take_carried();
        if !carried.is_empty() {
            self.director.carried(self.now, device, carried);
        }
    }

    pub(super) fn end_trouble(&mut self) {
        for index in 0..self.edges.len() as u32 {
            self.with_edge(DeviceIndex(index), Edge::end_trouble);
        }
    }

    /// The latest timer that any device has armed, keep-alive and heartbeat left out.
    pub(super) fn latest_timer(&self) -> Option<SimTime> {
        self.edges.iter().filter_map(Edge::latest_timeout).max()
    }
}
