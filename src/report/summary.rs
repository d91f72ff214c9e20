//! `summary.json`: every figure of a run, by the schema `squall.summary/1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::play::Outcome;

use super::twin::TwinRow;

/// Identifies the schema. Additions keep it; removals raise the number.
pub const SUMMARY_SCHEMA: &str = "squall.summary/1";

/// The summary of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// `squall.summary/1`.
    pub schema: String,
    /// What made the summary.
    pub squall: Product,
    /// `run`: real sockets and real time; `sim`: virtual time.
    pub mode: String,
    /// `passed`, `failed`, `broken`, `invalid`, `interrupted` or `error`.
    pub status: String,
    /// Exit code of the command.
    pub exit_code: u8,
    /// How the run came to its end: `settled`, `duration`, `aborted`, `interrupted` or `failed`.
    pub end: String,
    /// Length of the run, seconds.
    pub elapsed_s: f64,
    /// When it began, RFC 3339; null in virtual time.
    pub started_at: Option<String>,
    /// What was played.
    pub scenario: ScenarioRow,
    /// The machine it was made on; null in virtual time.
    pub machine: Option<MachineRow>,
    /// Devices at the end.
    pub devices: Devices,
    /// Series: total, by fleet, by cohort, and those that the scenario asks for.
    pub metrics: Vec<MetricRow>,
    /// Steps in order of the scenario, and when they fired.
    #[serde(default)]
    pub steps: Vec<StepRow>,
    /// When faults with a time of their own were on.
    #[serde(default)]
    pub windows: Vec<WindowRow>,
    /// Expectations that were judged, in order of the scenario.
    pub expectations: Vec<ExpectationRow>,
    /// How much was checked.
    pub invariants: Invariants,
    /// Broken invariants.
    pub findings: Vec<FindingRow>,
    /// Trouble of the harness, grouped by message.
    pub errors: Vec<ErrorRow>,
    /// Failed and rejected attempts, grouped by reason.
    pub failures: Vec<FailureRow>,
    /// Phase changes that were seen.
    pub transitions: Vec<TransitionRow>,
    /// The fleets side by side; none where there is but one.
    #[serde(default)]
    pub fleets: Vec<FleetRow>,
    /// Legal phase changes seen.
    pub coverage: Coverage,
    /// Devices that hung at the end, at most 1,000 of them.
    pub stuck: Vec<StuckRow>,
    /// How many hung.
    pub stuck_total: u64,
    /// The device whose update took longest; null where none was finished.
    pub slowest: Option<SlowestRow>,
    /// The devices to look at first: those still open, then those whose update took longest; at most 50.
    #[serde(default)]
    pub slowest_devices: Vec<SlowRow>,
    /// Planned faults and what came of them.
    pub faults: Vec<FaultRow>,
    /// What one should know before believing the figures: deviations, simplifications.
    pub notes: Vec<Note>,
    /// 16 hex digits over all transitions.
    pub fingerprint: String,
    /// How the harness fared; null in virtual time.
    pub harness: Option<HarnessRow>,
    /// The same plan in virtual time, with `--twin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<TwinRow>,
    /// Files of the run directory by kind.
    pub files: BTreeMap<String, String>,
}

/// What made a summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    /// Version of squall.
    pub version: String,
    /// Commit that it was built from, if the build knew.
    pub commit: Option<String>,
}

/// What was played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioRow {
    /// Its name.
    pub name: String,
    /// The file that it was read from, as the command named it; null of a built-in example or of standard input.
    #[serde(default)]
    pub file: Option<String>,
    /// 16 hex digits over what is played.
    pub hash: String,
    /// Source of all luck.
    pub seed: u64,
    /// What flags and environment changed, by dotted key.
    pub overrides: BTreeMap<String, String>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineRow {
    /// Processor model.
    pub cpu: String,
    /// Processors available.
    pub cores: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Operating system and release.
    pub os: String,
}

/// Devices at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Devices {
    /// How many there are.
    pub total: u64,
    /// By the state in the newest deployment that reached them.
    pub by_state: BTreeMap<String, u64>,
    /// By phase.
    pub by_phase: BTreeMap<String, u64>,
    /// By what they run; a device counts under each of its firmwares.
    pub by_version: BTreeMap<String, u64>,
    /// By cohort (`all` among them) and state.
    pub by_cohort: BTreeMap<String, BTreeMap<String, u64>>,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricRow {
    /// Name of the metric.
    pub name: String,
    /// Conditions: key to values joined by `|`; a key that begins with `!` is turned round.
    pub labels: BTreeMap<String, String>,
    /// `gauge`, `counter` or `trend`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `s`, `B`, `B/s`, `1` or `%`.
    pub unit: String,
    /// Devices, events, or values.
    pub count: u64,
    /// Sum of the values; null where there is none, or where it is not over.
    pub sum: Option<f64>,
    /// Smallest value.
    pub min: Option<f64>,
    /// Mean.
    pub avg: Option<f64>,
    /// Median.
    pub med: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
}

/// One expectation, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectationRow {
    /// The measure as written.
    pub that: String,
    /// Line in the scenario file, from 1.
    pub line: u32,
    /// When it was judged, seconds.
    pub judged_at_s: f64,
    /// What was measured, in `unit`; null where it is undefined or not over yet.
    pub measured: Option<f64>,
    /// What it was compared with, in `unit`.
    pub limit: f64,
    /// `s`, `B`, `%`, `1/s`, `B/s` or `1`.
    pub unit: String,
    /// Whether it holds.
    pub passed: bool,
    /// Whether it ended the run.
    pub aborted: bool,
    /// True where `measured` is null because it is not over: attempts are open.
    pub endless: bool,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invariants {
    /// Rules held.
    pub rules: u32,
    /// Single checks made.
    pub checks: u64,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingRow {
    /// Name of the rule.
    pub rule: String,
    /// How often it was broken.
    pub count: u64,
    /// The first time.
    pub first: FirstFinding,
}

/// The first time that a rule was broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FirstFinding {
    /// By which device, if by one.
    pub device: Option<String>,
    /// When, seconds.
    pub at_s: f64,
    /// What was seen.
    pub evidence: String,
}

/// Trouble of the harness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorRow {
    /// What went wrong.
    pub message: String,
    /// How often.
    pub count: u64,
    /// The first device concerned, if it concerned one.
    pub first_device: Option<String>,
}

/// Attempts that failed for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureRow {
    /// How many.
    pub count: u64,
    /// Why, in words.
    pub reason: String,
    /// What in the scenario made it so.
    pub detail: Option<String>,
}

/// A phase change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransitionRow {
    /// Phase left.
    pub from: String,
    /// Phase entered.
    pub to: String,
    /// Why.
    pub cause: String,
    /// How often.
    pub count: u64,
}

/// A fleet, to be held against the others. Its times are in `metrics` under the label `fleet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetRow {
    /// Its name.
    pub name: String,
    /// `simulated`, or `qemu`: real firmware.
    pub engine: String,
    /// Its devices.
    pub devices: u64,
    /// Of these, by the state in the newest deployment that reached them.
    pub by_state: BTreeMap<String, u64>,
    /// Phase changes that were seen of them.
    pub transitions: Vec<TransitionRow>,
}

/// Which legal phase changes were seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Legal pairs in all.
    pub legal: u32,
    /// Of these, seen.
    pub seen: u32,
    /// Of these, not seen: `a>b`.
    pub unseen: Vec<String>,
}

/// A device that hung.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StuckRow {
    /// Which device.
    pub device: String,
    /// In which phase.
    pub phase: String,
    /// For how long, seconds.
    pub for_s: f64,
    /// Why.
    pub why: String,
}

/// The device whose update took longest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowestRow {
    /// Which device.
    pub device: String,
    /// How long its update took, seconds.
    pub update_time_s: f64,
}

/// One of the slowest devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowRow {
    /// Which device.
    pub device: String,
    /// Its cohorts at the end.
    pub cohorts: Vec<String>,
    /// How long its update took, or has taken so far, seconds.
    pub update_time_s: f64,
    /// Whether it came to an end.
    pub finished: bool,
    /// Phase at the end of the run.
    pub phase: String,
    /// Why it is where it is, if it is open.
    pub why: Option<String>,
}

/// A step of the scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepRow {
    /// Its name.
    pub name: String,
    /// What it does: `deploy app@1.1.0 to canary`.
    pub what: String,
    /// When it fired, seconds; null if it never did.
    pub at_s: Option<f64>,
}

/// When a fault was on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowRow {
    /// Name of the fault.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// From when on, seconds.
    pub from_s: f64,
    /// Until when, seconds; null: to the end of the run.
    pub to_s: Option<f64>,
}

/// A fault of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultRow {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Devices that it was dealt to; none where it befalls the server.
    pub devices: u64,
    /// How many were planned, if that is known beforehand.
    pub planned: Option<u64>,
    /// How many came about.
    pub done: u64,
    /// How many did not; null where it is not known how many were planned.
    pub missed: Option<u64>,
    /// Why they did not, and how many.
    pub missed_because: BTreeMap<String, u64>,
    /// What it strikes one by one: `messages`, `requests` or `operations`; null where it strikes a device as a whole.
    pub strikes: Option<String>,
    /// Its chance to strike one of these, percent.
    pub chance_percent: Option<f64>,
    /// How many of these it could have struck.
    pub tried: Option<u64>,
    /// In which phases they came about.
    pub phases: BTreeMap<String, u64>,
}

/// Something to know before believing the figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// One word: `link`, `tls`, `warmup`, `trace`.
    pub about: String,
    /// What one should know.
    pub text: String,
}

/// Lateness of timer wakes in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatenessRow {
    /// End of the interval, seconds.
    pub t_s: f64,
    /// 99th percentile, seconds.
    pub p99_s: f64,
    /// How many wakes there were.
    pub wakes: u64,
}

/// How the harness fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HarnessRow {
    /// False when the harness was the bottleneck.
    pub valid: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// The largest fleet of this kind that the machine carries, where it did not carry this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carries: Option<LargestFleetRow>,
    /// Lateness of timer wakes, 99th percentile, seconds.
    pub late_p99_s: f64,
    /// The same before anything was there to do.
    #[serde(default)]
    pub late_at_rest_s: f64,
    /// The same over the run, in at most 480 intervals.
    #[serde(default)]
    pub lateness: Vec<LatenessRow>,
    /// Processor time, percent of one core.
    pub cpu_percent: f64,
    /// Peak memory, bytes.
    pub memory_bytes: u64,
    /// Least memory of the machine that was free, bytes.
    #[serde(default)]
    pub free_memory_bytes: Option<u64>,
    /// Descriptors in the fullest table of harness and server.
    #[serde(default)]
    pub descriptors: Option<FilledRow>,
    /// Ports that connections held, with those that the kernel keeps for a minute.
    #[serde(default)]
    pub ports: Option<FilledRow>,
    /// Threads of the harness.
    #[serde(default)]
    pub threads: Vec<ThreadRow>,
    /// Work dropped.
    pub dropped: u64,
    /// Processor time of the embedded server, percent of one core.
    pub server_cpu_percent: Option<f64>,
    /// Peak memory of the embedded server, bytes.
    pub server_memory_bytes: Option<u64>,
}

/// How much of a thing was taken at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilledRow {
    /// At most.
    pub most: u64,
    /// Of so much; null is without limit.
    pub of: Option<u64>,
}

/// An estimate of what a machine carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LargestFleetRow {
    /// Devices.
    pub devices: u64,
    /// What was reckoned with.
    pub basis: String,
}

/// A thread of the harness, percent of one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadRow {
    /// What it is called.
    pub name: String,
    /// Mean over the run.
    pub cpu_percent: f64,
    /// In its busiest ten seconds.
    pub busiest_percent: f64,
}

impl Summary {
    /// Sums an outcome up.
    pub fn of(outcome: &Outcome) -> Summary {
        super::sum::sum_up(outcome)
    }

    /// As JSON with two spaces of indentation and a final newline.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a summary has text keys and finite numbers only");
        json.push('\n');
        json
    }

    /// The series of this metric under exactly these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<&MetricRow> {
        self.metrics.iter().find(|row| {
            let same = |(key, value): &(&str, &str)| row.labels.get(*key).is_some_and(|found| found == value);
            row.name == name && row.labels.len() == labels.len() && labels.iter().all(same)
        })
    }
}

/// The JSON Schema of [`Summary`], for `squall schema summary`.
pub fn summary_schema() -> String {
    let mut schema = schemars::schema_for!(Summary);
    schema.insert("$id".to_owned(), SUMMARY_SCHEMA.into());
    let mut json = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    json.push('\n');
    json
}
