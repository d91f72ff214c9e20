//! Topics of the protocol (protocol 2.2).

/// D2C: session metadata, logs, metrics, coredumps.
pub const INGEST: &str = "ingest-cbor";
/// D2C: reported configuration.
pub const CONFIG_D2C: &str = "config-cbor-d2c";
/// D2C: UPDATE_RESULTS.
pub const OTA_D2C: &str = "ota-cbor-d2c";
/// C2D: desired configuration.
pub const CONFIG_C2D: &str = "config-cbor-c2d";
/// C2D: manifests, cancellations, report requests.
pub const OTA_C2D: &str = "ota-cbor-c2d";

/// True when a message on `topic` belongs to the subscription `name`: the SDK compares the bytes of the name as a prefix, whatever
/// suffix the server appends.
pub fn belongs_to(topic: &str, name: &str) -> bool {
    topic.starts_with(name)
}
