//! The worker: one job at a time, each step durable before the next relies on it (protocol 6.2, 6.3).
//!
//! Priorities: store a rejection or a final result, complete a reconciled main result, prepare a report, process the next artifact.
//! What takes time is a [`Step`]; it is left by the end of flash work, by a timer, or by news of a download.

use super::Device;
use super::attempt::{Stage, report};
use super::boot::Power;
use super::defect::Defect;
use super::io::Outputs;
use super::records::RecordBody;
use super::settle::{Settle, delete_probation};
use super::step::{Step, Work};
use super::stretch::Stretch;
use crate::model::{ArtifactResult, BuildId, Cause, Few, Phase, RecordKey};
use crate::time::SimTime;
use crate::wire::ota::Report;

impl Device {
    /// Takes up work until there is none, or until a step takes time.
    pub(super) fn work_on(&mut self, now: SimTime, out: &mut Outputs) {
        while self.memory.work.is_none() && matches!(&self.power, Power::On(app) if !app.silent) {
            if !self.take_job(now, out) {
                return;
            }
        }
    }

    fn take_job(&mut self, now: SimTime, out: &mut Outputs) -> bool {
        let stage = self.memory.attempt.as_ref().map(|attempt| attempt.stage);
        let rejected = self
            .memory
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.results().is_none());
        if stage == Some(Stage::Finalizing) && rejected {
            self.store_final(now);
        } else if self.has(Defect::DeleteProbationEarly) && std::mem::take(&mut self.memory.drop_probation) {
            self.flash_for(Step::DropProbation, delete_probation(), now);
        } else if let Some(verdict) = self.memory.verdict.take() {
            self.shown.reason = verdict.reason.or(self.shown.reason);
            self.settle(Settle::reconciled(*verdict), now);
        } else if std::mem::take(&mut self.memory.drop_probation) {
            self.flash_for(Step::DropProbation, delete_probation(), now);
        } else if stage == Some(Stage::Finalizing) || self.memory.attempt.as_ref().is_some_and(|attempt| attempt.dirty) {
            self.store_final(now);
        } else if self.memory.pending.is_some() && matches!(stage, None | Some(Stage::Ended)) {
            self.promote(now, out);
        } else if std::mem::take(&mut self.memory.report_wanted) {
            self.prepare_report(now);
        } else {
            return self.process_next_artifact(now, out);
        }
        true
    }

    /// Stores the attempt as it stands in RAM.
    fn store_final(&mut self, now: SimTime) {
        if let Some(body) = self.memory.attempt.as_ref().map(|attempt| attempt.body) {
            self.store_attempt(Step::Final, body, now);
        }
    }

    fn prepare_report(&mut self, now: SimTime) {
        if let Some(body) = self.memory.attempt.as_ref().map(|attempt| attempt.body) {
            self.store_attempt(Step::Report(body), body, now);
        }
    }

    fn process_next_artifact(&mut self, now: SimTime, out: &mut Outputs) -> bool {
        let Some(attempt) = &self.memory.attempt else {
            return false;
        };
        let next = match self.has(Defect::HandlersOutOfOrder) {
            false => attempt.next_artifact(),
            true => attempt.last_artifact(),
        };
        let Some((index, artifact)) = next else {
            return false;
        };
        let installed = self.flash.records.is_installed(&artifact.slug, &artifact.version);
        let trusted = self.has(Defect::SucceedWithoutHandler) && !artifact.main;
        if !attempt.recorded && !self.config.sdk.records_first() {
            self.on_recorded(out);
        } else if !attempt.recorded && !self.has(Defect::AcceptWithoutRecord) {
            self.store_attempt(Step::First, attempt.body, now);
        } else if trusted || (installed && !self.has(Defect::IgnoreVersionRecord)) {
            let settle = Settle::new(index, ArtifactResult::Succeeded, artifact.firmware());
            self.settle(settle, now);
        } else {
            let artifact = artifact.clone();
            let manifest = attempt.manifest.as_ref();
            let another = manifest.and_then(|manifest| manifest.get(usize::from(index) + 1)).cloned();
            self.call_handler(index, &artifact, now, out);
            if let Some(another) = another.filter(|_| self.has(Defect::TwoHandlersAtOnce)) {
                self.call_handler(index + 1, &another, now, out);
            }
        }
        true
    }

    pub(super) fn store_attempt(&mut self, step: Step, body: RecordBody, now: SimTime) {
        let Some(attempt) = &mut self.memory.attempt else {
            return;
        };
        attempt.dirty = false;
        let mut content = attempt.record(body).encode();
        if self.behaviors.defect == Some(Defect::LongRecord) {
            content = [&content[..], &[0; 192]].concat().into();
        }
        let key = RecordKey::Attempt;
        self.flash_for(step, Stretch::Store { key, content }, now);
    }

    /// Begins a step that ends with this flash work.
    pub(super) fn flash_for(&mut self, step: Step, stretch: Stretch, now: SimTime) {
        self.take_step(step);
        self.flash.begin(stretch, now, &self.config.chip);
    }

    /// Begins a step of the job under way, or of a new one.
    pub(super) fn take_step(&mut self, step: Step) {
        match &mut self.memory.work {
            Some(work) => {
                work.step = step;
                work.again = None;
            }
            None => {
                self.memory.work = Some(Box::new(Work {
                    generation: self.generation(),
                    stopping: None,
                    paused: false,
                    again: None,
                    step,
                }));
            }
        }
    }

    /// True if the job under way belongs to an incarnation that was replaced: its outcome is discarded.
    pub(super) fn is_stale(&self) -> bool {
        let current = self.generation();
        self.memory.work.as_ref().is_some_and(|work| work.generation != current)
    }

    fn generation(&self) -> u32 {
        self.memory.attempt.as_ref().map_or(0, |attempt| attempt.generation)
    }

    /// The flash work of the step under way is over.
    pub(super) fn on_stored(&mut self, stretch: Stretch, now: SimTime, out: &mut Outputs) {
        if stretch == Stretch::Confirm {
            self.on_confirmed(now, out);
            return;
        }
        // A page may still be written when the download has failed for good.
        let page = matches!(stretch, Stretch::Page { .. });
        let awaited = |work: &mut Box<Work>| !page || matches!(work.step, Step::Fetch(_));
        let Some(mut work) = self.memory.work.take_if(awaited) else {
            return;
        };
        work.again = None;
        let stale = work.generation != self.generation();
        match work.step {
            Step::First | Step::Final | Step::Report(_) | Step::Settle(_) if stale => {}
            Step::DropProbation => {}
            Step::First => self.on_recorded(out),
            Step::Final => self.on_final_stored(out),
            Step::Report(body) => self.on_report_stored(&body, now, out),
            Step::Settle(settle) => self.on_settled(settle, now, out),
            Step::Fetch(ref mut fetch) => {
                fetch.page_written();
                self.memory.work = Some(work);
                self.on_page_written(now, out);
            }
            Step::Probation => {
                let stopping = work.stopping.is_some();
                self.memory.work = Some(work);
                match self.committing().filter(|_| stopping) {
                    Some(index) => self.on_returned(index, ArtifactResult::Canceled, None, now, out),
                    None => {
                        if !self.config.sdk.commits_for_good() {
                            self.enter(Phase::Committing, Cause::Normal, None, out);
                        }
                        self.flash_for(Step::Upgrade, Stretch::Request, now);
                    }
                }
            }
            Step::Upgrade if work.paused => {
                self.memory.work = Some(work);
                return;
            }
            Step::Upgrade => {
                self.reset(crate::model::BootReason::Software, now, out);
                return;
            }
            Step::Scan { .. } | Step::Install { .. } => self.memory.work = Some(work),
        }
        self.work_on(now, out);
    }

    /// The attempt's first record is durable: it is accepted.
    fn on_recorded(&mut self, out: &mut Outputs) {
        let Some(attempt) = &mut self.memory.attempt else {
            return;
        };
        attempt.recorded = true;
        let cause = if attempt.promoted { Cause::Cancel } else { Cause::Normal };
        if self.shown.phase.at_rest() {
            self.enter(Phase::Accepted, cause, None, out);
        }
    }

    fn on_final_stored(&mut self, out: &mut Outputs) {
        let Some(attempt) = &mut self.memory.attempt else {
            return;
        };
        attempt.recorded = true;
        // Results that changed during the write are stored by the next job.
        if attempt.stage == Stage::Finalizing && !attempt.dirty {
            self.on_ended(false, out);
        }
        self.memory.report_wanted = true;
    }

    pub(super) fn on_ended(&mut self, at_boot: bool, out: &mut Outputs) {
        if let Some(attempt) = &mut self.memory.attempt {
            attempt.stage = Stage::Ended;
            attempt.manifest = None;
            attempt.dirty = false;
        }
        self.show_end(at_boot, out);
    }

    fn on_report_stored(&mut self, body: &RecordBody, now: SimTime, out: &mut Outputs) {
        let Some(attempt) = &self.memory.attempt else {
            return;
        };
        if attempt.stage == Stage::Ended && self.memory.pending.is_some() {
            return;
        }
        let (mut results, complete) = report(attempt.id, body);
        if let Report::Results { succeeded, failed, .. } = &mut results.report
            && complete
        {
            if self.has(Defect::ChangeReported) {
                std::mem::swap(succeeded, failed);
            } else if self.has(Defect::ForgetReported) {
                *succeeded = Few::None;
            }
        }
        self.memory.outbox.put(results, complete);
        self.publish_outbox(now, out);
    }

    /// Main is being committed: nothing stops the reboot (protocol 6.5).
    pub(super) fn is_irreversible(&self) -> bool {
        self.config.sdk.commits_for_good() && self.committing().is_some()
    }

    /// The main artifact, while it is being committed.
    pub(super) fn committing(&self) -> Option<u8> {
        let work = self.memory.work.as_ref()?;
        let artifacts = self.memory.attempt.as_ref()?.manifest.as_ref()?;
        let main = artifacts.iter().position(|artifact| artifact.main)?;
        matches!(work.step, Step::Probation | Step::Upgrade).then_some(main as u8)
    }

    /// A result is being stored.
    pub(super) fn is_settling(&self) -> bool {
        self.memory
            .work
            .as_ref()
            .is_some_and(|work| matches!(work.step, Step::Settle(_)))
    }

    /// The artifact whose handler runs.
    pub(super) fn running_handler(&self) -> Option<u8> {
        match self.memory.work.as_ref()?.step {
            Step::Fetch(ref fetch) => Some(fetch.index),
            Step::Scan { index, .. } | Step::Install { index, .. } => Some(index),
            Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Probation
            | Step::Upgrade
            | Step::Settle(_) => None,
        }
    }

    /// The artifact that a supersession leaves alone: its handler runs, or its result is on its way into storage.
    pub(super) fn busy_artifact(&self) -> Option<u8> {
        let settling = self.memory.work.as_ref().and_then(|work| match &work.step {
            Step::Settle(settle) => Some(settle.index),
            _ => None,
        });
        let judged = self.memory.verdict.as_ref().map(|verdict| verdict.index);
        self.running_handler().or(self.committing()).or(settling).or(judged)
    }

    /// True if a report is on its way.
    pub(super) fn has_report_to_come(&self) -> bool {
        let working = self
            .memory
            .work
            .as_ref()
            .is_some_and(|work| matches!(work.step, Step::Settle(_) | Step::Report(_) | Step::Final));
        working || self.memory.report_wanted || self.memory.verdict.is_some() || !self.memory.outbox.is_empty()
    }

    /// Main image complete and its build id known: from here on nothing stops the reboot.
    pub(super) fn begin_commit(&mut self, index: u8, build_id: BuildId, now: SimTime, out: &mut Outputs) {
        let Some((attempt, artifact)) = self.memory.attempt.as_ref().and_then(|attempt| {
            let artifact = attempt.manifest.as_ref()?.get(usize::from(index))?;
            Some((attempt.id, artifact))
        }) else {
            self.memory.work = None;
            return;
        };
        let record = super::records::ProbationRecord {
            attempt,
            index,
            slug: artifact.slug.clone(),
            version: artifact.version.clone(),
            build_id,
        };
        let mut content = record.encode();
        if self.has(Defect::StoreSecret) {
            content = [&content[..], artifact.secret.as_bytes()].concat().into();
        }
        if self.config.sdk.commits_for_good() {
            self.enter(Phase::Committing, Cause::Normal, None, out);
        }
        let key = RecordKey::Probation;
        if self.has(Defect::SkipProbationRecord) {
            return self.flash_for(Step::Upgrade, Stretch::Request, now);
        }
        self.flash_for(Step::Probation, Stretch::Store { key, content }, now);
    }
}
