//! Flawed images of a scenario, on devices of the simulator.

use std::fmt::Write as _;
use std::sync::Arc;

use squall::mcuboot::Flaw;
use squall::play::Status;
use squall::sim::play;

use super::plan_of;

/// Where a device finds each flaw, and whether the flawed image runs all the same.
fn found(flaw: Flaw) -> (&'static str, bool) {
    match flaw {
        Flaw::BadSignature | Flaw::WrongKey | Flaw::Unsigned | Flaw::WrongDigest | Flaw::Truncated => ("not-swapped", false),
        Flaw::NoBuildId | Flaw::ZeroBuildId | Flaw::BadMagic => ("no-build-id", false),
        Flaw::WrongBuildId => ("wrong-build-id", true),
        Flaw::TooBig => ("too-big", false),
    }
}

#[test]
fn every_flaw_of_an_image_fails_its_attempts_for_its_reason_and_breaks_no_rule() {
    let words = Flaw::ALL.map(Flaw::word);
    let mut nouns = format!(
        "scenario = {{ duration = \"60s\" }}\nfirmware.app.\"1.0.0\" = {{}}\n\
         fleet.demo = {{ count = 30, runs = \"app@1.0.0\", tags = {{ flaw = {words:?} }} }}\n"
    );
    let mut rows = String::new();
    for (number, flaw) in Flaw::ALL.into_iter().enumerate() {
        let (reason, runs) = found(flaw);
        let running = if runs { 3 } else { 0 };
        write!(
            nouns,
            "firmware.app.\"2.0.{number}\" = {{ size = \"20 KiB\", flaw = \"{flaw}\" }}\n\
             cohort.{flaw}.where = \"tag.flaw:{flaw}\"\n"
        )
        .unwrap();
        write!(
            rows,
            "[[step]]\nat = \"2s\"\ndeploy = \"app@2.0.{number}\"\nto = \"{flaw}\"\n\
             [[expect]]\nthat = \"attempts{{cohort:{flaw},result:failed,reason:{reason}}} count == 3\"\n\
             [[expect]]\nthat = \"devices{{cohort:{flaw},runs:app@2.0.{number}}} count == {running}\"\n"
        )
        .unwrap();
    }
    let outcome = play(Arc::new(plan_of(&(nouns + &rows))));
    let failed: Vec<_> = outcome.judgements.iter().filter(|judgement| !judgement.passed).collect();
    assert_eq!(outcome.status(), Status::Passed, "{failed:?} {:?}", outcome.findings);
    assert_eq!(outcome.judgements.len(), 2 * Flaw::ALL.len());
}
