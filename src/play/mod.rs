//! The Director: timeline, `when`, trouble and settle, the end of the run. A core too: sightings and time go in, directives come out.
//!
//! A driver carries out [`Director::setup`] before time zero, powers the devices on at their planned moments, hands over every
//! sighting and calls [`Director::handle_timeout`] when [`Director::next_timeout`] is due; it decides nothing itself. After
//! [`Directive::Stop`] it names the devices that are still busy ([`Director::left_open`]) and takes the [`Outcome`].

mod audited;
mod census;
mod ending;
mod faults;
mod io;
mod judging;
mod looks;
mod messages;
mod outcome;
mod pick;
mod picture;
mod requests;
mod server_faults;
mod setup;
mod shard;
mod sightings;
mod timeline;
mod verbs;
mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::measure::{FaultCame, Recorder};
use crate::model::{AdminAction, DeploymentName, DeviceIndex, Session, Split, UpdateState, Why};
use crate::scenario::Plan;
use crate::time::SimTime;
use crate::verdict::{Audit, Expectation, Referee, RefereeSetup};

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
use census::{builds, census, images, recorder};
use ending::Stage;
use faults::Faults;
use judging::Judging;
use looks::SECOND;
use outcome::Errors;
use requests::Requests;
use server_faults::ServerFaults;
use timeline::{Timeline, position};
use watching::Watching;

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

    /// Cheaters are known from the start, and only the server is judged on them.
    fn plan_cheats(&mut self) {
        for (row, cheat) in (self.plan.first_cheat()..).zip(&self.plan.cheats) {
            let played = cheat.devices.iter().filter(|device| self.plan.split.holds(**device));
            self.recorder.fault_planned(row as u16, played.count() as u64, None);
            cheat.devices.iter().for_each(|&device| self.referee.excuse(device));
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

    /// Which of the devices are played.
    #[must_use]
    pub fn split(&self) -> Split {
        self.plan.split
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
}
