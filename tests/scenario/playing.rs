//! Scenarios of faults, links and chips, played in virtual time.

use std::sync::Arc;

use squall::play::{Outcome, Status};
use squall::scenario::{Overrides, Source, load};
use squall::sim::play;

#[test]
fn several_packages_go_in_their_order_and_none_is_passed_over() {
    passes(&played("multi-package", &[], None));
}

#[test]
fn a_long_update_arrives_on_a_link_that_comes_and_goes() {
    let outcome = played("rural", &[], Some(40));
    passes(&outcome);
    assert!(outcome.elapsed.as_secs_f64() > 1_800.0);
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
