//! What a boot restores from storage, and how it judges a test boot (protocol 6.5, reconciliation).

use super::Device;
use super::attempt::Attempt;
use super::boot::Power;
use super::io::Outputs;
use super::records::ProbationRecord;
use crate::model::{ArtifactResult, BuildId, FailureReason, FirmwareVersion, Phase};

/// The judgment on a main artifact whose probation is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its position in the manifest.
    pub(super) index: u8,
    /// Succeeded or failed.
    pub(super) result: ArtifactResult,
    /// Why it failed.
    pub(super) reason: Option<FailureReason>,
    /// What was to be installed.
    pub(super) firmware: FirmwareVersion,
    /// Passed when the device booted, not when the application confirmed.
    pub(super) at_boot: bool,
}

impl Device {
    /// Brings RAM up to what is stored, before the first connection.
    pub(super) fn restore(&mut self, out: &mut Outputs) {
        let limit = self.config.max_artifacts;
        self.memory.attempt = self.flash.records.attempt(limit).as_ref().map(Attempt::restored);
        if let Some(probation) = self.flash.records.probation(limit) {
            if self.is_decided(&probation) {
                self.memory.drop_probation = true;
            } else {
                self.judge(probation);
                return;
            }
        }
        self.show_restored(out);
    }

    /// True if the record is left over: the main artifact has its result, or the attempt is another.
    fn is_decided(&self, probation: &ProbationRecord) -> bool {
        self.memory.attempt.as_ref().is_some_and(|attempt| {
            let of_this = attempt.id == probation.attempt;
            let pending =
                |results: &super::records::Results| probation.index < results.count() && results.of(probation.index).is_none();
            !(of_this && attempt.results().is_some_and(pending))
        })
    }

    fn judge(&mut self, probation: ProbationRecord) {
        let generation = self.next_generation();
        let attempt = self.memory.attempt.get_or_insert_with(|| Attempt {
            generation,
            ..Attempt::rebuilt(probation.attempt, probation.index)
        });
        let index = probation.index;
        let running: Option<BuildId> = match &self.power {
            Power::On(app) => app.build_id,
            Power::Off | Power::Boot { .. } => None,
        };
        let expected = running == Some(probation.build_id);
        if expected && !self.flash.primary.is_confirmed() {
            attempt.on_probation = Some(index);
            return;
        }
        let (result, reason) = if expected {
            (ArtifactResult::Succeeded, None)
        } else if self.shown.phase == Phase::Reverting {
            (ArtifactResult::Failed, Some(FailureReason::ResetBeforeConfirm))
        } else {
            (ArtifactResult::Failed, Some(FailureReason::NotSwapped))
        };
        self.memory.verdict = Some(Box::new(Verdict {
            index,
            result,
            reason,
            firmware: FirmwareVersion {
                slug: probation.slug,
                version: probation.version,
            },
            at_boot: true,
        }));
    }

    /// The application has confirmed: main on probation has succeeded.
    pub(super) fn reconcile_confirmed(&mut self) {
        let limit = self.config.max_artifacts;
        let on_probation = self.memory.attempt.as_ref().and_then(|attempt| attempt.on_probation);
        let (Some(index), Some(probation)) = (on_probation, self.flash.records.probation(limit)) else {
            return;
        };
        self.memory.verdict = Some(Box::new(Verdict {
            index,
            result: ArtifactResult::Succeeded,
            reason: None,
            firmware: FirmwareVersion {
                slug: probation.slug,
                version: probation.version,
            },
            at_boot: false,
        }));
    }
}
