//! Comparing runs: is the candidate worse than the base, and do we know?
//!
//! The unit is a run: each gives one number a gate. Sides are made comparable (or refused), each gate is judged by ranks, and beside the
//! gates two ratchets hold: what was expected and held must hold, what was always covered must be covered. `docs/compare.md` explains the
//! method with the table that shows how often it errs.

mod gate;
mod judge;
mod refusal;
mod render;
mod side;
mod stats;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::Summary;

pub use gate::{DEFAULT_GATES, Gate};
pub use judge::{Advice, Design, Judged, Sides, Verdict, judge};
pub use refusal::{Force, Refused};
pub use render::{COMPARE_MARKER, compare_junit, compare_markdown, compare_text};
pub use side::{Side, save_baseline};

/// Identifies the schema. Additions keep it; removals raise the number.
pub const COMPARE_SCHEMA: &str = "squall.compare/1";

/// How to compare.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What is compared; of the default ones those that no run tells are left out.
    pub gates: Vec<Gate>,
    /// Whether a gate that a run does not tell is an error.
    pub every_gate: bool,
    /// A change of at most this share is none.
    pub tolerance: f64,
    /// Whether the sides were measured in turn.
    pub interleaved: bool,
    /// Whether an undecided gate fails.
    pub strict: bool,
    /// What is overlooked.
    pub force: Force,
}

impl Terms {
    /// Refuses a gate that was asked for and that a run does not tell: better after the first run than after the last.
    ///
    /// # Errors
    /// [`Refused::Unmeasured`] with the first of them.
    pub fn check(&self, run: &Summary) -> Result<(), Refused> {
        let untold = self.gates.iter().find(|gate| gate.value(run).is_none());
        match untold.filter(|_| self.every_gate) {
            Some(gate) => Err(Refused::Unmeasured(gate.to_string())),
            None => Ok(()),
        }
    }
}

/// A comparison: what `--json` prints, and every report shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// `squall.compare/1`.
    pub schema: String,
    /// `same`, `better`, `undecided` or `regression`.
    pub verdict: String,
    /// Exit code of the command.
    pub exit_code: u8,
    /// Name of the scenario.
    pub scenario: String,
    /// Hash of the base's scenario.
    pub hash: String,
    /// `run` or `sim`.
    pub mode: String,
    /// `interleaved`, `apart` or `paired`.
    pub design: String,
    /// What was overlooked: `hash`, `machine`.
    pub forced: Vec<String>,
    /// The base.
    pub base: SideRow,
    /// The candidate.
    pub candidate: SideRow,
    /// How likely each interval is to hold the truth, percent.
    pub level: f64,
    /// Gates in the order in which they were asked for.
    pub gates: Vec<GateRow>,
    /// Gates that no run tells.
    pub not_measured: Vec<String>,
    /// Expectations that held in every run of the base and fail in most of the candidate.
    pub broken_expectations: Vec<String>,
    /// Phase changes seen.
    pub coverage: CoverageRow,
}

/// A side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SideRow {
    /// As it was named.
    pub name: String,
    /// Batches.
    pub batches: u64,
    /// Runs in all.
    pub runs: u64,
}

/// A gate. An infinite value (not every update ended) is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateRow {
    /// As it was asked for.
    pub gate: String,
    /// Unit of the values.
    pub unit: String,
    /// Values of the base, a list a batch.
    pub base: Vec<Vec<Option<f64>>>,
    /// Values of the candidate, a list a batch.
    pub candidate: Vec<Vec<Option<f64>>>,
    /// Median of the base.
    pub base_median: Option<f64>,
    /// Median of the candidate.
    pub candidate_median: Option<f64>,
    /// Candidate over base: median of all pairwise ratios.
    pub ratio: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
    /// Whether there were runs enough for an interval.
    pub has_interval: bool,
    /// How far from one a ratio may be and be no change.
    pub band: f64,
    /// `worse`, `better`, `same` or `cannot-tell`.
    pub verdict: String,
    /// Runs that are wanted.
    pub runs_wanted: Option<u64>,
    /// Batches of the baseline that are wanted.
    pub batches_wanted: Option<u64>,
}

/// Phase changes, as `from>to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageRow {
    /// Seen in every run of the base.
    pub base: u64,
    /// Of these, seen in a run of the candidate.
    pub candidate: u64,
    /// Of these, seen in none.
    pub lost: Vec<String>,
}

/// Compares two sides.
///
/// # Errors
/// [`Refused`] if they cannot be compared.
pub fn compare(base: &Side, candidate: &Side, terms: &Terms) -> Result<Comparison, Refused> {
    refusal::check(base, candidate, terms.force, terms.interleaved)?;
    let first = base.runs().next().expect("checked: a side has runs");
    let design = match (terms.interleaved, first.mode.as_str()) {
        (true, _) => Design::Interleaved,
        (false, "sim") => Design::Paired,
        (false, _) => Design::Apart,
    };
    let (told, not_told): (Vec<&Gate>, Vec<&Gate>) = terms.gates.iter().partition(|gate| {
        let mut runs = base.runs().chain(candidate.runs());
        runs.all(|run| gate.value(run).is_some())
    });
    if let Some(gate) = not_told.first().filter(|_| terms.every_gate) {
        return Err(Refused::Unmeasured(gate.to_string()));
    }
    if told.is_empty() {
        return Err(Refused::Unmeasured("any of the gates".to_owned()));
    }
    let sides = paired(base, candidate, design)?;
    let gates: Vec<GateRow> = told
        .iter()
        .map(|gate| gate_row(gate, &sides, design, told.len(), terms.tolerance))
        .collect();
    let broken_expectations = broken_expectations(base, candidate);
    let coverage = coverage(base, candidate);
    let has = |verdict: &str| gates.iter().any(|gate| gate.verdict == verdict);
    let regression = has("worse") || !broken_expectations.is_empty() || !coverage.lost.is_empty();
    let (verdict, exit_code) = match (regression, has("cannot-tell")) {
        (true, _) => ("regression", 101),
        (false, true) => ("undecided", if terms.strict { 101 } else { 0 }),
        (false, false) if has("better") => ("better", 0),
        (false, false) => ("same", 0),
    };
    Ok(Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        verdict: verdict.to_owned(),
        exit_code,
        scenario: first.scenario.name.clone(),
        hash: first.scenario.hash.clone(),
        mode: first.mode.clone(),
        design: match design {
            Design::Interleaved => "interleaved",
            Design::Apart => "apart",
            Design::Paired => "paired",
        }
        .to_owned(),
        forced: terms.force.words(),
        base: side_row(base),
        candidate: side_row(candidate),
        level: judge::level(told.len()),
        gates,
        not_measured: not_told.iter().map(ToString::to_string).collect(),
        broken_expectations,
        coverage,
    })
}

impl Comparison {
    /// As JSON with two spaces of indentation and a final newline.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a comparison has finite numbers only");
        json.push('\n');
        json
    }
}

/// The JSON Schema of [`Comparison`], for `squall schema compare`.
pub fn compare_schema() -> String {
    let mut schema = schemars::schema_for!(Comparison);
    schema.insert("$id".to_owned(), COMPARE_SCHEMA.into());
    let mut json = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    json.push('\n');
    json
}

type Runs<'a> = Vec<Vec<&'a Summary>>;

/// The runs of both sides; in virtual time those whose seed both have, in the order of the seeds.
fn paired<'a>(base: &'a Side, candidate: &'a Side, design: Design) -> Result<(Runs<'a>, Runs<'a>), Refused> {
    let all = |side: &'a Side| -> Runs<'a> { side.batches.iter().map(|batch| batch.iter().collect()).collect() };
    if design != Design::Paired {
        return Ok((all(base), all(candidate)));
    }
    let seeds = |side: &Side| side.runs().map(|run| run.scenario.seed).collect::<BTreeSet<_>>();
    let shared: Vec<u64> = seeds(base).intersection(&seeds(candidate)).copied().collect();
    if shared.is_empty() {
        return Err(Refused::NoSeeds);
    }
    let of = |side: &'a Side| -> Runs<'a> {
        // The newest run of a seed stands for it.
        let newest = |seed: &u64| side.runs().filter(|run| run.scenario.seed == *seed).last();
        vec![shared.iter().filter_map(newest).collect()]
    };
    Ok((of(base), of(candidate)))
}

fn side_row(side: &Side) -> SideRow {
    SideRow {
        name: side.name.clone(),
        batches: side.batches.len() as u64,
        runs: side.count() as u64,
    }
}

fn gate_row(gate: &Gate, (base, candidate): &(Runs<'_>, Runs<'_>), design: Design, gates: usize, tolerance: f64) -> GateRow {
    let values = |runs: &Runs<'_>| -> Vec<Vec<f64>> {
        let batch = |batch: &Vec<&Summary>| batch.iter().filter_map(|run| gate.value(run)).collect();
        runs.iter().map(batch).collect()
    };
    let sides = Sides {
        design,
        base: values(base),
        candidate: values(candidate),
    };
    let judged = judge(&sides, gates, tolerance, gate.more_is_worse()).expect("every run tells this gate");
    let shown = |values: &[Vec<f64>]| -> Vec<Vec<Option<f64>>> {
        let batch = |batch: &Vec<f64>| batch.iter().map(|value| finite(*value)).collect();
        values.iter().map(batch).collect()
    };
    let unit = base.iter().flatten().find_map(|run| gate.unit(run)).unwrap_or("1");
    GateRow {
        gate: gate.to_string(),
        unit: unit.to_owned(),
        base: shown(&sides.base),
        candidate: shown(&sides.candidate),
        base_median: finite(judged.base),
        candidate_median: finite(judged.candidate),
        ratio: finite(judged.ratio),
        low: judged.interval.and_then(|(low, _)| finite(low)),
        high: judged.interval.and_then(|(_, high)| finite(high)),
        has_interval: judged.interval.is_some(),
        band: judged.band,
        verdict: match judged.verdict {
            Verdict::Worse => "worse",
            Verdict::Better => "better",
            Verdict::Same => "same",
            Verdict::CannotTell => "cannot-tell",
        }
        .to_owned(),
        runs_wanted: judged.advice.map(|advice| advice.runs as u64),
        batches_wanted: judged.advice.map(|advice| advice.batches as u64),
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 1e9).round() / 1e9)
}

/// Expectations by their text; one that a run does not have says nothing of it.
fn broken_expectations(base: &Side, candidate: &Side) -> Vec<String> {
    let texts: BTreeSet<&str> = base
        .runs()
        .flat_map(|run| &run.expectations)
        .map(|row| row.that.as_str())
        .collect();
    let judged = |side: &Side, text: &str| -> Vec<bool> {
        let rows = side.runs().flat_map(|run| &run.expectations).filter(|row| row.that == text);
        rows.map(|row| row.passed).collect()
    };
    let broken = texts.into_iter().filter(|text| {
        let after = judged(candidate, text);
        let failed = after.iter().filter(|passed| !**passed).count();
        judged(base, text).iter().all(|passed| *passed) && 2 * failed > after.len()
    });
    broken.map(str::to_owned).collect()
}

fn coverage(base: &Side, candidate: &Side) -> CoverageRow {
    let pairs =
        |run: &Summary| -> BTreeSet<String> { run.transitions.iter().map(|row| format!("{}>{}", row.from, row.to)).collect() };
    let mut runs = base.runs().map(pairs);
    let first = runs.next().unwrap_or_default();
    let always = runs.fold(first, |always, run| always.intersection(&run).cloned().collect());
    let ever: BTreeSet<String> = candidate.runs().flat_map(pairs).collect();
    let lost: Vec<String> = always.difference(&ever).cloned().collect();
    CoverageRow {
        base: always.len() as u64,
        candidate: (always.len() - lost.len()) as u64,
        lost,
    }
}
