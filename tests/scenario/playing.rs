//! Scenarios of faults, links and chips, played in virtual time.

use std::sync::Arc;

use squall::play::{Outcome, Status};
use squall::scenario::{Overrides, Source, load};
use squall::sim::play;

#[test]
fn several_packages_go_in_their_order_and_none_is_passed_over() {
    let outcome = played("multi-package", &[], None);
    passes(&outcome);
    let lost = &outcome.recorder.faults()[0];
    assert!(lost.done > 20 && lost.spared > 20, "{lost:?}");
}

#[test]
fn a_long_update_arrives_on_a_link_that_comes_and_goes() {
    let outcome = played("rural", &[], Some(40));
    passes(&outcome);
    assert!(outcome.elapsed.as_secs_f64() > 1_800.0);
    let total = outcome.recorder.total();
    assert_eq!((total.restarts, total.wasted_bytes), (0, 0), "RAM is kept in sleep");
    assert!(total.resumes > 300 && total.image_bytes >= 40 * 384 * 1024, "{total:?}");
}

#[test]
fn a_device_that_sleeps_is_online_for_its_waking_time_alone() {
    let plan = r#"
        scenario = { duration = "10m", ends = "duration" }
        firmware.app = ["1.0.0"]
        link.plain = { latency = "10ms", loss = "0 %", join = "0s" }
        fleet.demo = { count = 10, runs = "app@1.0.0", link = "plain", power = "awake 1m every 3m" }
        expect = [{ that = "devices{session:online} count == 10", at = "50s" },
          { that = "devices{session:online} count == 0", at = "60001ms" }, { that = "devices{session:online} count == 0", at = "179s" },
          { that = "devices{session:online} count == 10", at = "182s" }, "connects count == 40"]"#;
    let plan = load(Source::Stdin(plan.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    passes(&play(Arc::new(plan)));
}

#[test]
fn every_chip_takes_an_update_in_its_own_time() {
    let took = |flash: &str| {
        let flash = format!("fleet.demo.flash={flash}");
        let sets = ["firmware.app.\"1.0.0\".size=32 KiB", &flash];
        let outcome = played("quickstart", &sets, Some(3));
        passes(&outcome);
        outcome.elapsed.as_secs_f64()
    };
    let usual = took("nrf52840");
    let hasty = took("{ time_scale = 0.01 }");
    assert!(
        hasty + 2.0 < usual,
        "{hasty} s with a hundredth of the flash times, {usual} s without"
    );
    for chip in ["nrf51822", "nrf5340", "nrf9160"] {
        assert!(took(chip) > hasty, "{chip}");
    }
    let own = "{ like = \"nrf52840\", size = \"512 KiB\", slot = \"64 KiB\", page = \"8 KiB\", write = \"8 B\" }";
    assert!(took(own) > hasty);
}

fn played(name: &str, sets: &[&str], devices: Option<u64>) -> Outcome {
    let overrides = Overrides {
        set: sets.iter().map(|set| (*set).to_owned()).collect(),
        devices,
        ..Overrides::default()
    };
    let plan = load(Source::Example(name.to_owned()), &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    play(Arc::new(plan))
}

fn passes(outcome: &Outcome) {
    let failed: Vec<_> = outcome.judgements.iter().filter(|judgement| !judgement.passed).collect();
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{failed:?} {:?} {:?}",
        outcome.findings,
        outcome.left_open
    );
}
