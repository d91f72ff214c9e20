//! What the server tells: cohorts, states of attempts, manifests.

use crate::model::{
    AttemptId, AttemptResult, CohortName, DeploymentName, DeviceId, DeviceIndex, ServerEvent, StateReason, UpdateState,
};
use crate::time::SimTime;

use super::super::group::{Entry, Group};
use super::super::selection::{Changing, Facts};
use super::Recorder;

impl Recorder {
    /// Takes what the server told about itself; devices that are not in the census are passed over.
    pub fn observe_server(&mut self, at: SimTime, event: &ServerEvent) {
        match event {
            ServerEvent::CohortJoined { device, cohort } => self.on_membership(at, device, cohort, true),
            ServerEvent::CohortLeft { device, cohort } => self.on_membership(at, device, cohort, false),
            ServerEvent::StateChanged {
                device,
                deployment,
                attempt,
                from: _,
                to,
                reason,
            } => {
                if let Some(device) = self.likely(device) {
                    self.trace_server(at, device, event);
                    self.on_state(at, device, deployment, *attempt, *to, *reason);
                }
            }
            ServerEvent::ManifestSent { device, attempt, repeat } => {
                if let Some(device) = self.likely(device) {
                    self.trace_server(at, device, event);
                    let facts = Facts {
                        flag: *repeat,
                        ..Facts::of_attempt(*attempt)
                    };
                    self.enter(at, device, Entry::Manifest { repeat: *repeat }, facts);
                }
            }
            ServerEvent::DeviceRegistered { .. }
            | ServerEvent::DeviceConnected { .. }
            | ServerEvent::DeviceDisconnected { .. }
            | ServerEvent::RuleBroken { .. } => {}
        }
    }

    /// A device that the server names: more often than not what was seen last was seen of it.
    fn likely(&mut self, device: &DeviceId) -> Option<DeviceIndex> {
        self.latest = self.roster.register.find_likely(device, self.latest);
        self.latest
    }

    fn trace_server(&mut self, at: SimTime, device: DeviceIndex, event: &ServerEvent) {
        if let Some(trace) = &mut self.trace {
            trace.observe_server(at, device, event);
        }
    }

    fn on_membership(&mut self, at: SimTime, device: &DeviceId, cohort: &CohortName, member: bool) {
        let Some(device) = self.device_index(device.as_str()) else {
            return;
        };
        if *cohort == CohortName::all() {
            return;
        }
        let number = self.roster.cohorts.number(cohort);
        if self.cohorts.len() <= usize::from(number) {
            self.cohorts.resize(usize::from(number) + 1, Group::default());
        }
        let was = self.roster.rows[device.at()].cohorts.contains(&number);
        self.change(at, Changing::Cohort, device, |row| {
            row.cohorts.retain(|other| *other != number);
            if member {
                row.cohorts.push(number);
            }
        });
        if let Some(board) = self.board.as_mut().filter(|_| was != member) {
            board.moved(device, number, member);
        }
    }

    fn on_state(
        &mut self,
        at: SimTime,
        device: DeviceIndex,
        deployment: &DeploymentName,
        attempt: AttemptId,
        to: UpdateState,
        reason: StateReason,
    ) {
        let deployment = self.roster.deployments.number(deployment);
        let (fresh, due, ended) = self.change(at, Changing::Attempts, device, |row| {
            let boot_at = row.boot_at;
            let row = row.attempt_mut(attempt);
            let fresh = row.deployment.is_none();
            if fresh {
                row.deployment = Some(deployment);
                row.due = at.max(boot_at);
            }
            let ended = to.ended() && !row.state.ended();
            row.closed_by_server |= ended && !matches!(reason, StateReason::Results | StateReason::AttemptError);
            row.state = to;
            (fresh, row.due, ended)
        });
        self.recount(at, device);
        if fresh {
            self.release(attempt);
        }
        let offered = self.offered.as_mut().and_then(|offered| match to {
            UpdateState::InProgress => {
                offered.entry(attempt).or_insert(at);
                None
            }
            _ if to.ended() => offered.remove(&attempt),
            _ => None,
        });
        if ended {
            if reason == StateReason::Results {
                // The device has told all of it, and will not be offered it again.
                self.roster.rows[device.at()].fetching = None;
            }
            let facts = Facts::of_attempt(attempt).ended(result_at_server(to, reason));
            self.enter(at, device, Entry::DeployTime(at.since(due)), facts);
            if let Some(offered) = offered {
                self.enter(at, device, Entry::DeployTimeRaw(at.since(offered)), facts);
            }
        }
    }
}

/// The result that an end at the server stands for.
const fn result_at_server(state: UpdateState, reason: StateReason) -> AttemptResult {
    match (state, reason) {
        (_, StateReason::AttemptError) => AttemptResult::Rejected,
        (_, StateReason::Superseded) => AttemptResult::Superseded,
        (UpdateState::Succeeded, _) => AttemptResult::Succeeded,
        (UpdateState::Cancelled, _) => AttemptResult::Cancelled,
        (UpdateState::None | UpdateState::Pending | UpdateState::InProgress | UpdateState::Failed, _) => AttemptResult::Failed,
    }
}
