//! Takes observations and keeps the figures.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AttemptId, AttemptResult, Carried, CohortName, ConnectResult, DeploymentName, DeviceId, DeviceIndex, FailureReason,
    FirmwareVersion, FlashCounts, LEGAL, Observation, Phase, Selector, ServerEvent, Session, StateReason, Tags, Transition,
    UpdateState,
};
use crate::time::SimTime;

use super::board::{Board, Note, Noted, is_notable};
use super::fault::{FaultFigures, FaultName};
use super::fetching::{Again, Fetching, Request};
use super::group::{Bytes, Entry, Group, Rates};
use super::happening::FaultCame;
use super::matrix::Matrix;
use super::places::Register;
use super::query::{Aggregate, LabelKey, Measure, Metric};
use super::roster::{Roster, Row};
use super::selection::{Changing, Facts, Selection};
use super::series::{Series, Value, WholeRun, rate};
use super::timeline::{AnswerClass, Happened, Timeline, TimelineRow};
use super::trace::Trace;
use super::trend::Trend;

/// Slowest updates that are kept.
const SLOWEST_MAX: usize = 50;
/// Most events that wait for the server to tell which deployment their attempt belongs to.
const WAITING_MAX: usize = 200_000;

/// Who takes part: devices by [`DeviceIndex`], cohorts by name.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Devices in the order of the plan.
    pub devices: Vec<CensusDevice>,
    /// Cohorts that series are laid down for; `all` is left out, being the total.
    pub cohorts: Vec<CohortName>,
}

/// One device of the census.
#[derive(Clone, Debug)]
pub struct CensusDevice {
    /// Its id.
    pub id: DeviceId,
    /// Name of its fleet.
    pub fleet: Arc<str>,
    /// Its tags at the start.
    pub tags: Arc<Tags>,
    /// What it runs at the start; the first is main.
    pub runs: Vec<FirmwareVersion>,
    /// When it is first powered on.
    pub boot_at: SimTime,
}

/// What a recorder is laid out for.
#[derive(Clone, Debug, Default)]
pub struct RecorderSetup {
    /// Who takes part.
    pub census: Census,
    /// Measures that will be asked for.
    pub requested: Vec<Measure>,
    /// Whether transitions are kept for the trace file.
    pub trace: bool,
    /// Trends leave out what ended before this.
    pub warmup: Duration,
    /// Faults in the order of the plan.
    pub faults: Vec<FaultName>,
}

/// The value of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// In the unit of the measure: seconds, a share from 0 to 1, a count, events a second. Infinite where it is not over yet.
    pub value: f64,
    /// Denominator of a share; number of values behind anything else.
    pub base: u64,
}

/// How harness and embedded server fared in real time.
#[derive(Clone, Debug, PartialEq)]
pub struct HarnessFigures {
    /// Lateness of timer wakes.
    pub late: Trend,
    /// Processor time of the harness, as a part of one core.
    pub cpu: f64,
    /// Most memory of the harness, bytes.
    pub memory: u64,
    /// Work dropped.
    pub dropped: u64,
    /// Processor time of the embedded server, as a part of one core.
    pub server_cpu: Option<f64>,
}

impl HarnessFigures {
    pub(super) fn value(&self, metric: Metric, aggregate: Aggregate, now: SimTime) -> Option<Measured> {
        let one = |value: f64| Some(Measured { value, base: 1 });
        match (metric, aggregate) {
            (Metric::Lateness, Aggregate::Rate) => rate(self.late.count(), now),
            (Metric::Lateness, _) => self.late.value(aggregate, 0),
            (Metric::Dropped, Aggregate::Rate) => rate(self.dropped, now),
            (Metric::Dropped, Aggregate::Share) => None,
            (Metric::Dropped, _) => Some(Measured {
                value: self.dropped as f64,
                base: self.dropped,
            }),
            (Metric::Cpu, Aggregate::Avg) => one(self.cpu),
            (Metric::Memory, Aggregate::Max) => one(self.memory as f64),
            (Metric::ServerCpu, Aggregate::Avg) => one(self.server_cpu?),
            _ => None,
        }
    }
}

/// Every figure of a run.
#[derive(Debug, Default)]
pub struct Recorder {
    pub(super) roster: Roster,
    pub(super) total: Group,
    pub(super) fleets: Vec<Group>,
    pub(super) cohorts: Vec<Group>,
    pub(super) requested: Vec<Series>,
    waiting: BTreeMap<AttemptId, Vec<(DeviceIndex, Metric, Facts, Value)>>,
    waiting_count: usize,
    pub(super) matrix: Matrix,
    /// The same by fleet, where there are several.
    pub(super) matrices: Vec<Matrix>,
    timeline: Timeline,
    happened: Happened,
    second: Option<SimTime>,
    trace: Option<Trace>,
    fingerprint: u64,
    /// The slowest updates, at most [`SLOWEST_MAX`]; of equally slow ones the first in the plan, whatever the order in which they came.
    slowest: BTreeSet<(Duration, Reverse<DeviceIndex>)>,
    warmup: SimTime,
    /// Made where somebody watches.
    pub(super) board: Option<Box<Board>>,
    findings: Vec<(&'static str, u64)>,
    /// Image bytes of each second in which some came.
    throughput: Rates,
    /// When the manifest of an attempt was first sent, where somebody asks for times from then on.
    offered: Option<BTreeMap<AttemptId, SimTime>>,
    /// Flash operations that were counted of each device, where somebody asks for them during the run.
    flash: Option<Vec<FlashCounts>>,
    harness: Option<HarnessFigures>,
}

impl Recorder {
    /// Lays down every series.
    pub fn new(setup: RecorderSetup) -> Self {
        let mut roster = Roster::new(setup.census);
        roster.faults = setup.faults.into_iter().map(FaultFigures::new).collect();
        for label in setup.requested.iter().flat_map(|measure| &measure.labels) {
            if let LabelKey::Who(key) = &label.key {
                roster.learn(key, &label.values);
            }
        }
        let mut requested: Vec<Series> = Vec::new();
        for measure in &setup.requested {
            if !requested.iter().any(|series| series.answers(measure)) {
                requested.push(Series::new(measure, &roster));
            }
        }
        let asks = |metric: Metric| setup.requested.iter().any(|measure| measure.metric == metric);
        Recorder {
            offered: asks(Metric::DeployTimeRaw).then(BTreeMap::new),
            flash: asks(Metric::FlashOps).then(|| vec![FlashCounts::default(); roster.rows.len()]),
            fleets: vec![Group::default(); roster.fleets.values().len()],
            matrices: match roster.fleets.values().len() {
                0 | 1 => Vec::new(),
                several => vec![Matrix::default(); several],
            },
            cohorts: vec![Group::default(); roster.cohorts.values().len()],
            roster,
            requested,
            trace: setup.trace.then(Trace::default),
            warmup: SimTime::from(setup.warmup),
            ..Recorder::default()
        }
    }

    /// Begins to keep what a screen shows; called before anything is observed.
    pub fn watch(&mut self) {
        self.board = Some(Box::new(Board::new(&self.roster)));
    }

    /// Takes what was seen of a device.
    pub fn observe(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        if let Some(trace) = &mut self.trace {
            trace.observe(at, device, observation);
        }
        match observation {
            Observation::Transition {
                transition,
                attempt,
                reason,
            } => {
                self.on_transition(at, device, *transition, *attempt);
                if is_notable(*transition) {
                    self.note(at, Some(device), Noted::Transition(*transition, *reason));
                }
            }
            Observation::Session(session) => self.on_session(at, device, *session),
            Observation::ConnectTried {
                result,
                wanted_at,
                tried_at,
            } => self.on_connect(at, device, *result, at.since(*wanted_at), at.since(*tried_at)),
            Observation::ManifestReceived { attempt } => self.on_manifest(at, device, *attempt),
            Observation::AttemptEnded { attempt, result, reason } => self.on_end(at, device, *attempt, *result, *reason),
            Observation::ResultPublished { attempt, complete: true } => self.on_published(at, device, *attempt),
            Observation::Booted { firmware, why, .. } => {
                self.on_main(device, firmware);
                let facts = Facts {
                    word: why.word(),
                    attempt: self.roster.rows[device.at()].current,
                    ..Facts::default()
                };
                self.enter(at, device, Entry::Boot(*why), facts);
            }
            Observation::Installed { firmware } => self.on_installed(device, firmware),
            Observation::RolledBack => {
                self.happened.rollbacks += 1;
                let facts = Facts {
                    attempt: self.roster.rows[device.at()].current,
                    ..Facts::default()
                };
                self.enter(at, device, Entry::Rollback, facts);
                self.note(at, Some(device), Noted::RolledBack);
            }
            Observation::RecordLost { .. } => self.roster.rows[device.at()].damaged = true,
            Observation::HandlerCalled { attempt, index, .. } => {
                let fetching = &mut self.roster.rows[device.at()].fetching;
                if !fetching.as_ref().is_some_and(|fetching| fetching.is_of(*attempt, *index)) {
                    *fetching = Some(Box::new(Fetching::new(*attempt, *index)));
                }
            }
            Observation::Requested { offset } => self.on_requested(at, device, *offset),
            Observation::Answered { status, .. } => {
                self.happened.answers[AnswerClass::of(*status) as usize] += 1;
                self.on_answered(at, device, *status);
            }
            Observation::Unbootable => self.note(at, Some(device), Noted::Unbootable),
            Observation::RetryScheduled { reason, received, .. } => {
                self.happened.retries += 1;
                self.note(at, Some(device), Noted::Retry(*reason, *received));
                self.request_over(at, device, |fetching| fetching.over(*received, Some(*reason)));
                self.enter(at, device, Entry::Retry, self.why(device, reason.word()));
            }
            Observation::Downloaded { bytes, .. } => {
                self.request_over(at, device, |fetching| fetching.over(*bytes, None));
                self.downloaded(at, device, *bytes);
            }
            Observation::DownloadLost { received, .. } => {
                self.request_over(at, device, |fetching| fetching.lost(*received));
                self.wasted(at, device, *received);
            }
            Observation::HandlerReturned { .. } => self.request_over(at, device, |fetching| fetching.over(0, None)),
            Observation::ResultPublished { complete: false, .. }
            | Observation::Confirmed
            | Observation::RecordWritten { .. }
            | Observation::RecordDeleted { .. }
            | Observation::FlashFailed { .. }
            | Observation::UpgradeRequested
            | Observation::FlashMisused { .. } => {}
        }
    }

    /// Takes what the server told about itself; devices that are not in the census are passed over.
    pub fn observe_server(&mut self, at: SimTime, event: &ServerEvent) {
        match event {
            ServerEvent::CohortJoined { device, cohort } => self.on_membership(device, cohort, true),
            ServerEvent::CohortLeft { device, cohort } => self.on_membership(device, cohort, false),
            ServerEvent::StateChanged {
                device,
                deployment,
                attempt,
                from: _,
                to,
                reason,
            } => {
                if let Some(device) = self.device_index(device.as_str()) {
                    self.trace_server(at, device, event);
                    self.on_state(at, device, deployment, *attempt, *to, *reason);
                }
            }
            ServerEvent::ManifestSent { device, attempt, repeat } => {
                if let Some(device) = self.device_index(device.as_str()) {
                    self.trace_server(at, device, event);
                    let facts = Facts {
                        flag: *repeat,
                        ..Facts::of_attempt(*attempt)
                    };
                    self.enter(at, device, Entry::Manifest { repeat: *repeat }, facts);
                }
            }
            ServerEvent::DeviceRegistered { .. }
            | ServerEvent::DeviceConnected { .. }
            | ServerEvent::DeviceDisconnected { .. }
            | ServerEvent::RuleBroken { .. } => {}
        }
    }

    /// A fault is dealt to so many more devices, and is planned to strike each so often; `None` where that is not known beforehand.
    pub fn fault_planned(&mut self, fault: u16, devices: u64, each: Option<u64>) {
        if let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) {
            figures.plan(devices, each);
        }
    }

    /// A fault of the server is planned to befall it so often; `None` has no end.
    pub fn server_fault_planned(&mut self, fault: u16, times: Option<u64>) {
        if let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) {
            figures.planned = times;
        }
    }

    /// Bytes of images came to devices.
    pub fn count_image_bytes(&mut self, bytes: u64) {
        self.happened.image_bytes += bytes;
    }

    /// Keeps something for who watches; forgotten where nobody does.
    pub fn note(&mut self, at: SimTime, device: Option<DeviceIndex>, what: Noted) {
        if let Some(board) = &mut self.board {
            board.note(Note { at, device, what });
        }
    }

    /// Takes what crossed the path of a device since it was last told.
    pub fn observe_carried(&mut self, at: SimTime, device: DeviceIndex, carried: Carried) {
        self.roster.rows[device.at()].carried.add(carried);
        let sorts = [
            ("up", "protocol", carried.up, Bytes::Up(carried.up)),
            ("down", "protocol", carried.protocol, Bytes::Protocol(carried.protocol)),
            ("down", "image", carried.image, Bytes::Image(carried.image)),
        ];
        for (dir, bytes, amount, entry) in sorts {
            if amount > 0 {
                let facts = Facts {
                    dir,
                    bytes,
                    ..Facts::default()
                };
                self.enter(at, device, Entry::Bytes(entry), facts);
            }
        }
    }

    /// A device handed a message to its transport (`up`), or was given one; `kind` is asked for where somebody wants to know.
    pub fn observe_message(&mut self, at: SimTime, device: DeviceIndex, up: bool, kind: impl FnOnce() -> &'static str) {
        let asked = self.requested.iter().any(|series| series.metric == Metric::Messages);
        let facts = Facts {
            dir: if up { "up" } else { "down" },
            word: if asked { kind() } else { "" },
            ..Facts::default()
        };
        self.enter(at, device, Entry::Message { up }, facts);
    }

    /// True where flash operations are asked for during the run.
    pub fn asks_flash(&self) -> bool {
        self.flash.is_some()
    }

    /// Takes the flash operations of a device so far: at the end of a run of every device, before that where [`Self::asks_flash`].
    pub fn observe_flash(&mut self, at: SimTime, device: DeviceIndex, counts: FlashCounts) {
        let before = match &mut self.flash {
            Some(told) => std::mem::replace(&mut told[device.at()], counts),
            None => FlashCounts::default(),
        };
        let erases = u64::from(counts.erases - before.erases);
        let writes = u64::from(counts.ops - before.ops) - erases;
        for (erase, word, count) in [(true, "erase", erases), (false, "write", writes)] {
            if count > 0 {
                let facts = Facts {
                    word,
                    ..Facts::default()
                };
                self.enter(at, device, Entry::Flash { erase, count }, facts);
            }
        }
    }

    /// Takes how harness and server fared; at the end of a run in real time.
    pub fn observe_harness(&mut self, figures: HarnessFigures) {
        self.harness = Some(figures);
    }

    /// How harness and server fared, once that is known.
    pub fn harness(&self) -> Option<&HarnessFigures> {
        self.harness.as_ref()
    }

    /// Image bytes of each second in which some came.
    pub fn throughput(&self) -> &Trend {
        &self.throughput.0
    }

    /// Takes how often each invariant was broken so far.
    pub fn observe_findings(&mut self, findings: Vec<(&'static str, u64)>) {
        self.findings = findings;
    }

    /// Takes what came of a fault at a device.
    pub fn observe_fault(&mut self, at: SimTime, device: DeviceIndex, fault: u16, came: FaultCame, why: Option<&str>) {
        let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) else {
            return;
        };
        figures.came(at, came, self.roster.rows[device.at()].phase, why);
        if let Some(board) = &mut self.board {
            board.fault(at, device, fault, came);
        }
        if let Some(trace) = &mut self.trace {
            trace.fault(at, device, (&figures.name, &figures.kind), came, why);
        }
        // What strikes by chance strikes too often to be read.
        if let (Some(board), Some(_), FaultCame::Done | FaultCame::Missed) = (&mut self.board, figures.planned, came) {
            let what = Noted::Fault(figures.name.to_string(), came);
            board.note(Note {
                at,
                device: Some(device),
                what,
            });
        }
        match came {
            FaultCame::Done => self.enter_fault(at, device, fault, true),
            FaultCame::Missed => self.enter_fault(at, device, fault, false),
            FaultCame::Began | FaultCame::Ended => {}
        }
    }

    /// Takes what came of a fault of the server. It is in no device's trace; of a device's connections that shows what it did to them.
    pub fn observe_server_fault(&mut self, at: SimTime, fault: u16, came: FaultCame, why: Option<&str>) {
        let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) else {
            return;
        };
        figures.came_to_server(at, came, why);
        if let Some(board) = &mut self.board {
            board.server_fault(fault, came);
        }
        let what = Noted::Fault(figures.name.to_string(), came);
        let done = match came {
            FaultCame::Done => true,
            FaultCame::Missed => false,
            FaultCame::Began | FaultCame::Ended => return self.note(at, None, what),
        };
        self.total.take(Entry::Fault { done });
        let facts = Facts {
            fault: Some((fault, done)),
            ..Facts::default()
        };
        for series in self.requested.iter_mut().filter(|series| series.metric == Metric::Faults) {
            series.enter_of_server(facts);
        }
    }

    /// A fault could have struck a message, request or operation of a device, and by its chance did not.
    pub fn fault_spared(&mut self, at: SimTime, device: DeviceIndex, fault: u16) {
        if let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) {
            figures.spare();
            self.enter_fault(at, device, fault, false);
        }
    }

    /// What came of the faults of the plan, in its order.
    pub fn faults(&self) -> &[FaultFigures] {
        &self.roster.faults
    }

    /// Sets tags of a device.
    pub fn set_tags(&mut self, device: DeviceIndex, tags: &Tags) {
        let added = tags.iter().map(|(key, value)| (key.clone(), value.clone()));
        self.change(Changing::Tag, device, |row| Arc::make_mut(&mut row.tags).extend(added));
    }

    /// Removes tags of a device.
    pub fn remove_tags(&mut self, device: DeviceIndex, keys: &[String]) {
        self.change(Changing::Tag, device, |row| {
            let tags = Arc::make_mut(&mut row.tags);
            keys.iter().for_each(|key| {
                tags.remove(key);
            });
        });
    }

    /// Writes a row of the timeline; called once a second, and at the end of the run.
    pub fn second_over(&mut self, at: SimTime) {
        if self.second.is_some_and(|last| last >= at) {
            return;
        }
        let lasted = at.since(self.second.unwrap_or(SimTime::ZERO)).as_nanos();
        self.second = Some(at);
        let bytes = u128::from(self.happened.image_bytes);
        if bytes > 0 && at >= self.warmup {
            self.throughput.0.record_amount((bytes * 1_000_000_000 / lasted) as u64);
        }
        self.timeline.second(TimelineRow {
            at,
            sessions: self.roster.by_session,
            states: self.roster.by_state,
            phases: self.roster.by_phase,
            happened: std::mem::take(&mut self.happened),
        });
    }

    /// The value of a measure; `None` where it is undefined (a share of nothing, a percentile of no values), or where it was not
    /// among the requested ones.
    pub fn value(&self, measure: &Measure, now: SimTime) -> Option<Measured> {
        let series = self.requested.iter().find(|series| series.answers(measure))?;
        let legal = LEGAL.len() as u64;
        let run = WholeRun {
            coverage: (legal - self.matrix.unseen().len() as u64, legal),
            findings: &self.findings,
            throughput: &self.throughput.0,
            visits: &self.total.phase_time,
            harness: self.harness.as_ref(),
        };
        series.value(measure.aggregate, now, &self.roster, &run)
    }

    /// Devices that fulfil every term of `selector` at this moment; its pick is not looked at.
    pub fn matching(&self, selector: &Selector) -> Vec<DeviceIndex> {
        let selection = Selection::of_selector(selector, &self.roster);
        self.indices()
            .filter(|device| selection.holds_device(*device, &self.roster.rows[device.at()]))
            .collect()
    }

    /// Devices that are not at rest, or have an attempt that the server holds open.
    pub fn open_attempts(&self) -> u64 {
        self.roster.open
    }

    /// True while an attempt of this device is open, at it or at the server.
    pub fn is_open(&self, device: DeviceIndex) -> bool {
        self.roster.rows[device.at()].is_open()
    }

    /// Who takes part.
    pub fn register(&self) -> &Register {
        &self.roster.register
    }

    /// The device with this id.
    pub fn device_index(&self, id: &str) -> Option<DeviceIndex> {
        self.roster.find(id)
    }

    /// A wrapping sum over all transitions, independent of their order and of how a fleet is split.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The updates that took longest, as `update_time` counts, with their devices, slowest first.
    pub fn slowest(&self) -> impl Iterator<Item = (DeviceIndex, Duration)> {
        self.slowest.iter().rev().map(|(took, device)| (device.0, *took))
    }

    /// What happened, if it is kept.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Rows of the timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// How often each transition was seen.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = DeviceIndex> + use<> {
        (0..self.roster.rows.len() as u32).map(DeviceIndex)
    }

    fn trace_server(&mut self, at: SimTime, device: DeviceIndex, event: &ServerEvent) {
        if let Some(trace) = &mut self.trace {
            trace.observe_server(at, device, event);
        }
    }

    fn enter_fault(&mut self, at: SimTime, device: DeviceIndex, fault: u16, done: bool) {
        let facts = Facts {
            fault: Some((fault, done)),
            ..Facts::default()
        };
        self.enter(at, device, Entry::Fault { done }, facts);
    }

    fn on_transition(&mut self, at: SimTime, device: DeviceIndex, transition: Transition, attempt: Option<AttemptId>) {
        let (sequence, spent) = self.change(Changing::Phase, device, |row| {
            let sequence = row.sequence;
            row.sequence += 1;
            row.phase = transition.to;
            row.phase_since = at;
            row.current = attempt.or(row.current);
            (sequence, row.clock.turn(at))
        });
        self.recount(at, device);
        self.matrix.count(transition);
        let fleet = usize::from(self.roster.rows[device.at()].fleet);
        if let Some(matrix) = self.matrices.get_mut(fleet) {
            matrix.count(transition);
        }
        let damaged = std::mem::take(&mut self.roster.rows[device.at()].damaged);
        if damaged && transition.legal_index().is_none() {
            self.matrix.excuse();
        }
        let began = matches!(transition.to, Phase::Installing | Phase::Downloading);
        self.happened.starts += u64::from(began && transition.from == Phase::Accepted);
        self.fingerprint = self
            .fingerprint
            .wrapping_add(print_of(at, self.roster.register.id(device), sequence, transition));
        let facts = Facts {
            attempt,
            transition: Some(transition),
            ..Facts::default()
        };
        self.enter(at, device, Entry::Transition, facts);
        if !transition.from.at_rest() {
            let facts = Facts {
                attempt: attempt.or(self.roster.rows[device.at()].current),
                phase: Some(transition.from),
                ..Facts::default()
            };
            self.enter(
                at,
                device,
                Entry::PhaseTime(transition.from, Duration::from_nanos(spent)),
                facts,
            );
        }
    }

    fn on_session(&mut self, at: SimTime, device: DeviceIndex, session: Session) {
        self.change(Changing::Session, device, |row| {
            row.session = session;
            row.clock.power(session != Session::Off, at);
        });
    }

    fn on_connect(&mut self, at: SimTime, device: DeviceIndex, result: ConnectResult, planned: Duration, raw: Duration) {
        let facts = Facts {
            result: 1 << result as u16,
            ..Facts::default()
        };
        self.enter(at, device, Entry::Connect(result), facts);
        if result == ConnectResult::Ok {
            self.happened.connects_ok += 1;
            self.enter(at, device, Entry::ConnectTime { planned, raw }, facts);
        } else {
            self.happened.connects_failed += 1;
        }
    }

    fn on_manifest(&mut self, at: SimTime, device: DeviceIndex, attempt: AttemptId) {
        self.happened.manifests += 1;
        self.change(Changing::Attempts, device, |row| {
            let row = row.attempt_mut(attempt);
            row.received = row.received.or(Some(at));
        });
    }

    fn on_end(
        &mut self,
        at: SimTime,
        device: DeviceIndex,
        attempt: AttemptId,
        result: AttemptResult,
        reason: Option<FailureReason>,
    ) {
        self.happened.ended[result as usize] += 1;
        self.change(Changing::Attempts, device, |row| {
            row.current = Some(attempt);
            let row = row.attempt_mut(attempt);
            row.result = Some(result);
            row.reason = reason;
        });
        let facts = Facts {
            reason,
            ..Facts::of_attempt(attempt)
        };
        self.enter(at, device, Entry::Attempt(result), facts.ended(result));
    }

    fn why(&self, device: DeviceIndex, word: &'static str) -> Facts {
        Facts {
            word,
            attempt: self.roster.rows[device.at()].current,
            ..Facts::default()
        }
    }

    fn on_requested(&mut self, at: SimTime, device: DeviceIndex, offset: u64) {
        self.happened.requests += 1;
        let Some(fetching) = &mut self.roster.rows[device.at()].fetching else {
            return;
        };
        match fetching.asked(at, offset) {
            Some(Again::Resume(why)) => self.enter(at, device, Entry::Resume, self.why(device, why)),
            Some(Again::Restart(why, lost)) => {
                self.enter(at, device, Entry::Restart, self.why(device, why));
                self.wasted(at, device, lost);
            }
            None => {}
        }
    }

    fn on_answered(&mut self, at: SimTime, device: DeviceIndex, status: u16) {
        let fetching = self.roster.rows[device.at()].fetching.as_mut();
        if let Some(request) = fetching.and_then(|fetching| fetching.answered(status)) {
            self.enter(
                at,
                device,
                Entry::FirstByte(at.since(request.at)),
                self.of_request(device, request),
            );
        }
    }

    /// A request is over, answered or not.
    fn request_over(&mut self, at: SimTime, device: DeviceIndex, over: impl FnOnce(&mut Fetching) -> Option<Request>) {
        let fetching = self.roster.rows[device.at()].fetching.as_mut();
        let Some(request) = fetching.and_then(|fetching| over(fetching)) else {
            return;
        };
        let facts = self.of_request(device, request);
        self.enter(at, device, Entry::Request, facts);
        if request.code.is_some() {
            self.enter(at, device, Entry::RequestTime(at.since(request.at)), facts);
        }
    }

    /// All of an artifact has come.
    fn downloaded(&mut self, at: SimTime, device: DeviceIndex, bytes: u64) {
        let fetching = self.roster.rows[device.at()].fetching.as_ref();
        let Some(took) = fetching.and_then(|fetching| fetching.took(at)).filter(|took| !took.is_zero()) else {
            return;
        };
        let rate = u128::from(bytes) * 1_000_000_000 / took.as_nanos();
        let facts = Facts {
            attempt: self.roster.rows[device.at()].current,
            ..Facts::default()
        };
        self.enter(at, device, Entry::DownloadRate(rate as u64), facts);
    }

    fn of_request(&self, device: DeviceIndex, request: Request) -> Facts {
        Facts {
            code: request.code.unwrap_or(0),
            flag: request.ranged,
            attempt: self.roster.rows[device.at()].current,
            ..Facts::default()
        }
    }

    fn wasted(&mut self, at: SimTime, device: DeviceIndex, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.roster.rows[device.at()].carried.wasted += bytes;
        let facts = Facts {
            dir: "down",
            bytes: "wasted",
            ..Facts::default()
        };
        self.enter(at, device, Entry::Bytes(Bytes::Wasted(bytes)), facts);
    }

    fn on_published(&mut self, at: SimTime, device: DeviceIndex, attempt: AttemptId) {
        let Some(row) = self.roster.rows[device.at()].attempt(attempt) else {
            return;
        };
        let (Some(received), Some(result)) = (row.received, row.result) else {
            return;
        };
        // Taken away, since later reports of the same attempt are repeats.
        self.change(Changing::Attempts, device, |row| row.attempt_mut(attempt).received = None);
        let facts = Facts::of_attempt(attempt).ended(result);
        let took = at.since(received);
        if at >= self.warmup {
            self.slowest.insert((took, Reverse(device)));
            if self.slowest.len() > SLOWEST_MAX {
                self.slowest.pop_first();
            }
        }
        self.enter(at, device, Entry::UpdateTime(took), facts);
    }

    fn on_main(&mut self, device: DeviceIndex, firmware: &FirmwareVersion) {
        let number = self.roster.firmware.number(firmware);
        self.change(Changing::Runs, device, |row| match row.runs.first_mut() {
            Some(main) => *main = number,
            None => row.runs.push(number),
        });
    }

    fn on_installed(&mut self, device: DeviceIndex, firmware: &FirmwareVersion) {
        let number = self.roster.firmware.number(firmware);
        let names = self.roster.firmware.values();
        let same_slug = |runs: &u16| names.get(usize::from(*runs)).is_some_and(|name| name.slug == firmware.slug);
        let same = self.roster.rows[device.at()].runs.iter().position(same_slug);
        self.change(Changing::Runs, device, |row| match same {
            // The version record of main says what was installed, the running image what runs.
            Some(0) => {}
            Some(at) => row.runs[at] = number,
            None => row.runs.push(number),
        });
    }

    fn on_membership(&mut self, device: &DeviceId, cohort: &CohortName, member: bool) {
        let Some(device) = self.device_index(device.as_str()) else {
            return;
        };
        if *cohort == CohortName::all() {
            return;
        }
        let number = self.roster.cohorts.number(cohort);
        if self.cohorts.len() <= usize::from(number) {
            self.cohorts.resize(usize::from(number) + 1, Group::default());
        }
        let was = self.roster.rows[device.at()].cohorts.contains(&number);
        self.change(Changing::Cohort, device, |row| {
            row.cohorts.retain(|other| *other != number);
            if member {
                row.cohorts.push(number);
            }
        });
        if let Some(board) = self.board.as_mut().filter(|_| was != member) {
            board.moved(device, number, member);
        }
    }

    fn on_state(
        &mut self,
        at: SimTime,
        device: DeviceIndex,
        deployment: &DeploymentName,
        attempt: AttemptId,
        to: UpdateState,
        reason: StateReason,
    ) {
        let deployment = self.roster.deployments.number(deployment);
        let (fresh, due, ended) = self.change(Changing::Attempts, device, |row| {
            let boot_at = row.boot_at;
            let row = row.attempt_mut(attempt);
            let fresh = row.deployment.is_none();
            if fresh {
                row.deployment = Some(deployment);
                row.due = at.max(boot_at);
            }
            let ended = to.ended() && !row.state.ended();
            row.closed_by_server |= ended && !matches!(reason, StateReason::Results | StateReason::AttemptError);
            row.state = to;
            (fresh, row.due, ended)
        });
        self.recount(at, device);
        if fresh {
            self.release(attempt);
        }
        let offered = self.offered.as_mut().and_then(|offered| match to {
            UpdateState::InProgress => {
                offered.entry(attempt).or_insert(at);
                None
            }
            _ if to.ended() => offered.remove(&attempt),
            _ => None,
        });
        if ended {
            if reason == StateReason::Results {
                // The device has told all of it, and will not be offered it again.
                self.roster.rows[device.at()].fetching = None;
            }
            let facts = Facts::of_attempt(attempt).ended(result_at_server(to, reason));
            self.enter(at, device, Entry::DeployTime(at.since(due)), facts);
            if let Some(offered) = offered {
                self.enter(at, device, Entry::DeployTimeRaw(at.since(offered)), facts);
            }
        }
    }

    fn recount(&mut self, at: SimTime, device: DeviceIndex) {
        if let Some(board) = &mut self.board {
            board.recount(at, device, &self.roster.rows[device.at()]);
        }
    }

    /// Enters a value into every series that it belongs to.
    fn enter(&mut self, at: SimTime, device: DeviceIndex, entry: Entry, facts: Facts) {
        if entry.is_time() && at < self.warmup {
            return;
        }
        let row = &self.roster.rows[device.at()];
        self.total.take(entry);
        if let Some(group) = self.fleets.get_mut(usize::from(row.fleet)) {
            group.take(entry);
        }
        for cohort in &row.cohorts {
            if let Some(group) = self.cohorts.get_mut(usize::from(*cohort)) {
                group.take(entry);
            }
        }
        if let Entry::ConnectTime { raw, .. } = entry {
            enter_requested(
                &mut self.requested,
                device,
                row,
                Metric::ConnectTimeRaw,
                facts,
                Value::Time(raw),
                false,
            );
        }
        let (metric, value) = Value::of(entry);
        if enter_requested(&mut self.requested, device, row, metric, facts, value, false) {
            self.defer(device, metric, facts, value);
        }
    }

    fn defer(&mut self, device: DeviceIndex, metric: Metric, facts: Facts, value: Value) {
        if let Some(attempt) = facts.attempt
            && self.waiting_count < WAITING_MAX
        {
            self.waiting_count += 1;
            self.waiting.entry(attempt).or_default().push((device, metric, facts, value));
        }
    }

    /// Enters what waited for the deployment of `attempt` to be known.
    fn release(&mut self, attempt: AttemptId) {
        for (device, metric, facts, value) in self.waiting.remove(&attempt).unwrap_or_default() {
            self.waiting_count -= 1;
            let row = &self.roster.rows[device.at()];
            enter_requested(&mut self.requested, device, row, metric, facts, value, true);
        }
    }

    /// Changes one device, and every gauge that a change of this kind can alter.
    fn change<T>(&mut self, kind: Changing, device: DeviceIndex, change: impl FnOnce(&mut Row) -> T) -> T {
        for series in &mut self.requested {
            series.take_out(kind, device, &self.roster.rows[device.at()]);
        }
        let answer = self.roster.change(device, change);
        for series in &mut self.requested {
            series.put_back(kind, device, &self.roster.rows[device.at()]);
        }
        answer
    }
}

/// Enters a value into the requested series; true when one of them cannot tell yet. Of a value that `waited`, the series that could
/// tell at first have it already.
fn enter_requested(
    requested: &mut [Series],
    device: DeviceIndex,
    row: &Row,
    metric: Metric,
    facts: Facts,
    value: Value,
    waited: bool,
) -> bool {
    let mut undecided = false;
    for series in requested.iter_mut().filter(|series| series.metric == metric) {
        undecided |= series.enter(device, row, facts, value, waited);
    }
    undecided
}

/// The result that an end at the server stands for.
const fn result_at_server(state: UpdateState, reason: StateReason) -> AttemptResult {
    match (state, reason) {
        (_, StateReason::AttemptError) => AttemptResult::Rejected,
        (_, StateReason::Superseded) => AttemptResult::Superseded,
        (UpdateState::Succeeded, _) => AttemptResult::Succeeded,
        (UpdateState::Cancelled, _) => AttemptResult::Cancelled,
        (UpdateState::None | UpdateState::Pending | UpdateState::InProgress | UpdateState::Failed, _) => AttemptResult::Failed,
    }
}

/// What one transition adds to the fingerprint.
fn print_of(at: SimTime, device: &DeviceId, sequence: u32, transition: Transition) -> u64 {
    let key = device.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let pair = (transition.from as u64) << 16 | (transition.to as u64) << 8 | transition.cause as u64;
    [at.as_nanos(), key, u64::from(sequence), pair]
        .into_iter()
        .fold(0, |hash, word| mix(hash ^ word))
}

/// The finalizer of SplitMix64.
const fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
