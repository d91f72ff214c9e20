//! What could not be written to flash: a record is stored again, after growing waits; the rest fails its artifact (protocol 6.3).

use std::time::Duration;

use super::Device;
use super::io::{DeviceOutput, Outputs};
use super::step::{Step, Work};
use super::stretch::Stretch;
use crate::model::{ArtifactResult, AttemptError, FailureReason};
use crate::time::SimTime;

/// The first wait before a record is stored again, and the longest (protocol 6.3).
pub(super) const STORAGE_RETRY_FIRST: Duration = Duration::from_millis(20);
const STORAGE_RETRY_MAX: Duration = Duration::from_secs(300);

/// A record that could not be stored.
#[derive(Debug)]
pub(super) struct Again {
    /// How often.
    tries: u8,
    /// When it is tried again; `None` while it is.
    due: Option<SimTime>,
    stretch: Stretch,
}

impl Work {
    /// When its record is stored again.
    pub(super) fn stores_again(&self) -> Option<SimTime> {
        self.again.as_ref().and_then(|again| again.due)
    }
}

impl Device {
    /// A page, a request for the upgrade or a record could not be written.
    pub(super) fn on_store_failed(&mut self, stretch: Stretch, permanent: bool, now: SimTime, out: &mut Outputs) {
        let stale = self.is_stale();
        let again = self.config.sdk.stores_again();
        let Some(work) = &mut self.memory.work else {
            return;
        };
        let failed = Some(FailureReason::Storage);
        match &mut work.step {
            // A page may still be written when the download has failed for good.
            Step::Scan { .. } | Step::Install { .. } => {}
            Step::Fetch(fetch) => {
                let index = fetch.index;
                if fetch.download.is_asking() {
                    out.push(DeviceOutput::StopDownload);
                }
                self.on_returned(index, ArtifactResult::Failed, failed, now, out);
            }
            Step::Probation | Step::Upgrade => {
                let artifacts = self.memory.attempt.as_ref().and_then(|attempt| attempt.manifest.as_ref());
                if let Some(index) = artifacts.and_then(|artifacts| artifacts.iter().position(|artifact| artifact.main)) {
                    self.on_returned(index as u8, ArtifactResult::Failed, failed, now, out);
                }
            }
            Step::First | Step::Final | Step::Report(_) | Step::DropProbation | Step::Settle(_) if stale => {
                self.memory.work = None;
                self.work_on(now, out);
            }
            Step::First | Step::Settle(_) if permanent || !again => self.reject_for_storage(now, out),
            Step::Report(_) | Step::DropProbation if !again => {
                self.memory.work = None;
                self.work_on(now, out);
            }
            Step::First | Step::Final | Step::Report(_) | Step::DropProbation | Step::Settle(_) => {
                let tries = work.again.take().map_or(0, |again| again.tries);
                let wait = STORAGE_RETRY_FIRST.saturating_mul(1 << tries.min(24)).min(STORAGE_RETRY_MAX);
                work.again = Some(Again {
                    tries: tries.saturating_add(1),
                    due: Some(now + wait),
                    stretch,
                });
            }
        }
    }

    /// The wait before a record is stored again is over.
    pub(super) fn store_again(&mut self, now: SimTime) {
        let again = self.memory.work.as_mut().and_then(|work| work.again.as_mut());
        if let Some(again) = again {
            again.due = None;
            let stretch = again.stretch.clone();
            self.flash.begin(stretch, now, &self.config.chip);
        }
    }

    /// A storage error that is not retried fails the attempt as a whole (protocol 6.3).
    fn reject_for_storage(&mut self, now: SimTime, out: &mut Outputs) {
        self.memory.work = None;
        if let Some(id) = self.memory.attempt.as_ref().map(|attempt| attempt.id) {
            self.reject(id, AttemptError::Unknown, false, now, out);
        }
        self.work_on(now, out);
    }
}
