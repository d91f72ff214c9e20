//! A server with limits in virtual time: what is over them is refused, and the fleet ends all the same.

use std::sync::Arc;

use squall::measure::TraceRow;
use squall::model::{Phase, Selector};
use squall::play::Outcome;
use squall::sim::play;
use squall::time::SimTime;

use super::plan_of;

fn played(limits: &str, count: u32) -> Outcome {
    let text = format!(
        r#"
        scenario = {{ duration = "5m", trace = "on", settle = "off" }}
        server = {{ limits = {limits} }}
        firmware.app = {{ "1.0.0" = {{}}, "1.1.0" = {{ size = "128 KiB" }} }}
        fleet.demo = {{ count = {count}, runs = "app@1.0.0", retry = "1s..4s", flash = {{ like = "nrf52840", time_scale = 10 }} }}
        step = [{{ at = "0s", deploy = "app@1.1.0", to = "all" }}]
        "#
    );
    play(Arc::new(plan_of(&text)))
}

fn count(outcome: &Outcome, who: &str) -> usize {
    outcome.recorder.matching(&Selector::parse(who).unwrap()).len()
}

fn retries(outcome: &Outcome) -> usize {
    let rows = outcome.recorder.trace().expect("the trace is on").sorted();
    let transitions = rows.iter().filter_map(TraceRow::transition);
    transitions.filter(|transition| transition.to == Phase::Retrying).count()
}

#[test]
fn without_limits_nobody_is_refused() {
    let open = played("{}", 20);
    assert_eq!((count(&open, "runs:app@1.1.0"), retries(&open)), (20, 0));
}

#[test]
fn downloads_beyond_their_number_are_tried_again_until_all_have_come() {
    let narrow = played("{ downloads = 4 }", 20);
    assert_eq!(count(&narrow, "runs:app@1.1.0"), 20);
    assert!(retries(&narrow) >= 16, "{} retries", retries(&narrow));
}

#[test]
fn image_bytes_keep_to_their_rate() {
    // Twenty images of 1 Mbit.
    let slow = played("{ egress = \"1 Mbit/s\" }", 20);
    assert_eq!(count(&slow, "runs:app@1.1.0"), 20);
    assert!(slow.elapsed > SimTime::from_secs(17), "{}", slow.elapsed);
}

#[test]
fn connections_come_in_at_their_rate() {
    let crowd = played("{ connects = \"2/s\" }", 40);
    assert_eq!(count(&crowd, "runs:app@1.1.0"), 40);
    // Each connects twice, before and behind its reboot.
    assert!(crowd.elapsed > SimTime::from_secs(38), "{}", crowd.elapsed);
}

#[test]
fn connections_beyond_their_number_stay_outside() {
    let online = |limit: u32| count(&played(&format!("{{ connections = {limit} }}"), 10), "session:online");
    // A device that reboots leaves a half-open connection behind, which takes a place until its keep-alive is over.
    assert_eq!(online(30), 10);
    assert!((1..=7).contains(&online(7)));
}
