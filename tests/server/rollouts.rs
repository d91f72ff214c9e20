//! Rollouts held back, let go on and tried again; what is kept of them; selections.

use squall::model::{AdminAction, Selector, StateReason, Tags, UpdateState, Whom};
use squall::server::{AdminError, Server};
use squall::wire::ota::Report;

use super::rig::{Rig, changed, config, deploy_action, firmware, id, image};

use UpdateState::{Cancelled, Failed, InProgress, None as NoState, Pending, Succeeded};

fn pause(name: &str) -> AdminAction {
    AdminAction::Pause { deployment: name.into() }
}

fn resume(name: &str) -> AdminAction {
    AdminAction::Resume { deployment: name.into() }
}

fn retry(name: &str) -> AdminAction {
    AdminAction::Retry { deployment: name.into() }
}

fn conflict(answer: Result<(), AdminError>) -> String {
    match answer {
        Err(AdminError::Conflict { message }) => message,
        other => panic!("no conflict but {other:?}"),
    }
}

#[test]
fn a_paused_deployment_offers_nothing_new_and_what_was_offered_goes_on() {
    let mut rig = Rig::stocked();
    rig.online(1, "early");
    rig.deploy("up", "all", "app@1.1.0");
    rig.must(pause("up"));
    rig.must(pause("up"));
    rig.online(2, "late");
    assert_eq!((rig.state(1001), rig.states("late")), (InProgress, vec![Pending]));
    rig.results(1, 1001, &[0], &[], &[]);
    assert_eq!(rig.state(1001), Succeeded);
    assert!(rig.server.deployment(&"up".into()).unwrap().paused);

    let records = rig.records.clone();
    let mut again = Rig::with(Server::restore(config(), records));
    again.online(2, "late");
    assert_eq!(again.states("late"), [Pending], "a pause survives a restart");

    rig.take();
    rig.must(resume("up"));
    assert_eq!(rig.messages().len(), 1, "whoever is online is offered it at once");
    assert_eq!(rig.states("late"), [InProgress]);
    rig.must(resume("up"));
    assert!(rig.take().is_empty(), "a second time changes nothing");
}

#[test]
fn a_pause_keeps_a_newer_attempt_from_taking_over() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.deploy("old", "all", "app@1.1.0");
    rig.close(1);
    rig.deploy("new", "all", "app@1.2.0");
    rig.must(pause("new"));
    rig.online(1, "d1");
    assert_eq!(rig.states("d1"), [InProgress, Pending]);
    rig.must(resume("new"));
    assert_eq!(rig.states("d1"), [Cancelled, InProgress]);
}

#[test]
fn a_retry_makes_a_new_attempt_where_the_latest_one_failed() {
    let mut rig = Rig::stocked();
    for (connection, device) in [(1, "failed"), (2, "refused"), (3, "fine"), (4, "busy")] {
        rig.online(connection, device);
    }
    rig.deploy("up", "all", "app@1.1.0");
    rig.results(1, 1001, &[], &[0], &[]);
    rig.report(2, 1002, Report::Error(3));
    rig.results(3, 1003, &[0], &[], &[]);
    rig.take();
    rig.must(retry("up"));
    let events = rig.events();
    assert!(events.contains(&changed("failed", "up", 1005, NoState, Pending, StateReason::Retried)));
    assert_eq!(rig.states("failed"), [Failed, InProgress]);
    assert_eq!(rig.states("refused"), [Failed, InProgress]);
    assert_eq!((rig.states("fine"), rig.states("busy")), (vec![Succeeded], vec![InProgress]));
    rig.results(1, 1005, &[0], &[], &[]);
    rig.must(retry("up"));
    assert_eq!(rig.states("failed"), [Failed, Succeeded], "what succeeded is not tried again");
    let view = rig.server.deployment(&"up".into()).unwrap();
    assert_eq!(view.progress, [(InProgress, 2), (Succeeded, 2), (Failed, 2)].into());
    assert_eq!(
        view.reasons,
        [(StateReason::Results, 3), (StateReason::AttemptError, 1)].into()
    );
}

#[test]
fn what_no_longer_holds_is_neither_paused_nor_resumed_nor_tried_again() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.deploy("old", "all", "app@1.1.0");
    rig.deploy("new", "all", "app@1.2.0");
    rig.cancel("new");
    let replaced = "deployment `old` was replaced by a newer deployment of its cohort";
    let cancelled = "deployment `new` was cancelled";
    for (name, expected) in [("old", replaced), ("new", cancelled)] {
        for action in [pause(name), resume(name), retry(name)] {
            assert_eq!(conflict(rig.admin(action)), expected);
        }
    }
}

#[test]
fn a_device_that_follows_something_else_is_not_tried_again() {
    let mut rig = Rig::stocked();
    rig.cohort("west", None);
    rig.online(1, "d1");
    rig.join("west", "d1");
    rig.deploy("west", "west", "app@1.1.0");
    rig.results(1, 1001, &[], &[0], &[]);
    rig.deploy("wide", "all", "app@1.2.0");
    rig.results(1, 1002, &[0], &[], &[]);
    rig.must(retry("west"));
    assert_eq!(rig.states("d1"), [Failed, Succeeded]);
}

#[test]
fn a_version_can_be_taken_away_until_it_is_deployed() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.must(AdminAction::CreateVersion {
        firmware: firmware("app@9.0.0"),
        image: image("app@9.0.0").into(),
    });
    let delete = |version| AdminAction::DeleteVersion {
        firmware: firmware(version),
    };
    rig.must(delete("app@9.0.0"));
    assert!(rig.server.version(&firmware("app@9.0.0")).is_none());
    rig.must(AdminAction::CreateVersion {
        firmware: firmware("app@9.0.0"),
        image: image("something else").into(),
    });
    rig.deploy("up", "all", "app@1.1.0");
    rig.cancel("up");
    let kept = "`app@1.1.0` was deployed by `up`: it is kept and never changes";
    assert_eq!(conflict(rig.admin(delete("app@1.1.0"))), kept);
    let other = AdminAction::CreateVersion {
        firmware: firmware("app@1.1.0"),
        image: image("something else").into(),
    };
    assert_eq!(
        rig.admin(other).unwrap_err().to_string(),
        "version `app@1.1.0` exists already"
    );
}

#[test]
fn tags_change_by_selection() {
    let mut rig = Rig::stocked();
    rig.cohort("canary", None);
    for (connection, device) in [(1, "a1"), (2, "a2"), (3, "b1")] {
        rig.register(device, &[("rev", &device[..1])]);
        rig.online(connection, device);
    }
    rig.register("away", &[("rev", "a")]);
    rig.join("canary", "a1");
    rig.deploy("up", "all", "app@1.1.0");
    rig.results(2, 1002, &[0], &[], &[]);
    let mut tagged = |who: &str| {
        let set: Tags = [("seen".to_owned(), "yes".to_owned())].into();
        let whom = Whom::Matching(Selector::parse(who).unwrap());
        let change = |set, remove| AdminAction::ChangeTags {
            whom: whom.clone(),
            set,
            remove,
        };
        rig.admin(change(set, vec![])).map(|()| {
            let seen: Vec<_> = rig.server.devices(None, 10).items;
            let seen = seen.into_iter().filter(|device| device.tags.contains_key("seen"));
            let seen: Vec<_> = seen.map(|device| device.id.to_string()).collect();
            let whom = Whom::Matching(Selector::all());
            rig.must(AdminAction::ChangeTags {
                whom,
                set: Tags::new(),
                remove: vec!["seen".to_owned()],
            });
            seen.join(" ")
        })
    };
    for (who, expected) in [
        ("all", "a1 a2 away b1"),
        ("tag.rev:a,!cohort:canary", "a2 away"),
        ("device:a1|b1", "a1 b1"),
        ("session:online", "a1 a2 b1"),
        ("state:succeeded", "a2"),
        ("step:up,state:in-progress", "a1 b1"),
        ("runs:app@1.1.0", "a2"),
        ("tag.rev:c", ""),
    ] {
        assert_eq!(tagged(who).as_deref(), Ok(expected), "{who}");
    }
    for who in ["2 of all", "fleet:x", "phase:idle"] {
        let refused = tagged(who).unwrap_err().to_string();
        assert!(refused.starts_with("who: "), "{who}: {refused}");
    }
}

#[test]
fn history_says_when_why_and_by_which_message() {
    let mut rig = Rig::stocked();
    rig.cohort("west", Some("tag.region:west"));
    rig.register("d1", &[("region", "west")]);
    rig.must(deploy_action("up", "west", &["modem@2.0.0", "app@1.1.0"], Some("app")));
    rig.now += std::time::Duration::from_secs(5);
    rig.online(1, "d1");
    rig.now += std::time::Duration::from_secs(60);
    rig.results(1, 1001, &[0], &[], &[]);
    rig.cancel("up");
    rig.results(1, 1001, &[0], &[], &[1]);
    let restored = Server::restore(config(), rig.records.clone());
    for server in [&rig.server, &restored] {
        let history = server.device_history(&"d1".into()).unwrap();
        let told = history.iter().map(|entry| {
            let state = entry.state.map_or("", |state| state.word());
            let why = entry.why.as_deref().unwrap_or_default();
            format!("{} {}: {} {state} {why}", entry.at_ms, entry.by, entry.what)
        });
        let expected = [
            "1000 management: registered  region=west",
            "1000 management: joined  west",
            "1000 management: created pending deployment `up` reached the device",
            "6000 subscribe: manifest-sent in-progress ",
            "66000 update-results: results  0 succeeded, 1 pending",
            "66000 management: cancel-requested  ",
            "66000 update-results: results  0 succeeded, 1 canceled",
            "66000 update-results: ended cancelled results",
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert_eq!(server.attempt_history(id(1001)).unwrap().len(), 6);
    }
    assert_eq!(rig.server.attempt(id(1001)).unwrap().reason, Some(StateReason::Results));
}

/// Lets time pass while the device on connection 1 shows that it is there.
fn stay(rig: &mut Rig, time: std::time::Duration) {
    let end = rig.now + time;
    while rig.now < end {
        rig.received(1, squall::wire::Packet::PingRequest);
        rig.pass(end.since(rig.now).min(std::time::Duration::from_secs(30)));
    }
}

#[test]
fn an_attempt_past_its_deadline_is_closed_and_the_next_one_offered() {
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    let begun_after = |time: std::time::Duration, records: Vec<_>| {
        let mut config = config();
        config.deadline = Some(minutes(10));
        config.epoch_ms += time.as_millis() as u64;
        let mut rig = Rig::with(Server::restore(config, records.clone()));
        rig.records = records;
        rig
    };
    let mut rig = begun_after(minutes(0), Rig::stocked().records);
    rig.online(1, "busy");
    rig.register("away", &[]);
    rig.deploy("up", "all", "app@1.1.0");
    stay(&mut rig, minutes(5));
    rig.cohort("few", None);
    rig.join("few", "busy");
    rig.deploy("next", "few", "app@1.2.0");
    assert_eq!(rig.states("busy"), [InProgress, Pending]);

    // A restart changes no deadline: the other process begins five minutes later, and its clock at zero.
    let mut again = begun_after(minutes(5), rig.records.clone());
    again.online(1, "busy");
    for rig in [&mut rig, &mut again] {
        stay(rig, minutes(4));
        assert_eq!(
            (rig.states("busy"), rig.states("away")),
            (vec![InProgress, Pending], vec![Pending])
        );
        stay(rig, minutes(1) + std::time::Duration::from_secs(1));
        assert_eq!(
            (rig.states("busy"), rig.states("away")),
            (vec![Failed, InProgress], vec![Failed])
        );
        assert_eq!(rig.server.attempt(id(1001)).unwrap().reason, Some(StateReason::Deadline));
        rig.results(1, 1001, &[0], &[], &[]);
        assert_eq!(rig.state(1001), Failed, "late results change nothing");
    }
}
