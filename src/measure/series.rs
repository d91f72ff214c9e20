//! A series that somebody asked for: one metric over one selection.

use std::time::Duration;

use crate::model::{DeviceIndex, Key};
use crate::time::SimTime;

use super::grammar::Kind;
use super::group::Entry;
use super::query::{Aggregate, Label, LabelKey, Measure, Metric, OwnKey};
use super::recorder::Measured;
use super::roster::Roster;
use super::roster::Row;
use super::selection::{Changing, Facts, Selection};
use super::trend::Trend;

/// What an event adds to a series.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Once,
    Time(Duration),
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
            Entry::UpdateTime(time) => (Metric::UpdateTime, Value::Time(time)),
            Entry::DeployTime(time) => (Metric::DeployTime, Value::Time(time)),
            Entry::ConnectTime { planned, .. } => (Metric::ConnectTime, Value::Time(planned)),
            Entry::PhaseTime(_, time) => (Metric::PhaseTime, Value::Time(time)),
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

#[derive(Debug)]
enum Figure {
    /// Devices in the selection and in the whole, counted when the changes stood at `counted_at`.
    Gauge {
        counted_at: Option<u64>,
        part: u64,
        whole: u64,
    },
    Counter {
        part: u64,
        whole: u64,
    },
    Trend(Box<Trend>),
}

impl Series {
    pub(super) fn new(measure: &Measure, roster: &Roster) -> Self {
        let metric = measure.metric;
        let whole = measure.labels.iter().filter(|label| !narrows(label));
        Series {
            metric,
            labels: measure.labels.clone(),
            selection: Selection::of_labels(&measure.labels, metric, roster),
            whole: Selection::of_labels(whole, metric, roster),
            figure: match metric.kind() {
                Kind::Gauge => Figure::Gauge {
                    counted_at: None,
                    part: 0,
                    whole: 0,
                },
                Kind::Counter => Figure::Counter { part: 0, whole: 0 },
                Kind::Trend => Figure::Trend(Box::default()),
            },
        }
    }

    pub(super) fn answers(&self, measure: &Measure) -> bool {
        self.metric == measure.metric && self.labels == measure.labels
    }

    /// Adds an event if it is in the selection. True when that cannot be told before the server has told of the attempt; a value that
    /// `waited` for that is added only where it could not be told at first.
    pub(super) fn enter(&mut self, device: DeviceIndex, row: &Row, facts: Facts, value: Value, waited: bool) -> bool {
        let holds = |selection: &Selection| match waited && !selection.asks_step() {
            true => Some(false),
            false => selection.holds_event(device, row, facts),
        };
        let (in_part, in_whole) = (holds(&self.selection), holds(&self.whole));
        match &mut self.figure {
            Figure::Gauge { .. } => return false,
            Figure::Counter { part, whole } => {
                *part += u64::from(in_part == Some(true));
                *whole += u64::from(in_whole == Some(true));
            }
            Figure::Trend(trend) => {
                if let (Value::Time(time), Some(true)) = (value, in_part) {
                    trend.record(time);
                }
            }
        }
        in_part.is_none() || in_whole.is_none()
    }

    /// Counts a gauge again, if it can differ from the last time.
    pub(super) fn recount(&mut self, roster: &Roster, changes: &[u64; Changing::COUNT]) {
        let stamp = self.stamp(changes);
        if let Figure::Gauge { counted_at, part, whole } = &mut self.figure
            && *counted_at != Some(stamp)
        {
            (*part, *whole) = (count(&self.selection, roster), count(&self.whole, roster));
            *counted_at = Some(stamp);
        }
    }

    pub(super) fn value(
        &self,
        aggregate: Aggregate,
        now: SimTime,
        roster: &Roster,
        changes: &[u64; Changing::COUNT],
    ) -> Option<Measured> {
        let (part, whole) = match &self.figure {
            Figure::Gauge { counted_at, part, whole } if *counted_at == Some(self.stamp(changes)) => (*part, *whole),
            Figure::Gauge { .. } => (count(&self.selection, roster), count(&self.whole, roster)),
            Figure::Counter { part, whole } => (*part, *whole),
            Figure::Trend(trend) => {
                let open = match self.metric {
                    Metric::DeployTime => self.open(roster),
                    Metric::Devices
                    | Metric::Attempts
                    | Metric::Rollbacks
                    | Metric::UpdateTime
                    | Metric::PhaseTime
                    | Metric::Connects
                    | Metric::ConnectTime
                    | Metric::Transitions
                    | Metric::Faults => 0,
                };
                return match aggregate {
                    Aggregate::Rate => rate(trend.count(), now),
                    _ => trend.value(aggregate, open),
                };
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
            Figure::Gauge { .. } | Figure::Counter { .. } => None,
        }
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

    /// Where the changes stand that the gauge depends on.
    fn stamp(&self, changes: &[u64; Changing::COUNT]) -> u64 {
        const KINDS: [Changing; Changing::COUNT] = [
            Changing::Cohort,
            Changing::Tag,
            Changing::Runs,
            Changing::Session,
            Changing::Phase,
            Changing::Attempts,
        ];
        let asked = |kind: Changing| self.selection.depends_on(kind) || self.whole.depends_on(kind);
        KINDS
            .into_iter()
            .filter(|kind| asked(*kind))
            .map(|kind| changes[kind as usize])
            .sum()
    }
}

/// True for labels that a share leaves out of its denominator (contract, section 1, *measure*).
fn narrows(label: &Label) -> bool {
    match &label.key {
        LabelKey::Who(Key::State | Key::Phase | Key::Session | Key::Runs) | LabelKey::Own(OwnKey::Result | OwnKey::Done) => true,
        LabelKey::Who(Key::Fleet | Key::Cohort | Key::Device | Key::Tag(_) | Key::Step)
        | LabelKey::Own(OwnKey::Reason | OwnKey::From | OwnKey::To | OwnKey::Cause | OwnKey::Fault | OwnKey::Kind) => false,
    }
}

fn count(selection: &Selection, roster: &Roster) -> u64 {
    let rows = roster.rows.iter().enumerate();
    rows.filter(|(at, row)| selection.holds_device(DeviceIndex(*at as u32), row))
        .count() as u64
}

fn rate(events: u64, now: SimTime) -> Option<Measured> {
    (now > SimTime::ZERO).then(|| Measured {
        value: events as f64 / now.as_secs_f64(),
        base: events,
    })
}
