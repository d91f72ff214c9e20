//! The worker: one job at a time, each step durable before the next relies on it (protocol 6.2, 6.3).
//!
//! Priorities: store a rejection or a final result, complete a reconciled main result, prepare a report, process the next artifact.
//! What takes time is a [`Step`]; it is left by the end of flash work, by a timer, or by news of a download.

use std::time::Duration;

use super::Device;
use super::attempt::{Stage, report};
use super::boot::Power;
use super::defect::Defect;
use super::fetch::Fetch;
use super::io::{DeviceOutput, Outputs};
use super::records::{RecordBody, encode_version};
use super::sdk::Sdk;
use super::stretch::Stretch;
use crate::model::{ArtifactResult, AttemptError, BuildId, Cause, FailureReason, FirmwareVersion, Observation, Phase, RecordKey};
use crate::time::SimTime;
use crate::wire::config::Severity;
use crate::wire::ota::Report;

/// What the worker is doing, and for which incarnation of the attempt.
#[derive(Debug)]
pub(super) struct Work {
    /// Of the attempt when the job began.
    pub(super) generation: u32,
    /// The handler was asked to stop, and what it is to return.
    pub(super) stopping: Option<Stopped>,
    /// The application has paused it.
    pub(super) paused: bool,
    /// Its record could not be stored.
    again: Option<Again>,
    /// The step under way.
    pub(super) step: Step,
}

/// Why a handler stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The server cancelled the attempt, or superseded it.
    Canceled,
    /// The application aborted it.
    Aborted,
}

/// A record that could not be stored.
#[derive(Debug)]
struct Again {
    /// How often.
    tries: u8,
    /// When it is tried again; `None` while it is.
    due: Option<SimTime>,
    stretch: Stretch,
}

/// The first wait before a record is stored again, and the longest (protocol 6.3).
pub(super) const STORAGE_RETRY_FIRST: Duration = Duration::from_millis(20);
const STORAGE_RETRY_MAX: Duration = Duration::from_secs(300);

impl Work {
    /// When its record is stored again.
    pub(super) fn stores_again(&self) -> Option<SimTime> {
        self.again.as_ref().and_then(|again| again.due)
    }
}

/// A step that takes time.
#[derive(Debug)]
pub(super) enum Step {
    /// Stores the record of a new attempt.
    First,
    /// Stores results or an error that no artifact's transaction stores.
    Final,
    /// Stores the record once more, to report this.
    Report(RecordBody),
    /// Deletes a probation record that is left over.
    DropProbation,
    /// A handler downloads.
    Fetch(Fetch),
    /// The downloaded main image is searched for its build id.
    Scan {
        /// Position in the manifest.
        index: u8,
        /// Until then.
        until: SimTime,
    },
    /// Stores the probation record.
    Probation,
    /// Asks for the upgrade.
    Upgrade,
    /// An install handler has its download, and works.
    Install {
        /// Position in the manifest.
        index: u8,
        /// Until then; `None` for ever.
        until: Option<SimTime>,
        /// What it returns.
        result: ArtifactResult,
        /// It does not listen to cancellations.
        deaf: bool,
    },
    /// An artifact has its result, which is being stored.
    Settle(Box<Settle>),
}

/// The end of an artifact on its way into storage.
#[derive(Debug)]
pub(super) struct Settle {
    /// Position in the manifest.
    index: u8,
    result: ArtifactResult,
    /// What it asked for.
    firmware: FirmwareVersion,
    /// A main artifact after its test boot: the probation record goes last.
    reconciled: bool,
    at_boot: bool,
    part: Part,
}

/// Which record is being written; the order is what recovery relies on (protocol 7.4).
#[derive(Debug)]
enum Part {
    Version,
    Attempt { revision: u8 },
    Probation,
}

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
            self.settle(
                Settle {
                    index: verdict.index,
                    result: verdict.result,
                    firmware: verdict.firmware,
                    reconciled: true,
                    at_boot: verdict.at_boot,
                    part: Part::Version,
                },
                now,
            );
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

    fn store_attempt(&mut self, step: Step, body: RecordBody, now: SimTime) {
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
    fn is_stale(&self) -> bool {
        let current = self.generation();
        self.memory.work.as_ref().is_some_and(|work| work.generation != current)
    }

    /// The body as it will be once an artifact has its result.
    fn projection(&self, index: u8, result: ArtifactResult) -> Option<RecordBody> {
        let attempt = self.memory.attempt.as_ref()?;
        let mut body = attempt.projection(index, result);
        if self.has(Defect::LeaveRestPending)
            && let (RecordBody::Results { results, .. }, Some(known)) = (&mut body, attempt.results())
        {
            *results = *known;
            results.set(index, result);
        }
        Some(body)
    }

    fn generation(&self) -> u32 {
        self.memory.attempt.as_ref().map_or(0, |attempt| attempt.generation)
    }

    /// A handler has returned.
    pub(super) fn on_returned(
        &mut self,
        index: u8,
        result: ArtifactResult,
        reason: Option<FailureReason>,
        now: SimTime,
        out: &mut Outputs,
    ) {
        if let Some(attempt) = &self.memory.attempt {
            out.push(DeviceOutput::Observed(Observation::HandlerReturned {
                attempt: attempt.id,
                index: usize::from(index),
                result,
            }));
        }
        self.log(Severity::INFO, "update", format!("artifact {index}: {result}"), now, out);
        if self.is_stale() {
            self.memory.work = None;
            self.work_on(now, out);
            return;
        }
        if self.has(Defect::RunHandlerTwice)
            && let Some(attempt) = self.memory.attempt.as_mut().filter(|attempt| attempt.revision == 0)
            && let Some(artifact) = attempt
                .manifest
                .as_ref()
                .map(|artifacts| artifacts[usize::from(index)].clone())
        {
            attempt.revision = 1;
            return self.call_handler(index, &artifact, now, out);
        }
        let manifest = self.memory.attempt.as_ref().and_then(|attempt| attempt.manifest.as_ref());
        let firmware = manifest
            .map(|artifacts| artifacts[usize::from(index)].firmware())
            .expect("a handler runs only with a manifest in RAM");
        if result == ArtifactResult::Failed {
            self.shown.reason = reason;
        } else {
            self.shown.reason = self.shown.reason.or(reason);
        }
        if self.has(Defect::ReportBeforeDurable)
            && let (Some(attempt), Some(body)) = (&self.memory.attempt, self.projection(index, result))
        {
            let (results, complete) = report(attempt.id, &body);
            self.memory.outbox.put(results, complete);
            self.publish_outbox(now, out);
        }
        self.settle(Settle::new(index, result, firmware), now);
    }

    fn settle(&mut self, settle: Settle, now: SimTime) {
        if settle.result == ArtifactResult::Succeeded && !self.has(Defect::ForgetVersionRecord) {
            let key = RecordKey::Version(settle.firmware.slug.clone());
            let content = encode_version(&settle.firmware.version);
            self.flash_for(Step::Settle(Box::new(settle)), Stretch::Store { key, content }, now);
        } else {
            self.settle_attempt(Box::new(settle), now);
        }
    }

    fn settle_attempt(&mut self, mut settle: Box<Settle>, now: SimTime) {
        let (Some(attempt), Some(body)) = (&self.memory.attempt, self.projection(settle.index, settle.result)) else {
            return;
        };
        settle.part = Part::Attempt {
            revision: attempt.revision,
        };
        self.store_attempt(Step::Settle(settle), body, now);
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

    fn on_ended(&mut self, at_boot: bool, out: &mut Outputs) {
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
                succeeded.clear();
            }
        }
        self.memory.outbox.put(results, complete);
        self.publish_outbox(now, out);
    }

    fn on_settled(&mut self, mut settle: Box<Settle>, now: SimTime, out: &mut Outputs) {
        let current = self.memory.attempt.as_ref().map_or(0, |attempt| attempt.revision);
        match settle.part {
            Part::Version => {
                if !settle.reconciled && settle.firmware.slug != self.config.main {
                    out.push(DeviceOutput::Observed(Observation::Installed {
                        firmware: settle.firmware.clone(),
                    }));
                }
                if settle.reconciled && !self.config.sdk.stores_before_deleting() {
                    settle.part = Part::Probation;
                    self.flash_for(Step::Settle(settle), delete_probation(), now);
                } else {
                    self.settle_attempt(settle, now);
                }
            }
            Part::Probation if settle.probation_first(self.config.sdk) => self.settle_attempt(settle, now),
            // Other results changed during the write: once more, without running the handler again.
            Part::Attempt { revision } if revision != current => self.settle_attempt(settle, now),
            Part::Attempt { .. } if settle.reconciled && !settle.probation_first(self.config.sdk) => {
                settle.part = Part::Probation;
                self.flash_for(Step::Settle(settle), delete_probation(), now);
            }
            Part::Attempt { .. } | Part::Probation => self.commit(&settle, out),
        }
    }

    /// The result is durable: RAM follows, and a report.
    fn commit(&mut self, settle: &Settle, out: &mut Outputs) {
        let projection = self.projection(settle.index, settle.result);
        let (Some(attempt), Some(body)) = (&mut self.memory.attempt, projection) else {
            return;
        };
        attempt.recorded = true;
        attempt.body = body;
        attempt.on_probation = attempt.on_probation.filter(|_| !settle.reconciled);
        let more = attempt.rebuilt && attempt.manifest.is_none() && !self.config.quirks.forgets_packages_behind_main;
        let over = !more && attempt.results().is_none_or(|results| results.first_pending().is_none());
        if over {
            self.on_ended(settle.at_boot, out);
        } else {
            self.shown.reason = None;
            self.show_between(settle.at_boot, out);
        }
        self.memory.report_wanted = true;
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

impl Settle {
    /// The probation record has gone before the result is stored.
    fn probation_first(&self, sdk: Sdk) -> bool {
        self.reconciled && self.result == ArtifactResult::Succeeded && !sdk.stores_before_deleting()
    }

    fn new(index: u8, result: ArtifactResult, firmware: FirmwareVersion) -> Settle {
        Settle {
            index,
            result,
            firmware,
            reconciled: false,
            at_boot: false,
            part: Part::Version,
        }
    }
}

fn delete_probation() -> Stretch {
    Stretch::Delete {
        key: RecordKey::Probation,
    }
}
