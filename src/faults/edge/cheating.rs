//! What a cheating device sends, hides and makes up. Its core is honest: it is its edge that lies, in front of any server.
//!
//! What it makes up goes out beside the device's own messages, and is none of those that faults strike.

use std::time::Duration;

use bytes::Bytes;

use crate::device::DeviceInput;
use crate::luck::Purpose;
use crate::model::{AttemptId, DeviceId, Few, Phase, RecordKey, Secret};
use crate::time::SimTime;
use crate::wire::config::Severity;
use crate::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, decode_results, encode_results};
use crate::wire::telemetry::{LogRecord, encode_log};
use crate::wire::{DownloadRequest, Packet, Publish, QoS, topic};

use super::super::cheat::Cheat;
use super::super::link::Draws;
use super::super::plan::Happening;
use super::messages::ARTIFACTS_MAX;
use super::{Edge, EdgeOutput, EdgeOutputs};

/// From one burst of a flood to the next, and messages in each: a hundred a second.
const FLOOD_EVERY: Duration = Duration::from_millis(100);
const FLOOD_BURST: u32 = 10;

/// The packet identifier of what a cheater subscribes to: the last one, which a device comes to after 65,534 others.
const STOLEN: u16 = u16::MAX;

/// Artifacts that no manifest has begin here (protocol 3.1).
const BEYOND: u64 = ARTIFACTS_MAX as u64;

/// Most bytes of garbage.
const GARBAGE_MAX: u64 = 64;

/// A cheater as its edge keeps it.
#[derive(Debug)]
pub(super) struct Cheating {
    cheat: Cheat,
    /// Position of its row among what is counted.
    row: u16,
    /// The device that it steals from.
    victim: DeviceId,
    /// Draws so far.
    drawn: u32,
    /// What it last reported.
    last: Option<Bytes>,
    /// The attempt whose manifest came last, and how many artifacts that has.
    heard: Option<(AttemptId, u64)>,
    /// The next burst.
    due: Option<SimTime>,
}

/// What becomes of a packet that the device hands over.
#[derive(Debug, Default)]
struct Deed {
    before: Vec<Packet>,
    hidden: bool,
    after: Vec<Packet>,
}

impl Cheating {
    pub(super) fn new(cheat: Cheat, row: u16, victim: DeviceId) -> Cheating {
        Cheating {
            cheat,
            row,
            victim,
            drawn: 0,
            last: None,
            heard: None,
            due: None,
        }
    }

    /// When it acts of itself.
    pub(super) fn due(&self) -> Option<SimTime> {
        self.due
    }

    fn draw(&mut self, draws: Draws) -> u64 {
        let drawn = draws.luck.draw(Purpose::Cheat, draws.device, u64::from(self.drawn));
        self.drawn += 1;
        drawn
    }

    /// What it makes of a packet of its device; `None` where it lets it be.
    fn deed(&mut self, packet: &Packet, draws: Draws) -> Option<Deed> {
        let hidden = |hidden| Deed {
            hidden,
            ..Deed::default()
        };
        match (self.cheat, packet) {
            (Cheat::NoAck, Packet::PubAck { .. }) => Some(hidden(true)),
            (Cheat::StealTopic, Packet::Subscribe { filters, .. }) if is_ota(filters) => Some(Deed {
                after: vec![self.stolen_subscription()],
                ..Deed::default()
            }),
            (_, Packet::Publish(publish)) if publish.topic == topic::OTA_D2C => self.report(publish, draws),
            _ => None,
        }
    }

    /// What it makes of its device's results.
    fn report(&mut self, publish: &Publish, draws: Draws) -> Option<Deed> {
        let results = decode_results(&publish.payload).ok();
        let deed = match self.cheat {
            Cheat::HideResults | Cheat::UpdateLoop => Deed {
                hidden: true,
                ..Deed::default()
            },
            Cheat::ReplayResults => Deed {
                after: vec![Packet::Publish(publish.clone())],
                ..Deed::default()
            },
            Cheat::BadIndex => Deed {
                before: vec![self.bad_index(results?.attempt, draws)],
                ..Deed::default()
            },
            Cheat::Garbage => Deed {
                before: vec![self.garbage(draws)],
                ..Deed::default()
            },
            Cheat::StealTopic => Deed {
                after: vec![publish_on(
                    format!("{}/{}", topic::OTA_D2C, self.victim),
                    publish.payload.clone(),
                )],
                ..Deed::default()
            },
            Cheat::ClaimSuccess | Cheat::NoAck | Cheat::WrongSecret | Cheat::Flood | Cheat::SuccessBeforeBoot => return None,
        };
        self.last = Some(publish.payload.clone());
        Some(deed)
    }

    /// Success and failure of artifacts that there are not.
    fn bad_index(&mut self, attempt: AttemptId, draws: Draws) -> Packet {
        let drawn = self.draw(draws);
        let (first, second) = (BEYOND + drawn % 1_000, u64::from(u32::MAX) + (drawn >> 32));
        report_of(
            attempt,
            Report::Results {
                succeeded: vec![first].into(),
                failed: vec![second].into(),
                canceled: Few::None,
            },
        )
    }

    /// Bytes that are drawn. The first one begins no map, so that they are no message by any luck.
    fn garbage(&mut self, draws: Draws) -> Packet {
        let length = 1 + self.draw(draws) % GARBAGE_MAX;
        let mut bytes: Vec<u8> = Vec::new();
        while (bytes.len() as u64) < length {
            bytes.extend(self.draw(draws).to_le_bytes());
        }
        bytes.truncate(length as usize);
        bytes[0] = 0xff;
        publish_on(topic::OTA_D2C.to_owned(), bytes.into())
    }

    /// Everything under the OTA topic, and what is another device's by name.
    fn stolen_subscription(&self) -> Packet {
        let filters = [
            format!("{}/{}", topic::OTA_C2D, self.victim),
            format!("{}/+", topic::OTA_C2D),
            "#".to_owned(),
        ];
        Packet::Subscribe {
            id: STOLEN,
            filters: filters.map(|filter| (filter.into(), QoS::AtLeastOnce)).into_iter().collect(),
        }
    }

    /// That all of the attempt that it last heard of has succeeded.
    fn claim(&self) -> Option<Packet> {
        let (attempt, artifacts) = self.heard?;
        let claim = Report::Results {
            succeeded: (0..artifacts).collect(),
            failed: Few::None,
            canceled: Few::None,
        };
        Some(report_of(attempt, claim))
    }

    /// What it answers to a message of the cloud; `None` where it lets it be.
    fn answer(&mut self, message: &CloudMessage) -> Option<Packet> {
        let newer = match message {
            CloudMessage::UpdateArtifacts { attempt, manifest, .. } => {
                let heard = (*attempt, manifest.artifacts.len() as u64);
                self.heard.replace(heard).is_none_or(|(before, _)| before != *attempt)
            }
            CloudMessage::CancelUpdate { .. } | CloudMessage::ReportResults { .. } => false,
        };
        match self.cheat {
            Cheat::ClaimSuccess => self.claim(),
            Cheat::ReplayResults if newer => self.last.clone().map(|last| publish_on(topic::OTA_D2C.to_owned(), last)),
            _ => None,
        }
    }
}

fn is_ota(filters: &[(crate::wire::Topic, QoS)]) -> bool {
    filters.iter().any(|(filter, _)| topic::belongs_to(filter, topic::OTA_C2D))
}

fn report_of(attempt: AttemptId, report: Report) -> Packet {
    let payload = encode_results(&UpdateResults { attempt, report });
    publish_on(topic::OTA_D2C.to_owned(), payload)
}

fn publish_on(topic: String, payload: Bytes) -> Packet {
    Packet::Publish(Publish {
        topic: topic.into(),
        qos: QoS::AtMostOnce,
        id: 0,
        dup: false,
        payload,
    })
}

impl Edge {
    /// The same device, cheating: `row` is where what it does is counted, `victim` whom it steals from.
    #[must_use]
    pub fn cheating(mut self, cheat: Option<(u16, Cheat)>, victim: impl FnOnce() -> DeviceId) -> Edge {
        if let Some((row, cheat)) = cheat {
            self.trouble().cheating = Some(Cheating::new(cheat, row, victim()));
        }
        self
    }

    fn cheat(&mut self) -> Option<&mut Cheating> {
        self.trouble.as_mut()?.cheating.as_mut()
    }

    /// The device hands a packet to its transport: gives it back where it is sent, with what comes behind it.
    pub(super) fn cheat_on_sending(&mut self, packet: Packet, out: &mut EdgeOutputs) -> Option<(Packet, Vec<Packet>)> {
        let draws = self.draws();
        let Some(cheating) = self.cheat() else {
            return Some((packet, Vec::new()));
        };
        let Some(deed) = cheating.deed(&packet, draws) else {
            return Some((packet, Vec::new()));
        };
        out.fault(cheating.row, Happening::Done);
        out.queue.extend(deed.before.into_iter().map(EdgeOutput::Late));
        if deed.hidden {
            out.queue.push(EdgeOutput::Sent(packet));
            return None;
        }
        Some((packet, deed.after))
    }

    /// A packet has come for the device: gives it back where the device gets it.
    pub(super) fn cheat_on_receiving(&mut self, packet: Packet, out: &mut EdgeOutputs) -> Option<Packet> {
        let Some(cheating) = self.cheat() else {
            return Some(packet);
        };
        if matches!(packet, Packet::SubAck { id: STOLEN, .. }) {
            return None;
        }
        let Packet::Publish(publish) = &packet else {
            return Some(packet);
        };
        let message = topic::belongs_to(&publish.topic, topic::OTA_C2D)
            .then(|| decode_cloud(&publish.payload, ARTIFACTS_MAX).ok())
            .flatten();
        let Some(answer) = message.and_then(|message| cheating.answer(&message)) else {
            return Some(packet);
        };
        out.fault(cheating.row, Happening::Done);
        let kept = cheating.cheat == Cheat::ClaimSuccess;
        if kept && publish.qos == QoS::AtLeastOnce {
            out.queue.push(EdgeOutput::Late(Packet::PubAck { id: publish.id }));
        }
        out.queue.push(EdgeOutput::Late(answer));
        (!kept).then_some(packet)
    }

    /// The device enters a phase: one that cannot wait for its image to run says that it has.
    pub(super) fn cheat_on_phase(&mut self, to: Phase, out: &mut EdgeOutputs) {
        let early = |cheating: &&mut Cheating| cheating.cheat == Cheat::SuccessBeforeBoot && to == Phase::Committing;
        let Some(cheating) = self.cheat().filter(early) else {
            return;
        };
        if let Some(claim) = cheating.claim() {
            out.fault(cheating.row, Happening::Done);
            out.queue.push(EdgeOutput::Late(claim));
        }
    }

    /// The device starts anew: one that updates in a loop finds nothing of what it did.
    pub(super) fn cheat_on_reset(&mut self, out: &mut EdgeOutputs) {
        let forgets = |cheating: &&mut Cheating| cheating.cheat == Cheat::UpdateLoop;
        if let Some(cheating) = self.cheat().filter(forgets) {
            out.fault(cheating.row, Happening::Done);
            let lost = [RecordKey::Attempt, RecordKey::Probation].map(DeviceInput::LoseRecord);
            self.trouble().reactions.extend(lost);
        }
    }

    /// The device wants an image.
    pub(super) fn cheat_on_request(&mut self, request: &mut DownloadRequest, out: &mut EdgeOutputs) {
        let draws = self.draws();
        let Some(cheating) = self.cheat().filter(|cheating| cheating.cheat == Cheat::WrongSecret) else {
            return;
        };
        let made_up = format!("{:016x}{:08x}", cheating.draw(draws), cheating.draw(draws) >> 32);
        out.fault(cheating.row, Happening::Done);
        request.secret = Secret::new(made_up).expect("24 hex digits are a secret");
    }

    /// The connection is up, or is not any more: a flood begins, or ends.
    pub(super) fn cheat_on_connection(&mut self, up: Option<SimTime>) {
        if let Some(cheating) = self.cheat().filter(|cheating| cheating.cheat == Cheat::Flood) {
            cheating.due = up.map(|now| now + FLOOD_EVERY);
        }
    }

    /// Sends the burst that is due. What a late call has missed is not made up for.
    pub(super) fn flood(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        let Some(cheating) = self.cheat() else {
            return;
        };
        if cheating.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        cheating.due = Some(now + FLOOD_EVERY);
        out.fault(cheating.row, Happening::Done);
        for sequence in 0..FLOOD_BURST {
            let log = encode_log(&LogRecord {
                sequence: u64::from(sequence),
                severity: Severity::INFO,
                uptime_ms: now.as_nanos() / 1_000_000,
                labels: vec![("source".into(), "flood".to_owned())],
                body: "one of many".to_owned(),
                template: None,
            });
            let log = Packet::Publish(Publish::at_most_once(topic::INGEST, log));
            out.queue.push(EdgeOutput::Late(log));
        }
    }
}
