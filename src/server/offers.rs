//! What is said between server and device about an attempt: manifest, cancellation, request for results, results (protocol 2.5, 3).
//!
//! A device has at most one attempt In Progress, the only one whose manifest it is sent, and at most one Pending, which is newer and
//! takes over when the other has ended or no longer holds. Loss is healed by repetition, every `chase`: what was not acknowledged
//! is sent again (a request for results never recovers a lost manifest), what was is asked about. That a device has *seen* an id
//! (key 41) is taken as proof of nothing (protocol 14, traps 1 and 2).

use std::io::Write as _;

use crate::model::{Artifact, AttemptId, Manifest, ServerEvent, StateReason, UpdateState, Url};
use crate::time::SimTime;
use crate::wire::ota::{CloudMessage, Report, decode_results, encode_cloud};
use crate::wire::{Packet, Publish, Topic, topic};

use super::attempts::{Attempt, AttemptIndex, Results};
use super::connections::Kind;
use super::io::{ConnectionId, ServerOutput, ServerOutputs};
use super::record::{DeviceNumber, Record};
use super::{Defect, Server};

impl Server {
    /// Sends the manifest of a device's Pending attempt for the first time, if the device is online, the deployment not paused,
    /// nothing stands in its way and it is its turn.
    /// An older attempt In Progress stands in its way while its deployment holds for the device; otherwise it is closed here,
    /// since no results of it will come (protocol O10, O11). True if it was sent.
    pub(super) fn offer(&mut self, device: DeviceNumber, now: SimTime, out: &mut ServerOutputs) -> bool {
        let owner = self.ledger.registry.at(device);
        let (Some(pending), current) = (owner.pending, owner.current) else {
            return false;
        };
        let Some(connection) = self.connections.online(device) else {
            return false;
        };
        if self.ledger.deployments.at(self.ledger.attempts.at(pending).deployment).paused {
            return false;
        }
        let holds = current.is_some_and(|current| self.ledger.holds(current)) && !self.is_planted(Defect::SupersedeEarly);
        if holds || !self.may_offer(device, now) {
            return false;
        }
        if let Some(current) = current.filter(|_| !self.is_planted(Defect::SkipSupersession)) {
            self.end(current, UpdateState::Cancelled, StateReason::Superseded, out);
        }
        self.send_manifest(connection, pending, now, out);
        true
    }

    /// Says what a fresh subscription is owed: the manifest of the open attempt, or nothing (protocol 2.5, invariant 44).
    pub(super) fn resume(&mut self, device: DeviceNumber, now: SimTime, out: &mut ServerOutputs) {
        if self.offer(device, now, out) {
            return;
        }
        let Some(connection) = self.connections.online(device) else {
            return;
        };
        match self.ledger.registry.at(device).current {
            Some(_) if self.is_planted(Defect::OfferOnce) => {}
            Some(current) => {
                self.send_manifest(connection, current, now, out);
                self.send_cancel(connection, current, out);
            }
            None => self.recall(connection, device, out),
        }
    }

    /// Asks a device for what is missing of its attempt In Progress, or sends again what did not arrive.
    pub(super) fn chase(&mut self, device: DeviceNumber, now: SimTime, out: &mut ServerOutputs) {
        let (Some(connection), Some(current)) = (self.connections.online(device), self.ledger.registry.at(device).current) else {
            return;
        };
        let attempt = self.ledger.attempts.at(current).id;
        if self.connections.has_manifest(connection, attempt) {
            self.send_cancel(connection, current, out);
            self.send(connection, Kind::Report, &CloudMessage::ReportResults { attempt }, out);
            self.arm_chase(connection, now);
        } else {
            self.send_manifest(connection, current, now, out);
            self.send_cancel(connection, current, out);
        }
    }

    /// Withdraws an attempt whose deployment was cancelled: at once while Pending; In Progress it is asked for, and stays what it is
    /// until results come (protocol O14).
    pub(super) fn withdraw(&mut self, index: AttemptIndex, now: SimTime, out: &mut ServerOutputs) {
        let attempt = self.ledger.attempts.at(index);
        let (id, device) = (attempt.id, attempt.device);
        if attempt.state == UpdateState::Pending {
            self.end(index, UpdateState::Cancelled, StateReason::Cancelled, out);
        } else if attempt.state == UpdateState::InProgress {
            self.commit(Record::CancelRequested { attempt: id }, out);
            self.offer(device, now, out);
            if let Some(connection) = self.connections.online(device) {
                self.send_cancel(connection, index, out);
            }
        }
    }

    /// Takes in UPDATE_RESULTS; false if they are of no use: malformed, late, unknown, out of range, contradictory (protocol O24,
    /// O25). Nothing is disturbed by those.
    pub(super) fn report(
        &mut self,
        from: ConnectionId,
        device: DeviceNumber,
        payload: &[u8],
        now: SimTime,
        out: &mut ServerOutputs,
    ) -> bool {
        let Ok(message) = decode_results(payload) else {
            return false;
        };
        let known = self
            .ledger
            .attempts
            .find(message.attempt)
            .filter(|_| self.is_planted(Defect::BelieveLate));
        if let Some(known) = known {
            self.believe_late(known, device, &message.report, out);
        }
        let Some(current) = self.ledger.registry.at(device).current else {
            return false;
        };
        let attempt = self.ledger.attempts.at(current);
        if attempt.id != message.attempt {
            return false;
        }
        let used = match message.report {
            Report::Error(error) => self.refuse(current, error, out),
            Report::Results {
                succeeded,
                failed,
                canceled,
            } => {
                let artifacts = self.artifacts(attempt);
                let reported = Results::reported(&succeeded, &failed, &canceled, artifacts);
                match reported.and_then(|reported| attempt.results.joined(reported)) {
                    Some(results) => self.learn(current, results, out),
                    None => return false,
                }
            }
        };
        if self.ledger.registry.at(device).current.is_none() {
            self.connections.chase(from, None);
            self.offer(device, now, out);
        } else {
            self.connections.prove_manifest(from, message.attempt);
            self.arm_chase(from, now);
        }
        used
    }

    /// What [`Defect::BelieveLate`] does with results of an attempt that has ended otherwise.
    fn believe_late(&mut self, index: AttemptIndex, device: DeviceNumber, report: &Report, out: &mut ServerOutputs) {
        let attempt = self.ledger.attempts.at(index);
        let Report::Results {
            succeeded,
            failed,
            canceled,
        } = report
        else {
            return;
        };
        let artifacts = self.artifacts(attempt);
        let Some(results) = Results::reported(succeeded, failed, canceled, artifacts) else {
            return;
        };
        let state = results.state(artifacts);
        if attempt.device == device && attempt.state.ended() && state.ended() && attempt.state != state {
            self.end(index, state, StateReason::Results, out);
        }
    }

    fn refuse(&mut self, index: AttemptIndex, error: u64, out: &mut ServerOutputs) -> bool {
        let attempt = self.ledger.attempts.at(index).id;
        self.commit(Record::AttemptRefused { attempt, error }, out);
        self.end(index, UpdateState::Failed, StateReason::AttemptError, out);
        true
    }

    fn learn(&mut self, index: AttemptIndex, results: Results, out: &mut ServerOutputs) -> bool {
        let attempt = self.ledger.attempts.at(index);
        let (id, mut state) = (attempt.id, results.state(self.artifacts(attempt)));
        if state == UpdateState::Failed && results.succeeded != 0 && self.is_planted(Defect::FavorSuccess) {
            state = UpdateState::Succeeded;
        }
        if attempt.results != results {
            let record = Record::ResultsKnown { attempt: id, results };
            self.commit(record, out);
        }
        if state.ended() {
            self.end(index, state, StateReason::Results, out);
        }
        true
    }

    /// Sends a cancelling manifest to a device that says it has seen an attempt which was cancelled while Pending, hence before any
    /// manifest of it was recorded as sent: one was on its way all the same (protocol, section 10).
    fn recall(&mut self, connection: ConnectionId, device: DeviceNumber, out: &mut ServerOutputs) {
        let owner = self.ledger.registry.at(device);
        let Some(seen) = owner.session.last_attempt.and_then(|id| self.ledger.attempts.find(id)) else {
            return;
        };
        let newer_sent = owner
            .attempts
            .iter()
            .any(|&index| index >= seen && self.ledger.attempts.at(index).sent);
        let attempt = self.ledger.attempts.at(seen);
        if attempt.device != device || attempt.state != UpdateState::Cancelled || newer_sent {
            return;
        }
        let id = attempt.id;
        self.commit(Record::ManifestSent { attempt: id }, out);
        self.transmit_manifest(connection, seen, false, out);
    }

    fn send_manifest(&mut self, connection: ConnectionId, index: AttemptIndex, now: SimTime, out: &mut ServerOutputs) {
        let attempt = self.ledger.attempts.at(index);
        let (id, repeat) = (attempt.id, attempt.sent);
        if !repeat {
            self.commit(Record::ManifestSent { attempt: id }, out);
            self.observe_state(index, UpdateState::Pending, StateReason::Offered, out);
        }
        self.transmit_manifest(connection, index, repeat, out);
        self.arm_chase(connection, now);
    }

    fn transmit_manifest(&mut self, connection: ConnectionId, index: AttemptIndex, repeat: bool, out: &mut ServerOutputs) {
        let attempt = self.ledger.attempts.at(index);
        let id = attempt.id;
        let device = self.ledger.registry.at(attempt.device).id.clone();
        let message = CloudMessage::UpdateArtifacts {
            attempt: id,
            manifest: self.manifest(attempt),
        };
        self.send(connection, Kind::Manifest, &message, out);
        out.push(ServerOutput::Observed(ServerEvent::ManifestSent {
            device,
            attempt: id,
            repeat,
        }));
    }

    /// Asks for the cancellation of an attempt In Progress that is to be cancelled. A device that runs the attempt looks at this
    /// message alone and not at the flag of a repeated manifest (protocol 14, trap 3).
    fn send_cancel(&mut self, connection: ConnectionId, index: AttemptIndex, out: &mut ServerOutputs) {
        let attempt = self.ledger.attempts.at(index);
        if attempt.cancel_requested && attempt.state == UpdateState::InProgress {
            let message = CloudMessage::CancelUpdate { attempt: attempt.id };
            self.send(connection, Kind::Cancel, &message, out);
        }
    }

    fn send(&mut self, to: ConnectionId, kind: Kind, message: &CloudMessage, out: &mut ServerOutputs) {
        let canceled = match message {
            CloudMessage::UpdateArtifacts { manifest, .. } => manifest.canceled,
            CloudMessage::CancelUpdate { .. } | CloudMessage::ReportResults { .. } => false,
        };
        if let Some(stamp) = self.connections.stamp(to, kind, message.attempt(), canceled) {
            let packet = Packet::Publish(Publish {
                topic: Topic::Borrowed(topic::OTA_C2D),
                qos: stamp.qos,
                id: stamp.packet,
                dup: stamp.dup,
                payload: encode_cloud(message),
            });
            out.push(ServerOutput::Transmit { to, packet });
        }
    }

    fn arm_chase(&mut self, connection: ConnectionId, now: SimTime) {
        let chases = !self.chase.is_zero() && !self.is_planted(Defect::NeverChase);
        let at = chases.then(|| now + self.chase);
        self.connections.chase(connection, at);
    }

    /// The manifest of an attempt: the same count and order each time (protocol O6).
    fn manifest(&self, attempt: &Attempt) -> Manifest {
        let deployment = self.ledger.deployments.at(attempt.deployment);
        let device = &self.ledger.registry.at(attempt.device).id;
        let artifact = |(index, package): (u8, &super::deployments::Package)| Artifact {
            slug: package.firmware.slug.clone(),
            main: deployment.main == Some(index),
            url: self.image_url(attempt.id, index),
            secret: self.keys.secret(attempt.id, index, device),
            version: package.firmware.version.clone(),
        };
        Manifest {
            canceled: attempt.cancel_requested || attempt.state == UpdateState::Cancelled,
            artifacts: (0..).zip(&deployment.packages).map(artifact).collect(),
        }
    }

    fn image_url(&self, attempt: AttemptId, index: u8) -> Url {
        let mut text = [0; Url::MAX];
        let mut room = &mut text[..];
        let written = write!(room, "{}/a/{attempt}/{index}", self.image_base);
        written.expect("the image base leaves room for the path");
        let left = room.len();
        Url::new(&text[..Url::MAX - left]).expect("it is as long as a URL may be")
    }

    fn artifacts(&self, attempt: &Attempt) -> usize {
        self.ledger.deployments.at(attempt.deployment).packages.len()
    }
}
