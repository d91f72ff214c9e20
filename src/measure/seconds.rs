//! The seconds of which no row was written yet: the one under way, and those that devices ahead of it have come to.

use std::collections::VecDeque;

use crate::model::{Phase, Session, UpdateState};
use crate::time::SimTime;

use super::timeline::{Happened, TimelineRow};

/// Most seconds that are told apart; what comes later counts for the last of them.
const SECONDS_MAX: usize = 120;

/// How a device is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) phase: Phase,
    pub(super) session: Session,
    pub(super) state: UpdateState,
}

/// What happened in one second, and who stands otherwise since.
#[derive(Clone, Debug, Default)]
struct Second {
    happened: Happened,
    phases: [i64; Phase::ALL.len()],
    sessions: [i64; Session::ALL.len()],
    states: [i64; UpdateState::ALL.len()],
}

/// Seconds in their order, the one under way first. A second ends with the moment that is its number, which belongs to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seconds {
    /// Seconds that are over.
    over: u64,
    open: VecDeque<Second>,
}

impl Seconds {
    /// What happened in the second of this moment.
    pub(super) fn happened(&mut self, at: SimTime) -> &mut Happened {
        &mut self.second(at).happened
    }

    /// A device stands otherwise from this moment on.
    pub(super) fn moved(&mut self, at: SimTime, from: Stand, to: Stand) {
        let second = self.second(at);
        second.phases[from.phase as usize] -= 1;
        second.phases[to.phase as usize] += 1;
        second.sessions[from.session as usize] -= 1;
        second.sessions[to.session as usize] += 1;
        second.states[from.state as usize] -= 1;
        second.states[to.state as usize] += 1;
    }

    /// The row of the time up to `at`, given how devices stand by now: those that are ahead of it have yet to come to that.
    pub(super) fn row(&mut self, at: SimTime, now: TimelineRow) -> TimelineRow {
        let number = number(at);
        let mut row = TimelineRow { at, ..now };
        while self.over < number
            && let Some(second) = self.open.pop_front()
        {
            row.happened.add(&second.happened);
            self.over += 1;
        }
        self.over = number;
        for later in &self.open {
            take_back(&mut row.phases, &later.phases);
            take_back(&mut row.sessions, &later.sessions);
            take_back(&mut row.states, &later.states);
        }
        row
    }

    fn second(&mut self, at: SimTime) -> &mut Second {
        let ahead = number(at).saturating_sub(self.over + 1).min(SECONDS_MAX as u64 - 1) as usize;
        if self.open.len() <= ahead {
            self.open.resize(ahead + 1, Second::default());
        }
        &mut self.open[ahead]
    }
}

/// The second of a moment, counted from one.
const fn number(at: SimTime) -> u64 {
    at.as_nanos().div_ceil(1_000_000_000)
}

fn take_back(counts: &mut [u64], moved: &[i64]) {
    let each = counts.iter_mut().zip(moved);
    // Between two of these a count may be below zero, at the end of all it is not.
    each.for_each(|(count, moved)| *count = count.wrapping_add_signed(-moved));
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Stand = Stand {
        phase: Phase::Idle,
        session: Session::Off,
        state: UpdateState::None,
    };
    const ONLINE: Stand = Stand {
        session: Session::Online,
        ..IDLE
    };

    fn now(online: u64) -> TimelineRow {
        let mut row = TimelineRow::default();
        row.sessions[Session::Online as usize] = online;
        row.sessions[Session::Off as usize] = 3 - online;
        row
    }

    fn online(row: &TimelineRow) -> u64 {
        row.sessions[Session::Online as usize]
    }

    #[test]
    fn what_devices_ahead_do_counts_for_the_second_in_which_they_do_it() {
        let mut seconds = Seconds::default();
        for millis in [500, 1_000, 2_500] {
            seconds.moved(SimTime::from_millis(millis), IDLE, ONLINE);
            seconds.happened(SimTime::from_millis(millis)).connects_ok += 1;
        }
        let rows: Vec<TimelineRow> = (1..=4)
            .map(|second| seconds.row(SimTime::from_secs(second), now(3)))
            .collect();
        assert_eq!(rows.iter().map(online).collect::<Vec<_>>(), [2, 2, 3, 3]);
        let connects: Vec<u64> = rows.iter().map(|row| row.happened.connects_ok).collect();
        assert_eq!(connects, [2, 0, 1, 0]);
    }

    #[test]
    fn who_comes_and_goes_ahead_of_a_row_is_not_in_it() {
        let mut seconds = Seconds::default();
        seconds.moved(SimTime::from_millis(1_500), IDLE, ONLINE);
        seconds.moved(SimTime::from_millis(2_500), ONLINE, IDLE);
        let rows: Vec<TimelineRow> = (1..=3)
            .map(|second| seconds.row(SimTime::from_secs(second), now(0)))
            .collect();
        assert_eq!(rows.iter().map(online).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn a_row_over_several_seconds_has_all_of_them_and_what_comes_late_counts_for_the_next() {
        let mut seconds = Seconds::default();
        seconds.happened(SimTime::from_secs(2)).requests += 1;
        seconds.happened(SimTime::from_secs(3)).requests += 1;
        assert_eq!(seconds.row(SimTime::from_millis(2_500), now(0)).happened.requests, 2);
        seconds.happened(SimTime::from_secs(1)).requests += 1;
        assert_eq!(seconds.row(SimTime::from_secs(4), now(0)).happened.requests, 1);
    }

    #[test]
    fn a_device_far_ahead_costs_no_more_than_a_bounded_number_of_seconds() {
        let mut seconds = Seconds::default();
        seconds.happened(SimTime::from_secs(1_000_000)).requests += 1;
        assert_eq!(seconds.open.len(), SECONDS_MAX);
        assert_eq!(seconds.row(SimTime::from_secs(1_000_000), now(0)).happened.requests, 1);
    }
}
