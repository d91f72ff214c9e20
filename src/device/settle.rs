//! The end of an artifact: its handler has returned, and its result goes into storage record by record, in the order that recovery
//! relies on (protocol 7.4).

use super::Device;
use super::attempt::report;
use super::defect::Defect;
use super::io::{DeviceOutput, Outputs};
use super::records::{RecordBody, encode_version};
use super::restore::Verdict;
use super::sdk::Sdk;
use super::step::Step;
use super::stretch::Stretch;
use crate::model::{ArtifactResult, FailureReason, FirmwareVersion, Observation, RecordKey};
use crate::time::SimTime;
use crate::wire::config::Severity;

/// The end of an artifact on its way into storage.
#[derive(Debug)]
pub(super) struct Settle {
    /// Position in the manifest.
    pub(super) index: u8,
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
        self.log(Severity::INFO, "update", || format!("artifact {index}: {result}"), now, out);
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

    pub(super) fn settle(&mut self, settle: Settle, now: SimTime) {
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

    pub(super) fn on_settled(&mut self, mut settle: Box<Settle>, now: SimTime, out: &mut Outputs) {
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
}

impl Settle {
    /// The result of a main artifact that its test boot has decided.
    pub(super) fn reconciled(verdict: Verdict) -> Settle {
        Settle {
            reconciled: true,
            at_boot: verdict.at_boot,
            ..Settle::new(verdict.index, verdict.result, verdict.firmware)
        }
    }

    /// The probation record has gone before the result is stored.
    fn probation_first(&self, sdk: Sdk) -> bool {
        self.reconciled && self.result == ArtifactResult::Succeeded && !sdk.stores_before_deleting()
    }

    pub(super) fn new(index: u8, result: ArtifactResult, firmware: FirmwareVersion) -> Settle {
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

pub(super) fn delete_probation() -> Stretch {
    Stretch::Delete {
        key: RecordKey::Probation,
    }
}
