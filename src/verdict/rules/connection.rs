//! How a connection begins, and what it says of the boot (protocol 2.3, 4.1).

use crate::wire::session::SessionMetadata;
use crate::wire::{Packet, message_type, session, topic};

use super::{Rule, Scene, Tally};
use crate::verdict::view::LineStage;

pub(in crate::verdict) const METADATA_THEN_SUBSCRIPTIONS: Rule = Rule {
    name: "metadata-then-subscriptions",
    statement: "a connection begins with session metadata, then the subscription to the configuration, then that to OTA",
    protocol: &[41],
};
pub(in crate::verdict) const RUN_ID_NAMES_THE_BOOT: Rule = Rule {
    name: "run-id-names-the-boot",
    statement: "the run id is constant within a boot and another in the next; the last attempt id never decreases within a boot",
    protocol: &[42],
};
pub(in crate::verdict) const LAST_ATTEMPT_COVERS_THE_RECORD: Rule = Rule {
    name: "last-attempt-covers-the-record",
    statement: "the last attempt id told is never below that of the stored attempt",
    protocol: &[43],
};

/// Message type of session metadata.
const SESSION_METADATA: u64 = 1;

/// Watches connections.
#[derive(Debug)]
pub(in crate::verdict) struct Connection {
    order: Tally,
    boot: Tally,
    last: Tally,
}

impl Default for Connection {
    fn default() -> Self {
        Connection {
            order: Tally::new(&METADATA_THEN_SUBSCRIPTIONS),
            boot: Tally::new(&RUN_ID_NAMES_THE_BOOT),
            last: Tally::new(&LAST_ATTEMPT_COVERS_THE_RECORD),
        }
    }
}

/// What a packet does to the beginning of a connection.
#[derive(Debug)]
pub(in crate::verdict) enum Beginning {
    /// Nothing.
    Other,
    /// It goes on.
    Stage(LineStage),
    /// Session metadata, and what it says if it can be read.
    Introduced(Option<SessionMetadata>),
}

impl Connection {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 3] {
        [&self.order, &self.boot, &self.last]
    }

    /// A packet was sent.
    pub(in crate::verdict) fn sent(&mut self, scene: &Scene<'_>, packet: &Packet) -> Beginning {
        let LineStep { checked, beginning } = follow_line(scene.view.line.stage, packet);
        if let Some(checked) = checked {
            self.order.hold(scene, checked.is_ok(), || checked.err().unwrap_or_default());
        }
        beginning
    }

    /// Session metadata was sent.
    pub(in crate::verdict) fn introduced(&mut self, scene: &Scene<'_>, metadata: &SessionMetadata) {
        let (boot, run) = (&scene.view.boot, metadata.run_id);
        match (boot.run(), boot.run_before()) {
            (Some(told), _) => self
                .boot
                .hold(scene, told == run, || format!("run id {told} became {run} within a boot")),
            (None, Some(before)) => {
                self.boot
                    .hold(scene, before != run, || format!("run id {run} was that of the boot before"));
            }
            (None, None) => {}
        }
        let last = metadata.last_attempt.map_or(0, |attempt| attempt.number());
        let told = boot.last_attempt.map_or(0, |attempt| attempt.number());
        self.boot.hold(scene, last >= told, || {
            format!("the last attempt id fell from {told} to {last} within a boot")
        });
        let stored = scene.view.stored.map_or(0, |stored| stored.attempt.number());
        self.last.hold(scene, last >= stored, || {
            format!("the last attempt id was told as {last}, and attempt {stored} is stored")
        });
    }
}

/// What a packet is to the beginning of a connection.
#[derive(Debug)]
pub(in crate::verdict) struct LineStep {
    /// Whether it may come now, and if not, why; nothing where its order does not matter.
    pub(in crate::verdict) checked: Option<Result<(), String>>,
    /// What it does.
    pub(in crate::verdict) beginning: Beginning,
}

/// Follows the beginning of a connection by one packet.
pub(in crate::verdict) fn follow_line(stage: LineStage, packet: &Packet) -> LineStep {
    let step = |may: bool, what: &dyn Fn() -> String, beginning| LineStep {
        checked: Some(if may {
            Ok(())
        } else {
            Err(format!("{} was sent when {}", what(), words(stage)))
        }),
        beginning,
    };
    let unchecked = |beginning| LineStep {
        checked: None,
        beginning,
    };
    match packet {
        Packet::Connect(_) => unchecked(Beginning::Stage(LineStage::Greeted)),
        Packet::Publish(publish) if publish.topic == topic::INGEST && message_type(&publish.payload) == Some(SESSION_METADATA) => {
            let may = matches!(stage, LineStage::Greeted | LineStage::Subscribed);
            let beginning = Beginning::Introduced(session::decode(&publish.payload).ok());
            step(may, &|| "session metadata".to_owned(), beginning)
        }
        Packet::Publish(publish) => {
            let what = || format!("a message to {}", publish.topic);
            step(stage == LineStage::Subscribed, &what, Beginning::Other)
        }
        Packet::Subscribe { filters, .. } => {
            let to = |name| filters.iter().any(|(filter, _)| filter == name);
            let next = match stage {
                LineStage::Introduced if to(topic::CONFIG_C2D) => Some(LineStage::HalfSubscribed),
                LineStage::HalfSubscribed if to(topic::OTA_C2D) => Some(LineStage::Subscribed),
                LineStage::Greeted | LineStage::Introduced | LineStage::HalfSubscribed | LineStage::Subscribed => None,
            };
            let what = || {
                let wanted = filters.first().map_or("nothing", |(filter, _)| filter);
                format!("a subscription to {wanted}")
            };
            // Whatever is missing is found once; what follows is judged by itself.
            step(next.is_some(), &what, Beginning::Stage(next.unwrap_or(LineStage::Subscribed)))
        }
        Packet::ConnAck { .. }
        | Packet::SubAck { .. }
        | Packet::PubAck { .. }
        | Packet::Unsubscribe { .. }
        | Packet::UnsubAck { .. }
        | Packet::PingRequest
        | Packet::PingResponse
        | Packet::Disconnect => unchecked(Beginning::Other),
    }
}

const fn words(stage: LineStage) -> &'static str {
    match stage {
        LineStage::Greeted => "no session metadata had been sent",
        LineStage::Introduced => "no subscription had been sent",
        LineStage::HalfSubscribed => "the subscription to OTA had not been sent",
        LineStage::Subscribed => "both subscriptions had been sent",
    }
}
