//! What a device reports: durable, never another result than before, and nothing of an attempt that another has taken the place of.

use crate::wire::ota::{Report, UpdateResults};

use super::{Rule, Scene, Tally};
use crate::verdict::view::{Body, Marks};

const DURABLE_BEFORE_REPORTED: Rule = Rule {
    name: "durable-before-reported",
    statement: "a report says only what the attempt record says",
    protocol: &[13],
};
pub(in crate::verdict) const RESULT_NEVER_CHANGES: Rule = Rule {
    name: "reported-result-never-changes",
    statement: "a result once reported stands in every later report of its attempt, unless the same id was rejected",
    protocol: &[14],
};
pub(in crate::verdict) const REPORTS_ONLY_GROW: Rule = Rule {
    name: "reports-only-grow",
    statement: "no report of an attempt lacks a result that an earlier one had",
    protocol: &[15],
};
pub(in crate::verdict) const SUPERSEDED_IS_SILENT: Rule = Rule {
    name: "superseded-is-silent",
    statement: "once a newer attempt has started, nothing of the older one is published",
    protocol: &[39],
};

/// Watches reports.
#[derive(Debug)]
pub(in crate::verdict) struct Reports {
    durable: Tally,
    changes: Tally,
    grows: Tally,
    superseded: Tally,
}

impl Default for Reports {
    fn default() -> Self {
        Reports {
            durable: Tally::new(&DURABLE_BEFORE_REPORTED),
            changes: Tally::new(&RESULT_NEVER_CHANGES),
            grows: Tally::new(&REPORTS_ONLY_GROW),
            superseded: Tally::new(&SUPERSEDED_IS_SILENT),
        }
    }
}

impl Reports {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 4] {
        [&self.durable, &self.changes, &self.grows, &self.superseded]
    }

    pub(in crate::verdict) fn reported(&mut self, scene: &Scene<'_>, results: &UpdateResults) {
        let attempt = results.attempt;
        let view = scene.view;
        let undurable = undurable(scene, results);
        self.durable.hold(scene, undurable.is_none(), || {
            format!("attempt {attempt}: {}", undurable.unwrap_or_default())
        });
        if let Some(current) = view.current {
            self.superseded.hold(scene, current == attempt, || {
                format!("attempt {attempt} was reported after attempt {current} had started")
            });
        }
        let Some(said) = view.said.filter(|said| said.attempt == attempt) else {
            return;
        };
        let marks = Marks::reported(&results.report);
        let broken = contradiction(said.marks.as_ref(), marks.as_ref());
        self.changes.hold(scene, broken.is_none(), || {
            format!("attempt {attempt}: {}", broken.unwrap_or_default())
        });
        if let (Some(before), Some(after)) = (said.marks, marks) {
            let missing = before.ended() & !after.ended();
            self.grows.hold(scene, missing == 0, || {
                format!(
                    "attempt {attempt}: artifact {} was reported, and is missing now",
                    missing.trailing_zeros()
                )
            });
        }
    }
}

/// What a report says beyond the record.
fn undurable(scene: &Scene<'_>, results: &UpdateResults) -> Option<String> {
    let Some(stored) = scene.view.stored_of(results.attempt) else {
        return Some("it was reported without a record".to_owned());
    };
    match (&stored.body, &results.report) {
        (Body::Error(error), Report::Error(number)) if u64::from(error.number()) == *number => None,
        (Body::Error(error), _) => Some(format!("the record has the error {error}, the report has not")),
        (Body::Results(_), Report::Error(number)) => Some(format!("error {number} was reported, the record has results")),
        (Body::Results(marks), report @ Report::Results { .. }) => {
            let (index, result) = Marks::reported(report)?.beyond(marks)?;
            Some(format!("artifact {index} was reported {result} before that was stored"))
        }
    }
}

/// What a later report says otherwise than an earlier one.
pub(in crate::verdict) fn contradiction(before: Option<&Marks>, after: Option<&Marks>) -> Option<String> {
    match (before, after) {
        // A rejection of the same id takes the place of its results (protocol 3.7).
        (_, None) => None,
        (None, Some(_)) => Some("results were reported after an error".to_owned()),
        (Some(before), Some(after)) => {
            let (index, result) = before.beyond(after)?;
            let changed = after.of(index).map_or("missing".to_owned(), |other| other.to_string());
            Some(format!("artifact {index} was reported {result}, and is {changed} now"))
        }
    }
}
