//! What holds of payloads whatever they are, seen at a whole device: invariants 8 and 12. Invariant 59 stands with the records.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use squall::device::DeviceOutput;
use squall::model::{Manifest, Observation, Phase};
use squall::wire::ota::{CloudMessage, DecodeError, decode_cloud, encode_cloud};
use squall::wire::{Packet, topic};

use crate::device::rig::Rig;
use crate::device::setup::{Setup, id, main_only, manifest, modem_then_main};
use crate::wire::cbor::encode_as;
use crate::wire::properties::{cloud_item, style};

const SECOND: Duration = Duration::from_secs(1);

fn orders() -> impl Strategy<Value = Manifest> {
    let order = prop_oneof![
        Just(main_only()),
        Just(modem_then_main()),
        Just(manifest(&[("modem@2.0.0", false)])),
    ];
    (order, any::<bool>()).prop_map(|(order, canceled)| Manifest { canceled, ..order })
}

/// A message about the attempt that a rig is working on.
fn message() -> impl Strategy<Value = CloudMessage> {
    prop_oneof![
        orders().prop_map(|manifest| CloudMessage::UpdateArtifacts {
            attempt: id(6),
            manifest
        }),
        Just(CloudMessage::CancelUpdate { attempt: id(5) }),
        Just(CloudMessage::ReportResults { attempt: id(5) }),
    ]
}

/// What a device does that gets this payload in the midst of a download.
fn life(payload: Bytes) -> Vec<DeviceOutput> {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.cloud.offer = None;
    rig.deliver(payload);
    rig.run_for(60 * SECOND);
    std::mem::take(&mut rig.seen).into_iter().map(|(_, output)| output).collect()
}

/// Any bytes, and messages of which some bytes are others.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let bent = (
        message(),
        vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        any::<prop::sample::Index>(),
    );
    let bent = bent.prop_map(|(message, changes, cut)| {
        let mut bytes = encode_cloud(&message).to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let cut = cut.index(2 * bytes.len());
        bytes.truncate(cut.max(1));
        bytes
    });
    prop_oneof![1 => vec(any::<u8>(), 0..80), 3 => bent]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariant_8_a_message_means_the_same_in_any_encoding(message in message(), style in style()) {
        let other = encode_as(&cloud_item(&message), &mut style.clone());
        prop_assert_eq!(life(encode_cloud(&message)), life(other.into()));
    }

    /// The rig's referee watches too: whatever follows keeps every other rule.
    #[test]
    fn invariant_12_no_payload_crashes_a_device_or_changes_what_is_stored(payload in payload()) {
        let mut rig = Rig::online(Setup::default());
        rig.offer(5, manifest(&[("modem@2.0.0", false)]));
        rig.run_to_answer();
        rig.run_for(5 * SECOND);
        rig.forget();
        let (ops, phase) = (rig.device.flash_ops(), rig.device.phase());
        rig.deliver(payload.clone().into());
        rig.run_for(5 * SECOND);
        let sent = rig.transmitted();
        prop_assert!(matches!(sent.first(), Some(Packet::PubAck { .. })), "{:?}", sent);
        match decode_cloud(&payload, 4) {
            Err(DecodeError::Ignore(_) | DecodeError::Drop { .. }) => {
                prop_assert_eq!((rig.device.flash_ops(), rig.device.phase(), sent.len()), (ops, phase, 1));
            }
            Err(DecodeError::Reject { .. }) => {
                let stored = rig.count(|o| matches!(o, Observation::RecordWritten { .. }));
                let report = |packet: &&Packet| matches!(packet, Packet::Publish(publish) if publish.topic == topic::OTA_D2C);
                prop_assert_eq!((rig.device.phase(), sent.iter().filter(|packet| report(packet)).count()), (Phase::Rejected, 1));
                prop_assert!(stored > 0);
            }
            // A sound message does what it says.
            Ok(_) => {}
        }
    }
}
