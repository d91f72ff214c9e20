//! The tables of the page, as text in cells.

use crate::model::{LEGAL, Phase, UpdateState, show_count, show_size};
use crate::report::summary::{FaultRow, MetricRow, Summary};
use crate::report::text::missed_because;
use crate::report::twin::TwinRow;
use crate::report::words::{counted, limit_of, span, value_of};

use super::axis;

/// Most stuck devices that are shown.
const STUCK_MAX: usize = 50;

/// An expectation.
pub(super) struct Expected {
    pub(super) passed: bool,
    pub(super) that: String,
    pub(super) measured: String,
    pub(super) limit: String,
    pub(super) at: String,
    pub(super) line: u32,
}

/// A broken invariant.
pub(super) struct Broken {
    pub(super) rule: String,
    pub(super) count: String,
    pub(super) device: String,
    pub(super) at: String,
    pub(super) evidence: String,
}

/// A device that hung.
pub(super) struct StuckDevice {
    pub(super) device: String,
    pub(super) phase: String,
    pub(super) spent: String,
    pub(super) why: String,
}

/// A cohort.
pub(super) struct Cohort {
    pub(super) name: String,
    pub(super) cells: Vec<String>,
}

/// A trend.
pub(super) struct Timing {
    pub(super) name: String,
    pub(super) cells: Vec<String>,
}

/// A run beside the simulation of the same plan.
pub(super) struct Twin {
    pub(super) verdict: String,
    /// Counts that differ.
    pub(super) parted: Vec<(String, Vec<String>)>,
    pub(super) times: Vec<(String, Vec<String>)>,
}

pub(super) fn twin(row: &TwinRow) -> Twin {
    Twin {
        verdict: row.verdict(),
        parted: row.parted(),
        times: row.timings(),
    }
}

/// Phase changes: rows are phases left, columns phases entered.
pub(super) struct Matrix {
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<(&'static str, Vec<Cell>)>,
}

/// A cell of a grid: what it says and how it looks.
pub(super) struct Cell {
    pub(super) text: String,
    /// `seen`, `hole`, `illegal` or nothing.
    pub(super) class: &'static str,
    pub(super) tip: String,
}

/// What came of a fault.
pub(super) struct Fault {
    pub(super) name: String,
    pub(super) kind: String,
    /// Planned, done, missed.
    pub(super) counts: [String; 3],
    pub(super) because: String,
}

/// In which phases each fault struck.
pub(super) struct Grid {
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<(String, Vec<Cell>)>,
}

pub(super) fn expectations(summary: &Summary) -> Vec<Expected> {
    let rows = summary.expectations.iter().map(|row| Expected {
        passed: row.passed,
        that: row.that.clone(),
        measured: format!("{}{}", value_of(row), if row.aborted { ", ended the run" } else { "" }),
        limit: limit_of(row),
        at: span(Some(row.judged_at_s)),
        line: row.line,
    });
    rows.collect()
}

pub(super) fn invariants(summary: &Summary) -> String {
    let rules = u64::from(summary.invariants.rules);
    let held = rules.saturating_sub(summary.findings.len() as u64);
    let checks = counted(summary.invariants.checks, "check");
    format!("{held} of {} held in {checks}.", counted(rules, "rule"))
}

pub(super) fn findings(summary: &Summary) -> Vec<Broken> {
    let rows = summary.findings.iter().map(|finding| Broken {
        rule: finding.rule.clone(),
        count: show_count(finding.count),
        device: finding.first.device.clone().unwrap_or_else(|| "no single one".to_owned()),
        at: span(Some(finding.first.at_s)),
        evidence: finding.first.evidence.clone(),
    });
    rows.collect()
}

pub(super) fn stuck(summary: &Summary) -> Vec<StuckDevice> {
    let rows = summary.stuck.iter().take(STUCK_MAX).map(|row| StuckDevice {
        device: row.device.clone(),
        phase: row.phase.clone(),
        spent: span(Some(row.for_s)),
        why: row.why.clone(),
    });
    rows.collect()
}

/// What the figures of a real run were made on.
pub(super) fn machine(summary: &Summary) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(machine) = &summary.machine {
        rows.push((
            "processor",
            format!("{}, {}", machine.cpu, counted(u64::from(machine.cores), "core")),
        ));
        rows.push(("memory", show_size(machine.memory_bytes as f64)));
        rows.push(("system", machine.os.clone()));
    }
    if let Some(harness) = &summary.harness {
        let late = harness.late_p99_s * 1e3;
        let (cpu, memory) = (harness.cpu_percent, show_size(harness.memory_bytes as f64));
        let dropped = show_count(harness.dropped);
        rows.push((
            "harness",
            format!("late p99 {late:.1} ms, CPU {cpu:.0} % of a core, peak memory {memory}, {dropped} dropped"),
        ));
        let cpu = harness.server_cpu_percent.map(|cpu| format!("CPU {cpu:.0} % of a core"));
        let memory = harness
            .server_memory_bytes
            .map(|bytes| format!("peak memory {}", show_size(bytes as f64)));
        let server: Vec<_> = cpu.into_iter().chain(memory).collect();
        if !server.is_empty() {
            rows.push(("server", server.join(", ")));
        }
    }
    rows
}

pub(super) fn cohorts(summary: &Summary) -> Vec<Cohort> {
    let rows = summary.devices.by_cohort.iter().map(|(name, states)| {
        let labels = [("cohort", name.as_str())];
        let time = summary.metric("deploy_time", if name == "all" { &[] } else { &labels });
        let of = |state: UpdateState| states.get(state.word()).copied().unwrap_or(0);
        let open = of(UpdateState::Pending) + of(UpdateState::InProgress);
        let counts = [
            states.values().sum(),
            of(UpdateState::Succeeded),
            of(UpdateState::Failed),
            of(UpdateState::Cancelled),
            open,
        ];
        let times = [
            time.and_then(|row| row.med),
            time.and_then(|row| row.p90),
            time.and_then(|row| row.p99),
        ];
        Cohort {
            name: name.clone(),
            cells: counts.map(show_count).into_iter().chain(times.map(span)).collect(),
        }
    });
    rows.collect()
}

/// The trends of all devices.
pub(super) fn timings(summary: &Summary) -> Vec<Timing> {
    let whole = |row: &&MetricRow| row.kind == "trend" && row.unit == "s" && row.count > 0;
    let total = |row: &&MetricRow| row.labels.is_empty() || (row.labels.len() == 1 && row.labels.contains_key("phase"));
    let rows = summary.metrics.iter().filter(whole).filter(total).map(|row| Timing {
        name: match row.labels.get("phase") {
            Some(phase) if row.name == "phase_time" => phase.clone(),
            Some(phase) => format!("{phase}, {}", row.name),
            None => row.name.clone(),
        },
        cells: std::iter::once(show_count(row.count))
            .chain(
                [row.min, row.avg, row.med, row.p90, row.p95, row.p99, row.p999, row.max]
                    .map(|value| value.map_or("–".to_owned(), axis::span)),
            )
            .collect(),
    });
    rows.collect()
}

/// The four ends count as idle where a phase is left.
pub(super) fn matrix(summary: &Summary) -> Matrix {
    let origins: Vec<Phase> = Phase::ALL
        .iter()
        .copied()
        .filter(|phase| *phase == Phase::Idle || !phase.at_rest())
        .collect();
    let targets: Vec<Phase> = Phase::ALL.iter().copied().filter(|phase| *phase != Phase::Idle).collect();
    let origin_of = |word: &str| Phase::ALL.iter().copied().find(|phase| phase.word() == word);
    let rows = origins.iter().map(|from| {
        let cells = targets.iter().map(|to| {
            let seen = summary.transitions.iter().filter(|row| {
                let origin = origin_of(&row.from);
                let same = origin == Some(*from) || (*from == Phase::Idle && origin.is_some_and(Phase::at_rest));
                same && row.to == to.word()
            });
            let count: u64 = seen.map(|row| row.count).sum();
            let legal = LEGAL.iter().any(|(one, other, _)| one == from && other == to);
            let (text, class) = match (count, legal) {
                (0, true) => ("–".to_owned(), "hole"),
                (0, false) => (String::new(), ""),
                (count, true) => (show_count(count), "seen"),
                (count, false) => (show_count(count), "illegal"),
            };
            let what = match (count, legal) {
                (_, false) => "not a legal change",
                (0, true) => "legal, not seen",
                (_, true) => "seen",
            };
            Cell {
                text,
                class,
                tip: format!("{from} to {to}: {what}"),
            }
        });
        let name = if *from == Phase::Idle { "idle, ended" } else { from.word() };
        (name, cells.collect())
    });
    Matrix {
        heads: targets.iter().map(|phase| phase.word()).collect(),
        rows: rows.collect(),
    }
}

pub(super) fn faults(summary: &Summary) -> Vec<Fault> {
    let rows = summary.faults.iter().map(|fault| Fault {
        name: fault.name.clone(),
        kind: fault.kind.clone(),
        counts: [
            fault.planned.map_or_else(|| chance_of(fault), show_count),
            show_count(fault.done),
            fault.missed.map_or_else(|| "–".to_owned(), show_count),
        ],
        because: missed_because(fault).unwrap_or_default(),
    });
    rows.collect()
}

/// What is planned of a fault that strikes single messages, requests or operations.
fn chance_of(fault: &FaultRow) -> String {
    let tried = fault
        .tried
        .map_or_else(String::new, |tried| format!("{} ", show_count(tried)));
    fault.strikes.as_ref().map_or_else(
        || "–".to_owned(),
        |strikes| format!("{} % of {tried}{strikes}", fault.chance_percent.unwrap_or(100.0)),
    )
}

pub(super) fn grid(summary: &Summary) -> Grid {
    let heads: Vec<&'static str> = Phase::ALL.iter().map(|phase| phase.word()).collect();
    let rows = summary.faults.iter().map(|fault| {
        let cells = heads.iter().map(|phase| {
            let count = fault.phases.get(*phase).copied().unwrap_or(0);
            Cell {
                text: if count > 0 { show_count(count) } else { "·".to_owned() },
                class: if count > 0 { "seen" } else { "hole" },
                tip: format!("{} in {phase}: {count} times", fault.name),
            }
        });
        (fault.name.clone(), cells.collect())
    });
    Grid {
        rows: rows.collect(),
        heads,
    }
}
