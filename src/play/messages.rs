//! What an MQTT message is, as the metric `messages` tells types apart.
//!
//! CONNECT, CONNACK, SUBSCRIBE and pings are not messages: they are the connection itself.

use crate::wire::ota::{CloudMessage, read_cloud};
use crate::wire::{Packet, Publish, message_type, topic};

/// Most artifacts of a manifest that any device takes (protocol 3.1).
const ARTIFACTS_MAX: u8 = 32;

/// True for what is counted as a message.
pub(super) const fn is_message(packet: &Packet) -> bool {
    matches!(packet, Packet::Publish(_) | Packet::PubAck { .. } | Packet::SubAck { .. })
}

/// The word for a message.
pub(super) fn kind(packet: &Packet) -> &'static str {
    match packet {
        Packet::Publish(publish) if publish.topic == topic::OTA_D2C => "results",
        Packet::Publish(publish) if publish.topic == topic::INGEST => ingested(publish),
        Packet::Publish(publish) if topic::belongs_to(&publish.topic, topic::OTA_C2D) => offered(publish),
        Packet::Publish(publish) if publish.topic == topic::CONFIG_D2C => "config",
        Packet::Publish(publish) if topic::belongs_to(&publish.topic, topic::CONFIG_C2D) => "config",
        Packet::PubAck { .. } => "puback",
        Packet::SubAck { .. } => "suback",
        _ => "other",
    }
}

fn ingested(publish: &Publish) -> &'static str {
    match message_type(&publish.payload) {
        Some(0) => "log",
        Some(1) => "metadata",
        Some(5) => "metric",
        _ => "other",
    }
}

fn offered(publish: &Publish) -> &'static str {
    match read_cloud(&publish.payload, ARTIFACTS_MAX) {
        Ok(CloudMessage::UpdateArtifacts { .. }) => "manifest",
        Ok(CloudMessage::CancelUpdate { .. }) => "cancel",
        Ok(CloudMessage::ReportResults { .. }) => "report",
        Err(_) => "other",
    }
}
