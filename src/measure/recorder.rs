//! Takes observations and keeps the figures.

mod downloads;
mod faults;
mod life;
mod part;
mod server;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::memory;
use crate::model::{AttemptId, Carried, DeviceIndex, FlashCounts, Selector, Split, Tags};
use crate::time::SimTime;

use super::board::{Board, Note, Noted};
use super::census::RecorderSetup;
use super::fault::FaultFigures;
use super::group::{Bytes, Entry, Group, Rates};
use super::harness::HarnessFigures;
use super::matrix::Matrix;
use super::places::Register;
use super::query::{LabelKey, Measure, Metric};
use super::roster::{Roster, Row};
use super::seconds::Seconds;
use super::selection::{Changing, Facts, Selection};
use super::series::{Series, Value, WholeRun};
use super::timeline::{Timeline, TimelineRow};
use super::trace::Trace;
use super::trend::Trend;

/// Slowest updates that are kept.
const SLOWEST_MAX: usize = 50;
/// Most events that wait for the server to tell which deployment their attempt belongs to.
const WAITING_MAX: usize = 200_000;

/// The value of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// In the unit of the measure: seconds, a share from 0 to 1, a count, events a second. Infinite where it is not over yet.
    pub value: f64,
    /// Denominator of a share; number of values behind anything else.
    pub base: u64,
}

/// Every figure of a run.
#[derive(Debug, Default)]
pub struct Recorder {
    pub(super) roster: Roster,
    /// The device that something was seen of last.
    latest: Option<DeviceIndex>,
    pub(super) total: Group,
    /// By fleet, where there are several.
    pub(super) fleets: Vec<Group>,
    pub(super) cohorts: Vec<Group>,
    pub(super) requested: Vec<Series>,
    /// Some of them take what comes in.
    takes_entries: bool,
    waiting: BTreeMap<AttemptId, Vec<(DeviceIndex, Metric, Facts, Value)>>,
    waiting_count: usize,
    pub(super) matrix: Matrix,
    /// The same by fleet, likewise.
    pub(super) matrices: Vec<Matrix>,
    timeline: Timeline,
    /// Of what no row was written of yet.
    ahead: Seconds,
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
    /// The attempt that each device has taken up and not told the end of, and since when, where somebody asks for times from then on.
    begun: Option<BTreeMap<DeviceIndex, (AttemptId, SimTime)>>,
    /// Flash operations that were counted of each device, where somebody asks for them during the run.
    flash: Option<Vec<FlashCounts>>,
    harness: Option<HarnessFigures>,
    /// Image bytes of each second in which some came, with its end: where parts are added up, rates cannot be.
    seconds: Option<Vec<(SimTime, u64)>>,
}

pub use part::Part;

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
        let several = match roster.fleets.values().len() {
            0 | 1 => 0,
            several => several,
        };
        let asks = |metric: Metric| setup.requested.iter().any(|measure| measure.metric == metric);
        Recorder {
            offered: asks(Metric::DeployTimeRaw).then(BTreeMap::new),
            begun: asks(Metric::UpdateTimeRaw).then(BTreeMap::new),
            flash: setup
                .requested
                .iter()
                .any(|measure| measure.metric.is_of_flash())
                .then(|| vec![FlashCounts::default(); roster.rows.len()]),
            fleets: vec![Group::default(); several],
            matrices: vec![Matrix::default(); several],
            cohorts: vec![Group::default(); roster.cohorts.values().len()],
            roster,
            takes_entries: requested.iter().any(Series::takes_entries),
            requested,
            trace: setup.trace.then(Trace::default),
            warmup: SimTime::from(setup.warmup),
            ..Recorder::default()
        }
    }

    /// Only the devices of this shard are played and counted; called before anything is observed.
    pub fn play_only(&mut self, split: Split) {
        self.roster.split = split;
        self.seconds = Some(Vec::new());
        self.count_anew();
    }

    /// Counts the devices anew.
    fn count_anew(&mut self) {
        self.roster.count_anew();
        for series in &mut self.requested {
            series.count_anew(&self.roster);
        }
    }

    /// Begins to keep what a screen shows; called before anything is observed.
    pub fn watch(&mut self) {
        self.board = Some(Box::new(Board::new(&self.roster)));
    }

    /// Has what is known of a device ready, which is soon seen.
    pub fn fetch(&self, device: DeviceIndex) {
        memory::fetch(&self.roster.rows[device.at()]);
    }

    /// Bytes of images came to devices.
    pub fn count_image_bytes(&mut self, at: SimTime, bytes: u64) {
        self.ahead.happened(at).image_bytes += bytes;
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

    /// True where bytes on the wire are asked for during the run.
    pub fn asks_bytes(&self) -> bool {
        let of_bytes = |series: &Series| matches!(series.metric, Metric::Bytes | Metric::DataUsed);
        self.requested.iter().any(of_bytes)
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

    /// Sets tags of a device.
    pub fn set_tags(&mut self, device: DeviceIndex, tags: &Tags) {
        let added = tags.iter().map(|(key, value)| (key.clone(), value.clone()));
        self.retag(device, |tags| tags.extend(added));
    }

    /// Removes tags of a device.
    pub fn remove_tags(&mut self, device: DeviceIndex, keys: &[String]) {
        self.retag(device, |tags| tags.retain(|key, _| !keys.contains(key)));
    }

    fn retag(&mut self, device: DeviceIndex, change: impl FnOnce(&mut Tags)) {
        // No row of the timeline asks for tags, hence for the moment.
        let at = self.second.unwrap_or(SimTime::ZERO);
        self.change(at, Changing::Tag, device, |row| change(Arc::make_mut(&mut row.tags)));
    }

    /// Writes a row of the timeline; called for each second in turn, and at the end of the run. What was observed of devices that are
    /// ahead of `at` counts for later rows.
    pub fn second_over(&mut self, at: SimTime) {
        if self.second.is_some_and(|last| last >= at) {
            return;
        }
        let lasted = at.since(self.second.unwrap_or(SimTime::ZERO)).as_nanos();
        self.second = Some(at);
        let now = TimelineRow {
            sessions: self.roster.by_session,
            states: self.roster.by_state,
            phases: self.roster.by_phase,
            ..TimelineRow::default()
        };
        let row = self.ahead.row(at, now);
        let bytes = row.happened.image_bytes;
        if let Some(seconds) = self.seconds.as_mut().filter(|_| bytes > 0) {
            seconds.push((at, bytes));
        }
        if bytes > 0 && at >= self.warmup {
            let rate = u128::from(bytes) * 1_000_000_000 / lasted;
            self.throughput.0.record_amount(rate as u64);
        }
        self.timeline.second(row);
    }

    /// The value of a measure; `None` where it is undefined (a share of nothing, a percentile of no values), or where it was not
    /// among the requested ones.
    pub fn value(&self, measure: &Measure, now: SimTime) -> Option<Measured> {
        let series = self.requested.iter().find(|series| series.answers(measure))?;
        let run = WholeRun {
            transitions: &self.matrix,
            findings: &self.findings,
            throughput: &self.throughput.0,
            flash: self.flash.as_deref().unwrap_or_default(),
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

    fn why(&self, device: DeviceIndex, word: &'static str) -> Facts {
        Facts {
            word,
            attempt: self.roster.rows[device.at()].current,
            ..Facts::default()
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
        if !self.takes_entries {
            return;
        }
        for (metric, value) in [Some(Value::of(entry)), Value::raw_of(entry)].into_iter().flatten() {
            let row = &self.roster.rows[device.at()];
            if enter_requested(&mut self.requested, device, row, metric, facts, value, false) {
                self.defer(device, metric, facts, value);
            }
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
    fn change<T>(&mut self, at: SimTime, kind: Changing, device: DeviceIndex, change: impl FnOnce(&mut Row) -> T) -> T {
        if !self.roster.split.holds(device) {
            return change(&mut self.roster.rows[device.at()]);
        }
        for series in &mut self.requested {
            series.take_out(kind, device, &self.roster.rows[device.at()]);
        }
        let (answer, moved) = self.roster.change(device, change);
        if let Some((from, to)) = moved {
            self.ahead.moved(at, from, to);
        }
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

#[cfg(test)]
mod tests;
