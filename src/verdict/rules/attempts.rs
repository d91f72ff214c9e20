//! Attempts as server and device tell of them: one open at a time, ends that are final, and agreement in the end.

use crate::memory;
use crate::model::{AttemptId, AttemptResult, DeviceIndex, Few, Phase, StateReason, UpdateState};
use crate::time::SimTime;

use super::{Rule, Tally, row};

const ONE_OPEN_ATTEMPT: Rule = Rule {
    name: "one-open-attempt",
    statement: "a device has at most one attempt in progress and one pending, with growing ids, and works on one alone",
    protocol: &[49],
};
const ENDS_ARE_FINAL: Rule = Rule {
    name: "ends-are-final",
    statement: "a state goes pending, in progress, end, or from pending to cancelled; an end is never left",
    protocol: &[48],
};
const STATE_EQUALS_TRUTH: Rule = Rule {
    name: "state-equals-truth",
    statement: "at the end the server holds of each attempt what became of it, unless it closed the attempt itself",
    protocol: &[47],
};

/// Most attempts remembered of one device; beyond, the oldest is forgotten unjudged.
const ATTEMPTS_MAX: usize = 64;

/// One attempt.
#[derive(Clone, Debug)]
struct Entry {
    id: AttemptId,
    state: UpdateState,
    /// The server closed it itself: no result says so.
    closed_by_server: bool,
    truth: Option<AttemptResult>,
    /// A rejection of the same id took the place of other results (protocol 3.7).
    replaced: bool,
}

/// One device.
#[derive(Debug, Default)]
struct Row {
    /// By id.
    entries: Few<Entry>,
    /// Greatest id that the server gave.
    newest: Option<AttemptId>,
    /// The attempt that the device has accepted and not ended.
    at_work: Option<AttemptId>,
}

impl Row {
    fn entry(&mut self, id: AttemptId) -> &mut Entry {
        let at = self
            .entries
            .binary_search_by_key(&id, |entry| entry.id)
            .unwrap_or_else(|mut at| {
                if self.entries.len() >= ATTEMPTS_MAX {
                    self.entries.remove(0);
                    at = at.saturating_sub(1);
                }
                let fresh = Entry {
                    id,
                    state: UpdateState::None,
                    closed_by_server: false,
                    truth: None,
                    replaced: false,
                };
                self.entries.insert(at, fresh);
                at
            });
        &mut self.entries[at]
    }

    fn in_state(&self, state: UpdateState) -> usize {
        self.entries.iter().filter(|entry| entry.state == state).count()
    }
}

/// Watches attempts.
#[derive(Debug)]
pub(in crate::verdict) struct Attempts {
    one_open: Tally,
    finality: Tally,
    truth: Tally,
    rows: Vec<Row>,
}

impl Default for Attempts {
    fn default() -> Self {
        Attempts {
            one_open: Tally::new(&ONE_OPEN_ATTEMPT),
            finality: Tally::new(&ENDS_ARE_FINAL),
            truth: Tally::new(&STATE_EQUALS_TRUTH),
            rows: Vec::new(),
        }
    }
}

impl Attempts {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 3] {
        [&self.one_open, &self.finality, &self.truth]
    }

    /// Has what is known of a device ready.
    pub(in crate::verdict) fn fetch(&self, device: DeviceIndex) {
        if let Some(row) = self.rows.get(device.at()) {
            memory::fetch(row);
        }
    }

    /// The server changed the state of an attempt.
    pub(in crate::verdict) fn state(
        &mut self,
        at: SimTime,
        device: DeviceIndex,
        attempt: AttemptId,
        (from, to): (UpdateState, UpdateState),
        reason: StateReason,
    ) {
        let row = row(&mut self.rows, device);
        if from == UpdateState::None {
            let newest = row.newest;
            let grows = newest.is_none_or(|newest| attempt > newest);
            self.one_open.check(grows, at, device, || match newest {
                Some(newest) => format!("attempt {attempt} was made after attempt {newest}"),
                None => String::new(),
            });
            row.newest = row.newest.max(Some(attempt));
        }
        let entry = row.entry(attempt);
        let stood = entry.state;
        self.finality
            .check(stood == from && follows(from, to, reason), at, device, || {
                format!("attempt {attempt} went from {stood} to {to} ({reason})")
            });
        entry.state = to;
        entry.closed_by_server = match reason {
            StateReason::Results | StateReason::AttemptError => false,
            StateReason::Deployed
            | StateReason::Retried
            | StateReason::Offered
            | StateReason::Cancelled
            | StateReason::Superseded
            | StateReason::Left
            | StateReason::Deadline => to.ended(),
        };
        if matches!(to, UpdateState::Pending | UpdateState::InProgress) {
            let open = row.in_state(to);
            self.one_open.check(open <= 1, at, device, || {
                format!("attempt {attempt} is one of {open} that are {to}")
            });
        }
    }

    /// The device entered a phase.
    pub(in crate::verdict) fn phase(&mut self, at: SimTime, device: DeviceIndex, phase: Phase, attempt: Option<AttemptId>) {
        let row = row(&mut self.rows, device);
        if phase.at_rest() {
            row.at_work = None;
        } else if let Some(attempt) = attempt {
            let at_work = row.at_work.replace(attempt);
            let alone = at_work.is_none_or(|other| other == attempt);
            self.one_open.check(alone, at, device, || match at_work {
                Some(other) => format!("attempt {attempt} is {phase} while attempt {other} has not ended"),
                None => String::new(),
            });
        }
    }

    /// The device called a handler.
    pub(in crate::verdict) fn handler(&mut self, at: SimTime, device: DeviceIndex, attempt: AttemptId) {
        let at_work = row(&mut self.rows, device).at_work;
        self.one_open.check(at_work == Some(attempt), at, device, || match at_work {
            Some(other) => format!("a handler of attempt {attempt} was called while attempt {other} was open"),
            None => format!("a handler of attempt {attempt} was called while none was open"),
        });
    }

    /// The outcome of an attempt became durable at the device.
    pub(in crate::verdict) fn ended(&mut self, device: DeviceIndex, attempt: AttemptId, result: AttemptResult) {
        let row = row(&mut self.rows, device);
        if row.at_work == Some(attempt) {
            row.at_work = None;
        }
        let entry = row.entry(attempt);
        entry.replaced |= result == AttemptResult::Rejected && entry.truth.is_some_and(|before| before != result);
        entry.truth = Some(result);
    }

    /// The run is over. Unless it `settled`, results may still be on their way. Of a device that cheats nobody knows the truth.
    pub(in crate::verdict) fn finish(&mut self, at: SimTime, settled: bool, cheats: impl Fn(DeviceIndex) -> bool) {
        let rows = (0..).map(DeviceIndex).zip(&self.rows);
        for (device, row) in rows.filter(|(device, _)| !cheats(*device)) {
            for entry in row.entries.iter().filter(|entry| !entry.closed_by_server && !entry.replaced) {
                let id = entry.id;
                match (entry.state.ended(), entry.truth) {
                    (true, truth) => {
                        let agrees = truth.and_then(state_of) == Some(entry.state);
                        self.truth.check(agrees, at, device, || match truth {
                            Some(truth) => format!("attempt {id} is {} at the server and {truth} at the device", entry.state),
                            None => format!(
                                "attempt {id} is {} at the server and has not ended at the device",
                                entry.state
                            ),
                        });
                    }
                    (false, Some(truth)) if settled && entry.state != UpdateState::None => {
                        self.truth.check(false, at, device, || {
                            format!("attempt {id} is {} at the server and {truth} at the device", entry.state)
                        });
                    }
                    (false, _) => {}
                }
            }
        }
    }
}

/// Whether a state may follow another.
const fn follows(from: UpdateState, to: UpdateState, reason: StateReason) -> bool {
    match from {
        UpdateState::None => matches!(to, UpdateState::Pending),
        UpdateState::Pending => {
            matches!(to, UpdateState::InProgress | UpdateState::Cancelled)
                || (matches!(to, UpdateState::Failed) && matches!(reason, StateReason::Deadline))
        }
        UpdateState::InProgress => to.ended(),
        UpdateState::Succeeded | UpdateState::Failed | UpdateState::Cancelled => false,
    }
}

/// The state that a device's result asks for; `None` for a superseded attempt, whose results are not reported.
const fn state_of(result: AttemptResult) -> Option<UpdateState> {
    match result {
        AttemptResult::Succeeded => Some(UpdateState::Succeeded),
        AttemptResult::Failed | AttemptResult::Rejected => Some(UpdateState::Failed),
        AttemptResult::Cancelled => Some(UpdateState::Cancelled),
        AttemptResult::Superseded => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use UpdateState::{Cancelled, Failed, InProgress, None as Nothing, Pending, Succeeded};

    const DEVICE: DeviceIndex = DeviceIndex(1);

    fn id(number: u64) -> AttemptId {
        AttemptId::new(number).unwrap()
    }

    fn state(watch: &mut Attempts, attempt: u64, from: UpdateState, to: UpdateState) {
        let reason = match to {
            Pending => StateReason::Deployed,
            InProgress => StateReason::Offered,
            Succeeded | Failed => StateReason::Results,
            Nothing | Cancelled => StateReason::Superseded,
        };
        watch.state(SimTime::from_secs(attempt), DEVICE, id(attempt), (from, to), reason);
    }

    fn open(attempt: u64) -> Attempts {
        let mut watch = Attempts::default();
        state(&mut watch, attempt, Nothing, Pending);
        state(&mut watch, attempt, Pending, InProgress);
        watch
    }

    fn broken(watch: &Attempts) -> [u64; 3] {
        watch.tallies().map(|tally| tally.broken)
    }

    #[test]
    fn an_ordinary_life_of_two_attempts_breaks_nothing() {
        let mut watch = open(1);
        watch.phase(SimTime::ZERO, DEVICE, Phase::Accepted, Some(id(1)));
        watch.handler(SimTime::ZERO, DEVICE, id(1));
        state(&mut watch, 2, Nothing, Pending);
        watch.ended(DEVICE, id(1), AttemptResult::Failed);
        watch.phase(SimTime::ZERO, DEVICE, Phase::Failed, Some(id(1)));
        state(&mut watch, 1, InProgress, Failed);
        state(&mut watch, 2, Pending, InProgress);
        watch.phase(SimTime::ZERO, DEVICE, Phase::Accepted, Some(id(2)));
        watch.ended(DEVICE, id(2), AttemptResult::Succeeded);
        state(&mut watch, 2, InProgress, Succeeded);
        watch.finish(SimTime::from_secs(9), true, |_| false);
        assert_eq!(broken(&watch), [0, 0, 0]);
        assert_eq!(watch.truth.checks, 2);
    }

    #[test]
    fn two_attempts_in_progress_are_found() {
        let mut watch = open(1);
        state(&mut watch, 2, Nothing, Pending);
        assert_eq!(broken(&watch), [0, 0, 0]);
        state(&mut watch, 2, Pending, InProgress);
        assert_eq!(broken(&watch), [1, 0, 0]);
        assert_eq!(
            watch.one_open.first.unwrap().text,
            "attempt 2 is one of 2 that are in-progress"
        );
    }

    #[test]
    fn an_id_that_does_not_grow_is_found() {
        let mut watch = open(5);
        state(&mut watch, 5, InProgress, Succeeded);
        state(&mut watch, 3, Nothing, Pending);
        assert_eq!(
            watch.one_open.first.as_ref().unwrap().text,
            "attempt 3 was made after attempt 5"
        );
        assert_eq!(broken(&watch), [1, 0, 0]);
    }

    #[test]
    fn a_device_that_works_on_two_attempts_is_found() {
        let mut watch = Attempts::default();
        watch.phase(SimTime::ZERO, DEVICE, Phase::Downloading, Some(id(1)));
        watch.phase(SimTime::ZERO, DEVICE, Phase::Accepted, Some(id(2)));
        watch.handler(SimTime::ZERO, DEVICE, id(1));
        assert_eq!(broken(&watch), [2, 0, 0]);
    }

    #[test]
    fn an_end_that_is_left_is_found() {
        let mut watch = open(1);
        state(&mut watch, 1, InProgress, Succeeded);
        state(&mut watch, 1, Succeeded, Failed);
        assert_eq!(
            watch.finality.first.unwrap().text,
            "attempt 1 went from succeeded to failed (results)"
        );
    }

    #[test]
    fn success_without_a_manifest_is_found() {
        let mut watch = Attempts::default();
        state(&mut watch, 1, Nothing, Pending);
        state(&mut watch, 1, Pending, Succeeded);
        assert_eq!(broken(&watch)[1], 1);
    }

    #[test]
    fn a_server_that_believes_otherwise_is_found() {
        let mut watch = open(1);
        watch.ended(DEVICE, id(1), AttemptResult::Failed);
        state(&mut watch, 1, InProgress, Succeeded);
        watch.finish(SimTime::from_secs(9), false, |_| false);
        assert_eq!(
            watch.truth.first.unwrap().text,
            "attempt 1 is succeeded at the server and failed at the device"
        );

        let mut watch = open(1);
        state(&mut watch, 1, InProgress, Succeeded);
        watch.finish(SimTime::from_secs(9), false, |_| false);
        assert_eq!(broken(&watch)[2], 1, "it has not ended at the device");
    }

    #[test]
    fn a_result_on_its_way_is_no_disagreement_before_the_run_settled() {
        for (settled, expected) in [(false, 0), (true, 1)] {
            let mut watch = open(1);
            watch.ended(DEVICE, id(1), AttemptResult::Succeeded);
            watch.finish(SimTime::from_secs(9), settled, |_| false);
            assert_eq!(broken(&watch)[2], expected);
        }
    }

    #[test]
    fn attempts_closed_by_the_server_and_replaced_results_are_excepted() {
        let mut watch = open(1);
        state(&mut watch, 1, InProgress, Cancelled);
        watch.ended(DEVICE, id(1), AttemptResult::Succeeded);
        state(&mut watch, 2, Nothing, Pending);
        state(&mut watch, 2, Pending, InProgress);
        watch.ended(DEVICE, id(2), AttemptResult::Succeeded);
        state(&mut watch, 2, InProgress, Succeeded);
        watch.ended(DEVICE, id(2), AttemptResult::Rejected);
        watch.finish(SimTime::from_secs(9), true, |_| false);
        assert_eq!(broken(&watch), [0, 0, 0]);
    }
}
