//! The loop: takes the first event, hands it to a core, and carries out what the core wants.
//!
//! At one moment devices come first, in their order, then the server's own timers, then the Director, who thus sees everything up to
//! and including that moment.

mod ahead;
mod audit;
mod devices;
mod pages;
mod rest;
mod serving;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::{Device, DeviceInput, LinkLoss};
use crate::faults::{Edge, EdgeOutputs};
use crate::luck::Purpose;
use crate::memory;
use crate::model::{DeviceIndex, KeyHash};
use crate::play::{Ask, Directive, Director, Mode, Outcome, Picture, Sighting};
use crate::scenario::{Plan, TlsPlan};
use crate::server::{
    Admission, ConnectionId, Record, RequestId, Server, ServerConfig, ServerInput, ServerOutput, ServerOutputs, Stamp,
};
use crate::time::SimTime;
use crate::verdict::Auditor;
use crate::wire::{ImageAnswer, ImageHead};

use super::boxes::Boxes;
use super::link::Port;
use super::process::{Process, Work};
use super::queue::{Event, Queue, QueueKind, STAGES, Scheduled};
use ahead::{Ahead, serves_each_alone};
use trouble::Asked;

/// Events between two looks at the driver's surroundings.
pub const PULSE: u64 = 4_096;

/// More events than this of one device at one moment are a loop without an end.
const CROWD: u32 = 1_000_000;

/// Outputs of the server that room is kept for; a deployment to a whole fleet makes millions at once.
const OUTPUTS_KEPT: usize = 256;

/// In a fleet of more devices than this the server's rules are held for one device in so many.
const AUDITED_MAX: usize = 100_000;

/// Events before its turn at which a device is fetched; then what it keeps elsewhere, and what the server keeps of it, a look at a time.
const FETCHED_AHEAD: [usize; STAGES] = [10, 6, 4, 2];

/// A fleet of more devices than this has the heap on large pages.
const LARGE_FLEET: usize = 50_000;

/// Where images stand in virtual time; a name that no resolver knows.
const IMAGE_HOST: &str = "sim.invalid";

/// What the surroundings of a simulation want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Go on.
    GoOn,
    /// Go on, and look again before anything happens that lies behind this moment.
    Until(SimTime),
    /// End the run as interrupted.
    Interrupt,
}

/// A simulation as who watches it sees it.
pub struct Scene<'a> {
    /// The moment: nothing that lies behind it has happened.
    pub now: SimTime,
    /// Who knows what came of the run so far.
    pub director: &'a mut Director,
    edges: &'a [Edge],
}

impl Scene<'_> {
    /// The run as it stands.
    pub fn picture(&mut self, ask: &Ask) -> Picture {
        let (edges, now) = (self.edges, self.now);
        let why = |device: DeviceIndex| edges.get(device.at()).map(|edge| edge.device().explain(now));
        self.director.picture(now, ask, &why)
    }
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
    auditor: Auditor,
    process: Process,
    /// Changes asked for and not answered, where a crash may lose the answer.
    asked: BTreeMap<u64, Asked>,
    crashes: u64,
    director: Director,
    over: bool,
    /// Somebody wants it to be over.
    interrupted: bool,
    /// Somebody sees pictures, the first before anything happens.
    watched: bool,
    /// Devices rest; the reference does without.
    rests: bool,
    /// Nothing that one device does concerns another.
    alone: bool,
    /// Nobody asks in which order devices of one look of the Director come.
    in_any_order: bool,
    ahead: Ahead,
    /// Events handled, those of rests among them.
    events: u64,
    /// Of a large fleet.
    heap: Option<memory::Heap>,
    /// The device that an event is being handled for, and how many of it at this moment.
    current: Option<DeviceIndex>,
    crowd: u32,
    /// Flash operations are told of after every event.
    asks_flash: bool,
    outputs: EdgeOutputs,
    server_outputs: ServerOutputs,
    directives: Vec<Directive>,
    boxes: Boxes,
}

impl Engine {
    /// Devices in their boxes, a server that knows nothing.
    pub(super) fn new(plan: Arc<Plan>, kind: QueueKind) -> Engine {
        let heap = (plan.devices.len() > LARGE_FLEET).then(memory::Heap::large);
        let indices = || (0..plan.devices.len() as u32).map(DeviceIndex);
        let edge = |index: DeviceIndex| {
            let fleet = plan.fleet_of(index);
            let (config, behaviors) = (Arc::clone(&fleet.config), Arc::clone(&fleet.behaviors));
            let device = Device::new(plan.identity(index), config, behaviors, plan.luck(), fleet.image.clone());
            Edge::new(device, Arc::clone(&fleet.link))
                .sleeping(fleet.sleep)
                .away(plan.spells_of(index))
                .cheating(plan.cheat_of(index), || plan.victim_of(index))
        };
        let mut edges = memory::column(plan.devices.len());
        edges.extend(indices().map(edge));
        let mut ports = memory::column(plan.devices.len());
        let auditor = Auditor::new(plan.server.chase).one_in(plan.devices.len().div_ceil(AUDITED_MAX) as u64);
        // One that cheats may call itself what one is called that is watched.
        let audited = |index: DeviceIndex| !plan.cheats.is_empty() || auditor.watches(&plan.devices[index.at()].id);
        ports.extend(indices().map(|index| Port::new(audited(index))));
        let mut director = Director::new(Arc::clone(&plan), Mode::Sim);
        let alone = plan.cheats.is_empty() && plan.server.deadline.is_none() && !director.asks_flash();
        let rests = kind != QueueKind::Heap && !director.asks_bytes();
        let in_any_order = rests && serves_each_alone(&plan) && !plan.trace && !director.asks_flash();
        if in_any_order {
            director.look_seldom();
        }
        Engine {
            asks_flash: director.asks_flash(),
            now: SimTime::ZERO,
            queue: Queue::new(kind),
            edges,
            ports,
            server: server(&plan, Vec::new()),
            admission: Admission::new(plan.server.limits.clone(), u64::MAX),
            auditor,
            process: Process::new(&plan),
            asked: BTreeMap::new(),
            crashes: 0,
            director,
            over: false,
            interrupted: false,
            watched: false,
            rests,
            alone,
            in_any_order,
            ahead: Ahead::default(),
            events: 0,
            heap,
            current: None,
            crowd: 0,
            outputs: EdgeOutputs::default(),
            server_outputs: Vec::new(),
            directives: Vec::new(),
            boxes: Boxes::default(),
            plan,
        }
    }

    /// Plays until the Director stops.
    pub(super) fn run(&mut self, pulse: &mut dyn FnMut(Scene<'_>) -> Pulse) {
        self.set_up();
        let plan = Arc::clone(&self.plan);
        for device in plan.played() {
            self.push(device, plan.devices[device.at()].boot_at, Event::PowerOn);
        }
        let mut steps = 0_u64;
        let mut until = self.watched.then_some(SimTime::ZERO);
        while !self.over {
            while let Some(shown) = until.filter(|until| self.next_at().is_some_and(|next| next > *until)) {
                self.now = self.now.max(shown);
                until = self.look(pulse);
            }
            if self.over || !self.step() {
                break;
            }
            steps += 1;
            if steps.is_multiple_of(PULSE) {
                self.heap.iter_mut().for_each(memory::Heap::keep);
                until = self.look(pulse);
            }
        }
    }

    /// Shows the simulation; gives the moment to look again at, at the latest.
    fn look(&mut self, pulse: &mut dyn FnMut(Scene<'_>) -> Pulse) -> Option<SimTime> {
        let scene = Scene {
            now: self.now,
            director: &mut self.director,
            edges: &self.edges,
        };
        match pulse(scene) {
            Pulse::GoOn => None,
            Pulse::Until(moment) => Some(moment),
            Pulse::Interrupt => {
                self.interrupted = true;
                if !self.in_any_order {
                    self.interrupt();
                }
                None
            }
        }
    }

    /// Ends the run here. Where devices go ahead, that waits for the Director's next look, at which all have come equally far.
    fn interrupt(&mut self) {
        self.director.interrupt(self.now, &mut self.directives);
        self.carry_out_directives();
    }

    /// When something happens next.
    fn next_at(&mut self) -> Option<SimTime> {
        let moments = [self.queue.next_at(), self.server_due(), self.director.next_timeout()];
        moments.into_iter().flatten().min()
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

    /// Keeps what pictures show, from before anything happens.
    pub(super) fn watch(&mut self) {
        self.watched = true;
        // Whoever looks sees each device as it is.
        self.rests = false;
        self.in_any_order = false;
        self.director.watch();
    }

    /// Closes the books; gives how many events there were, too.
    pub(super) fn finish(mut self) -> (Outcome, u64) {
        for index in self.plan.played() {
            self.rouse(index);
            self.tell_carried(index);
            self.tell_flash(index);
        }
        for (index, device) in self.edges.iter().map(Edge::device).enumerate() {
            if !device.phase().at_rest() || device.stuck_by_firmware() {
                let index = DeviceIndex(index as u32);
                self.director
                    .left_open(index, device.explain(self.now), device.stuck_by_firmware());
            }
        }
        // One that stands still asks for nothing, and will once it goes on.
        let audit = match self.process.is_still() {
            true => self.auditor.audit(),
            false => self.auditor.finish(self.now),
        };
        self.tell_findings();
        self.director.audited(audit);
        (self.director.finish(self.now, None, None), self.events)
    }

    /// Tells the server what it must know before the first device is powered on.
    fn set_up(&mut self) {
        for (number, action) in self.director.setup().into_iter().enumerate() {
            let request = RequestId(number as u64);
            self.heap.iter_mut().for_each(memory::Heap::keep);
            self.hand_in(ServerInput::Admin { request, action });
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
        let server = self.server_due();
        let director = self.director.next_timeout();
        let Some(at) = [event, server, director].into_iter().flatten().min() else {
            return false;
        };
        let before = self.now;
        self.now = at.max(before);
        if event == Some(at) {
            self.fetch_ahead();
            let next = self.queue.pop().expect("it was seen a moment ago");
            if before != self.now || self.current != Some(next.device) {
                self.crowd = 0;
            }
            self.take_turn(next);
        } else if server == Some(at) {
            self.current = None;
            self.events += 1;
            self.server_turn();
        } else {
            self.current = None;
            self.events += 1;
            self.director.handle_timeout(self.now, &mut self.directives);
            if self.interrupted {
                self.interrupt();
            }
        }
        if !self.directives.is_empty() {
            self.carry_out_directives();
        }
        true
    }

    /// Has ready what the next events need: with many devices hardly anything of one is at hand when its turn comes.
    fn fetch_ahead(&mut self) {
        while let Some(device) = self.queue.coming(0, FETCHED_AHEAD[0]) {
            memory::fetch(&self.edges[device.at()]);
            memory::fetch(&self.ports[device.at()]);
            self.director.fetch(device);
        }
        while let Some(device) = self.queue.coming(1, FETCHED_AHEAD[1]) {
            self.edges[device.at()].fetch_more();
            self.director.fetch_more(device);
            self.fetch_line(device, Server::fetch);
        }
        while let Some(device) = self.queue.coming(2, FETCHED_AHEAD[2]) {
            self.fetch_line(device, Server::fetch_more);
        }
        while let Some(device) = self.queue.coming(3, FETCHED_AHEAD[3]) {
            self.fetch_line(device, Server::fetch_device);
        }
    }

    fn fetch_line(&self, device: DeviceIndex, fetch: impl FnOnce(&Server, ConnectionId)) {
        if let Some(line) = self.ports[device.at()].line(device) {
            fetch(&self.server, line);
        }
    }

    fn happen(&mut self, device: DeviceIndex, event: Event) {
        match event {
            Event::PowerOn => self.input(device, DeviceInput::PowerOn),
            Event::Wake { generation } => self.on_wake(device, generation),
            Event::Connected { connection } => self.on_connected(device, connection),
            Event::Delivered { connection, packet } => {
                let packet = self.boxes.unpack(packet);
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
                self.reach_server(Work::Device(device, event));
            }
            Event::Answered { download, answer } => self.on_answered(device, download, *answer),
        }
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

    fn sight(&mut self, sighting: Sighting) {
        self.director.handle_sighting(self.now, sighting, &mut self.directives);
    }

    fn push(&mut self, device: DeviceIndex, at: SimTime, event: Event) {
        let sequence = self.ports[device.at()].next_sequence();
        let scheduled = Scheduled {
            at,
            device,
            sequence,
            event,
        };
        if !matches!(scheduled.event, Event::Wake { .. }) {
            self.ports[device.at()].under_way += 1;
        }
        match self.ahead.has(device, at) {
            true => self.ahead.add(scheduled),
            false => self.queue.push(scheduled),
        }
    }
}

fn head_of(answer: &ImageAnswer) -> ImageHead {
    ImageHead {
        status: answer.status,
        content_length: Some(answer.body.len() as u64),
        content_range: answer.content_range,
    }
}

/// The server of the plan, as it stands after `records`, with the bug that is planted in it.
fn server(plan: &Plan, records: Vec<(Stamp, Record)>) -> Server {
    let mut server = Server::restore(server_config(plan), records);
    if let Some(defect) = plan.server.defect {
        server.plant(defect);
    }
    server
}

/// How the server of the plan is set up, its secrets drawn from the seed.
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
        first_attempt: plan.server.first_attempt,
        limits: plan.server.limits.clone(),
        deadline: plan.server.deadline,
        epoch_ms: 0,
        keep_history: false,
    }
}

#[cfg(test)]
mod tests;
