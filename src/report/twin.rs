//! A run in real time held against the same plan in virtual time: where the two part, in states, in phase changes, in times.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::show_count;

use super::summary::{MetricRow, Summary, TransitionRow};
use super::words::span;

/// Times that are compared where no phase is named.
const TIMES: [&str; 3] = ["update_time", "deploy_time", "connect_time"];

/// The same plan in virtual time, beside the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TwinRow {
    /// How the simulation ended: `passed`, `failed`, ...
    pub status: String,
    /// Its length, seconds of virtual time.
    pub elapsed_s: f64,
    /// Devices by state at the end.
    pub states: Vec<TwinCount>,
    /// Phase changes, `from>to` and the cause where it is not normal.
    pub transitions: Vec<TwinCount>,
    /// Times of all devices.
    pub times: Vec<TwinTime>,
}

/// A count in the run and in the simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TwinCount {
    /// Of what.
    pub name: String,
    /// In the run.
    pub run: u64,
    /// In the simulation.
    pub sim: u64,
}

/// A time in the run and in the simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TwinTime {
    /// The metric; of visits the phase.
    pub name: String,
    /// In the run.
    pub run: Quantiles,
    /// In the simulation.
    pub sim: Quantiles,
    /// The run's values by the simulation's; null where one is missing, or nothing.
    pub ratio: Quantiles,
}

/// Some quantiles: seconds, or parts of one another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// Median.
    pub med: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl Quantiles {
    fn of(row: Option<&MetricRow>) -> Quantiles {
        let of = |value: fn(&MetricRow) -> Option<f64>| row.and_then(value);
        Quantiles {
            med: of(|row| row.med),
            p95: of(|row| row.p95),
            p99: of(|row| row.p99),
        }
    }

    fn by(self, other: Quantiles) -> Quantiles {
        let ratio = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) if other > 0.0 => Some((one / other * 1e4).round() / 1e4),
            _ => None,
        };
        Quantiles {
            med: ratio(self.med, other.med),
            p95: ratio(self.p95, other.p95),
            p99: ratio(self.p99, other.p99),
        }
    }

    /// In the order of the heads of a table.
    fn each(self) -> [Option<f64>; 3] {
        [self.med, self.p95, self.p99]
    }
}

impl TwinRow {
    /// Holds `run` against `sim`.
    pub(super) fn of(run: &Summary, sim: &Summary) -> TwinRow {
        TwinRow {
            status: sim.status.clone(),
            elapsed_s: sim.elapsed_s,
            states: counts(&run.devices.by_state, &sim.devices.by_state),
            transitions: counts(&changes(&run.transitions), &changes(&sim.transitions)),
            times: times(run, sim),
        }
    }

    /// What it comes to, in a line.
    pub(super) fn verdict(&self) -> String {
        let parted = |rows: &[TwinCount]| rows.iter().filter(|row| row.run != row.sim).count();
        let states = match parted(&self.states) {
            0 => "states are alike".to_owned(),
            some => format!("{some} states differ"),
        };
        let (some, all) = (parted(&self.transitions), self.transitions.len());
        let changes = match some {
            0 => format!("all {all} kinds of phase changes are as many"),
            some => format!("{some} of {all} kinds of phase changes are not as many"),
        };
        let apart = self.times.iter().filter_map(|row| Some((row, row.ratio.med?)));
        let farthest = apart.max_by(|(_, one), (_, other)| one.ln().abs().total_cmp(&other.ln().abs()));
        let farthest = farthest.map_or_else(String::new, |(row, ratio)| {
            format!("; farthest apart: {} x{ratio:.2} in the median", row.name)
        });
        format!("the same in sim {}: {states}, {changes}{farthest}", self.status)
    }

    /// Counts that differ, as cells: name, run, sim.
    pub(super) fn parted(&self) -> Vec<(String, Vec<String>)> {
        let rows = self.states.iter().chain(&self.transitions).filter(|row| row.run != row.sim);
        rows.map(|row| (row.name.clone(), vec![show_count(row.run), show_count(row.sim)]))
            .collect()
    }

    /// Times as cells: name, and for each quantile run, sim and their ratio.
    pub(super) fn timings(&self) -> Vec<(String, Vec<String>)> {
        let rows = self.times.iter().map(|row| {
            let each = row.run.each().into_iter().zip(row.sim.each()).zip(row.ratio.each());
            let cells = each.flat_map(|((run, sim), ratio)| {
                let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("x{ratio:.2}"));
                [span(run), span(sim), ratio]
            });
            (row.name.clone(), cells.collect())
        });
        rows.collect()
    }
}

/// Both sides of every name that one of them has; what neither has ever seen is left out.
fn counts(run: &BTreeMap<String, u64>, sim: &BTreeMap<String, u64>) -> Vec<TwinCount> {
    let names: std::collections::BTreeSet<_> = run.keys().chain(sim.keys()).collect();
    let of = |side: &BTreeMap<String, u64>, name: &String| side.get(name).copied().unwrap_or(0);
    let rows = names.into_iter().map(|name| TwinCount {
        name: name.clone(),
        run: of(run, name),
        sim: of(sim, name),
    });
    rows.filter(|row| row.run > 0 || row.sim > 0).collect()
}

fn changes(rows: &[TransitionRow]) -> BTreeMap<String, u64> {
    let named = rows.iter().map(|row| {
        let cause = if row.cause == "normal" {
            String::new()
        } else {
            format!(" ({})", row.cause)
        };
        (format!("{}>{}{cause}", row.from, row.to), row.count)
    });
    named.collect()
}

fn times(run: &Summary, sim: &Summary) -> Vec<TwinTime> {
    let whole = TIMES.iter().map(|metric| (*metric, Vec::new(), *metric));
    let phases = crate::model::Phase::ALL
        .iter()
        .map(|phase| ("phase_time", vec![("phase", phase.word())], phase.word()));
    let rows = whole.chain(phases).filter_map(|(metric, labels, name)| {
        let sides = [run, sim].map(|side| side.metric(metric, &labels).filter(|row| row.count > 0));
        if sides.iter().all(Option::is_none) {
            return None;
        }
        let [run, sim] = sides.map(Quantiles::of);
        Some(TwinTime {
            name: name.to_owned(),
            run,
            sim,
            ratio: run.by(sim),
        })
    });
    rows.collect()
}
