//! Which deployment a device follows: cohorts, tags, late comers, supersession (contract, "Deployments").

use squall::model::{AdminAction, CohortRule, Selector, ServerEvent, StateReason, UpdateState};
use squall::wire::ota::CloudMessage;

use super::rig::{Rig, changed, deploy_action, id, manifest_sent, tag_action, tags, untag_action};

use UpdateState::{Cancelled, InProgress, None as NoState, Pending, Succeeded};

/// The attempts whose manifests were sent since the last look.
fn offered(rig: &mut Rig) -> Vec<u64> {
    let sent = rig.messages().into_iter().filter_map(|(_, message)| match message {
        CloudMessage::UpdateArtifacts { attempt, .. } => Some(attempt.number()),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_deployment_reaches_devices_that_come_later() {
    let mut rig = Rig::stocked();
    rig.cohort("west", Some("tag.region:west"));
    rig.cohort("hand", None);
    rig.deploy("up", "west", "app@1.1.0");
    rig.deploy("by-hand", "hand", "app@1.1.0");
    rig.register("born-west", &[("region", "west")]);
    rig.register("north", &[("region", "north")]);
    assert_eq!((rig.states("born-west"), rig.states("north")), (vec![Pending], vec![]));
    rig.must(tag_action(&["north"], &[("region", "west")]));
    assert_eq!(rig.states("north"), [Pending]);
    rig.online(1, "stranger");
    rig.join("hand", "stranger");
    assert_eq!(offered(&mut rig), [1003]);
    rig.deploy("for-all", "all", "app@1.2.0");
    rig.connect(2, "self-made");
    rig.subscribe(2);
    assert_eq!(rig.states("self-made"), [InProgress]);
}

#[test]
fn membership_is_told_for_every_cohort_but_all() {
    let mut rig = Rig::stocked();
    rig.cohort("west", Some("tag.region:west"));
    rig.register("d1", &[("region", "west")]);
    let (device, cohort) = (|| "d1".into(), || "west".into());
    let expected = [
        ServerEvent::DeviceRegistered { device: device() },
        ServerEvent::CohortJoined {
            device: device(),
            cohort: cohort(),
        },
    ];
    assert_eq!(rig.events(), expected);
    rig.must(untag_action(&["d1"], "region"));
    let expected = [ServerEvent::CohortLeft {
        device: device(),
        cohort: cohort(),
    }];
    assert_eq!(rig.events(), expected);
}

#[test]
fn cohorts_follow_their_rules_when_either_changes() {
    let mut rig = Rig::stocked();
    for (device, region) in [("a", "west"), ("b", "north"), ("c", "west")] {
        rig.register(device, &[("region", region)]);
    }
    let members = |rig: &Rig, cohort: &str| rig.server.cohort(&cohort.into()).unwrap().members;
    rig.cohort("west", Some("tag.region:west,!device:c"));
    assert_eq!((members(&rig, "west"), members(&rig, "all")), (1, 3));
    let rule = |text| CohortRule::Where(Selector::parse(text).unwrap());
    rig.must(AdminAction::ChangeCohort {
        cohort: "west".into(),
        rule: rule("tag.region:west|north"),
    });
    assert_eq!(members(&rig, "west"), 3);
    rig.must(AdminAction::ChangeCohort {
        cohort: "west".into(),
        rule: rule("device:b"),
    });
    let page = rig.server.cohort_members(&"west".into(), None, 10).unwrap();
    assert_eq!(page.items, ["b".into()]);
    rig.must(AdminAction::ChangeCohort {
        cohort: "west".into(),
        rule: CohortRule::ByHand,
    });
    rig.leave("west", "b");
    assert_eq!(members(&rig, "west"), 0);
    // Registering again replaces the tags.
    rig.cohort("north", Some("tag.region:north"));
    rig.register("a", &[("region", "north")]);
    assert_eq!(members(&rig, "north"), 2);
}

#[test]
fn the_newer_deployment_of_a_cohort_supersedes_what_is_pending() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.deploy("one", "all", "app@1.1.0");
    rig.take();
    rig.deploy("two", "all", "app@1.2.0");
    let expected = [
        changed("d1", "one", 1001, Pending, Cancelled, StateReason::Superseded),
        changed("d1", "two", 1002, NoState, Pending, StateReason::Deployed),
    ];
    assert_eq!(rig.events(), expected);
    assert!(!rig.server.deployment(&"one".into()).unwrap().active);
    assert_eq!(rig.server.cohort(&"all".into()).unwrap().deployment, Some("two".into()));
}

#[test]
fn a_replaced_deployment_gives_way_in_mid_update() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.deploy("one", "all", "app@1.1.0");
    rig.take();
    rig.deploy("two", "all", "app@1.2.0");
    let expected = [
        changed("d1", "two", 1002, NoState, Pending, StateReason::Deployed),
        changed("d1", "one", 1001, InProgress, Cancelled, StateReason::Superseded),
        changed("d1", "two", 1002, Pending, InProgress, StateReason::Offered),
        manifest_sent("d1", 1002, false),
    ];
    assert_eq!(rig.events(), expected);
    rig.results(1, 1001, &[0], &[], &[]);
    assert_eq!(rig.states("d1"), [Cancelled, InProgress], "late results are ignored");
}

#[test]
fn a_replaced_attempt_stays_open_until_the_newer_one_can_be_sent() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.deploy("one", "all", "app@1.1.0");
    rig.close(1);
    rig.deploy("two", "all", "app@1.2.0");
    rig.deploy("three", "all", "app@1.0.0");
    assert_eq!(rig.states("d1"), [InProgress, Cancelled, Pending]);
    rig.connect(2, "d1");
    rig.take();
    rig.subscribe(2);
    assert_eq!(offered(&mut rig), [1003]);
    assert_eq!(rig.states("d1"), [Cancelled, Cancelled, InProgress]);
}

#[test]
fn another_cohorts_deployment_waits_for_an_open_attempt_that_holds() {
    let mut rig = Rig::stocked();
    rig.cohort("canary", None);
    rig.online(1, "d1");
    rig.join("canary", "d1");
    rig.deploy("one", "canary", "app@1.1.0");
    rig.take();
    rig.deploy("two", "all", "app@1.2.0");
    assert_eq!((rig.states("d1"), offered(&mut rig)), (vec![InProgress, Pending], vec![]));
    rig.subscribe(1);
    assert_eq!(offered(&mut rig), [1001], "the open attempt is repeated");
    rig.results(1, 1001, &[0], &[], &[]);
    assert_eq!(
        (rig.states("d1"), offered(&mut rig)),
        (vec![Succeeded, InProgress], vec![1002])
    );
}

#[test]
fn a_waiting_attempt_goes_out_once_the_open_one_no_longer_holds() {
    // The device leaves the cohort, the deployment is cancelled, or it is replaced: each frees the one that waits.
    for way in 0..3 {
        let mut rig = Rig::stocked();
        rig.cohort("canary", None);
        rig.online(1, "d1");
        rig.join("canary", "d1");
        rig.deploy("one", "canary", "app@1.1.0");
        rig.deploy("two", "all", "app@1.2.0");
        rig.take();
        match way {
            0 => rig.leave("canary", "d1"),
            1 => rig.cancel("one"),
            _ => rig.deploy("three", "canary", "app@1.0.0"),
        }
        let last = if way == 2 { 1003 } else { 1002 };
        assert_eq!(offered(&mut rig), [last], "way {way}");
        assert_eq!(rig.state(1001), Cancelled);
        assert_eq!(rig.state(last), InProgress);
    }
}

#[test]
fn leaving_cancels_what_is_pending_and_lets_what_is_in_progress_run_on() {
    let mut rig = Rig::stocked();
    rig.cohort("west", Some("tag.region:west"));
    rig.register("away", &[("region", "west")]);
    rig.register("here", &[("region", "west")]);
    rig.online(1, "here");
    rig.deploy("up", "west", "app@1.1.0");
    rig.take();
    rig.must(untag_action(&["away", "here"], "region"));
    let events = rig.events();
    assert!(events.contains(&changed("away", "up", 1001, Pending, Cancelled, StateReason::Left)));
    assert_eq!(rig.states("here"), [InProgress]);
    rig.results(1, 1002, &[0], &[], &[]);
    assert_eq!(rig.states("here"), [Succeeded]);
}

#[test]
fn an_attempt_that_runs_on_alone_gives_way_to_a_newer_one() {
    let mut rig = Rig::stocked();
    rig.cohort("a", None);
    rig.cohort("b", None);
    rig.online(1, "d1");
    rig.deploy("older", "b", "app@1.2.0");
    rig.join("a", "d1");
    rig.deploy("newer", "a", "app@1.1.0");
    rig.leave("a", "d1");
    rig.take();
    rig.join("b", "d1");
    assert_eq!(
        (offered(&mut rig), rig.states("d1")),
        (vec![1002], vec![Cancelled, InProgress])
    );
}

#[test]
fn the_newest_deployment_wins_whenever_the_device_came() {
    let mut rig = Rig::stocked();
    rig.cohort("a", None);
    rig.register("d1", &[]);
    rig.deploy("older", "a", "app@1.1.0");
    rig.deploy("newer", "all", "app@1.2.0");
    rig.join("a", "d1");
    let view = rig.server.device(&"d1".into()).unwrap();
    assert_eq!(view.attempts.len(), 1);
    assert_eq!(view.attempts[0].deployment, "newer".into());
}

#[test]
fn several_cohorts_entered_at_once_make_one_attempt() {
    let mut rig = Rig::stocked();
    rig.cohort("west", Some("tag.region:west"));
    rig.cohort("rev-a", Some("tag.rev:a"));
    rig.deploy("one", "rev-a", "app@1.1.0");
    rig.deploy("two", "west", "app@1.2.0");
    rig.register("d1", &[("region", "west"), ("rev", "a")]);
    let view = rig.server.device(&"d1".into()).unwrap();
    assert_eq!(
        view.attempts
            .iter()
            .map(|attempt| attempt.deployment.as_str())
            .collect::<Vec<_>>(),
        ["two"]
    );
}

#[test]
fn after_a_cancel_no_older_deployment_comes_back() {
    let mut rig = Rig::stocked();
    rig.cohort("a", None);
    rig.online(1, "d1");
    rig.join("a", "d1");
    rig.deploy("older", "a", "app@1.1.0");
    rig.results(1, 1001, &[], &[], &[0]);
    rig.deploy("newer", "all", "app@1.2.0");
    rig.close(1);
    rig.cancel("newer");
    rig.register("late", &[]);
    assert_eq!(rig.states("d1"), [Cancelled, InProgress]);
    assert_eq!(rig.states("late"), []);
    assert_eq!(rig.server.cohort(&"all".into()).unwrap().deployment, None);
}

#[test]
fn entering_a_cohort_without_a_deployment_brings_back_none_of_another() {
    let mut rig = Rig::stocked();
    rig.cohort("a", None);
    rig.cohort("b", None);
    rig.register("d1", &[]);
    rig.deploy("older", "a", "app@1.1.0");
    rig.deploy("newer", "all", "app@1.2.0");
    rig.join("a", "d1");
    rig.cancel("newer");
    rig.join("b", "d1");
    assert_eq!(rig.states("d1"), [Cancelled]);
}

#[test]
fn rejoining_makes_a_new_attempt_only_where_the_old_one_was_given_up() {
    let mut rig = Rig::stocked();
    rig.cohort("a", None);
    rig.register("d1", &[]);
    rig.join("a", "d1");
    rig.deploy("up", "a", "app@1.1.0");
    rig.leave("a", "d1");
    rig.join("a", "d1");
    assert_eq!(rig.states("d1"), [Cancelled, Pending]);
    rig.online(1, "d1");
    rig.leave("a", "d1");
    rig.join("a", "d1");
    assert_eq!(rig.states("d1"), [Cancelled, InProgress]);
    rig.results(1, 1002, &[0], &[], &[]);
    rig.leave("a", "d1");
    rig.join("a", "d1");
    assert_eq!(rig.states("d1"), [Cancelled, Succeeded]);
}

#[test]
fn attempt_ids_count_up_over_all_devices() {
    let mut rig = Rig::stocked();
    rig.register("b", &[]);
    rig.register("a", &[]);
    rig.deploy("one", "all", "app@1.1.0");
    rig.deploy("two", "all", "app@1.2.0");
    let attempts = |name: &str| rig.server.deployment_attempts(&name.into(), None, None, 10).unwrap().items;
    let ids = |name: &str| attempts(name).iter().map(|attempt| attempt.id).collect::<Vec<_>>();
    assert_eq!((ids("one"), ids("two")), (vec![id(1001), id(1002)], vec![id(1003), id(1004)]));
}

#[test]
fn a_deployment_for_which_ids_do_not_suffice_is_refused() {
    let mut config = super::rig::config();
    config.first_attempt = id(u64::MAX - 1);
    let mut rig = Rig::with(squall::server::Server::new(config));
    let slug = "app".parse().unwrap();
    rig.must(AdminAction::CreateFirmware { slug });
    rig.must(AdminAction::CreateVersion {
        firmware: super::rig::firmware("app@1.1.0"),
        image: super::rig::image("x").into(),
    });
    for device in ["a", "b", "c"] {
        rig.register(device, &[]);
    }
    let error = rig.admin(deploy_action("d", "all", &["app@1.1.0"], None)).unwrap_err();
    assert_eq!(error.to_string(), "2 attempt ids are left, `d` needs 3");
    rig.cohort("two", Some("device:a|b"));
    rig.must(deploy_action("e", "two", &["app@1.1.0"], None));
    assert_eq!(rig.state(u64::MAX), Pending);
    let error = rig.admin(deploy_action("f", "two", &["app@1.1.0"], None)).unwrap_err();
    assert_eq!(error.to_string(), "0 attempt ids are left, `f` needs 2");
}

#[test]
fn a_hundred_thousand_devices_are_deployed_to_in_one_go() {
    use squall::model::NewDevice;
    let mut rig = Rig::stocked();
    rig.cohort("west", Some("tag.region:west"));
    let device = |number: u32| NewDevice {
        id: format!("d-{number:06}").as_str().into(),
        tags: tags(&[("region", if number.is_multiple_of(2) { "west" } else { "north" })]),
    };
    rig.must(AdminAction::RegisterDevices {
        devices: (0..100_000).map(device).collect(),
    });
    rig.deploy("half", "west", "app@1.1.0");
    rig.deploy("whole", "all", "app@1.2.0");
    let progress = |name: &str| rig.server.deployment(&name.into()).unwrap().progress;
    assert_eq!(progress("half").into_iter().collect::<Vec<_>>(), [(Cancelled, 50_000)]);
    assert_eq!(progress("whole").into_iter().collect::<Vec<_>>(), [(Pending, 100_000)]);
}
