//! The main image: tried, confirmed or put back, and what is said of it (protocol 6.5, 7.4).

use crate::model::{ArtifactResult, AttemptId, BuildId, RecordKey};
use crate::wire::ota::UpdateResults;

use super::{Rule, Scene, Tally};
use crate::verdict::view::{Marks, Stored, fold_build};

const PROBATION_AROUND_THE_UPGRADE: Rule = Rule {
    name: "probation-around-the-upgrade",
    statement: "the probation record is durable before the upgrade request, and is deleted only after the main result is durable",
    protocol: &[24],
};
pub(in crate::verdict) const MAIN_SUCCEEDS_RUNNING: Rule = Rule {
    name: "main-succeeds-running",
    statement: "main is stored as succeeded only while the image on trial runs and is confirmed, or its version was there already",
    protocol: &[25],
};
const UNCONFIRMED_GOES_BACK: Rule = Rule {
    name: "unconfirmed-goes-back",
    statement: "an image that was not confirmed before a reset is put back, and main has failed",
    protocol: &[26],
};
pub(in crate::verdict) const NO_SUCCESS_BEFORE_CONFIRMATION: Rule = Rule {
    name: "no-success-before-confirmation",
    statement: "main is reported as succeeded only while the image asked for runs and is confirmed",
    protocol: &[27],
};
const CONFIRMED_SUCCEEDS: Rule = Rule {
    name: "confirmed-succeeds",
    statement: "main whose image on trial runs and is confirmed does not fail, wherever power was lost",
    protocol: &[28],
};

/// Watches main images.
#[derive(Debug)]
pub(in crate::verdict) struct Images {
    around: Tally,
    running: Tally,
    back: Tally,
    confirmation: Tally,
    confirmed: Tally,
}

impl Default for Images {
    fn default() -> Self {
        Images {
            around: Tally::new(&PROBATION_AROUND_THE_UPGRADE),
            running: Tally::new(&MAIN_SUCCEEDS_RUNNING),
            back: Tally::new(&UNCONFIRMED_GOES_BACK),
            confirmation: Tally::new(&NO_SUCCESS_BEFORE_CONFIRMATION),
            confirmed: Tally::new(&CONFIRMED_SUCCEEDS),
        }
    }
}

impl Images {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 5] {
        [&self.around, &self.running, &self.back, &self.confirmation, &self.confirmed]
    }

    /// MCUboot was asked for a test.
    pub(in crate::verdict) fn upgrade_requested(&mut self, scene: &Scene<'_>) {
        let view = scene.view;
        let recorded = view.current.is_some_and(|current| view.trial_of(current).is_some());
        self.around.hold(scene, recorded, || {
            "the upgrade was requested without a probation record of the attempt".to_owned()
        });
    }

    /// A record was deleted.
    pub(in crate::verdict) fn deleted(&mut self, scene: &Scene<'_>, key: &RecordKey) {
        let view = scene.view;
        let Some(trial) = view.trial.filter(|_| *key == RecordKey::Probation) else {
            return;
        };
        let settled = match view.stored {
            Some(stored) if stored.attempt == trial.attempt => {
                stored.marks().is_none_or(|marks| marks.of(trial.index.into()).is_some())
            }
            // Another attempt began only after the end of this one.
            Some(_) => true,
            None => false,
        };
        self.around.hold(scene, settled, || {
            format!(
                "the probation record of attempt {} was deleted before its result was stored",
                trial.attempt
            )
        });
    }

    /// The attempt record was written; `fresh` are the results that it did not have before.
    pub(in crate::verdict) fn attempt_written(&mut self, scene: &Scene<'_>, attempt: AttemptId, fresh: &Marks) {
        let view = scene.view;
        let trial = view.trial_of(attempt);
        let open = view.open_of(attempt);
        let Some(main) = trial
            .map(|trial| usize::from(trial.index))
            .or(open.and_then(|open| open.main()))
        else {
            return;
        };
        let tried = trial.is_some_and(|trial| view.runs_confirmed(trial));
        match fresh.of(main) {
            Some(ArtifactResult::Succeeded) => {
                let called = open.is_some_and(|open| main < 32 && open.ever_called >> main & 1 == 1 && !open.damaged);
                let installed = called || trial.is_some();
                self.running.hold(scene, tried || !installed, || {
                    format!(
                        "attempt {attempt}: main was stored as succeeded while {}",
                        standing(scene, trial.is_some())
                    )
                });
                let back = trial.is_some() && view.images.fell_back;
                self.back.hold(scene, !back, || {
                    format!("attempt {attempt}: main was stored as succeeded after its image had been put back")
                });
            }
            Some(ArtifactResult::Failed) => {
                let committing = open.is_some_and(|open| open.committing);
                self.confirmed.hold(scene, !tried || committing, || {
                    format!("attempt {attempt}: main was stored as failed while its image ran, confirmed")
                });
            }
            Some(ArtifactResult::Canceled) | None => {}
        }
    }

    /// An image begins to run.
    pub(in crate::verdict) fn booted(&mut self, scene: &Scene<'_>, build_id: Option<&BuildId>, confirmed: bool) {
        let images = &scene.view.images;
        if images.running.is_none() || images.confirmed {
            return;
        }
        let old = images.good == Some(fold_build(build_id));
        self.back.hold(scene, old && confirmed, || match (old, confirmed) {
            (true, _) => "the old image came back unconfirmed".to_owned(),
            (false, _) => "an image that had not been confirmed ran again after a reset".to_owned(),
        });
    }

    /// A report went out.
    pub(in crate::verdict) fn reported(&mut self, scene: &Scene<'_>, results: &UpdateResults) {
        let attempt = results.attempt;
        let Some(trial) = scene.view.trial.filter(|trial| trial.attempt == attempt) else {
            return;
        };
        let marks = Marks::reported(&results.report);
        let claimed = marks.and_then(|marks| marks.of(trial.index.into())) == Some(ArtifactResult::Succeeded);
        if claimed {
            self.confirmation.hold(scene, scene.view.runs_confirmed(&trial), || {
                format!(
                    "attempt {attempt}: main was reported as succeeded while {}",
                    standing(scene, true)
                )
            });
        }
    }

    /// The run has settled: a result of main that table 7.4 leaves open would be a trial without an end.
    pub(in crate::verdict) fn settled(&mut self, scene: &Scene<'_>) {
        let view = scene.view;
        let Some(trial) = view.trial.filter(|trial| trial.kept && view.runs_confirmed(trial)) else {
            return;
        };
        let over = view
            .stored
            .is_some_and(|stored| stored.attempt != trial.attempt || Stored::is_terminal(&stored));
        let pending = view
            .marks_of(trial.attempt)
            .is_some_and(|marks| marks.of(trial.index.into()).is_none());
        self.confirmed.hold(scene, over || !pending, || {
            format!("attempt {}: main was confirmed, and nothing became of it", trial.attempt)
        });
    }
}

/// How the image on trial stands.
fn standing(scene: &Scene<'_>, recorded: bool) -> &'static str {
    let images = &scene.view.images;
    match (recorded, scene.view.trial) {
        (true, Some(trial)) if images.running == Some(trial.image) => "its image was not confirmed",
        (true, _) => "another image ran",
        (false, _) => "its image had never been tried",
    }
}
