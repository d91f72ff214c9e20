//! The loop: takes the first event, hands it to a core, and carries out what the core wants.
//!
//! At one moment devices come first, in their order, then the server's own timers, then the Director, who thus sees everything up to
//! and including that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::device::{Device, DeviceInput, DeviceOutput, LinkLoss};
use crate::faults::{Edge, EdgeOutput, EdgeOutputs, ServerCondition, Way};
use crate::luck::Purpose;
use crate::model::{AdminAction, AttemptId, DeviceIndex, KeyHash};
use crate::play::{Directive, Director, Mode, Outcome, Sighting};
use crate::scenario::{Plan, TlsPlan};
use crate::server::{
    AdminError, Admission, ConnectionId, Door, RequestId, Server, ServerConfig, ServerInput, ServerOutput, ServerOutputs,
};
use crate::time::SimTime;
use crate::wire::{DownloadError, DownloadEvent, DownloadRequest, ImageAnswer, ImageHead, ImageRequest, Packet};

use super::link::{Port, connection_id, connection_of};
use super::process::{Process, Survived};
use super::queue::{Event, Queue, Scheduled};

/// Events between two looks at the driver's surroundings.
const PULSE: u64 = 4_096;

/// More events than this of one device at one moment are a loop without an end.
const CROWD: u32 = 1_000_000;

/// Where images stand in virtual time; a name that no resolver knows.
const IMAGE_HOST: &str = "sim.invalid";

/// What the surroundings of a simulation want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Go on.
    GoOn,
    /// End the run as interrupted.
    Interrupt,
}

/// One simulation.
pub(super) struct Engine {
    plan: Arc<Plan>,
    now: SimTime,
    queue: Queue,
    edges: Vec<Edge>,
    ports: Vec<Port>,
    server: Server,
    admission: Admission,
    process: Process,
    /// Changes asked for and not answered, where a crash may lose the answer.
    asked: BTreeMap<u64, AdminAction>,
    /// Those that were asked for again after a crash.
    asked_again: BTreeSet<u64>,
    crashes: u64,
    director: Director,
    over: bool,
    /// The device that an event is being handled for, and how many of it at this moment.
    current: Option<DeviceIndex>,
    crowd: u32,
    outputs: EdgeOutputs,
    server_outputs: ServerOutputs,
    directives: Vec<Directive>,
}

impl Engine {
    /// Devices in their boxes, a server that knows nothing.
    pub(super) fn new(plan: Arc<Plan>) -> Engine {
        let indices = || (0..plan.devices.len() as u32).map(DeviceIndex);
        let edge = |index: DeviceIndex| {
            let fleet = plan.fleet_of(index);
            let (config, behaviors) = (Arc::clone(&fleet.config), Arc::clone(&fleet.behaviors));
            let device = Device::new(plan.identity(index), config, behaviors, plan.luck(), fleet.image.clone());
            Edge::new(device, Arc::clone(&fleet.link), plan.luck(), plan.devices[index.at()].key).sleeping(fleet.sleep)
        };
        Engine {
            now: SimTime::ZERO,
            queue: Queue::default(),
            edges: indices().map(edge).collect(),
            ports: indices().map(|_| Port::default()).collect(),
            server: Server::new(server_config(&plan)),
            admission: Admission::new(plan.server.limits.clone(), u64::MAX),
            process: Process::new(&plan),
            asked: BTreeMap::new(),
            asked_again: BTreeSet::new(),
            crashes: 0,
            director: Director::new(Arc::clone(&plan), Mode::Sim),
            over: false,
            current: None,
            crowd: 0,
            outputs: EdgeOutputs::default(),
            server_outputs: Vec::new(),
            directives: Vec::new(),
            plan,
        }
    }

    /// Plays until the Director stops.
    pub(super) fn run(&mut self, pulse: &mut dyn FnMut(SimTime, &Director) -> Pulse) {
        self.set_up();
        for (index, device) in Arc::clone(&self.plan).devices.iter().enumerate() {
            self.push(DeviceIndex(index as u32), device.boot_at, Event::PowerOn);
        }
        let mut steps = 0_u64;
        while !self.over && self.step() {
            steps += 1;
            if steps.is_multiple_of(PULSE) && pulse(self.now, &self.director) == Pulse::Interrupt {
                self.director.interrupt(self.now, &mut self.directives);
                self.carry_out_directives();
            }
        }
    }

    /// Ends the run because of a defect.
    pub(super) fn fail(&mut self, message: &str) {
        let device = self
            .current
            .map(|index| format!(", device `{}`", self.plan.devices[index.at()].id));
        let message = format!(
            "a defect of squall at {} s{}: {message}",
            self.now,
            device.unwrap_or_default()
        );
        self.director.fail(self.now, message, &mut self.directives);
    }

    /// Closes the books.
    pub(super) fn finish(mut self) -> Outcome {
        (0..self.edges.len() as u32).for_each(|index| self.tell_carried(DeviceIndex(index)));
        for (index, device) in self.edges.iter().map(Edge::device).enumerate() {
            if !device.phase().at_rest() || device.stuck_by_firmware() {
                let index = DeviceIndex(index as u32);
                self.director
                    .left_open(index, device.explain(self.now), device.stuck_by_firmware());
            }
        }
        self.director.finish(self.now, None, None)
    }

    /// Tells the server what it must know before the first device is powered on.
    fn set_up(&mut self) {
        for (number, action) in self.director.setup().into_iter().enumerate() {
            let request = RequestId(number as u64);
            self.server
                .handle_input(ServerInput::Admin { request, action }, self.now, &mut self.server_outputs);
            let mut outputs = std::mem::take(&mut self.server_outputs);
            for output in outputs.drain(..) {
                match output {
                    ServerOutput::Answer { result: Err(error), .. } => {
                        let message = format!("the server refused the set-up: {error}");
                        self.director.fail(self.now, message, &mut self.directives);
                    }
                    ServerOutput::Answer { result: Ok(()), .. } => {}
                    other => self.carry_out_for_server(other),
                }
            }
            self.server_outputs = outputs;
        }
        self.carry_out_directives();
    }

    /// Handles what comes next; false when nothing does.
    fn step(&mut self) -> bool {
        let event = self.queue.next_at();
        let own = self.server.next_timeout().filter(|_| !self.process.is_still());
        let server = [own, self.process.next_due()].into_iter().flatten().min();
        let director = self.director.next_timeout();
        let Some(at) = [event, server, director].into_iter().flatten().min() else {
            return false;
        };
        let before = self.now;
        self.now = at.max(before);
        if event == Some(at) {
            let next = self.queue.pop().expect("it was seen a moment ago");
            let again = before == self.now && self.current == Some(next.device);
            self.crowd = if again { self.crowd + 1 } else { 0 };
            assert!(self.crowd < CROWD, "a device keeps itself busy without time passing");
            self.current = Some(next.device);
            self.happen(next.device, next.event);
        } else if server == Some(at) {
            self.current = None;
            self.server_turn();
        } else {
            self.current = None;
            self.director.handle_timeout(self.now, &mut self.directives);
        }
        self.carry_out_directives();
        true
    }

    fn happen(&mut self, device: DeviceIndex, event: Event) {
        match event {
            Event::PowerOn => self.input(device, DeviceInput::PowerOn),
            Event::Wake { generation } => self.on_wake(device, generation),
            Event::Connected { connection } => self.on_connected(device, connection),
            Event::Delivered { connection, packet } => {
                if self.ports[device.at()].is_on(connection) {
                    self.input(device, DeviceInput::Received(packet));
                }
            }
            Event::Closed { connection } => {
                if self.ports[device.at()].is_on(connection) {
                    self.ports[device.at()].connection = None;
                    self.input(device, DeviceInput::Disconnected(LinkLoss::Closed));
                }
            }
            Event::Opened { .. } | Event::Received { .. } | Event::Gone { .. } | Event::Requested { .. } => {
                if let Some(event) = self.process.reach(device, event, self.now) {
                    self.reach_server(device, event);
                }
            }
            Event::Answered { download, answer } => self.on_answered(device, download, *answer),
        }
    }

    /// Something that a device sent is handled by the server's process.
    fn reach_server(&mut self, device: DeviceIndex, event: Event) {
        match event {
            Event::Opened { connection } => self.on_opened(device, connection),
            Event::Received { connection, packet } => {
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
            Event::Requested { download, request } => {
                if self.process.refuses() {
                    return self.break_download(device, download, DownloadError::Refused);
                }
                let answer = self.serve(&request);
                if self.ports[device.at()].running(download).is_some() {
                    let (answer, begins) = self.admission.answer(answer, self.now);
                    self.ports[device.at()].served = begins.then_some(download);
                    let answer = Box::new(answer);
                    let at = self.edges[device.at()].head_arrives(&head_of(&answer), self.now);
                    self.push(device, at, Event::Answered { download, answer });
                }
            }
            Event::PowerOn
            | Event::Wake { .. }
            | Event::Connected { .. }
            | Event::Delivered { .. }
            | Event::Closed { .. }
            | Event::Answered { .. } => unreachable!("these are a device's own"),
        }
    }

    /// The server does what is due: what waited for it, what is on the disk, its own timers.
    fn server_turn(&mut self) {
        while let Some(outputs) = self.process.next_synced(self.now) {
            outputs.into_iter().for_each(|output| self.carry_out_for_server(output));
        }
        while let Some((device, event)) = self.process.next_waiting(self.now) {
            self.reach_server(device, event);
        }
        if self.server.next_timeout().is_some_and(|due| due <= self.now) && !self.process.is_still() {
            self.server.handle_timeout(self.now, &mut self.server_outputs);
            self.carry_out_server();
        }
    }

    /// Brings the server's process to how it is to stand.
    fn befall(&mut self, condition: ServerCondition) {
        let before = self.process.condition();
        if condition.down && !before.down {
            self.crash();
        } else if condition.outage && !before.outage && !before.down {
            self.cut_off();
        }
        self.process.stand(condition, self.now);
        if before.down && !condition.down {
            // As a restarted process does: what was asked of it and not answered is asked again.
            for (request, action) in self.asked.clone() {
                self.asked_again.insert(request);
                let request = RequestId(request);
                self.tell_server(ServerInput::Admin { request, action });
            }
        }
    }

    /// The process is killed; a new one stands where the store does, and nobody is connected.
    fn crash(&mut self) {
        let synced = self.plan.luck().draw(Purpose::CrashSync, 0, self.crashes) & 1 == 1;
        self.crashes += 1;
        let Survived { records, untold } = self.process.crash(synced);
        self.server = Server::restore(server_config(&self.plan), records);
        self.admission = Admission::new(self.plan.server.limits.clone(), u64::MAX);
        self.reset_connections();
        untold.into_iter().for_each(|event| self.sight(Sighting::Server(event)));
    }

    /// The server loses its connections and goes on.
    fn cut_off(&mut self) {
        let (lost, served) = self.reset_connections();
        (0..served).for_each(|_| self.admission.download_over());
        for id in lost {
            self.admission.leave(Door::Mqtt);
            self.tell_server(ServerInput::Closed(id));
        }
    }

    /// Every connection ends as if its peer's socket had gone; gives those that the server believed in, and how many downloads it
    /// was serving.
    fn reset_connections(&mut self) -> (Vec<ConnectionId>, usize) {
        let (mut lost, mut served) = (Vec::new(), 0);
        for device in (0..self.ports.len() as u32).map(DeviceIndex) {
            served += usize::from(self.ports[device.at()].served.is_some());
            for connection in self.ports[device.at()].lose_all_at_server() {
                lost.push(connection_id(device, connection));
                let at = self.edges[device.at()].packet_arrives(Way::Down, &Packet::Disconnect, self.now);
                self.push(device, at, Event::Closed { connection });
            }
            if let Some(download) = self.ports[device.at()].download.as_ref().map(|running| running.number) {
                self.break_download(device, download, DownloadError::Reset);
            }
        }
        (lost, served)
    }

    fn break_download(&mut self, device: DeviceIndex, download: u32, error: DownloadError) {
        if self.ports[device.at()].running(download).is_some() {
            self.ports[device.at()].download = None;
            self.input(device, DeviceInput::Download(DownloadEvent::Broken(error)));
        }
    }

    /// A connection that the server does not let in is closed at once, as one is whose packets nobody has read.
    fn on_opened(&mut self, device: DeviceIndex, connection: u32) {
        match self.admission.enter(Door::Mqtt, self.now) {
            Ok(()) => {
                self.ports[device.at()].open_at_server(connection);
                self.tell_server(ServerInput::Opened(connection_id(device, connection)));
            }
            Err(_) => {
                let at = self.edges[device.at()].packet_arrives(Way::Down, &Packet::Disconnect, self.now);
                self.push(device, at, Event::Closed { connection });
            }
        }
    }

    fn on_wake(&mut self, device: DeviceIndex, generation: u32) {
        if self.ports[device.at()].generation == generation {
            self.ports[device.at()].wake = None;
            self.with_edge(device, |edge, now, out| edge.handle_timeout(now, out));
        }
    }

    fn on_connected(&mut self, device: DeviceIndex, connection: u32) {
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

    fn on_answered(&mut self, device: DeviceIndex, download: u32, answer: ImageAnswer) {
        let Some(running) = self.ports[device.at()].running(download) else {
            return;
        };
        let head = head_of(&answer);
        running.body = Some(answer.body);
        self.input(device, DeviceInput::Download(DownloadEvent::Answered(head)));
    }

    fn serve(&self, request: &DownloadRequest) -> ImageAnswer {
        let authorization = format!("OtaSecret {}", String::from_utf8_lossy(request.secret.as_bytes()));
        let range = (request.offset > 0).then(|| format!("bytes={}-", request.offset));
        self.server.serve_image(&ImageRequest {
            path: &request.target.path,
            authorization: Some(&authorization),
            range: range.as_deref(),
        })
    }

    fn input(&mut self, device: DeviceIndex, input: DeviceInput) {
        self.with_edge(device, |edge, now, out| edge.handle_input(input, now, out));
    }

    /// The rule of use: call the edge, carry out what it wants, schedule its next wake. Bytes of an image for which there is credit are
    /// handed over at once: the edge gives it when they have crossed the path.
    fn with_edge(&mut self, device: DeviceIndex, call: impl FnOnce(&mut Edge, SimTime, &mut EdgeOutputs)) {
        let mut outputs = std::mem::take(&mut self.outputs);
        call(&mut self.edges[device.at()], self.now, &mut outputs);
        loop {
            for output in outputs.drain() {
                self.carry_out(device, output);
            }
            let Some(event) = self.ports[device.at()].next_of_body() else {
                break;
            };
            self.edges[device.at()].handle_input(DeviceInput::Download(event), self.now, &mut outputs);
        }
        self.outputs = outputs;
        if self.ports[device.at()].served_to_the_end() {
            self.admission.download_over();
        }
        self.tell_carried(device);
        self.schedule_wake(device);
    }

    fn tell_carried(&mut self, device: DeviceIndex) {
        let carried = self.edges[device.at()].take_carried();
        if !carried.is_empty() {
            self.sight(Sighting::Carried(device, carried));
        }
    }

    fn carry_out(&mut self, device: DeviceIndex, output: EdgeOutput) {
        match output {
            EdgeOutput::Device(output) => self.carry_out_for_device(device, output),
            EdgeOutput::Sent(packet) => self.sight(Sighting::Sent(device, packet)),
            EdgeOutput::Late(packet) => self.send_to_server(device, packet),
            EdgeOutput::Delivered(packet) => self.sight(Sighting::Delivered(device, packet)),
            EdgeOutput::Requested(request) => self.sight(Sighting::Requested(device, request)),
            EdgeOutput::Headed(head) => self.sight(Sighting::Headed(device, head)),
            EdgeOutput::Fault { fault, happening } => self.sight(Sighting::Fault {
                device,
                fault,
                happening,
            }),
        }
    }

    fn carry_out_for_device(&mut self, device: DeviceIndex, output: DeviceOutput) {
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
                    self.sight(Sighting::Sent(device, packet.clone()));
                    self.send_to_server(device, packet);
                }
            }
            DeviceOutput::StartDownload(request) => {
                let download = port.start_download();
                let at = edge.request_arrives(&request, self.now);
                self.sight(Sighting::Requested(device, request.clone()));
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
            DeviceOutput::Observed(observation) => self.sight(Sighting::Observed(device, observation)),
        }
    }

    fn send_to_server(&mut self, device: DeviceIndex, packet: Packet) {
        if let Some(connection) = self.ports[device.at()].up() {
            let at = self.edges[device.at()].packet_arrives(Way::Up, &packet, self.now);
            self.push(device, at, Event::Received { connection, packet });
        }
    }

    fn schedule_wake(&mut self, device: DeviceIndex) {
        let wanted = self.edges[device.at()].next_timeout().map(|at| at.max(self.now));
        let port = &mut self.ports[device.at()];
        if wanted != port.wake {
            port.wake = wanted;
            port.generation = port.generation.wrapping_add(1);
            let generation = port.generation;
            if let Some(at) = wanted {
                self.push(device, at, Event::Wake { generation });
            }
        }
    }

    fn tell_server(&mut self, input: ServerInput) {
        self.server.handle_input(input, self.now, &mut self.server_outputs);
        self.carry_out_server();
    }

    fn carry_out_server(&mut self) {
        let outputs = std::mem::take(&mut self.server_outputs);
        if let Some(mut outputs) = self.process.commit(outputs, self.now) {
            outputs.drain(..).for_each(|output| self.carry_out_for_server(output));
            self.server_outputs = outputs;
        }
    }

    fn carry_out_for_server(&mut self, output: ServerOutput) {
        match output {
            ServerOutput::Record { stamp, record } => self.process.keep(stamp, record),
            ServerOutput::Transmit { to, packet } => self.send_to_device(to, packet),
            ServerOutput::Close(id) => {
                let (device, connection) = connection_of(id);
                if self.ports[device.at()].close_at_server(connection) {
                    self.admission.leave(Door::Mqtt);
                }
                let at = self.edges[device.at()].packet_arrives(Way::Down, &Packet::Disconnect, self.now);
                self.push(device, at, Event::Closed { connection });
            }
            ServerOutput::Answer { request, result } => {
                self.asked.remove(&request.0);
                let result = match result {
                    // It had been done before the crash, and the answer was lost.
                    Err(AdminError::Exists { .. }) if self.asked_again.contains(&request.0) => Ok(()),
                    answer => answer.map_err(|error| error.to_string()),
                };
                self.sight(Sighting::Answered {
                    request: request.0,
                    result,
                });
            }
            ServerOutput::Observed(event) => self.sight(Sighting::Server(event)),
        }
    }

    fn send_to_device(&mut self, to: ConnectionId, packet: Packet) {
        let (device, connection) = connection_of(to);
        let at = self.edges[device.at()].packet_arrives(Way::Down, &packet, self.now);
        self.push(device, at, Event::Delivered { connection, packet });
    }

    fn carry_out_directives(&mut self) {
        while !self.directives.is_empty() {
            for directive in std::mem::take(&mut self.directives) {
                match directive {
                    Directive::Admin { request, action } => self.administer(request, action),
                    Directive::Device(device, input) => self.input(device, input),
                    Directive::Inject(device, injection) => {
                        self.with_edge(device, |edge, now, out| edge.inject(*injection, now, out));
                    }
                    Directive::Server(condition) => self.befall(condition),
                    Directive::EndTrouble => {
                        self.end_trouble();
                        let latest = self.latest_timer();
                        self.director.trouble_ended(self.now, latest, &mut self.directives);
                    }
                    Directive::Stop => self.over = true,
                }
            }
        }
    }

    fn administer(&mut self, request: u64, action: AdminAction) {
        if self.process.may_crash() {
            self.asked.insert(request, action.clone());
            if self.process.condition().down {
                return;
            }
        }
        let request = RequestId(request);
        self.tell_server(ServerInput::Admin { request, action });
    }

    fn end_trouble(&mut self) {
        for index in 0..self.edges.len() as u32 {
            self.with_edge(DeviceIndex(index), Edge::end_trouble);
        }
    }

    /// The latest timer that any device has armed, keep-alive and heartbeat left out.
    fn latest_timer(&self) -> Option<SimTime> {
        self.edges.iter().filter_map(Edge::latest_timeout).max()
    }

    fn sight(&mut self, sighting: Sighting) {
        self.director.handle_sighting(self.now, sighting, &mut self.directives);
    }

    fn push(&mut self, device: DeviceIndex, at: SimTime, event: Event) {
        let sequence = self.ports[device.at()].next_sequence();
        self.queue.push(Scheduled {
            at,
            device,
            sequence,
            event,
        });
    }
}

fn head_of(answer: &ImageAnswer) -> ImageHead {
    ImageHead {
        status: answer.status,
        content_length: Some(answer.body.len() as u64),
        content_range: answer.content_range,
    }
}

/// The server of the plan, its secrets drawn from the seed.
fn server_config(plan: &Plan) -> ServerConfig {
    let mut artifact_key = [0; 32];
    for (ordinal, word) in artifact_key.chunks_exact_mut(8).enumerate() {
        let drawn = plan.luck().draw(Purpose::ArtifactKey, 0, ordinal as u64);
        word.copy_from_slice(&drawn.to_be_bytes());
    }
    let mut ingest_keys: Vec<KeyHash> = Vec::new();
    for fleet in &plan.fleets {
        let hash = fleet.config.ingest_key.hash();
        if !ingest_keys.contains(&hash) {
            ingest_keys.push(hash);
        }
    }
    let scheme = if plan.server.tls == TlsPlan::Off { "http" } else { "https" };
    ServerConfig {
        ingest_keys,
        artifact_key,
        image_base: format!("{scheme}://{IMAGE_HOST}"),
        chase: plan.server.chase,
        first_attempt: AttemptId::new(1).expect("one is not zero"),
        epoch_ms: 0,
        keep_history: false,
        limits: plan.server.limits.clone(),
        deadline: plan.server.deadline,
    }
}
