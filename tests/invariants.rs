//! The invariants of protocol section 9, each held by its number: devices made to break them are found, sound ones are not.

mod decoders;
mod fabricated;
mod messages;
mod planted;

mod silence;
mod table;

use std::sync::Arc;

use squall::device::Defect;
use squall::play::Outcome;
use squall::sim::play;
use squall::verdict::Finding;

use crate::device::rig::Rig;
use crate::device::setup::Setup;
use crate::sim::plan_of;

/// Plays a scenario in virtual time, its devices with this defect or sound.
fn played(scenario: &str, defect: Option<Defect>) -> Outcome {
    let mut plan = plan_of(scenario);
    for fleet in &mut plan.fleets {
        Arc::make_mut(&mut fleet.behaviors).defect = defect;
    }
    play(Arc::new(plan))
}

/// Holds that a scenario breaks nothing with sound devices, and this rule with this defect.
#[track_caller]
fn found_in_sim(scenario: &str, defect: Defect, rule: &str) {
    let sound = played(scenario, None);
    assert_eq!(sound.findings, [], "without a defect");
    assert!(sound.checks.checks > 0);
    assert_found(&played(scenario, Some(defect)).findings, rule);
}

/// Holds that what is done to one device breaks nothing if it is sound, and this rule with this defect.
#[track_caller]
fn found_on_rig(setup: impl Fn() -> Setup, defect: Defect, rule: &str, act: impl Fn(&mut Rig)) {
    let findings = |defect| {
        let mut rig = Rig::online(Setup { defect, ..setup() });
        act(&mut rig);
        rig.findings()
    };
    assert_eq!(findings(None), [], "without a defect");
    assert_found(&findings(Some(defect)), rule);
}

#[track_caller]
fn assert_found(findings: &[Finding], rule: &str) {
    let found = findings.iter().find(|finding| finding.rule == rule);
    let names: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
    let finding = found.unwrap_or_else(|| panic!("`{rule}` was not broken, only {names:?}"));
    println!(
        "{rule} at {} s: {} (and {} others)",
        finding.at,
        finding.evidence,
        names.len() - 1
    );
    assert!(finding.count > 0 && finding.device.is_some() && !finding.evidence.is_empty());
}
