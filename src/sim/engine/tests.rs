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
