//! What has gone wrong in the field, as faults, cheats and steps: each does what history did, and ends as told.

use std::sync::Arc;

use squall::play::{Outcome, Status};
use squall::scenario::{Overrides, Source, load};
use squall::sim::play;

use super::plan_of;

/// Ten devices on 1.0.0 for ten minutes, with `more` of the scenario.
fn text(more: &str) -> String {
    format!(
        r#"scenario = {{ duration = "10m" }}
        firmware.app = {{ "1.0.0" = {{}}, "1.1.0" = {{}}, "1.2.0" = {{}}, "1.3.0" = {{ boot = "confirm after 30s" }}, "2.0.0" = {{ boot = "crash after 1s" }} }}
        fleet.demo = {{ count = 10, runs = "app@1.0.0", reconnect = "1s..8s full" }}
        {more}"#
    )
}

const UPDATE: &str = r#"step = [{ name = "update", at = "10s", deploy = "app@1.1.0", to = "all" }]"#;

fn played(more: &str) -> Outcome {
    play(Arc::new(plan_of(&text(more))))
}

/// Everything that `more` expects comes about, and no invariant breaks.
fn holds(more: &str) {
    all_hold(&text(more));
}

fn all_hold(scenario: &str) {
    let outcome = play(Arc::new(plan_of(scenario)));
    let judged = outcome.judgements.iter().zip(&outcome.plan.expectations);
    let wrong: Vec<_> = judged
        .filter(|(judgement, _)| !judgement.passed)
        .map(|(judgement, expected)| format!("{}: {:?}", expected.text, judgement.measured))
        .collect();
    let (findings, errors) = (&outcome.findings, &outcome.errors);
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{wrong:#?} {findings:?} {errors:?}\n{scenario}"
    );
}

fn refused(more: &str) -> String {
    load(Source::Stdin(text(more)), &Overrides::default())
        .expect_err("it is wrong")
        .to_string()
}

#[test]
fn an_expired_certificate_keeps_out_who_connects_anew_until_it_is_renewed() {
    holds(
        r#"fault = [{ inject = "cert-expiry", who = "all", at = "20s", for = "2m" },
          { inject = "reset", who = "5 of all", at = "30s" }]
        expect = [{ that = "devices{session:online} count == 5", at = "60s" }, "connects{result:tls} count > 5",
          { that = "devices{session:online} count == 10", at = "3m" }, "faults{fault:cert-expiry,done:yes} count == 10"]"#,
    );
}

#[test]
fn an_expired_anchor_keeps_out_the_versions_that_carry_it() {
    holds(
        r#"step = [{ at = "10s", deploy = "app@1.1.0", to = "early" }]
        cohort.early.members = "4 of all"
        fault = [{ inject = "cert-expiry", who = "all", at = "1m", only = "app@1.0.0" }, { inject = "reset", who = "all", at = "2m" }]
        expect = [{ that = "devices{session:online} count == 4", at = "5m" },
          { that = "devices{session:online,runs:app@1.1.0} count == 4", at = "5m" }]"#,
    );
}

#[test]
fn a_certificate_that_expires_in_a_download_fails_what_is_asked_for_after_it() {
    holds(
        r#"fault = [{ inject = "cert-expiry", who = "all", at = "5s", for = "1m" }]
        step = [{ at = "10s", deploy = "app@1.1.0", to = "all" }]
        expect = ["attempts{result:failed} count == 10", "devices{runs:app@1.0.0} count == 10"]"#,
    );
}

#[test]
fn a_wrong_clock_refuses_a_good_certificate_and_may_take_one_that_has_expired() {
    let online = |clock: &str, expiry: &str, expected: u32| {
        holds(&format!(
            r#"fault = [{{ inject = "wrong-clock {clock}", who = "all", at = "5s", for = "5m" }}, {expiry}
              {{ inject = "reset", who = "all", at = "30s" }}]
            expect = [{{ that = "devices{{session:online}} count == {expected}", at = "2m" }},
              {{ that = "devices{{session:online}} count == 10", at = "9m" }}]"#
        ));
    };
    online("20h behind", "", 10);
    online("20000d behind", "", 0);
    online("300d ahead", "", 10);
    online("400d ahead", "", 0);
    let expiry = r#"{ inject = "cert-expiry", who = "all", at = "10s", for = "7m" },"#;
    online("20h behind", expiry, 10);
    online("5s behind", expiry, 0);
}

#[test]
fn the_image_of_another_version_runs_under_the_name_of_the_one_that_was_sent() {
    // What the server takes for 1.1.0 is 1.2.0 on the devices whose delivery path is wrong, from the second stage on.
    let outcome = played(
        r#"cohort.first.members = "3 of all"
        step = [{ at = "10s", deploy = "app@1.1.0", to = "first" }, { name = "wide", at = "1m", deploy = "app@1.1.0", to = "all" }]
        fault = [{ inject = "wrong-image app@1.2.0", who = "all", at = "step:wide", only = "app@1.1.0" }]
        expect = ["devices{cohort:first,runs:app@1.1.0} count == 3", "devices{!cohort:first,runs:app@1.2.0} count == 7",
          "devices{state:succeeded} count == 10"]"#,
    );
    let found: Vec<_> = outcome.findings.iter().map(|finding| (finding.rule, finding.count)).collect();
    assert_eq!(
        (outcome.status(), found),
        (Status::Broken, vec![("no-version-nobody-assigned", 7)])
    );
    assert!(
        outcome.judgements.iter().all(|judgement| judgement.passed),
        "{:?}",
        outcome.judgements
    );
    let longer = refused(
        r#"firmware.big = { "1.0.0" = { size = "128 KiB" } }
        step = [{ at = "10s", deploy = "app@1.1.0", to = "all" }]
        fault = [{ inject = "wrong-image big@1.0.0", who = "all" }]"#,
    );
    assert!(
        longer.contains("puts `big@1.0.0` in the place of `app@1.1.0`, which has another size"),
        "{longer}"
    );
    let unknown = refused(r#"fault = [{ inject = "wrong-image app@9.0.0", who = "all" }]"#);
    assert!(unknown.contains("app@9.0.0"), "{unknown}");
}

#[test]
fn a_full_store_takes_no_record_and_no_update_until_it_has_room() {
    holds(
        r#"step = [{ name = "full", at = "10s", deploy = "app@1.1.0", to = "all" }, { at = "2m", deploy = "app@1.2.0", to = "all" }]
        fault = [{ inject = "flash-full", who = "4 of all", at = "5s", for = "1m" }]
        expect = ["attempts{result:rejected} count == 4", "devices{step:full,state:succeeded} count == 6",
          "faults{fault:flash-full,done:yes} count >= 4", "devices{runs:app@1.2.0} count == 10"]"#,
    );
}

#[test]
fn bad_data_resets_every_image_until_who_can_reach_the_server_is_rid_of_it() {
    // Before the network is there (in the first second) nobody learns that the data was taken back; later everybody does.
    let healed = |data: &str, link: &str, online: u32| {
        holds(&format!(
            r#"link.slow = {{ like = "lan", join = "{link}" }}
            fleet.away = {{ count = 10, runs = "app@1.0.0", link = "slow", arrive = "at once from 90s" }}
            fleet.there = {{ count = 10, runs = "app@1.0.0", link = "slow" }}
            fault = [{{ inject = "bad-data {data}", who = "fleet:there", at = "20s", for = "1m" }}]
            expect = [{{ that = "devices{{fleet:there,session:online}} count == {online}", at = "8m" }},
              "boots{{fleet:there}} count > 20", "boots{{fleet:away}} count == 10", "faults{{kind:bad-data,done:yes}} count == 10"]"#
        ));
    };
    healed("crash after 3s", "5s", 0);
    healed("crash after 8s", "1s", 10);
    healed("crash after 3s, aside after 3", "5s", 10);
}

#[test]
fn bad_data_survives_the_way_back_to_the_old_image() {
    // The new image is on probation when the data comes: it is rolled back, and the old one reads the same data.
    holds(
        r#"step = [{ at = "10s", deploy = "app@1.3.0", to = "all" }]
        fault = [{ inject = "bad-data crash after 10s", who = "all", at = "20s", for = "4m" }]
        expect = ["rollbacks count == 10", { that = "boots count > 100", at = "4m" }, { that = "devices{session:online} count == 10", at = "9m" }]"#,
    );
}

#[test]
fn a_device_that_claims_success_before_it_boots_is_believed_and_found_out() {
    holds(
        r#"fleet.liar = { count = 5, runs = "app@1.0.0", cheats = { success-before-boot = 5 } }
        step = [{ at = "10s", deploy = "app@2.0.0", to = "all" }]
        expect = ["devices{fleet:liar,state:succeeded} count == 5", "devices{fleet:liar,runs:app@1.0.0} count == 5",
          "devices{fleet:demo,state:failed} count == 10", "disagreements count == 5"]"#,
    );
}

#[test]
fn a_device_that_forgets_its_failure_updates_in_a_loop() {
    holds(
        r#"fleet.loop = { count = 5, runs = "app@1.0.0", cheats = { update-loop = 5 } }
        step = [{ at = "10s", deploy = "app@2.0.0", to = "all" }]
        expect = ["devices{fleet:demo,state:failed} count == 10", "rollbacks{fleet:demo} count == 10",
          { that = "rollbacks{fleet:loop} count > 50", at = "9m" }, "devices{fleet:loop,state:in-progress} count == 5"]"#,
    );
}

#[test]
fn a_halt_that_comes_late_comes_so_much_later_than_its_reason() {
    let reached = |late: &str| {
        let outcome = played(&format!(
            r#"server = {{ limits = {{ offers = "30/m" }} }}
            cohort.all-but-one.members = "9 of all"
            step = [{{ name = "bad", at = "10s", deploy = "app@2.0.0", to = "all" }},
              {{ name = "halt", when = "attempts{{result:failed}} count >= 1", {late} cancel = "bad" }}]
            expect = ["rollbacks count <= 10"]"#
        ));
        (outcome.judgements[0].measured.unwrap(), outcome.status())
    };
    let (at_once, status) = reached("");
    assert_eq!(status, Status::Passed);
    let (late, _) = reached(r#"late = "5s","#);
    let (never_in_time, _) = reached(r#"late = "1m","#);
    assert!(at_once < late && late < never_in_time, "{at_once} {late} {never_in_time}");
    assert_eq!(never_in_time, 10.0);
    assert!(
        refused(r#"step = [{ at = "10s", late = "5s", deploy = "app@2.0.0", to = "all" }]"#).contains("goes with `when` alone")
    );
}

#[test]
fn nothing_depends_on_where_attempts_begin_to_be_counted() {
    let outcome = |first: u64| {
        let outcome = played(&format!("server.first_attempt = {first}\n{UPDATE}"));
        assert_eq!(outcome.status(), Status::Passed, "from {first} on: {:?}", outcome.findings);
        let total = outcome.recorder.total();
        // Longer ids are longer messages, and nothing else.
        format!(
            "{:?} {:?} {} {}",
            total.attempts, total.connects, total.transitions, total.messages_up
        )
    };
    let usual = outcome(1);
    let edges = [
        9,
        (1 << 15) - 5,
        (1 << 16) - 5,
        (1 << 31) - 5,
        (1 << 32) - 5,
        (1 << 53) - 5,
        i64::MAX as u64 - 20,
    ];
    for first in edges {
        assert_eq!(outcome(first), usual, "from {first} on");
    }
}

#[test]
fn an_image_runs_only_on_the_hardware_that_it_is_made_for() {
    let locks = |fleet: &str, expected: &str| {
        all_hold(&format!(
            r#"scenario = {{ duration = "5m" }}
            firmware.lock = {{ "6.0.0" = {{}}, "7.1.0" = {{ fits = "tag.model:7i" }} }}
            fleet.lock = {{ count = 10, runs = "lock@6.0.0", tags.model = {{ "7i" = "80 %", "6i" = "20 %" }}, {fleet} }}
            step = [{{ at = "10s", deploy = "lock@7.1.0", to = "all" }}]
            expect = ["devices{{tag.model:7i,runs:lock@7.1.0,state:succeeded}} count == 8", {expected}]"#
        ));
    };
    locks(
        "",
        r#""devices{tag.model:6i,runs:lock@7.1.0} count == 2", "devices{tag.model:6i,session:online} count == 0""#,
    );
    locks(
        "checks_fit = true",
        r#""devices{tag.model:6i,runs:lock@6.0.0,session:online} count == 2",
        "attempts{result:failed,reason:wrong-hardware} count == 2", "flash_ops{tag.model:6i,op:erase} count == 0""#,
    );
    let pick = refused(r#"firmware.lock."7.1.0".fits = "2 of tag.model:7i""#);
    assert!(pick.contains("`fits` of firmware `lock@7.1.0` has a pick"), "{pick}");
    let changes = refused(r#"firmware.lock."7.1.0".fits = "session:online""#);
    assert!(changes.contains("hardware does not change"), "{changes}");
    let alone = refused(r#"firmware.lock."7.1.0".elsewhere = "crash after 1s""#);
    assert!(alone.contains("goes with `fits` alone"), "{alone}");
}

#[test]
fn a_counter_that_rises_at_the_start_of_an_image_closes_the_way_back() {
    let phones = |lock: &str, expected: &str| {
        all_hold(&format!(
            r#"scenario = {{ duration = "10m" }}
            firmware.phone = {{ "12.0.0" = {{}}, "13.0.0" = {{ counter = 1, boot = {{ "confirm after 2s" = "80 %", "crash after 5s" = "20 %" }} }} }}
            fleet.phone = {{ count = 10, runs = "phone@12.0.0", rollback_lock = "{lock}" }}
            step = [{{ at = "10s", deploy = "phone@13.0.0", to = "all" }}, {{ at = "5m", deploy = "phone@12.0.0", to = "all" }}]
            expect = [{{ that = "devices{{runs:phone@13.0.0}} count == 8", at = "4m" }}, {expected}]"#
        ));
    };
    phones("off", r#""devices{runs:phone@12.0.0} count == 10""#);
    // The way back is open for those that crash, and closed for those that have confirmed.
    phones(
        "confirm",
        r#""devices{runs:phone@12.0.0} count == 2", "devices{runs:phone@13.0.0} count == 8", "rollbacks count == 2""#,
    );
    // The bootloader may not go back, and starts again and again what nobody has confirmed: the invariant says so.
    let locked = play(Arc::new(plan_of(
        r#"scenario = { duration = "5m", settle = "off" }
        firmware.phone = { "12.0.0" = {}, "13.0.0" = { counter = 1, boot = { "confirm after 2s" = "80 %", "crash after 5s" = "20 %" } } }
        fleet.phone = { count = 10, runs = "phone@12.0.0", rollback_lock = "start" }
        step = [{ at = "10s", deploy = "phone@13.0.0", to = "all" }]
        expect = ["rollbacks count == 0", "boots count > 60"]"#,
    )));
    let rules: Vec<_> = locked.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!((locked.status(), rules), (Status::Broken, vec!["unconfirmed-goes-back"]));
    assert!(
        locked.judgements.iter().all(|judgement| judgement.passed),
        "{:?}",
        locked.judgements
    );
}

#[test]
fn a_server_that_slows_down_under_load_is_kept_down_by_a_herd() {
    let herd = |delay: &str| {
        let outcome = played(&format!(
            r#"server.delay = {delay}
            fleet.herd = {{ count = 400, runs = "app@1.0.0", connack_timeout = "2s", reconnect = "1s" }}
            expect = ["connects{{fleet:herd,result:timeout}} count == 0"]"#
        ));
        (outcome.judgements[0].measured.unwrap(), outcome.status())
    };
    assert_eq!(herd(r#""1ms""#), (0.0, Status::Passed));
    let (timeouts, _) = herd(r#"{ "0/s" = "1ms", "100/s" = "20ms" }"#);
    assert!(timeouts > 1_000.0, "{timeouts}");
    let wrong = refused(r#"server.delay = { "100/s" = "20ms" }"#);
    assert!(wrong.contains("the lowest load is \"0/s\""), "{wrong}");
    let unit = refused(r#"server.delay = { "0/s" = "20" }"#);
    assert!(unit.contains("write for example \"200/s\" = \"20ms\""), "{unit}");
}

#[test]
fn devices_that_were_away_take_what_is_current_when_they_return() {
    let plan = plan_of(
        r#"scenario = { duration = "2d", ends = "duration", settle = "off" }
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.tracker = { count = 40, runs = "app@1.0.0", absence = "30 %", reconnect = "1s..1h full" }
        step = [{ at = "1h", deploy = "app@1.1.0", to = "all" }]
        expect = [{ that = "devices{session:online} share < 90 %", at = "2h" }, { that = "devices{session:online} share > 50 %", at = "2h" },
          { that = "devices{session:online,!runs:app@1.1.0} count == 0", at = "47h" },
          { that = "devices{runs:app@1.1.0} count > 30", at = "47h" }, { that = "devices{runs:app@1.1.0} count < 40", at = "47h" }]"#,
    );
    let outcome = play(Arc::new(plan));
    assert_eq!(
        outcome.status(),
        Status::Passed,
        "{:?} {:?}",
        outcome.judgements,
        outcome.findings
    );
    let wrong = refused(r#"fleet.other = { count = 1, runs = "app@1.0.0", absence = "preset:wfi" }"#);
    assert!(wrong.contains("did you mean `wifi`?"), "{wrong}");
    let lost = refused(r#"fleet.other = { count = 1, runs = "app@1.0.0", absence = "preset:wifi, 3 %" }"#);
    assert!(lost.contains("write after the comma for example \"lost 0.3 %\""), "{lost}");
    let much = refused(r#"fleet.other = { count = 1, runs = "app@1.0.0", absence = "90 %" }"#);
    assert!(much.contains("up to 50 %"), "{much}");
}
