//! The outbox: the one report that waits to be published (protocol 6.9).

use std::collections::BTreeSet;

use crate::model::{AttemptId, Few};
use crate::wire::ota::{Report, UpdateResults};

/// A report that has not been handed to MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outbox {
    waiting: Option<Box<(UpdateResults, bool)>>,
}

impl Outbox {
    /// Nothing waits.
    pub(super) const fn empty() -> Outbox {
        Outbox { waiting: None }
    }

    /// Puts a report in. With one of the same attempt it is merged, an error overriding results; one of another attempt is replaced.
    pub(super) fn put(&mut self, results: UpdateResults, complete: bool) {
        let merged = match self.waiting.take() {
            Some(waiting) if waiting.0.attempt == results.attempt => UpdateResults {
                attempt: results.attempt,
                report: merge(waiting.0.report, results.report),
            },
            Some(_) | None => results,
        };
        self.waiting = Some(Box::new((merged, complete)));
    }

    /// Takes the report out, with whether nothing is pending in it.
    pub(super) fn take(&mut self) -> Option<(UpdateResults, bool)> {
        self.waiting.take().map(|waiting| *waiting)
    }

    /// Throws a report of this attempt away.
    pub(super) fn discard(&mut self, attempt: AttemptId) {
        self.waiting.take_if(|waiting| waiting.0.attempt == attempt);
    }

    /// True if nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }
}

fn merge(older: Report, newer: Report) -> Report {
    match (older, newer) {
        (Report::Error(error), Report::Results { .. }) | (_, Report::Error(error)) => Report::Error(error),
        (
            Report::Results {
                succeeded,
                failed,
                canceled,
            },
            Report::Results {
                succeeded: more_succeeded,
                failed: more_failed,
                canceled: more_canceled,
            },
        ) => Report::Results {
            succeeded: union(&succeeded, &more_succeeded),
            failed: union(&failed, &more_failed),
            canceled: union(&canceled, &more_canceled),
        },
    }
}

fn union(some: &Few<u64>, more: &Few<u64>) -> Few<u64> {
    let both: BTreeSet<u64> = some.iter().chain(more).copied().collect();
    both.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(attempt: u64, succeeded: &[u64]) -> UpdateResults {
        UpdateResults {
            attempt: AttemptId::new(attempt).unwrap(),
            report: Report::Results {
                succeeded: succeeded.iter().copied().collect(),
                failed: vec![].into(),
                canceled: vec![].into(),
            },
        }
    }

    fn error(attempt: u64) -> UpdateResults {
        UpdateResults {
            attempt: AttemptId::new(attempt).unwrap(),
            report: Report::Error(3),
        }
    }

    #[test]
    fn reports_of_one_attempt_merge_and_of_another_replace() {
        let mut outbox = Outbox::empty();
        outbox.put(results(7, &[0]), false);
        outbox.put(results(7, &[1, 0]), true);
        assert_eq!(outbox.take(), Some((results(7, &[0, 1]), true)));
        outbox.put(results(7, &[0]), false);
        outbox.put(results(8, &[]), false);
        assert_eq!(outbox.take(), Some((results(8, &[]), false)));
        assert!(outbox.is_empty());
    }

    #[test]
    fn an_error_overrides_results() {
        let mut outbox = Outbox::empty();
        outbox.put(results(7, &[0]), false);
        outbox.put(error(7), true);
        outbox.put(results(7, &[0]), false);
        assert_eq!(outbox.take().map(|(results, _)| results), Some(error(7)));
    }

    #[test]
    fn a_promoted_attempt_discards_reports_of_the_one_before() {
        let mut outbox = Outbox::empty();
        outbox.put(results(7, &[0]), true);
        outbox.discard(AttemptId::new(8).unwrap());
        assert!(!outbox.is_empty());
        outbox.discard(AttemptId::new(7).unwrap());
        assert!(outbox.is_empty());
    }
}
