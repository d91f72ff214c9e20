//! What a cancellation may do, and what it may not (protocol 3.2.1, 6.6).

use crate::model::{ArtifactResult, AttemptId, AttemptResult};

use super::{Rule, Scene, Tally};
use crate::verdict::view::{CalledOff, Harmless, Marks};

const CANCELED_FOR_A_REASON: Rule = Rule {
    name: "canceled-for-a-reason",
    statement: "an artifact is canceled only by a cancellation of its own attempt, a supersession, or the end of another artifact",
    protocol: &[31],
};
const LATE_CANCEL_IS_VOID: Rule = Rule {
    name: "late-cancel-is-void",
    statement: "after the first artifact that succeeded, a cancellation has no effect",
    protocol: &[32],
};
const COMMIT_IS_NOT_STOPPED: Rule = Rule {
    name: "commit-is-not-stopped",
    statement: "after the upgrade commit has begun, nothing of the attempt is canceled and no other one starts before the reboot",
    protocol: &[33],
};
pub(in crate::verdict) const CALLED_OFF_RUNS_NOTHING: Rule = Rule {
    name: "called-off-runs-nothing",
    statement: "an attempt that is cancelled before it has started anything calls no handler, sends no request, ends canceled",
    protocol: &[34],
};
const CANCELED_FROM_THE_START: Rule = Rule {
    name: "canceled-from-the-start",
    statement: "an attempt whose first manifest says that it is cancelled is stored as wholly canceled, and nothing else",
    protocol: &[35],
};

/// Watches cancellations.
#[derive(Debug)]
pub(in crate::verdict) struct Cancellation {
    reason: Tally,
    late: Tally,
    commit: Tally,
    called_off: Tally,
    from_the_start: Tally,
}

impl Default for Cancellation {
    fn default() -> Self {
        Cancellation {
            reason: Tally::new(&CANCELED_FOR_A_REASON),
            late: Tally::new(&LATE_CANCEL_IS_VOID),
            commit: Tally::new(&COMMIT_IS_NOT_STOPPED),
            called_off: Tally::new(&CALLED_OFF_RUNS_NOTHING),
            from_the_start: Tally::new(&CANCELED_FROM_THE_START),
        }
    }
}

impl Cancellation {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 5] {
        [&self.reason, &self.late, &self.commit, &self.called_off, &self.from_the_start]
    }

    /// Something happened while a cancellation was handled that must have no effect.
    pub(in crate::verdict) fn void_took_effect(&mut self, scene: &Scene<'_>, why: Harmless, what: &str) {
        match why {
            Harmless::Unreadable => {}
            Harmless::OtherAttempt(attempt) => {
                self.reason.hold(scene, false, || {
                    format!("{what} upon a cancellation of attempt {attempt}, which is not current")
                });
            }
            Harmless::TooLate(attempt) => {
                self.late.hold(scene, false, || {
                    format!("{what} upon a cancellation of attempt {attempt}, which came too late")
                });
            }
            Harmless::Committing(attempt) => {
                self.commit.hold(scene, false, || {
                    format!("{what} upon a cancellation of attempt {attempt}, whose upgrade was being committed")
                });
            }
        }
    }

    /// A cancellation that must have no effect was handled without one.
    pub(in crate::verdict) fn void_over(&mut self, scene: &Scene<'_>, why: Harmless) {
        match why {
            Harmless::Unreadable => {}
            Harmless::OtherAttempt(_) => self.reason.hold(scene, true, String::new),
            Harmless::TooLate(_) => self.late.hold(scene, true, String::new),
            Harmless::Committing(_) => self.commit.hold(scene, true, String::new),
        }
    }

    pub(in crate::verdict) fn called(&mut self, scene: &Scene<'_>, attempt: AttemptId) {
        let flagged = scene.view.marks_of(attempt).is_some_and(|marks| marks.cancel);
        self.called_off.hold(scene, !flagged, || {
            format!("a handler of attempt {attempt} was called while its record said that it was cancelled")
        });
        self.runs(scene, "a handler was called");
        self.goes_on(scene, "a handler was called");
    }

    pub(in crate::verdict) fn requested(&mut self, scene: &Scene<'_>) {
        self.runs(scene, "an image was requested");
    }

    /// A handler came to an end.
    pub(in crate::verdict) fn returned(&mut self, scene: &Scene<'_>, attempt: AttemptId, index: usize, result: ArtifactResult) {
        let Some(open) = scene.view.open_of(attempt) else {
            return;
        };
        // The handler of main never cancels by itself; that of a package may.
        let main = open.main() == Some(index);
        if main && result == ArtifactResult::Canceled {
            let asked = open.cancel_asked || open.superseded || open.replaced;
            self.canceled(scene, asked, open.late_cancel, || {
                format!("attempt {attempt}: the download of main was canceled")
            });
        }
    }

    /// The attempt record was written; `fresh` are the results that it did not have before.
    pub(in crate::verdict) fn attempt_written(&mut self, scene: &Scene<'_>, attempt: AttemptId, marks: &Marks, fresh: &Marks) {
        let Some(open) = scene.view.open_of(attempt) else {
            return;
        };
        if open.called_off == Some(CalledOff::FromTheStart) && scene.view.stored_of(attempt).is_none() {
            let whole = marks.pending() == 0 && marks.succeeded | marks.failed == 0;
            self.from_the_start.hold(scene, whole, || {
                format!("attempt {attempt} was cancelled before it came, and was stored otherwise")
            });
        }
        if fresh.canceled == 0 {
            return;
        }
        let returned = open.returned.is_some_and(|(_, result)| result == ArtifactResult::Canceled);
        let grounds = open.cancel_asked || open.superseded || marks.failed != 0 || returned || open.damaged;
        self.canceled(scene, grounds, open.late_cancel, || {
            format!("attempt {attempt}: artifact {} was canceled", fresh.canceled.trailing_zeros())
        });
        if marks.failed == 0 {
            self.goes_on(scene, "an artifact was canceled");
        }
    }

    /// A manifest was accepted.
    pub(in crate::verdict) fn accepted(&mut self, scene: &Scene<'_>) {
        self.goes_on(scene, "another attempt was accepted");
    }

    /// An image begins to run.
    pub(in crate::verdict) fn booted(&mut self, scene: &Scene<'_>) {
        if scene.view.open.as_ref().is_some_and(|open| open.committing) {
            self.commit.hold(scene, true, String::new);
        }
    }

    /// The end of an attempt is durable.
    pub(in crate::verdict) fn ended(&mut self, scene: &Scene<'_>, attempt: AttemptId, result: AttemptResult) {
        if matches!(result, AttemptResult::Cancelled | AttemptResult::Superseded) {
            self.goes_on(scene, "the attempt ended");
        }
        if let Some(kind) = scene.view.open_of(attempt).and_then(|open| open.called_off) {
            let off = matches!(result, AttemptResult::Cancelled | AttemptResult::Superseded);
            self.of(kind).hold(scene, off, || {
                format!("attempt {attempt} was cancelled before it had started anything, and is {result}")
            });
        }
    }

    fn canceled(&mut self, scene: &Scene<'_>, grounds: bool, late: bool, evidence: impl Fn() -> String) {
        let tally = if late { &mut self.late } else { &mut self.reason };
        tally.hold(scene, grounds, || match late {
            true => format!("{} by a cancellation that came too late", evidence()),
            false => format!("{} without a reason", evidence()),
        });
    }

    /// An attempt that was called off does something.
    fn runs(&mut self, scene: &Scene<'_>, what: &str) {
        if let Some(open) = &scene.view.open
            && let Some(kind) = open.called_off
        {
            let attempt = open.attempt;
            self.of(kind).hold(scene, false, || {
                format!("{what}, although attempt {attempt} was cancelled before it had started anything")
            });
        }
    }

    /// An attempt whose upgrade is being committed does not go down to its reboot.
    fn goes_on(&mut self, scene: &Scene<'_>, what: &str) {
        if let Some(open) = scene.view.open.as_ref().filter(|open| open.committing) {
            let attempt = open.attempt;
            self.commit.hold(scene, false, || {
                format!("{what} after attempt {attempt} had begun to commit its upgrade")
            });
        }
    }

    fn of(&mut self, kind: CalledOff) -> &mut Tally {
        match kind {
            CalledOff::Late => &mut self.called_off,
            CalledOff::FromTheStart => &mut self.from_the_start,
        }
    }
}
