//! The series that every run has: for all devices, for each fleet, for each cohort.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{AttemptResult, BootReason, ConnectResult, Phase};

use super::trend::Trend;

/// Counters and trends of a set of devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Group {
    /// Ended attempts, by [`AttemptResult`].
    pub attempts: [u64; AttemptResult::ALL.len()],
    /// Returns to the old image.
    pub rollbacks: u64,
    /// Tries to connect, by [`ConnectResult`].
    pub connects: [u64; ConnectResult::ALL.len()],
    /// Phase changes.
    pub transitions: u64,
    /// Happenings of faults that came about.
    pub faults_done: u64,
    /// Happenings of faults that did not, and strikes that chance spared.
    pub faults_not_done: u64,
    /// Manifests sent for the first time.
    pub manifests: u64,
    /// Manifests sent again.
    pub manifests_again: u64,
    /// Messages that devices handed to their transport.
    pub messages_up: u64,
    /// Messages that devices were given.
    pub messages_down: u64,
    /// Flash pages erased.
    pub flash_erases: u64,
    /// Flash writes of at most 512 bytes, and records written or deleted.
    pub flash_writes: u64,
    /// Image requests.
    pub requests: u64,
    /// Downloads that began to wait for another try.
    pub retries: u64,
    /// Requests that went on by Range.
    pub resumes: u64,
    /// Requests from byte 0 after a byte of that artifact had come.
    pub restarts: u64,
    /// Boots, by [`BootReason`].
    pub boots: [u64; BootReason::ALL.len()],
    /// Bytes on the wire towards the server.
    pub bytes_up: u64,
    /// Bytes on the wire towards devices.
    pub bytes_down: u64,
    /// Of these, bytes of images.
    pub image_bytes: u64,
    /// Of these, bytes that came for nothing.
    pub wasted_bytes: u64,
    /// Manifest first received until the final result was published.
    pub update_time: Trend,
    /// Attempt due until the server had its end; those that are open are not in it.
    pub deploy_time: Trend,
    /// Connection first wanted until the OTA SUBACK.
    pub connect_time: Trend,
    /// The same from the try that succeeded.
    pub connect_time_raw: Trend,
    /// Bytes a second of each artifact, from its first request to its last byte.
    pub download_rate: Rates,
    /// Visits to phases, by [`Phase`]; those at rest are not timed.
    pub phase_time: [Trend; Phase::ALL.len()],
}

/// A distribution of bytes a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rates(pub Trend);

impl Default for Rates {
    fn default() -> Rates {
        Rates(Trend::of_amounts())
    }
}

/// Bytes of one sort on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bytes {
    Up(u64),
    Protocol(u64),
    Image(u64),
    Wasted(u64),
}

/// One value for the groups of a device.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    Attempt(AttemptResult),
    Rollback,
    Connect(ConnectResult),
    Transition,
    Fault {
        done: bool,
    },
    Manifest {
        repeat: bool,
    },
    Message {
        up: bool,
    },
    Flash {
        erase: bool,
        count: u64,
    },
    Request,
    RequestTime {
        planned: Duration,
        raw: Duration,
    },
    FirstByte {
        planned: Duration,
        raw: Duration,
    },
    Retry,
    Resume,
    Restart,
    Boot(BootReason),
    Bytes(Bytes),
    UpdateTime(Duration),
    UpdateTimeRaw(Duration),
    DeployTime(Duration),
    DeployTimeRaw(Duration),
    /// Bytes a second.
    DownloadRate(u64),
    DownloadRateRaw(u64),
    ConnectTime {
        planned: Duration,
        raw: Duration,
    },
    PhaseTime {
        phase: Phase,
        /// Without the time that power was off.
        spent: Duration,
        raw: Duration,
    },
}

impl Group {
    /// Adds the figures of other devices.
    pub(super) fn add(&mut self, other: &Group) {
        let sums = |sums: &mut [u64], more: &[u64]| sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        sums(&mut self.attempts, &other.attempts);
        sums(&mut self.connects, &other.connects);
        sums(&mut self.boots, &other.boots);
        let Group {
            rollbacks,
            transitions,
            faults_done,
            faults_not_done,
            manifests,
            manifests_again,
            messages_up,
            messages_down,
            flash_erases,
            flash_writes,
            requests,
            retries,
            resumes,
            restarts,
            bytes_up,
            bytes_down,
            image_bytes,
            wasted_bytes,
            ..
        } = other;
        self.rollbacks += rollbacks;
        self.transitions += transitions;
        self.faults_done += faults_done;
        self.faults_not_done += faults_not_done;
        self.manifests += manifests;
        self.manifests_again += manifests_again;
        self.messages_up += messages_up;
        self.messages_down += messages_down;
        self.flash_erases += flash_erases;
        self.flash_writes += flash_writes;
        self.requests += requests;
        self.retries += retries;
        self.resumes += resumes;
        self.restarts += restarts;
        self.bytes_up += bytes_up;
        self.bytes_down += bytes_down;
        self.image_bytes += image_bytes;
        self.wasted_bytes += wasted_bytes;
        self.update_time.add(&other.update_time);
        self.deploy_time.add(&other.deploy_time);
        self.connect_time.add(&other.connect_time);
        self.connect_time_raw.add(&other.connect_time_raw);
        self.download_rate.0.add(&other.download_rate.0);
        let visits = self.phase_time.iter_mut().zip(&other.phase_time);
        visits.for_each(|(sum, more)| sum.add(more));
    }

    pub(super) fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Attempt(result) => self.attempts[result as usize] += 1,
            Entry::Rollback => self.rollbacks += 1,
            Entry::Connect(result) => self.connects[result as usize] += 1,
            Entry::Transition => self.transitions += 1,
            Entry::Fault { done: true } => self.faults_done += 1,
            Entry::Fault { done: false } => self.faults_not_done += 1,
            Entry::Manifest { repeat: false } => self.manifests += 1,
            Entry::Manifest { repeat: true } => self.manifests_again += 1,
            Entry::Message { up: true } => self.messages_up += 1,
            Entry::Message { up: false } => self.messages_down += 1,
            Entry::Flash { erase: true, count } => self.flash_erases += count,
            Entry::Flash { erase: false, count } => self.flash_writes += count,
            Entry::Request => self.requests += 1,
            Entry::Retry => self.retries += 1,
            Entry::Resume => self.resumes += 1,
            Entry::Restart => self.restarts += 1,
            Entry::Boot(why) => self.boots[why as usize] += 1,
            Entry::Bytes(Bytes::Up(bytes)) => self.bytes_up += bytes,
            Entry::Bytes(Bytes::Protocol(bytes)) => self.bytes_down += bytes,
            Entry::Bytes(Bytes::Image(bytes)) => {
                self.bytes_down += bytes;
                self.image_bytes += bytes;
            }
            Entry::Bytes(Bytes::Wasted(bytes)) => self.wasted_bytes += bytes,
            // Series that are asked for have them.
            Entry::RequestTime { .. }
            | Entry::FirstByte { .. }
            | Entry::DownloadRateRaw(_)
            | Entry::UpdateTimeRaw(_)
            | Entry::DeployTimeRaw(_) => {}
            Entry::DownloadRate(rate) => self.download_rate.0.record_amount(rate),
            Entry::UpdateTime(time) => self.update_time.record(time),
            Entry::DeployTime(time) => self.deploy_time.record(time),
            Entry::ConnectTime { planned, raw } => {
                self.connect_time.record(planned);
                self.connect_time_raw.record(raw);
            }
            Entry::PhaseTime { phase, spent, raw: _ } => self.phase_time[phase as usize].record(spent),
        }
    }
}

impl Entry {
    /// True for times, which leave the warm-up out.
    pub(super) const fn is_time(self) -> bool {
        match self {
            Entry::UpdateTime(_)
            | Entry::UpdateTimeRaw(_)
            | Entry::DeployTime(_)
            | Entry::DeployTimeRaw(_)
            | Entry::DownloadRate(_)
            | Entry::DownloadRateRaw(_)
            | Entry::ConnectTime { .. }
            | Entry::PhaseTime { .. }
            | Entry::RequestTime { .. }
            | Entry::FirstByte { .. } => true,
            Entry::Attempt(_)
            | Entry::Rollback
            | Entry::Connect(_)
            | Entry::Transition
            | Entry::Fault { .. }
            | Entry::Manifest { .. }
            | Entry::Message { .. }
            | Entry::Flash { .. }
            | Entry::Request
            | Entry::Retry
            | Entry::Resume
            | Entry::Restart
            | Entry::Boot(_)
            | Entry::Bytes(_) => false,
        }
    }
}
