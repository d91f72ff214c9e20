//! What a message from the cloud means (protocol 3.6 to 3.8, 6.6, 6.7). Only RAM changes here; the worker does the rest.

use super::Device;
use super::attempt::{Attempt, Pending, Stage, report};
use super::defect::Defect;
use super::io::{DeviceOutput, Outputs};
use super::records::{RecordBody, Results};
use crate::model::{AttemptError, AttemptId, Cause, FailureReason, Manifest, Observation, Phase};
use crate::time::SimTime;
use crate::wire::config::Severity;
use crate::wire::ota::{CloudMessage, DecodeError, decode_cloud, receive_limit};

impl Device {
    /// A payload on the OTA topic.
    pub(super) fn on_cloud_message(&mut self, payload: &[u8], now: SimTime, out: &mut Outputs) {
        let limit = self.config.max_artifacts;
        if payload.len() > receive_limit(limit) {
            return;
        }
        let decoded = decode_cloud(payload, limit);
        let said = || match &decoded {
            Ok(message) => format!("message for attempt {}", message.attempt()),
            Err(_) => "message that cannot be used".into(),
        };
        self.log(Severity::INFO, "update", said, now, out);
        let id = match &decoded {
            Ok(message) => Some(message.attempt()),
            Err(error) => error.attempt(),
        };
        self.memory.largest = self.memory.largest.max(id);
        match decoded {
            Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) => self.on_manifest(attempt, manifest, now, out),
            Ok(CloudMessage::CancelUpdate { attempt }) => self.on_cancel(attempt, now, out),
            Ok(CloudMessage::ReportResults { attempt }) => {
                if self.memory.attempt.as_ref().is_some_and(|current| current.id == attempt) {
                    self.on_report_request(now, out);
                }
            }
            Err(DecodeError::Reject { .. }) if self.has(Defect::IgnoreMalformed) => {}
            Err(DecodeError::Reject { attempt, .. }) if self.has(Defect::MistakeError) => {
                self.on_rejection(attempt, AttemptError::UnknownArtifactType, now, out);
            }
            Err(DecodeError::Reject { attempt, error }) => self.on_rejection(attempt, error, now, out),
            Err(DecodeError::Ignore(_) | DecodeError::Drop { .. }) => {
                self.memory.report_wanted |= self.has(Defect::AnswerUnreadable);
            }
        }
    }

    fn on_manifest(&mut self, id: AttemptId, mut manifest: Manifest, now: SimTime, out: &mut Outputs) {
        manifest.canceled &= !self.has(Defect::IgnoreCanceledFlag);
        let revives = self.has(Defect::ReviveEnded);
        let waits = !self.has(Defect::StartPendingEarly);
        match &self.memory.attempt {
            Some(current) if current.id == id && !(revives && current.stage == Stage::Ended) => {
                self.on_repeated_manifest(id, manifest, now, out);
            }
            Some(current) if current.stage != Stage::Ended && waits => self.supersede(Pending::Manifest(id, manifest), now, out),
            Some(_) | None => self.accept(id, manifest, false, out),
        }
    }

    /// Takes an attempt into RAM.
    fn accept(&mut self, id: AttemptId, mut manifest: Manifest, promoted: bool, out: &mut Outputs) {
        manifest
            .artifacts
            .iter_mut()
            .for_each(|artifact| self.behaviors.share_names(artifact));
        self.shown.reason = manifest.canceled.then_some(FailureReason::ServerCancel);
        self.memory.attempt = Some(Attempt {
            generation: self.next_generation(),
            promoted,
            ..Attempt::accepted(id, manifest)
        });
        self.memory.report_wanted = false;
        out.push(DeviceOutput::Observed(Observation::ManifestReceived { attempt: id }));
    }

    /// A report is asked for: the worker prepares it, unless it is answered beside a handler that runs.
    fn on_report_request(&mut self, now: SimTime, out: &mut Outputs) {
        let stored = self.flash.records.attempt(self.config.max_artifacts);
        match &self.memory.attempt {
            Some(current) if !self.config.sdk.reports_after_handlers() && self.running_handler().is_some() => {
                let stored = stored.filter(|record| record.attempt == current.id).map(|record| record.body);
                let nothing = || RecordBody::Results {
                    cancel: false,
                    results: Results::pending(current.results().map_or(0, Results::count)),
                };
                let (results, complete) = report(current.id, &stored.unwrap_or_else(nothing));
                self.memory.outbox.put(results, complete);
                self.publish_outbox(now, out);
            }
            Some(_) | None => self.memory.report_wanted = true,
        }
    }

    fn on_repeated_manifest(&mut self, id: AttemptId, manifest: Manifest, now: SimTime, out: &mut Outputs) {
        let limit = self.config.max_artifacts;
        let (sdk, quirks) = (self.config.sdk, self.config.quirks);
        let judged = self.memory.verdict.as_ref().map(|verdict| verdict.index);
        let Some(attempt) = &mut self.memory.attempt else {
            return;
        };
        let count = manifest.artifacts.len() as u8;
        let fits = match attempt.results() {
            Some(results) if attempt.rebuilt => (results.count()..=limit).contains(&count),
            Some(results) => results.count() == count,
            None => true,
        };
        if !fits {
            return;
        }
        let waits = attempt.stage == Stage::Open && attempt.manifest.is_none();
        let rehydrates = waits && sdk.rehydrates();
        let cancels = manifest.canceled && !waits && !quirks.ignores_canceled_duplicate;
        if rehydrates {
            if let Some(results) = attempt.results_mut() {
                results.extend_to(count);
            }
            attempt.rebuilt = false;
            attempt.manifest = Some(manifest.artifacts.into());
            if manifest.canceled && !attempt.has_success() {
                attempt.note_cancellation();
                attempt.cancel_pending(judged);
                self.shown.reason = Some(FailureReason::ServerCancel);
            }
            // Every artifact that there is had its result before the number of them was known.
            if attempt.stage == Stage::Open && attempt.results().is_some_and(|results| results.first_pending().is_none()) {
                attempt.stage = Stage::Finalizing;
            }
        }
        if attempt.has_news() {
            self.memory.report_wanted = true;
        }
        if rehydrates && attempt.stage == Stage::Open && self.shown.phase == Phase::Waiting {
            self.enter(Phase::Accepted, Cause::Normal, None, out);
        }
        if cancels {
            self.on_cancel(id, now, out);
        }
    }

    /// A newer attempt while the current one is unfinished: it waits, the latest wins, and the current one stops where it may.
    fn supersede(&mut self, newer: Pending, now: SimTime, out: &mut Outputs) {
        if self.memory.pending.is_none() || !self.has(Defect::FirstPendingWins) {
            self.memory.pending = Some(Box::new(newer));
        }
        if self.is_irreversible() || self.has(Defect::IgnoreSupersession) {
            return;
        }
        let busy = self.busy_artifact();
        let Some(attempt) = &mut self.memory.attempt else {
            return;
        };
        attempt.superseded = true;
        if attempt.stage == Stage::Open {
            self.shown.reason.get_or_insert(FailureReason::Superseded);
            attempt.cancel_pending(busy);
        }
        self.stop_handler(now, out);
    }

    fn on_cancel(&mut self, id: AttemptId, now: SimTime, out: &mut Outputs) {
        let stops_commit = self.is_irreversible() && self.has(Defect::CancelCommit);
        let settling = self.is_settling() && self.config.sdk.settles_undisturbed();
        let late = (self.is_irreversible() && !stops_commit) || settling || self.memory.verdict.is_some();
        let (obeys_any, obeys_late) = (self.has(Defect::ObeyAnyCancel), self.has(Defect::CancelAfterSuccess));
        let running = self.running_handler().or(self.committing().filter(|_| !stops_commit));
        let busy = self.busy_artifact().filter(|_| !stops_commit);
        if self.has(Defect::IgnoreCancel) || (self.has(Defect::DeafAtTens) && id.number().is_multiple_of(10)) {
            return;
        }
        let Some(attempt) = self.memory.attempt.as_mut().filter(|current| current.id == id || obeys_any) else {
            return;
        };
        if late || attempt.stage != Stage::Open || (attempt.has_success() && !obeys_late) {
            return;
        }
        if stops_commit {
            self.memory.work = None;
        }
        attempt.note_cancellation();
        self.shown.reason.get_or_insert(FailureReason::ServerCancel);
        match running {
            // It ends by itself; what becomes of the others depends on how (protocol 6.6).
            Some(_) => self.stop_handler(now, out),
            None => attempt.cancel_pending(busy),
        }
    }

    fn on_rejection(&mut self, id: AttemptId, error: AttemptError, now: SimTime, out: &mut Outputs) {
        match &self.memory.attempt {
            Some(current) if current.id != id && current.stage != Stage::Ended => {
                self.supersede(Pending::Rejection(id, error), now, out);
            }
            Some(_) | None => self.reject(id, error, false, now, out),
        }
    }

    /// Takes a refused attempt into RAM; one of the same id is replaced, and what runs for it is asked to stop.
    pub(super) fn reject(&mut self, id: AttemptId, error: AttemptError, promoted: bool, now: SimTime, out: &mut Outputs) {
        self.shown.reason = None;
        let kept = self
            .memory
            .attempt
            .take_if(|_| self.behaviors.defect == Some(Defect::KeepStaleOutcome));
        self.memory.attempt = Some(Attempt {
            generation: kept.as_ref().map_or_else(|| self.next_generation(), |kept| kept.generation),
            manifest: kept.and_then(|kept| kept.manifest),
            promoted,
            ..Attempt::rejected(id, error)
        });
        self.memory.verdict = None;
        self.stop_handler(now, out);
    }

    /// The pending attempt takes the place of the one that has ended; reports of that one are not sent any more.
    pub(super) fn promote(&mut self, now: SimTime, out: &mut Outputs) {
        let Some(pending) = self.memory.pending.take() else {
            return;
        };
        let mut kept = None;
        if let Some(ended) = &self.memory.attempt {
            self.memory.outbox.discard(ended.id);
            kept = Some(report(ended.id, &ended.body)).filter(|_| self.has(Defect::KeepSupersededResults));
        }
        match *pending {
            Pending::Manifest(id, manifest) => self.accept(id, manifest, true, out),
            Pending::Rejection(id, error) => {
                self.memory.report_wanted = false;
                self.reject(id, error, true, now, out);
            }
        }
        if let Some((results, complete)) = kept {
            self.memory.outbox.put(results, complete);
            self.publish_outbox(now, out);
        }
    }
}
