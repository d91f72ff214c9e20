//! One attempt takes the place of another (protocol 6.7, 3.7).

use crate::model::{AttemptId, RecordKey};

use super::{Rule, Scene, Tally};
use crate::verdict::view::{Body, Stored};

const LATEST_WINS: Rule = Rule {
    name: "latest-pending-wins",
    statement: "of the attempts that wait, the one that came last starts",
    protocol: &[36],
};
const PENDING_WAITS: Rule = Rule {
    name: "pending-waits",
    statement: "a pending attempt starts only after the current one is durably terminal",
    protocol: &[37],
};
const SUPERSEDED_STARTS_NOTHING: Rule = Rule {
    name: "superseded-starts-nothing",
    statement: "after a supersession no further handler of the old attempt is called",
    protocol: &[38],
};
const REPLACED_CHANGES_NOTHING: Rule = Rule {
    name: "replaced-changes-nothing",
    statement: "what a handler comes to after a rejection of its attempt is stored neither as a version nor as a result",
    protocol: &[40],
};

/// Watches supersessions.
#[derive(Debug)]
pub(in crate::verdict) struct Supersession {
    latest: Tally,
    waits: Tally,
    superseded: Tally,
    replaced: Tally,
}

impl Default for Supersession {
    fn default() -> Self {
        Supersession {
            latest: Tally::new(&LATEST_WINS),
            waits: Tally::new(&PENDING_WAITS),
            superseded: Tally::new(&SUPERSEDED_STARTS_NOTHING),
            replaced: Tally::new(&REPLACED_CHANGES_NOTHING),
        }
    }
}

impl Supersession {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 4] {
        [&self.latest, &self.waits, &self.superseded, &self.replaced]
    }

    /// A manifest was accepted.
    pub(in crate::verdict) fn accepted(&mut self, scene: &Scene<'_>, attempt: AttemptId) {
        self.starts(scene, attempt);
        if let Some(current) = scene.view.current.filter(|current| *current != attempt) {
            let over = scene.view.stored_of(current).is_some_and(Stored::is_terminal);
            self.waits.hold(scene, over, || {
                format!("attempt {attempt} started before the end of attempt {current} was stored")
            });
        }
    }

    pub(in crate::verdict) fn called(&mut self, scene: &Scene<'_>, attempt: AttemptId) {
        if let Some(open) = scene.view.open_of(attempt) {
            self.superseded.hold(scene, !open.superseded, || {
                format!("a handler of attempt {attempt} was called after a newer attempt had come")
            });
        }
    }

    /// The attempt record was written.
    pub(in crate::verdict) fn attempt_written(&mut self, scene: &Scene<'_>, stored: &Stored) {
        let view = scene.view;
        let attempt = stored.attempt;
        if let Some(before) = view.stored.filter(|before| before.attempt != attempt) {
            self.waits.hold(scene, before.is_terminal(), || {
                format!(
                    "the record of attempt {attempt} took the place of attempt {}, which was not over",
                    before.attempt
                )
            });
            if view.current != Some(attempt) {
                self.starts(scene, attempt);
            }
        }
        if stored.marks().is_some() {
            let refused = view
                .stored_of(attempt)
                .is_some_and(|before| matches!(before.body, Body::Error(_)));
            let stale = view.open_of(attempt).is_some_and(|open| open.stale);
            self.replaced.hold(scene, !refused && !stale, || {
                format!("results of attempt {attempt} were stored after it had been refused")
            });
        }
    }

    /// A record was written.
    pub(in crate::verdict) fn written(&mut self, scene: &Scene<'_>, key: &RecordKey) {
        if let (RecordKey::Version(slug), Some(open)) = (key, &scene.view.open) {
            self.replaced.hold(scene, !open.stale, || {
                format!(
                    "a version of {slug} was stored after attempt {} had been refused",
                    open.attempt
                )
            });
        }
    }

    fn starts(&mut self, scene: &Scene<'_>, attempt: AttemptId) {
        if let Some(offer) = &scene.view.offer {
            self.latest.hold(scene, offer.attempt == attempt, || {
                format!("attempt {attempt} started, although attempt {} had come later", offer.attempt)
            });
        }
    }
}
