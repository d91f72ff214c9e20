//! Random histories of fifty devices against what must hold in every one: the rules are restated here over events and packets and
//! share nothing with the server's own bookkeeping.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use squall::model::{ServerEvent, UpdateState};
use squall::server::{ConnectionId, Server, ServerOutput};
use squall::wire::Packet;
use squall::wire::ota::{CloudMessage, Report, decode_cloud};

use super::rig::{CHASE, Rig, config, deploy_action, metadata, tag_action};

const DEVICES: u8 = 50;
pub const COHORTS: [&str; 4] = ["all", "hand", "west", "canary"];

/// One thing that happens. Devices and choices are numbers that wrap round.
#[derive(Clone, Debug)]
pub enum Step {
    Register(u8),
    Connect(u8),
    Subscribe(u8),
    Metadata(u8),
    Vanish(u8),
    Acknowledge(u8),
    Succeed(u8),
    Partly(u8),
    Fail(u8),
    Refuse(u8),
    Replay(u8, u8),
    Deploy { cohort: u8, packages: u8 },
    Cancel(u8),
    Join(u8),
    Leave(u8),
    Tag(u8, bool),
    Canary(u8, bool),
    Pass(u8),
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = || 0..DEVICES;
    let step = prop_oneof![
        2 => device().prop_map(Step::Register),
        6 => device().prop_map(Step::Connect),
        6 => device().prop_map(Step::Subscribe),
        1 => device().prop_map(Step::Metadata),
        2 => device().prop_map(Step::Vanish),
        3 => device().prop_map(Step::Acknowledge),
        4 => device().prop_map(Step::Succeed),
        2 => device().prop_map(Step::Partly),
        1 => device().prop_map(Step::Fail),
        1 => device().prop_map(Step::Refuse),
        1 => (device(), any::<u8>()).prop_map(|(device, back)| Step::Replay(device, back)),
        2 => (0..4u8, 1..3u8).prop_map(|(cohort, packages)| Step::Deploy { cohort, packages }),
        1 => any::<u8>().prop_map(Step::Cancel),
        3 => device().prop_map(Step::Join),
        2 => device().prop_map(Step::Leave),
        3 => (device(), any::<bool>()).prop_map(|(device, on)| Step::Tag(device, on)),
        2 => (device(), any::<bool>()).prop_map(|(device, on)| Step::Canary(device, on)),
        1 => any::<u8>().prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..250)
}

/// A device as an outsider sees it: its connection and what it has received.
#[derive(Clone, Debug, Default)]
struct Outside {
    connection: Option<u64>,
    /// Attempts in order of receipt, each with its number of artifacts.
    received: Vec<(u64, u64)>,
    unacknowledged: Vec<u16>,
}

/// A rig whose outputs are watched.
pub struct Watched {
    pub rig: Rig,
    devices: BTreeMap<String, Outside>,
    owners: BTreeMap<u64, String>,
    connections: u64,
    deployments: u64,
    watch: Watch,
}

/// What has been seen so far, and what must not follow from it.
#[derive(Default)]
struct Watch {
    states: BTreeMap<u64, (String, UpdateState)>,
    greatest: u64,
    /// How often what was at stake came about, so that no run passes idle.
    pub superseded: u64,
}

impl Watched {
    pub fn new() -> Self {
        let mut rig = Rig::stocked();
        rig.cohort("hand", None);
        rig.cohort("west", Some("tag.region:west"));
        rig.cohort("canary", Some("tag.canary:yes"));
        Watched::with(rig)
    }

    pub fn with(rig: Rig) -> Self {
        Watched {
            rig,
            devices: BTreeMap::new(),
            owners: BTreeMap::new(),
            connections: 0,
            deployments: 0,
            watch: Watch::default(),
        }
    }

    pub fn run(&mut self, step: &Step) {
        let name = |device: &u8| format!("d{:02}", device % DEVICES);
        match step {
            Step::Register(device) => self.rig.register(&name(device), &[]),
            Step::Connect(device) => self.connect(&name(device)),
            Step::Subscribe(device) => {
                if let Some(connection) = self.connection(&name(device)) {
                    self.rig.subscribe(connection);
                }
            }
            Step::Metadata(device) => {
                let last = self.devices.get(&name(device)).and_then(|device| device.received.last());
                let last = last.map(|(attempt, _)| *attempt);
                if let Some(connection) = self.connection(&name(device)) {
                    self.rig.received(connection, metadata(1, None, last));
                }
            }
            Step::Vanish(device) => self.vanish(&name(device)),
            Step::Acknowledge(device) => {
                let device = self.devices.entry(name(device)).or_default();
                if let Some(connection) = device.connection {
                    let packets = std::mem::take(&mut device.unacknowledged);
                    packets.into_iter().for_each(|packet| self.rig.puback(connection, packet));
                }
            }
            Step::Succeed(device) => self.answer(&name(device), 0, |artifacts| results(0..artifacts, 0..0)),
            Step::Partly(device) => self.answer(&name(device), 0, |_| results(0..1, 0..0)),
            Step::Fail(device) => self.answer(&name(device), 0, |artifacts| {
                results(0..artifacts - 1, artifacts - 1..artifacts)
            }),
            Step::Refuse(device) => self.answer(&name(device), 0, |_| Report::Error(3)),
            Step::Replay(device, back) => self.answer(&name(device), *back, |artifacts| results(0..artifacts, 0..0)),
            Step::Deploy { cohort, packages } => {
                self.deployments += 1;
                let packages = &["app@1.1.0", "modem@2.0.0"][..usize::from(*packages)];
                let name = format!("step-{}", self.deployments);
                self.rig
                    .must(deploy_action(&name, COHORTS[usize::from(*cohort)], packages, Some("app")));
            }
            Step::Cancel(which) => {
                if let Some(number) = u64::from(*which).checked_rem(self.deployments) {
                    self.rig.cancel(&format!("step-{}", number + 1));
                }
            }
            Step::Join(device) => self.if_known(&name(device), |rig, device| rig.join("hand", device)),
            Step::Leave(device) => self.if_known(&name(device), |rig, device| rig.leave("hand", device)),
            Step::Tag(device, on) => self.tag(&name(device), "region", if *on { "west" } else { "north" }),
            Step::Canary(device, on) => self.tag(&name(device), "canary", if *on { "yes" } else { "no" }),
            Step::Pass(seconds) => self.rig.pass(Duration::from_secs(u64::from(*seconds) / 4)),
        }
        self.look();
    }

    /// Everybody connects, takes what is sent and succeeds, until all is quiet.
    pub fn heal(&mut self) {
        let known: Vec<String> = self
            .rig
            .server
            .devices(None, 1000)
            .items
            .iter()
            .map(|view| view.id.to_string())
            .collect();
        for device in &known {
            self.connect(device);
            let connection = self.connection(device).expect("just connected");
            self.rig.subscribe(connection);
            self.look();
        }
        for _ in 0..4 {
            for device in &known {
                self.answer_latest(device);
                self.look();
            }
        }
    }

    /// Lets go of every connection.
    pub fn vanish_all(&mut self) {
        let known: Vec<String> = self.devices.keys().cloned().collect();
        known.iter().for_each(|device| self.vanish(device));
        self.look();
    }

    /// Looks at everything that was put out since the last look.
    fn look(&mut self) {
        for output in self.rig.take() {
            match output {
                ServerOutput::Observed(event) => self.watch.event(&event),
                ServerOutput::Transmit {
                    to,
                    packet: Packet::Publish(publish),
                } => {
                    let owner = self.owners.get(&to.0).expect("publishes go to connections of devices");
                    let device = self.devices.get_mut(owner).expect("owners are devices");
                    assert_eq!(device.connection, Some(to.0), "a message to a connection that was taken over");
                    let message = decode_cloud(&publish.payload, 32).expect("devices understand what is sent");
                    self.watch.message(owner, &message);
                    if let CloudMessage::UpdateArtifacts { attempt, manifest } = message {
                        device.received.push((attempt.number(), manifest.artifacts.len() as u64));
                    }
                    device.unacknowledged.push(publish.id);
                }
                ServerOutput::Close(ConnectionId(connection)) => {
                    let owner = self.owners.remove(&connection);
                    let device = owner.and_then(|owner| self.devices.get_mut(&owner));
                    if let Some(device) = device.filter(|device| device.connection == Some(connection)) {
                        device.connection = None;
                    }
                }
                ServerOutput::Transmit { .. } | ServerOutput::Answer { .. } => {}
                ServerOutput::Record { .. } => unreachable!("the rig keeps records apart"),
            }
        }
    }

    fn connect(&mut self, device: &str) {
        self.connections += 1;
        let connection = self.connections;
        self.owners.insert(connection, device.to_owned());
        self.rig.connect(connection, device);
        let outside = self.devices.entry(device.to_owned()).or_default();
        outside.connection = Some(connection);
        outside.unacknowledged.clear();
        self.look();
    }

    fn vanish(&mut self, device: &str) {
        if let Some(connection) = self.devices.get_mut(device).and_then(|device| device.connection.take()) {
            self.owners.remove(&connection);
            self.rig.close(connection);
        }
    }

    fn connection(&self, device: &str) -> Option<u64> {
        self.devices.get(device)?.connection
    }

    /// Reports about the attempt received `back` before the last one.
    fn answer(&mut self, device: &str, back: u8, report: impl Fn(u64) -> Report) {
        let Some(outside) = self.devices.get(device) else { return };
        let (Some(connection), Some(place)) = (outside.connection, outside.received.len().checked_sub(1 + usize::from(back)))
        else {
            return;
        };
        let (attempt, artifacts) = outside.received[place];
        self.rig.report(connection, attempt, report(artifacts));
    }

    /// Reports success for what is missing of the last attempt, in agreement with what was reported before.
    fn answer_latest(&mut self, device: &str) {
        let Some(&(attempt, _)) = self.devices.get(device).and_then(|device| device.received.last()) else {
            return;
        };
        let known = self
            .rig
            .server
            .attempt(super::rig::id(attempt))
            .expect("sent attempts are known")
            .results;
        let with = |word: &str, pending: bool| {
            let hit = |result: &Option<String>| result.as_deref().map_or(pending, |result| result == word);
            (0..)
                .zip(&known)
                .filter(|(_, result)| hit(result))
                .map(|(index, _)| index)
                .collect()
        };
        let report = Report::Results {
            succeeded: with("succeeded", true),
            failed: with("failed", false),
            canceled: with("canceled", false),
        };
        self.answer(device, 0, |_| report.clone());
    }

    fn if_known(&mut self, device: &str, act: impl FnOnce(&mut Rig, &str)) {
        if self.rig.server.device(&device.into()).is_some() {
            act(&mut self.rig, device);
        }
    }

    fn tag(&mut self, device: &str, key: &str, value: &str) {
        let action = tag_action(&[device], &[(key, value)]);
        self.if_known(device, |rig, _| rig.must(action));
    }
}

impl Watch {
    fn event(&mut self, event: &ServerEvent) {
        let ServerEvent::StateChanged {
            device,
            attempt,
            from,
            to,
            ..
        } = event
        else {
            return;
        };
        let known = self
            .states
            .get(&attempt.number())
            .map_or(UpdateState::None, |(_, state)| *state);
        assert_eq!(known, *from, "attempt {attempt} was in another state");
        use UpdateState::{Cancelled, Failed, InProgress, None, Pending, Succeeded};
        let legal = matches!(
            (from, to),
            (None, Pending) | (Pending, InProgress | Cancelled) | (InProgress, Succeeded | Failed | Cancelled)
        );
        assert!(legal, "attempt {attempt} went from {from} to {to}");
        if *from == None {
            assert!(
                attempt.number() > self.greatest,
                "attempt {attempt} is not greater than {}",
                self.greatest
            );
            self.greatest = attempt.number();
        }
        self.superseded += u64::from((*from, *to) == (InProgress, Cancelled));
        self.states.insert(attempt.number(), (device.to_string(), *to));
        for state in [Pending, InProgress] {
            let open = self
                .states
                .values()
                .filter(|(owner, held)| owner == device.as_str() && *held == state);
            assert!(open.count() <= 1, "{device} has two attempts {state}");
        }
    }

    fn message(&self, owner: &str, message: &CloudMessage) {
        let attempt = message.attempt().number();
        let (device, state) = &self.states[&attempt];
        assert_eq!(device, owner, "attempt {attempt} was sent to another device");
        let newest = self
            .states
            .iter()
            .filter(|(_, (device, state))| device == owner && *state == UpdateState::InProgress);
        match message {
            // The one manifest of an attempt that has ended tells of a cancellation.
            CloudMessage::UpdateArtifacts { manifest, .. } if *state == UpdateState::Cancelled => assert!(manifest.canceled),
            CloudMessage::UpdateArtifacts { .. } | CloudMessage::CancelUpdate { .. } | CloudMessage::ReportResults { .. } => {
                assert_eq!(
                    newest.map(|(id, _)| *id).collect::<Vec<_>>(),
                    [attempt],
                    "not the open attempt of {owner}"
                );
            }
        }
    }
}

fn results(succeeded: std::ops::Range<u64>, failed: std::ops::Range<u64>) -> Report {
    Report::Results {
        succeeded: succeeded.collect(),
        failed: failed.collect(),
        canceled: vec![].into(),
    }
}

/// Every view with what only a live connection knows left out.
fn durable_views(server: &Server) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut devices = server.devices(None, 1000).items;
    devices.iter_mut().for_each(|view| view.online = false);
    let cohorts = server.cohorts_behind(None, usize::MAX).expect("it begins at the first").items;
    let members = cohorts
        .iter()
        .map(|view| server.cohort_members(&view.name, None, 1000))
        .collect::<Vec<_>>();
    let deployments = server.deployments();
    let attempts = deployments
        .iter()
        .map(|view| server.deployment_attempts(&view.name, None, None, 1000))
        .collect::<Vec<_>>();
    (devices, cohorts, members, deployments, attempts, server.firmware())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold_and_every_attempt_ends(history in steps()) {
        let mut watched = Watched::new();
        history.iter().for_each(|step| watched.run(step));
        watched.heal();
        for (attempt, (device, state)) in &watched.watch.states {
            prop_assert!(state.ended(), "attempt {attempt} of {device} is {state}");
            let view = watched.rig.server.attempt(super::rig::id(*attempt)).unwrap();
            prop_assert_eq!((view.device.as_str(), view.state), (device.as_str(), *state));
        }
        watched.rig.take();
        watched.vanish_all();
        prop_assert_eq!(watched.rig.server.next_timeout(), None);
    }

    #[test]
    fn a_restored_server_knows_the_same_and_goes_on_alike(before in steps(), after in steps()) {
        let mut former = Watched::new();
        before.iter().for_each(|step| former.run(step));
        former.vanish_all();
        let records = former.rig.records.clone();
        let restored = Server::restore(config(), records);
        prop_assert_eq!(durable_views(&restored), durable_views(&former.rig.server));

        let mut heir = Watched::with(Rig::with(restored));
        heir.rig.now = former.rig.now;
        heir.devices = former.devices.clone();
        (heir.connections, heir.deployments) = (former.connections, former.deployments);
        heir.watch = Watch { states: former.watch.states.clone(), ..Watch::default() };
        heir.watch.greatest = former.watch.greatest;
        let known = former.rig.records.len();
        for step in &after {
            former.run(step);
            heir.run(step);
        }
        former.heal();
        heir.heal();
        prop_assert_eq!(&former.rig.records[known..], &heir.rig.records[..]);
        prop_assert_eq!(durable_views(&heir.rig.server), durable_views(&former.rig.server));
    }
}

#[test]
fn the_histories_supersede_and_chase() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut superseded, mut attempts) = (0, 0);
    for _ in 0..20 {
        let mut watched = Watched::new();
        let history = steps().new_tree(&mut runner).unwrap().current();
        history.iter().for_each(|step| watched.run(step));
        watched.rig.pass(CHASE);
        superseded += watched.watch.superseded;
        attempts += watched.rig.server.counts().attempts;
    }
    assert!(superseded > 20 && attempts > 200, "{superseded} superseded of {attempts}");
}
