//! Every rule that a referee holds, and what each of them has to be shown.

use crate::model::{AttemptId, FirmwareVersion, Observation};
use crate::wire::ImagePrint;

use super::referee::Referee;
use super::rules::{Assignment, Attempts, Boot, Call, Cancellation, Connection, Download, Handlers, Images, Messages};
use super::rules::{Records, Reports, Scene, Settling, Supersession, Tally, Transitions};
use super::view::{Body, Marks, Stored, View};

/// Every rule that a referee holds.
#[derive(Debug)]
pub(super) struct Rulebook {
    pub(super) messages: Messages,
    pub(super) reports: Reports,
    pub(super) handlers: Handlers,
    pub(super) records: Records,
    pub(super) images: Images,
    pub(super) boot: Boot,
    pub(super) cancellation: Cancellation,
    pub(super) supersession: Supersession,
    pub(super) connection: Connection,
    pub(super) download: Download,
    pub(super) assignment: Assignment,
    pub(super) attempts: Attempts,
    pub(super) transitions: Transitions,
    pub(super) settling: Settling,
}

impl Rulebook {
    /// Ready for the start of a run: images that the server holds, and what each device runs.
    pub(super) fn new<'a>(images: &[(FirmwareVersion, ImagePrint)], runs: impl Iterator<Item = &'a [FirmwareVersion]>) -> Rulebook {
        Rulebook {
            messages: Messages::default(),
            reports: Reports::default(),
            handlers: Handlers::default(),
            records: Records::default(),
            images: Images::default(),
            boot: Boot::default(),
            cancellation: Cancellation::default(),
            supersession: Supersession::default(),
            connection: Connection::default(),
            download: Download::new(images),
            assignment: Assignment::new(runs),
            attempts: Attempts::default(),
            transitions: Transitions::default(),
            settling: Settling::default(),
        }
    }

    /// A device showed something.
    pub(super) fn observed(&mut self, scene: &Scene<'_>, observation: &Observation) {
        let (at, device) = (scene.at, scene.device);
        self.boot.observed(scene, observation);
        match observation {
            Observation::Transition { transition, attempt, .. } => {
                self.transitions.changed(at, device, *transition, *attempt);
                self.attempts.phase(at, device, transition.to, *attempt);
            }
            Observation::ManifestReceived { attempt } => {
                self.messages.named(scene, *attempt, "accepted");
                self.handlers.accepted(scene, *attempt);
                self.supersession.accepted(scene, *attempt);
                self.cancellation.accepted(scene);
            }
            Observation::HandlerCalled {
                attempt,
                index,
                firmware,
            } => {
                let call = Call {
                    attempt: *attempt,
                    index: *index,
                    firmware,
                };
                self.attempts.handler(at, device, *attempt);
                self.handlers.called(scene, &call);
                self.cancellation.called(scene, *attempt);
                self.supersession.called(scene, *attempt);
            }
            Observation::HandlerReturned { attempt, index, result } => {
                self.cancellation.returned(scene, *attempt, *index, *result);
                self.download.returned(scene, *attempt, *result);
            }
            Observation::Downloaded { bytes, print } => {
                let print = ImagePrint {
                    bytes: *bytes,
                    sum: *print,
                };
                self.download.downloaded(scene, print);
            }
            Observation::RetryScheduled { reason, until, .. } => self.download.waits(scene, *reason, *until),
            Observation::AttemptEnded { attempt, result, .. } => {
                self.attempts.ended(device, *attempt, *result);
                self.cancellation.ended(scene, *attempt, *result);
            }
            Observation::Booted {
                build_id,
                firmware,
                confirmed,
                ..
            } => {
                self.boot.booted(scene, build_id.as_ref());
                self.images.booted(scene, build_id.as_ref(), *confirmed);
                self.cancellation.booted(scene);
                self.assignment.runs(at, device, firmware);
            }
            Observation::Installed { firmware } => self.assignment.runs(at, device, firmware),
            Observation::RecordDeleted { record } => self.images.deleted(scene, record),
            Observation::UpgradeRequested => self.images.upgrade_requested(scene),
            Observation::RecordLost { .. } => self.transitions.damaged(device),
            // Judged where its bytes are read.
            Observation::RecordWritten { .. }
            | Observation::Confirmed
            | Observation::Session(_)
            | Observation::ConnectTried { .. }
            | Observation::ResultPublished { .. }
            | Observation::Unbootable
            | Observation::RolledBack
            | Observation::FlashFailed { .. }
            | Observation::Requested { .. }
            | Observation::Answered { .. }
            | Observation::DownloadLost { .. }
            | Observation::FlashMisused { .. } => {}
        }
    }

    /// What each rule came to, in the order of findings.
    pub(super) fn tallies(&self) -> Vec<&Tally> {
        let mut all: Vec<&Tally> = Vec::with_capacity(Referee::RULES as usize);
        all.extend(self.boot.tallies());
        all.extend(self.images.tallies());
        all.extend(self.reports.tallies());
        all.extend(self.messages.tallies());
        all.push(self.assignment.tally());
        all.extend(self.attempts.tallies());
        all.push(self.transitions.tally());
        all.extend(self.handlers.tallies());
        all.extend(self.records.tallies());
        all.extend(self.cancellation.tallies());
        all.extend(self.supersession.tallies());
        all.extend(self.connection.tallies());
        all.extend(self.download.tallies());
        all.push(self.settling.tally());
        all
    }

    /// The attempt record was written, and could be read.
    pub(super) fn attempt_written(&mut self, scene: &Scene<'_>, stored: &Stored) {
        self.messages.named(scene, stored.attempt, "stored");
        self.supersession.attempt_written(scene, stored);
        let marks = match &stored.body {
            Body::Results(marks) => marks,
            Body::Error(error) => return self.messages.error_written(scene, stored.attempt, *error),
        };
        let fresh = fresh(scene.view, stored.attempt, marks);
        self.records.attempt_written(scene, stored.attempt, marks, &fresh);
        self.images.attempt_written(scene, stored.attempt, &fresh);
        self.cancellation.attempt_written(scene, stored.attempt, marks, &fresh);
    }
}

/// Results that the record did not have before.
fn fresh(view: &View, attempt: AttemptId, marks: &Marks) -> Marks {
    let before = view.marks_of(attempt).copied().unwrap_or_default();
    Marks {
        count: marks.count,
        succeeded: marks.succeeded & !before.succeeded,
        failed: marks.failed & !before.failed,
        canceled: marks.canceled & !before.canceled,
        cancel: marks.cancel,
    }
}
