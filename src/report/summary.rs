//! `summary.json`: every figure of a run, by the schema `squall.summary/1`.

use serde::Serialize;

use crate::play::Outcome;

/// The summary of a run.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Summary {
    /// `squall.summary/1`.
    pub schema: String,
}

impl Summary {
    /// Sums an outcome up.
    pub fn of(outcome: &Outcome) -> Summary {
        let _ = outcome;
        Summary {
            schema: "squall.summary/1".into(),
        }
    }

    /// As JSON with two spaces of indentation and a final newline.
    pub fn to_json(&self) -> String {
        String::new()
    }
}

/// The JSON Schema of [`Summary`], for `squall schema summary`.
pub fn summary_schema() -> String {
    String::new()
}
