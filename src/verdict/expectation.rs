//! What a scenario expects, and how it was judged.

use std::time::Duration;

use crate::measure::{Measure, Measured};
use crate::time::SimTime;

/// One `[[expect]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// As written: shown in every report.
    pub text: String,
    /// Name, if it has one.
    pub name: Option<String>,
    /// Line in the scenario file, from 1.
    pub line: u32,
    /// What is measured, with its comparison.
    pub measure: Measure,
    /// When it is judged.
    pub at: JudgedAt,
    /// Judged every second too; the first failure after `after` ends the run.
    pub abort_on_fail: bool,
    /// Since when a failure aborts.
    pub after: Duration,
    /// In which mode it counts.
    pub mode: Modes,
}

/// When an expectation is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgedAt {
    /// At the end of the run.
    End,
    /// At this moment.
    Time(SimTime),
    /// This long after a step fired.
    AfterStep {
        /// Name of the step.
        step: String,
        /// How long after.
        by: Duration,
    },
    /// Every second; it must hold each time.
    Always,
}

/// In which mode an expectation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// In both.
    Both,
    /// In real time only.
    Run,
    /// In virtual time only.
    Sim,
}

/// How an expectation was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Position in the plan's expectations.
    pub expectation: usize,
    /// When it was judged (for the last time, or when it failed for good).
    pub judged_at: SimTime,
    /// The measure; `None` where it was undefined.
    pub measured: Option<f64>,
    /// Whether it holds.
    pub passed: bool,
    /// Whether it ended the run.
    pub aborted: bool,
}

/// Whether an expectation holds with this value. An undefined measure holds nothing; a measure without comparison asks nothing.
pub fn judge(expectation: &Expectation, measured: Option<Measured>) -> bool {
    let Some(comparison) = expectation.measure.comparison else {
        return true;
    };
    measured.is_some_and(|measured| comparison.holds(measured.value))
}
