//! What survives a restart, and how a server goes on after one.

use squall::model::UpdateState;
use squall::server::Server;
use squall::wire::ota::CloudMessage;

use super::rig::{Rig, config, deploy_action, id, metadata};

/// A server restored from all that `rig` recorded.
fn restarted(rig: &Rig) -> Rig {
    let mut next = Rig::with(Server::restore(config(), rig.records.clone()));
    next.records = rig.records.clone();
    next
}

#[test]
fn open_attempts_go_on_after_a_restart() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.register("d2", &[]);
    rig.must(deploy_action("two", "all", &["modem@2.0.0", "app@1.1.0"], Some("app")));
    let (_, manifest) = rig.manifest();
    rig.results(1, 1001, &[0], &[], &[]);
    let mut rig = restarted(&rig);
    assert_eq!((rig.server.next_timeout(), rig.server.counts().connections), (None, 0));
    rig.connect(1, "d1");
    rig.take();
    rig.subscribe(1);
    let (publish, again) = rig.manifest();
    assert_eq!((again, publish.dup), (manifest, false));
    rig.results(1, 1001, &[0, 1], &[], &[]);
    rig.online(2, "d2");
    assert_eq!(
        (rig.state(1001), rig.state(1002)),
        (UpdateState::Succeeded, UpdateState::InProgress)
    );
    rig.deploy("next", "all", "app@1.2.0");
    assert_eq!(rig.state(1004), UpdateState::InProgress, "ids count on");
}

#[test]
fn a_requested_cancellation_survives() {
    let mut rig = Rig::stocked();
    rig.online(1, "d1");
    rig.deploy("up", "all", "app@1.1.0");
    rig.cancel("up");
    let mut rig = restarted(&rig);
    rig.connect(1, "d1");
    rig.take();
    rig.subscribe(1);
    let messages = rig.messages();
    assert!(matches!(&messages[0].1, CloudMessage::UpdateArtifacts { manifest, .. } if manifest.canceled));
    assert_eq!(messages[1].1, CloudMessage::CancelUpdate { attempt: id(1001) });
}

#[test]
fn ids_are_never_given_twice_even_when_the_first_is_configured_lower_or_higher() {
    let mut rig = Rig::stocked();
    rig.register("d1", &[]);
    rig.deploy("one", "all", "app@1.1.0");
    for (first, next) in [(1, 1002), (5000, 5000)] {
        let mut config = config();
        config.first_attempt = id(first);
        let mut again = Rig::with(Server::restore(config, rig.records.clone()));
        again.deploy("two", "all", "app@1.2.0");
        assert_eq!(again.state(next), UpdateState::Pending);
    }
}

#[test]
fn every_prefix_of_the_records_is_a_server() {
    let mut rig = Rig::stocked();
    rig.cohort("west", Some("tag.region:west"));
    rig.online(1, "d1");
    rig.received(1, metadata(4, None, Some(7)));
    rig.register("d2", &[("region", "west")]);
    rig.deploy("one", "west", "app@1.1.0");
    rig.deploy("two", "all", "app@1.2.0");
    rig.results(1, 1003, &[], &[0], &[]);
    rig.cancel("two");
    assert!(rig.records.len() > 20, "{}", rig.records.len());
    for end in 0..=rig.records.len() {
        let mut server = Rig::with(Server::restore(config(), rig.records[..end].iter().cloned()));
        assert!(server.records.is_empty(), "restoring records nothing");
        server.online(9, "d1");
        server.online(10, "d2");
        let open = server
            .server
            .devices(None, 10)
            .items
            .into_iter()
            .flat_map(|view| view.attempts);
        let stuck: Vec<_> = open.filter(|attempt| attempt.state == UpdateState::Pending).collect();
        assert!(stuck.is_empty(), "after {end} records: {stuck:?}");
    }
}
