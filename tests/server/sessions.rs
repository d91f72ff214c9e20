//! Connections: who is let in, what is granted, when silence ends it.

use std::borrow::Cow;
use std::time::Duration;

use squall::model::{BuildId, Few, ServerEvent};
use squall::server::{ConnectionId, ServerInput, ServerOutput};
use squall::wire::{ConnectCode, Packet, Publish, QoS, topic};

use super::rig::{KEY, Rig, connack, connect, metadata, observed, subscribe, transmit};

fn disconnected(device: &str) -> ServerOutput {
    observed(ServerEvent::DeviceDisconnected { device: device.into() })
}

fn connected(device: &str) -> ServerOutput {
    observed(ServerEvent::DeviceConnected { device: device.into() })
}

fn close(connection: u64) -> ServerOutput {
    ServerOutput::Close(ConnectionId(connection))
}

#[test]
fn an_unknown_device_with_a_valid_key_registers_itself() {
    let mut rig = Rig::new();
    rig.connect(1, "d1");
    let device = "d1".into();
    let expected = vec![
        observed(ServerEvent::DeviceRegistered { device }),
        connack(1, ConnectCode::Accepted),
        connected("d1"),
    ];
    assert_eq!(rig.take(), expected);
    assert_eq!(rig.records.len(), 1);
    assert!(!rig.server.device(&"d1".into()).unwrap().online);
}

#[test]
fn every_ingest_key_is_good_and_no_other() {
    let mut rig = Rig::new();
    for (connection, key, code) in [
        (1, KEY, ConnectCode::Accepted),
        (2, "another-key", ConnectCode::Accepted),
        (3, "an-ingest-kez", ConnectCode::NotAuthorized),
        (4, "", ConnectCode::NotAuthorized),
    ] {
        rig.input(ServerInput::Opened(ConnectionId(connection)));
        rig.received(connection, connect(&format!("d{connection}"), key));
        let out = rig.take();
        assert!(out.contains(&connack(connection, code)), "{key}: {out:?}");
        assert_eq!(out.contains(&close(connection)), code != ConnectCode::Accepted);
    }
    assert_eq!((rig.server.counts().connections, rig.server.counts().devices), (2, 2));
}

#[test]
fn missing_or_malformed_credentials_are_told_from_wrong_ones() {
    let mut rig = Rig::new();
    let cases = [(None, true), (Some(""), true), (Some("a\nb"), true), (Some("d"), false)];
    for (number, (user, password)) in (1..).zip(cases) {
        rig.input(ServerInput::Opened(ConnectionId(number)));
        let Packet::Connect(mut packet) = connect("x", KEY) else {
            unreachable!()
        };
        packet.user_name = user.map(Into::into);
        packet.password = packet.password.filter(|_| password);
        rig.received(number, Packet::Connect(packet));
        assert_eq!(rig.take(), [connack(number, ConnectCode::BadCredentials), close(number)]);
    }
    assert_eq!(rig.server.counts().devices, 0);
}

#[test]
fn a_second_connection_of_a_device_takes_over() {
    let mut rig = Rig::new();
    rig.online(1, "d1");
    rig.connect(2, "d1");
    let expected = [
        close(1),
        disconnected("d1"),
        connack(2, ConnectCode::Accepted),
        connected("d1"),
    ];
    assert_eq!(rig.take(), expected);
    rig.received(1, Packet::PingRequest);
    rig.close(1);
    assert_eq!(rig.take(), [], "what is left of the old connection disturbs nobody");
    rig.received(2, Packet::PingRequest);
    assert_eq!(rig.take(), [transmit(2, Packet::PingResponse)]);
}

#[test]
fn anything_before_connect_and_a_second_connect_close_the_connection() {
    let mut rig = Rig::new();
    for packet in [
        Packet::PingRequest,
        subscribe(topic::OTA_C2D),
        metadata(1, None, None),
        Packet::Disconnect,
    ] {
        rig.input(ServerInput::Opened(ConnectionId(1)));
        rig.received(1, packet);
        assert_eq!(rig.take(), [close(1)]);
    }
    rig.online(1, "d1");
    rig.received(1, connect("d1", KEY));
    assert_eq!(rig.take(), [close(1), disconnected("d1")]);
}

#[test]
fn packets_that_only_servers_send_close_the_connection() {
    let mut rig = Rig::new();
    let code = ConnectCode::Accepted;
    let granted = Few::One(None);
    for packet in [
        Packet::ConnAck { code },
        Packet::SubAck { id: 1, granted },
        Packet::UnsubAck { id: 1 },
        Packet::PingResponse,
        Packet::Subscribe {
            id: 1,
            filters: Few::None,
        },
    ] {
        rig.online(1, "d1");
        rig.received(1, packet);
        assert_eq!(rig.take(), [close(1), disconnected("d1")]);
    }
}

#[test]
fn a_connection_has_ten_seconds_for_its_connect() {
    let mut rig = Rig::new();
    rig.input(ServerInput::Opened(ConnectionId(1)));
    rig.pass(Duration::from_millis(9_999));
    assert_eq!(rig.take(), []);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take(), [close(1)]);
    assert_eq!(rig.server.next_timeout(), None);
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_a_connection() {
    let mut rig = Rig::new();
    rig.online(1, "d1");
    rig.pass(Duration::from_secs(89));
    rig.received(1, Packet::PingRequest);
    rig.take();
    rig.pass(Duration::from_millis(89_999));
    assert_eq!(rig.take(), []);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.take(), [close(1), disconnected("d1")]);
}

#[test]
fn bare_names_and_the_devices_own_topic_are_granted_and_nothing_else() {
    let mut rig = Rig::new();
    rig.online(1, "d1");
    let filters = [
        (topic::OTA_C2D, Some(QoS::AtLeastOnce)),
        (topic::CONFIG_C2D, Some(QoS::AtMostOnce)),
        ("ota-cbor-c2d/d1", Some(QoS::AtLeastOnce)),
        ("config-cbor-c2d/d1", Some(QoS::AtMostOnce)),
        ("ota-cbor-c2d/d2", None),
        ("ota-cbor-c2d/", None),
        ("ota-cbor-c2d/d1/x", None),
        ("ota-cbor-c2d/#", None),
        ("ota-cbor-c2dx", None),
        ("ota-cbor-d2c", None),
        ("+", None),
        ("#", None),
    ];
    let packet = Packet::Subscribe {
        id: 77,
        filters: filters
            .iter()
            .map(|&(filter, _)| (Cow::Borrowed(filter), QoS::AtLeastOnce))
            .collect(),
    };
    rig.received(1, packet);
    let granted = filters.iter().map(|&(_, granted)| granted).collect();
    assert_eq!(rig.take(), [transmit(1, Packet::SubAck { id: 77, granted })]);
}

#[test]
fn a_refused_subscription_receives_nothing() {
    let mut rig = Rig::stocked();
    rig.connect(1, "thief");
    rig.received(1, subscribe("ota-cbor-c2d/victim"));
    rig.take();
    rig.register("victim", &[]);
    rig.deploy("d", "all", "app@1.1.0");
    assert_eq!(rig.messages(), []);
    assert!(!rig.server.device(&"thief".into()).unwrap().online);
}

#[test]
fn session_metadata_is_kept() {
    let mut rig = Rig::new();
    rig.online(1, "d1");
    rig.received(1, metadata(5, Some(BuildId([0xab; 20])), Some(3)));
    assert_eq!(rig.server.device(&"d1".into()).unwrap().build_id, Some("ab".repeat(20)));
    let records = rig.records.len();
    rig.received(1, metadata(5, Some(BuildId([0xab; 20])), Some(3)));
    assert_eq!(rig.records.len(), records, "the same again is nothing to store");
    assert_eq!((rig.take(), rig.server.counts().ignored), (vec![], 0));
}

#[test]
fn publishes_to_other_topics_are_ignored_and_counted() {
    let mut rig = Rig::new();
    rig.online(1, "d1");
    let topics = [
        "ota-cbor-c2d",
        "ota-cbor-d2c/d1",
        "ingest-json",
        topic::OTA_D2C,
        topic::INGEST,
    ];
    for topic in topics {
        rig.received(1, Packet::Publish(Publish::at_most_once(topic, "no CBOR")));
    }
    assert_eq!((rig.take(), rig.server.counts().ignored), (vec![], topics.len() as u64));
}

#[test]
fn a_publish_at_qos_1_is_acknowledged() {
    let mut rig = Rig::new();
    rig.online(1, "d1");
    let mut publish = Publish::at_most_once(topic::CONFIG_D2C, "\u{a0}");
    (publish.qos, publish.id) = (QoS::AtLeastOnce, 12);
    rig.received(1, Packet::Publish(publish));
    assert_eq!(rig.take(), [transmit(1, Packet::PubAck { id: 12 })]);
}

#[test]
fn unsubscribing_ends_delivery() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    assert_eq!(rig.server.counts().online, 1);
    let filters = vec![Cow::Borrowed(topic::OTA_C2D)];
    rig.received(1, Packet::Unsubscribe { id: 3, filters });
    assert_eq!(rig.take(), [transmit(1, Packet::UnsubAck { id: 3 })]);
    rig.deploy("d", "all", "app@1.1.0");
    assert_eq!((rig.messages(), rig.server.counts().online), (vec![], 0));
}

#[test]
fn an_orderly_end_is_an_end() {
    let mut rig = Rig::new();
    rig.online(1, "d1");
    rig.received(1, Packet::Disconnect);
    assert_eq!(rig.take(), [close(1), disconnected("d1")]);
    rig.online(2, "d1");
    rig.close(2);
    assert_eq!(rig.take(), [disconnected("d1")]);
}
