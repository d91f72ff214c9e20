//! Membership and what follows from it: which deployment a device follows, and when an attempt is made or given up (contract,
//! "Deployments").
//!
//! A device follows the newest active deployment among those of its cohorts. Deployments reach devices at three moments: when they
//! are made, when a device enters their cohort, when a device becomes known. At no other moment does one come back by itself.

use crate::model::{AttemptId, ServerEvent, StateReason, UpdateState};
use crate::time::SimTime;

use super::Server;
use super::attempts::AttemptIndex;
use super::io::{ServerOutput, ServerOutputs};
use super::record::{CohortNumber, DeploymentNumber, DeviceNumber, Record};

impl Server {
    /// Moves a device out of `leaves` and into `joins`, and carries out what follows.
    pub(super) fn change_cohorts(
        &mut self,
        device: DeviceNumber,
        leaves: &[CohortNumber],
        joins: &[CohortNumber],
        now: SimTime,
        out: &mut ServerOutputs,
    ) {
        self.leave(device, leaves, out);
        self.join(device, joins, out);
        self.follow(device, joins, now, out);
    }

    /// Makes a device's membership of cohorts with rules what its tags say.
    pub(super) fn follow_rules(&mut self, device: DeviceNumber, now: SimTime, out: &mut ServerOutputs) {
        let (leaves, joins) = self.ledger.cohorts.drift(self.ledger.registry.at(device));
        self.change_cohorts(device, &leaves, &joins, now, out);
    }

    /// Enters a device into cohorts that it is not in.
    pub(super) fn join(&mut self, device: DeviceNumber, joins: &[CohortNumber], out: &mut ServerOutputs) {
        for &cohort in joins {
            self.commit(Record::CohortJoined { device, cohort }, out);
            out.push(ServerOutput::Observed(ServerEvent::CohortJoined {
                device: self.ledger.registry.at(device).id.clone(),
                cohort: self.ledger.cohorts.at(cohort).name.clone(),
            }));
        }
    }

    fn leave(&mut self, device: DeviceNumber, leaves: &[CohortNumber], out: &mut ServerOutputs) {
        for &cohort in leaves {
            self.commit(Record::CohortLeft { device, cohort }, out);
            out.push(ServerOutput::Observed(ServerEvent::CohortLeft {
                device: self.ledger.registry.at(device).id.clone(),
                cohort: self.ledger.cohorts.at(cohort).name.clone(),
            }));
            if let Some(pending) = self.ledger.registry.at(device).pending
                && self.ledger.deployments.at(self.ledger.attempts.at(pending).deployment).cohort == cohort
            {
                self.end(pending, UpdateState::Cancelled, StateReason::Left, out);
            }
        }
    }

    /// Lets the deployments of newly entered cohorts reach a device: the newest that holds for it wins, and only if it is one of
    /// those.
    pub(super) fn follow(&mut self, device: DeviceNumber, entered: &[CohortNumber], now: SimTime, out: &mut ServerOutputs) {
        let newest = self.ledger.cohorts.newest_deployment(self.ledger.registry.at(device));
        match newest {
            Some(newest) if entered.contains(&self.ledger.deployments.at(newest).cohort) && !self.carries(device, newest) => {
                self.reach(device, newest, StateReason::Deployed, now, out);
            }
            // Leaving a cohort may have freed an attempt that waited for one of that cohort.
            Some(_) | None => {
                self.offer(device, now, out);
            }
        }
    }

    /// Makes an attempt of a deployment for a device, in the place of one that is Pending.
    pub(super) fn reach(
        &mut self,
        device: DeviceNumber,
        deployment: DeploymentNumber,
        why: StateReason,
        now: SimTime,
        out: &mut ServerOutputs,
    ) {
        let Some(attempt) = self.next_attempt() else {
            return; // Ids are used up; a deployment that does not fit was refused.
        };
        if let Some(pending) = self.ledger.registry.at(device).pending {
            self.end(pending, UpdateState::Cancelled, StateReason::Superseded, out);
        }
        let record = Record::AttemptCreated {
            attempt,
            device,
            deployment,
        };
        self.commit(record, out);
        let index = self.ledger.registry.at(device).pending.expect("a new attempt is Pending");
        self.deadlines.watch(index, now);
        self.observe_state(index, UpdateState::None, why, out);
        self.offer(device, now, out);
    }

    /// Ends an attempt and says so.
    pub(super) fn end(&mut self, index: AttemptIndex, state: UpdateState, reason: StateReason, out: &mut ServerOutputs) {
        let attempt = self.ledger.attempts.at(index);
        let (attempt, from) = (attempt.id, attempt.state);
        let record = Record::AttemptEnded { attempt, state, reason };
        self.commit(record, out);
        self.observe_state(index, from, reason, out);
    }

    pub(super) fn observe_state(&self, index: AttemptIndex, from: UpdateState, reason: StateReason, out: &mut ServerOutputs) {
        let attempt = self.ledger.attempts.at(index);
        out.push(ServerOutput::Observed(ServerEvent::StateChanged {
            device: self.ledger.registry.at(attempt.device).id.clone(),
            deployment: self.ledger.deployments.at(attempt.deployment).name.clone(),
            attempt: attempt.id,
            from,
            to: attempt.state,
            reason,
        }));
    }

    /// The id of the next attempt, greater than every earlier one.
    pub(super) fn next_attempt(&self) -> Option<AttemptId> {
        match self.ledger.attempts.last_id() {
            Some(last) => AttemptId::new(last.number().checked_add(1)?).map(|next| next.max(self.first_attempt)),
            None => Some(self.first_attempt),
        }
    }

    /// True if a device has had its attempt of a deployment: one that is open, or that ended by itself. An attempt that was given
    /// up because the device left, or followed another deployment, is made anew.
    fn carries(&self, device: DeviceNumber, deployment: DeploymentNumber) -> bool {
        let mut attempts = self
            .ledger
            .registry
            .at(device)
            .attempts
            .iter()
            .rev()
            .map(|&index| self.ledger.attempts.at(index));
        attempts.find(|attempt| attempt.deployment == deployment).is_some_and(|last| {
            let given_up = matches!(last.reason, Some(StateReason::Left | StateReason::Superseded));
            !(last.state == UpdateState::Cancelled && given_up)
        })
    }
}
