//! What the device shows of itself: phase, session, running version. Kept for whoever watches; it survives everything and decides
//! nothing.

use std::sync::Arc;

use super::attempt::Stage;
use super::records::RecordBody;
use super::{Device, io::DeviceOutput, io::Outputs};
use crate::mcuboot::SwapType;
use crate::model::{
    ArtifactResult, AttemptId, AttemptResult, BootReason, Cause, FailureReason, FirmwareVersion, Observation, Phase, Session,
    Transition,
};

/// The view from outside.
#[derive(Debug)]
pub(super) struct Shown {
    /// Where it stands.
    pub(super) phase: Phase,
    /// The attempt of the last transition.
    pub(super) attempt: Option<AttemptId>,
    /// Why the attempt will not succeed, as far as is known.
    pub(super) reason: Option<FailureReason>,
    /// The end last told of: a rollback may bring a device back to it.
    pub(super) ended: Option<(AttemptId, Phase)>,
    /// How it stands to its server.
    pub(super) session: Session,
    /// What runs, or ran last.
    pub(super) running: Arc<FirmwareVersion>,
}

impl Device {
    /// Enters a phase.
    pub(super) fn enter(&mut self, to: Phase, cause: Cause, reason: Option<FailureReason>, out: &mut Outputs) {
        let from = std::mem::replace(&mut self.shown.phase, to);
        self.shown.attempt = self.memory.attempt.as_ref().map(|attempt| attempt.id).or(self.shown.attempt);
        out.push(DeviceOutput::Observed(Observation::Transition {
            transition: Transition { from, to, cause },
            attempt: self.shown.attempt,
            reason,
        }));
    }

    /// The bootloader is about to exchange images.
    pub(super) fn show_swap(&mut self, kind: SwapType, why: BootReason, out: &mut Outputs) {
        let phase = self.shown.phase;
        match kind {
            SwapType::Test | SwapType::Permanent => match (phase, why) {
                (Phase::Committing, BootReason::Software) => self.enter(Phase::Swapping, Cause::Normal, None, out),
                (Phase::Committing | Phase::Swapping, _) => self.enter(Phase::Swapping, Cause::Power, None, out),
                _ => {}
            },
            SwapType::Revert => {
                // Power failed between the last write of the swap and the start of the image.
                if phase == Phase::Swapping {
                    self.enter(Phase::Probation, Cause::Normal, None, out);
                }
                // An end that was stored but not told of yet comes first, and hence without this phase.
                let stored = self.flash.records.attempt(self.config.max_artifacts);
                let told = stored.map(|record| record.attempt) == self.shown.ended.map(|(attempt, _)| attempt);
                let shown = match self.shown.phase {
                    Phase::Probation | Phase::Reverting => true,
                    Phase::Succeeded | Phase::Failed | Phase::Rejected => told,
                    _ => false,
                };
                if shown {
                    self.enter(Phase::Reverting, Cause::Power, None, out);
                }
            }
        }
    }

    /// The attempt in RAM is over and stored. `at_boot`: a boot found it so.
    pub(super) fn show_end(&mut self, at_boot: bool, out: &mut Outputs) {
        let Some(attempt) = &self.memory.attempt else {
            return;
        };
        debug_assert_eq!(attempt.stage, Stage::Ended);
        let (phase, result, reason) = match &attempt.body {
            RecordBody::Error(error) => (
                Phase::Rejected,
                AttemptResult::Rejected,
                Some(FailureReason::Rejected(*error)),
            ),
            RecordBody::Results { results, .. } if results.any(ArtifactResult::Failed) => {
                (Phase::Failed, AttemptResult::Failed, self.shown.reason)
            }
            RecordBody::Results { results, .. } if results.any(ArtifactResult::Canceled) => {
                (Phase::Cancelled, AttemptResult::Cancelled, self.shown.reason)
            }
            RecordBody::Results { .. } => (Phase::Succeeded, AttemptResult::Succeeded, None),
        };
        let (id, superseded) = (attempt.id, attempt.superseded);
        let (result, ended_by) = if superseded {
            (AttemptResult::Superseded, Some(FailureReason::Superseded))
        } else {
            (result, reason)
        };
        let cause = cause_of(self.shown.phase, phase, at_boot);
        self.enter(phase, cause, reason, out);
        if self.shown.ended.replace((id, phase)) != Some((id, phase)) {
            out.push(DeviceOutput::Observed(Observation::AttemptEnded {
                attempt: id,
                result,
                reason: ended_by,
            }));
        }
    }

    /// An artifact succeeded and others are pending: the attempt goes on, or waits for its manifest.
    pub(super) fn show_between(&mut self, at_boot: bool, out: &mut Outputs) {
        let has_manifest = self.memory.attempt.as_ref().is_some_and(|attempt| attempt.manifest.is_some());
        // What a boot has found leads through waiting, even if the manifest came while the result was stored.
        if !has_manifest || at_boot {
            let cause = cause_of(self.shown.phase, Phase::Waiting, at_boot);
            self.enter(Phase::Waiting, cause, None, out);
        }
        if has_manifest && self.shown.phase != Phase::Accepted {
            self.enter(Phase::Accepted, Cause::Normal, None, out);
        }
    }

    /// What a boot has restored, where no main image is on probation or waits for its verdict.
    pub(super) fn show_restored(&mut self, out: &mut Outputs) {
        let phase = self.shown.phase;
        let Some(attempt) = &self.memory.attempt else {
            if !phase.at_rest() {
                self.enter(Phase::Idle, Cause::Power, None, out);
            }
            return;
        };
        if attempt.stage == Stage::Ended {
            let rejected = attempt.results().is_none();
            let told = self
                .shown
                .ended
                .is_some_and(|(id, end)| id == attempt.id && end == phase && (end == Phase::Rejected) == rejected);
            if !told {
                self.show_end(true, out);
            }
            return;
        }
        self.shown.reason = None;
        // Power failed between the write of the first record and the acceptance that follows it.
        if phase.at_rest() {
            self.enter(Phase::Accepted, Cause::Normal, None, out);
        }
        self.enter(Phase::Waiting, Cause::Power, None, out);
    }
}

/// The cause under which an end or a pause is reached (contract, section 3).
fn cause_of(from: Phase, to: Phase, at_boot: bool) -> Cause {
    match (from, to) {
        (Phase::Reverting, _) => Cause::Normal,
        (Phase::Swapping, _) => Cause::Error,
        (Phase::Committing | Phase::Probation, _) if at_boot && to != Phase::Rejected => Cause::Power,
        (_, Phase::Failed) => Cause::Error,
        (_, Phase::Cancelled) => Cause::Cancel,
        (_, Phase::Rejected) => Cause::Reject,
        _ => Cause::Normal,
    }
}
