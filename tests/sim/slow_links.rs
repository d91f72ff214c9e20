//! Links on which everything takes its time: a fleet that is slow and right is not broken.

use std::sync::Arc;

use squall::sim::play;

use super::plan_of;

/// The CONNACK limit is the SDK's own, and shorter than most round trips: devices need many tries to come back after each reset.
#[test]
fn a_fleet_that_hardly_gets_through_comes_to_rest_within_what_its_link_takes() {
    for link in ["nb-iot", "satellite", "rural"] {
        let plan = plan_of(&format!(
            r#"scenario = {{ duration = "2m" }}
            firmware.app = ["1.0.0", "1.1.0"]
            fleet.sensor = {{ count = 30, runs = "app@1.0.0", link = "{link}", arrive = "over 10s" }}
            step = [{{ at = "12s", deploy = "app@1.1.0", to = "all" }}]
            fault = [{{ inject = "power-cut", who = "10 % of all", at = "downloading 30 %..70 %", for = "1s..5s" }}]
            expect = ["devices{{state:succeeded}} share == 100 %"]"#
        ));
        let outcome = play(Arc::new(plan));
        assert!(outcome.findings.is_empty(), "{link}: {:?}", outcome.findings);
        assert!(
            outcome.judgements.iter().all(|judgement| judgement.passed),
            "{link}: {:?}",
            outcome.judgements
        );
        assert!(
            outcome.elapsed.as_secs_f64() > 120.0,
            "{link}: it took longer than the trouble"
        );
    }
}
