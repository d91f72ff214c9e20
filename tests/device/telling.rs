//! What a device tells of itself where its fleet has a heartbeat.

use std::time::Duration;

use squall::device::{DeviceInput, LinkLoss};
use squall::wire::telemetry::{Metric, decode_log, decode_metric};
use squall::wire::{Packet, topic};

use super::rig::Rig;
use super::setup::{Setup, main_only};

const MINUTE: Duration = Duration::from_secs(60);

fn online() -> Rig {
    Rig::online(Setup {
        heartbeat: Some(MINUTE),
        ..Setup::default()
    })
}

fn payloads(rig: &Rig) -> Vec<bytes::Bytes> {
    let published = rig.transmitted().into_iter().filter_map(|packet| match packet {
        Packet::Publish(publish) if publish.topic == topic::INGEST => Some(publish.payload.clone()),
        _ => None,
    });
    published.collect()
}

fn beats(rig: &Rig) -> Vec<Metric> {
    let metrics = payloads(rig).into_iter().filter_map(|payload| decode_metric(&payload).ok());
    metrics.filter(|metric| metric.name == "uptime_ms").collect()
}

#[test]
fn the_first_heartbeat_comes_with_the_session_and_then_one_each_period() {
    let mut rig = online();
    rig.run_for(3 * MINUTE + MINUTE / 2);
    let uptimes: Vec<_> = beats(&rig).iter().map(|beat| beat.uptime_ms).collect();
    assert!(uptimes[0] < 1_000, "{uptimes:?}");
    assert_eq!(uptimes[1..], [60_000, 120_000, 180_000]);
}

#[test]
fn without_a_connection_the_latest_heartbeat_waits() {
    let mut rig = online();
    rig.cloud.reachable = false;
    rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
    rig.run_for(3 * MINUTE);
    assert_eq!(beats(&rig).len(), 1);
    rig.cloud.reachable = true;
    rig.run_for(Duration::from_secs(5));
    assert_eq!(beats(&rig).len(), 2);
}

#[test]
fn logs_tell_what_happens_and_neither_url_nor_secret() {
    let mut rig = online();
    rig.offer(5, main_only());
    rig.run_to_answer();
    let logs: Vec<_> = payloads(&rig).iter().filter_map(|payload| decode_log(payload).ok()).collect();
    let bodies: Vec<_> = logs.iter().map(|log| log.body.as_str()).collect();
    assert!(
        bodies.contains(&"message for attempt 5") && bodies.contains(&"session started"),
        "{bodies:?}"
    );
    let secrets = ["q7Zk2mXw9RtB4nVc8LdY1pHs", "https://"];
    assert!(bodies.iter().all(|body| secrets.iter().all(|secret| !body.contains(secret))));
    assert_eq!(logs[0].labels[0].0, "source");
}

#[test]
fn a_fleet_without_a_heartbeat_is_silent() {
    let mut rig = Rig::plain();
    rig.input(DeviceInput::PowerOn);
    rig.run_for(3 * MINUTE);
    assert!(beats(&rig).is_empty());
    assert!(payloads(&rig).iter().all(|payload| decode_log(payload).is_err()));
}
