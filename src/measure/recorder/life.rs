//! What is seen of a device: phases, sessions, attempts, what it runs.

use std::cmp::Reverse;
use std::time::Duration;

use crate::model::{
    AttemptId, AttemptResult, ConnectResult, DeviceIndex, FailureReason, FirmwareVersion, Observation, Phase, Session, Transition,
};
use crate::time::SimTime;

use super::super::board::{Noted, is_notable};
use super::super::fetching::Fetching;
use super::super::fingerprint::print_of;
use super::super::group::Entry;
use super::super::selection::{Changing, Facts};
use super::super::timeline::AnswerClass;
use super::{Recorder, SLOWEST_MAX};

impl Recorder {
    /// Takes what was seen of a device.
    pub fn observe(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        self.latest = Some(device);
        if let Some(trace) = &mut self.trace {
            trace.observe(at, device, observation);
        }
        match observation {
            Observation::Transition {
                transition,
                attempt,
                reason,
            } => {
                self.on_transition(at, device, *transition, *attempt);
                if is_notable(*transition) {
                    self.note(at, Some(device), Noted::Transition(*transition, *reason));
                }
            }
            Observation::Session(session) => self.on_session(at, device, *session),
            Observation::ConnectTried {
                result,
                wanted_at,
                tried_at,
            } => self.on_connect(at, device, *result, at.since(*wanted_at), at.since(*tried_at)),
            Observation::ManifestReceived { attempt } => self.on_manifest(at, device, *attempt),
            Observation::AttemptEnded { attempt, result, reason } => self.on_end(at, device, *attempt, *result, *reason),
            Observation::ResultPublished { attempt, complete: true } => self.on_published(at, device, *attempt),
            Observation::Booted { firmware, why, .. } => {
                self.on_main(at, device, firmware);
                let facts = Facts {
                    word: why.word(),
                    attempt: self.roster.rows[device.at()].current,
                    ..Facts::default()
                };
                self.enter(at, device, Entry::Boot(*why), facts);
            }
            Observation::Installed { firmware } => self.on_installed(at, device, firmware),
            Observation::RolledBack => {
                self.ahead.happened(at).rollbacks += 1;
                let facts = Facts {
                    attempt: self.roster.rows[device.at()].current,
                    ..Facts::default()
                };
                self.enter(at, device, Entry::Rollback, facts);
                self.note(at, Some(device), Noted::RolledBack);
            }
            Observation::RecordLost { .. } => self.roster.rows[device.at()].damaged = true,
            Observation::HandlerCalled { attempt, index, .. } => {
                let fetching = &mut self.roster.rows[device.at()].fetching;
                if !fetching.as_ref().is_some_and(|fetching| fetching.is_of(*attempt, *index)) {
                    *fetching = Some(Box::new(Fetching::new(*attempt, *index)));
                }
            }
            Observation::Requested { offset, due } => self.on_requested(at, device, *offset, *due),
            Observation::Answered { status, .. } => {
                self.ahead.happened(at).answers[AnswerClass::of(*status) as usize] += 1;
                self.on_answered(at, device, *status);
            }
            Observation::Unbootable => self.note(at, Some(device), Noted::Unbootable),
            Observation::RetryScheduled { reason, received, .. } => {
                self.ahead.happened(at).retries += 1;
                self.note(at, Some(device), Noted::Retry(*reason, *received));
                self.request_over(at, device, |fetching| fetching.over(*received, Some(*reason)));
                self.enter(at, device, Entry::Retry, self.why(device, reason.word()));
            }
            Observation::Downloaded { bytes, .. } => self.downloaded(at, device, *bytes),
            Observation::DownloadLost { received, .. } => {
                self.request_over(at, device, |fetching| fetching.lost(*received));
                self.wasted(at, device, *received);
            }
            Observation::HandlerReturned { .. } => self.request_over(at, device, |fetching| fetching.over(0, None)),
            Observation::ResultPublished { complete: false, .. }
            | Observation::Confirmed
            | Observation::RecordWritten { .. }
            | Observation::RecordDeleted { .. }
            | Observation::FlashFailed { .. }
            | Observation::UpgradeRequested
            | Observation::FlashMisused { .. } => {}
        }
    }

    fn on_transition(&mut self, at: SimTime, device: DeviceIndex, transition: Transition, attempt: Option<AttemptId>) {
        let (sequence, since, spent) = self.change(at, Changing::Phase, device, |row| {
            let sequence = row.sequence;
            let since = std::mem::replace(&mut row.phase_since, at);
            row.sequence += 1;
            row.phase = transition.to;
            row.current = attempt.or(row.current);
            (sequence, since, row.clock.turn(at))
        });
        if let (Some(begun), Phase::Accepted, Some(attempt)) = (&mut self.begun, transition.to, attempt) {
            let taken_up = begun.entry(device).or_insert((attempt, at));
            if taken_up.0 != attempt {
                *taken_up = (attempt, at);
            }
        }
        self.recount(at, device);
        self.matrix.count(transition);
        let fleet = usize::from(self.roster.rows[device.at()].fleet);
        if let Some(matrix) = self.matrices.get_mut(fleet) {
            matrix.count(transition);
        }
        let damaged = std::mem::take(&mut self.roster.rows[device.at()].damaged);
        if damaged && transition.legal_index().is_none() {
            self.matrix.excuse();
        }
        let began = matches!(transition.to, Phase::Installing | Phase::Downloading);
        self.ahead.happened(at).starts += u64::from(began && transition.from == Phase::Accepted);
        self.fingerprint = self
            .fingerprint
            .wrapping_add(print_of(at, self.roster.register.id(device), sequence, transition));
        let facts = Facts {
            attempt,
            transition: Some(transition),
            ..Facts::default()
        };
        self.enter(at, device, Entry::Transition, facts);
        if !transition.from.at_rest() {
            let facts = Facts {
                attempt: attempt.or(self.roster.rows[device.at()].current),
                phase: Some(transition.from),
                ..Facts::default()
            };
            let entry = Entry::PhaseTime {
                phase: transition.from,
                spent: Duration::from_nanos(spent),
                raw: at.since(since),
            };
            self.enter(at, device, entry, facts);
        }
    }

    fn on_session(&mut self, at: SimTime, device: DeviceIndex, session: Session) {
        self.change(at, Changing::Session, device, |row| {
            row.session = session;
            row.clock.power(session != Session::Off, at);
        });
    }

    fn on_connect(&mut self, at: SimTime, device: DeviceIndex, result: ConnectResult, planned: Duration, raw: Duration) {
        let facts = Facts {
            result: 1 << result as u16,
            ..Facts::default()
        };
        self.enter(at, device, Entry::Connect(result), facts);
        if result == ConnectResult::Ok {
            self.ahead.happened(at).connects_ok += 1;
            self.enter(at, device, Entry::ConnectTime { planned, raw }, facts);
        } else {
            self.ahead.happened(at).connects_failed += 1;
        }
    }

    fn on_manifest(&mut self, at: SimTime, device: DeviceIndex, attempt: AttemptId) {
        self.ahead.happened(at).manifests += 1;
        self.change(at, Changing::Attempts, device, |row| {
            let row = row.attempt_mut(attempt);
            row.received = row.received.or(Some(at));
        });
    }

    fn on_end(
        &mut self,
        at: SimTime,
        device: DeviceIndex,
        attempt: AttemptId,
        result: AttemptResult,
        reason: Option<FailureReason>,
    ) {
        self.ahead.happened(at).ended[result as usize] += 1;
        self.change(at, Changing::Attempts, device, |row| {
            row.current = Some(attempt);
            let row = row.attempt_mut(attempt);
            row.result = Some(result);
            row.reason = reason;
        });
        let facts = Facts {
            reason,
            ..Facts::of_attempt(attempt)
        };
        self.enter(at, device, Entry::Attempt(result), facts.ended(result));
    }

    fn on_published(&mut self, at: SimTime, device: DeviceIndex, attempt: AttemptId) {
        let Some(row) = self.roster.rows[device.at()].attempt(attempt) else {
            return;
        };
        let (Some(received), Some(result)) = (row.received, row.result) else {
            return;
        };
        // Taken away, since later reports of the same attempt are repeats.
        self.change(at, Changing::Attempts, device, |row| row.attempt_mut(attempt).received = None);
        let facts = Facts::of_attempt(attempt).ended(result);
        let took = at.since(received);
        if at >= self.warmup {
            self.slowest.insert((took, Reverse(device)));
            if self.slowest.len() > SLOWEST_MAX {
                self.slowest.pop_first();
            }
        }
        self.enter(at, device, Entry::UpdateTime(took), facts);
        let taken_up = self.begun.as_mut().and_then(|begun| begun.remove(&device));
        if let Some((_, since)) = taken_up.filter(|(begun, _)| *begun == attempt) {
            self.enter(at, device, Entry::UpdateTimeRaw(at.since(since)), facts);
        }
    }

    fn on_main(&mut self, at: SimTime, device: DeviceIndex, firmware: &FirmwareVersion) {
        let number = self.roster.firmware.number(firmware);
        self.change(at, Changing::Runs, device, |row| match row.runs.first_mut() {
            Some(main) => *main = number,
            None => row.runs.push(number),
        });
    }

    fn on_installed(&mut self, at: SimTime, device: DeviceIndex, firmware: &FirmwareVersion) {
        let number = self.roster.firmware.number(firmware);
        let names = self.roster.firmware.values();
        let same_slug = |runs: &u16| names.get(usize::from(*runs)).is_some_and(|name| name.slug == firmware.slug);
        let same = self.roster.rows[device.at()].runs.iter().position(same_slug);
        self.change(at, Changing::Runs, device, |row| match same {
            // The version record of main says what was installed, the running image what runs.
            Some(0) => {}
            Some(place) => row.runs[place] = number,
            None => row.runs.push(number),
        });
    }
}
