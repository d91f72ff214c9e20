//! What a device reports: well formed, of attempts that it was sent, never another result than before, and true of the image that runs.

use std::time::Duration;

use crate::model::{AttemptError, AttemptId};
use crate::verdict::rules::outside::*;
use crate::verdict::rules::{contradiction, flaws};
use crate::verdict::view::Marks;
use crate::wire::ota::{Report, UpdateResults};

use super::Watch;
use super::seen::Proven;

/// How long a report may have been on its way when a newer attempt's download was seen already: they travel on two connections.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

impl Watch<'_> {
    /// Holds the form of a payload on the topic of results.
    pub(super) fn shaped(&mut self, payload: &[u8]) {
        for (rule, fault) in flaws(payload) {
            self.hold(rule, fault.is_none(), || fault.unwrap_or_default());
        }
    }

    /// Holds what a report says.
    pub(super) fn reported(&mut self, results: &UpdateResults) {
        let attempt = results.attempt;
        let named = self.seen().was_named(attempt);
        self.hold(&NO_UNKNOWN_ATTEMPT, named, || {
            format!("attempt {attempt} was reported, which was never sent to it")
        });
        self.not_superseded(attempt);
        let marks = Marks::reported(&results.report);
        match &results.report {
            Report::Error(number) => self.error(attempt, *number),
            Report::Results {
                succeeded,
                failed,
                canceled,
            } => {
                let beyond = [succeeded, failed, canceled].into_iter().flatten().max().copied();
                self.within(attempt, beyond);
            }
        }
        self.against_the_last(attempt, marks);
        if let Some(marks) = marks {
            self.in_order(attempt, marks);
            self.main(attempt, marks);
            let seen = self.seen_mut();
            seen.reported = seen.reported.max(Some(attempt));
        }
        self.keep(attempt, marks);
    }

    fn not_superseded(&mut self, attempt: AttemptId) {
        let Some((started, since)) = self.seen().started else {
            return;
        };
        let late = attempt < started && self.at.since(since) > ON_ITS_WAY;
        self.hold(&SUPERSEDED_IS_SILENT, !late, || {
            format!("attempt {attempt} was reported after an image of attempt {started} was fetched")
        });
    }

    fn error(&mut self, attempt: AttemptId, number: u64) {
        let Some(count) = self.offered(attempt).map(|offered| offered.items.len()) else {
            return;
        };
        // Every manifest of ours is well formed; how many artifacts a device is built for is its own.
        let right = match AttemptError::from_number(number) {
            Some(AttemptError::Unknown) => true,
            Some(AttemptError::ArtifactCountExceeded) => count > 1,
            Some(AttemptError::UnknownArtifactType | AttemptError::CannotParseMessage) | None => false,
        };
        self.hold(&RIGHT_ATTEMPT_ERROR, right, || {
            format!("attempt {attempt} of {count} artifacts was refused with error {number}, which its manifest had not earned")
        });
    }

    fn within(&mut self, attempt: AttemptId, beyond: Option<u64>) {
        let (Some(count), Some(index)) = (self.offered(attempt).map(|offered| offered.items.len() as u64), beyond) else {
            return;
        };
        self.hold(&WELL_FORMED_RESULTS, index < count, || {
            format!("attempt {attempt} has {count} artifacts, and artifact {index} was reported")
        });
    }

    fn against_the_last(&mut self, attempt: AttemptId, marks: Option<Marks>) {
        let Some(before) = self.offered(attempt).and_then(|offered| offered.said) else {
            return;
        };
        let broken = contradiction(before.as_ref(), marks.as_ref());
        self.hold(&RESULT_NEVER_CHANGES, broken.is_none(), || {
            format!("attempt {attempt}: {}", broken.unwrap_or_default())
        });
        if let (Some(before), Some(after)) = (before, marks) {
            let missing = before.ended() & !after.ended();
            self.hold(&REPORTS_ONLY_GROW, missing == 0, || {
                let index = missing.trailing_zeros();
                format!("attempt {attempt}: artifact {index} was reported, and is missing now")
            });
        }
    }

    fn in_order(&mut self, attempt: AttemptId, marks: Marks) {
        let Some(count) = self.offered(attempt).map(|offered| offered.items.len() as u32) else {
            return;
        };
        // Successes come from the front without a gap.
        let gap = (!marks.succeeded).trailing_zeros();
        let ahead = marks.succeeded.checked_shr(gap).unwrap_or(0);
        self.hold(&AFTER_SUCCESS, ahead == 0, || {
            format!("attempt {attempt}: an artifact behind artifact {gap} succeeded before it did")
        });
        let stopped = marks.failed | marks.canceled;
        if stopped != 0 {
            let all = u32::try_from((1_u64 << count.min(32)) - 1).unwrap_or(u32::MAX);
            let pending = all & !marks.ended();
            let behind = pending & !((1 << stopped.trailing_zeros()) - 1);
            self.hold(&FAILURE_ENDS_ALL, behind == 0, || {
                format!(
                    "attempt {attempt}: artifact {} is pending behind one that ended otherwise than well",
                    behind.trailing_zeros()
                )
            });
        }
    }

    /// Main succeeds only while the image that was asked for runs; known only where the device fetched it and says what it runs.
    fn main(&mut self, attempt: AttemptId, marks: Marks) {
        let Some(offered) = self.offered(attempt) else { return };
        let Some(index) = offered.items.iter().position(|item| item.main) else {
            return;
        };
        let bit = 1_u32.checked_shl(index as u32).unwrap_or(0);
        let news = offered.said.flatten().is_none_or(|said| said.succeeded & bit == 0);
        if marks.succeeded & bit == 0 || !news || offered.fetched & bit == 0 {
            return;
        }
        let (firmware, before) = (offered.items[index].firmware.clone(), offered.before);
        let Some(image) = self.witness.build_of(&firmware) else {
            return;
        };
        let running = self.seen().session.and_then(|session| session.build_id);
        if let Some(running) = running {
            self.hold(&NO_SUCCESS_BEFORE_CONFIRMATION, running == image, || {
                format!(
                    "attempt {attempt}: {firmware} was reported as succeeded while the device said that it runs image {running}"
                )
            });
        }
        self.seen_mut().proven = Some(Proven { attempt, image, before });
    }

    /// Remembers what was said.
    fn keep(&mut self, attempt: AttemptId, marks: Option<Marks>) {
        let seen = self.seen_mut();
        let Some(offered) = seen.offered_mut(attempt) else { return };
        offered.said = Some(marks);
        let succeeded = marks.map_or(0, |marks| marks.succeeded);
        let items = offered.items.iter().enumerate();
        let installed: Vec<_> = items
            .filter(|(index, _)| succeeded.checked_shr(*index as u32).is_some_and(|bits| bits & 1 == 1))
            .map(|(_, item)| (item.firmware.slug.clone(), item.firmware.version.clone()))
            .collect();
        for (slug, version) in installed {
            seen.installed.retain(|(known, _)| *known != slug);
            seen.installed.push((slug, version));
        }
    }
}
