//! Connecting, subscribing, keeping alive, acknowledging.

use std::time::Duration;

use bytes::Bytes;
use squall::device::{DeviceInput, DeviceOutput, LinkLoss};
use squall::model::{ConnectResult, Observation, Phase, Session};
use squall::time::SimTime;
use squall::wire::config::{DesiredConfiguration, Severity, encode_desired};
use squall::wire::session::{SessionMetadata, decode};
use squall::wire::telemetry::decode_metric;
use squall::wire::{ConnectCode, Packet, Publish, QoS, topic};

use super::rig::{HOP, Rig, ota_publish};
use super::setup::{Setup, id, main_only};

const SECOND: Duration = Duration::from_secs(1);

fn tries(rig: &Rig) -> Vec<(ConnectResult, SimTime, SimTime)> {
    let tried = |observation: &Observation| match observation {
        Observation::ConnectTried {
            result,
            wanted_at,
            tried_at,
        } => Some((*result, *wanted_at, *tried_at)),
        _ => None,
    };
    rig.observations().filter_map(tried).collect()
}

fn sessions(rig: &Rig) -> Vec<Session> {
    let session = |observation: &Observation| match observation {
        Observation::Session(session) => Some(*session),
        _ => None,
    };
    rig.observations().filter_map(session).collect()
}

fn metadata(rig: &Rig) -> Vec<SessionMetadata> {
    let publish = |packet: &&Packet| match packet {
        Packet::Publish(publish) if publish.topic == topic::INGEST => decode(&publish.payload).ok(),
        _ => None,
    };
    rig.transmitted().iter().filter_map(publish).collect()
}

#[test]
fn connects_as_the_sdk_does() {
    let mut rig = Rig::plain();
    rig.input(DeviceInput::PowerOn);
    rig.run_for(2 * SECOND);
    assert_eq!(sessions(&rig), [Session::Offline, Session::Connecting, Session::Online]);
    let packets = rig.transmitted();
    let Packet::Connect(connect) = packets[0] else {
        panic!("{packets:?}");
    };
    assert_eq!(connect.client_id, "");
    assert_eq!(connect.user_name.as_ref().unwrap().as_str(), "rig-00000");
    assert_eq!(connect.password.as_ref().unwrap().reveal(), "ingest-key");
    assert_eq!((connect.keep_alive_s, connect.clean_session), (60, true));
    let topics: Vec<_> = packets[1..]
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => (publish.topic.to_string(), publish.qos),
            Packet::Subscribe { filters, .. } => (format!("+{}", filters[0].0), filters[0].1),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (topic::INGEST.to_owned(), QoS::AtMostOnce),
        (format!("+{}", topic::CONFIG_C2D), QoS::AtMostOnce),
        (format!("+{}", topic::OTA_C2D), QoS::AtLeastOnce),
        (topic::CONFIG_D2C.to_owned(), QoS::AtMostOnce),
        (topic::INGEST.to_owned(), QoS::AtMostOnce),
    ];
    assert_eq!(topics, expected);
    let first = metadata(&rig).remove(0);
    assert!(first.build_id.is_some());
    assert_eq!(first.last_attempt, None);
    let Packet::Publish(reset) = packets[5] else {
        panic!("{packets:?}");
    };
    let reset = decode_metric(&reset.payload).unwrap();
    assert_eq!(reset.labels, [("reason".into(), "POWER_ON".to_owned())]);
}

#[test]
fn subscribes_with_two_identifiers() {
    for seed in 0..300 {
        let rig = Rig::online(Setup {
            seed,
            ..Setup::default()
        });
        let ids: Vec<u16> = rig
            .transmitted()
            .iter()
            .filter_map(|packet| match packet {
                Packet::Subscribe { id, .. } => Some(*id),
                _ => None,
            })
            .collect();
        assert!(ids[0] != ids[1] && !ids.contains(&0), "seed {seed}: {ids:?}");
    }
}

#[test]
fn a_connack_that_does_not_come_in_time_is_waited_for_no_longer() {
    let mut rig = Rig::plain();
    rig.cloud.greets = None;
    rig.input(DeviceInput::PowerOn);
    rig.run_for(10 * SECOND);
    let tries = tries(&rig);
    assert!(tries.len() > 5);
    assert!(
        tries
            .iter()
            .all(|&(result, wanted, _)| result == ConnectResult::Timeout && wanted == tries[0].1)
    );
    // A hop to connect, 500 ms for the CONNACK, 500 ms until the next try.
    let gaps: Vec<_> = tries.windows(2).map(|pair| pair[1].2.since(pair[0].2)).collect();
    assert!(gaps.iter().all(|&gap| gap == SECOND + HOP), "{gaps:?}");
    let hung_up = rig
        .seen
        .iter()
        .filter(|(_, output)| *output == DeviceOutput::Disconnect)
        .count();
    assert_eq!(hung_up, tries.len());
    rig.cloud.greets = Some(ConnectCode::Accepted);
    rig.run_for(2 * SECOND);
    assert_eq!(rig.device.session(), Session::Online);
}

#[test]
fn refusals_are_told_apart() {
    for (greets, reachable, grants, expected) in [
        (ConnectCode::Accepted, false, true, ConnectResult::Refused),
        (ConnectCode::ServerUnavailable, true, true, ConnectResult::Refused),
        (ConnectCode::BadCredentials, true, true, ConnectResult::Auth),
        (ConnectCode::NotAuthorized, true, true, ConnectResult::Auth),
        (ConnectCode::Accepted, true, false, ConnectResult::Refused),
    ] {
        let mut rig = Rig::plain();
        rig.cloud.greets = Some(greets);
        rig.cloud.reachable = reachable;
        rig.cloud.grants = grants;
        rig.input(DeviceInput::PowerOn);
        rig.run_for(3 * SECOND);
        let tries = tries(&rig);
        assert!(
            tries.len() > 2 && tries.iter().all(|&(result, ..)| result == expected),
            "{expected}: {tries:?}"
        );
        assert_ne!(rig.device.session(), Session::Online);
    }
}

#[test]
fn losses_of_a_connection_are_told_apart() {
    for (loss, expected) in [
        (LinkLoss::Timeout, ConnectResult::Timeout),
        (LinkLoss::Tls, ConnectResult::Tls),
        (LinkLoss::Closed, ConnectResult::Reset),
    ] {
        let mut rig = Rig::plain();
        rig.input(DeviceInput::PowerOn);
        rig.run_until(SECOND, |rig| rig.device.session() == Session::Connecting);
        rig.input(DeviceInput::Disconnected(loss));
        assert_eq!(tries(&rig)[0].0, expected);
    }
}

#[test]
fn a_lost_session_is_made_anew_after_half_a_second() {
    let mut rig = Rig::online(Setup::default());
    let run = metadata(&rig)[0].run_id;
    rig.forget();
    let lost = rig.now;
    rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
    assert_eq!(rig.device.session(), Session::Offline);
    rig.run_for(SECOND);
    let tries = tries(&rig);
    let wanted_and_tried = (lost, lost + Duration::from_millis(500));
    assert_eq!(tries, [(ConnectResult::Ok, wanted_and_tried.0, wanted_and_tried.1)]);
    assert_eq!(metadata(&rig)[0].run_id, run, "the same boot");
    let resets = rig.transmitted().into_iter().filter(|packet| match packet {
        Packet::Publish(publish) => decode_metric(&publish.payload).is_ok(),
        _ => false,
    });
    assert_eq!(resets.count(), 0, "boot_reset is sent once a boot");
}

#[test]
fn every_boot_has_its_own_run_id() {
    let mut rig = Rig::online(Setup::default());
    let mut ids = vec![metadata(&rig)[0].run_id];
    for _ in 0..3 {
        rig.cut_power();
        assert_eq!(rig.device.session(), Session::Off);
        rig.forget();
        rig.input(DeviceInput::PowerOn);
        rig.run_for(SECOND);
        ids.push(metadata(&rig)[0].run_id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn pings_after_silence_and_reconnects_without_an_answer() {
    let mut rig = Rig::online(Setup::default());
    rig.forget();
    rig.run_for(Duration::from_secs(600));
    let pings = rig.transmitted().into_iter().filter(|packet| **packet == Packet::PingRequest);
    assert_eq!(pings.count(), 10, "one a minute, the first a minute after the last packet");
    assert_eq!(rig.device.session(), Session::Online);
    rig.cloud.pongs = false;
    rig.run_until(Duration::from_secs(180), |rig| rig.device.session() == Session::Offline);
    rig.cloud.pongs = true;
    rig.run_for(SECOND);
    assert_eq!(rig.device.session(), Session::Online);
}

#[test]
fn a_suback_that_never_comes_is_given_up() {
    let mut rig = Rig::plain();
    rig.input(DeviceInput::PowerOn);
    rig.run_until(SECOND, |rig| rig.transmitted().len() > 3);
    while rig.device.session() == Session::Connecting {
        // Only timers: what the server sends is lost.
        let (due, _) = rig.device.next_timeout().unwrap();
        rig.now = due;
        let mut out = Vec::new();
        rig.device.handle_timeout(due, &mut out);
        rig.seen.extend(out.into_iter().map(|output| (due, output)));
    }
    assert_eq!(tries(&rig)[0].0, ConnectResult::Timeout);
}

#[test]
fn every_message_of_qos_1_is_acknowledged() {
    let mut rig = Rig::online(Setup::default());
    for payload in [
        Bytes::from_static(b"\xff garbage"),
        Bytes::new(),
        Bytes::from(vec![0xa0; 1185]),
        Bytes::from_static(b"\xa2\x00\x08\x18\x20\x07"),
    ] {
        rig.forget();
        rig.deliver(payload);
        assert_eq!(rig.transmitted(), [&Packet::PubAck { id: 77 }]);
    }
    rig.forget();
    rig.input(DeviceInput::Received(Packet::Publish(Publish {
        topic: "something-else".into(),
        qos: QoS::AtLeastOnce,
        id: 9,
        dup: true,
        payload: Bytes::new(),
    })));
    assert_eq!(rig.transmitted(), [&Packet::PubAck { id: 9 }]);
}

#[test]
fn an_oversized_message_is_discarded_unseen() {
    let mut rig = Rig::online(Setup::default());
    // A sound manifest with bytes behind it, one more than the buffer of four artifacts holds.
    let mut payload = squall::wire::ota::encode_cloud(&squall::wire::ota::CloudMessage::UpdateArtifacts {
        attempt: id(5),
        manifest: main_only(),
    })
    .to_vec();
    payload.resize(1185, 0);
    rig.deliver(payload.clone().into());
    rig.run_for(SECOND);
    assert_eq!(rig.device.phase(), Phase::Idle);
    payload.truncate(1184);
    rig.deliver(payload.into());
    rig.run_to(Phase::Downloading);
}

#[test]
fn a_desired_configuration_is_answered() {
    let mut rig = Rig::online(Setup::default());
    rig.forget();
    let desire = |severity, version| {
        DeviceInput::Received(Packet::Publish(Publish::at_most_once(
            topic::CONFIG_C2D,
            encode_desired(&DesiredConfiguration { severity, version }),
        )))
    };
    let answer = |rig: &mut Rig| {
        let packets: Vec<_> = rig.transmitted().into_iter().cloned().collect();
        rig.forget();
        match &packets[..] {
            [Packet::Publish(publish)] if publish.topic == topic::CONFIG_D2C => publish.payload.to_vec(),
            other => panic!("{other:?}"),
        }
    };
    rig.input(desire(Some(Severity::WARNING), 12));
    assert_eq!(answer(&mut rig), b"\xbf\x00\x04\x10\x18\x32\x11\x18\x1e\x13\x0c\xff");
    rig.input(desire(None, 13));
    assert_eq!(answer(&mut rig), b"\xbf\x00\x04\x13\x0d\xff");
    rig.input(DeviceInput::Received(Packet::Publish(Publish::at_most_once(
        topic::CONFIG_C2D,
        vec![0; 33],
    ))));
    assert!(rig.transmitted().is_empty());
}

#[test]
fn packets_without_a_session_change_nothing() {
    let mut rig = Rig::plain();
    rig.input(ota_publish(Bytes::from_static(b"\xa2\x00\x08\x18\x20\x07")));
    rig.input(DeviceInput::Connected);
    rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
    rig.input(DeviceInput::Received(Packet::PingResponse));
    assert!(rig.seen.is_empty());
    assert_eq!(rig.device.next_timeout(), None);
}
