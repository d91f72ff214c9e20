//! Tests of the engine.

use super::*;
use crate::play::Status;
use crate::scenario::{Overrides, Source, load};

/// A device that is there, and whose results are lost: a server has to ask for them, again and again.
const UNHEARD: &str = r#"
scenario = { duration = "100s", settle = "off", ends = "duration" }
server.chase = "10s"
firmware.app = ["1.0.0", "1.1.0"]
fleet.demo = { count = 2, runs = "app@1.0.0" }
step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]
fault = [{ inject = "lose", only = "results", who = "all" }]
"#;

fn played(chase: bool) -> Outcome {
    let plan = load(Source::Stdin(UNHEARD.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    let mut engine = Engine::new(Arc::new(plan), QueueKind::default());
    if !chase {
        let mut config = server_config(&engine.plan);
        config.chase = std::time::Duration::ZERO;
        engine.server = Server::new(config);
    }
    engine.run(&mut |_| Pulse::GoOn);
    engine.finish().0
}

#[test]
fn a_server_that_never_asks_again_breaks_a_rule_of_its_own_and_one_that_asks_does_not() {
    let sound = played(true);
    assert_eq!((&sound.findings, sound.status()), (&vec![], Status::Passed));
    let bent = played(false);
    let found: Vec<_> = bent.findings.iter().map(|finding| (finding.rule, finding.count)).collect();
    assert_eq!(
        (found, bent.status()),
        (vec![("missing-results-are-asked-for", 2)], Status::Broken)
    );
    assert!(sound.checks.rules > crate::verdict::Referee::RULES, "{:?}", sound.checks);
}

/// Devices that come in over minutes and are updated at once; nothing is judged by the second, so each goes ahead by up to a minute.
const AHEAD: &str = r#"
scenario = { duration = "10m", settle = "off", ends = "duration", trace = "off" }
firmware.app = ["1.0.0", "1.1.0"]
fleet.demo = { count = 1500, runs = "app@1.0.0", arrive = "over 4m" }
step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
"#;

#[test]
fn an_interrupt_finds_all_devices_equally_far() {
    let play = |kind: QueueKind, pulse: &mut dyn FnMut(Scene<'_>) -> Pulse| {
        let plan = load(Source::Stdin(AHEAD.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
        let mut engine = Engine::new(Arc::new(plan), kind);
        engine.run(pulse);
        engine.finish().0
    };
    let fast = play(QueueKind::Wheel, &mut |_| Pulse::Interrupt);
    let reference = play(QueueKind::Heap, &mut |scene| match scene.now < fast.elapsed {
        true => Pulse::Until(fast.elapsed),
        false => Pulse::Interrupt,
    });
    assert_eq!((fast.status(), fast.elapsed), (Status::Interrupted, reference.elapsed));
    let told = |outcome: &Outcome| {
        (
            outcome.recorder.fingerprint(),
            outcome.recorder.open_attempts(),
            outcome.recorder.is_open(DeviceIndex(700)),
        )
    };
    assert_eq!(told(&fast), told(&reference));
    let rows = |outcome: &Outcome| outcome.recorder.timeline().rows().cloned().collect::<Vec<_>>();
    assert_eq!(rows(&fast), rows(&reference));
    assert!(
        (1..1_500).contains(&reference.recorder.open_attempts()),
        "{:?}",
        told(&reference)
    );
}
