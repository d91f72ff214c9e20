//! Single MQTT messages: lost, doubled, held back.
//!
//! CONNECT, CONNACK, SUBSCRIBE and pings are not messages here: they are the connection itself.

use crate::device::{DeviceInput, DeviceOutput};
use crate::time::SimTime;
use crate::wire::ota::{CloudMessage, decode_cloud};
use crate::wire::{Packet, Publish, session, topic};

use super::super::kind::FaultKind;
use super::super::link::{Draws, Way};
use super::super::message::MessageFault;
use super::super::plan::{Happening, MessageType, Narrowing};
use super::trouble::Trouble;
use super::{Edge, EdgeOutput, EdgeOutputs};

/// Most artifacts of a manifest that any device takes (protocol 3.1).
pub(super) const ARTIFACTS_MAX: u8 = 32;

/// What faults make of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fate {
    lost: bool,
    /// Copies beyond the first.
    copies: u32,
    by: std::time::Duration,
}

/// A message as faults see it.
struct Message {
    kind: Option<MessageType>,
    cloud: Option<CloudMessage>,
}

impl Message {
    /// `None` for packets that are no messages.
    fn of(way: Way, packet: &Packet) -> Option<Message> {
        let plain = |kind| Some(Message { kind, cloud: None });
        match (way, packet) {
            (Way::Up, Packet::Publish(publish)) => plain(sent(publish)),
            (Way::Up, Packet::PubAck { .. }) => plain(Some(MessageType::Puback)),
            (Way::Down, Packet::SubAck { .. }) => plain(Some(MessageType::Suback)),
            (Way::Down, Packet::Publish(publish)) => {
                let ota = topic::belongs_to(&publish.topic, topic::OTA_C2D);
                let cloud = ota.then(|| decode_cloud(&publish.payload, ARTIFACTS_MAX).ok()).flatten();
                let kind = cloud.as_ref().map(|cloud| match cloud {
                    CloudMessage::UpdateArtifacts { .. } => MessageType::Manifest,
                    CloudMessage::CancelUpdate { .. } => MessageType::Cancel,
                    CloudMessage::ReportResults { .. } => MessageType::Report,
                });
                Some(Message { kind, cloud })
            }
            (
                _,
                Packet::Connect(_)
                | Packet::ConnAck { .. }
                | Packet::Subscribe { .. }
                | Packet::Unsubscribe { .. }
                | Packet::UnsubAck { .. }
                | Packet::PingRequest
                | Packet::PingResponse
                | Packet::Disconnect
                | Packet::SubAck { .. }
                | Packet::PubAck { .. },
            ) => None,
        }
    }

    fn is_one_of(&self, only: &[Narrowing]) -> bool {
        let fits = |narrowing: &Narrowing| match narrowing {
            Narrowing::Message(kind) => self.kind == Some(*kind),
            Narrowing::Version(firmware) => match &self.cloud {
                Some(CloudMessage::UpdateArtifacts { manifest, .. }) => {
                    manifest.artifacts.iter().any(|artifact| artifact.firmware() == *firmware)
                }
                Some(CloudMessage::CancelUpdate { .. } | CloudMessage::ReportResults { .. }) | None => false,
            },
            Narrowing::Nth(_) => false,
        };
        let mut narrowed = only
            .iter()
            .filter(|narrowing| !matches!(narrowing, Narrowing::Nth(_)))
            .peekable();
        narrowed.peek().is_none() || narrowed.any(fits)
    }
}

fn sent(publish: &Publish) -> Option<MessageType> {
    if publish.topic == topic::OTA_D2C {
        return Some(MessageType::Results);
    }
    let metadata = publish.topic == topic::INGEST && session::decode(&publish.payload).is_ok();
    metadata.then_some(MessageType::Metadata)
}

impl Trouble {
    fn held(&mut self, way: Way) -> &mut std::collections::VecDeque<(SimTime, Packet)> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn strikes_messages(&self) -> bool {
        self.is_on(|kind| matches!(kind, FaultKind::Message(_)))
    }

    /// What becomes of a message. With other packets it only waits behind what is held back.
    fn fate(&mut self, message: &Message, draws: Draws, out: &mut EdgeOutputs) -> Fate {
        let mut fate = Fate::default();
        for armed in self.armed.iter_mut().filter(|armed| armed.on.is_some()) {
            let FaultKind::Message(kind) = armed.injection.kind else {
                continue;
            };
            if fate.lost || !message.is_one_of(&armed.injection.only) {
                continue;
            }
            let fault = armed.injection.fault;
            if !armed.is_its_turn() {
                continue;
            }
            if !armed.is_struck(draws) {
                out.fault(fault, Happening::Spared);
                continue;
            }
            out.fault(fault, Happening::Done);
            match kind {
                MessageFault::Lose => fate.lost = true,
                MessageFault::Duplicate => fate.copies += 1,
                MessageFault::Delay { by } => fate.by += by,
            }
        }
        fate
    }
}

impl Edge {
    /// The device hands a packet to its transport.
    pub(super) fn transmit(&mut self, packet: Packet, now: SimTime, out: &mut EdgeOutputs) {
        if let Some((packet, made_up)) = self.cheat_on_sending(packet, out) {
            self.send(packet, now, out);
            out.queue.extend(made_up.into_iter().map(EdgeOutput::Late));
        }
    }

    fn send(&mut self, packet: Packet, now: SimTime, out: &mut EdgeOutputs) {
        let Some(fate) = self.judge(Way::Up, &packet, out) else {
            return out.device(DeviceOutput::Transmit(packet));
        };
        if fate.lost {
            return out.queue.push(EdgeOutput::Sent(packet));
        }
        if self.hold(Way::Up, &packet, fate, now) {
            return out.queue.push(EdgeOutput::Sent(packet));
        }
        (0..fate.copies).for_each(|_| out.queue.push(EdgeOutput::Late(packet.clone())));
        out.device(DeviceOutput::Transmit(packet));
    }

    /// A packet has come for the device.
    pub(super) fn receive(&mut self, packet: Packet, now: SimTime, out: &mut EdgeOutputs) {
        let Some(packet) = self.cheat_on_receiving(packet, out) else {
            return;
        };
        self.note_manifest(&packet);
        let Some(fate) = self.judge(Way::Down, &packet, out) else {
            return self.pass(DeviceInput::Received(packet), now, out);
        };
        if fate.lost || self.hold(Way::Down, &packet, fate, now) {
            return;
        }
        for _ in 0..=fate.copies {
            self.pass(DeviceInput::Received(packet.clone()), now, out);
        }
    }

    /// Lets go what was held back long enough.
    pub(super) fn let_go(&mut self, way: Way, now: SimTime, out: &mut EdgeOutputs) {
        while self.trouble().held(way).front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, packet)) = self.trouble().held(way).pop_front() else {
                return;
            };
            match way {
                Way::Up => out.queue.push(EdgeOutput::Late(packet)),
                Way::Down => self.pass(DeviceInput::Received(packet), now, out),
            }
        }
    }

    /// `None` where nothing strikes messages and none is held back.
    fn judge(&mut self, way: Way, packet: &Packet, out: &mut EdgeOutputs) -> Option<Fate> {
        let draws = self.draws();
        let trouble = self.trouble.as_mut()?;
        if !trouble.strikes_messages() && trouble.held(way).is_empty() {
            return None;
        }
        let message = Message::of(way, packet);
        Some(message.map_or_else(Fate::default, |message| trouble.fate(&message, draws, out)))
    }

    /// Holds a message back if it is late, or behind one that is; true if it does.
    fn hold(&mut self, way: Way, packet: &Packet, fate: Fate, now: SimTime) -> bool {
        let held = self.trouble().held(way);
        if fate.by.is_zero() && held.is_empty() {
            return false;
        }
        let due = (now + fate.by).max(held.back().map_or(SimTime::ZERO, |(due, _)| *due));
        (0..=fate.copies).for_each(|_| held.push_back((due, packet.clone())));
        true
    }

    /// Remembers what a manifest is about: moments within its attempt are drawn by it.
    fn note_manifest(&mut self, packet: &Packet) {
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        let Some(Message {
            cloud: Some(CloudMessage::UpdateArtifacts { manifest, .. }),
            ..
        }) = Message::of(Way::Down, packet)
        else {
            return;
        };
        let packages = manifest.artifacts.iter().map(|artifact| (artifact.firmware(), artifact.main));
        trouble.life.packages = packages.collect();
    }
}
