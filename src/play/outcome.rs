//! What a run came to: everything that reports are made of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::measure::{HarnessFigures, Recorder, Trend};
use crate::model::{DeviceIndex, Prompt, Why};
use crate::scenario::Plan;
use crate::time::SimTime;
use crate::verdict::{Finding, Judgement};

use super::io::{Mode, RunEnd};
use super::server_faults::ServerFaultWindow;

/// A run that is over.
#[derive(Debug)]
pub struct Outcome {
    /// What was played.
    pub plan: Arc<Plan>,
    /// By which driver.
    pub mode: Mode,
    /// When it ended.
    pub elapsed: SimTime,
    /// How it came to its end.
    pub end: RunEnd,
    /// When each step of the plan fired, in its order; `None` if it never did.
    pub fired: Vec<Option<SimTime>>,
    /// When the faults of the server were on, in order.
    pub server_windows: Vec<ServerFaultWindow>,
    /// Every figure, the devices' last states and the trace.
    pub recorder: Recorder,
    /// Expectations of this mode, judged.
    pub judgements: Vec<Judgement>,
    /// Broken invariants, grouped by rule.
    pub findings: Vec<Finding>,
    /// How many rules were held in how many checks.
    pub checks: Checks,
    /// Devices that were not at rest at the end, in their order.
    pub left_open: Vec<LeftOpen>,
    /// Trouble of the harness, grouped by message.
    pub errors: Vec<RunError>,
    /// When it began, RFC 3339; only in real time.
    pub started_at: Option<String>,
    /// How the harness fared; only in real time.
    pub harness: Option<HarnessReport>,
    /// What the same plan came to in virtual time, where that was asked for.
    pub twin: Option<Box<Outcome>>,
}

/// A device that was not at rest when the run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOpen {
    /// Which device.
    pub device: DeviceIndex,
    /// Why it is where it is.
    pub why: Why,
    /// Its own firmware keeps it from ending: it is stuck, not broken.
    pub stuck_by_firmware: bool,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Invariants watched.
    pub rules: u32,
    /// Single checks made.
    pub checks: u64,
}

/// One kind of trouble in the harness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// What went wrong.
    pub message: String,
    /// How often.
    pub count: u64,
    /// The first device concerned, if it concerned one.
    pub first_device: Option<String>,
}

/// Trouble as it comes, grouped by message.
#[derive(Debug, Default)]
pub(super) struct Errors {
    rows: Vec<RunError>,
}

impl Errors {
    /// Most messages that are kept apart; what comes beyond is counted under one.
    const LIMIT: usize = 100;

    /// Counts one piece of trouble.
    pub(super) fn add(&mut self, message: String, device: Option<String>) {
        self.add_times(message, 1, device);
    }

    /// Counts trouble that came so often.
    pub(super) fn add_times(&mut self, message: String, count: u64, device: Option<String>) {
        let full = self.rows.len() >= Self::LIMIT;
        let known = self.rows.iter().position(|row| row.message == message);
        let message = if full && known.is_none() {
            "further errors".to_owned()
        } else {
            message
        };
        match known.or_else(|| self.rows.iter().position(|row| row.message == message)) {
            Some(row) => self.rows[row].count += count,
            None => self.rows.push(RunError {
                message,
                count,
                first_device: device,
            }),
        }
    }

    /// The rows, in order of their first appearance.
    pub(super) fn into_rows(self) -> Vec<RunError> {
        self.rows
    }
}

/// How the harness and the embedded server fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HarnessReport {
    /// False when the harness was the bottleneck: the figures are then not the server's.
    pub valid: bool,
    /// Why not, in words.
    pub reasons: Vec<String>,
    /// The largest fleet of this kind that the machine carries; only where it did not carry this one, and as far as can be told.
    pub carries: Option<LargestFleet>,
    /// Lateness of timer wakes, 99th percentile, seconds.
    pub late_p99_s: f64,
    /// The same before anything was there to do.
    pub late_at_rest_s: f64,
    /// All of it.
    pub late: Trend,
    /// The same over the run, in intervals.
    pub lateness: Vec<Lateness>,
    /// Processor time of the harness, percent of one core, mean over the run.
    pub cpu_percent: f64,
    /// Peak memory of the harness, bytes.
    pub memory_bytes: u64,
    /// Least memory of the machine that was free.
    pub free_memory_bytes: Option<u64>,
    /// Descriptors in the fullest table of harness and server; `None` where the system does not tell.
    pub descriptors: Option<Filled>,
    /// Ports that connections held, with those that the kernel keeps for a minute.
    pub ports: Option<Filled>,
    /// Threads of the harness.
    pub threads: Vec<ThreadFigures>,
    /// Work dropped.
    pub dropped: u64,
    /// Peak memory of the embedded server, bytes.
    pub server_memory_bytes: Option<u64>,
    /// Processor time of the embedded server, percent of one core, mean over the run.
    pub server_cpu_percent: Option<f64>,
    /// How long the embedded server took, by what it was to do; nothing of one that did not live to the end.
    pub server_time: Vec<(Prompt, Trend)>,
    /// The machine.
    pub machine: Machine,
}

impl HarnessReport {
    /// What measures are made of.
    pub(super) fn figures(&self) -> HarnessFigures {
        HarnessFigures {
            late: self.late.clone(),
            cpu: self.cpu_percent / 100.0,
            memory: self.memory_bytes,
            dropped: self.dropped,
            server_cpu: self.server_cpu_percent.map(|percent| percent / 100.0),
            server_time: self.server_time.clone(),
        }
    }
}

/// How much of a thing was taken at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// At most.
    pub most: u64,
    /// Of so much; `None` is without limit.
    pub of: Option<u64>,
}

impl Filled {
    /// The fuller one.
    #[must_use]
    pub(super) fn fuller(self, other: Filled) -> Filled {
        let part = |filled: &Filled| filled.most as f64 / filled.of.unwrap_or(u64::MAX) as f64;
        if part(&other) > part(&self) { other } else { self }
    }
}

/// An estimate of what a machine carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargestFleet {
    /// Devices, two digits of them.
    pub devices: u64,
    /// What was reckoned with.
    pub basis: String,
}

/// How a thread of the harness fared, percent of one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadFigures {
    /// What it is called.
    pub name: String,
    /// Mean over the run.
    pub cpu_percent: f64,
    /// In its busiest ten seconds.
    pub busiest_percent: f64,
}

/// Lateness of timer wakes in an interval of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// End of the interval.
    pub at: SimTime,
    /// 99th percentile, seconds.
    pub p99_s: f64,
    /// How many wakes there were.
    pub wakes: u64,
}

/// The machine that a run was made on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Processors available.
    pub cores: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Operating system and release.
    pub os: String,
}

/// What a run meant, in one word; the command line makes it an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Every expectation held, no invariant broke.
    Passed,
    /// An expectation failed.
    Failed,
    /// An invariant broke.
    Broken,
    /// The harness was the bottleneck.
    Invalid,
    /// The user ended it.
    Interrupted,
    /// The run could not go on, or the harness has a defect.
    Error,
}

impl Status {
    /// The word in `summary.json`.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Passed => "passed",
            Status::Failed => "failed",
            Status::Broken => "broken",
            Status::Invalid => "invalid",
            Status::Interrupted => "interrupted",
            Status::Error => "error",
        }
    }

    /// Of two the one whose exit code wins (contract, section 4).
    #[must_use]
    pub fn graver(self, other: Status) -> Status {
        let order = [
            Status::Error,
            Status::Broken,
            Status::Interrupted,
            Status::Invalid,
            Status::Failed,
            Status::Passed,
        ];
        let found = order.into_iter().find(|status| *status == self || *status == other);
        found.expect("the order holds every status")
    }

    /// The exit code (contract, section 4).
    pub const fn exit_code(self) -> u8 {
        match self {
            Status::Passed => 0,
            Status::Error => 1,
            Status::Failed => 99,
            Status::Broken => 100,
            Status::Invalid => 102,
            Status::Interrupted => 130,
        }
    }
}

impl Outcome {
    /// The status: of several the first of error, broken, interrupted, invalid, failed (contract, section 4).
    pub fn status(&self) -> Status {
        if matches!(self.end, RunEnd::Failed(_)) || !self.errors.is_empty() {
            Status::Error
        } else if !self.findings.is_empty() {
            Status::Broken
        } else if self.end == RunEnd::Interrupted {
            Status::Interrupted
        } else if self.harness.as_ref().is_some_and(|harness| !harness.valid) {
            Status::Invalid
        } else if self.judgements.iter().any(|judgement| !judgement.passed) {
            Status::Failed
        } else {
            Status::Passed
        }
    }
}
