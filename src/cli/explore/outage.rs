//! `explore --outage`: for each way to retry the shortest outage that the fleet does not come back from, as a table and a chart.

use std::time::Duration;

use serde::Serialize;

use crate::cli::refusal::Refusal;
use crate::cli::results::put;
use crate::explore::{Boundary, OUTAGES, Storm};
use crate::model::show_duration;
use crate::play::Status;
use crate::report::{AfterOutage, OutagePage, RetryRow};
use crate::scenario::Plan;

use super::Search;

/// How long a fleet may take where nothing else is said.
const WITHIN: Duration = Duration::from_secs(5 * 60);
/// The schema of what `--json` prints.
const SCHEMA: &str = "squall.outage/1";

/// The storm of a scenario.
pub(super) fn storm(plan: &Plan, within: Option<Duration>) -> Result<Storm, Refusal> {
    Storm::new(&plan.resolved, within.unwrap_or(WITHIN)).ok_or_else(|| {
        Refusal::bad_input(&format!(
            "`--outage`: `{}` has no outage to be lengthened: give it one at a time, for example\n  \
             fault = [{{ inject = \"outage\", who = \"server\", at = \"20s\", for = \"30s\" }}]",
            plan.name
        ))
    })
}

/// Searches, and says what was found; gives the exit code.
pub(super) fn search(search: &Search<'_>, storm: &Storm) -> Result<u8, Refusal> {
    let output = &search.args.output;
    let tell = |boundary: &Boundary| {
        if !output.quiet {
            eprintln!("{}", row(boundary));
        }
    };
    let found = storm.search(search.jobs, search.directory.path(), &|| search.interrupt.asked(), &tell);
    let found = found.map_err(Refusal::told)?;
    let text = table(search.first, storm, &found);
    for line in text.lines() {
        search.directory.log(line)?;
    }
    search.directory.put_outage(&page(search.first, storm, &found))?;
    match output.json {
        true => put(&json(search.first, storm, &found)),
        false => put(&text),
    }
    if !output.quiet {
        eprintln!("chart: {}", search.directory.path().join("outage.html").display());
    }
    Ok(match search.interrupt.asked() {
        true => Status::Interrupted.exit_code(),
        false => Status::Passed.exit_code(),
    })
}

/// What was tried, and what counts as being back.
fn heading(storm: &Storm) -> String {
    format!(
        "the server is gone from {} on; back is who has 99 % of devices online {} after it",
        show_duration(storm.at),
        show_duration(storm.within)
    )
}

/// The same as a page with charts.
fn page(plan: &Plan, storm: &Storm, found: &[Boundary]) -> OutagePage {
    let row = |boundary: &Boundary| RetryRow {
        first: show_duration(boundary.retry.first),
        written: boundary.retry.written(),
        jittered: boundary.retry.jittered,
        after: tried().map(|seconds| after(boundary, seconds)).collect(),
        never: never(boundary),
    };
    OutagePage {
        name: plan.name.clone(),
        what: heading(storm),
        outages: tried().map(length).collect(),
        rows: found.iter().map(row).collect(),
    }
}

/// Outages that are shown: none at all is no column.
fn tried() -> impl Iterator<Item = u64> {
    OUTAGES.into_iter().filter(|seconds| *seconds > 0)
}

fn after(boundary: &Boundary, seconds: u64) -> AfterOutage {
    match boundary.stays {
        Some(stays) if seconds > stays => AfterOutage::NotTried,
        Some(stays) if seconds == stays => AfterOutage::Away,
        Some(_) | None => AfterOutage::Back,
    }
}

fn never(boundary: &Boundary) -> String {
    match boundary.stays {
        Some(0) => "never there".to_owned(),
        Some(seconds) => length(seconds),
        None => "-".to_owned(),
    }
}

fn table(plan: &Plan, storm: &Storm, found: &[Boundary]) -> String {
    let heading = format!("{}: {}", plan.name, heading(storm));
    let columns: String = tried().map(|seconds| format!("{:>4}", length(seconds))).collect();
    let mut text = format!("{heading}\n{:<22}{columns}  never back from\n", "reconnect");
    for boundary in found {
        text.push_str(&row(boundary));
        text.push('\n');
    }
    text
}

/// A way to retry, with a mark for each outage: `█` where the fleet comes back, `×` for the first where it does not, nothing beyond.
fn row(boundary: &Boundary) -> String {
    let cells = tried().map(|seconds| match after(boundary, seconds) {
        AfterOutage::Back => "   █",
        AfterOutage::Away => "   ×",
        AfterOutage::NotTried => "    ",
    });
    let cells: String = cells.collect();
    format!("{:<22}{cells}  {}", boundary.retry.written(), never(boundary))
}

fn length(seconds: u64) -> String {
    match seconds {
        60.. if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    scenario: &'a str,
    hash: &'a str,
    seed: u64,
    outage_at_s: f64,
    within_s: f64,
    outages_s: &'a [u64],
    boundary: Vec<ShownBoundary>,
}

#[derive(Serialize)]
struct ShownBoundary {
    reconnect: String,
    heals_s: Option<u64>,
    stays_s: Option<u64>,
}

fn json(plan: &Plan, storm: &Storm, found: &[Boundary]) -> String {
    let boundary = found.iter().map(|boundary| ShownBoundary {
        reconnect: boundary.retry.written(),
        heals_s: boundary.heals,
        stays_s: boundary.stays,
    });
    let shown = Shown {
        schema: SCHEMA,
        scenario: &plan.name,
        hash: &plan.hash,
        seed: plan.seed,
        outage_at_s: storm.at.as_secs_f64(),
        within_s: storm.within.as_secs_f64(),
        outages_s: &OUTAGES,
        boundary: boundary.collect(),
    };
    serde_json::to_string_pretty(&shown).expect("texts and numbers are JSON") + "\n"
}
