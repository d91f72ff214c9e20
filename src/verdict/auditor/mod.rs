//! Watches a server at its own door, and holds the rules that are the server's (protocol, section 9).
//!
//! It sees what goes in and what comes out, in the order of the core's queue: packets of every connection, management requests, events,
//! image answers. No network lies between, so what a server owes for an input is judged as soon as the input has been handled. It never
//! asks the server anything. A driver calls, for each input: [`Auditor::received`] or its like before the server, [`Auditor::decided`]
//! behind it if it was a management request, [`Auditor::sent`] and [`Auditor::told`] for what comes out, [`Auditor::handled`] at last.

mod known;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    AdminAction, AttemptId, CohortName, DeploymentName, DeviceId, DeviceIndex, FirmwareVersion, Places, ServerEvent, SortedMap,
    StateReason, UpdateState, hash_of_name, push_sparingly,
};
use crate::time::SimTime;
use crate::wire::api::{AttemptView, DeploymentView, DeviceView};
use crate::wire::ota::{CloudMessage, ReadManifest, UpdateResults, decode_results, read_cloud};
use crate::wire::{ConnectCode, ImageAnswer, ImageRequest, Packet, Publish, receive_limit, topic};

use super::finding::Finding;
use super::rules::{Rule, Tally};
use known::{Attempt, Known, Line, Rollout, Rollouts, named, print};

pub use table::{SECRETS_OPEN_IMAGES, SERVER_RULES, server_rule};

/// Most artifacts of a manifest (protocol 3.1).
const ARTIFACTS_MAX: u8 = 32;

/// Watches one server.
#[derive(Debug)]
pub struct Auditor {
    /// The server asks for missing results as often as this; zero never does.
    chase: Duration,
    /// Of so many devices one is watched.
    one_in: u64,
    lines: SortedMap<u64, Line>,
    /// The connection that the packet under way introduces, and whose it is if the server agrees.
    greeting: Option<(u64, DeviceId)>,
    ids: Vec<DeviceId>,
    numbers: Places,
    /// Of the hashes of ids.
    key: u64,
    /// Whom it was about last, and most likely is again.
    latest: Option<DeviceIndex>,
    devices: Vec<Known>,
    /// Of those that are in any but `all`.
    cohorts: BTreeMap<DeviceIndex, Vec<CohortName>>,
    attempts: SortedMap<AttemptId, Attempt>,
    rollouts: Rollouts,
    /// A change that was asked for, and whether it is made.
    asked: Option<Asked>,
    /// What the input that is being handled asks for.
    due: Option<Due>,
    tallies: Vec<Tally>,
    /// Findings not yet taken.
    fresh: Vec<Finding>,
}

/// A change that bears on the rules.
#[derive(Debug)]
enum Asked {
    Deploy(Rollout),
    Cancel(DeploymentName),
    Store(FirmwareVersion, Bytes),
}

/// What an input asks for, to be judged once it has been handled.
#[derive(Debug)]
enum Due {
    /// A subscription: how many messages were sent on the line since, and the first of them, with whether its manifest is canceled.
    Subscribe {
        line: u64,
        again: bool,
        sent: usize,
        first: Option<CloudMessage<bool>>,
    },
    /// A report: the state that it must lead to; `None` if it must change nothing. States as they stood before.
    Report {
        device: DeviceIndex,
        attempt: AttemptId,
        expected: Option<UpdateState>,
        changed: bool,
    },
}

/// What an audit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// How often each rule was checked, and how often it was broken, in the order of findings.
    pub rules: Vec<(&'static str, u64, u64)>,
}

impl Auditor {
    /// Ready to watch a server that asks for missing results every `chase`.
    pub fn new(chase: Duration) -> Self {
        Auditor {
            chase,
            one_in: 1,
            lines: SortedMap::default(),
            greeting: None,
            ids: Vec::new(),
            numbers: Places::default(),
            key: 0,
            latest: None,
            devices: Vec::new(),
            cohorts: BTreeMap::new(),
            attempts: SortedMap::default(),
            rollouts: Rollouts::default(),
            asked: None,
            due: None,
            tallies: table::all().map(Tally::new).collect(),
            fresh: Vec::new(),
        }
    }

    /// The same, watching one device of so many, chosen by their ids.
    #[must_use]
    pub fn one_in(mut self, share: u64) -> Self {
        self.one_in = share.max(1);
        self
    }

    /// The same; devices are found under this key, which nobody knows who chooses ids.
    #[must_use]
    pub fn keyed(mut self, key: u64) -> Self {
        self.key = key;
        self
    }

    /// The catalog holds this image.
    pub fn stored(&mut self, firmware: FirmwareVersion, image: Bytes) {
        self.rollouts.store(firmware, image);
    }

    /// The server is another one, to which nobody is connected; what it knows has yet to be said. What was found stands.
    pub fn restarted(&mut self) {
        self.lines.clear();
        self.devices.fill_with(Known::default);
        self.cohorts.clear();
        self.attempts.clear();
        self.rollouts.forget();
        (self.greeting, self.asked, self.due) = (None, None, None);
    }

    /// The server had this deployment before the watch began; in the order of their making.
    pub fn had(&mut self, deployment: &DeploymentView) {
        let packages = deployment.packages.iter().filter_map(|package| package.parse().ok());
        let rollout = Rollout {
            name: deployment.name.clone(),
            cohort: deployment.cohort.clone(),
            packages: packages.collect(),
        };
        self.rollouts.add(rollout, deployment.active);
    }

    /// The server had this device before the watch began, with these attempts.
    pub fn had_device(&mut self, device: &DeviceView) {
        if !self.watches(&device.id) {
            return;
        }
        let number = self.number(&device.id);
        if !device.cohorts.is_empty() {
            self.cohorts.insert(number, device.cohorts.clone());
        }
        for view in &device.attempts {
            let attempt = Attempt::had(number, self.rollouts.find(&view.deployment), view);
            let known = &mut self.devices[number.at()];
            known.newest = known.newest.max(Some(view.id));
            if view.state == UpdateState::InProgress {
                known.current = Some(view.id);
            }
            if was_surely_sent(view) {
                known.sent = known.sent.max(Some(view.id));
            }
            self.attempts.insert(view.id, attempt);
        }
    }

    /// A connection is up.
    pub fn opened(&mut self, line: u64) {
        // It is watched once it is known whose it is.
        self.lines.remove(&line);
    }

    /// A connection is gone.
    pub fn closed(&mut self, line: u64) {
        self.lines.remove(&line);
    }

    /// Somebody asks for a change, which the server has not handled yet.
    pub fn asked(&mut self, action: &AdminAction) {
        self.asked = match action {
            AdminAction::Deploy {
                deployment,
                cohort,
                packages,
                ..
            } => Some(Asked::Deploy(Rollout {
                name: deployment.clone(),
                cohort: cohort.clone(),
                packages: packages.clone(),
            })),
            AdminAction::Cancel { deployment } => Some(Asked::Cancel(deployment.clone())),
            AdminAction::CreateVersion { firmware, image } => Some(Asked::Store(firmware.clone(), image.bytes().clone())),
            _ => None,
        };
    }

    /// The change that was asked for is made, or refused; called ahead of what the server says for it.
    pub fn decided(&mut self, granted: bool) {
        match self.asked.take().filter(|_| granted) {
            Some(Asked::Deploy(rollout)) => self.rollouts.add(rollout, true),
            Some(Asked::Cancel(deployment)) => self.rollouts.cancel(&deployment),
            Some(Asked::Store(firmware, image)) => self.rollouts.store(firmware, image),
            None => {}
        }
    }

    /// The server was given this packet, and has not handled it yet.
    pub fn received(&mut self, at: SimTime, line: u64, packet: &Packet) {
        if *packet == Packet::PingRequest {
            return;
        }
        if let Packet::Connect(connect) = packet {
            return self.introduced(line, connect.user_name.as_ref());
        }
        let Some(state) = self.lines.change(&line) else {
            return;
        };
        self.latest = Some(state.device);
        match packet {
            Packet::Subscribe { filters, .. } => {
                let device = &self.ids[state.device.at()];
                let is_own = |filter: &str| {
                    let suffix = filter.strip_prefix(topic::OTA_C2D);
                    suffix.is_some_and(|suffix| suffix.is_empty() || suffix.strip_prefix('/') == Some(device.as_str()))
                };
                if filters.iter().any(|(filter, _)| is_own(filter)) {
                    let again = std::mem::replace(&mut state.again, true);
                    state.subscribed = true;
                    state.busy_at = at;
                    let (sent, first) = (0, None);
                    self.due = Some(Due::Subscribe {
                        line,
                        again,
                        sent,
                        first,
                    });
                }
            }
            Packet::Unsubscribe { .. } => state.subscribed = false,
            Packet::Publish(publish) if publish.topic == topic::OTA_D2C => {
                state.busy_at = at;
                let device = state.device;
                if let Ok(results) = decode_results(&publish.payload) {
                    self.reported(device, &results);
                }
            }
            _ => {}
        }
    }

    /// A connection may be a device's; of those that are not watched nothing is kept.
    fn introduced(&mut self, line: u64, device: Option<&DeviceId>) {
        self.lines.remove(&line);
        self.greeting = device
            .filter(|device| self.watches(device))
            .map(|device| (line, device.clone()));
    }

    /// The server lets a connection in.
    fn welcomed(&mut self, line: u64) {
        if let Some((_, device)) = self.greeting.take_if(|(introduced, _)| *introduced == line) {
            let number = self.number(&device);
            self.lines.insert(line, Line::of(number));
        }
    }

    fn reported(&mut self, device: DeviceIndex, results: &UpdateResults) {
        let attempt = results.attempt;
        let current = self.devices[device.at()].current;
        let mut expected = None;
        if current == Some(attempt)
            && let Some(open) = self.attempts.change(&attempt)
        {
            // Of a deployment that nobody was seen to ask for nothing can be expected.
            let Some(count) = self.rollouts.artifacts(open) else { return };
            expected = open.report(&results.report, count);
        }
        let changed = false;
        self.due = Some(Due::Report {
            device,
            attempt,
            expected,
            changed,
        });
    }

    /// The server transmitted this packet.
    pub fn sent(&mut self, at: SimTime, line: u64, packet: &Packet) {
        let publish = match packet {
            Packet::Publish(publish) => publish,
            Packet::ConnAck {
                code: ConnectCode::Accepted,
            } => return self.welcomed(line),
            _ => return,
        };
        if !topic::belongs_to(&publish.topic, topic::OTA_C2D) {
            return;
        }
        let Some(state) = self.lines.change(&line) else {
            return;
        };
        state.busy_at = at;
        let number = state.device;
        let decoded = read_cloud(&publish.payload, ARTIFACTS_MAX);
        self.hold(10, decoded.is_ok(), at, number, || {
            format!("a message that no device takes: {decoded:?}")
        });
        let Ok(message) = decoded else { return };
        self.addressed(at, number, publish, &message);
        if let CloudMessage::UpdateArtifacts { attempt, manifest } = &message {
            self.manifest(at, number, *attempt, manifest, publish.payload.len());
        }
        if let Some(Due::Subscribe {
            line: asked,
            sent,
            first,
            ..
        }) = &mut self.due
            && *asked == line
        {
            *sent += 1;
            first.get_or_insert_with(|| message.map(|manifest| manifest.canceled));
        }
    }

    fn addressed(&mut self, at: SimTime, number: DeviceIndex, publish: &Publish, message: &CloudMessage<ReadManifest<'_>>) {
        let device = self.ids[number.at()].clone();
        let attempt = message.attempt();
        let owner = self.attempts.get(&attempt).map(|attempt| attempt.device);
        let suffix = publish.topic.strip_prefix(topic::OTA_C2D).unwrap_or_default();
        let own_topic = suffix.is_empty() || suffix.strip_prefix('/') == Some(device.as_str());
        let owner_id = owner.and_then(|owner| self.ids.get(owner.at()).cloned());
        self.hold(46, owner == Some(number) && own_topic, at, number, || match &owner_id {
            Some(owner) => format!("attempt {attempt} of {owner} was sent to {device} on `{}`", publish.topic),
            None => format!("attempt {attempt}, which nobody has, was sent to {device}"),
        });
    }

    fn manifest(&mut self, at: SimTime, number: DeviceIndex, attempt: AttemptId, manifest: &ReadManifest<'_>, bytes: usize) {
        let artifacts = &manifest.artifacts;
        let mains = artifacts.iter().filter(|artifact| artifact.main).count();
        let count = artifacts.len().min(usize::from(ARTIFACTS_MAX)) as u8;
        let fits = bytes <= receive_limit(count);
        let within = (1..=usize::from(ARTIFACTS_MAX)).contains(&artifacts.len()) && mains <= 1 && fits;
        self.hold(10, within, at, number, || {
            format!(
                "the manifest of attempt {attempt} has {} artifacts, {mains} of them main, in {bytes} bytes",
                artifacts.len()
            )
        });
        let slug = |at: usize| artifacts[at].slug;
        let named = (0..artifacts.len()).all(|at| {
            let slug_at = slug(at);
            !slug_at.is_empty() && !slug_at.contains(&b'/') && (0..at).all(|before| slug(before) != slug_at)
        });
        self.hold(11, named, at, number, || {
            format!("the manifest of attempt {attempt} names an artifact twice, or badly")
        });
        let known = &mut self.devices[number.at()];
        let before = known.sent;
        known.sent = known.sent.max(Some(attempt));
        self.hold(49, before.is_none_or(|before| attempt >= before), at, number, || {
            format!("the manifest of attempt {attempt} was sent behind that of a newer one")
        });
        if let Some(open) = self.attempts.change(&attempt) {
            open.offer(manifest);
        }
    }

    /// The server told this.
    pub fn told(&mut self, at: SimTime, event: &ServerEvent) {
        match event {
            ServerEvent::CohortJoined { device, cohort } if self.watches(device) => {
                let number = self.number(device);
                self.cohorts.entry(number).or_default().push(cohort.clone());
            }
            ServerEvent::CohortLeft { device, cohort } if self.watches(device) => {
                let number = self.number(device);
                if let Some(cohorts) = self.cohorts.get_mut(&number) {
                    cohorts.retain(|other| other != cohort);
                }
            }
            ServerEvent::StateChanged {
                device,
                deployment,
                attempt,
                from,
                to,
                reason,
            } if self.watches(device) => self.moved(at, device, deployment, *attempt, (*from, *to), *reason),
            _ => {}
        }
    }

    fn moved(
        &mut self,
        at: SimTime,
        device: &DeviceId,
        deployment: &DeploymentName,
        id: AttemptId,
        (from, to): (UpdateState, UpdateState),
        reason: StateReason,
    ) {
        let number = self.number(device);
        if let Some(Due::Report {
            device: asked,
            changed,
            attempt,
            ..
        }) = &mut self.due
            && *asked == number
            && *attempt == id
        {
            *changed = true;
        }
        if from == UpdateState::None {
            let known = &mut self.devices[number.at()];
            let before = known.newest;
            known.newest = before.max(Some(id));
            let grows = before.is_none_or(|newest| id > newest) && !self.attempts.contains_key(&id);
            self.hold(49, grows, at, number, || {
                format!("attempt {id} was made although a later one was there")
            });
            let rollout = self.rollouts.find(deployment);
            self.attempts.insert(id, Attempt::of(number, rollout));
        }
        let stood = self.attempts.get(&id).map(|attempt| attempt.state);
        let final_before = stood.is_some_and(UpdateState::ended);
        self.hold(48, !final_before, at, number, || {
            format!("attempt {id} left its end for {to}")
        });
        if from == UpdateState::InProgress && reason == StateReason::Superseded {
            let cohorts = self.cohorts.get(&number).map_or(&[][..], Vec::as_slice);
            let attempt = self.attempts.get(&id);
            let holds = attempt.is_some_and(|attempt| self.rollouts.holds(attempt, cohorts));
            self.hold(50, !holds, at, number, || {
                format!("attempt {id} was superseded although its deployment holds")
            });
        }
        if let Some(attempt) = self.attempts.change(&id) {
            attempt.state = to;
        }
        let current = self.devices[number.at()].current;
        if to == UpdateState::InProgress {
            let alone = current.is_none_or(|current| current == id);
            self.hold(49, alone, at, number, || {
                format!("attempt {id} is in progress beside another")
            });
            self.hold(50, alone, at, number, || {
                format!("attempt {id} was sent before the one in progress was closed")
            });
            self.devices[number.at()].current = Some(id);
        } else if to.ended() && current == Some(id) {
            self.devices[number.at()].current = None;
        }
    }

    /// The input has been handled: judges what it asked for.
    pub fn handled(&mut self, at: SimTime) {
        match self.due.take() {
            None => {}
            Some(Due::Subscribe {
                line,
                again,
                sent,
                first,
            }) => self.answered_subscription(at, line, again, (sent, first)),
            Some(Due::Report {
                device,
                attempt,
                expected,
                changed,
            }) => {
                let number = device;
                match expected {
                    Some(expected) => {
                        let state = self.attempts.get(&attempt).map(|attempt| attempt.state);
                        self.hold(9, state == Some(expected), at, number, || {
                            format!("results of attempt {attempt} should make it {expected}, it is {state:?}")
                        });
                    }
                    None => self.hold(48, !changed, at, number, || {
                        format!("results of attempt {attempt} that say nothing new changed its state")
                    }),
                }
            }
        }
    }

    /// Nobody is owed anything on a line that the server has closed meanwhile.
    fn answered_subscription(&mut self, at: SimTime, line: u64, again: bool, (sent, first): (usize, Option<CloudMessage<bool>>)) {
        let Some(number) = self.lines.get(&line).map(|line| line.device) else {
            return;
        };
        let current = self.devices[number.at()].current;
        let holds = match (current, first) {
            (Some(current), Some(CloudMessage::UpdateArtifacts { attempt, .. })) => attempt == current,
            (Some(_), _) => false,
            (None, None) => true,
            // A manifest of an attempt that was cancelled while Pending may have been on its way (protocol 14).
            (None, Some(first)) => matches!(first, CloudMessage::UpdateArtifacts { manifest: true, .. }),
        };
        let rule = if again { 45 } else { 44 };
        self.hold(rule, holds, at, number, || {
            format!("a subscription with {current:?} open was answered by {sent} messages")
        });
    }

    /// The server answered a request for an image.
    pub fn served(&mut self, at: SimTime, request: &ImageRequest<'_>, answer: &ImageAnswer) {
        let Some((id, index)) = named(request.path) else { return };
        let Some(attempt) = self.attempts.get(&id) else { return };
        let Some((holds, right)) = self.rollouts.right(attempt, index, request, answer) else {
            return;
        };
        let (number, status) = (attempt.device, answer.status);
        self.hold(57, holds, at, number, || {
            let secret = if right { "the right" } else { "no right" };
            format!("artifact {index} of attempt {id} was answered by {status}, with {secret} secret")
        });
    }

    /// Watching is over at `at`. What was found is there to be taken.
    pub fn finish(&mut self, at: SimTime) -> Audit {
        self.look(at);
        self.audit()
    }

    /// Looks whether the server has fallen silent where results are missing.
    pub fn look(&mut self, at: SimTime) {
        let chase = self.chase;
        let silent = self.lines.values().filter(|line| line.subscribed && !chase.is_zero());
        let silent: Vec<_> = silent
            .filter_map(|line| {
                self.devices[line.device.at()].current?;
                Some((line.device, line.busy_at))
            })
            .collect();
        for (number, busy_at) in silent {
            let holds = at.since(busy_at) <= 2 * chase;
            self.hold(47, holds, at, number, || {
                format!("nothing was asked since {busy_at}, though results are missing")
            });
        }
    }

    /// How every rule has fared so far.
    pub fn audit(&self) -> Audit {
        let fared = |tally: &Tally| (tally.rule.name, tally.checks, tally.broken);
        Audit {
            rules: self.tallies.iter().map(fared).collect(),
        }
    }

    /// True if something was found since the last time.
    pub fn has_findings(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Every break since the last time.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.fresh)
    }

    /// Devices that something is known of.
    pub fn devices(&self) -> usize {
        self.ids.len()
    }

    /// The rules, in the order of findings.
    pub fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        self.tallies.iter().map(|tally| tally.rule)
    }

    /// True if this device is one of those that are watched.
    pub fn watches(&self, device: &DeviceId) -> bool {
        is_dealt(self.one_in, device)
    }

    fn number(&mut self, device: &DeviceId) -> DeviceIndex {
        let number = match self.latest.filter(|latest| self.ids[latest.at()] == *device) {
            Some(latest) => latest,
            None => {
                let hash = hash_of_name(self.key, device.as_bytes());
                let place = self.numbers.find(hash, |place| self.ids[place] == *device);
                place.map_or_else(|| self.learn(device), |place| DeviceIndex(place as u32))
            }
        };
        self.latest = Some(number);
        number
    }

    fn learn(&mut self, device: &DeviceId) -> DeviceIndex {
        let number = DeviceIndex(self.ids.len() as u32);
        push_sparingly(&mut self.ids, device.clone());
        let (ids, key) = (&self.ids, self.key);
        self.numbers
            .add(number.at(), |place| hash_of_name(key, ids[place].as_bytes()));
        push_sparingly(&mut self.devices, Known::default());
        number
    }

    fn hold(&mut self, invariant: u8, holds: bool, at: SimTime, device: DeviceIndex, evidence: impl FnOnce() -> String) {
        let tally = self
            .tallies
            .iter_mut()
            .find(|tally| tally.rule.protocol.first() == Some(&invariant));
        let tally = tally.expect("every rule that is checked is listed");
        tally.check(holds, at, device, String::new);
        if !holds {
            self.fresh.push(Finding {
                rule: tally.rule.name,
                count: 1,
                device: self.ids.get(device.at()).cloned(),
                at,
                evidence: evidence(),
            });
        }
    }
}

impl Audit {
    /// Single checks made.
    pub fn checks(&self) -> u64 {
        self.rules.iter().map(|(_, checks, _)| checks).sum()
    }
}

/// True for one device of so many, by its id.
fn is_dealt(one_in: u64, device: &DeviceId) -> bool {
    one_in == 1 || print(device.as_bytes()).is_multiple_of(one_in)
}

/// True if the device must have been sent the manifest: it is to carry it out, or has told of it. An attempt that was superseded while it
/// waited was not.
fn was_surely_sent(view: &AttemptView) -> bool {
    view.state == UpdateState::InProgress || view.error.is_some() || view.results.iter().any(Option::is_some)
}
