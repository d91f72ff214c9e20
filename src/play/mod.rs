//! The Director: timeline, `when`, trouble and settle, the end of the run. A core too: sightings and time go in, directives come out.
//!
//! A driver carries out [`Director::setup`] before time zero, powers the devices on at their planned moments, hands over every
//! sighting and calls [`Director::handle_timeout`] when [`Director::next_timeout`] is due; it decides nothing itself. After
//! [`Directive::Stop`] it names the devices that are still busy ([`Director::left_open`]) and takes the [`Outcome`].

mod audited;
mod ending;
mod faults;
mod io;
mod judging;
mod messages;
mod outcome;
mod pick;
mod picture;
mod requests;
mod server_faults;
mod setup;
mod shard;
mod timeline;
mod verbs;
mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::device::Jitter;
use crate::faults::Happening;
use crate::measure::{Aggregate, Census, CensusDevice, FaultCame, FaultName, Noted, Recorder, RecorderSetup};
use crate::model::{
    AdminAction, Carried, DeploymentName, DeviceIndex, FirmwareVersion, Observation, ServerEvent, Session, Split, UpdateState, Why,
};
use crate::scenario::{Ends, Plan, PlannedFleet, PlannedStep, PlannedVersion, StepVerb};
use crate::time::SimTime;
use crate::verdict::{Audit, Build, Expectation, Least, Referee, RefereeSetup, Waits};
use crate::wire::{DownloadRequest, ImagePrint, Packet};

pub use io::{Directive, Mode, RunEnd, Sighting, Snapshot, Stamped};
pub use outcome::{
    Checks, Filled, HarnessReport, LargestFleet, Lateness, LeftOpen, Machine, Outcome, RunError, Status, ThreadFigures,
};
pub use picture::{
    Ask, CohortLine, Expected, FaultLine, HeldBy, LatencyLine, Life, NextStep, NoteLine, OpenDevice, Picture, Stands, Throughput,
    ThroughputRow, Viewer, WaitsFor, came_word,
};
pub use server_faults::ServerFaultWindow;
pub use shard::{SHARD_SCHEMA, ShardOutcome, Unmergeable, merge};

use audited::Audited;
use ending::{QUIET, Stage};
use faults::Faults;
use judging::Judging;
use outcome::Errors;
use requests::Requests;
use server_faults::ServerFaults;
use timeline::{Timeline, position};
use watching::Watching;

/// How often `when` and `always` are judged and the timeline grows a row.
const SECOND: Duration = Duration::from_secs(1);

/// Seconds between two looks where nothing is judged by the second and nobody watches.
const SELDOM: u32 = 60;

/// Conducts one run.
#[derive(Debug)]
pub struct Director {
    plan: Arc<Plan>,
    mode: Mode,
    recorder: Recorder,
    referee: Referee,
    audited: Audited,
    timeline: Timeline,
    faults: Faults,
    server_faults: ServerFaults,
    judging: Judging,
    requests: Requests,
    stage: Stage,
    /// When the next second is over.
    next_second: SimTime,
    /// When something is due; kept, since drivers ask after every event.
    next_timeout: Option<SimTime>,
    /// Devices that have tried to connect: until then their arrival is left.
    arrived: Vec<bool>,
    arrivals_left: usize,
    /// When the last of them is powered on.
    last_arrival: SimTime,
    /// Nobody but the Director itself asks how things stand at each second.
    looks_seldom: bool,
    left_open: BTreeMap<DeviceIndex, (Why, bool)>,
    errors: Errors,
    watching: Watching,
}

impl Director {
    /// A director at the start of a run.
    pub fn new(plan: Arc<Plan>, mode: Mode) -> Director {
        let census = census(&plan);
        let recorder = recorder(&plan, census.clone());
        let setup = RefereeSetup {
            builds: builds(&plan),
            images: images(&plan),
            census: &census,
        };
        let mut director = Director {
            referee: Referee::sharing(recorder.register().clone(), setup),
            recorder,
            timeline: Timeline::new(&plan),
            faults: Faults::new(&plan),
            audited: Audited::default(),
            server_faults: ServerFaults::new(&plan),
            judging: Judging::new(&plan, mode),
            requests: Requests::default(),
            stage: Stage::Trouble,
            next_second: SimTime::ZERO + SECOND,
            next_timeout: None,
            arrived: vec![false; plan.devices.len()],
            arrivals_left: plan.played_count(),
            last_arrival: plan
                .played()
                .map(|device| plan.devices[device.at()].boot_at)
                .max()
                .unwrap_or_default(),
            looks_seldom: false,
            left_open: BTreeMap::new(),
            errors: Errors::default(),
            watching: Watching::default(),
            plan,
            mode,
        };
        if !director.plan.split.is_whole() {
            let split = director.plan.split;
            director.recorder.play_only(split);
            director.referee.play_only(split);
        }
        if !director.plan.server.tells() {
            director.referee.server_is_mute();
        }
        director.plan_server_faults();
        director.plan_cheats();
        director.schedule();
        director
    }

    /// What the server must be told before time zero, in this order: firmware, versions, devices with tags in batches of at most
    /// 1,000, cohorts, members. Answers to these are the driver's to check; an error ends the run by [`Director::fail`]. Events that
    /// the server tells meanwhile are sightings at [`SimTime::ZERO`].
    pub fn setup(&self) -> Vec<AdminAction> {
        // In virtual time every shard has a server of its own, which knows what the one of the whole knows.
        match self.mode {
            Mode::Run => setup::actions(&self.plan, self.plan.split),
            Mode::Sim => setup::actions(&self.plan, Split::WHOLE),
        }
    }

    /// Something is soon seen of this device: has what is known of it ready.
    pub fn fetch(&self, device: DeviceIndex) {
        self.recorder.fetch(device);
        self.referee.fetch(device);
    }

    /// The same a little later, once that is there.
    pub fn fetch_more(&self, device: DeviceIndex) {
        self.referee.fetch_more(device);
    }

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

    /// Does what is due. A late call is fine: what was missed is made up for.
    pub fn handle_timeout(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        if self.over() {
            return;
        }
        let mut second = false;
        while self.next_second <= now {
            self.recorder.second_over(self.next_second);
            self.next_second += SECOND;
            second = true;
        }
        if second {
            self.recorder.observe_findings(self.broken());
        }
        let measured = |expectation: &Expectation| self.recorder.value(&expectation.measure, now);
        self.judging.judge_timed(&self.plan, &self.timeline, now, measured);
        if second && self.judging.judge_second(&self.plan, now, measured) {
            self.stop(RunEnd::Aborted, false, out);
        }
        match self.stage {
            Stage::Trouble => self.on_trouble(now, second, out),
            Stage::Settling { until } => self.on_settling(now, until, out),
            Stage::Asked | Stage::Over { .. } => {}
        }
        self.schedule();
    }

    /// Lets several seconds pass between two looks where nothing is judged by the second: for a driver that tells everything that
    /// happened by then, though not in the order of time.
    pub fn look_seldom(&mut self) {
        self.looks_seldom = true;
        self.schedule();
    }

    /// When [`Director::handle_timeout`] is due next; `None` once the run is over.
    #[must_use]
    pub fn next_timeout(&self) -> Option<SimTime> {
        self.next_timeout
    }

    /// The answer to [`Directive::EndTrouble`]: the latest timer that any device has armed, keep-alive and heartbeat left out.
    pub fn trouble_ended(&mut self, now: SimTime, latest_timer: Option<SimTime>, out: &mut Vec<Directive>) {
        if self.stage != Stage::Asked {
            return;
        }
        match ending::settle_bound(&self.plan, now, latest_timer) {
            Some(until) => {
                self.stage = Stage::Settling { until };
                self.on_settling(now, until, out);
            }
            None => self.stop(RunEnd::Duration, false, out),
        }
        self.schedule();
    }

    /// The user asks for the end (Ctrl-C): emits [`Directive::Stop`], unless the run is over already.
    pub fn interrupt(&mut self, _now: SimTime, out: &mut Vec<Directive>) {
        self.stop(RunEnd::Interrupted, false, out);
        self.schedule();
    }

    /// The run cannot go on: emits [`Directive::Stop`], unless the run is over already.
    pub fn fail(&mut self, _now: SimTime, message: impl Into<String>, out: &mut Vec<Directive>) {
        self.stop(RunEnd::Failed(message.into()), false, out);
        self.schedule();
    }

    /// After [`Directive::Stop`]: this device is not at rest. `why` is its `Device::explain`; a device that its own firmware keeps
    /// from ending (`Device::stuck_by_firmware`) is stuck and breaks no rule.
    pub fn left_open(&mut self, device: DeviceIndex, why: Why, stuck_by_firmware: bool) {
        self.left_open.insert(device, (why, stuck_by_firmware));
    }

    /// After [`Directive::Stop`]: what holding the server against its own rules came to, where somebody did.
    pub fn audited(&mut self, audit: Audit) {
        self.audited.summed(audit);
    }

    /// Figures for the progress line.
    #[must_use]
    pub fn snapshot(&self, now: SimTime) -> Snapshot {
        Snapshot {
            at: now,
            online: self.recorder.in_session(Session::Online),
            open: self.recorder.open_attempts(),
            ok: self.recorder.in_state(UpdateState::Succeeded),
            failed: self.recorder.in_state(UpdateState::Failed),
        }
    }

    /// Judges what is left to judge and closes the books.
    pub fn finish(mut self, now: SimTime, harness: Option<HarnessReport>, started_at: Option<String>) -> Outcome {
        let (end, unsettled) = match std::mem::replace(&mut self.stage, Stage::Trouble) {
            Stage::Over { end, unsettled } => (end, unsettled),
            Stage::Trouble | Stage::Asked | Stage::Settling { .. } => (RunEnd::Interrupted, false),
        };
        self.miss_what_is_left(now);
        self.recorder.second_over(now);
        if unsettled {
            self.judge_settled(now);
        }
        let server_windows = self.server_faults.windows();
        let fired = (0..self.plan.steps.len()).map(|step| self.timeline.fired_at(step)).collect();
        let settled = !unsettled && matches!(end, RunEnd::Settled | RunEnd::Duration) && self.honest_attempts() == 0;
        let (mut findings, checks) = self.referee.finish(now, settled);
        findings.extend(self.audited.findings());
        let (audited_rules, audited_checks) = self.audited.checks();
        self.recorder.observe_findings(self.broken());
        if let Some(harness) = &harness {
            self.recorder.observe_harness(harness.figures());
        }
        let measured = |expectation: &Expectation| self.recorder.value(&expectation.measure, now);
        let judgements = match self.plan.split.is_whole() {
            true => self.judging.finish(&self.plan, &self.timeline, now, measured),
            // What is expected is expected of the whole.
            false => Vec::new(),
        };
        Outcome {
            plan: self.plan,
            mode: self.mode,
            elapsed: now,
            end,
            fired,
            server_windows,
            recorder: self.recorder,
            judgements,
            findings,
            checks: Checks {
                rules: Referee::RULES + audited_rules,
                checks: checks + audited_checks,
            },
            left_open: self
                .left_open
                .into_iter()
                .map(|(device, (why, stuck_by_firmware))| LeftOpen {
                    device,
                    why,
                    stuck_by_firmware,
                })
                .collect(),
            errors: self.errors.into_rows(),
            started_at,
            harness,
            twin: None,
        }
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

    /// Cheaters are known from the start, and only the server is judged on them.
    fn plan_cheats(&mut self) {
        for (row, cheat) in (self.plan.first_cheat()..).zip(&self.plan.cheats) {
            let played = cheat.devices.iter().filter(|device| self.plan.split.holds(**device));
            self.recorder.fault_planned(row as u16, played.count() as u64, None);
            cheat.devices.iter().for_each(|&device| self.referee.excuse(device));
        }
    }

    fn count_message(&mut self, at: SimTime, device: DeviceIndex, up: bool, packet: &Packet) {
        if messages::is_message(packet) {
            self.recorder.observe_message(at, device, up, || messages::kind(packet));
        }
    }

    /// True where drivers tell of flash operations after every event ([`Sighting::Flash`]); at the end of a run they always do.
    #[must_use]
    pub fn asks_flash(&self) -> bool {
        self.recorder.asks_flash()
    }

    /// True where somebody asks during the run for bytes on the wire ([`Sighting::Carried`]): what is told late is then missing.
    #[must_use]
    pub fn asks_bytes(&self) -> bool {
        self.recorder.asks_bytes()
    }

    /// Sends the faults whose moment has come, or is the devices' own to see. What they must break is no longer held against a device.
    fn send_faults(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        while let Some(sending) = self.faults.send_next(&self.plan, &self.timeline, &self.recorder, now) {
            let planned = &self.plan.faults[sending.fault];
            let (devices, each) = (sending.devices.len() as u64, planned.planned_each());
            self.recorder.fault_planned(sending.fault as u16, devices, each);
            let lifts = planned.kind.lifts();
            for &device in &sending.devices {
                if !lifts.is_empty() {
                    self.referee.lift(device, lifts);
                }
                let injections = self.faults.injections(&self.plan, &sending, device);
                out.extend(
                    injections
                        .into_iter()
                        .map(|injection| Directive::Inject(device, Box::new(injection))),
                );
            }
        }
    }

    /// The run is over: what is planned and has not come about will not.
    fn miss_what_is_left(&mut self, now: SimTime) {
        self.miss_server_faults(now);
        let sent: Vec<bool> = (0..self.plan.faults.len()).map(|fault| self.faults.is_sent(fault)).collect();
        for (fault, device, left, why) in self.faults.unmet(&self.plan) {
            if !sent[fault] {
                let each = self.plan.faults[fault].planned_each();
                self.recorder.fault_planned(fault as u16, 1, each);
            }
            (0..left).for_each(|_| {
                self.recorder
                    .observe_fault(now, device, fault as u16, FaultCame::Missed, Some(why))
            });
        }
    }

    /// Fires steps, and looks whether trouble is over. Conditions are judged before the moment's own steps fire, hence without them.
    fn on_trouble(&mut self, now: SimTime, second: bool, out: &mut Vec<Directive>) {
        let plan = Arc::clone(&self.plan);
        for (index, step) in plan.steps.iter().enumerate().filter(|_| second) {
            if self.timeline.judge(index, now, || holds(&self.recorder, step, now)) {
                self.fire(index, step, now, out);
            }
        }
        while let Some(index) = self.timeline.due(now) {
            self.fire(index, &plan.steps[index], now, out);
        }
        self.send_faults(now, out);
        self.befall_server(now, out);
        if plan.ends == Ends::Settled && second && self.nothing_left(now) {
            self.stop(RunEnd::Settled, false, out);
        } else if now >= SimTime::ZERO + plan.duration {
            self.stage = Stage::Asked;
            self.spare_server(now, out);
            out.push(Directive::EndTrouble);
        }
    }

    fn on_settling(&mut self, now: SimTime, until: SimTime, out: &mut Vec<Directive>) {
        if self.at_rest(now, self.honest_attempts()) {
            let end = match self.plan.ends {
                Ends::Settled => RunEnd::Settled,
                Ends::Duration => RunEnd::Duration,
            };
            self.stop(end, false, out);
        } else if now >= until {
            self.stop(RunEnd::Duration, true, out);
        }
    }

    fn fire(&mut self, index: usize, step: &PlannedStep, now: SimTime, out: &mut Vec<Directive>) {
        self.timeline.fire(index, now);
        self.recorder
            .note(now, None, Noted::Run(format!("step `{}` fires", step.name)));
        if let StepVerb::Deploy { packages, .. } = &step.verb {
            self.referee.deployed(&DeploymentName::new(step.name.as_str()), packages);
        }
        let actions = verbs::actions(&self.plan, step, &mut self.timeline, &mut self.recorder);
        if !self.carries_out_steps() {
            self.requests.asked_elsewhere(now);
            return;
        }
        for action in actions {
            let request = self.requests.ask(index);
            out.push(Directive::Admin { request, action });
        }
    }

    /// In real time all shards meet one server, and one of them tells it what the steps say.
    fn carries_out_steps(&self) -> bool {
        self.mode == Mode::Sim || self.plan.split.leads()
    }

    /// Which of the devices are played.
    #[must_use]
    pub fn split(&self) -> Split {
        self.plan.split
    }

    /// False for what the server tells of the attempts of another shard's devices.
    pub fn concerns(&self, event: &ServerEvent) -> bool {
        let split = self.plan.split;
        let device = event.device_of_attempt().filter(|_| !split.is_whole());
        let device = device.and_then(|device| self.recorder.device_index(device.as_str()));
        device.is_none_or(|device| split.holds(device))
    }

    /// No arrival, timed step, timed expectation, running `for`, bounded fault or open attempt is left. Called after this second's judgements, which
    /// are the last that every `when` gets.
    fn nothing_left(&self, now: SimTime) -> bool {
        let expected = self.judging.next_timed(&self.timeline).is_some();
        let striking =
            self.faults.pending(&self.plan, &self.timeline, now) || self.server_faults.pending(&self.plan, &self.timeline);
        self.arrivals_left == 0
            && !self.timeline.pending(now)
            && !expected
            && !striking
            && self.at_rest(now, self.recorder.open_attempts())
    }

    /// No attempt is open, and nothing that was asked of the server can open one any more.
    fn at_rest(&self, now: SimTime, open: u64) -> bool {
        open == 0 && self.requests.quiet(now, QUIET)
    }

    /// Open attempts but for those of cheaters: within `duration` a run waits for them, and afterwards nobody can demand an end of them.
    fn honest_attempts(&self) -> u64 {
        let open = self.recorder.open_attempts();
        if open == 0 {
            return 0;
        }
        open - self.plan.cheaters().filter(|device| self.recorder.is_open(*device)).count() as u64
    }

    /// True for an attempt that is open for no reason of the plan: one that waits for a deployment which is paused may.
    fn must_end(&self, deployment: &DeploymentName, state: UpdateState) -> bool {
        let paused = || position(&self.plan, deployment.as_str()).is_some_and(|step| self.timeline.is_paused(step));
        match state {
            UpdateState::Pending => !paused(),
            UpdateState::None | UpdateState::InProgress => true,
            UpdateState::Succeeded | UpdateState::Failed | UpdateState::Cancelled => false,
        }
    }

    /// Every device that is open after the settle bound breaks the rule, unless its own firmware or a pause keeps it from ending.
    fn judge_settled(&mut self, now: SimTime) {
        for device in self.recorder.devices() {
            let held = device
                .attempts
                .iter()
                .any(|attempt| attempt.deployment.is_some_and(|name| self.must_end(name, attempt.state)));
            let left = self.left_open.get(&device.index);
            let stuck = left.is_some_and(|(_, stuck)| *stuck);
            let cheats = self.plan.cheat_of(device.index).is_some();
            if (device.phase.at_rest() && !held) || stuck || cheats {
                continue;
            }
            let why = left.map_or_else(|| "the server holds its attempt open".to_owned(), |(why, _)| why.to_string());
            self.referee.unsettled(now, device.index, device.phase, &why);
        }
    }

    /// Rules that were broken so far, and how often.
    fn broken(&self) -> Vec<(&'static str, u64)> {
        let mut broken = self.referee.broken();
        broken.extend(self.audited.broken());
        broken
    }

    fn over(&self) -> bool {
        matches!(self.stage, Stage::Over { .. })
    }

    fn stop(&mut self, end: RunEnd, unsettled: bool, out: &mut Vec<Directive>) {
        if !self.over() {
            self.stage = Stage::Over { end, unsettled };
            out.push(Directive::Stop);
        }
    }

    fn schedule(&mut self) {
        let expected = self.judging.next_timed(&self.timeline);
        let (step, end) = match self.stage {
            Stage::Trouble => {
                let of_server = self.server_faults.next_due(&self.plan, &self.timeline);
                let happens = [self.timeline.next_timed(), self.faults.next_due(&self.timeline), of_server];
                (happens.into_iter().flatten().min(), Some(SimTime::ZERO + self.plan.duration))
            }
            Stage::Asked => (None, None),
            Stage::Settling { until } => (None, Some(until)),
            Stage::Over { .. } => {
                self.next_timeout = None;
                return;
            }
        };
        let moments = [Some(self.next_look()), expected, step, end];
        self.next_timeout = moments.into_iter().flatten().min();
    }

    /// When seconds are looked at next: each of them once it is over, unless neither a judgement nor the end of the run can hang on one.
    fn next_look(&self) -> SimTime {
        let ends_from = match (&self.stage, self.plan.ends) {
            (Stage::Trouble, Ends::Duration) => None,
            (Stage::Trouble, Ends::Settled) => Some(self.last_arrival),
            (Stage::Asked | Stage::Settling { .. } | Stage::Over { .. }, _) => Some(SimTime::ZERO),
        };
        let judged_from = [self.timeline.judged_from(), self.judging.judged_from(&self.plan)];
        let counts_from = judged_from.into_iter().flatten().chain(ends_from).min();
        let passes = |seconds: &u32| {
            let end = self.next_second + SECOND * *seconds;
            counts_from.is_none_or(|from| end <= from)
        };
        let passed = (1..SELDOM).take_while(passes).last().filter(|_| self.looks_seldom);
        self.next_second + SECOND * passed.unwrap_or(0)
    }
}

/// Whether the `when` of a step holds; a share over too few devices does not.
fn holds(recorder: &Recorder, step: &PlannedStep, now: SimTime) -> bool {
    let Some(measure) = &step.when else {
        return false;
    };
    let measured = recorder.value(measure, now);
    measured.is_some_and(|measured| {
        let enough = measure.aggregate != Aggregate::Share || measured.base >= step.min_count;
        enough && measure.comparison.is_some_and(|comparison| comparison.holds(measured.value))
    })
}

/// A recorder laid out for a plan.
fn recorder(plan: &Plan, census: Census) -> Recorder {
    Recorder::new(RecorderSetup {
        census,
        requested: plan.measures().cloned().collect(),
        trace: plan.trace,
        warmup: plan.warmup,
        faults: counted(plan),
    })
}

/// Who takes part, as recorder and referee are told.
fn census(plan: &Plan) -> Census {
    let names: Vec<Arc<str>> = plan.fleets.iter().map(|fleet| fleet.name.as_str().into()).collect();
    let devices = plan.devices.iter().map(|device| CensusDevice {
        id: device.id.clone(),
        fleet: Arc::clone(&names[usize::from(device.fleet)]),
        tags: Arc::clone(&device.tags),
        runs: plan.fleets[usize::from(device.fleet)].runs.clone(),
        boot_at: device.boot_at,
    });
    Census {
        devices: devices.collect(),
        cohorts: plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect(),
    }
}

/// What the recorder has a row for: faults of devices, then of the server, then cheats.
fn counted(plan: &Plan) -> Vec<FaultName> {
    let server = plan.server_faults.iter().map(|fault| FaultName {
        name: fault.name.as_str().into(),
        kind: fault.kind.to_string().into(),
    });
    let faults = plan.faults.iter().map(|fault| FaultName {
        name: fault.name.as_str().into(),
        kind: fault.kind.to_string().into(),
    });
    let cheats = plan.cheats.iter().map(|row| FaultName {
        name: row.name.as_str().into(),
        kind: row.cheat.word().into(),
    });
    faults.chain(server).chain(cheats).collect()
}

/// What the devices of each fleet are built to, as the referee is told.
fn builds(plan: &Plan) -> BTreeMap<Arc<str>, Build> {
    let build = |fleet: &PlannedFleet| {
        let retry = &fleet.config.retry;
        let least = match retry.jitter {
            Jitter::Fixed => Least::Whole,
            Jitter::Half => Least::Half,
            Jitter::Full => Least::Nothing,
        };
        Build {
            max_artifacts: fleet.config.max_artifacts,
            retry: Waits {
                first: retry.first,
                max: retry.max,
                least,
            },
            lifted: fleet.config.sdk.breaks().to_vec(),
            duplicates_cancel: !fleet.config.quirks.ignores_canceled_duplicate,
            disguised: fleet.behaviors.disguised().collect(),
        }
    };
    plan.fleets
        .iter()
        .map(|fleet| (fleet.name.as_str().into(), build(fleet)))
        .collect()
}

/// The images of the run, as the referee is told.
fn images(plan: &Plan) -> Vec<(FirmwareVersion, ImagePrint)> {
    let print = |version: &PlannedVersion| (version.firmware.clone(), ImagePrint::of(&version.image));
    plan.versions.iter().map(print).collect()
}
