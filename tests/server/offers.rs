//! One attempt from manifest to result, and how loss is healed.

use std::time::Duration;

use squall::model::{AdminAction, Few, ServerEvent, StateReason, UpdateState};
use squall::server::{ConnectionId, Record, ServerInput, ServerOutput};
use squall::wire::ota::{CloudMessage, Report, decode_cloud};
use squall::wire::{ConnectCode, Packet, QoS, topic};

use super::rig::{
    CHASE, KEY, Rig, changed, connack, connect, deploy_action, id, manifest_sent, metadata, observed, subscribe, transmit,
};

use UpdateState::{Cancelled, Failed, InProgress, None as NoState, Pending, Succeeded};

/// One device online with attempt 1001 In Progress, its manifest acknowledged or not.
fn in_progress(acknowledged: bool) -> Rig {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.deploy("up", "all", "app@1.1.0");
    let (publish, _) = rig.manifest();
    if acknowledged {
        rig.puback(1, publish.id);
    }
    assert_eq!(rig.state(1001), InProgress);
    rig
}

#[test]
fn the_whole_course_of_an_update_in_order() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.deploy("up", "all", "app@1.1.0");
    let device = "d1".into();
    let expected = [
        observed(ServerEvent::DeviceRegistered { device }),
        observed(changed("d1", "up", 1001, NoState, Pending, StateReason::Deployed)),
    ];
    assert_eq!(rig.take(), expected);

    rig.input(ServerInput::Opened(ConnectionId(1)));
    rig.received(1, connect("d1", KEY));
    rig.received(1, metadata(1, None, None));
    rig.received(1, subscribe(topic::CONFIG_C2D));
    let device = "d1".into();
    let granted = Few::One(Some(QoS::AtMostOnce));
    let expected = [
        connack(1, ConnectCode::Accepted),
        observed(ServerEvent::DeviceConnected { device }),
        transmit(1, Packet::SubAck { id: 9, granted }),
    ];
    assert_eq!(rig.take(), expected);

    rig.subscribe(1);
    let out = rig.take();
    let granted = Few::One(Some(QoS::AtLeastOnce));
    assert_eq!(out.len(), 4, "{out:?}");
    assert_eq!(out[0], transmit(1, Packet::SubAck { id: 9, granted }));
    assert_eq!(
        out[1],
        observed(changed("d1", "up", 1001, Pending, InProgress, StateReason::Offered))
    );
    assert_eq!(out[3], observed(manifest_sent("d1", 1001, false)));
    let ServerOutput::Transmit {
        to: ConnectionId(1),
        packet: Packet::Publish(publish),
    } = &out[2]
    else {
        panic!("no publish but {:?}", out[2]);
    };
    assert_eq!(
        (&*publish.topic, publish.qos, publish.dup),
        ("ota-cbor-c2d", QoS::AtLeastOnce, false)
    );
    assert_ne!(publish.id, 0);
    let CloudMessage::UpdateArtifacts { attempt, manifest } = decode_cloud(&publish.payload, 4).unwrap() else {
        panic!("no manifest");
    };
    assert_eq!((attempt, manifest.canceled, manifest.artifacts.len()), (id(1001), false, 1));
    let artifact = &manifest.artifacts[0];
    assert_eq!((artifact.firmware().to_string().as_str(), artifact.main), ("app@1.1.0", true));
    assert_eq!(artifact.url.to_string(), "https://images.test:8443/a/1001/0");

    rig.puback(1, publish.id);
    assert_eq!(rig.take(), []);
    rig.results(1, 1001, &[0], &[], &[]);
    assert_eq!(
        rig.take(),
        [observed(changed(
            "d1",
            "up",
            1001,
            InProgress,
            Succeeded,
            StateReason::Results
        ))]
    );
    let view = rig.server.deployment(&"up".into()).unwrap();
    assert_eq!(view.progress.into_iter().collect::<Vec<_>>(), [(Succeeded, 1)]);
}

#[test]
fn a_record_comes_before_what_reveals_it() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    let mut out = Vec::new();
    let action = deploy_action("up", "all", &["app@1.1.0"], None);
    let request = squall::server::RequestId(99);
    rig.server
        .handle_input(ServerInput::Admin { request, action }, rig.now, &mut out);
    let kinds: Vec<_> = out
        .iter()
        .map(|output| match output {
            ServerOutput::Record {
                record: Record::DeploymentCreated { .. },
                ..
            } => "deployment stored",
            ServerOutput::Record {
                record: Record::AttemptCreated { .. },
                ..
            } => "attempt stored",
            ServerOutput::Record {
                record: Record::ManifestSent { .. },
                ..
            } => "sending stored",
            ServerOutput::Observed(ServerEvent::StateChanged { to: Pending, .. }) => "pending",
            ServerOutput::Observed(ServerEvent::StateChanged { to: InProgress, .. }) => "in progress",
            ServerOutput::Transmit { .. } => "manifest",
            ServerOutput::Observed(ServerEvent::ManifestSent { .. }) => "manifest sent",
            ServerOutput::Answer { result: Ok(()), .. } => "answer",
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    let expected = [
        "deployment stored",
        "attempt stored",
        "pending",
        "sending stored",
        "in progress",
        "manifest",
        "manifest sent",
        "answer",
    ];
    assert_eq!(kinds, expected);

    let mut out = Vec::new();
    let payload = squall::wire::ota::encode_results(&squall::wire::ota::UpdateResults {
        attempt: id(1001),
        report: Report::Error(3),
    });
    let packet = Packet::Publish(squall::wire::Publish::at_most_once(topic::OTA_D2C, payload));
    let from = ConnectionId(1);
    rig.server
        .handle_input(ServerInput::Received { from, packet }, rig.now, &mut out);
    assert!(matches!(
        out[..],
        [
            ServerOutput::Record {
                record: Record::AttemptRefused { error: 3, .. },
                ..
            },
            ServerOutput::Record {
                record: Record::AttemptEnded { state: Failed, .. },
                ..
            },
            ServerOutput::Observed(ServerEvent::StateChanged { to: Failed, .. }),
        ]
    ));
}

#[test]
fn every_subscribe_brings_the_same_manifest_while_results_are_missing() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.must(deploy_action("two", "all", &["modem@2.0.0", "app@1.1.0"], Some("app")));
    let (_, first) = rig.manifest();
    assert_eq!(
        first.artifacts.iter().map(|artifact| artifact.main).collect::<Vec<_>>(),
        [false, true]
    );
    rig.results(1, 1001, &[0], &[], &[]);
    rig.subscribe(1);
    assert!(rig.out.contains(&observed(manifest_sent("d1", 1001, true))));
    let (again, on_same_connection) = rig.manifest();
    rig.connect(2, "d1");
    rig.subscribe(2);
    let (_, on_new_connection) = rig.manifest();
    assert_eq!((&on_same_connection, &on_new_connection), (&first, &first));
    assert!(!again.dup);
    rig.results(2, 1001, &[0, 1], &[], &[]);
    rig.connect(3, "d1");
    rig.subscribe(3);
    assert_eq!(rig.messages(), [], "with none open, nothing is sent");
    assert_eq!(rig.state(1001), Succeeded);
}

#[test]
fn a_repeated_subscribe_is_handled_like_the_first() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.deploy("up", "all", "app@1.1.0");
    let (first, _) = rig.manifest();
    rig.subscribe(1);
    let (second, _) = rig.manifest();
    assert_eq!(
        (second.dup, second.payload),
        (false, first.payload),
        "a new message, not an old one repeated"
    );
    assert_ne!(second.id, first.id);
}

#[test]
fn missing_results_are_asked_for_once_a_chase() {
    let mut rig = in_progress(true);
    let report = (1, CloudMessage::ReportResults { attempt: id(1001) });
    for _ in 0..3 {
        rig.received(1, Packet::PingRequest);
        rig.pass(CHASE - Duration::from_millis(1));
        assert_eq!(rig.messages(), []);
        rig.pass(Duration::from_millis(1));
        assert_eq!(rig.messages(), std::slice::from_ref(&report));
    }
    rig.results(1, 1001, &[0], &[], &[]);
    rig.received(1, Packet::PingRequest);
    rig.take();
    rig.pass(CHASE * 2);
    assert_eq!(rig.messages(), []);
}

#[test]
fn a_partial_report_puts_the_question_off() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.must(deploy_action("two", "all", &["modem@2.0.0", "app@1.1.0"], Some("app")));
    rig.take();
    rig.pass(CHASE / 2);
    rig.results(1, 1001, &[0], &[], &[]);
    rig.pass(CHASE - Duration::from_millis(1));
    assert_eq!((rig.take(), rig.state(1001)), (vec![], InProgress));
    rig.pass(Duration::from_millis(1));
    let attempt = id(1001);
    assert_eq!(
        rig.messages(),
        [(1, CloudMessage::ReportResults { attempt })],
        "its report proves that it has the manifest"
    );
}

#[test]
fn a_manifest_without_puback_is_sent_again_instead_of_asking() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.deploy("up", "all", "app@1.1.0");
    let (lost, manifest) = rig.manifest();
    rig.received(1, metadata(1, None, Some(1001)));
    rig.pass(CHASE);
    let (again, same) = rig.manifest();
    assert_eq!(
        (again.id, again.dup, same),
        (lost.id, true, manifest),
        "key 41 proves nothing"
    );
    rig.puback(1, again.id);
    rig.pass(CHASE);
    assert_eq!(rig.messages(), [(1, CloudMessage::ReportResults { attempt: id(1001) })]);
}

#[test]
fn a_device_that_acknowledges_nothing_keeps_one_packet_of_a_kind_in_flight() {
    let mut rig = in_progress(false);
    rig.cancel("up");
    let mut packets = std::collections::BTreeSet::new();
    for _ in 0..50 {
        rig.pass(CHASE);
        rig.received(1, Packet::PingRequest);
        packets.extend(rig.take().into_iter().filter_map(|output| match output {
            ServerOutput::Transmit {
                packet: Packet::Publish(publish),
                ..
            } => Some(publish.id),
            _ => None,
        }));
    }
    assert_eq!(packets.len(), 2, "{packets:?}: a cancelling manifest and a cancellation");
}

#[test]
fn nothing_is_asked_of_a_device_that_is_away() {
    let mut rig = in_progress(true);
    rig.close(1);
    rig.take();
    rig.pass(CHASE * 5);
    assert_eq!((rig.take(), rig.server.next_timeout()), (vec![], None));
    assert_eq!(rig.state(1001), InProgress);
}

#[test]
fn an_attempt_error_fails_the_attempt_whatever_its_number() {
    for error in [0, 3, 4711] {
        let mut rig = in_progress(true);
        rig.report(1, 1001, Report::Error(error));
        assert_eq!(
            rig.events(),
            [changed("d1", "up", 1001, InProgress, Failed, StateReason::AttemptError)]
        );
        assert_eq!(rig.server.attempt(id(1001)).unwrap().error, Some(error));
    }
}

#[test]
fn an_error_after_partial_results_fails_the_attempt() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.must(deploy_action("two", "all", &["modem@2.0.0", "app@1.1.0"], None));
    rig.results(1, 1001, &[0], &[], &[]);
    rig.report(1, 1001, Report::Error(3));
    assert_eq!(rig.state(1001), Failed);
}

#[test]
fn reports_may_repeat_and_come_in_any_order() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.must(deploy_action("two", "all", &["modem@2.0.0", "app@1.1.0"], None));
    rig.results(1, 1001, &[0], &[], &[]);
    rig.results(1, 1001, &[0], &[], &[]);
    rig.results(1, 1001, &[], &[], &[]);
    assert_eq!(
        rig.server.attempt(id(1001)).unwrap().results,
        [Some("succeeded".to_owned()), None]
    );
    rig.results(1, 1001, &[0], &[1], &[]);
    assert_eq!((rig.state(1001), rig.server.counts().ignored), (Failed, 0));
    rig.take();
    rig.results(1, 1001, &[0], &[], &[]);
    rig.results(1, 1001, &[0, 1], &[], &[]);
    assert_eq!(
        (rig.take(), rig.state(1001), rig.server.counts().ignored),
        (vec![], Failed, 2)
    );
}

#[test]
fn useless_results_disturb_nothing() {
    let mut rig = in_progress(true);
    rig.online(2, "d2");
    rig.deploy("next", "all", "app@1.2.0");
    rig.take();
    let before = (rig.records.len(), rig.server.devices(None, 10));
    rig.results(1, 1001, &[0], &[], &[]); // superseded
    rig.results(1, 9999, &[0], &[], &[]); // unknown
    rig.results(1, 1004, &[0], &[], &[]); // of another device
    rig.results(1, 1003, &[1], &[], &[]); // out of range
    rig.results(1, 1003, &[u64::MAX], &[], &[]); // far out of range
    rig.results(1, 1003, &[0], &[0], &[]); // in two arrays
    rig.report(1, 1001, Report::Error(1)); // superseded
    assert_eq!((rig.take(), rig.server.counts().ignored), (vec![], 7));
    assert_eq!((rig.records.len(), rig.server.devices(None, 10)), before);
    rig.results(1, 1003, &[0], &[], &[]);
    assert_eq!(rig.states("d1"), [Cancelled, Succeeded]);
}

#[test]
fn a_contradictory_report_is_ignored_as_a_whole() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.must(deploy_action("two", "all", &["modem@2.0.0", "app@1.1.0"], None));
    rig.results(1, 1001, &[0], &[], &[]);
    rig.results(1, 1001, &[], &[0, 1], &[]);
    assert_eq!((rig.state(1001), rig.server.counts().ignored), (InProgress, 1));
    rig.results(1, 1001, &[0, 1], &[], &[]);
    assert_eq!(rig.state(1001), Succeeded);
}

#[test]
fn results_of_an_attempt_that_was_never_sent_are_a_lie() {
    let mut rig = Rig::stocked();
    rig.connect(1, "d1");
    rig.deploy("up", "all", "app@1.1.0");
    rig.results(1, 1001, &[0], &[], &[]);
    assert_eq!((rig.state(1001), rig.server.counts().ignored), (Pending, 1));
}

#[test]
fn cancelling_what_is_pending_cancels_it_at_once() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.deploy("up", "all", "app@1.1.0");
    rig.take();
    rig.cancel("up");
    assert_eq!(
        rig.events(),
        [changed("d1", "up", 1001, Pending, Cancelled, StateReason::Cancelled)]
    );
    rig.connect(1, "d1");
    rig.subscribe(1);
    assert_eq!(rig.messages(), []);
}

#[test]
fn cancelling_what_is_in_progress_asks_the_device_and_waits() {
    let mut rig = in_progress(true);
    rig.cancel("up");
    assert_eq!(rig.messages(), [(1, CloudMessage::CancelUpdate { attempt: id(1001) })]);
    assert_eq!(rig.state(1001), InProgress);
    assert!(rig.server.attempt(id(1001)).unwrap().cancel_requested);
    rig.results(1, 1001, &[0], &[], &[]);
    assert_eq!(rig.state(1001), Succeeded, "a late cancel ends in success");
}

#[test]
fn a_device_that_obeys_ends_cancelled() {
    let mut rig = in_progress(true);
    rig.cancel("up");
    rig.take();
    rig.results(1, 1001, &[], &[], &[0]);
    assert_eq!(
        rig.events(),
        [changed("d1", "up", 1001, InProgress, Cancelled, StateReason::Results)]
    );
}

#[test]
fn a_device_that_reconnects_gets_the_flag_and_the_message() {
    let mut rig = in_progress(true);
    rig.close(1);
    rig.cancel("up");
    assert_eq!(rig.messages(), []);
    rig.connect(2, "d1");
    rig.subscribe(2);
    let messages = rig.messages();
    assert!(
        matches!(&messages[0].1, CloudMessage::UpdateArtifacts { attempt, manifest } if manifest.canceled && *attempt == id(1001))
    );
    assert_eq!(messages[1..], [(2, CloudMessage::CancelUpdate { attempt: id(1001) })]);
}

#[test]
fn a_lost_cancellation_is_repeated() {
    let mut rig = in_progress(true);
    rig.cancel("up");
    rig.take();
    rig.pass(CHASE);
    let attempt = id(1001);
    assert_eq!(
        rig.messages(),
        [
            (1, CloudMessage::CancelUpdate { attempt }),
            (1, CloudMessage::ReportResults { attempt })
        ]
    );
}

#[test]
fn a_cancelled_manifest_that_was_lost_is_sent_again_with_the_flag() {
    let mut rig = in_progress(false);
    rig.cancel("up");
    rig.take();
    rig.pass(CHASE);
    let messages = rig.messages();
    assert!(matches!(&messages[0].1, CloudMessage::UpdateArtifacts { manifest, .. } if manifest.canceled));
    assert_eq!(messages[1..], [(1, CloudMessage::CancelUpdate { attempt: id(1001) })]);
}

#[test]
fn a_second_cancel_changes_nothing() {
    let mut rig = in_progress(true);
    rig.cancel("up");
    rig.take();
    let records = rig.records.len();
    rig.cancel("up");
    assert_eq!((rig.take(), rig.records.len()), (vec![], records));
}

#[test]
fn a_device_that_saw_what_was_cancelled_unsent_is_told_once() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.deploy("up", "all", "app@1.1.0");
    rig.cancel("up");
    rig.connect(1, "d1");
    rig.received(1, metadata(1, None, Some(1001)));
    rig.take();
    rig.subscribe(1);
    let (_, manifest) = rig.manifest();
    assert!(manifest.canceled);
    rig.subscribe(1);
    assert_eq!((rig.messages(), rig.state(1001)), (vec![], Cancelled));
}

#[test]
fn a_subscription_at_qos_0_is_served_at_qos_0() {
    let mut rig = Rig::stocked();
    rig.connect(1, "d1");
    let filters = Few::One((topic::OTA_C2D.into(), QoS::AtMostOnce));
    rig.received(1, Packet::Subscribe { id: 1, filters });
    rig.deploy("up", "all", "app@1.1.0");
    let (publish, _) = rig.manifest();
    assert_eq!((publish.qos, publish.id), (QoS::AtMostOnce, 0));
    rig.subscribe(1);
    let (publish, _) = rig.manifest();
    assert_eq!(publish.qos, QoS::AtLeastOnce);
}

#[test]
fn a_zero_chase_never_asks() {
    let mut config = super::rig::config();
    config.chase = Duration::ZERO;
    let mut rig = Rig::with(squall::server::Server::new(config));
    let slug = "app".parse().unwrap();
    rig.must(AdminAction::CreateFirmware { slug });
    rig.must(AdminAction::CreateVersion {
        firmware: super::rig::firmware("app@1.1.0"),
        image: super::rig::image("x").into(),
    });
    rig.online(1, "d1");
    rig.deploy("up", "all", "app@1.1.0");
    rig.take();
    rig.pass(Duration::from_secs(80));
    assert_eq!(rig.messages(), []);
}
