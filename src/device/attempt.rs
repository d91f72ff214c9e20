//! The attempt in RAM: what is known of it, and which of its artifacts have which result (protocol 6.2).
//!
//! Nothing here takes time or does anything; the worker stores, the handlers install, the inbox decides what a message means.

use super::records::{AttemptRecord, RecordBody, Results};
use crate::model::{Artifact, ArtifactResult, AttemptError, AttemptId, Manifest};
use crate::wire::ota::{Report, UpdateResults};

/// The current attempt.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Which one.
    pub(super) id: AttemptId,
    /// Results, or why it was refused.
    pub(super) body: RecordBody,
    /// Its artifacts; `None` where they are not known (any more).
    pub(super) manifest: Option<Box<[Artifact]>>,
    /// How far it has come.
    pub(super) stage: Stage,
    /// Tells this incarnation from another of the same id: outcomes of older ones are discarded (protocol 6.2).
    pub(super) generation: u32,
    /// Counts changes of results that no artifact's own transaction makes.
    pub(super) revision: u8,
    /// The main artifact on probation.
    pub(super) on_probation: Option<u8>,
    /// Its record has been stored.
    pub(super) recorded: bool,
    /// Results changed in RAM and no transaction will store them.
    pub(super) dirty: bool,
    /// A newer attempt waits for its end.
    pub(super) superseded: bool,
    /// Made up from the probation record: the number of its artifacts comes with the manifest (protocol, section 14).
    pub(super) rebuilt: bool,
    /// It took the place of an attempt that it superseded.
    pub(super) promoted: bool,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// An artifact is pending.
    Open,
    /// It is over in RAM, and not stored.
    Finalizing,
    /// It is over, and stored.
    Ended,
}

/// The one newer attempt that waits, in RAM only.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// To be carried out.
    Manifest(AttemptId, Manifest),
    /// To be refused.
    Rejection(AttemptId, AttemptError),
}

impl Attempt {
    /// A new attempt; one that the server had cancelled already is over at once (protocol 3.2.1).
    pub(super) fn accepted(id: AttemptId, manifest: Manifest) -> Attempt {
        let mut results = Results::pending(manifest.artifacts.len() as u8);
        let mut stage = Stage::Open;
        if manifest.canceled {
            results.cancel_pending(None);
            stage = Stage::Finalizing;
        }
        let body = RecordBody::Results {
            cancel: manifest.canceled,
            results,
        };
        Attempt {
            manifest: Some(manifest.artifacts.into()),
            ..Attempt::new(id, body, stage)
        }
    }

    /// An attempt that is refused.
    pub(super) fn rejected(id: AttemptId, error: AttemptError) -> Attempt {
        Attempt::new(id, RecordBody::Error(error), Stage::Finalizing)
    }

    /// What a boot finds stored; the manifest is not.
    pub(super) fn restored(record: &AttemptRecord) -> Attempt {
        let over = match &record.body {
            RecordBody::Results { results, .. } => results.first_pending().is_none(),
            RecordBody::Error(_) => true,
        };
        Attempt {
            recorded: true,
            ..Attempt::new(record.attempt, record.body, if over { Stage::Ended } else { Stage::Open })
        }
    }

    /// What a boot makes of a probation without an attempt (protocol 7.4, C2).
    pub(super) fn rebuilt(id: AttemptId, index: u8) -> Attempt {
        let body = RecordBody::Results {
            cancel: false,
            results: Results::pending(index + 1),
        };
        Attempt {
            rebuilt: true,
            ..Attempt::new(id, body, Stage::Open)
        }
    }

    fn new(id: AttemptId, body: RecordBody, stage: Stage) -> Attempt {
        Attempt {
            id,
            body,
            manifest: None,
            stage,
            generation: 0,
            revision: 0,
            on_probation: None,
            recorded: false,
            dirty: false,
            superseded: false,
            rebuilt: false,
            promoted: false,
        }
    }

    /// The results; `None` if the attempt is refused.
    pub(super) fn results(&self) -> Option<&Results> {
        match &self.body {
            RecordBody::Results { results, .. } => Some(results),
            RecordBody::Error(_) => None,
        }
    }

    /// The results, to be changed; `None` if the attempt is refused.
    pub(super) fn results_mut(&mut self) -> Option<&mut Results> {
        match &mut self.body {
            RecordBody::Results { results, .. } => Some(results),
            RecordBody::Error(_) => None,
        }
    }

    /// True if a cancellation was accepted and no artifact succeeded since.
    pub(super) fn is_canceled(&self) -> bool {
        matches!(self.body, RecordBody::Results { cancel: true, .. })
    }

    /// Notes a cancellation.
    pub(super) fn note_cancellation(&mut self) {
        if let RecordBody::Results { cancel, .. } = &mut self.body {
            *cancel = true;
        }
    }

    /// True if something can be reported: a result or an error.
    pub(super) fn has_news(&self) -> bool {
        self.results().is_none_or(|results| !results.is_untouched())
    }

    /// True if an artifact has succeeded: the attempt can no longer be cancelled (protocol 6.6).
    pub(super) fn has_success(&self) -> bool {
        self.results().is_some_and(|results| results.any(ArtifactResult::Succeeded))
    }

    /// Cancels every pending artifact but `busy`, which runs, and one on probation. The attempt is over if none is left.
    pub(super) fn cancel_pending(&mut self, busy: Option<u8>) {
        let except = self.on_probation.or(busy);
        let Some(results) = self.results_mut() else {
            return;
        };
        let before = *results;
        results.cancel_pending(except);
        let (changed, over) = (*results != before, results.first_pending().is_none());
        if changed {
            self.revision = self.revision.wrapping_add(1);
            self.dirty = true;
        }
        if over {
            self.stage = Stage::Finalizing;
        }
    }

    /// The body as it will be once the artifact at `index` has its result: without success every pending one is cancelled in the
    /// same write, with it an accepted cancellation is forgotten (protocol 6.3, 6.6).
    pub(super) fn projection(&self, index: u8, result: ArtifactResult) -> RecordBody {
        match self.body {
            RecordBody::Error(_) => self.body,
            RecordBody::Results { cancel, mut results } => {
                results.set(index, result);
                let succeeded = result == ArtifactResult::Succeeded;
                if !succeeded {
                    results.cancel_pending(None);
                }
                RecordBody::Results {
                    cancel: cancel && !succeeded,
                    results,
                }
            }
        }
    }

    /// The record for a body.
    pub(super) fn record(&self, body: RecordBody) -> AttemptRecord {
        AttemptRecord { attempt: self.id, body }
    }

    /// The next artifact to be worked on, if the attempt may go on.
    pub(super) fn next_artifact(&self) -> Option<(u8, &Artifact)> {
        self.pending_artifact(self.results()?.first_pending()?)
    }

    /// The last artifact without a result, if the attempt may go on.
    pub(super) fn last_artifact(&self) -> Option<(u8, &Artifact)> {
        let results = self.results()?;
        self.pending_artifact((0..results.count()).rfind(|&index| results.of(index).is_none())?)
    }

    fn pending_artifact(&self, index: u8) -> Option<(u8, &Artifact)> {
        let stopped = self.stage != Stage::Open || self.superseded || self.is_canceled() || self.on_probation.is_some();
        let manifest = self.manifest.as_ref().filter(|_| !stopped)?;
        manifest.get(usize::from(index)).map(|artifact| (index, artifact))
    }
}

/// The report of a stored body (protocol 3.5), and whether nothing is pending in it.
pub(super) fn report(attempt: AttemptId, body: &RecordBody) -> (UpdateResults, bool) {
    let (report, complete) = match body {
        RecordBody::Error(error) => (Report::Error(error.number().into()), true),
        RecordBody::Results { results, .. } => {
            let report = Report::Results {
                succeeded: results.positions(ArtifactResult::Succeeded),
                failed: results.positions(ArtifactResult::Failed),
                canceled: results.positions(ArtifactResult::Canceled),
            };
            (report, results.first_pending().is_none())
        }
    };
    (UpdateResults { attempt, report }, complete)
}
