//! Faults of a scenario on their way to devices: whom they are dealt to, when they strike, what is counted.

use std::sync::Arc;

use squall::measure::{FaultCame, FaultFigures, Happening};
use squall::model::Phase;
use squall::play::{Outcome, RunEnd, Status};
use squall::sim::play;
use squall::time::SimTime;

use super::{example, plan_of};

#[test]
fn power_cuts_strike_as_planned_and_every_device_comes_out_whole() {
    let outcome = play(example("power-cuts", 7));
    assert_passed(&outcome);
    let [any, swap, test, back] = outcome.recorder.faults() else {
        panic!("{:?}", outcome.recorder.faults())
    };
    assert_eq!(
        [any, swap, test, back].map(|fault| fault.planned),
        [Some(1_500), Some(100), Some(50), Some(500)]
    );
    for fault in outcome.recorder.faults() {
        assert_eq!(fault.planned, Some(fault.done + fault.missed), "{fault:?}");
        assert_eq!((fault.on, fault.spared), (0, 0), "{fault:?}");
        assert_eq!(fault.phases.iter().sum::<u64>(), fault.done, "{fault:?}");
        assert_eq!(fault.reasons.values().sum::<u64>(), fault.missed, "{fault:?}");
    }
    assert!(
        any.done > 1_400 && swap.done > 90 && test.done == 50,
        "{any:?} {swap:?} {test:?}"
    );
    assert_eq!(back.done, test.done, "whoever swaps back loses power again");
    assert_eq!(test.phases[Phase::Probation as usize], 50);
    assert_eq!(swap.phases[Phase::Swapping as usize], swap.done);
    assert!(any.phases[Phase::Downloading as usize] > 100 && any.phases[Phase::Swapping as usize] > 100);
}

#[test]
fn a_pick_is_dealt_exactly_and_each_fault_ranks_anew() {
    let outcome = played(
        r#"fault = [{ name = "one", inject = "link-down", who = "30 of all", at = "10s", for = "1s" },
          { name = "two", inject = "link-down", who = "30 % of all", at = "10s", for = "1s" },
          { name = "few", inject = "link-down", who = "device:demo-00001|demo-00002", at = "10s", for = "1s" }]"#,
        "",
    );
    let struck = |name: &str| -> Vec<u32> {
        let rows = rows(&outcome, name, FaultCame::Done);
        rows.into_iter().map(|(_, device)| device).collect()
    };
    assert_eq!((struck("one").len(), struck("two").len()), (30, 30));
    assert_ne!(struck("one"), struck("two"));
    assert_eq!(struck("few"), [0, 1]);
}

#[test]
fn a_time_is_drawn_by_each_device_and_a_steps_moment_counts_from_its_firing() {
    let outcome = played(
        r#"fault = [{ name = "range", inject = "link-down", who = "all", at = "10s..14s", for = "100ms", times = 2 },
          { name = "step", inject = "link-down", who = "10 of all", at = "step:go+1500ms", for = "100ms" },
          { name = "again", inject = "link-down", who = "1 of all", at = "10s", for = "100ms", every = "2s", times = 3 },
          { name = "never", inject = "link-down", who = "1 of all", at = "step:not", for = "100ms" }]"#,
        r#"step = [{ name = "go", when = "devices{session:online} share == 100 %", tag = { x = "1" }, who = "all" },
          { name = "not", when = "devices{session:online} count == 1000", tag = { x = "2" }, who = "all" }]"#,
    );
    let times = |name: &str| -> Vec<SimTime> {
        let rows = rows(&outcome, name, FaultCame::Done);
        rows.into_iter().map(|(at, _)| at).collect()
    };
    let drawn = times("range");
    assert_eq!(drawn.len(), 200);
    assert!(drawn.iter().all(|at| (10.0..=14.0).contains(&at.as_secs_f64())));
    let halves = drawn.iter().filter(|at| at.as_secs_f64() < 12.0).count();
    assert!((70..130).contains(&halves), "{halves} of 200 in the first half");
    let stepped = times("step");
    assert_eq!(stepped.len(), 10);
    assert!(
        stepped
            .iter()
            .all(|at| at.as_nanos() % 1_000_000_000 == 500_000_000 && *at == stepped[0])
    );
    assert_eq!(times("again"), [10, 12, 14].map(SimTime::from_secs));
    let never = figures(&outcome, "never");
    assert_eq!((never.planned, never.done, never.missed), (Some(1), 0, 1));
    assert_eq!(reasons(never), ["its step did not fire"]);
}

#[test]
fn whom_a_timed_fault_concerns_is_judged_when_it_is_due() {
    let outcome = played(
        r#"fault = [{ name = "online", inject = "power-cut", who = "session:online", at = "1s", for = "1s" },
          { name = "later", inject = "power-cut", who = "20 of session:online,phase:idle", at = "12s", for = "1s" }]"#,
        "",
    );
    assert_eq!(figures(&outcome, "online").planned, Some(0), "nobody has joined by then");
    let later = figures(&outcome, "later");
    assert_eq!(
        (later.planned, later.done, later.phases[Phase::Idle as usize]),
        (Some(20), 20, 20)
    );
}

#[test]
fn a_run_waits_for_bounded_faults_and_not_for_open_ones() {
    let ends = |fault: &str| {
        let outcome = played(&format!("fault = [{fault}]"), "");
        assert_eq!(outcome.end, RunEnd::Settled);
        outcome.elapsed.as_secs_f64()
    };
    let quiet = ends(r#"{ inject = "delay 1ms", who = "all" }"#);
    assert!(quiet < 10.0, "{quiet}");
    let timed = ends(r#"{ inject = "link-down", who = "1 of all", at = "20s..30s", for = "5s" }"#);
    assert!((25.0..37.0).contains(&timed), "{timed}");
    let repeated = ends(r#"{ inject = "link-down", who = "1 of all", at = "20s", for = "1s", every = "10s", times = 3 }"#);
    assert!((41.0..43.0).contains(&repeated), "{repeated}");
}

#[test]
fn chance_counts_what_it_could_have_struck() {
    let outcome = played(
        r#"fault = [{ name = "busy", inject = "http 503", who = "all", chance = "25 %", for = "40s" }]"#,
        r#"step = [{ at = "5s", deploy = "app@1.1.0", to = "all" }]
        expect = ["faults{kind:http,done:yes} share >= 10 %", "faults{fault:busy} count >= 100", "devices{state:succeeded} count == 100"]"#,
    );
    let busy = figures(&outcome, "busy");
    let tried = busy.done + busy.spared;
    assert_eq!(busy.planned, None);
    assert!((tried / 10..tried / 2).contains(&busy.done), "{busy:?}");
    let asked: Vec<_> = outcome.judgements.iter().filter_map(|judgement| judgement.measured).collect();
    assert_eq!(asked[1], tried as f64);
}

#[test]
fn a_fault_that_changes_images_lifts_no_more_than_it_must() {
    let middle = r#"at = "downloading 30 %", for = "1s""#;
    let always = r#"for = "30s""#;
    for (kind, when, broken) in [
        ("corrupt 4", middle, true),
        ("truncate short", always, true),
        ("truncate", middle, false),
        ("stall", middle, false),
    ] {
        let outcome = played(
            &format!(r#"fault = [{{ inject = "{kind}", who = "all", {when} }}]"#),
            r#"step = [{ at = "5s", deploy = "app@1.1.0", to = "all" }]"#,
        );
        let [fault] = outcome.recorder.faults() else { panic!() };
        assert!(fault.done > 90, "{fault:?}");
        let bad = outcome
            .recorder
            .matching(&squall::model::Selector::parse("state:failed").unwrap());
        assert_eq!(bad.len() > 50, broken, "{kind}: {} failed", bad.len());
    }
}

#[test]
fn a_paused_update_waits_and_resumes_where_it_was() {
    let outcome = played(
        r#"fault = [{ name = "hold", inject = "app-pause", who = "all", at = "downloading 30 %", for = "20s" },
          { name = "reboot", inject = "app-pause", who = "30 of all", at = "committing", for = "20s" },
          { name = "late", inject = "app-pause", who = "10 of all", at = "probation+10ms", for = "1s" }]"#,
        r#"step = [{ at = "5s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices{state:succeeded} count == 100", "resumes count == 100", "restarts count == 0",
          "phase_time{phase:downloading} min >= 20s", "phase_time{phase:committing} max >= 20s", "update_time max < 60s"]"#,
    );
    let done = |name| figures(&outcome, name).done;
    assert_eq!((done("hold"), done("reboot"), done("late")), (100, 30, 0));
    assert_eq!(reasons(figures(&outcome, "late")), ["there was no update to pause"]);
}

/// 100 devices on a link without joins, played to the end and lawful.
fn played(faults: &str, more: &str) -> Outcome {
    let plan = plan_of(&format!(
        r#"
        {faults}
        {more}
        scenario = {{ duration = "5m", settle = "10m" }}
        firmware.app = ["1.0.0", "1.1.0"]
        link.plain = {{ latency = "20ms", down = "10 Mbit/s", loss = "0 %", join = "0s" }}
        fleet.demo = {{ count = 100, runs = "app@1.0.0", link = "plain", arrive = "over 2s from 1s" }}"#
    ));
    let outcome = play(Arc::new(plan));
    assert_passed(&outcome);
    outcome
}

fn assert_passed(outcome: &Outcome) {
    let judged: Vec<_> = outcome.judgements.iter().filter(|judgement| !judgement.passed).collect();
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{:?} {judged:?} {:?} {:?}",
        outcome.end,
        outcome.findings,
        outcome.errors
    );
}

fn figures<'o>(outcome: &'o Outcome, name: &str) -> &'o FaultFigures {
    outcome.recorder.faults().iter().find(|fault| &*fault.name == name).unwrap()
}

fn reasons(fault: &FaultFigures) -> Vec<&str> {
    fault.reasons.keys().map(AsRef::as_ref).collect()
}

/// Every time that something came of a fault, with the device, in order of time.
fn rows(outcome: &Outcome, fault: &str, wanted: FaultCame) -> Vec<(SimTime, u32)> {
    let trace = outcome.recorder.trace().unwrap();
    let rows = trace.sorted().into_iter().filter_map(|row| match row.happening {
        Happening::Fault { name, came, .. } if came == wanted && trace.names().text(name) == fault => Some((row.at, row.device.0)),
        _ => None,
    });
    rows.collect()
}
