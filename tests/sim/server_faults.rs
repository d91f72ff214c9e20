//! Faults of the server in virtual time: what each does, what is counted, and that the fleet ends all the same.

use std::sync::Arc;

use squall::measure::{FaultFigures, TraceRow};
use squall::model::{ConnectResult, Selector};
use squall::play::{Outcome, Status};
use squall::sim::play;

use super::{example, plan_of};

/// Forty devices that are offered an update a second long, with these lines in `[server]` and these faults.
fn played(server: &str, fault: &str, seed: u64) -> Outcome {
    let text = format!(
        r#"
        scenario = {{ duration = "2m", seed = {seed}, trace = "on" }}
        server = {{ {server} }}
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.demo = {{ count = 40, runs = "app@1.0.0", reconnect = "200ms..2s half", arrive = "over 3s" }}
        step = [{{ name = "go", at = "4s", deploy = "app@1.1.0", to = "all" }}]
        fault = [{{ who = "server", {fault} }}]
        expect = ["devices{{state:succeeded}} share == 100 %", "devices{{runs:app@1.1.0}} share == 100 %"]
        "#
    );
    play(Arc::new(plan_of(&text)))
}

fn assert_passed(outcome: &Outcome) {
    let broken: Vec<_> = outcome.findings.iter().map(|finding| format!("{finding:?}")).collect();
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{broken:?} {:?} {:?}",
        outcome.judgements,
        outcome.errors
    );
}

fn fault(outcome: &Outcome) -> &FaultFigures {
    let [fault] = outcome.recorder.faults() else {
        panic!("{:?}", outcome.recorder.faults())
    };
    fault
}

fn connects(outcome: &Outcome, result: ConnectResult) -> u64 {
    let rows = outcome.recorder.trace().expect("the trace is on").sorted();
    rows.iter().filter(|row| tried(row) == Some(result)).count() as u64
}

fn tried(row: &TraceRow) -> Option<ConnectResult> {
    match row.happening {
        squall::measure::Happening::ConnectTried { result, .. } => Some(result),
        _ => None,
    }
}

fn count(outcome: &Outcome, who: &str) -> usize {
    outcome.recorder.matching(&Selector::parse(who).unwrap()).len()
}

#[test]
fn a_server_that_crashes_in_mid_rollout_forgets_nothing_and_every_device_ends() {
    for seed in 1..=20 {
        let server = r#"store = "disk", chase = "5s", limits = { offers = "8/s" }"#;
        let outcome = played(
            server,
            r#"inject = "crash", at = "4s..6s", for = "1s", every = "3s", times = 3"#,
            seed,
        );
        assert_passed(&outcome);
        let crash = fault(&outcome);
        assert_eq!((crash.planned, crash.done, crash.missed, crash.on), (Some(3), 3, 0, 0));
        assert!(
            connects(&outcome, ConnectResult::Refused) > 0,
            "nobody met a server that was down"
        );
    }
}

#[test]
fn an_outage_refuses_everybody_and_they_all_come_back() {
    let outcome = played("", r#"inject = "outage", at = "step:go+200ms", for = "10s""#, 1);
    assert_passed(&outcome);
    assert!(connects(&outcome, ConnectResult::Refused) > 40);
    assert_eq!(count(&outcome, "session:online"), 40);
    assert_eq!((fault(&outcome).planned, fault(&outcome).done), (Some(1), 1));
}

#[test]
fn a_frozen_server_answers_nobody_and_then_everybody() {
    let outcome = played("", r#"inject = "freeze", at = "2s", for = "8s""#, 1);
    assert_passed(&outcome);
    assert!(connects(&outcome, ConnectResult::Timeout) > 0);
    assert_eq!(connects(&outcome, ConnectResult::Refused), 0, "its kernel accepts");
}

#[test]
fn a_slow_server_takes_its_time_for_each_message() {
    let quick = played("", r#"inject = "slow 1ms", at = "0s", for = "1m""#, 1);
    let slow = played("", r#"inject = "slow 40ms", at = "0s", for = "1m""#, 1);
    let delayed = played(r#"delay = "40ms""#, r#"inject = "outage", at = "100s", for = "1s""#, 1);
    [&quick, &slow, &delayed].into_iter().for_each(assert_passed);
    assert!(connects(&quick, ConnectResult::Timeout) == 0 && connects(&slow, ConnectResult::Timeout) > 0);
    assert!(connects(&delayed, ConnectResult::Timeout) > 0);
}

#[test]
fn on_a_full_disk_nothing_is_told_until_there_is_room() {
    let outcome = played(r#"store = "disk""#, r#"inject = "disk-full", at = "4s", for = "5s""#, 1);
    assert_passed(&outcome);
    assert!(connects(&outcome, ConnectResult::Timeout) > 0 || outcome.elapsed.as_secs_f64() > 9.0);
}

#[test]
fn a_fault_without_an_end_lasts_for_the_rest_of_trouble() {
    let outcome = played("", r#"inject = "outage", at = "100s""#, 1);
    assert_passed(&outcome);
    assert_eq!(
        (fault(&outcome).done, fault(&outcome).on),
        (0, 0),
        "the run had settled before"
    );
    let outcome = played("", r#"inject = "outage", at = "step:go""#, 1);
    assert_passed(&outcome);
    assert_eq!((fault(&outcome).done, fault(&outcome).on), (1, 0));
    assert!(outcome.elapsed.as_secs_f64() > 120.0, "{}", outcome.elapsed);
}

#[test]
fn one_seed_is_one_history_whatever_befalls_the_server() {
    let crash = r#"inject = "crash", at = "4s..6s", for = "1s", every = "3s", times = 3"#;
    let play = |seed| {
        let outcome = played(r#"store = "disk""#, crash, seed);
        (outcome.elapsed, outcome.recorder.fingerprint())
    };
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}

#[test]
fn an_attempt_past_its_deadline_is_closed() {
    let text = r#"
        scenario = { duration = "3m", settle = "off" }
        server = { deadline = "20s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "hang" } }
        fleet.demo = { count = 5, runs = "app@1.0.0" }
        step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices{state:failed} share == 100 %"]
        "#;
    let outcome = play(Arc::new(plan_of(text)));
    let said: Vec<_> = outcome.judgements.iter().map(|judgement| judgement.measured).collect();
    assert_eq!(said, [Some(1.0)]);
}

/// The last of forty offers goes out more than three minutes after the first, long after trouble is over.
#[test]
fn paced_offers_may_outlast_trouble() {
    let text = r#"
        scenario = { duration = "10s" }
        server.limits.offers = "12/m"
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.demo = { count = 40, runs = "app@1.0.0" }
        step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices{state:succeeded} share == 100 %"]
        "#;
    let outcome = play(Arc::new(plan_of(text)));
    assert_passed(&outcome);
    assert!(outcome.elapsed.as_secs_f64() > 195.0, "{}", outcome.elapsed);
}

#[test]
fn the_scenarios_of_a_troubled_server_pass() {
    let staged = play(example("staged-rollout", 1));
    assert_passed(&staged);
    let crash = play(example("server-crash", 1));
    assert_passed(&crash);
    assert_eq!((fault(&crash).done, count(&crash, "state:succeeded")), (3, 1_000));
    let storm = play(example("retry-storm", 1));
    assert_passed(&storm);
    assert_eq!((fault(&storm).done, count(&storm, "state:succeeded")), (1, 5_000));
}
