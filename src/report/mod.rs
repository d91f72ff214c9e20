//! What is said at the end: text, JSON, CSV, JUnit, Markdown, the run directory.
//!
//! Data files are made of a [`crate::play::Outcome`]; reports for people and machines are made of the data files, by way of a
//! [`Recording`], so that they can be had again. Nothing here measures or judges. Of a simulation every file but the log is a
//! function of the outcome alone: no clock, no host name, no absolute path.

mod compare;
mod csv;
mod directory;
mod failures;
mod file;
mod fleets;
mod histograms;
mod html;
mod junit;
mod markdown;
mod prometheus;
mod recording;
mod rerun;
mod series;
mod shard;
mod sum;
mod summary;
mod text;
mod twin;
mod untrusted;
mod words;

pub use compare::{
    Advice, COMPARE_MARKER, COMPARE_SCHEMA, Comparison, CoverageRow, DEFAULT_GATES, Design, Force, Gate, GateRow, Judged, Refused,
    Side, SideRow, Sides, Terms, Verdict, compare, compare_junit, compare_markdown, compare_schema, compare_text, judge,
    save_baseline,
};
pub use directory::{ReportError, RunDirectory, moment, timestamp};
pub use file::{Format, FormatError};
pub use html::{AfterOutage, OutagePage, Panel, RetryRow, panels};
pub use markdown::MARKDOWN_MARKER;
pub use prometheus::prometheus_text;
pub use recording::{Recording, RecordingError};
pub use rerun::{quoted, rerun_command};
pub use shard::read_shard;
pub use summary::{
    Coverage, Devices, ErrorRow, ExpectationRow, FailureRow, FaultRow, FindingRow, FirstFinding, HarnessRow, Invariants,
    MachineRow, MetricRow, Note, Product, SUMMARY_SCHEMA, ScenarioRow, SlowestRow, StuckRow, Summary, TransitionRow,
    summary_schema,
};
pub use text::{Style, summary_text, text_of};
pub use twin::{Quantiles, TwinCount, TwinRow, TwinTime};
