//! Deadlines: an attempt without an end by then is closed as Failed (contract, `deadline`). Its time counts from its making, through
//! restarts; the device may go on with it, and what it says of it later changes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{StateReason, UpdateState};
use crate::time::SimTime;

use super::Server;
use super::attempts::AttemptIndex;
use super::io::ServerOutputs;
use super::record::{Record, Stamp};

/// Attempts in the order of their making, hence of their deadlines.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// `None` closes nothing.
    after: Option<Duration>,
    due: VecDeque<(SimTime, AttemptIndex)>,
}

impl Deadlines {
    pub fn new(after: Option<Duration>) -> Self {
        let due = VecDeque::new();
        Deadlines { after, due }
    }

    /// When the next attempt is due, which may have ended long before.
    pub fn next(&self) -> Option<SimTime> {
        self.due.front().map(|(at, _)| *at)
    }
}

impl Server {
    /// Sets the deadline of an attempt that `record` made. Stamps have whole milliseconds: none is closed too early.
    pub(super) fn set_deadline(&mut self, stamp: Stamp, record: &Record) {
        if let (Record::AttemptCreated { attempt, .. }, Some(after)) = (record, self.deadlines.after)
            && let Some(index) = self.ledger.attempts.find(*attempt)
        {
            let due = Duration::from_millis(stamp.at_ms + 1).saturating_add(after);
            // What was due before this process began is due at once.
            let since_epoch = due.saturating_sub(Duration::from_millis(self.epoch_ms));
            self.deadlines.due.push_back((SimTime::ZERO + since_epoch, index));
        }
    }

    /// Closes what is due at `now`.
    pub(super) fn close_overdue(&mut self, now: SimTime, out: &mut ServerOutputs) {
        while let Some((_, index)) = self.deadlines.due.front().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.due.pop_front();
            let attempt = self.ledger.attempts.at(index);
            let device = attempt.device;
            if attempt.state.ended() {
                continue;
            }
            self.end(index, UpdateState::Failed, StateReason::Deadline, out);
            if self.ledger.registry.at(device).current.is_none()
                && let Some(connection) = self.connections.online(device)
            {
                self.connections.chase(connection, None);
                self.offer(device, now, out);
            }
        }
    }
}
