//! The series that every run has: for all devices, for each fleet, for each cohort.

use std::time::Duration;

use crate::model::{AttemptResult, ConnectResult, Phase};

use super::trend::Trend;

/// Counters and trends of a set of devices.
#[derive(Clone, Debug, Default)]
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
    /// Manifest first received until the final result was published.
    pub update_time: Trend,
    /// Attempt due until the server had its end; those that are open are not in it.
    pub deploy_time: Trend,
    /// Connection first wanted until the OTA SUBACK.
    pub connect_time: Trend,
    /// The same from the try that succeeded.
    pub connect_time_raw: Trend,
    /// Visits to phases, by [`Phase`]; those at rest are not timed.
    pub phase_time: [Trend; Phase::ALL.len()],
}

/// One value for the groups of a device.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    Attempt(AttemptResult),
    Rollback,
    Connect(ConnectResult),
    Transition,
    Fault { done: bool },
    UpdateTime(Duration),
    DeployTime(Duration),
    ConnectTime { planned: Duration, raw: Duration },
    PhaseTime(Phase, Duration),
}

impl Group {
    pub(super) fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Attempt(result) => self.attempts[result as usize] += 1,
            Entry::Rollback => self.rollbacks += 1,
            Entry::Connect(result) => self.connects[result as usize] += 1,
            Entry::Transition => self.transitions += 1,
            Entry::Fault { done: true } => self.faults_done += 1,
            Entry::Fault { done: false } => self.faults_not_done += 1,
            Entry::UpdateTime(time) => self.update_time.record(time),
            Entry::DeployTime(time) => self.deploy_time.record(time),
            Entry::ConnectTime { planned, raw } => {
                self.connect_time.record(planned);
                self.connect_time_raw.record(raw);
            }
            Entry::PhaseTime(phase, time) => self.phase_time[phase as usize].record(time),
        }
    }
}

impl Entry {
    /// True for times, which leave the warm-up out.
    pub(super) const fn is_time(self) -> bool {
        match self {
            Entry::UpdateTime(_) | Entry::DeployTime(_) | Entry::ConnectTime { .. } | Entry::PhaseTime(..) => true,
            Entry::Attempt(_) | Entry::Rollback | Entry::Connect(_) | Entry::Transition | Entry::Fault { .. } => false,
        }
    }
}
