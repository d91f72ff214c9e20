//! What a screen shows and the other figures do not hold: states by cohort, open devices by how long, the last happenings.
//!
//! It follows every change, so that no picture walks all devices, and is made only where somebody watches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{DeviceIndex, FailureReason, RetryReason, Transition, UpdateState};
use crate::time::SimTime;

use super::happening::FaultCame;
use super::roster::{Roster, Row};

/// Most happenings that are kept; older ones are forgotten.
const NOTES_MAX: usize = 500;
/// Up to this many devices an attempt that succeeds is worth a note; beyond, there would be room for nothing else.
const SMALL_FLEET: usize = 2_000;

/// Devices by [`UpdateState`].
pub type States = [u64; UpdateState::ALL.len()];

/// Something that a person who watches wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: SimTime,
    /// Whom it concerns; `None` is the run.
    pub device: Option<DeviceIndex>,
    /// What.
    pub what: Noted,
}

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The phase changed otherwise than in the ordinary course, or to an end.
    Transition(Transition, Option<FailureReason>),
    /// A download waits before its next request.
    Retry(RetryReason, u64),
    /// The bootloader has put the old image back.
    RolledBack,
    /// The bootloader found no image to run.
    Unbootable,
    /// Something came of the fault with this name.
    Fault(String, FaultCame),
    /// A step fired, or an expectation ended the run: in words.
    Run(String),
}

/// Counts that follow every change.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// What was counted of each device.
    counted: Vec<Counted>,
    /// Devices by state, by the number of their cohort.
    cohorts: Vec<States>,
    /// Open devices, the one that has been open longest first.
    open: BTreeSet<(SimTime, DeviceIndex)>,
    notes: VecDeque<Note>,
    /// How many notes there ever were.
    noted: u64,
    /// What faults do to devices, by their position in the plan.
    held: BTreeMap<DeviceIndex, Held>,
    /// Faults that are on at the server.
    server: Vec<u16>,
}

/// What faults do to one device.
#[derive(Debug, Default)]
struct Held {
    /// Faults that are on, in the order in which they began.
    on: Vec<u16>,
    /// The last one that struck.
    struck: Option<(SimTime, u16)>,
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    state: UpdateState,
    open_since: Option<SimTime>,
}

impl Board {
    /// The board at the start of a run.
    pub(super) fn new(roster: &Roster) -> Board {
        let fresh = Counted {
            state: UpdateState::None,
            open_since: None,
        };
        Board {
            counted: vec![fresh; roster.rows.len()],
            ..Board::default()
        }
    }

    /// Counts a device again after a change of it; an attempt that is due later is open from then on.
    pub(super) fn recount(&mut self, at: SimTime, device: DeviceIndex, row: &Row) {
        let counted = &mut self.counted[device.at()];
        let state = row.state();
        if state != counted.state {
            for cohort in &row.cohorts {
                let states = states_of(&mut self.cohorts, *cohort);
                states[counted.state as usize] -= 1;
                states[state as usize] += 1;
            }
            counted.state = state;
        }
        match (counted.open_since, row.is_open()) {
            (None, true) => {
                let since = row.newest().map_or(at, |attempt| at.max(attempt.due));
                counted.open_since = Some(since);
                self.open.insert((since, device));
            }
            (Some(since), false) => {
                counted.open_since = None;
                self.open.remove(&(since, device));
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// A device came into a cohort or left it.
    pub(super) fn moved(&mut self, device: DeviceIndex, cohort: u16, came: bool) {
        let states = states_of(&mut self.cohorts, cohort);
        let count = &mut states[self.counted[device.at()].state as usize];
        *count = if came { *count + 1 } else { *count - 1 };
    }

    /// Keeps what a person wants to read.
    pub(super) fn note(&mut self, note: Note) {
        let ordinary = matches!(&note.what, Noted::Transition(transition, None) if is_ordinary(*transition));
        if ordinary && self.counted.len() > SMALL_FLEET {
            return;
        }
        if self.notes.len() == NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
        self.noted += 1;
    }

    /// Something came of a fault at a device.
    pub(super) fn fault(&mut self, at: SimTime, device: DeviceIndex, fault: u16, came: FaultCame) {
        let held = self.held.entry(device).or_default();
        match came {
            FaultCame::Began => held.on.push(fault),
            FaultCame::Done => held.struck = Some((at, fault)),
            FaultCame::Ended => held.on.retain(|on| *on != fault),
            FaultCame::Missed => {}
        }
        if held.on.is_empty() && held.struck.is_none() {
            self.held.remove(&device);
        }
    }

    /// Something came of a fault of the server.
    pub(super) fn server_fault(&mut self, fault: u16, came: FaultCame) {
        match came {
            FaultCame::Began => self.server.push(fault),
            FaultCame::Ended => self.server.retain(|on| *on != fault),
            FaultCame::Done | FaultCame::Missed => {}
        }
    }

    /// The fault that is on at a device and may hold it, or is on at the server, the last that began; else the last that struck it since it
    /// is open, and when.
    pub(super) fn held_by(&self, device: DeviceIndex, may_hold: &dyn Fn(usize) -> bool) -> Option<(u16, Option<SimTime>)> {
        let held = self.held.get(&device);
        let struck = held.and_then(|held| held.struck);
        let struck = struck.filter(|(at, _)| self.open_since(device).is_some_and(|since| *at >= since));
        let holding = held.and_then(|held| held.on.iter().rfind(|fault| may_hold(usize::from(**fault))));
        let on = holding.or_else(|| self.server.last());
        on.map(|fault| (*fault, None))
            .or_else(|| struck.map(|(at, fault)| (fault, Some(at))))
    }

    /// Devices of a cohort by state.
    pub(super) fn states(&self, cohort: u16) -> States {
        self.cohorts.get(usize::from(cohort)).copied().unwrap_or_default()
    }

    /// Open devices with the moment since when, longest first.
    pub(super) fn open(&self) -> impl Iterator<Item = (SimTime, DeviceIndex)> {
        self.open.iter().copied()
    }

    /// Since when a device is open.
    pub(super) fn open_since(&self, device: DeviceIndex) -> Option<SimTime> {
        self.counted[device.at()].open_since
    }

    /// What was noted, the last first.
    pub(super) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().rev()
    }

    /// How many notes there ever were.
    pub(super) const fn noted(&self) -> u64 {
        self.noted
    }
}

/// Whether a transition deserves a note at all: it ends an attempt, or does not belong to the ordinary course.
pub(super) fn is_notable(transition: Transition) -> bool {
    transition.to.ended() || !is_ordinary(transition)
}

/// A legal change in the ordinary course that does not end badly.
fn is_ordinary(transition: Transition) -> bool {
    use crate::model::{Cause, Phase};
    let well = !matches!(
        transition.to,
        Phase::Failed | Phase::Cancelled | Phase::Rejected | Phase::Reverting
    );
    transition.cause == Cause::Normal && well && transition.legal_index().is_some()
}

fn states_of(cohorts: &mut Vec<States>, cohort: u16) -> &mut States {
    let at = usize::from(cohort);
    if cohorts.len() <= at {
        cohorts.resize(at + 1, States::default());
    }
    &mut cohorts[at]
}
