//! The summary in 80 columns.

use crate::play::Outcome;

/// Whether text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// No escape sequences: files, pipes, `NO_COLOR`.
    Plain,
    /// For a terminal.
    Color,
}

/// The summary in 80 columns (contract, section 5).
pub fn summary_text(outcome: &Outcome, style: Style) -> String {
    let _ = (outcome, style);
    String::new()
}
