//! What the recorder knows at a moment, for reports and progress lines.

use crate::model::{
    AttemptId, AttemptResult, CohortName, DeploymentName, DeviceId, DeviceIndex, FailureReason, FirmwareVersion, Phase, Session,
    Tags, UpdateState,
};
use crate::time::SimTime;

use super::board::{Note, States};
use super::group::Group;
use super::matrix::Matrix;
use super::recorder::Recorder;
use super::roster::{AttemptRow, Row};
use super::series::Series;

/// One device as it stands.
#[derive(Clone, Debug)]
pub struct DeviceSnapshot<'a> {
    /// Which device.
    pub index: DeviceIndex,
    /// Its id.
    pub id: &'a DeviceId,
    /// Its fleet.
    pub fleet: &'a str,
    /// Its tags.
    pub tags: &'a Tags,
    /// Cohorts that it is in, `all` left out, by name.
    pub cohorts: Vec<&'a CohortName>,
    /// What it runs; the first is main.
    pub runs: Vec<&'a FirmwareVersion>,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub phase_since: SimTime,
    /// How it stands to the server.
    pub session: Session,
    /// State in the newest deployment that reached it.
    pub state: UpdateState,
    /// Attempts, oldest first.
    pub attempts: Vec<AttemptSnapshot<'a>>,
}

/// One attempt as it stands.
#[derive(Clone, Debug)]
pub struct AttemptSnapshot<'a> {
    /// Which attempt.
    pub id: AttemptId,
    /// Its deployment, once the server has told of it.
    pub deployment: Option<&'a DeploymentName>,
    /// State at the server.
    pub state: UpdateState,
    /// How it ended at the device.
    pub result: Option<AttemptResult>,
    /// Why it did not succeed.
    pub reason: Option<FailureReason>,
}

impl Recorder {
    /// Number of devices.
    pub fn device_count(&self) -> u64 {
        self.roster.split.count(self.roster.rows.len()) as u64
    }

    /// Devices in a phase.
    pub fn in_phase(&self, phase: Phase) -> u64 {
        self.roster.by_phase[phase as usize]
    }

    /// Devices in a session.
    pub fn in_session(&self, session: Session) -> u64 {
        self.roster.by_session[session as usize]
    }

    /// Devices with this state in the newest deployment that reached them.
    pub fn in_state(&self, state: UpdateState) -> u64 {
        self.roster.by_state[state as usize]
    }

    /// Figures of all devices.
    pub fn total(&self) -> &Group {
        &self.total
    }

    /// Figures of each fleet, in order of the devices.
    pub fn by_fleet(&self) -> impl Iterator<Item = (&str, &Group)> {
        let figures = match self.fleets.is_empty() {
            // The only fleet is all there is.
            true => std::slice::from_ref(&self.total),
            false => &self.fleets,
        };
        self.roster.fleets.values().iter().map(AsRef::as_ref).zip(figures)
    }

    /// How often each transition was seen of each fleet, in order of the devices; nothing where there is but one.
    pub fn matrices_by_fleet(&self) -> impl Iterator<Item = (&str, &Matrix)> {
        self.roster.fleets.values().iter().map(AsRef::as_ref).zip(&self.matrices)
    }

    /// Figures of each cohort, `all` left out.
    pub fn by_cohort(&self) -> impl Iterator<Item = (&CohortName, &Group)> {
        self.roster.cohorts.values().iter().zip(&self.cohorts)
    }

    /// Devices of each cohort by state, `all` left out; nothing where nobody watches.
    pub fn states_by_cohort(&self) -> impl Iterator<Item = (&CohortName, States)> {
        let names = self.roster.cohorts.values().iter().enumerate();
        let board = self.board.iter();
        board.flat_map(move |board| names.clone().map(|(number, name)| (name, board.states(number as u16))))
    }

    /// Open devices with the moment since when, the longest first; nothing where nobody watches.
    pub fn open_devices(&self) -> impl Iterator<Item = (SimTime, DeviceIndex)> {
        self.board.iter().flat_map(|board| board.open())
    }

    /// Since when a device is open; `None` where nobody watches.
    pub fn open_since(&self, device: DeviceIndex) -> Option<SimTime> {
        self.board.as_ref()?.open_since(device)
    }

    /// What was noted, the last first; nothing where nobody watches.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.board.iter().flat_map(|board| board.notes())
    }

    /// How many notes there ever were; the oldest are forgotten.
    pub fn noted(&self) -> u64 {
        self.board.as_ref().map_or(0, |board| board.noted())
    }

    /// The fault that is on at a device, else the last that struck it since it is open, with the moment; where somebody watches. Of faults
    /// that are on, by their rows, `may_hold` says whether they can be what it waits for.
    pub fn held_by(&self, device: DeviceIndex, may_hold: &dyn Fn(usize) -> bool) -> Option<(&str, Option<SimTime>)> {
        let (fault, struck) = self.board.as_ref()?.held_by(device, may_hold)?;
        let figures = self.faults().get(usize::from(fault))?;
        Some((&figures.name, struck))
    }

    /// Devices whose id begins with `start`, in their order; looks at all of them.
    pub fn starting_with<'a>(&'a self, start: &'a str) -> impl Iterator<Item = DeviceIndex> + 'a {
        self.roster.starting_with(start)
    }

    /// Whether a device is in a cohort, `all` left out.
    pub fn is_in(&self, device: DeviceIndex, cohort: &CohortName) -> bool {
        let number = self.roster.cohorts.find(cohort);
        number.is_some_and(|number| self.roster.rows[device.at()].cohorts.contains(&number))
    }

    /// The series that were asked for.
    pub fn requested(&self) -> &[Series] {
        &self.requested
    }

    /// When the manifest of a device's latest attempt came, if its results are not published yet.
    pub fn update_began(&self, device: DeviceIndex) -> Option<SimTime> {
        self.roster.rows[device.at()]
            .attempts
            .last()
            .and_then(|attempt| attempt.received)
    }

    /// Bytes that each device has used in both directions, with the overhead of TLS and TCP.
    pub fn data_used(&self) -> impl Iterator<Item = u64> {
        let carried = self.counted().map(|device| self.roster.rows[device.at()].carried);
        carried.map(|carried| carried.up + carried.protocol + carried.image)
    }

    /// Every device as it stands.
    pub fn devices(&self) -> impl Iterator<Item = DeviceSnapshot<'_>> {
        self.counted().map(|device| self.device(device))
    }

    /// The devices that are counted, in their order.
    pub(super) fn counted(&self) -> impl Iterator<Item = DeviceIndex> + use<> {
        let split = self.roster.split;
        self.indices().filter(move |device| split.holds(*device))
    }

    /// One device as it stands.
    pub fn device(&self, index: DeviceIndex) -> DeviceSnapshot<'_> {
        let row: &Row = &self.roster.rows[index.at()];
        let mut cohorts: Vec<_> = row
            .cohorts
            .iter()
            .filter_map(|number| self.roster.cohorts.values().get(usize::from(*number)))
            .collect();
        cohorts.sort_unstable();
        DeviceSnapshot {
            index,
            id: self.roster.register.id(index),
            fleet: self
                .roster
                .fleets
                .values()
                .get(usize::from(row.fleet))
                .map_or("", AsRef::as_ref),
            tags: &row.tags,
            cohorts,
            runs: row
                .runs
                .iter()
                .filter_map(|number| self.roster.firmware.values().get(usize::from(*number)))
                .collect(),
            phase: row.phase,
            phase_since: row.phase_since,
            session: row.session,
            state: row.state(),
            attempts: row.attempts.iter().map(|attempt| self.attempt(attempt)).collect(),
        }
    }

    fn attempt(&self, row: &AttemptRow) -> AttemptSnapshot<'_> {
        let names = self.roster.deployments.values();
        AttemptSnapshot {
            id: row.id,
            deployment: row.deployment.and_then(|number| names.get(usize::from(number))),
            state: row.state,
            result: row.result,
            reason: row.reason,
        }
    }
}
