//! What is said at the end: text, JSON, CSV, the run directory.
//!
//! Everything is made of a [`crate::play::Outcome`]; nothing here measures or judges. Of a simulation every file but the log is a
//! function of the outcome alone: no clock, no host name, no absolute path.

mod csv;
mod directory;
mod failures;
mod sum;
mod summary;
mod text;
mod untrusted;

pub use directory::{ReportError, RunDirectory, timestamp};
pub use summary::{
    Coverage, Devices, ErrorRow, ExpectationRow, FailureRow, FaultRow, FindingRow, FirstFinding, HarnessRow, Invariants,
    MachineRow, MetricRow, Note, Product, SUMMARY_SCHEMA, ScenarioRow, SlowestRow, StuckRow, Summary, TransitionRow,
    summary_schema,
};
pub use text::{Style, rerun_command, summary_text};
