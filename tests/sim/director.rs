//! The Director alone, with fabricated sightings.

use std::sync::Arc;

use squall::model::{
    AdminAction, AttemptId, AttemptResult, Cause, ConnectResult, DeploymentName, DeviceId, DeviceIndex, Observation, Phase,
    ServerEvent, Session, StateReason, Transition, UpdateState, Whom, Why,
};
use squall::play::{Directive, Director, Mode, Outcome, RunEnd, Sighting, Status};
use squall::scenario::Plan;
use squall::time::SimTime;

use super::plan_of;

const NOUNS: &str = r#"
firmware.app = ["1.0.0", "1.1.0"]
fleet.demo = { count = 4, runs = "app@1.0.0" }
"#;

#[test]
fn a_step_with_a_condition_fires_once_the_condition_has_held_for_its_time() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ name = "first", at = "2s", deploy = "app@1.1.0", to = "all" },
          { name = "next", when = "devices{state:succeeded} share >= 50 %", for = "3s", tag = { done = "yes" }, who = "all" }]"#,
    );
    rig.arrive_all();
    assert_eq!(rig.play_until(5), [(2, "deploy first")]);
    rig.succeed(0);
    rig.succeed(1);
    // Judged at 6, 7, 8 and 9 s: three seconds have passed at the last of them.
    assert_eq!(rig.play_until(8), []);
    assert_eq!(rig.play_until(20), [(9, "tag 4")]);
}

#[test]
fn a_condition_that_stops_holding_starts_its_time_anew() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s", ends = "duration" }
        step = [{ when = "devices{session:online} count == 1", for = "3s", tag = { alone = "yes" }, who = "all" }]"#,
    );
    rig.arrive_all();
    rig.session(0, Session::Online);
    assert_eq!(rig.play_until(3), []);
    rig.session(1, Session::Online);
    assert_eq!(rig.play_until(4), []);
    rig.session(1, Session::Offline);
    assert_eq!(rig.play_until(20), [(8, "tag 4")]);
}

#[test]
fn a_step_after_another_counts_from_its_firing() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s", ends = "duration" }
        step = [{ name = "late", at = "step:early+5s", untag = ["x"], who = "2 of all" },
          { name = "early", when = "devices{session:online} count >= 1", tag = { x = "1" }, who = "all" }]"#,
    );
    rig.arrive_all();
    assert_eq!(rig.play_until(10), []);
    rig.session(3, Session::Online);
    assert_eq!(rig.play_until(30), [(11, "tag 4"), (16, "untag 2")]);
}

#[test]
fn a_step_fires_between_two_seconds_if_it_says_so() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ name = "odd", at = "2500ms", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.arrive_all();
    rig.run_to(SimTime::from_millis(2_499));
    assert!(rig.done.is_empty());
    rig.run_to(SimTime::from_millis(2_500));
    assert_eq!(rig.done.len(), 1);
}

#[test]
fn the_end_waits_for_a_condition_that_has_begun_to_hold() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ when = "devices{session:online} count == 4", for = "5s", tag = { x = "1" }, who = "all" }]"#,
    );
    rig.arrive_all();
    (0..4).for_each(|device| rig.session(device, Session::Online));
    // Nothing else is left from the first second on; the condition holds since then, fires at 6 s, and a quiet second follows.
    assert_eq!(rig.play_until(30), [(6, "tag 4"), (7, "stop")]);
    assert_eq!(rig.finish().end, RunEnd::Settled);
}

#[test]
fn a_run_without_anything_left_ends_although_a_condition_never_held() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ when = "devices{session:online} count == 9", tag = { x = "1" }, who = "all" }]
        expect = [{ that = "devices{session:online} count == 0", at = "4s" }]"#,
    );
    rig.arrive_all();
    assert_eq!(rig.play_until(30), [(4, "stop")]);
    let outcome = rig.finish();
    assert_eq!((outcome.end.clone(), outcome.status()), (RunEnd::Settled, Status::Passed));
    assert_eq!(outcome.judgements[0].judged_at, SimTime::from_secs(4));
}

#[test]
fn a_device_that_has_not_connected_yet_has_not_arrived() {
    let mut rig = Rig::new("scenario = { duration = \"60s\" }");
    rig.arrive(0);
    rig.arrive(1);
    rig.arrive(2);
    assert_eq!(rig.play_until(7), []);
    rig.arrive(3);
    assert_eq!(rig.play_until(30), [(8, "stop")]);
}

#[test]
fn a_run_does_not_end_before_the_server_has_answered_and_been_quiet() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ name = "slow", at = "2s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.answers = false;
    rig.arrive_all();
    assert_eq!(rig.play_until(10), [(2, "deploy slow")]);
    rig.now = SimTime::from_millis(10_400);
    rig.answer(0, Ok(()));
    assert_eq!(rig.play_until(11), []);
    assert_eq!(rig.play_until(30), [(12, "stop")]);
}

#[test]
fn a_refused_request_makes_the_run_an_error_that_names_the_step() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ name = "doomed", at = "2s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.answers = false;
    rig.arrive_all();
    rig.play_until(3);
    rig.answer(0, Err("unknown cohort `x`".into()));
    rig.play_until(30);
    let outcome = rig.finish();
    assert_eq!(outcome.status(), Status::Error);
    assert_eq!(outcome.errors[0].message, "step `doomed`: unknown cohort `x`");
}

#[test]
fn a_cancel_withdraws_what_fired_and_keeps_the_rest_from_firing() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ name = "one", at = "2s", deploy = "app@1.1.0", to = "all" },
          { name = "halt", at = "3s", cancel = "one|two" },
          { name = "two", at = "4s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.arrive_all();
    assert_eq!(rig.play_until(30)[..2], [(2, "deploy one"), (3, "cancel one")]);
    assert!(rig.done.iter().all(|(_, what)| what != "deploy two"));
}

#[test]
fn rollouts_are_held_back_let_go_on_and_tried_again_once_they_are_there() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ name = "early", at = "1s", retry = "one|two" },
          { name = "one", at = "2s", deploy = "app@1.1.0", to = "all" },
          { at = "3s", pause = "one|two" }, { at = "4s", resume = "one" }, { at = "5s", retry = "one" },
          { name = "two", at = "6s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.arrive_all();
    let steps = rig.play_until(30);
    let expected = [
        (2, "deploy one"),
        (3, "pause one"),
        (4, "resume one"),
        (5, "retry one"),
        (6, "deploy two"),
    ];
    assert_eq!(steps[..5], expected);
}

#[test]
fn an_attempt_that_waits_for_a_paused_deployment_breaks_no_rule() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s", settle = "5s" }
        step = [{ name = "slow", at = "2s", deploy = "app@1.1.0", to = "all" }, { at = "2s", pause = "slow" }]"#,
    );
    rig.arrive_all();
    rig.play_until(60);
    let outcome = rig.finish();
    assert_eq!((outcome.end.clone(), outcome.status()), (RunEnd::Duration, Status::Passed));
}

#[test]
fn an_attempt_that_is_open_past_the_settle_bound_breaks_a_rule() {
    let mut rig = Rig::unsettled();
    rig.director.left_open(DeviceIndex(0), Why::AwaitsManifest, false);
    let outcome = rig.finish();
    assert_eq!(
        (outcome.end.clone(), outcome.elapsed),
        (RunEnd::Duration, SimTime::from_secs(15))
    );
    assert_eq!(outcome.status(), Status::Broken);
    let finding = &outcome.findings[0];
    assert_eq!((finding.rule, finding.count), ("settles", 1));
    assert!(finding.evidence.contains("awaits its manifest"), "{}", finding.evidence);
}

#[test]
fn a_device_that_its_own_firmware_hangs_is_stuck_and_breaks_nothing() {
    let mut rig = Rig::unsettled();
    rig.director.left_open(DeviceIndex(0), Why::Hangs, true);
    let outcome = rig.finish();
    assert_eq!((outcome.end.clone(), outcome.status()), (RunEnd::Duration, Status::Passed));
}

#[test]
fn settling_ends_as_soon_as_the_fleet_is_at_rest() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s", settle = "30s" }
        step = [{ name = "slow", at = "2s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.arrive_all();
    assert_eq!(rig.play_until(12), [(2, "deploy slow"), (10, "end trouble")]);
    (0..4).for_each(|device| rig.succeed(device));
    assert_eq!(rig.play_until(60), [(13, "stop")]);
    let outcome = rig.finish();
    assert_eq!(outcome.status(), Status::Passed, "{:?}", outcome.findings);
}

#[test]
fn an_automatic_settle_bound_counts_from_the_latest_timer() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s" }
        server = { chase = "20s" }
        step = [{ name = "slow", at = "2s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.latest_timer = Some(SimTime::from_secs(100));
    rig.arrive_all();
    rig.play_until(1_000);
    let (stopped, what) = rig.done.last().unwrap();
    assert_eq!(what, "stop");
    // 100 s, chase 20 s, grace 60 s, default confirmation 1 s, and a few seconds of flash and boots.
    let clean = stopped.since(SimTime::from_secs(181)).as_secs_f64();
    assert!((1.0..20.0).contains(&clean), "{clean}");
}

#[test]
fn settle_off_ends_a_run_with_its_duration_and_judges_nothing() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s", settle = "off" }
        step = [{ name = "slow", at = "2s", deploy = "app@1.1.0", to = "all" }]"#,
    );
    rig.arrive_all();
    rig.play_until(60);
    assert_eq!(rig.done.last().unwrap(), &(SimTime::from_secs(10), "stop".to_owned()));
    assert_eq!(rig.finish().status(), Status::Passed);
}

#[test]
fn a_run_that_ends_by_duration_lasts_as_long() {
    let mut rig = Rig::new("scenario = { duration = \"10s\", ends = \"duration\" }");
    rig.arrive_all();
    assert_eq!(rig.play_until(60), [(10, "end trouble"), (10, "stop")]);
    assert_eq!(rig.finish().end, RunEnd::Duration);
}

#[test]
fn an_expectation_that_must_not_fail_ends_the_run_at_its_first_failure() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "60s" }
        step = [{ name = "slow", at = "2s", deploy = "app@1.1.0", to = "all" }]
        expect = [{ that = "devices{session:online} count < 2", abort_on_fail = true, after = "5s" },
          { that = "devices{session:online} count == 2", at = "40s" }]"#,
    );
    rig.arrive_all();
    rig.session(0, Session::Online);
    rig.session(1, Session::Online);
    assert_eq!(rig.play_until(60), [(2, "deploy slow"), (5, "stop")]);
    let outcome = rig.finish();
    assert_eq!((outcome.end.clone(), outcome.status()), (RunEnd::Aborted, Status::Failed));
    let judged: Vec<_> = outcome.judgements.iter().map(|j| (j.measured, j.passed, j.aborted)).collect();
    assert_eq!(judged, [(Some(2.0), false, true), (Some(2.0), true, false)]);
}

#[test]
fn what_must_hold_always_fails_at_the_second_in_which_it_did_not() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s", ends = "duration" }
        expect = [{ that = "devices{session:online} count == 0", at = "always" }]"#,
    );
    rig.arrive_all();
    rig.play_until(3);
    rig.session(0, Session::Online);
    rig.play_until(5);
    rig.session(0, Session::Off);
    rig.play_until(20);
    let judgement = &rig.finish().judgements[0];
    assert_eq!((judgement.passed, judgement.judged_at), (false, SimTime::from_secs(4)));
}

#[test]
fn an_expectation_of_the_other_mode_is_not_judged() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s" }
        expect = [{ that = "devices{session:online} count == 9", mode = "run" }]"#,
    );
    rig.arrive_all();
    rig.play_until(20);
    let outcome = rig.finish();
    assert_eq!((outcome.judgements.len(), outcome.status()), (0, Status::Passed));
}

#[test]
fn an_expectation_after_a_step_that_never_fired_fails_without_a_value() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s" }
        step = [{ name = "never", when = "devices{session:online} count == 9", tag = { x = "1" }, who = "all" }]
        expect = [{ that = "devices{session:online} count == 0", at = "step:never+1s" }]"#,
    );
    rig.arrive_all();
    rig.play_until(20);
    let judgement = &rig.finish().judgements[0];
    assert_eq!((judgement.passed, judgement.measured), (false, None));
}

#[test]
fn an_interrupted_run_says_so_and_is_judged_all_the_same() {
    let mut rig = Rig::new(
        r#"
        scenario = { duration = "10s" }
        expect = ["devices{session:online} count == 0"]"#,
    );
    rig.play_until(3);
    let mut out = Vec::new();
    rig.director.interrupt(rig.now, &mut out);
    assert_eq!((out, rig.director.next_timeout()), (vec![Directive::Stop], None));
    let outcome = rig.finish();
    assert_eq!((outcome.status(), outcome.judgements[0].passed), (Status::Interrupted, true));
}

#[test]
fn a_server_is_set_up_in_batches_and_in_order() {
    let plan = plan_of(
        r#"
        scenario = { duration = "10s" }
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.demo = { count = 2500, runs = "app@1.0.0", tags = { color = "red" } }
        cohort.most.members = "2001 of all"
        cohort.red.where = "tag.color:red""#,
    );
    let words: Vec<String> = Director::new(Arc::new(plan), Mode::Sim).setup().iter().map(word).collect();
    let expected = [
        "firmware app",
        "version app@1.0.0",
        "version app@1.1.0",
        "register 1000",
        "register 1000",
        "register 500",
        "cohort most",
        "cohort red",
        "join 1000",
        "join 1000",
        "join 1",
    ];
    assert_eq!(words, expected);
}

#[test]
fn a_pick_takes_as_many_as_it_says_and_the_same_ones_each_time() {
    let picked = |seed: u64| {
        let scenario = format!(
            "{NOUNS}scenario = {{ duration = \"60s\", seed = {seed} }}\nstep = [{{ name = \"some\", at = \"2s\", tag = {{ x = \"1\" }}, who = \"2 of all\" }}]"
        );
        let mut rig = Rig::of(plan_of(&scenario));
        rig.play_until(3);
        rig.tagged.clone()
    };
    assert_eq!((picked(1).len(), picked(1)), (2, picked(1)));
    let drawn: std::collections::BTreeSet<_> = (1..20).map(picked).collect();
    assert!(drawn.len() > 1, "every seed picks the same two devices");
}

/// A Director, the time, and what it wanted done so far.
struct Rig {
    director: Director,
    now: SimTime,
    latest_timer: Option<SimTime>,
    /// Whether requests are answered at once, and deployments begun.
    answers: bool,
    done: Vec<(SimTime, String)>,
    tagged: Vec<String>,
    shown: usize,
    deployment: Option<DeploymentName>,
    ids: Vec<DeviceId>,
}

impl Rig {
    fn new(scenario: &str) -> Rig {
        Rig::of(plan_of(&format!("{NOUNS}{scenario}")))
    }

    fn of(plan: Plan) -> Rig {
        Rig {
            ids: plan.devices.iter().map(|device| device.id.clone()).collect(),
            director: Director::new(Arc::new(plan), Mode::Sim),
            now: SimTime::ZERO,
            latest_timer: None,
            answers: true,
            done: Vec::new(),
            tagged: Vec::new(),
            shown: 0,
            deployment: None,
        }
    }

    /// A run whose device 0 is still open when the settle bound has passed.
    fn unsettled() -> Rig {
        let mut rig = Rig::new(
            r#"
            scenario = { duration = "10s", settle = "5s" }
            step = [{ name = "slow", at = "2s", deploy = "app@1.1.0", to = "all" }]"#,
        );
        rig.arrive_all();
        rig.play_until(3);
        (1..4).for_each(|device| rig.succeed(device));
        rig.play_until(60);
        assert_eq!(rig.done.last().unwrap(), &(SimTime::from_secs(15), "stop".to_owned()));
        rig
    }

    /// Plays up to this second; gives what was wanted since the last call, by whole seconds.
    fn play_until(&mut self, second: u64) -> Vec<(u64, &str)> {
        self.run_to(SimTime::from_secs(second));
        let new = &self.done[std::mem::replace(&mut self.shown, self.done.len())..];
        new.iter()
            .map(|(at, what)| (at.as_nanos() / 1_000_000_000, what.as_str()))
            .collect()
    }

    fn run_to(&mut self, until: SimTime) {
        while let Some(at) = self.director.next_timeout().filter(|at| *at <= until) {
            self.now = at;
            let mut out = Vec::new();
            self.director.handle_timeout(at, &mut out);
            self.carry_out(out);
        }
        self.now = until;
    }

    fn carry_out(&mut self, directives: Vec<Directive>) {
        for directive in directives {
            let mut out = Vec::new();
            let what = match directive {
                Directive::Admin { request, action } => {
                    self.begin(&action);
                    if self.answers {
                        self.answer(request, Ok(()));
                    }
                    word(&action)
                }
                Directive::Device(..) => panic!("no input was planned"),
                Directive::Inject(..) => panic!("no fault was planned"),
                Directive::Server(..) => panic!("no fault of the server was planned"),
                Directive::EndTrouble => {
                    self.director.trouble_ended(self.now, self.latest_timer, &mut out);
                    "end trouble".to_owned()
                }
                Directive::Stop => "stop".to_owned(),
            };
            self.done.push((self.now, what));
            self.carry_out(out);
        }
    }

    /// What a server would tell of an action.
    fn begin(&mut self, action: &AdminAction) {
        match action {
            AdminAction::Deploy { deployment, .. } if self.answers => {
                self.deployment = Some(deployment.clone());
                (0..4).for_each(|device| self.state(device, UpdateState::None, UpdateState::Pending, StateReason::Deployed));
            }
            AdminAction::ChangeTags {
                whom: Whom::Devices(devices),
                ..
            } => self.tagged.extend(devices.iter().map(ToString::to_string)),
            _ => {}
        }
    }

    fn answer(&mut self, request: u64, result: Result<(), String>) {
        self.sight(Sighting::Answered { request, result });
    }

    fn sight(&mut self, sighting: Sighting) {
        let mut out = Vec::new();
        self.director.handle_sighting(self.now, sighting, &mut out);
        assert!(out.is_empty());
    }

    fn arrive_all(&mut self) {
        (0..4).for_each(|device| self.arrive(device));
    }

    fn arrive(&mut self, device: u32) {
        let tried = Observation::ConnectTried {
            result: ConnectResult::Ok,
            wanted_at: self.now,
            tried_at: self.now,
        };
        self.sight(Sighting::Observed(DeviceIndex(device), tried));
    }

    fn session(&mut self, device: u32, session: Session) {
        self.sight(Sighting::Observed(DeviceIndex(device), Observation::Session(session)));
    }

    /// A device takes its update and ends it, at once.
    fn succeed(&mut self, device: u32) {
        self.state(device, UpdateState::Pending, UpdateState::InProgress, StateReason::Offered);
        for (from, to) in [(Phase::Idle, Phase::Accepted), (Phase::Accepted, Phase::Succeeded)] {
            let observation = Observation::Transition {
                transition: Transition {
                    from,
                    to,
                    cause: Cause::Normal,
                },
                attempt: Some(attempt(device)),
                reason: None,
            };
            self.sight(Sighting::Observed(DeviceIndex(device), observation));
        }
        let ended = Observation::AttemptEnded {
            attempt: attempt(device),
            result: AttemptResult::Succeeded,
            reason: None,
        };
        self.sight(Sighting::Observed(DeviceIndex(device), ended));
        self.state(device, UpdateState::InProgress, UpdateState::Succeeded, StateReason::Results);
    }

    fn state(&mut self, device: u32, from: UpdateState, to: UpdateState, reason: StateReason) {
        self.sight(Sighting::Server(ServerEvent::StateChanged {
            device: self.ids[device as usize].clone(),
            deployment: self.deployment.clone().expect("a deployment began"),
            attempt: attempt(device),
            from,
            to,
            reason,
        }));
    }

    fn finish(self) -> Outcome {
        self.director
            .finish(self.now.min(self.done.last().map_or(self.now, |(at, _)| *at)), None, None)
    }
}

fn attempt(device: u32) -> AttemptId {
    AttemptId::new(u64::from(device) + 1).unwrap()
}

/// An action in a few words.
fn word(action: &AdminAction) -> String {
    match action {
        AdminAction::CreateFirmware { slug } => format!("firmware {slug}"),
        AdminAction::CreateVersion { firmware, .. } => format!("version {firmware}"),
        AdminAction::RegisterDevices { devices } => format!("register {}", devices.len()),
        AdminAction::CreateCohort { cohort, .. } => format!("cohort {cohort}"),
        AdminAction::ChangeCohort { cohort, .. } => format!("change {cohort}"),
        AdminAction::Deploy { deployment, .. } => format!("deploy {deployment}"),
        AdminAction::Cancel { deployment } => format!("cancel {deployment}"),
        AdminAction::Join { devices, .. } => format!("join {}", devices.len()),
        AdminAction::Leave { devices, .. } => format!("leave {}", devices.len()),
        AdminAction::Pause { deployment } => format!("pause {deployment}"),
        AdminAction::Resume { deployment } => format!("resume {deployment}"),
        AdminAction::Retry { deployment } => format!("retry {deployment}"),
        AdminAction::DeleteVersion { firmware } => format!("delete {firmware}"),
        AdminAction::ChangeTags { whom, set, .. } => {
            let Whom::Devices(devices) = whom else {
                panic!("a step names devices")
            };
            format!("{} {}", if set.is_empty() { "untag" } else { "tag" }, devices.len())
        }
    }
}
