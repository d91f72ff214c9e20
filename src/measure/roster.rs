//! The devices of a run as the recorder knows them: columns that change, names as numbers, counts that follow every change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::memory;
use crate::model::{
    AttemptId, AttemptResult, Carried, CohortName, DeploymentName, DeviceIndex, FailureReason, Few, FirmwareVersion, Key, Phase,
    Session, Split, Tags, UpdateState,
};
use crate::time::SimTime;

use super::census::{Census, CensusDevice};
use super::fault::FaultFigures;
use super::fetching::Fetching;
use super::places::Register;
use super::seconds::Stand;

/// Most attempts that are remembered of one device; beyond, the oldest that has ended is forgotten.
const ATTEMPTS_MAX: usize = 64;

/// Gives names small numbers in the order of their appearance.
#[derive(Debug)]
pub(super) struct Names<T> {
    values: Vec<T>,
    numbers: BTreeMap<T, u16>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Names {
            values: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }
}

impl<T: Ord + Clone> Names<T> {
    /// The number of `name`, given to it if it has none. Past 65,535 names all further ones share the last number.
    pub(super) fn number(&mut self, name: &T) -> u16 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u16::try_from(self.values.len()).unwrap_or(u16::MAX);
        if number < u16::MAX {
            self.values.push(name.clone());
            self.numbers.insert(name.clone(), number);
        }
        number
    }

    /// The number of `name`, if it has one.
    pub(super) fn find(&self, name: &T) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}

/// One attempt of one device: what the device showed and what the server told, which arrive independently of each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AttemptRow {
    pub(super) id: AttemptId,
    /// Known once the server has told of it.
    pub(super) deployment: Option<u16>,
    pub(super) state: UpdateState,
    /// When it was due: created, or the device's planned first power-on if that is later.
    pub(super) due: SimTime,
    /// When its manifest first came; taken away when its final result was published.
    pub(super) received: Option<SimTime>,
    pub(super) result: Option<AttemptResult>,
    pub(super) reason: Option<FailureReason>,
    /// The server closed it by itself: no result was to come.
    pub(super) closed_by_server: bool,
}

impl AttemptRow {
    pub(super) fn open_at_server(&self) -> bool {
        self.deployment.is_some() && !self.state.ended()
    }
}

/// One device.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) fleet: u16,
    pub(super) tags: Arc<Tags>,
    pub(super) cohorts: Few<u16>,
    /// The first is main.
    pub(super) runs: Few<u16>,
    pub(super) boot_at: SimTime,
    pub(super) phase: Phase,
    pub(super) session: Session,
    /// Since when the device is in its phase; for the visit's time, see `clock`.
    pub(super) phase_since: SimTime,
    pub(super) clock: VisitClock,
    /// Number of transitions so far.
    pub(super) sequence: u32,
    /// The attempt that the device showed last.
    pub(super) current: Option<AttemptId>,
    /// By id.
    pub(super) attempts: Few<AttemptRow>,
    /// The artifact that it fetches, or fetched last.
    pub(super) fetching: Option<Box<Fetching>>,
    pub(super) carried: Carried,
    /// A record of it was damaged, and no transition followed yet.
    pub(super) damaged: bool,
    /// Counted in [`Roster::open`].
    open: bool,
}

/// Measures one visit to a phase, time without power left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct VisitClock {
    /// Nanoseconds with power before the last loss of it.
    spent: u64,
    /// `None` while there is no power.
    running_since: Option<SimTime>,
}

impl VisitClock {
    /// Ends the visit, begins the next, and gives the time spent in nanoseconds.
    pub(super) fn turn(&mut self, at: SimTime) -> u64 {
        let running = self.running_since.map_or(0, |since| at.since(since).as_nanos() as u64);
        let spent = self.spent + running;
        self.spent = 0;
        self.running_since = self.running_since.map(|_| at);
        spent
    }

    pub(super) fn power(&mut self, on: bool, at: SimTime) {
        match (on, self.running_since) {
            (true, None) => self.running_since = Some(at),
            (false, Some(since)) => {
                self.spent += at.since(since).as_nanos() as u64;
                self.running_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
}

impl Row {
    /// A device that nothing has happened to.
    pub(super) fn at_rest(tags: Arc<Tags>) -> Row {
        Row {
            fleet: 0,
            tags,
            cohorts: Few::None,
            runs: Few::None,
            boot_at: SimTime::ZERO,
            phase: Phase::Idle,
            session: Session::Off,
            phase_since: SimTime::ZERO,
            clock: VisitClock::default(),
            sequence: 0,
            current: None,
            attempts: Few::None,
            fetching: None,
            carried: Carried::default(),
            damaged: false,
            open: false,
        }
    }

    /// The attempt of the newest deployment that reached the device.
    pub(super) fn newest(&self) -> Option<&AttemptRow> {
        self.attempts.iter().rev().find(|attempt| attempt.deployment.is_some())
    }

    fn stand(&self) -> Stand {
        Stand {
            phase: self.phase,
            session: self.session,
            state: self.state(),
        }
    }

    pub(super) fn state(&self) -> UpdateState {
        self.newest().map_or(UpdateState::None, |attempt| attempt.state)
    }

    pub(super) fn attempt(&self, id: AttemptId) -> Option<&AttemptRow> {
        let at = self.attempts.binary_search_by_key(&id, |attempt| attempt.id).ok()?;
        Some(&self.attempts[at])
    }

    /// The row of an attempt, made if it is new.
    pub(super) fn attempt_mut(&mut self, id: AttemptId) -> &mut AttemptRow {
        let at = match self.attempts.binary_search_by_key(&id, |attempt| attempt.id) {
            Ok(at) => at,
            Err(at) => {
                let forgotten = if self.attempts.len() < ATTEMPTS_MAX {
                    None
                } else {
                    self.attempts.iter().position(|attempt| !attempt.open_at_server())
                };
                let at = match forgotten {
                    Some(old) => {
                        self.attempts.remove(old);
                        at - usize::from(old < at)
                    }
                    None => at,
                };
                let fresh = AttemptRow {
                    id,
                    deployment: None,
                    state: UpdateState::None,
                    due: SimTime::ZERO,
                    received: None,
                    result: None,
                    reason: None,
                    closed_by_server: false,
                };
                self.attempts.insert(at, fresh);
                at
            }
        };
        &mut self.attempts[at]
    }

    pub(super) fn is_open(&self) -> bool {
        !self.phase.at_rest() || self.attempts.iter().any(AttemptRow::open_at_server)
    }
}

/// All devices, their names, and counts over them.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) rows: Vec<Row>,
    /// Ids of `rows`.
    pub(super) register: Register,
    pub(super) fleets: Names<Arc<str>>,
    pub(super) cohorts: Names<CohortName>,
    pub(super) firmware: Names<FirmwareVersion>,
    pub(super) deployments: Names<DeploymentName>,
    /// Faults in the order of the plan.
    pub(super) faults: Vec<FaultFigures>,
    /// Which of the devices are counted.
    pub(super) split: Split,
    pub(super) by_phase: [u64; Phase::ALL.len()],
    pub(super) by_session: [u64; Session::ALL.len()],
    pub(super) by_state: [u64; UpdateState::ALL.len()],
    pub(super) open: u64,
}

impl Roster {
    pub(super) fn new(census: Census) -> Self {
        let mut roster = Roster {
            register: Register::new(census.devices.iter().map(|device| device.id.clone())),
            ..Roster::default()
        };
        for cohort in &census.cohorts {
            roster.cohorts.number(cohort);
        }
        roster.rows = memory::column(census.devices.len());
        for device in census.devices {
            let row = roster.row_of(device);
            roster.rows.push(row);
        }
        roster.count_anew();
        roster
    }

    /// Counts every device that is counted, as it stands.
    pub(super) fn count_anew(&mut self) {
        self.by_phase = [0; Phase::ALL.len()];
        self.by_session = [0; Session::ALL.len()];
        self.by_state = [0; UpdateState::ALL.len()];
        self.open = 0;
        let split = self.split;
        let rows = (0..).map(DeviceIndex).zip(&mut self.rows);
        for (_, row) in rows.filter(|(device, _)| split.holds(*device)) {
            self.by_phase[row.phase as usize] += 1;
            self.by_session[row.session as usize] += 1;
            self.by_state[row.state() as usize] += 1;
            row.open = row.is_open();
            self.open += u64::from(row.open);
        }
    }

    fn row_of(&mut self, device: CensusDevice) -> Row {
        Row {
            fleet: self.fleets.number(&device.fleet),
            runs: device.runs.iter().map(|firmware| self.firmware.number(firmware)).collect(),
            boot_at: device.boot_at,
            ..Row::at_rest(device.tags)
        }
    }

    /// Gives numbers to names that a measure asks for, since what they name may appear only during the run.
    pub(super) fn learn(&mut self, key: &Key, names: &[String]) {
        for name in names.iter().map(String::as_str) {
            match key {
                Key::Cohort if name != CohortName::all().as_str() => {
                    self.cohorts.number(&name.into());
                }
                Key::Step => {
                    self.deployments.number(&name.into());
                }
                Key::Runs => {
                    if let Ok(version) = name.parse() {
                        self.firmware.number(&version);
                    }
                }
                Key::Cohort | Key::Fleet | Key::Device | Key::Tag(_) | Key::Session | Key::Phase | Key::State => {}
            }
        }
    }

    /// Positions of the faults that `wanted` picks.
    pub(super) fn faults_by(&self, wanted: impl Fn(&FaultFigures) -> bool) -> Vec<u16> {
        let faults = self.faults.iter().enumerate().filter(|(_, fault)| wanted(fault));
        faults.map(|(position, _)| position as u16).collect()
    }

    pub(super) fn find(&self, id: &str) -> Option<DeviceIndex> {
        self.register.find(id)
    }

    /// Devices whose id begins with `start`, in their order; looks at all of them.
    pub(super) fn starting_with<'a>(&'a self, start: &'a str) -> impl Iterator<Item = DeviceIndex> + 'a {
        let ids = self.register.ids().iter().enumerate();
        let named = ids.filter(move |(_, id)| id.as_str().starts_with(start));
        named.map(|(at, _)| DeviceIndex(at as u32))
    }

    /// Makes the row of a device one that was kept elsewhere.
    pub(super) fn adopt(&mut self, device: DeviceIndex, adopted: Row) {
        let row = &mut self.rows[device.at()];
        *row = Row {
            fleet: row.fleet,
            boot_at: row.boot_at,
            ..adopted
        };
    }

    /// Carries out a change of one device that is counted and brings the counts over all of them up to date; gives how it stood and how
    /// it stands, too, if these differ.
    pub(super) fn change<T>(&mut self, device: DeviceIndex, change: impl FnOnce(&mut Row) -> T) -> (T, Option<(Stand, Stand)>) {
        let row = &mut self.rows[device.at()];
        let before = row.stand();
        let answer = change(row);
        let open = row.is_open();
        match (std::mem::replace(&mut row.open, open), open) {
            (false, true) => self.open += 1,
            (true, false) => self.open -= 1,
            (true, true) | (false, false) => {}
        }
        let after = row.stand();
        if before == after {
            return (answer, None);
        }
        self.by_phase[before.phase as usize] -= 1;
        self.by_phase[after.phase as usize] += 1;
        self.by_session[before.session as usize] -= 1;
        self.by_session[after.session as usize] += 1;
        self.by_state[before.state as usize] -= 1;
        self.by_state[after.state as usize] += 1;
        (answer, Some((before, after)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DeviceId;

    #[test]
    fn a_visit_leaves_time_without_power_out() {
        let at = SimTime::from_secs;
        let mut clock = VisitClock::default();
        clock.power(true, at(1));
        clock.turn(at(2));
        clock.power(false, at(5));
        clock.power(true, at(60));
        assert_eq!(clock.turn(at(61)), 4_000_000_000);
        clock.power(false, at(62));
        assert_eq!(clock.turn(at(90)), 1_000_000_000);
    }

    #[test]
    fn the_oldest_ended_attempt_is_forgotten_first() {
        let mut roster = Roster::new(Census {
            devices: vec![CensusDevice {
                id: DeviceId::new("d"),
                fleet: "f".into(),
                tags: Arc::default(),
                runs: Vec::new(),
                boot_at: SimTime::ZERO,
            }],
            cohorts: Vec::new(),
        });
        let row = &mut roster.rows[0];
        for number in 1..=ATTEMPTS_MAX as u64 + 1 {
            let attempt = row.attempt_mut(AttemptId::new(number).unwrap());
            attempt.deployment = Some(0);
            attempt.state = if number == 1 {
                UpdateState::InProgress
            } else {
                UpdateState::Failed
            };
        }
        assert_eq!(row.attempts.len(), ATTEMPTS_MAX);
        assert!(row.attempt(AttemptId::new(1).unwrap()).is_some());
        assert!(row.attempt(AttemptId::new(2).unwrap()).is_none());
        assert_eq!(row.newest().unwrap().id, AttemptId::new(ATTEMPTS_MAX as u64 + 1).unwrap());
    }

    #[test]
    fn the_row_of_a_device_is_small() {
        assert!(size_of::<Row>() <= 176, "{}", size_of::<Row>());
    }
}
