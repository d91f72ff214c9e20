//! History: what happened to every device and attempt, when, and by what. It follows from the records, so it is durable as they are;
//! where nobody looks at it (in virtual time) it is not kept.

use crate::model::{ArtifactResult, AttemptError, AttemptId, DeviceId, StateReason, Tags, UpdateState};
use crate::wire::api::HistoryEntry;

use super::Server;
use super::attempts::{AttemptIndex, Attempts, Results};
use super::record::{CohortNumber, DeviceNumber, Record, Stamp};

/// What happened to devices and attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct History {
    kept: bool,
    /// By attempt, oldest first.
    attempts: Vec<Vec<(Stamp, AttemptNote)>>,
    /// By device, oldest first.
    devices: Vec<Vec<(Stamp, DeviceNote)>>,
}

/// Something that happened to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptNote {
    Created,
    ManifestSent,
    CancelRequested,
    ResultsKnown(Results),
    Refused(u64),
    Ended(UpdateState, StateReason),
}

/// Something that happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeviceNote {
    Registered(Tags),
    Tagged(Tags),
    Joined(CohortNumber),
    Left(CohortNumber),
}

impl History {
    pub fn new(kept: bool) -> Self {
        History {
            kept,
            attempts: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// Notes a change that has just been made. What is noted of an attempt is bounded by its artifacts, of a device by what people ask.
    pub fn note(&mut self, stamp: Stamp, record: &Record, attempts: &Attempts) {
        if !self.kept {
            return;
        }
        match record {
            Record::DeviceRegistered { tags, .. } => self.devices.push(vec![(stamp, DeviceNote::Registered(tags.clone()))]),
            Record::DeviceTagged { device, tags } => self.of_device(*device, stamp, DeviceNote::Tagged(tags.clone())),
            Record::CohortJoined { device, cohort } => self.of_device(*device, stamp, DeviceNote::Joined(*cohort)),
            Record::CohortLeft { device, cohort } => self.of_device(*device, stamp, DeviceNote::Left(*cohort)),
            Record::AttemptCreated { .. } => self.attempts.push(vec![(stamp, AttemptNote::Created)]),
            Record::ManifestSent { attempt } => self.of_attempt(*attempt, attempts, stamp, AttemptNote::ManifestSent),
            Record::CancelRequested { attempt } => self.of_attempt(*attempt, attempts, stamp, AttemptNote::CancelRequested),
            Record::ResultsKnown { attempt, results } => {
                self.of_attempt(*attempt, attempts, stamp, AttemptNote::ResultsKnown(*results));
            }
            Record::AttemptRefused { attempt, error } => self.of_attempt(*attempt, attempts, stamp, AttemptNote::Refused(*error)),
            Record::AttemptEnded { attempt, state, reason } => {
                self.of_attempt(*attempt, attempts, stamp, AttemptNote::Ended(*state, *reason));
            }
            Record::FirmwareCreated { .. }
            | Record::ImageStored { .. }
            | Record::VersionCreated { .. }
            | Record::VersionDeleted { .. }
            | Record::SessionSeen { .. }
            | Record::CohortCreated { .. }
            | Record::CohortChanged { .. }
            | Record::DeploymentCreated { .. }
            | Record::DeploymentCancelled { .. }
            | Record::DeploymentPaused { .. }
            | Record::DeploymentResumed { .. } => {}
        }
    }

    /// What happened to an attempt, oldest first.
    pub fn attempt(&self, index: AttemptIndex) -> &[(Stamp, AttemptNote)] {
        self.attempts.get(index.at()).map_or(&[], Vec::as_slice)
    }

    /// What happened to a device, its attempts left out, oldest first.
    pub fn device(&self, number: DeviceNumber) -> &[(Stamp, DeviceNote)] {
        self.devices.get(number.0 as usize).map_or(&[], Vec::as_slice)
    }

    fn of_device(&mut self, device: DeviceNumber, stamp: Stamp, note: DeviceNote) {
        self.devices[device.0 as usize].push((stamp, note));
    }

    fn of_attempt(&mut self, attempt: AttemptId, attempts: &Attempts, stamp: Stamp, note: AttemptNote) {
        if let Some(index) = attempts.find(attempt) {
            self.attempts[index.at()].push((stamp, note));
        }
    }
}

impl Server {
    /// What happened to an attempt, oldest first; `None` if there is no such attempt. Empty where no history is kept.
    pub fn attempt_history(&self, id: AttemptId) -> Option<Vec<HistoryEntry>> {
        Some(self.entries_of(self.ledger.attempts.find(id)?))
    }

    /// What happened to a device and its attempts, oldest first; `None` if there is no such device.
    pub fn device_history(&self, id: &DeviceId) -> Option<Vec<HistoryEntry>> {
        let number = self.ledger.registry.find(id)?;
        let own = self.ledger.history.device(number).iter();
        let mut entries: Vec<_> = own.map(|(stamp, note)| self.device_entry(*stamp, note)).collect();
        let attempts = &self.ledger.registry.at(number).attempts;
        entries.extend(attempts.iter().flat_map(|&index| self.entries_of(index)));
        entries.sort_by_key(|entry| entry.at_ms);
        Some(entries)
    }

    fn entries_of(&self, index: AttemptIndex) -> Vec<HistoryEntry> {
        let notes = self.ledger.history.attempt(index).iter();
        notes.map(|(stamp, note)| self.attempt_entry(index, *stamp, *note)).collect()
    }

    fn attempt_entry(&self, index: AttemptIndex, stamp: Stamp, note: AttemptNote) -> HistoryEntry {
        let attempt = self.ledger.attempts.at(index);
        let deployment = self.ledger.deployments.at(attempt.deployment);
        let (what, state, why) = match note {
            AttemptNote::Created => {
                let why = format!("deployment `{}` reached the device", deployment.name);
                ("created", Some(UpdateState::Pending), Some(why))
            }
            AttemptNote::ManifestSent => ("manifest-sent", Some(UpdateState::InProgress), None),
            AttemptNote::CancelRequested => ("cancel-requested", None, None),
            AttemptNote::ResultsKnown(results) => ("results", None, Some(told(results, deployment.packages.len()))),
            AttemptNote::Refused(error) => ("refused", None, Some(refusal(error))),
            AttemptNote::Ended(state, reason) => ("ended", Some(state), Some(reason.word().to_owned())),
        };
        HistoryEntry {
            attempt: Some(attempt.id),
            ..entry(stamp, what, state, why)
        }
    }

    fn device_entry(&self, stamp: Stamp, note: &DeviceNote) -> HistoryEntry {
        let cohort = |number: &CohortNumber| Some(self.ledger.cohorts.at(*number).name.to_string());
        let (what, why) = match note {
            DeviceNote::Registered(tags) => ("registered", listed(tags)),
            DeviceNote::Tagged(tags) => ("tagged", listed(tags)),
            DeviceNote::Joined(number) => ("joined", cohort(number)),
            DeviceNote::Left(number) => ("left", cohort(number)),
        };
        entry(stamp, what, None, why)
    }
}

fn entry(stamp: Stamp, what: &str, state: Option<UpdateState>, why: Option<String>) -> HistoryEntry {
    HistoryEntry {
        at_ms: stamp.at_ms,
        by: stamp.by.word().to_owned(),
        attempt: None,
        what: what.to_owned(),
        state,
        why,
    }
}

/// `0 succeeded, 1 failed, 2 pending`.
fn told(results: Results, artifacts: usize) -> String {
    let result = |index| results.of(index).map_or("pending", ArtifactResult::word);
    let each: Vec<_> = (0..artifacts).map(|index| format!("{index} {}", result(index))).collect();
    each.join(", ")
}

fn refusal(error: u64) -> String {
    match AttemptError::from_number(error) {
        Some(known) => format!("error {error}: {known}"),
        None => format!("error {error}"),
    }
}

/// `region=west, rev=a`; nothing if there are none.
fn listed(tags: &Tags) -> Option<String> {
    let each: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (!each.is_empty()).then(|| each.join(", "))
}
