//! A series that somebody asked for: one metric over one selection.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{DeviceIndex, FlashCounts, Key, Phase, Prompt};
use crate::time::SimTime;

use super::disagreement::disagreement;
use super::group::{Bytes, Entry};
use super::harness::HarnessFigures;
use super::matrix::Matrix;
use super::metric::Kind;
use super::query::{Aggregate, Label, LabelKey, Measure, Metric, OwnKey};
use super::recorder::Measured;
use super::roster::Roster;
use super::roster::Row;
use super::selection::{Changing, Facts, Selection};
use super::trend::Trend;

/// Who has been in a phase for longer than this, and so many times as long as nearly all visits take, is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
const STUCK_FACTOR: f64 = 5.0;

/// What is so of the whole run.
#[derive(Clone, Copy, Debug)]
pub(super) struct WholeRun<'r> {
    /// Changes of phases, each counted.
    pub(super) transitions: &'r Matrix,
    /// Broken invariants by rule.
    pub(super) findings: &'r [(&'static str, u64)],
    /// Image bytes of each second in which some came.
    pub(super) throughput: &'r Trend,
    /// Flash operations of each device as last told; empty where nobody asks for them.
    pub(super) flash: &'r [FlashCounts],
    /// Visits to each phase.
    pub(super) visits: &'r [Trend; Phase::ALL.len()],
    /// How harness and server fared, once that is known.
    pub(super) harness: Option<&'r HarnessFigures>,
}

/// What an event adds to a series.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Once,
    Time(Duration),
    Amount(u64),
}

impl Value {
    /// The metric that an entry belongs to, and what it adds to it.
    pub(super) const fn of(entry: Entry) -> (Metric, Value) {
        match entry {
            Entry::Attempt(_) => (Metric::Attempts, Value::Once),
            Entry::Rollback => (Metric::Rollbacks, Value::Once),
            Entry::Connect(_) => (Metric::Connects, Value::Once),
            Entry::Transition => (Metric::Transitions, Value::Once),
            Entry::Fault { .. } => (Metric::Faults, Value::Once),
            Entry::Manifest { .. } => (Metric::Manifests, Value::Once),
            Entry::Message { .. } => (Metric::Messages, Value::Once),
            Entry::Flash { count, .. } => (Metric::FlashOps, Value::Amount(count)),
            Entry::Request => (Metric::Requests, Value::Once),
            Entry::RequestTime { planned, .. } => (Metric::RequestTime, Value::Time(planned)),
            Entry::FirstByte { planned, .. } => (Metric::FirstByte, Value::Time(planned)),
            Entry::Retry => (Metric::Retries, Value::Once),
            Entry::Resume => (Metric::Resumes, Value::Once),
            Entry::Restart => (Metric::Restarts, Value::Once),
            Entry::Boot(_) => (Metric::Boots, Value::Once),
            Entry::Bytes(Bytes::Up(bytes) | Bytes::Protocol(bytes) | Bytes::Image(bytes) | Bytes::Wasted(bytes)) => {
                (Metric::Bytes, Value::Amount(bytes))
            }
            Entry::UpdateTime(time) => (Metric::UpdateTime, Value::Time(time)),
            Entry::UpdateTimeRaw(time) => (Metric::UpdateTimeRaw, Value::Time(time)),
            Entry::DeployTime(time) => (Metric::DeployTime, Value::Time(time)),
            Entry::DeployTimeRaw(time) => (Metric::DeployTimeRaw, Value::Time(time)),
            Entry::DownloadRate(rate) => (Metric::DownloadRate, Value::Amount(rate)),
            Entry::DownloadRateRaw(rate) => (Metric::DownloadRateRaw, Value::Amount(rate)),
            Entry::ConnectTime { planned, .. } => (Metric::ConnectTime, Value::Time(planned)),
            Entry::PhaseTime { spent, .. } => (Metric::PhaseTime, Value::Time(spent)),
        }
    }

    /// The metric that tells the same from the moment when it really began, where the entry has that too.
    pub(super) const fn raw_of(entry: Entry) -> Option<(Metric, Value)> {
        match entry {
            Entry::ConnectTime { raw, .. } => Some((Metric::ConnectTimeRaw, Value::Time(raw))),
            Entry::PhaseTime { raw, .. } => Some((Metric::PhaseTimeRaw, Value::Time(raw))),
            Entry::RequestTime { raw, .. } => Some((Metric::RequestTimeRaw, Value::Time(raw))),
            Entry::FirstByte { raw, .. } => Some((Metric::FirstByteRaw, Value::Time(raw))),
            _ => None,
        }
    }
}

/// A metric over a selection, laid down before the run.
#[derive(Debug)]
pub struct Series {
    /// Which metric.
    pub metric: Metric,
    /// The selection as it was asked for.
    pub labels: Vec<Label>,
    selection: Selection,
    /// What a share is part of.
    whole: Selection,
    figure: Figure,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Figure {
    /// Devices in the selection and in the whole, kept up with every change.
    Gauge {
        part: u64,
        whole: u64,
    },
    Counter {
        part: u64,
        whole: u64,
    },
    Trend(Box<Trend>),
    /// Taken from the devices when it is asked for.
    Asked,
}

impl Series {
    pub(super) fn new(measure: &Measure, roster: &Roster) -> Self {
        let metric = measure.metric;
        let whole = measure.labels.iter().filter(|label| !narrows(label));
        let selection = Selection::of_labels(&measure.labels, metric, roster);
        let whole = Selection::of_labels(whole, metric, roster);
        Series {
            metric,
            labels: measure.labels.clone(),
            figure: match metric.kind() {
                _ if metric.is_whole() => Figure::Asked,
                _ if metric.is_spread() || matches!(metric, Metric::Disagreements | Metric::Stuck) => Figure::Asked,
                Kind::Gauge => Figure::Gauge {
                    part: count(&selection, roster),
                    whole: count(&whole, roster),
                },
                Kind::Counter => Figure::Counter { part: 0, whole: 0 },
                Kind::Trend if metric.unit() == "s" => Figure::Trend(Box::default()),
                Kind::Trend => Figure::Trend(Box::new(Trend::of_amounts())),
            },
            selection,
            whole,
        }
    }

    /// Counts the devices anew, where devices are what is counted.
    pub(super) fn count_anew(&mut self, roster: &Roster) {
        if let Figure::Gauge { part, whole } = &mut self.figure {
            *part = count(&self.selection, roster);
            *whole = count(&self.whole, roster);
        }
    }

    /// What has come in so far.
    pub(super) fn figure(&self) -> &Figure {
        &self.figure
    }

    /// Adds what came in of other devices; devices themselves are counted anew.
    pub(super) fn add(&mut self, other: &Figure) {
        match (&mut self.figure, other) {
            (Figure::Counter { part, whole }, Figure::Counter { part: more, whole: of }) => {
                *part += more;
                *whole += of;
            }
            (Figure::Trend(trend), Figure::Trend(more)) => trend.add(more),
            _ => {}
        }
    }

    pub(super) fn answers(&self, measure: &Measure) -> bool {
        self.metric == measure.metric && self.labels == measure.labels
    }

    /// True if events are added to it.
    pub(super) fn takes_entries(&self) -> bool {
        matches!(self.figure, Figure::Counter { .. } | Figure::Trend(_))
    }

    /// Adds an event if it is in the selection. True when that cannot be told before the server has told of the attempt; a value that
    /// `waited` for that is added only where it could not be told at first.
    pub(super) fn enter(&mut self, device: DeviceIndex, row: &Row, facts: Facts, value: Value, waited: bool) -> bool {
        // What came for nothing is a part of the image's bytes: it counts where it is asked for by name.
        if facts.bytes == "wasted" && !self.selection.asks_bytes() {
            return false;
        }
        let holds = |selection: &Selection| match waited && !selection.asks_step() {
            true => Some(false),
            false => selection.holds_event(device, row, facts),
        };
        let (in_part, in_whole) = (holds(&self.selection), holds(&self.whole));
        match &mut self.figure {
            Figure::Gauge { .. } | Figure::Asked => return false,
            Figure::Counter { part, whole } => {
                let amount = match value {
                    Value::Amount(amount) => amount,
                    Value::Once | Value::Time(_) => 1,
                };
                *part += amount * u64::from(in_part == Some(true));
                *whole += amount * u64::from(in_whole == Some(true));
            }
            Figure::Trend(trend) => match value {
                _ if in_part != Some(true) => {}
                Value::Time(time) => trend.record(time),
                Value::Amount(amount) => trend.record_amount(amount),
                Value::Once => {}
            },
        }
        in_part.is_none() || in_whole.is_none()
    }

    /// Adds an event of the server, which concerns no device in particular, if it is in the selection.
    pub(super) fn enter_of_server(&mut self, facts: Facts) {
        if let Figure::Counter { part, whole } = &mut self.figure {
            *part += u64::from(self.selection.holds_whole(facts));
            *whole += u64::from(self.whole.holds_whole(facts));
        }
    }

    /// Takes a device that is counted out of a gauge, ahead of a change of this kind.
    pub(super) fn take_out(&mut self, kind: Changing, device: DeviceIndex, row: &Row) {
        if let Figure::Gauge { part, whole } = &mut self.figure {
            *part -= u64::from(self.selection.may_lose(kind, device, row));
            *whole -= u64::from(self.whole.may_lose(kind, device, row));
        }
    }

    /// Puts a device back into a gauge, after the change.
    pub(super) fn put_back(&mut self, kind: Changing, device: DeviceIndex, row: &Row) {
        if let Figure::Gauge { part, whole } = &mut self.figure {
            *part += u64::from(self.selection.may_lose(kind, device, row));
            *whole += u64::from(self.whole.may_lose(kind, device, row));
        }
    }

    pub(super) fn value(&self, aggregate: Aggregate, now: SimTime, roster: &Roster, run: &WholeRun<'_>) -> Option<Measured> {
        let (part, whole) = match &self.figure {
            Figure::Asked => return self.asked(aggregate, now, roster, run),
            Figure::Gauge { part, whole } | Figure::Counter { part, whole } => (*part, *whole),
            Figure::Trend(trend) => {
                let open = match self.metric {
                    Metric::DeployTime => self.open(roster),
                    _ => 0,
                };
                return trend.measured(aggregate, open, now);
            }
        };
        match aggregate {
            Aggregate::Share if whole == 0 => None,
            Aggregate::Share => Some(Measured {
                value: part as f64 / whole as f64,
                base: whole,
            }),
            Aggregate::Rate => rate(part, now),
            Aggregate::Count
            | Aggregate::Sum
            | Aggregate::Min
            | Aggregate::Avg
            | Aggregate::Med
            | Aggregate::Max
            | Aggregate::Percentile(_) => Some(Measured {
                value: part as f64,
                base: part,
            }),
        }
    }

    /// The distribution, of a trend.
    pub fn trend(&self) -> Option<&Trend> {
        match &self.figure {
            Figure::Trend(trend) => Some(trend),
            Figure::Gauge { .. } | Figure::Counter { .. } | Figure::Asked => None,
        }
    }

    /// Bytes that each device of the selection has used, of the sorts that are asked for.
    fn used(&self, roster: &Roster) -> Vec<u64> {
        let rows = roster
            .rows
            .iter()
            .enumerate()
            .filter(|(at, _)| roster.split.holds(DeviceIndex(*at as u32)));
        let used = rows.filter_map(|(at, row)| {
            let sorts = row.carried.sorts(self.selection.asks_bytes());
            let in_selection = |(dir, bytes, amount): (&'static str, &'static str, u64)| {
                let facts = Facts {
                    dir,
                    bytes,
                    ..Facts::default()
                };
                (self.selection.holds_event(DeviceIndex(at as u32), row, facts) == Some(true)).then_some(amount)
            };
            sorts.into_iter().filter_map(in_selection).reduce(|sum, more| sum + more)
        });
        used.collect()
    }

    /// Erases of the most-erased page of each device of the selection.
    fn worn(&self, roster: &Roster, flash: &[FlashCounts]) -> Vec<u64> {
        let devices = (0..).map(DeviceIndex).zip(roster.rows.iter().zip(flash));
        let held = devices.filter(|(device, (row, _))| self.selection.holds_device(*device, row));
        held.filter_map(|(_, (_, counts))| counts.wear.map(u64::from)).collect()
    }

    /// Attempts of the selection, and of the whole, about which server and device disagree.
    fn disagreements(&self, roster: &Roster) -> (u64, u64) {
        let (mut part, mut whole) = (0, 0);
        for (at, row) in roster.rows.iter().enumerate() {
            for attempt in &row.attempts {
                let Some(word) = disagreement(attempt) else { continue };
                let facts = Facts {
                    word,
                    ..Facts::of_attempt(attempt.id)
                };
                let holds = |selection: &Selection| selection.holds_event(DeviceIndex(at as u32), row, facts) == Some(true);
                part += u64::from(holds(&self.selection));
                whole += u64::from(holds(&self.whole));
            }
        }
        (part, whole)
    }

    /// Devices of the selection, and of the whole, that are stuck.
    fn stuck(&self, now: SimTime, roster: &Roster, run: &WholeRun<'_>) -> (u64, u64) {
        let stuck = roster.rows.iter().enumerate().filter(|(_, row)| {
            let spent = now.since(row.phase_since);
            !row.phase.at_rest() && is_stuck(spent, &run.visits[row.phase as usize])
        });
        let (mut part, mut whole) = (0, 0);
        for (at, row) in stuck {
            let device = DeviceIndex(at as u32);
            part += u64::from(self.selection.holds_device(device, row));
            whole += u64::from(self.whole.holds_device(device, row));
        }
        (part, whole)
    }

    /// The value of a figure that is taken from the devices, or from the run, when it is asked for.
    fn asked(&self, aggregate: Aggregate, now: SimTime, roster: &Roster, run: &WholeRun<'_>) -> Option<Measured> {
        let (part, whole) = match self.metric {
            Metric::DataUsed => return spread(self.used(roster), aggregate, now),
            Metric::Throughput => return run.throughput.value(aggregate, 0),
            Metric::Stuck => self.stuck(now, roster, run),
            Metric::Wear => return spread(self.worn(roster, run.flash), aggregate, now),
            Metric::ServerTime => return self.of_server(run.harness?).measured(aggregate, 0, now),
            metric if metric.is_of_harness() => return run.harness?.value(metric, aggregate, now),
            Metric::Disagreements => self.disagreements(roster),
            Metric::Coverage => run.transitions.coverage(),
            _ => {
                let facts = |word| Facts {
                    word,
                    ..Facts::default()
                };
                let held = |selection: &Selection| -> u64 {
                    let found = run.findings.iter().filter(|(rule, _)| selection.holds_whole(facts(rule)));
                    found.map(|(_, count)| count).sum()
                };
                (held(&self.selection), held(&self.whole))
            }
        };
        let measured = |value: f64, base: u64| Some(Measured { value, base });
        match aggregate {
            Aggregate::Share if whole == 0 => None,
            Aggregate::Share => measured(part as f64 / whole as f64, whole),
            Aggregate::Rate => rate(part, now),
            _ => measured(part as f64, part),
        }
    }

    /// Times of the server that are asked for.
    fn of_server(&self, harness: &HarnessFigures) -> Trend {
        let asked = |op: Prompt| Facts {
            word: op.word(),
            ..Facts::default()
        };
        let held = harness
            .server_time
            .iter()
            .filter(|(op, _)| self.selection.holds_whole(asked(*op)));
        held.fold(Trend::default(), |all, (_, times)| all.with(times))
    }

    /// Attempts of the selection that the server holds open.
    fn open(&self, roster: &Roster) -> u64 {
        let mut open = 0;
        for (at, row) in roster.rows.iter().enumerate() {
            let attempts = row.attempts.iter().filter(|attempt| attempt.open_at_server());
            let held = attempts.filter(|attempt| {
                let facts = Facts::of_attempt(attempt.id);
                self.selection.holds_event(DeviceIndex(at as u32), row, facts) == Some(true)
            });
            open += held.count() as u64;
        }
        open
    }
}

/// Whether so long in a phase is far longer than the visits of the fleet.
pub fn is_stuck(spent: Duration, visits: &Trend) -> bool {
    let usual = visits.percentile(99.0, 0).unwrap_or(0.0);
    spent > STUCK_AFTER && spent.as_secs_f64() > STUCK_FACTOR * usual
}

/// True for labels that a share leaves out of its denominator (contract, section 1, *measure*).
fn narrows(label: &Label) -> bool {
    match &label.key {
        LabelKey::Who(Key::State | Key::Phase | Key::Session | Key::Runs)
        | LabelKey::Own(OwnKey::Result | OwnKey::Done | OwnKey::Code) => true,
        LabelKey::Who(Key::Fleet | Key::Cohort | Key::Device | Key::Tag(_) | Key::Step) | LabelKey::Own(_) => false,
    }
}

fn count(selection: &Selection, roster: &Roster) -> u64 {
    let rows = (0..).map(DeviceIndex).zip(&roster.rows);
    rows.filter(|(device, row)| roster.split.holds(*device) && selection.holds_device(*device, row))
        .count() as u64
}

/// The value of a figure that each device has its own of.
fn spread(mut values: Vec<u64>, aggregate: Aggregate, now: SimTime) -> Option<Measured> {
    values.sort_unstable();
    let base = values.len() as u64;
    let sum: u64 = values.iter().sum();
    let at = |percent: f64| {
        let rank = (percent / 100.0 * base as f64).ceil().max(1.0) as usize;
        values
            .get(rank.min(values.len()).saturating_sub(1))
            .map(|value| *value as f64)
    };
    let value = match aggregate {
        Aggregate::Count => Some(base as f64),
        Aggregate::Sum => Some(sum as f64),
        Aggregate::Rate => return rate(sum, now),
        Aggregate::Min => at(0.0),
        Aggregate::Avg => (base > 0).then(|| sum as f64 / base as f64),
        Aggregate::Med => at(50.0),
        Aggregate::Max => at(100.0),
        Aggregate::Percentile(percent) => at(percent),
        Aggregate::Share => None,
    };
    value.map(|value| Measured { value, base })
}

pub(super) fn rate(events: u64, now: SimTime) -> Option<Measured> {
    (now > SimTime::ZERO).then(|| Measured {
        value: events as f64 / now.as_secs_f64(),
        base: events,
    })
}
