//! Fleets side by side: where their devices ended, what they went through, how long it took. What keeps twins honest is that they stand
//! beside their boards.

use std::collections::BTreeMap;

use crate::measure::{Matrix, Recorder};
use crate::model::{Phase, UpdateState, show_count};
use crate::play::{Mode, Outcome};

use super::summary::{FleetRow, MetricRow, Summary, TransitionRow};
use super::untrusted::clean;
use super::words::span;

/// Times of a device that are not spent in a phase.
const TIMES: &[&str] = &["connect_time", "deploy_time", "update_time"];

/// A table with a column a fleet.
pub(super) struct SideBySide {
    /// Fleets, with what they are and how many devices they have.
    pub(super) heads: Vec<String>,
    pub(super) parts: Vec<Part>,
}

/// Rows of one sort.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) rows: Vec<(String, Vec<String>)>,
}

/// The fleets of a run; none where there is but one, which the totals tell of.
pub(super) fn fleets(outcome: &Outcome) -> Vec<FleetRow> {
    let (plan, recorder) = (&outcome.plan, &outcome.recorder);
    if plan.fleets.len() < 2 {
        return Vec::new();
    }
    let mut states = states(recorder);
    let rows = plan.fleets.iter().map(|fleet| {
        let matrix = recorder.matrices_by_fleet().find(|(name, _)| *name == fleet.name);
        FleetRow {
            name: clean(&fleet.name),
            engine: match (fleet.on_boards, outcome.mode) {
                (true, Mode::Run) => "qemu".to_owned(),
                (true, Mode::Sim) | (false, _) => "simulated".to_owned(),
            },
            devices: u64::from(fleet.count),
            by_state: states.remove(&fleet.name).unwrap_or_default(),
            transitions: matrix.map_or_else(Vec::new, |(_, matrix)| transitions(matrix)),
        }
    });
    rows.collect()
}

/// Rows of the transitions that were seen.
pub(super) fn transitions(matrix: &Matrix) -> Vec<TransitionRow> {
    let rows = matrix.rows().map(|(transition, count)| TransitionRow {
        from: transition.from.to_string(),
        to: transition.to.to_string(),
        cause: transition.cause.to_string(),
        count,
    });
    rows.collect()
}

/// Devices by state, by fleet.
fn states(recorder: &Recorder) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut fleets: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for device in recorder.devices() {
        let states = fleets
            .entry(device.fleet.to_owned())
            .or_insert_with(|| UpdateState::ALL.iter().map(|state| (state.to_string(), 0)).collect());
        *states.entry(device.state.to_string()).or_default() += 1;
    }
    fleets
}

/// The table; `None` where there is but one fleet.
pub(super) fn side_by_side(summary: &Summary) -> Option<SideBySide> {
    let fleets = &summary.fleets;
    if fleets.is_empty() {
        return None;
    }
    let heads = fleets.iter().map(|fleet| match fleet.engine.as_str() {
        "simulated" => format!("{}: {}", fleet.name, show_count(fleet.devices)),
        engine => format!("{}: {} on {engine}", fleet.name, show_count(fleet.devices)),
    });
    let parts = [
        Part {
            name: "devices at the end",
            rows: ends(fleets),
        },
        Part {
            name: "phase changes, and how many a device",
            rows: changes(summary),
        },
        Part {
            name: "times, median and 95th percentile",
            rows: times(summary),
        },
    ];
    Some(SideBySide {
        heads: heads.collect(),
        parts: parts.into_iter().filter(|part| !part.rows.is_empty()).collect(),
    })
}

fn ends(fleets: &[FleetRow]) -> Vec<(String, Vec<String>)> {
    let of = |fleet: &FleetRow, state: UpdateState| fleet.by_state.get(state.word()).copied().unwrap_or(0);
    let seen = UpdateState::ALL
        .iter()
        .filter(|state| fleets.iter().any(|fleet| of(fleet, **state) > 0));
    let rows = seen.map(|state| {
        let cells = fleets.iter().map(|fleet| {
            let count = of(fleet, *state);
            let share = 100.0 * count as f64 / fleet.devices.max(1) as f64;
            format!("{} ({share:.1} %)", show_count(count))
        });
        (state.to_string(), cells.collect())
    });
    rows.collect()
}

fn changes(summary: &Summary) -> Vec<(String, Vec<String>)> {
    let rows = summary.transitions.iter().map(|row| {
        let cells = summary.fleets.iter().map(|fleet| {
            let same = |other: &&TransitionRow| (&other.from, &other.to, &other.cause) == (&row.from, &row.to, &row.cause);
            let count = fleet.transitions.iter().find(same).map_or(0, |row| row.count);
            let each = count as f64 / fleet.devices.max(1) as f64;
            format!("{} ({each:.2})", show_count(count))
        });
        let cause = match row.cause.as_str() {
            "normal" => String::new(),
            cause => format!(", {cause}"),
        };
        (format!("{} → {}{cause}", row.from, row.to), cells.collect())
    });
    rows.collect()
}

fn times(summary: &Summary) -> Vec<(String, Vec<String>)> {
    let whole = TIMES.iter().map(|name| (*name, *name, None));
    let phases = Phase::ALL
        .iter()
        .map(|phase| ("phase_time", phase.word(), Some(("phase", phase.word()))));
    let rows = whole.chain(phases).filter_map(|(metric, name, own)| {
        let found = summary.fleets.iter().map(|fleet| {
            let labels: Vec<_> = std::iter::once(("fleet", fleet.name.as_str())).chain(own).collect();
            summary.metric(metric, &labels).filter(|row| row.count > 0)
        });
        let found: Vec<Option<&MetricRow>> = found.collect();
        let cell = |row: &Option<&MetricRow>| row.map_or("–".to_owned(), |row| format!("{}, {}", span(row.med), span(row.p95)));
        found
            .iter()
            .any(Option::is_some)
            .then(|| (name.to_owned(), found.iter().map(cell).collect()))
    });
    rows.collect()
}
