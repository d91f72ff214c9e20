//! Whole runs in virtual time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use squall::measure::{Trace, TraceRow};
use squall::model::{Phase, Selector};
use squall::play::{Outcome, RunEnd, Status};
use squall::report::RunDirectory;
use squall::sim::{Pulse, QueueKind, play, play_watched, play_with};
use squall::time::SimTime;

use super::{example, plan_of};

#[test]
fn quickstart_updates_all_200_devices() {
    let outcome = play(example("quickstart", 1));
    assert_passed(&outcome);
    assert_eq!(count(&outcome, "state:succeeded"), 200);
    assert_eq!(count(&outcome, "runs:app@1.1.0"), 200);
    assert_eq!(count(&outcome, "session:online"), 200);
    assert_eq!(outcome.end, RunEnd::Settled);
    assert!(outcome.elapsed < SimTime::from_secs(20), "{}", outcome.elapsed);
}

#[test]
fn late_joiners_updates_270_devices_however_they_came_into_the_cohort() {
    let outcome = play(example("late-joiners", 1));
    assert_passed(&outcome);
    assert_eq!(count(&outcome, "runs:app@2.1.0"), 270);
    assert_eq!(count(&outcome, "runs:app@2.0.0"), 130);
    assert_eq!(count(&outcome, "state:succeeded"), 270);
    assert_eq!(count(&outcome, "cohort:west"), 270);
    assert_eq!(count(&outcome, "tag.region:north"), 130);
    assert_eq!(count(&outcome, "tag.region:north,runs:app@2.1.0"), 0);
    assert_eq!(count(&outcome, "fleet:late,state:succeeded"), 100);
}

#[test]
fn bad_firmware_rolls_back_everywhere_and_is_repaired() {
    let outcome = play(example("bad-firmware", 1));
    assert_passed(&outcome);
    assert_eq!(outcome.judgements[0].measured, Some(100.0), "rollbacks");
    assert_eq!(count(&outcome, "runs:app@1.2.0"), 100);
    let transitions: Vec<_> = rows(&outcome).iter().filter_map(TraceRow::transition).collect();
    let entered = |phase: Phase| transitions.iter().filter(|transition| transition.to == phase).count();
    let seen = [Phase::Reverting, Phase::Failed, Phase::Probation, Phase::Succeeded].map(entered);
    assert_eq!(seen, [100, 100, 200, 100]);
}

#[test]
fn a_plan_played_twice_writes_the_same_files_byte_for_byte() {
    for name in ["quickstart", "late-joiners", "bad-firmware"] {
        let folder = tempfile::tempdir().unwrap();
        let written = [0, 1].map(|time: u64| {
            let outcome = play(example(name, 1));
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 86_400 * time);
            let directory = RunDirectory::create(&folder.path().join(time.to_string()), name, now).unwrap();
            directory.log(&format!("log number {time}")).unwrap();
            directory.write(&outcome).unwrap();
            files(directory.path())
        });
        let names: Vec<_> = written[0].keys().map(String::as_str).collect();
        for expected in [
            "summary.json",
            "summary.txt",
            "timeline.csv",
            "devices.csv",
            "trace.ndjson.zst",
            "resolved.toml",
        ] {
            assert!(names.contains(&expected), "{name} wrote no {expected}, only {names:?}");
        }
        assert_eq!(names, written[1].keys().map(String::as_str).collect::<Vec<_>>());
        for (file, bytes) in &written[0] {
            assert!(!bytes.is_empty(), "{name}: {file} is empty");
            assert!(bytes == &written[1][file], "{name}: {file} differs");
        }
    }
}

#[test]
fn the_fast_queue_and_the_reference_play_the_same_simulation() {
    for name in ["late-joiners", "bad-firmware", "multi-package"] {
        let [wheel, heap] = [QueueKind::Wheel, QueueKind::Heap].map(|queue| play_with(example(name, 3), queue));
        assert!(rows(&wheel).len() > 1_000, "{name}: {} rows", rows(&wheel).len());
        assert_eq!(rows(&wheel), rows(&heap), "{name}");
        assert_eq!(wheel.recorder.fingerprint(), heap.recorder.fingerprint(), "{name}");
    }
}

/// Devices are online for a quarter of an hour and hardly ever have anything to do but to keep their connections alive: the fast engine plays
/// that when it next looks at them, the reference as it comes. Between: packets of the server's own accord, offers that wait for their turn,
/// power cuts, links that drop, are gone or are replaced, sleep, absence, an outage, a slow server, a crash of it. Downloads of sixteen and of
/// sixty-four pages, which the fast engine plays in one go, are stopped, broken off and replaced meanwhile. Without a trace it plays all of a
/// device's life so, from one look of the Director to the next.
#[test]
fn a_device_that_is_left_alone_lives_as_one_that_is_watched() {
    let quiet = r#"step = [{ at = "90s", deploy = "app@1.1.0", to = "all" }, { name = "next", at = "8m", deploy = "app@1.2.0", to = "all" },
          { at = "500s", cancel = "next" }, { at = "510s", deploy = "app@1.3.0", to = "all" }, { at = "520s", deploy = "app@1.4.0", to = "all" }]
        fault = [{ inject = "power-cut", who = "30 % of all", at = "flash any", for = "1s..2m" },
          { name = "later", inject = "power-cut", who = "10 of all", at = "5m..7m", for = "1s..2m" },
          { inject = "link lte-m", who = "5 of all", at = "6m..10m", for = "2m" },
          { inject = "link-down", who = "5 of all", at = "6m..10m", for = "90s" }]"#;
    let outage = r#"step = [{ at = "90s", deploy = "app@1.1.0", to = "all" }]
        fault = [{ inject = "outage", who = "server", at = "4m", for = "20s" }, { inject = "slow 2s", who = "server", at = "7m", for = "3m" }]"#;
    let crash = r#"step = [{ at = "90s", deploy = "app@1.1.0", to = "all" }]
        fault = [{ inject = "crash", who = "server", at = "5m", for = "3s" }]"#;
    // Where offers take turns, and where the order of all lines is asked for, nobody goes ahead; otherwise everybody does.
    let (in_turn, ahead) = ((r#"offers = "1/s""#, "on"), ("", "off"));
    let played = [
        ("quiet", quiet, in_turn),
        ("outage", outage, in_turn),
        ("crash", crash, in_turn),
        ("quiet", quiet, ahead),
        ("outage", outage, ahead),
    ];
    for (name, rest, (limits, trace)) in played {
        let scenario = left_alone(limits, trace, rest);
        let [fast, reference] = [QueueKind::Wheel, QueueKind::Heap].map(|queue| play_with(Arc::new(plan_of(&scenario)), queue));
        assert_same_simulation(&fast, &reference, &format!("{name}, trace {trace}"));
        let sent = fast.recorder.total().bytes_up;
        assert!(sent > 50 * 200, "{name}: {sent}");
    }
}

/// Until the last device has come and a `when` is asked for, the fast engine looks at ten seconds at once, and from then on at each.
#[test]
fn a_run_that_is_looked_at_seldom_ends_in_the_same_second() {
    let scenario = r#"
        scenario = { duration = "15m", trace = "off" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "64 KiB" }, "1.2.0" = {} }
        fleet.wifi = { count = 40, runs = "app@1.0.0", link = "wifi", arrive = "over 95s" }
        step = [{ name = "first", at = "12500ms", deploy = "app@1.1.0", to = "all" },
          { at = "2m", when = "devices{state:succeeded} share >= 90 %", for = "3s", deploy = "app@1.2.0", to = "all" }]
        expect = [{ at = "47s", that = "devices{session:online} count >= 1" }]"#;
    let [fast, reference] = [QueueKind::Wheel, QueueKind::Heap].map(|queue| play_with(Arc::new(plan_of(scenario)), queue));
    assert_eq!((fast.end.clone(), fast.elapsed), (reference.end.clone(), reference.elapsed));
    assert_eq!(fast.fired, reference.fired);
    assert_eq!(format!("{:?}", fast.judgements), format!("{:?}", reference.judgements));
    assert_same_simulation(&fast, &reference, "seldom");
    assert!(fast.fired.iter().all(Option::is_some), "{:?}", fast.fired);
}

fn left_alone(limits: &str, trace: &str, rest: &str) -> String {
    format!(
        r#"scenario = {{ duration = "15m", ends = "duration", settle = "5m", trace = "{trace}" }}
        server = {{ store = "disk", limits = {{ {limits} }} }}
        link.dropping = {{ like = "lte", drops = "every 4m for 5s..40s" }}
        firmware.app = {{ "1.0.0" = {{}}, "1.1.0" = {{ size = "64 KiB" }}, "1.2.0" = {{ size = "256 KiB" }}, "1.3.0" = {{ size = "256 KiB" }},
          "1.4.0" = {{ size = "128 KiB" }} }}
        fleet.wifi = {{ count = 20, runs = "app@1.0.0", link = "wifi", arrive = "over 1m" }}
        fleet.dropping = {{ count = 20, runs = "app@1.0.0", link = "dropping", arrive = "over 1m" }}
        fleet.sleeping = {{ count = 10, runs = "app@1.0.0", power = "awake 100s every 4m" }}
        fleet.absent = {{ count = 10, runs = "app@1.0.0", absence = "30 %", reconnect = "1s..1m full" }}
        fleet.beating = {{ count = 10, runs = "app@1.0.0", heartbeat = "100s" }}
        {rest}"#
    )
}

/// All that is kept of both is alike: rows of a trace, fingerprint, figures, seconds, how devices end.
fn assert_same_simulation(one: &Outcome, other: &Outcome, what: &str) {
    assert_eq!(one.recorder.fingerprint(), other.recorder.fingerprint(), "{what}");
    let traced = |outcome: &Outcome| outcome.recorder.trace().map(|_| rows(outcome));
    assert_eq!(traced(one), traced(other), "{what}");
    let figures = |outcome: &Outcome| format!("{:?} {:?}", outcome.checks, outcome.recorder.total());
    assert_eq!(figures(one), figures(other), "{what}");
    let timeline = |outcome: &Outcome| outcome.recorder.timeline().rows().cloned().collect::<Vec<_>>();
    assert_eq!(timeline(one), timeline(other), "{what}");
    let devices = |outcome: &Outcome| format!("{:?}", outcome.recorder.devices().collect::<Vec<_>>());
    assert_eq!(devices(one), devices(other), "{what}");
}

#[test]
fn another_seed_deals_other_outcomes() {
    let [one, two] = [1, 2].map(|seed| play(example("bad-firmware", seed)));
    assert_passed(&two);
    assert_ne!(one.recorder.fingerprint(), two.recorder.fingerprint());
    assert_ne!(rows(&one), rows(&two));
}

#[test]
fn a_device_more_leaves_every_other_device_as_it_was() {
    let fleet = |count: u32| {
        let plan = plan_of(&format!(
            r#"
            scenario = {{ duration = "60s" }}
            server = {{ first_attempt = 1000 }}
            firmware.app = ["1.0.0", "1.1.0"]
            fleet.first = {{ count = {count}, runs = "app@1.0.0", arrive = "20/s", reconnect = "1s..9s full" }}
            fleet.second = {{ count = 20, runs = "app@1.0.0", link = "wifi" }}
            step = [{{ at = "4s", deploy = "app@1.1.0", to = "all" }}]"#
        ));
        let outcome = play(Arc::new(plan));
        assert_passed(&outcome);
        let rows = rows(&outcome);
        let trace = outcome.recorder.trace().unwrap();
        let by_device = |id: &str| {
            let index = outcome.recorder.device_index(id).unwrap();
            let own = rows.iter().filter(|row| row.device == index);
            own.map(|row| line_without_number(trace, row, id)).collect::<Vec<_>>()
        };
        let ids = (1..=20).flat_map(|n| [format!("first-{n:05}"), format!("second-{n:05}")]);
        ids.map(|id| by_device(&id)).collect::<Vec<_>>()
    };
    let lives = fleet(20);
    assert!(lives.iter().all(|life| life.len() > 20), "{lives:?}");
    assert_eq!(lives, fleet(21), "to the nanosecond");
}

/// A line of the trace without the number that the server gave its attempt: a device more shifts it, and with four digits none is longer.
fn line_without_number(trace: &Trace, row: &TraceRow, id: &str) -> String {
    const KEY: &str = "\"attempt\":\"";
    let mut line = format!("{} ", row.at.as_nanos());
    trace.write_line(row, &id.into(), &mut line);
    match line.split_once(KEY) {
        Some((before, after)) => format!("{before}{KEY}{}", after.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line,
    }
}

#[test]
fn a_fleet_that_its_firmware_hangs_is_stuck_and_the_run_still_ends() {
    let plan = plan_of(
        r#"
        scenario = { duration = "30s", settle = "20s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "unconfirmed" } }
        fleet.demo = { count = 3, runs = "app@1.0.0" }
        step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    let outcome = play(Arc::new(plan));
    assert_eq!((outcome.end.clone(), outcome.status()), (RunEnd::Duration, Status::Passed));
    assert_eq!(
        (outcome.elapsed, count(&outcome, "phase:probation")),
        (SimTime::from_secs(50), 3)
    );
}

#[test]
fn an_older_generation_is_stuck_after_a_cut_and_breaks_nothing() {
    let story = |sdk: &str| {
        let plan = plan_of(&format!(
            r#"
            scenario = {{ duration = "60s", settle = "20s" }}
            firmware.modem = {{ "1.0.0" = {{}}, "2.0.0" = {{ install = "succeed after 5s" }} }}
            firmware.app = ["1.0.0", "1.1.0"]
            fleet.demo = {{ count = 3, runs = ["app@1.0.0", "modem@1.0.0"], sdk = "{sdk}" }}
            step = [{{ at = "2s", deploy = ["modem@2.0.0", "app@1.1.0"], main = "app", to = "all" }}]
            fault = [{{ inject = "power-cut", who = "all", at = "downloading 50 %" }}]"#
        ));
        let outcome = play(Arc::new(plan));
        let held = ["phase:waiting", "phase:succeeded"].map(|phase| count(&outcome, phase));
        (outcome.end.clone(), outcome.status(), held)
    };
    assert_eq!(story("fota"), (RunEnd::Duration, Status::Passed, [3, 0]));
    assert_eq!(story("newest"), (RunEnd::Settled, Status::Passed, [0, 3]));
}

#[test]
fn connecting_takes_a_round_trip_each_for_tcp_tls_connect_and_subscribe() {
    let connect_time = |server: &str| {
        let plan = plan_of(&format!(
            r#"
            scenario = {{ duration = "20s" }}
            {server}
            firmware.app = ["1.0.0"]
            link.short = {{ like = "lan", latency = "14ms", down = "1 Gbit/s", up = "1 Gbit/s", loss = "0 %", join = "0s" }}
            fleet.demo = {{ count = 3, runs = "app@1.0.0", link = "short" }}
            expect = ["connect_time count == 3", "connect_time max < 1s"]"#
        ));
        let outcome = play(Arc::new(plan));
        assert_passed(&outcome);
        outcome.judgements[1].measured.unwrap()
    };
    // The round trip is 28 ms, bytes take next to nothing; histograms keep three digits.
    let [with_tls, without] = ["", "server = { tls = \"off\" }"].map(connect_time);
    assert!((0.1119..0.1122).contains(&with_tls), "{with_tls}");
    assert!((0.0839..0.0842).contains(&without), "{without}");
}

#[test]
fn a_cancel_stops_downloads_and_the_fleet_comes_to_rest() {
    let plan = plan_of(
        r#"
        scenario = { duration = "60s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "256 KiB" } }
        fleet.demo = { count = 50, runs = "app@1.0.0", arrive = "over 10s" }
        step = [{ name = "one", at = "4s", deploy = "app@1.1.0", to = "all" }, { name = "halt", at = "9s", cancel = "one" }]
        expect = ["attempts{result:cancelled} count >= 30"]"#,
    );
    let outcome = play(Arc::new(plan));
    assert_passed(&outcome);
    assert_eq!(count(&outcome, "state:cancelled"), 50 - count(&outcome, "state:none"));
    assert_eq!(count(&outcome, "runs:app@1.0.0"), 50);
}

#[test]
fn a_newer_deployment_takes_the_place_of_one_under_way() {
    let plan = plan_of(
        r#"
        scenario = { duration = "90s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "256 KiB" }, "1.2.0" = {} }
        fleet.demo = { count = 50, runs = "app@1.0.0", arrive = "over 12s" }
        step = [{ name = "one", at = "4s", deploy = "app@1.1.0", to = "all" }, { name = "two", at = "10s", deploy = "app@1.2.0", to = "all" }]
        expect = ["attempts{result:superseded} count > 20", "devices{step:two,state:succeeded} share == 100 %"]"#,
    );
    let outcome = play(Arc::new(plan));
    assert_passed(&outcome);
    assert_eq!(count(&outcome, "runs:app@1.2.0"), 50);
}

#[test]
fn of_several_packages_a_failed_one_keeps_main_from_being_installed() {
    let plan = plan_of(
        r#"
        scenario = { duration = "60s" }
        firmware.modem = { "2.0.0" = {}, "2.1.0" = { install = { "succeed after 6s" = "90 %", "fail after 2s" = "10 %" } } }
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.gateway = { count = 200, runs = ["app@1.0.0", "modem@2.0.0"] }
        step = [{ at = "3s", deploy = ["modem@2.1.0", "app@1.1.0"], main = "app", to = "all" }]"#,
    );
    let outcome = play(Arc::new(plan));
    assert_passed(&outcome);
    let counted = [
        "runs:app@1.1.0,runs:modem@2.1.0",
        "runs:app@1.0.0,runs:modem@2.0.0",
        "state:failed",
    ];
    assert_eq!(counted.map(|who| count(&outcome, who)), [180, 20, 20]);
}

#[test]
fn devices_follow_their_cohort_in_and_out() {
    let plan = plan_of(
        r#"
        scenario = { duration = "60s" }
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.demo = { count = 100, runs = "app@1.0.0" }
        cohort.some.members = "30 of all"
        step = [{ at = "3s", deploy = "app@1.1.0", to = "some" },
          { at = "2s", leave = "10 of cohort:some", from = "some" },
          { at = "5s", join = "20 of !cohort:some", to = "some" },
          { when = "devices{state:succeeded} count >= 40", for = "2s", tag = { done = "yes" }, who = "state:succeeded" }]"#,
    );
    let outcome = play(Arc::new(plan));
    assert_passed(&outcome);
    let counted = ["cohort:some", "runs:app@1.1.0", "tag.done:yes", "cohort:some,state:succeeded"];
    assert_eq!(counted.map(|who| count(&outcome, who)), [40, 40, 40, 40]);
}

#[test]
fn a_rollout_is_held_back_goes_on_and_is_tried_again() {
    let plan = plan_of(
        r#"
        scenario = { duration = "2m" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "crash after 1s" } }
        fleet.early = { count = 20, runs = "app@1.0.0" }
        fleet.late = { count = 20, runs = "app@1.0.0", arrive = "over 5s from 12s" }
        step = [{ name = "up", at = "5s", deploy = "app@1.1.0", to = "all" }, { at = "10s", pause = "up" },
          { name = "on", at = "30s", resume = "up" },
          { name = "again", when = "devices{state:failed} count == 40", retry = "up" }]
        expect = [{ that = "devices{fleet:late,state:pending} count == 20", at = "29s" },
          { that = "attempts{result:failed} count == 40", at = "step:again" }, "attempts{result:failed} count == 80"]"#,
    );
    let outcome = play(Arc::new(plan));
    assert_passed(&outcome);
    assert_eq!(count(&outcome, "state:failed"), 40);
}

#[test]
fn a_run_can_be_interrupted_between_events() {
    let mut pulses = 0;
    let outcome = play_watched(example("quickstart", 1), &mut |_, director| {
        pulses += 1;
        assert!(director.snapshot(SimTime::ZERO).online <= 200);
        if pulses == 2 { Pulse::Interrupt } else { Pulse::GoOn }
    });
    assert_eq!(
        (pulses, outcome.end.clone(), outcome.status()),
        (2, RunEnd::Interrupted, Status::Interrupted)
    );
}

fn rows(outcome: &Outcome) -> Vec<TraceRow> {
    outcome.recorder.trace().expect("small fleets are traced").sorted()
}

fn assert_passed(outcome: &Outcome) {
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{:?} {:?} {:?} {:?}",
        outcome.end,
        outcome.judgements,
        outcome.findings,
        outcome.errors
    );
}

fn count(outcome: &Outcome, who: &str) -> usize {
    outcome.recorder.matching(&Selector::parse(who).unwrap()).len()
}

/// Every file of a run directory but the log.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_name() != "log.txt");
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}
