//! What a device reports: well formed, and never another result than before.

use crate::model::{ArtifactResult, AttemptId, DeviceIndex};
use crate::time::SimTime;
use crate::wire::ota::{Report, ResultsError, UpdateResults};

use super::{Rule, Tally, row};

const RESULT_NEVER_CHANGES: Rule = Rule {
    name: "reported-result-never-changes",
    statement: "a result once reported stands in every later report of its attempt, unless the same id was rejected",
    protocol: &[14, 15],
};
const WELL_FORMED_RESULTS: Rule = Rule {
    name: "well-formed-results",
    statement: "UPDATE_RESULTS decodes, has results or an error, and names each artifact once, in ascending order",
    protocol: &[1, 2, 3],
};

/// Attempts remembered of one device; a device reports the newest only.
const ATTEMPTS_MAX: usize = 4;

/// The last report of an attempt.
#[derive(Debug)]
enum Said {
    /// Results by artifact.
    Results(Vec<(u64, ArtifactResult)>),
    /// The error form.
    Error,
}

/// Watches the bytes that devices send.
#[derive(Debug)]
pub(in crate::verdict) struct Reports {
    changes: Tally,
    form: Tally,
    rows: Vec<Vec<(AttemptId, Said)>>,
}

impl Default for Reports {
    fn default() -> Self {
        Reports {
            changes: Tally::new(&RESULT_NEVER_CHANGES),
            form: Tally::new(&WELL_FORMED_RESULTS),
            rows: Vec::new(),
        }
    }
}

impl Reports {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 2] {
        [&self.changes, &self.form]
    }

    pub(in crate::verdict) fn unreadable(&mut self, at: SimTime, device: DeviceIndex, error: ResultsError) {
        self.form.check(false, at, device, || error.to_string());
    }

    pub(in crate::verdict) fn reported(&mut self, at: SimTime, device: DeviceIndex, results: &UpdateResults) {
        let attempt = results.attempt;
        let said = match &results.report {
            Report::Error(_) => Said::Error,
            Report::Results {
                succeeded,
                failed,
                canceled,
            } => {
                let lists = [succeeded, failed, canceled];
                let ascending = lists.iter().all(|list| list.is_sorted_by(|a, b| a < b));
                let mut all: Vec<_> = [
                    (succeeded, ArtifactResult::Succeeded),
                    (failed, ArtifactResult::Failed),
                    (canceled, ArtifactResult::Canceled),
                ]
                .into_iter()
                .flat_map(|(list, result)| list.iter().map(move |index| (*index, result)))
                .collect();
                all.sort_unstable();
                let once = all.windows(2).all(|pair| pair[0].0 != pair[1].0);
                self.form.check(ascending && once, at, device, || {
                    format!("attempt {attempt}: succeeded {succeeded:?}, failed {failed:?}, canceled {canceled:?}")
                });
                Said::Results(all)
            }
        };
        let row = row(&mut self.rows, device);
        let Some((_, before)) = row.iter_mut().find(|(known, _)| *known == attempt) else {
            if row.len() >= ATTEMPTS_MAX {
                row.remove(0);
            }
            row.push((attempt, said));
            return;
        };
        let broken = contradiction(before, &said);
        self.changes.check(broken.is_none(), at, device, || {
            format!("attempt {attempt}: {}", broken.unwrap_or_default())
        });
        *before = said;
    }
}

/// What a later report says otherwise than an earlier one.
fn contradiction(before: &Said, after: &Said) -> Option<String> {
    match (before, after) {
        (Said::Results(_) | Said::Error, Said::Error) => None,
        (Said::Error, Said::Results(_)) => Some("results were reported after an error".to_owned()),
        (Said::Results(before), Said::Results(after)) => {
            let (index, result) = before.iter().find(|said| !after.contains(said))?;
            let changed = match after.iter().find(|(other, _)| other == index) {
                Some((_, other)) => format!("{other} now"),
                None => "missing now".to_owned(),
            };
            Some(format!("artifact {index} was reported {result}, and is {changed}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceIndex = DeviceIndex(0);

    fn report(succeeded: &[u64], failed: &[u64], canceled: &[u64]) -> UpdateResults {
        UpdateResults {
            attempt: AttemptId::new(7).unwrap(),
            report: Report::Results {
                succeeded: succeeded.to_vec(),
                failed: failed.to_vec(),
                canceled: canceled.to_vec(),
            },
        }
    }

    fn error() -> UpdateResults {
        UpdateResults {
            attempt: AttemptId::new(7).unwrap(),
            report: Report::Error(3),
        }
    }

    fn watch(reports: &[UpdateResults]) -> Reports {
        let mut watch = Reports::default();
        reports
            .iter()
            .for_each(|report| watch.reported(SimTime::ZERO, DEVICE, report));
        watch
    }

    #[test]
    fn results_may_grow_and_repeat_and_give_way_to_a_rejection() {
        let watch = watch(&[
            report(&[], &[], &[]),
            report(&[0], &[], &[]),
            report(&[0], &[], &[]),
            report(&[0], &[1], &[2]),
            error(),
            error(),
        ]);
        assert_eq!(watch.tallies().map(|tally| (tally.checks, tally.broken)), [(5, 0), (4, 0)]);
    }

    #[test]
    fn a_changed_or_missing_result_is_found() {
        let said = |reports: &[UpdateResults]| watch(reports).changes.first.unwrap().text;
        assert_eq!(
            said(&[report(&[0], &[], &[]), report(&[], &[0], &[])]),
            "attempt 7: artifact 0 was reported succeeded, and is failed now"
        );
        assert_eq!(
            said(&[report(&[0], &[], &[1]), report(&[0], &[], &[])]),
            "attempt 7: artifact 1 was reported canceled, and is missing now"
        );
        assert_eq!(
            said(&[error(), report(&[0], &[], &[])]),
            "attempt 7: results were reported after an error"
        );
    }

    #[test]
    fn malformed_results_are_found() {
        let broken = |report| watch(&[report]).form.broken;
        assert_eq!(broken(report(&[1, 0], &[], &[])), 1);
        assert_eq!(broken(report(&[0], &[0], &[])), 1);
        assert_eq!(broken(report(&[0, 0], &[], &[])), 1);
        assert_eq!(broken(report(&[0, 2], &[1], &[3])), 0);
        let mut watch = Reports::default();
        watch.unreadable(SimTime::ZERO, DEVICE, ResultsError::Mixed);
        assert_eq!(watch.form.broken, 1);
    }

    #[test]
    fn attempts_do_not_mix() {
        let other = UpdateResults {
            attempt: AttemptId::new(8).unwrap(),
            ..report(&[], &[0], &[])
        };
        assert_eq!(watch(&[report(&[0], &[], &[]), other]).changes.broken, 0);
    }
}
