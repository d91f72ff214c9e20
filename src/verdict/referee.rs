//! Watches a run from outside and holds the invariants.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::measure::{Census, Register};
use crate::memory;
use crate::model::{DeploymentName, DeviceIndex, FirmwareVersion, Observation, Phase, RecordKey, ServerEvent, Split, UpdateState};
use crate::time::SimTime;
use crate::wire::ota::decode_results;
use crate::wire::{DownloadRequest, ImageHead, ImagePrint, Packet, QoS, topic};

use super::build::{Build, Numbers};
use super::finding::Finding;
use super::rulebook::Rulebook;
use super::rules::{Beginning, Rule, Scene, Tally, Written};
use super::view::{Harmless, LineStage, View, effect, heard};

/// What a referee has to know beforehand.
#[derive(Clone, Debug)]
pub struct RefereeSetup<'a> {
    /// Who takes part and what it runs.
    pub census: &'a Census,
    /// What the devices of each fleet are built to; of a fleet that is not named, the newest SDK with its defaults.
    pub builds: BTreeMap<Arc<str>, Build>,
    /// Images that the server holds. Downloads of others are held to their length alone.
    pub images: Vec<(FirmwareVersion, ImagePrint)>,
}

/// Holds every invariant at once.
#[derive(Debug)]
pub struct Referee {
    register: Register,
    builds: Vec<Build>,
    views: Vec<View>,
    rules: Rulebook,
    /// Whose devices are played.
    split: Split,
    /// The device that something was seen of last.
    latest: Option<DeviceIndex>,
}

impl Referee {
    /// How many rules are held.
    pub const RULES: u32 = 53;

    /// Ready to watch from the start of a run.
    pub fn new(setup: RefereeSetup<'_>) -> Self {
        let ids = setup.census.devices.iter().map(|device| device.id.clone());
        Referee::sharing(Register::new(ids), setup)
    }

    /// The same, with a register of the census that others keep too.
    pub fn sharing(register: Register, setup: RefereeSetup<'_>) -> Self {
        let devices = &setup.census.devices;
        let mut builds = vec![Build::default()];
        let mut numbers = BTreeMap::new();
        for (fleet, build) in setup.builds {
            numbers.insert(fleet, builds.len() as u16);
            builds.push(build);
        }
        let mut views = memory::column(devices.len());
        views.extend(devices.iter().map(|device| {
            let build = numbers.get(&device.fleet).copied().unwrap_or(0);
            View::new(build, Numbers::of(&builds[usize::from(build)].lifted))
        }));
        Referee {
            register,
            views,
            rules: Rulebook::new(&setup.images, devices.iter().map(|device| device.runs.as_slice())),
            builds,
            split: Split::WHOLE,
            latest: None,
        }
    }

    /// Has what is known of a device ready, which is soon seen.
    pub fn fetch(&self, device: DeviceIndex) {
        memory::fetch(&self.views[device.at()]);
        self.rules.attempts.fetch(device);
    }

    /// Further, once that is there.
    pub fn fetch_more(&self, device: DeviceIndex) {
        if let Some(open) = &self.views[device.at()].open {
            memory::fetch(&**open);
        }
    }

    /// Only the devices of this shard are played.
    pub fn play_only(&mut self, split: Split) {
        self.split = split;
    }

    /// The names of all rules, in the order of findings.
    pub fn rule_names() -> Vec<&'static str> {
        let nobody = Census::default();
        let referee = Referee::new(RefereeSetup {
            builds: BTreeMap::new(),
            images: Vec::new(),
            census: &nobody,
        });
        referee.rules.tallies().iter().map(|tally| tally.rule.name).collect()
    }

    /// From here on the device is not held to these invariants of protocol section 9: a fault breaks them on purpose.
    pub fn lift(&mut self, device: DeviceIndex, numbers: &[u8]) {
        let view = &mut self.views[device.at()];
        view.lifted = view.lifted.with(Numbers::of(numbers));
    }

    /// The device cheats: it is held to no rule, only the server is judged on it.
    pub fn excuse(&mut self, device: DeviceIndex) {
        self.views[device.at()].lifted = Numbers::ALL;
    }

    /// A fault has damaged a record: the device that boots will not find it. What follows from that breaks no rule.
    pub fn record_lost(&mut self, device: DeviceIndex, record: &RecordKey) {
        self.views[device.at()].lose(record);
    }

    /// The server does not tell whom its deployments reach: who assigned a version is not judged.
    pub fn server_is_mute(&mut self) {
        self.rules.assignment.is_void();
    }

    /// A device showed something.
    pub fn observed(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        if self.is_excused(device) {
            return;
        }
        self.judge_void(at, device, observation);
        if let Observation::RecordWritten { record, content } = observation {
            self.record_written(at, device, record, content);
        }
        let scene = scene(&self.views, &self.builds, at, device);
        self.rules.observed(&scene, observation);
        self.follow(device, observation);
    }

    /// Brings the view of a device up to what it showed.
    fn follow(&mut self, device: DeviceIndex, observation: &Observation) {
        let view = &mut self.views[device.at()];
        match observation {
            Observation::Transition { transition, .. } => {
                if transition.to == Phase::Committing {
                    view.commit();
                }
            }
            Observation::ManifestReceived { attempt } => view.accept(*attempt),
            Observation::HandlerCalled { attempt, index, .. } => view.call(*attempt, *index),
            Observation::HandlerReturned { attempt, index, result } => view.returned(*attempt, *index, *result),
            Observation::RetryScheduled { until, .. } => view.wait(*until),
            Observation::AttemptEnded { attempt, .. } => view.end(*attempt),
            Observation::Booted { build_id, confirmed, .. } => view.start(build_id.as_ref(), *confirmed),
            Observation::Confirmed => view.confirm(),
            Observation::Session(session) => view.show_session(*session),
            Observation::RecordDeleted { record } => {
                if *record == RecordKey::Probation {
                    view.delete_probation();
                }
            }
            Observation::RecordLost { record } => view.lose(record),
            Observation::Downloaded { .. }
            | Observation::RecordWritten { .. }
            | Observation::FlashFailed { .. }
            | Observation::UpgradeRequested
            | Observation::ConnectTried { .. }
            | Observation::ResultPublished { .. }
            | Observation::Unbootable
            | Observation::RolledBack
            | Observation::Installed { .. }
            | Observation::Requested { .. }
            | Observation::Answered { .. }
            | Observation::DownloadLost { .. }
            | Observation::FlashMisused { .. } => {}
        }
    }

    fn record_written(&mut self, at: SimTime, device: DeviceIndex, record: &RecordKey, content: &[u8]) {
        let scene = scene(&self.views, &self.builds, at, device);
        let rules = &mut self.rules;
        rules.supersession.written(&scene, record);
        let written = rules.records.written(&scene, record, content);
        if let Written::Attempt(Some(stored)) = &written {
            rules.attempt_written(&scene, stored);
        }
        let view = &mut self.views[device.at()];
        match written {
            Written::Attempt(stored) => view.store(stored),
            Written::Probation(record) => view.store_probation(record.as_ref()),
            Written::Version(slug, Some(version)) => view.store_version(slug, version),
            Written::Version(_, None) => {}
        }
    }

    /// Something seen while a message is handled that must have no effect.
    fn judge_void(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        let Some(void) = self.views[device.at()].void.as_deref().copied() else {
            return;
        };
        if void.at != at {
            self.views[device.at()].close_void();
            return;
        }
        let Some(what) = effect(observation) else {
            return;
        };
        let scene = scene(&self.views, &self.builds, at, device);
        match void.why {
            Harmless::Unreadable => self.rules.messages.unreadable_took_effect(&scene, &what),
            why => self.rules.cancellation.void_took_effect(&scene, why, &what),
        }
    }

    /// A device handed this packet to its transport.
    pub fn sent(&mut self, at: SimTime, device: DeviceIndex, packet: &Packet) {
        self.latest = Some(device);
        if self.is_excused(device) {
            return;
        }
        let scene = scene(&self.views, &self.builds, at, device);
        let rules = &mut self.rules;
        let beginning = rules.connection.sent(&scene, packet);
        if let Beginning::Introduced(Some(metadata)) = &beginning {
            rules.connection.introduced(&scene, metadata);
        }
        if let (Packet::PubAck { .. }, Some(void)) = (packet, &scene.view.void) {
            rules.cancellation.void_over(&scene, void.why);
        }
        let mut reported = None;
        if let Packet::Publish(publish) = packet {
            rules.download.published(&scene, &publish.topic, &publish.payload);
            if publish.topic == topic::OTA_D2C {
                rules.messages.sent(&scene, &publish.payload);
                reported = decode_results(&publish.payload).ok();
            }
        }
        if let Some(results) = &reported {
            rules.messages.reported(&scene, results);
            rules.reports.reported(&scene, results);
            rules.images.reported(&scene, results);
        }
        let view = &mut self.views[device.at()];
        match beginning {
            Beginning::Other => {}
            Beginning::Stage(stage) => view.line.stage = stage,
            Beginning::Introduced(metadata) => {
                view.line.stage = LineStage::Introduced;
                if let Some(metadata) = metadata {
                    view.introduce(&metadata);
                }
            }
        }
        if matches!(packet, Packet::PubAck { .. }) {
            view.close_void();
        }
        if let Some(results) = reported {
            view.report(&results);
        }
    }

    /// A device was given this packet.
    pub fn delivered(&mut self, at: SimTime, device: DeviceIndex, packet: &Packet) {
        let Packet::Publish(publish) = packet else {
            return;
        };
        if self.is_excused(device) || !topic::belongs_to(&publish.topic, topic::OTA_C2D) {
            return;
        }
        let view = &mut self.views[device.at()];
        let build = &self.builds[usize::from(view.build)];
        view.hear(at, &heard(publish, build.max_artifacts), build.duplicates_cancel);
        if publish.qos == QoS::AtMostOnce {
            // Without a PUBACK nothing tells when it has been handled.
            view.close_void();
        }
    }

    /// A device handed this image request to its transport.
    pub fn requested(&mut self, at: SimTime, device: DeviceIndex, request: &DownloadRequest) {
        if self.is_excused(device) {
            return;
        }
        let scene = scene(&self.views, &self.builds, at, device);
        self.rules.handlers.requested(&scene);
        self.rules.cancellation.requested(&scene);
        self.rules.download.requested(&scene, request);
        self.views[device.at()].ask(at, request);
    }

    /// A device was given this head of an image answer.
    pub fn headed(&mut self, _at: SimTime, device: DeviceIndex, head: &ImageHead) {
        self.views[device.at()].head(head);
    }

    /// The server told something; devices that are not in the census are passed over.
    pub fn server(&mut self, at: SimTime, event: &ServerEvent) {
        let ServerEvent::StateChanged {
            device,
            deployment,
            attempt,
            from,
            to,
            reason,
        } = event
        else {
            return;
        };
        self.latest = self.register.find_likely(device, self.latest);
        let Some(device) = self.latest else {
            return;
        };
        self.rules.attempts.state(at, device, *attempt, (*from, *to), *reason);
        if *from == UpdateState::None {
            self.rules.assignment.reached(device, deployment);
        }
    }

    /// A step asks for this deployment; called before the server is told.
    pub fn deployed(&mut self, deployment: &DeploymentName, packages: &[FirmwareVersion]) {
        self.rules.assignment.deployed(deployment, packages);
    }

    /// Settling is over and this device, which its own firmware does not hang, still has an open attempt.
    pub fn unsettled(&mut self, at: SimTime, device: DeviceIndex, phase: Phase, why: &str) {
        self.rules.settling.unsettled(at, device, phase, why);
    }

    /// The run is over: findings in the order of the rules, and the number of checks made. `settled` is true when the run came to
    /// rest; only then must an attempt that ended at the device have ended at the server too.
    pub fn finish(&mut self, at: SimTime, settled: bool) -> (Vec<Finding>, u64) {
        self.rules.assignment.finish();
        let views = &self.views;
        self.rules
            .attempts
            .finish(at, settled, |device| views[device.at()].lifted == Numbers::ALL);
        if settled {
            self.rules.settling.settled(self.split.count(self.views.len()) as u64);
            for device in (0..self.views.len() as u32).map(DeviceIndex) {
                let scene = scene(&self.views, &self.builds, at, device);
                self.rules.messages.settled(&scene);
                self.rules.images.settled(&scene);
            }
        }
        let tallies = self.rules.tallies();
        let checks = tallies.iter().map(|tally| tally.checks).sum();
        let findings = tallies.iter().filter_map(|tally| self.finding(tally)).collect();
        (findings, checks)
    }

    /// The rules that are held, in the order of findings.
    pub fn rules(&self) -> Vec<&'static Rule> {
        self.rules.tallies().iter().map(|tally| tally.rule).collect()
    }

    /// How often each rule was checked so far, in the order of findings.
    pub fn checks(&self) -> Vec<(&'static str, u64)> {
        let tallies = self.rules.tallies();
        tallies.iter().map(|tally| (tally.rule.name, tally.checks)).collect()
    }

    /// Rules that were broken so far, and how often, in the order of findings.
    pub fn broken(&self) -> Vec<(&'static str, u64)> {
        let broken = self.rules.tallies().into_iter().filter(|tally| tally.broken > 0);
        broken.map(|tally| (tally.rule.name, tally.broken)).collect()
    }

    fn is_excused(&self, device: DeviceIndex) -> bool {
        self.views[device.at()].lifted == Numbers::ALL
    }

    fn finding(&self, tally: &Tally) -> Option<Finding> {
        let first = tally.first.as_ref()?;
        Some(Finding {
            rule: tally.rule.name,
            count: tally.broken,
            device: self.register.ids().get(first.device.at()).cloned(),
            at: first.at,
            evidence: first.text.clone(),
        })
    }
}

fn scene<'a>(views: &'a [View], builds: &'a [Build], at: SimTime, device: DeviceIndex) -> Scene<'a> {
    let view = &views[device.at()];
    Scene {
        at,
        device,
        view,
        build: &builds[usize::from(view.build)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::CensusDevice;
    use crate::model::{AttemptId, BootReason, StateReason};
    use crate::wire::Publish;
    use crate::wire::ota::{Report, UpdateResults, encode_results};
    use std::collections::BTreeSet;

    fn referee() -> Referee {
        let device = |id: &str| CensusDevice {
            id: id.into(),
            fleet: "f".into(),
            tags: Arc::default(),
            runs: vec!["app@1".parse().unwrap()],
            boot_at: SimTime::ZERO,
        };
        let census = Census {
            devices: vec![device("b"), device("a")],
            cohorts: Vec::new(),
        };
        Referee::new(RefereeSetup {
            census: &census,
            builds: BTreeMap::new(),
            images: Vec::new(),
        })
    }

    fn report(succeeded: Vec<u64>) -> Packet {
        let results = UpdateResults {
            attempt: AttemptId::new(7).unwrap(),
            report: Report::Results {
                succeeded: succeeded.into(),
                failed: vec![].into(),
                canceled: vec![].into(),
            },
        };
        Packet::Publish(Publish::at_most_once(topic::OTA_D2C, encode_results(&results)))
    }

    fn broken(referee: &mut Referee) -> Vec<(&'static str, String, u64)> {
        let (findings, _) = referee.finish(SimTime::from_secs(9), true);
        let row = |finding: Finding| (finding.rule, finding.device.unwrap().to_string(), finding.count);
        findings.into_iter().map(row).collect()
    }

    #[test]
    fn every_rule_has_a_name_of_its_own_and_says_what_it_holds() {
        let rules = referee().rules();
        let names: BTreeSet<_> = rules.iter().map(|rule| rule.name).collect();
        assert_eq!((rules.len(), names.len()), (Referee::RULES as usize, Referee::RULES as usize));
        for rule in rules {
            assert!(
                rule.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{}",
                rule.name
            );
            assert!(!rule.statement.is_empty() && rule.protocol.iter().all(|number| (1..=60).contains(number)));
        }
    }

    #[test]
    fn server_events_and_sent_bytes_reach_the_rules_of_their_device() {
        let mut referee = referee();
        let ended = ServerEvent::StateChanged {
            device: "a".into(),
            deployment: "one".into(),
            attempt: AttemptId::new(7).unwrap(),
            from: UpdateState::InProgress,
            to: UpdateState::Succeeded,
            reason: StateReason::Results,
        };
        referee.server(SimTime::from_secs(3), &ended);
        referee.sent(SimTime::from_secs(1), DeviceIndex(0), &report(vec![0]));
        referee.sent(SimTime::from_secs(1), DeviceIndex(0), &report(vec![]));
        let garbage = Packet::Publish(Publish::at_most_once(topic::OTA_D2C, &b"\xff"[..]));
        referee.sent(SimTime::from_secs(2), DeviceIndex(0), &garbage);
        let found = broken(&mut referee);
        for expected in [
            ("durable-before-reported", "b", 2),
            ("reported-result-never-changes", "b", 1),
            ("reports-only-grow", "b", 1),
            ("results-are-one-map", "b", 1),
            ("no-unknown-attempt", "b", 2),
            ("unreadable-changes-nothing", "b", 2),
            ("metadata-then-subscriptions", "b", 3),
            ("ends-are-final", "a", 1),
            ("state-equals-truth", "a", 1),
        ] {
            assert!(
                found.contains(&(expected.0, expected.1.to_owned(), expected.2)),
                "{expected:?} is not in {found:?}"
            );
        }
        assert_eq!(found.len(), 9, "{found:?}");
    }

    #[test]
    fn what_boots_is_held_against_what_was_deployed() {
        let mut referee = referee();
        let booted = |firmware: &str| Observation::Booted {
            build_id: None,
            firmware: firmware.parse().unwrap(),
            confirmed: true,
            why: BootReason::PowerOn,
        };
        referee.observed(SimTime::ZERO, DeviceIndex(0), &booted("app@1"));
        referee.observed(SimTime::ZERO, DeviceIndex(1), &booted("app@9"));
        let found = broken(&mut referee);
        assert_eq!(found, [("no-version-nobody-assigned", "a".to_owned(), 1)]);
    }

    #[test]
    fn lifted_rules_and_excused_devices_are_not_judged() {
        let mut referee = referee();
        referee.lift(DeviceIndex(0), &[4, 5, 13, 41]);
        referee.excuse(DeviceIndex(1));
        for device in [DeviceIndex(0), DeviceIndex(1)] {
            referee.sent(SimTime::from_secs(1), device, &report(vec![0]));
            referee.sent(SimTime::from_secs(2), device, &report(vec![]));
        }
        let names: Vec<_> = broken(&mut referee)
            .into_iter()
            .map(|(rule, device, _)| (rule, device))
            .collect();
        assert_eq!(
            names,
            [
                ("reported-result-never-changes", "b".to_owned()),
                ("reports-only-grow", "b".to_owned())
            ]
        );
    }

    /// What the referee keeps of an idle device, the largest part of its memory in a million of them.
    #[test]
    fn a_view_of_an_idle_device_is_small() {
        assert!(size_of::<View>() <= 216, "{}", size_of::<View>());
    }
}
