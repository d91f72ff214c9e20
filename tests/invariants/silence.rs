//! Sound devices break nothing, whatever is asked of them; and no rule is idle while they do.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use squall::device::{BootOutcome, InstallOutcome};
use squall::model::{Manifest, Phase};
use squall::play::{Outcome, RunEnd};
use squall::sim::play;
use squall::wire::DownloadError;

use super::played;
use crate::device::rig::{Reply, Rig};
use crate::device::setup::{Setup, main_only, manifest, modem_then_main};
use crate::sim::example;

const SECOND: Duration = Duration::from_secs(1);

/// Seeds played of each example, and of the fleet below.
const SEEDS: u64 = 3;

/// Packages, cancels, tags, joins, supersession, outcomes of every kind, devices that come late.
const EVERYTHING: &str = r#"
    scenario = { duration = "180s", settle = "600s", seed = SEED }
    server.chase = "10s"
    [firmware.modem]
    "2.0.0" = {}
    "2.1.0" = { install = { "succeed after 6s" = "60 %", "fail after 2s" = "20 %", "cancel after 3s" = "10 %", "succeed after 9s deaf" = "10 %" } }
    [firmware.sensor]
    "0.9.0" = {}
    "1.0.0" = { install = { "succeed after 1s" = "90 %", "unhandled" = "10 %" } }
    [firmware.app]
    "1.0.0" = {}
    "1.1.0" = { size = "128 KiB", boot = { "confirm after 2s" = "50 %", "crash after 3s" = "20 %", "confirm after 2s, crash after 8s" = "10 %", "hang watchdog 4s" = "20 %" } }
    "1.2.0" = { size = "40 KiB", boot = "confirm on connect within 30s" }
    [fleet.gateway]
    count = 60
    runs = ["app@1.0.0", "modem@2.0.0", "sensor@0.9.0"]
    link = "wifi"
    arrive = "over 30s"
    tags.region = ["north", "west"]
    [fleet.plain]
    count = 30
    runs = "app@1.0.0"
    arrive = "over 60s from 20s"
    reconnect = "1s..9s full"
    retry = "2s..20s full"
    tags.region = "west"
    [cohort.west]
    where = "tag.region:west"
    [cohort.hand]
    members = "20 of all"
    [[step]]
    name = "packages"
    at = "8s"
    deploy = ["modem@2.1.0", "sensor@1.0.0", "app@1.1.0"]
    main = "app"
    to = "all"
    [[step]]
    name = "first"
    at = "14s"
    deploy = ["app@1.1.0", "sensor@1.0.0"]
    main = "app"
    to = "west"
    [[step]]
    name = "halt"
    at = "17s"
    cancel = "packages"
    [[step]]
    at = "19s"
    tag = { region = "west" }
    who = "10 of tag.region:north"
    [[step]]
    name = "newer"
    at = "22s"
    deploy = "app@1.2.0"
    to = "west"
    [[step]]
    name = "other"
    at = "24s"
    deploy = "app@1.1.0"
    to = "hand"
    [[step]]
    at = "26s"
    join = "15 of !cohort:hand"
    to = "hand"
    [[step]]
    at = "27s"
    leave = "5 of cohort:hand"
    from = "hand"
    [[step]]
    name = "stop"
    at = "40s"
    cancel = "newer|other"
    [[step]]
    name = "again"
    at = "100s"
    deploy = ["sensor@1.0.0", "app@1.2.0"]
    main = "app"
    to = "all"
"#;

fn assert_silent(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.findings, [], "{what}");
    assert_eq!(outcome.errors, [], "{what}");
}

#[test]
fn the_examples_break_no_rule() {
    for name in ["quickstart", "late-joiners", "bad-firmware"] {
        for seed in 1..=SEEDS {
            let outcome = play(example(name, seed));
            assert_silent(&outcome, &format!("{name}, seed {seed}"));
            assert!(outcome.checks.checks > 10_000, "{name}: {} checks", outcome.checks.checks);
        }
    }
}

#[test]
fn a_fleet_of_which_everything_is_asked_breaks_no_rule() {
    let mut ends = BTreeMap::<_, u64>::new();
    for seed in 1..=SEEDS {
        let outcome = played(&EVERYTHING.replace("SEED", &seed.to_string()), None);
        assert_silent(&outcome, &format!("seed {seed}"));
        assert_eq!(outcome.end, RunEnd::Settled, "seed {seed}");
        for device in outcome.recorder.devices() {
            for attempt in &device.attempts {
                *ends.entry(attempt.state.word()).or_default() += 1;
            }
        }
    }
    println!("{ends:?}");
    for state in ["succeeded", "failed", "cancelled"] {
        assert!(ends.get(state).is_some_and(|count| *count > 20), "{ends:?}");
    }
}

/// A message of type 6 for `attempt` with an unknown key: a rejection.
fn broken(attempt: u8) -> Bytes {
    vec![0xa3, 0x00, 0x06, 0x18, 0x20, attempt, 0x18, 0x63, 0x00].into()
}

/// Situations that together touch every rule.
fn situations() -> Vec<Rig> {
    let canceled = |order: Manifest| Manifest { canceled: true, ..order };
    let deaf = || Setup {
        installs: vec![(
            "modem@2.0.0",
            InstallOutcome::SucceedAfter {
                after: 10 * SECOND,
                deaf: true,
            },
        )],
        ..Setup::default()
    };
    let rig = |setup: Setup, act: &dyn Fn(&mut Rig)| {
        let mut rig = Rig::online(setup);
        act(&mut rig);
        rig.run_for(200 * SECOND);
        rig
    };
    vec![
        rig(Setup::default(), &|rig| {
            rig.cloud.replies.push_back(Reply::BreakAfter(5_000, DownloadError::Reset));
            rig.cloud.replies.push_back(Reply::Status(503));
            rig.offer(5, modem_then_main());
            rig.run_to_answer();
            rig.ask_for_report(5);
            rig.cancel(5);
            rig.cancel(4);
            rig.deliver(Bytes::from_static(b"garbage"));
            rig.cloud.replies.push_back(Reply::Status(404));
            rig.offer(6, manifest(&[("app@1.0.0", true), ("modem@2.0.0", false)]));
        }),
        rig(Setup::boot(BootOutcome::CrashAfter(SECOND)), &|rig| {
            rig.offer(5, main_only());
            rig.run_to(Phase::Committing);
            rig.cancel(5);
        }),
        rig(deaf(), &|rig| {
            rig.offer(5, modem_then_main());
            rig.run_to(Phase::Installing);
            rig.offer(6, main_only());
            rig.offer(7, canceled(main_only()));
            rig.run_to(Phase::Cancelled);
            rig.run_for(20 * SECOND);
            rig.offer(8, modem_then_main());
            rig.cancel(8);
            rig.run_for(20 * SECOND);
            rig.deliver(broken(9));
        }),
    ]
}

#[test]
fn no_rule_about_a_device_is_idle() {
    let mut checks = BTreeMap::<&str, u64>::new();
    for mut rig in situations() {
        assert_eq!(rig.findings(), []);
        for (rule, count) in rig.checks() {
            *checks.entry(rule).or_default() += count;
        }
    }
    // These need a server that tells of itself.
    let of_the_server = ["ends-are-final", "state-equals-truth"];
    let idle: Vec<_> = checks
        .iter()
        .filter(|(rule, count)| **count == 0 && !of_the_server.contains(rule))
        .collect();
    assert!(idle.is_empty(), "{idle:?}");
}
