//! Says how an exploration goes: a line for each failure, the scenario that it comes down to, and now and then how far it is.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::cli::now;
use crate::cli::results::put;
use crate::explore::{Failure, SeedResult, Shrunk, Tally, fails_as, shrink};
use crate::model::show_count;
use crate::play::Status;
use crate::report::ReportError;

use super::{Search, since};

/// Simulations that shrinking a failing seed may take.
const SHRINKING: u32 = 400;
/// How often progress is told on standard error.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// A failure, as `--json` tells it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ShownFailure {
    /// Which: `seed 17`, or `flash 12 power-cut`.
    which: String,
    seed: u64,
    status: &'static str,
    /// The rule that broke, the expectation as written, or `error`.
    kind: String,
    what: String,
    /// Its files, below the run directory.
    folder: String,
    shrunk: Option<ShownShrunk>,
}

/// What a failure came down to.
#[derive(Clone, Debug, Serialize)]
struct ShownShrunk {
    devices: u64,
    steps: u64,
    faults: Vec<String>,
    /// Nothing more can be left out.
    complete: bool,
    /// The scenario, below the run directory.
    file: String,
}

/// Says how it goes.
pub(super) struct Teller<'a> {
    search: &'a Search<'a>,
    told_at: SystemTime,
    /// Failures of which a seed was shrunk: others like it teach nothing new.
    kinds: BTreeSet<String>,
    failures: Vec<ShownFailure>,
    /// A shrunk scenario could not be kept.
    problem: Option<ReportError>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(search: &'a Search<'a>) -> Teller<'a> {
        Teller {
            search,
            told_at: search.began,
            kinds: BTreeSet::new(),
            failures: Vec::new(),
            problem: None,
        }
    }

    /// Tells of a simulation that is over; what was kept of it stands in `folder` below `failures`.
    pub(super) fn result(&mut self, which: &str, folder: &str, result: &SeedResult) {
        let args = self.search.args;
        let Some(failure) = result.failure.as_ref().filter(|_| result.status != Status::Passed) else {
            if args.output.verbose {
                eprintln!("{which}  passed, fingerprint {:016x}", result.fingerprint);
            }
            return;
        };
        let kept = args.output.out.join("latest/failures").join(folder);
        let line = format!(
            "{which}  {}  {failure}  squall replay {}",
            result.status.word(),
            kept.display()
        );
        self.put(&format!("{}\n", line.replace(char::is_control, " ")));
        self.failures.push(ShownFailure {
            which: which.to_owned(),
            seed: result.seed,
            status: result.status.word(),
            kind: failure.kind().to_owned(),
            what: failure.to_string(),
            folder: format!("failures/{folder}"),
            shrunk: None,
        });
        if !args.no_shrink && self.kinds.insert(failure.kind().to_owned()) {
            self.shrink(folder, failure);
        }
    }

    /// Makes the smallest scenario of a failure, and keeps and tells it.
    fn shrink(&mut self, folder: &str, failure: &Failure) {
        let search = self.search;
        let below = format!("failures/{folder}");
        let beside = search.directory.path().join(&below);
        let read = std::fs::read_to_string(beside.join("resolved.toml"));
        // An expectation speaks of the fleet as it is; what breaks a rule breaks it whatever the fleet.
        let fleet = !matches!(failure, Failure::Expectation { .. });
        let mut fails = |scenario: &str| fails_as(failure.kind(), &beside, scenario, &|| search.interrupt.asked());
        let Some(shrunk) = read.ok().and_then(|text| shrink(&text, fleet, SHRINKING, &mut fails)) else {
            return;
        };
        let own = search.directory.within(&below);
        if let Err(problem) = own.and_then(|own| own.put_shrunk(&shrunk.draft.to_string())) {
            self.problem = Some(problem);
            return;
        }
        let shown = search.args.output.out.join("latest").join(&below);
        self.put(&shrunk_line(&shrunk, &shown.display().to_string()));
        if let Some(told) = self.failures.last_mut() {
            told.shrunk = Some(ShownShrunk {
                devices: shrunk.draft.devices(),
                steps: shrunk.draft.count("step") as u64,
                faults: shrunk.draft.faults().into_iter().map(str::to_owned).collect(),
                complete: shrunk.complete,
                file: format!("{below}/shrunk.toml"),
            });
        }
    }

    /// Results alone go to standard output, and with `--json` they come at the end.
    fn put(&self, text: &str) {
        if !self.search.args.output.json {
            put(text);
        }
    }

    pub(super) fn tick(&mut self, tally: &Tally) {
        if !self.search.args.output.quiet && since(self.told_at) >= PROGRESS_EVERY {
            self.told_at = now();
            eprintln!(
                "played={} failing={} {}",
                tally.played,
                tally.failing,
                rate(tally, self.search.began)
            );
        }
    }

    /// Folders of what was told, below `failures`.
    pub(super) fn folders(&self) -> Vec<String> {
        let folders = self
            .failures
            .iter()
            .map(|failure| failure.folder.trim_start_matches("failures/"));
        folders.map(str::to_owned).collect()
    }

    /// What was told.
    pub(super) fn done(self) -> Result<Vec<ShownFailure>, ReportError> {
        self.problem.map_or(Ok(self.failures), Err)
    }
}

/// What a failing seed came down to, and which faults it needs.
fn shrunk_line(shrunk: &Shrunk, folder: &str) -> String {
    let faults: Vec<_> = shrunk.draft.faults().iter().map(|name| format!("`{name}`")).collect();
    let blame = match (faults.is_empty(), shrunk.complete) {
        (true, _) => "needs no fault".to_owned(),
        (false, true) => format!("needs {}", faults.join(" and ")),
        (false, false) => format!("among {}", faults.join(" and ")),
    };
    format!("  shrunk to {}; {blame}  squall sim {folder}/shrunk.toml\n", shrunk.left())
}

/// Seeds a minute, in words.
pub(super) fn rate(tally: &Tally, began: SystemTime) -> String {
    let minutes = since(began).as_secs_f64() / 60.0;
    let rate = if minutes > 0.0 { tally.played as f64 / minutes } else { 0.0 };
    format!("{} a minute", show_count(rate.round() as u64))
}
