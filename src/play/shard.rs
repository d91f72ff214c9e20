//! What one shard's run came to, and how several make the outcome of the whole: figures add up, and what is expected is judged on the
//! sum.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::measure::{Part, Recorder, Trend};
use crate::model::{DeviceId, DeviceIndex, Prompt, Split, show_count};
use crate::scenario::Plan;
use crate::time::SimTime;
use crate::verdict::{Finding, Referee, server_rule};

use super::io::{Mode, RunEnd};
use super::judging::Judging;
use super::outcome::{Checks, Errors, Filled, HarnessReport, Lateness, LeftOpen, Outcome, RunError, ThreadFigures};
use super::timeline::Timeline;
use super::{census, recorder};

/// Identifies the form of what a shard leaves for `squall merge`.
pub const SHARD_SCHEMA: &str = "squall.shard/1";
/// Most intervals of lateness that are kept.
const LATENESS_MAX: usize = 480;

/// What the run of one shard came to.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShardOutcome {
    /// [`SHARD_SCHEMA`].
    pub schema: String,
    /// Which shard.
    pub split: Split,
    /// What was played: 16 hex digits.
    pub scenario: String,
    /// Its luck.
    pub seed: u64,
    /// What flags and environment changed, by dotted key.
    pub overrides: BTreeMap<String, String>,
    /// The scenario's file, as the user named it.
    pub file: Option<PathBuf>,
    /// Lines of the expectations in the scenario as it was given.
    pub lines: Vec<u32>,
    mode: Mode,
    elapsed: SimTime,
    end: RunEnd,
    fired: Vec<Option<SimTime>>,
    figures: Part,
    findings: Vec<Found>,
    checks: Checks,
    left_open: Vec<LeftOpen>,
    errors: Vec<RunError>,
    started_at: Option<String>,
    harness: Option<HarnessReport>,
}

/// A finding as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    rule: String,
    count: u64,
    device: Option<DeviceId>,
    at: SimTime,
    evidence: String,
}

/// Why shards do not make a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmergeable {
    /// There is none.
    #[error("there is no shard to merge")]
    Nothing,
    /// They were not played alike.
    #[error("shard {0} and shard {1} were not played alike: {2} differs")]
    Unlike(Split, Split, &'static str),
    /// Some are not there.
    #[error("of {of} shards {} {}: every shard counts", list(missing), if missing.len() == 1 { "is missing" } else { "are missing" })]
    Missing {
        /// How many there must be.
        of: u32,
        /// Which are not there.
        missing: Vec<u32>,
    },
    /// One is there more than once.
    #[error("shard {0} is there twice")]
    Twice(Split),
    /// The plan is of something else.
    #[error("the scenario is not what the shards played")]
    OtherPlan,
}

/// The first few of these numbers.
fn list(numbers: &[u32]) -> String {
    let shown: Vec<_> = numbers.iter().take(10).map(ToString::to_string).collect();
    let more = if numbers.len() > 10 { " and more" } else { "" };
    shown.join(", ") + more
}

impl Outcome {
    /// What a shard leaves for the merge.
    pub fn of_shard(&self) -> ShardOutcome {
        let plan = &self.plan;
        let found = |finding: &Finding| Found {
            rule: finding.rule.to_owned(),
            count: finding.count,
            device: finding.device.clone(),
            at: finding.at,
            evidence: finding.evidence.clone(),
        };
        ShardOutcome {
            schema: SHARD_SCHEMA.to_owned(),
            split: plan.split,
            scenario: plan.hash.clone(),
            seed: plan.seed,
            overrides: plan.overrides.clone(),
            file: plan.file.clone(),
            lines: plan.expectations.iter().map(|expectation| expectation.line).collect(),
            mode: self.mode,
            elapsed: self.elapsed,
            end: self.end.clone(),
            fired: self.fired.clone(),
            figures: self.recorder.part(),
            findings: self.findings.iter().map(found).collect(),
            checks: self.checks,
            left_open: self.left_open.clone(),
            errors: self.errors.clone(),
            started_at: self.started_at.clone(),
            harness: self.harness.clone(),
        }
    }
}

/// The outcome of the whole `plan`, of which each shard played its part; `traces` hands their traces to the recorder.
///
/// # Errors
///
/// [`Unmergeable`] where the shards do not make a whole, and what `traces` says.
pub fn merge<E>(
    plan: Arc<Plan>,
    mut shards: Vec<ShardOutcome>,
    traces: impl FnOnce(&mut Recorder) -> Result<(), E>,
) -> Result<Result<Outcome, E>, Unmergeable> {
    shards.sort_by_key(|shard| shard.split.number());
    check(&plan, &shards)?;
    let elapsed = shards.iter().map(|shard| shard.elapsed).max().unwrap_or(SimTime::ZERO);
    let mode = shards[0].mode;
    let mut recorder = recorder(&plan, census(&plan));
    let findings = findings(&recorder, &shards);
    let mut errors = Errors::default();
    for error in shards.iter().flat_map(|shard| shard.errors.clone()) {
        errors.add_times(error.message, error.count, error.first_device);
    }
    let mut left_open: Vec<_> = shards.iter().flat_map(|shard| shard.left_open.clone()).collect();
    left_open.sort_by_key(|left| left.device);
    let checks = Checks {
        rules: shards.iter().map(|shard| shard.checks.rules).max().unwrap_or(0),
        checks: shards.iter().map(|shard| shard.checks.checks).sum(),
    };
    let harness = harness(&shards);
    let (end, fired) = (end(&shards), shards[0].fired.clone());
    let started_at = shards.iter().filter_map(|shard| shard.started_at.clone()).min();
    recorder.add_up(shards.into_iter().map(|shard| shard.figures).collect(), elapsed);
    if let Err(error) = traces(&mut recorder) {
        return Ok(Err(error));
    }
    recorder.observe_findings(findings.iter().map(|finding| (finding.rule, finding.count)).collect());
    if let Some(harness) = &harness {
        recorder.observe_harness(harness.figures());
    }
    let measured = |expectation: &crate::verdict::Expectation| recorder.value(&expectation.measure, elapsed);
    let judgements = Judging::new(&plan, mode).finish(&plan, &Timeline::new(&plan), elapsed, measured);
    Ok(Ok(Outcome {
        mode,
        elapsed,
        end,
        fired,
        server_windows: Vec::new(),
        judgements,
        findings,
        checks,
        left_open,
        errors: errors.into_rows(),
        started_at,
        harness,
        twin: None,
        recorder,
        plan,
    }))
}

/// Whether these are all shards of one run of this plan; they are in order of their numbers.
fn check(plan: &Plan, shards: &[ShardOutcome]) -> Result<(), Unmergeable> {
    let first = shards.first().ok_or(Unmergeable::Nothing)?;
    for shard in shards {
        let differs = [
            ("how many there are", shard.split.of() != first.split.of()),
            ("the scenario", shard.scenario != first.scenario),
            ("the seed", shard.seed != first.seed),
            ("the mode", shard.mode != first.mode),
        ];
        if let Some((what, _)) = differs.iter().find(|(_, differs)| *differs) {
            return Err(Unmergeable::Unlike(first.split, shard.split, what));
        }
    }
    if let Some(pair) = shards.windows(2).find(|pair| pair[0].split == pair[1].split) {
        return Err(Unmergeable::Twice(pair[0].split));
    }
    let there: BTreeSet<u32> = shards.iter().map(|shard| shard.split.number()).collect();
    let of = first.split.of();
    let missing: Vec<u32> = (1..=of).filter(|number| !there.contains(number)).collect();
    if !missing.is_empty() {
        return Err(Unmergeable::Missing { of, missing });
    }
    match (&plan.hash, plan.seed) == (&first.scenario, first.seed) {
        true => Ok(()),
        false => Err(Unmergeable::OtherPlan),
    }
}

/// The gravest of the ends.
fn end(shards: &[ShardOutcome]) -> RunEnd {
    let failed = shards.iter().find_map(|shard| match &shard.end {
        RunEnd::Failed(why) => Some(RunEnd::Failed(format!("shard {}: {why}", shard.split))),
        RunEnd::Settled | RunEnd::Duration | RunEnd::Aborted | RunEnd::Interrupted => None,
    });
    let any = |end: RunEnd| shards.iter().any(|shard| shard.end == end).then_some(end);
    let ends = [failed, any(RunEnd::Interrupted), any(RunEnd::Aborted), any(RunEnd::Duration)];
    ends.into_iter().flatten().next().unwrap_or(RunEnd::Settled)
}

/// Findings by rule, in their order; of each rule the first break of all.
fn findings(recorder: &Recorder, shards: &[ShardOutcome]) -> Vec<Finding> {
    let names = Referee::rule_names();
    let mut merged: BTreeMap<(usize, &'static str), Finding> = BTreeMap::new();
    for found in shards.iter().flat_map(|shard| &shard.findings) {
        let place = names.iter().position(|name| *name == found.rule);
        let rule = place
            .map(|place| names[place])
            .or_else(|| Some(server_rule(&found.rule)?.name));
        let Some(rule) = rule else { continue };
        let finding = merged.entry((place.unwrap_or(names.len()), rule)).or_insert_with(|| Finding {
            rule,
            count: 0,
            device: found.device.clone(),
            at: found.at,
            evidence: found.evidence.clone(),
        });
        finding.count += found.count;
        let first = |at: SimTime, device: &Option<DeviceId>| -> (SimTime, Option<DeviceIndex>) {
            (at, device.as_ref().and_then(|device| recorder.device_index(device.as_str())))
        };
        if first(found.at, &found.device) < first(finding.at, &finding.device) {
            finding.at = found.at;
            finding.device.clone_from(&found.device);
            finding.evidence.clone_from(&found.evidence);
        }
    }
    merged.into_values().collect()
}

/// How the harnesses fared together: what they used adds up, and one that was a bottleneck spoils the figures of all.
fn harness(shards: &[ShardOutcome]) -> Option<HarnessReport> {
    let each: Vec<_> = shards
        .iter()
        .filter_map(|shard| Some((shard.split, shard.harness.as_ref()?)))
        .collect();
    let (_, first) = each.first()?;
    let mut late = Trend::default();
    let mut server_time: BTreeMap<Prompt, Trend> = BTreeMap::new();
    for (_, harness) in &each {
        late = late.with(&harness.late);
        for (prompt, times) in &harness.server_time {
            let so_far = server_time.remove(prompt).unwrap_or_default();
            server_time.insert(*prompt, so_far.with(times));
        }
    }
    let reasons = each.iter().flat_map(|(split, harness)| {
        let of = move |reason: &String| format!("shard {split}: {reason}");
        harness.reasons.iter().map(of)
    });
    let threads = each.iter().flat_map(|(split, harness)| {
        let of = move |thread: &ThreadFigures| ThreadFigures {
            name: format!("{split} {}", thread.name),
            ..thread.clone()
        };
        harness.threads.iter().map(of)
    });
    let mut machine = first.machine.clone();
    if each.iter().any(|(_, harness)| harness.machine != machine) {
        machine.cpu = format!(
            "{}; shards ran on {} machines like and unlike it",
            machine.cpu,
            show_count(each.len() as u64)
        );
    }
    let sum = |part: &dyn Fn(&HarnessReport) -> Option<u64>| -> Option<u64> {
        let parts: Vec<_> = each.iter().filter_map(|(_, harness)| part(harness)).collect();
        (!parts.is_empty()).then(|| parts.iter().sum())
    };
    let fullest =
        |of: &dyn Fn(&HarnessReport) -> Option<Filled>| each.iter().filter_map(|(_, harness)| of(harness)).reduce(Filled::fuller);
    Some(HarnessReport {
        valid: each.iter().all(|(_, harness)| harness.valid),
        reasons: reasons.collect(),
        // Each machine carries its own part: what all of them would carry is for nobody to reckon.
        carries: None,
        late_at_rest_s: each.iter().map(|(_, harness)| harness.late_at_rest_s).fold(0.0, f64::max),
        late_p99_s: late.percentile(99.0, 0).unwrap_or(0.0),
        late,
        lateness: lateness(
            each.iter()
                .flat_map(|(_, harness)| harness.lateness.iter().copied())
                .collect(),
        ),
        cpu_percent: each.iter().map(|(_, harness)| harness.cpu_percent).sum(),
        memory_bytes: each.iter().map(|(_, harness)| harness.memory_bytes).sum(),
        free_memory_bytes: each.iter().filter_map(|(_, harness)| harness.free_memory_bytes).min(),
        descriptors: fullest(&|harness| harness.descriptors),
        ports: fullest(&|harness| harness.ports),
        threads: threads.collect(),
        dropped: each.iter().map(|(_, harness)| harness.dropped).sum(),
        server_memory_bytes: sum(&|harness| harness.server_memory_bytes),
        server_cpu_percent: each
            .iter()
            .filter_map(|(_, harness)| harness.server_cpu_percent)
            .reduce(|sum, more| sum + more),
        server_time: server_time.into_iter().collect(),
        machine,
    })
}

/// Intervals of several harnesses in order of time, neighbors made one until there are few enough: the larger lateness counts.
fn lateness(mut all: Vec<Lateness>) -> Vec<Lateness> {
    all.sort_by_key(|one| one.at);
    let together = all.len().div_ceil(LATENESS_MAX).max(1);
    let merged = all.chunks(together).map(|chunk| Lateness {
        at: chunk[chunk.len() - 1].at,
        p99_s: chunk.iter().map(|one| one.p99_s).fold(0.0, f64::max),
        wakes: chunk.iter().map(|one| one.wakes).sum(),
    });
    merged.collect()
}
