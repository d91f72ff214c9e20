//! What is said at the end: text, JSON, CSV, the run directory.
//!
//! Everything is made of a [`crate::play::Outcome`]; nothing here measures or judges. Of a simulation every file but the log is a
//! function of the outcome alone: no clock, no host name, no absolute path.

mod directory;
mod summary;
mod text;

pub use directory::{ReportError, RunDirectory, timestamp};
pub use summary::{Summary, summary_schema};
pub use text::{Style, summary_text};
