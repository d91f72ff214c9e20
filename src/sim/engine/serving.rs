//! The server in virtual time: what reaches it, what it wants done.

use crate::faults::Way;
use crate::model::DeviceIndex;
use crate::play::Sighting;
use crate::server::{ConnectionId, Door, RequestId, ServerInput, ServerOutput};
use crate::time::SimTime;
use crate::wire::{DownloadError, DownloadRequest, ImageAnswer, ImageRequest, Packet};

use super::super::link::{connection_id, connection_of};
use super::{Engine, Event, OUTPUTS_KEPT, Work, head_of};

impl Engine {
    /// Something is for the server's process, which handles it at once or later.
    pub(super) fn reach_server(&mut self, work: Work) {
        if let Some(work) = self.process.reach(work, self.now) {
            self.serve(work);
        }
    }

    /// The server's process handles something.
    pub(super) fn serve(&mut self, work: Work) {
        let (device, event) = match work {
            Work::Device(device, event) => (device, event),
            Work::Admin(request, action) => {
                let request = RequestId(request);
                return self.tell_server(ServerInput::Admin { request, action });
            }
        };
        match event {
            Event::Opened { connection } => self.on_opened(device, connection),
            Event::Received { connection, packet } => {
                let packet = self.boxes.unpack(packet);
                if self.ports[device.at()].is_at_server(connection) {
                    let from = connection_id(device, connection);
                    self.tell_server(ServerInput::Received { from, packet });
                }
            }
            Event::Gone { connection } => {
                if self.ports[device.at()].close_at_server(connection) {
                    self.admission.leave(Door::Mqtt);
                    self.tell_server(ServerInput::Closed(connection_id(device, connection)));
                }
            }
            Event::Requested { download, request } => self.on_requested(device, download, &request),
            Event::PowerOn
            | Event::Wake { .. }
            | Event::Connected { .. }
            | Event::Delivered { .. }
            | Event::Closed { .. }
            | Event::Answered { .. } => unreachable!("these are a device's own"),
        }
    }

    /// When the server has something to do: with what waited for it or is on the disk, or by its own timers.
    pub(super) fn server_due(&self) -> Option<SimTime> {
        let own = self.server.next_timeout().filter(|_| !self.process.is_still());
        [own, self.process.next_due()].into_iter().flatten().min()
    }

    pub(super) fn server_turn(&mut self) {
        while let Some(outputs) = self.process.next_written(self.now) {
            outputs.into_iter().for_each(|output| self.carry_out_for_server(output));
        }
        while let Some(work) = self.process.next_waiting(self.now) {
            self.serve(work);
        }
        if self.server.next_timeout().is_some_and(|due| due <= self.now) && !self.process.is_still() {
            self.server.handle_timeout(self.now, &mut self.server_outputs);
            self.audit();
            self.carry_out_server();
        }
    }

    /// A connection that the server does not let in is closed at once, as one is whose packets nobody has read.
    pub(super) fn on_opened(&mut self, device: DeviceIndex, connection: u32) {
        if self.process.refuses() {
            return self.hang_up(device, connection);
        }
        match self.admission.enter(Door::Mqtt, self.now) {
            Ok(()) => {
                self.ports[device.at()].open_at_server(connection);
                self.tell_server(ServerInput::Opened(connection_id(device, connection)));
            }
            Err(_) => self.hang_up(device, connection),
        }
    }

    /// The device learns that the server's end of a connection is gone.
    pub(super) fn hang_up(&mut self, device: DeviceIndex, connection: u32) {
        self.disturb(device);
        let at = self.edges[device.at()].packet_arrives(Way::Down, &Packet::Disconnect, self.now);
        self.push(device, at, Event::Closed { connection });
    }

    pub(super) fn on_requested(&mut self, device: DeviceIndex, download: u32, request: &DownloadRequest) {
        if self.ports[device.at()].running(download).is_none() {
            return;
        }
        if self.process.refuses() {
            return self.break_download(device, DownloadError::Refused);
        }
        let answer = self.answer(request);
        let (answer, begins) = self.admission.answer(answer, self.now);
        if begins {
            self.ports[device.at()].serve();
        }
        let answer = Box::new(answer);
        let at = self.edges[device.at()].head_arrives(&head_of(&answer), self.now);
        self.push(device, at, Event::Answered { download, answer });
    }

    pub(super) fn answer(&mut self, request: &DownloadRequest) -> ImageAnswer {
        let secret = String::from_utf8_lossy(request.secret.as_bytes());
        let authorization = ["OtaSecret ", &secret].concat();
        let range = (request.offset > 0).then(|| format!("bytes={}-", request.offset));
        let request = ImageRequest {
            path: &request.target.path,
            authorization: Some(&authorization),
            range: range.as_deref(),
        };
        let answer = self.server.serve_image(&request);
        self.auditor.served(self.now, &request, &answer);
        answer
    }

    pub(super) fn tell_server(&mut self, input: ServerInput) {
        self.hand_in(input);
        self.carry_out_server();
    }

    pub(super) fn carry_out_server(&mut self) {
        let outputs = std::mem::take(&mut self.server_outputs);
        if let Some(mut outputs) = self.process.commit(outputs, self.now) {
            for output in outputs.drain(..) {
                self.carry_out_for_server(output);
            }
            outputs.shrink_to(OUTPUTS_KEPT);
            self.server_outputs = outputs;
        }
    }

    pub(super) fn carry_out_for_server(&mut self, output: ServerOutput) {
        match output {
            ServerOutput::Record { stamp, record } => self.process.keep(stamp, record),
            ServerOutput::Transmit { to, packet } => self.send_to_device(to, packet),
            ServerOutput::Close(id) => {
                let (device, connection) = connection_of(id);
                self.disturb(device);
                if self.ports[device.at()].close_at_server(connection) {
                    self.admission.leave(Door::Mqtt);
                }
                self.hang_up(device, connection);
            }
            ServerOutput::Answer { request, result } => self.on_administered(request.0, result),
            ServerOutput::Observed(event) => self.sight(Sighting::Server(event)),
        }
    }

    pub(super) fn send_to_device(&mut self, to: ConnectionId, packet: Packet) {
        let (device, connection) = connection_of(to);
        self.disturb(device);
        let at = self.edges[device.at()].packet_arrives(Way::Down, &packet, self.now);
        let packet = self.boxes.pack(packet);
        self.push(device, at, Event::Delivered { connection, packet });
    }
}
