//! Cheating devices: what they do is played and counted, and the server falls for nothing that it could know better.

use std::sync::Arc;

use squall::faults::Cheat;
use squall::model::{DeviceIndex, Selector, UpdateState};
use squall::play::{Outcome, Status};
use squall::sim::play;

use super::{example, plan_of};

#[test]
fn cheaters_are_dealt_exactly_and_each_cheats_in_one_way() {
    let plan = plan_of(
        r#"scenario = { duration = "1m" }
        firmware.app = ["1.0.0"]
        fleet.a = { count = 10, runs = "app@1.0.0" }
        fleet.b = { count = 200, runs = "app@1.0.0", cheats = { flood = "5 %", no-ack = 3, garbage = "90 %" } }"#,
    );
    let dealt: Vec<_> = plan.cheats.iter().map(|row| (&*row.name, row.devices.len())).collect();
    assert_eq!(dealt, [("b.garbage", 180), ("b.no-ack", 3), ("b.flood", 10)]);
    let mut cheaters: Vec<_> = plan.cheaters().collect();
    cheaters.sort_unstable();
    cheaters.dedup();
    assert_eq!(cheaters.len(), 193);
    assert!(cheaters.iter().all(|device| (10..210).contains(&device.0)));
    assert_eq!(plan.cheat_of(DeviceIndex(0)), None);
}

#[test]
fn every_cheat_is_played_and_counted_and_nobody_honest_pays_for_it() {
    let kinds: String = Cheat::ALL
        .iter()
        .map(|cheat| format!("fleet.x-{cheat} = {{ count = 3, runs = \"app@1.0.0\", cheats = {{ {cheat} = 3 }} }}\n"))
        .collect();
    let plan = plan_of(&format!(
        r#"scenario = {{ duration = "60s" }}
        firmware.app = {{ "1.0.0" = {{ size = "16 KiB" }}, "1.1.0" = {{ size = "16 KiB" }}, "1.2.0" = {{ size = "16 KiB" }} }}
        step = [{{ at = "2s", deploy = "app@1.1.0", to = "all" }}, {{ at = "15s", deploy = "app@1.2.0", to = "all" }}]
        fault = [{{ inject = "link-down", who = "fleet:honest", at = "4s", for = "1s" }}]
        expect = ["faults{{fault:x-flood.flood,done:yes}} count > 100", "disagreements{{fleet:honest}} count == 0",
          "faults{{kind:no-ack,fleet:honest}} count == 0"]
        fleet.honest = {{ count = 30, runs = "app@1.0.0" }}
        {kinds}"#
    ));
    let outcome = play(Arc::new(plan));
    let wrong: Vec<_> = outcome.judgements.iter().filter(|judgement| !judgement.passed).collect();
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{wrong:?} {:?} {:?}",
        outcome.findings,
        outcome.errors
    );
    let rows = outcome.recorder.faults();
    assert_eq!(rows.len(), 1 + Cheat::ALL.len());
    for row in &rows[1..] {
        assert_eq!((row.devices, row.planned, row.missed), (3, None, 0), "{row:?}");
        assert!(row.done >= 3, "{row:?}");
    }
    assert_eq!(ended(&outcome, "honest", UpdateState::Succeeded, "app@1.2.0"), 30);
    for &cheat in Cheat::ALL {
        let fleet = format!("x-{cheat}");
        let (state, runs) = match cheat {
            // All that a server can know is what it is told.
            Cheat::ClaimSuccess => (UpdateState::Succeeded, "app@1.0.0"),
            Cheat::HideResults | Cheat::UpdateLoop => (UpdateState::InProgress, "app@1.2.0"),
            Cheat::WrongSecret => (UpdateState::Failed, "app@1.0.0"),
            Cheat::ReplayResults
            | Cheat::BadIndex
            | Cheat::Garbage
            | Cheat::NoAck
            | Cheat::StealTopic
            | Cheat::Flood
            | Cheat::SuccessBeforeBoot => (UpdateState::Succeeded, "app@1.2.0"),
        };
        assert_eq!(ended(&outcome, &fleet, state, runs), 3, "{cheat}");
    }
}

#[test]
fn a_cheater_cheats_on_when_trouble_is_over_and_is_not_waited_for() {
    let outcome = play(example("cheats", 1));
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{:?} {:?}",
        outcome.judgements,
        outcome.findings
    );
    assert_eq!(
        outcome.elapsed.as_secs_f64(),
        30.0,
        "who hides its results is open, and holds no run beyond its duration"
    );
    let again = play(example("cheats", 1));
    assert_eq!(outcome.recorder.fingerprint(), again.recorder.fingerprint());
    let done = |outcome: &Outcome| outcome.recorder.faults().iter().map(|row| row.done).collect::<Vec<_>>();
    assert_eq!(done(&outcome), done(&again));
}

/// Devices of a fleet whose attempt stands so and that run this.
fn ended(outcome: &Outcome, fleet: &str, state: UpdateState, runs: &str) -> usize {
    let who = format!("fleet:{fleet},state:{state},runs:{runs}");
    outcome.recorder.matching(&Selector::parse(&who).unwrap()).len()
}
