//! `report.html`: one file with everything a colleague needs, made of a run directory. No network, no script; light, dark and paper.
//!
//! Charts are drawn here as inline SVG, since what a chart library gives needs fonts, scripts or colors of its own; the page is a
//! template. Everything that a scenario, a device or a server supplied is escaped, in the page by the template, in charts by `svg`.

mod axis;
mod charts;
mod distributions;
mod outage;
mod panels;
mod stories;
mod svg;
mod tables;
mod timeline;

use askama::Template;

use super::fleets::{SideBySide, side_by_side};
use super::recording::Recording;
use super::rerun::rerun_command;
use super::summary::Summary;
use super::words::{counted, judgement, length};

pub(super) use outage::outage_html;
pub use outage::{AfterOutage, OutagePage, RetryRow};
pub use panels::{Panel, panels};
pub(super) use timeline::Columns;

use svg::Chart;
use tables::{Broken, Cohort, Expected, Fault, Grid, Matrix, StuckDevice, Timing, Twin};

/// Largest resolved scenario that is shown whole.
const SCENARIO_MAX: usize = 200_000;

/// What the page is made of.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    summary: &'a Summary,
    verdict: String,
    facts: Vec<(&'static str, String)>,
    /// Why the figures are not to be believed.
    invalid: Option<String>,
    invariants: String,
    findings: Vec<Broken>,
    stuck: Vec<StuckDevice>,
    machine: Vec<(&'static str, String)>,
    charts: Vec<Chart>,
    expectations: Vec<Expected>,
    cohorts: Vec<Cohort>,
    timings: Vec<Timing>,
    fleets: Option<SideBySide>,
    twin: Option<Twin>,
    matrix: Matrix,
    faults: Vec<Fault>,
    /// Whether any was missed for a reason that is known.
    because: bool,
    grid: Grid,
    slowest: Vec<stories::Slow>,
    phases: Vec<(&'static str, &'static str)>,
    rerun: String,
    resolved: String,
}

/// The page of one run.
pub(super) fn html(run: &Recording) -> String {
    let summary = &run.summary;
    let page = Page {
        summary,
        verdict: judgement(summary),
        facts: facts(summary),
        invalid: summary
            .harness
            .as_ref()
            .filter(|harness| !harness.valid)
            .map(|harness| harness.reasons.join("; ")),
        invariants: tables::invariants(summary),
        findings: tables::findings(summary),
        stuck: tables::stuck(summary),
        machine: tables::machine(summary),
        charts: charts::charts(run),
        expectations: tables::expectations(summary),
        cohorts: tables::cohorts(summary),
        timings: tables::timings(summary),
        fleets: side_by_side(summary),
        twin: summary.twin.as_ref().map(tables::twin),
        matrix: tables::matrix(summary),
        faults: tables::faults(summary),
        because: summary.faults.iter().any(|fault| !fault.missed_because.is_empty()),
        grid: tables::grid(summary),
        slowest: stories::slowest(run),
        phases: PHASES.map(|phase| (stories::class(phase), phase)).to_vec(),
        rerun: rerun_command(&summary.mode, &summary.scenario),
        resolved: run.resolved().chars().take(SCENARIO_MAX).collect(),
    };
    page.render().expect("a page is written to memory")
}

/// Phases of the legend of strips.
const PHASES: [&str; 9] = [
    "waiting",
    "accepted",
    "downloading",
    "retrying",
    "swapping",
    "probation",
    "succeeded",
    "failed",
    "idle",
];

fn facts(summary: &Summary) -> Vec<(&'static str, String)> {
    let scenario = &summary.scenario;
    let mode = match summary.mode.as_str() {
        "sim" => "sim: virtual time",
        _ => "run: real sockets, real time",
    };
    let mut facts = vec![
        ("mode", mode.to_owned()),
        ("seed", scenario.seed.to_string()),
        ("length", format!("{} ({})", length(summary.elapsed_s), summary.end)),
        ("devices", counted(summary.devices.total, "device")),
        ("scenario", scenario.hash.clone()),
        ("fingerprint", summary.fingerprint.clone()),
        ("squall", summary.squall.version.clone()),
    ];
    if let Some(at) = &summary.started_at {
        facts.push(("began", at.clone()));
    }
    if !scenario.overrides.is_empty() {
        let changed = scenario.overrides.iter().map(|(key, value)| format!("{key}={value}"));
        facts.push(("changed", changed.collect::<Vec<_>>().join(", ")));
    }
    facts
}
