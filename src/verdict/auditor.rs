//! Watches a server at its own door, and holds the rules that are the server's (protocol, section 9).
//!
//! It sees what goes in and what comes out, in the order of the core's queue: packets of every connection, management requests, events,
//! image answers. No network lies between, so what a server owes for an input is judged as soon as the input has been handled. It never
//! asks the server anything.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{
    AdminAction, AttemptId, CohortName, DeploymentName, DeviceId, DeviceIndex, Manifest, ServerEvent, StateReason, UpdateState,
};
use crate::time::SimTime;
use crate::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, decode_results, encode_cloud};
use crate::wire::{ImageAnswer, ImageRequest, Packet, Publish, receive_limit, topic};

use super::finding::Finding;
use super::rules::{Rule, Tally};

/// Most artifacts of a manifest (protocol 3.1).
const ARTIFACTS_MAX: u8 = 32;

/// The server's rules, in the order of findings.
pub const SERVER_RULES: [Rule; 10] = [
    rule(
        9,
        "results-in-any-encoding",
        "a report of the open attempt leads to the state of section 10, however it is encoded",
    ),
    rule(
        10,
        "manifest-within-limits",
        "a manifest has 1 to 32 artifacts, at most one main, and fits what a device can receive",
    ),
    rule(
        11,
        "slugs-name-one-artifact",
        "the slugs of a manifest are unique, not empty, and hold no `/`",
    ),
    rule(
        44,
        "subscribe-brings-the-manifest",
        "a subscription is answered with the manifest of the open attempt; with none open, by nothing",
    ),
    rule(
        45,
        "subscribe-again-alike",
        "a repeated subscription on one connection is answered like the first",
    ),
    rule(46, "own-messages-only", "a device is sent messages of its own attempts alone"),
    rule(
        47,
        "missing-results-are-asked-for",
        "while results of an online device are missing, the server does not fall silent",
    ),
    rule(
        48,
        "late-results-change-nothing",
        "results that are late, repeated, unknown or contradictory change no state",
    ),
    rule(
        49,
        "one-attempt-at-a-time",
        "a device has one attempt in progress, with ids that grow and are never used again",
    ),
    rule(
        50,
        "early-only-for-cause",
        "an open attempt is superseded only if its deployment holds no longer for the device, and is closed first",
    ),
];

/// Invariant 57, which is about answers to image requests.
pub const SECRETS_OPEN_IMAGES: Rule = rule(
    57,
    "secrets-open-images",
    "the right secret gives the image, the same each time; a wrong one or none gives 401 or 403",
);

const fn rule(number: u8, name: &'static str, statement: &'static str) -> Rule {
    let protocol: &'static [u8] = match number {
        9 => &[9],
        10 => &[10],
        11 => &[11],
        44 => &[44],
        45 => &[45],
        46 => &[46],
        47 => &[47],
        48 => &[48],
        49 => &[49],
        50 => &[50],
        _ => &[57],
    };
    Rule {
        name,
        statement,
        protocol,
    }
}

/// Watches one server.
#[derive(Debug)]
pub struct Auditor {
    /// The server asks for missing results as often as this; zero never does.
    chase: std::time::Duration,
    lines: BTreeMap<u64, Line>,
    ids: Vec<DeviceId>,
    devices: BTreeMap<DeviceId, Known>,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Of each deployment its cohort.
    deployments: BTreeMap<DeploymentName, CohortName>,
    /// The deployment that holds for a cohort.
    holding: BTreeMap<CohortName, DeploymentName>,
    /// What the input that is being handled asks for.
    due: Option<Due>,
    tallies: Vec<Tally>,
}

/// A connection.
#[derive(Debug, Default)]
struct Line {
    device: Option<DeviceId>,
    subscribed: bool,
    subscriptions: u32,
    /// When something about an attempt last passed, either way.
    busy_at: SimTime,
}

/// A device.
#[derive(Debug)]
struct Known {
    number: DeviceIndex,
    cohorts: Vec<CohortName>,
    current: Option<AttemptId>,
    /// The greatest attempt that it has had, and the greatest whose manifest it was sent.
    newest: Option<AttemptId>,
    sent: Option<AttemptId>,
}

/// An attempt.
#[derive(Debug)]
struct Attempt {
    device: DeviceId,
    deployment: DeploymentName,
    state: UpdateState,
    manifest: Option<Manifest>,
    succeeded: u32,
    failed: u32,
    canceled: u32,
    /// The whole image of each artifact, as first given.
    images: BTreeMap<u8, Bytes>,
}

/// What an input asks for, to be judged once it has been handled.
#[derive(Debug)]
enum Due {
    /// A subscription: what was sent on the line since.
    Subscribe {
        line: u64,
        again: bool,
        sent: Vec<CloudMessage>,
    },
    /// A report: the state that it must lead to; `None` if it must change nothing. States as they stood before.
    Report {
        device: DeviceId,
        attempt: AttemptId,
        expected: Option<UpdateState>,
        changed: bool,
    },
}

impl Auditor {
    /// Ready to watch a server that asks for missing results every `chase`.
    pub fn new(chase: std::time::Duration) -> Self {
        let rules = SERVER_RULES.iter().chain([&SECRETS_OPEN_IMAGES]);
        Auditor {
            chase,
            lines: BTreeMap::new(),
            ids: Vec::new(),
            devices: BTreeMap::new(),
            attempts: BTreeMap::new(),
            deployments: BTreeMap::new(),
            holding: BTreeMap::new(),
            due: None,
            tallies: rules.map(Tally::new).collect(),
        }
    }

    /// A connection is up.
    pub fn opened(&mut self, line: u64) {
        self.lines.insert(line, Line::default());
    }

    /// A connection is gone.
    pub fn closed(&mut self, line: u64) {
        self.lines.remove(&line);
    }

    /// Somebody asked for a change, and it was made.
    pub fn changed(&mut self, action: &AdminAction) {
        match action {
            AdminAction::Deploy { deployment, cohort, .. } => {
                self.deployments.insert(deployment.clone(), cohort.clone());
                self.holding.insert(cohort.clone(), deployment.clone());
            }
            AdminAction::Cancel { deployment } => self.holding.retain(|_, holding| holding != deployment),
            _ => {}
        }
    }

    /// The server was given this packet, and has not handled it yet.
    pub fn received(&mut self, at: SimTime, line: u64, packet: &Packet) {
        let Some(state) = self.lines.get_mut(&line) else { return };
        match packet {
            Packet::Connect(connect) => state.device.clone_from(&connect.user_name),
            Packet::Subscribe { filters, .. } => {
                let own = |device: &DeviceId| format!("{}/{device}", topic::OTA_C2D);
                let Some(device) = state.device.clone() else { return };
                if filters
                    .iter()
                    .any(|(filter, _)| *filter == topic::OTA_C2D || **filter == own(&device))
                {
                    let again = state.subscriptions > 0;
                    state.subscribed = true;
                    state.subscriptions += 1;
                    state.busy_at = at;
                    let sent = Vec::new();
                    self.due = Some(Due::Subscribe { line, again, sent });
                }
            }
            Packet::Unsubscribe { .. } => state.subscribed = false,
            Packet::Publish(publish) if publish.topic == topic::OTA_D2C => {
                state.busy_at = at;
                if let (Some(device), Ok(results)) = (state.device.clone(), decode_results(&publish.payload)) {
                    self.reported(device, &results);
                }
            }
            _ => {}
        }
    }

    fn reported(&mut self, device: DeviceId, results: &UpdateResults) {
        let attempt = results.attempt;
        let current = self.devices.get(&device).and_then(|known| known.current);
        let mut expected = None;
        if current == Some(attempt)
            && let Some(open) = self.attempts.get_mut(&attempt)
        {
            expected = open.report(&results.report);
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
        let Packet::Publish(publish) = packet else { return };
        let Some(device) = self.lines.get(&line).and_then(|state| state.device.clone()) else {
            return;
        };
        if !topic::belongs_to(&publish.topic, topic::OTA_C2D) {
            return;
        }
        if let Some(state) = self.lines.get_mut(&line) {
            state.busy_at = at;
        }
        let number = self.known(&device).number;
        let decoded = decode_cloud(&publish.payload, ARTIFACTS_MAX);
        self.hold(10, decoded.is_ok(), at, number, || {
            format!("a message that no device takes: {decoded:?}")
        });
        let Ok(message) = decoded else { return };
        self.addressed(at, number, &device, publish, &message);
        if let CloudMessage::UpdateArtifacts { attempt, manifest } = &message {
            self.manifest(at, number, &device, *attempt, manifest);
        }
        if let Some(Due::Subscribe { line: asked, sent, .. }) = &mut self.due
            && *asked == line
        {
            sent.push(message);
        }
    }

    fn addressed(&mut self, at: SimTime, number: DeviceIndex, device: &DeviceId, publish: &Publish, message: &CloudMessage) {
        let attempt = message.attempt();
        let owner = self.attempts.get(&attempt).map(|attempt| attempt.device.clone());
        let suffix = publish.topic.strip_prefix(topic::OTA_C2D).unwrap_or_default();
        let own_topic = suffix.is_empty() || suffix.strip_prefix('/') == Some(device.as_str());
        let own = owner.as_ref() == Some(device) && own_topic;
        self.hold(46, own, at, number, || match &owner {
            Some(owner) => format!("attempt {attempt} of {owner} was sent to {device} on `{}`", publish.topic),
            None => format!("attempt {attempt}, which nobody has, was sent to {device}"),
        });
    }

    fn manifest(&mut self, at: SimTime, number: DeviceIndex, device: &DeviceId, attempt: AttemptId, manifest: &Manifest) {
        let artifacts = &manifest.artifacts;
        let mains = artifacts.iter().filter(|artifact| artifact.main).count();
        let message = CloudMessage::UpdateArtifacts {
            attempt,
            manifest: manifest.clone(),
        };
        let count = artifacts.len().min(usize::from(ARTIFACTS_MAX)) as u8;
        let fits = encode_cloud(&message).len() <= receive_limit(count);
        let within = (1..=usize::from(ARTIFACTS_MAX)).contains(&artifacts.len()) && mains <= 1 && fits;
        self.hold(10, within, at, number, || {
            format!(
                "the manifest of attempt {attempt} has {} artifacts, {mains} of them main",
                artifacts.len()
            )
        });
        let slugs: Vec<_> = artifacts.iter().map(|artifact| artifact.slug.as_bytes()).collect();
        let named = slugs
            .iter()
            .enumerate()
            .all(|(at, slug)| !slug.is_empty() && !slug.contains(&b'/') && !slugs[..at].contains(slug));
        self.hold(11, named, at, number, || {
            format!("the manifest of attempt {attempt} names an artifact twice, or badly")
        });
        let known = self.known(device);
        let before = known.sent;
        known.sent = known.sent.max(Some(attempt));
        self.hold(49, before.is_none_or(|before| attempt >= before), at, number, || {
            format!("the manifest of attempt {attempt} was sent behind that of a newer one")
        });
        if let Some(open) = self.attempts.get_mut(&attempt) {
            open.manifest = Some(manifest.clone());
        }
    }

    /// The server told this.
    pub fn told(&mut self, at: SimTime, event: &ServerEvent) {
        match event {
            ServerEvent::CohortJoined { device, cohort } => self.known(device).cohorts.push(cohort.clone()),
            ServerEvent::CohortLeft { device, cohort } => self.known(device).cohorts.retain(|other| other != cohort),
            ServerEvent::StateChanged {
                device,
                deployment,
                attempt,
                from,
                to,
                reason,
            } => {
                self.moved(at, device, deployment, *attempt, (*from, *to), *reason);
            }
            ServerEvent::DeviceRegistered { .. }
            | ServerEvent::DeviceConnected { .. }
            | ServerEvent::DeviceDisconnected { .. }
            | ServerEvent::ManifestSent { .. } => {}
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
        let number = self.known(device).number;
        if let Some(Due::Report {
            device: asked,
            changed,
            attempt,
            ..
        }) = &mut self.due
            && asked == device
            && *attempt == id
        {
            *changed = true;
        }
        if from == UpdateState::None {
            let newest = self.known(device).newest;
            let grows = newest.is_none_or(|newest| id > newest) && !self.attempts.contains_key(&id);
            self.hold(49, grows, at, number, || {
                format!("attempt {id} was made although a later one was there")
            });
            self.known(device).newest = newest.max(Some(id));
            self.attempts.insert(id, Attempt::of(device, deployment));
        }
        let stood = self.attempts.get(&id).map(|attempt| attempt.state);
        let final_before = stood.is_some_and(UpdateState::ended);
        self.hold(48, !final_before, at, number, || {
            format!("attempt {id} left its end for {to}")
        });
        if from == UpdateState::InProgress && reason == StateReason::Superseded {
            let holds = self.holds(device, id);
            self.hold(50, !holds, at, number, || {
                format!("attempt {id} was superseded although its deployment holds")
            });
        }
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.state = to;
        }
        let current = self.known(device).current;
        if to == UpdateState::InProgress {
            let alone = current.is_none_or(|current| current == id);
            self.hold(49, alone, at, number, || {
                format!("attempt {id} is in progress beside another")
            });
            self.hold(50, alone, at, number, || {
                format!("attempt {id} was sent before the one in progress was closed")
            });
            self.known(device).current = Some(id);
        } else if to.ended() && current == Some(id) {
            self.known(device).current = None;
        }
    }

    /// Whether an attempt's deployment still holds for the device.
    fn holds(&self, device: &DeviceId, id: AttemptId) -> bool {
        let Some(attempt) = self.attempts.get(&id) else { return false };
        let Some(cohort) = self.deployments.get(&attempt.deployment) else {
            return false;
        };
        let member = *cohort == CohortName::all() || self.devices.get(device).is_some_and(|known| known.cohorts.contains(cohort));
        member && self.holding.get(cohort) == Some(&attempt.deployment)
    }

    /// The input has been handled: judges what it asked for.
    pub fn handled(&mut self, at: SimTime) {
        match self.due.take() {
            None => {}
            Some(Due::Subscribe { line, again, sent }) => self.answered_subscription(at, line, again, &sent),
            Some(Due::Report {
                device,
                attempt,
                expected,
                changed,
            }) => {
                let number = self.known(&device).number;
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

    fn answered_subscription(&mut self, at: SimTime, line: u64, again: bool, sent: &[CloudMessage]) {
        let Some(device) = self.lines.get(&line).and_then(|line| line.device.clone()) else {
            return;
        };
        let known = self.known(&device);
        let (number, current) = (known.number, known.current);
        let holds = match (current, sent.first()) {
            (Some(current), Some(CloudMessage::UpdateArtifacts { attempt, .. })) => *attempt == current,
            (Some(_), _) => false,
            (None, None) => true,
            // A manifest of an attempt that was cancelled while Pending may have been on its way (protocol 14).
            (None, Some(first)) => matches!(first, CloudMessage::UpdateArtifacts { manifest, .. } if manifest.canceled),
        };
        let rule = if again { 45 } else { 44 };
        self.hold(rule, holds, at, number, || {
            format!("a subscription with {current:?} open was answered by {} messages", sent.len())
        });
    }

    /// The server answered a request for an image.
    pub fn served(&mut self, at: SimTime, request: &ImageRequest<'_>, answer: &ImageAnswer) {
        let Some((id, index)) = named(request.path) else { return };
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let Some(artifact) = attempt
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.artifacts.get(usize::from(index)))
        else {
            return;
        };
        let given = request.authorization.and_then(|value| value.strip_prefix("OtaSecret "));
        let right = given.is_some_and(|given| given.as_bytes() == artifact.secret.as_bytes());
        let holds = match (right, answer.status) {
            (false, status) => matches!(status, 401 | 403) && answer.body.is_empty(),
            (true, 200) => attempt.images.entry(index).or_insert_with(|| answer.body.clone()) == &answer.body,
            (true, 206) => match (answer.content_range, attempt.images.get(&index)) {
                (Some(range), Some(image)) => {
                    let part = image.get(range.first as usize..=range.last as usize);
                    range.total == image.len() as u64 && part == Some(&answer.body[..])
                }
                (Some(range), None) => range.last - range.first + 1 == answer.body.len() as u64,
                (None, _) => false,
            },
            (true, status) => status == 416,
        };
        let device = attempt.device.clone();
        let number = self.known(&device).number;
        let status = answer.status;
        self.hold(57, holds, at, number, || {
            let secret = if right { "the right" } else { "no right" };
            format!("artifact {index} of attempt {id} was answered by {status}, with {secret} secret")
        });
    }

    /// Watching is over at `at`: findings in the order of the rules, and the number of checks made.
    pub fn finish(&mut self, at: SimTime) -> (Vec<Finding>, u64) {
        let open: Vec<_> = self.lines.values().filter(|line| line.subscribed).collect();
        let silent: Vec<_> = open
            .iter()
            .filter_map(|line| {
                let known = self.devices.get(line.device.as_ref()?)?;
                known.current?;
                Some((known.number, line.busy_at))
            })
            .collect();
        let chase = self.chase;
        for (number, busy_at) in silent.into_iter().filter(|_| !chase.is_zero()) {
            let holds = at.since(busy_at) <= 2 * chase;
            self.hold(47, holds, at, number, || {
                format!("nothing was asked since {busy_at}, though results are missing")
            });
        }
        let checks = self.tallies.iter().map(|tally| tally.checks).sum();
        let findings = self.tallies.iter().filter_map(|tally| {
            let first = tally.first.as_ref()?;
            Some(Finding {
                rule: tally.rule.name,
                count: tally.broken,
                device: self.ids.get(first.device.at()).cloned(),
                at: first.at,
                evidence: first.text.clone(),
            })
        });
        (findings.collect(), checks)
    }

    /// How often each rule was checked.
    pub fn checks(&self) -> Vec<(&'static str, u64)> {
        self.tallies.iter().map(|tally| (tally.rule.name, tally.checks)).collect()
    }

    fn known(&mut self, device: &DeviceId) -> &mut Known {
        let number = DeviceIndex(self.ids.len() as u32);
        if !self.devices.contains_key(device) {
            self.ids.push(device.clone());
        }
        self.devices.entry(device.clone()).or_insert(Known {
            number,
            cohorts: Vec::new(),
            current: None,
            newest: None,
            sent: None,
        })
    }

    fn hold(&mut self, invariant: u8, holds: bool, at: SimTime, device: DeviceIndex, evidence: impl FnOnce() -> String) {
        let tally = self.tallies.iter_mut().find(|tally| tally.rule.protocol == [invariant]);
        if let Some(tally) = tally {
            tally.check(holds, at, device, evidence);
        }
    }
}

impl Attempt {
    fn of(device: &DeviceId, deployment: &DeploymentName) -> Self {
        Attempt {
            device: device.clone(),
            deployment: deployment.clone(),
            state: UpdateState::None,
            manifest: None,
            succeeded: 0,
            failed: 0,
            canceled: 0,
            images: BTreeMap::new(),
        }
    }

    /// Takes in a report; gives the state that it must lead to, or `None` if it must change nothing (protocol O12, O25, section 10).
    fn report(&mut self, report: &Report) -> Option<UpdateState> {
        let count = self.manifest.as_ref()?.artifacts.len();
        let Report::Results {
            succeeded,
            failed,
            canceled,
        } = report
        else {
            return Some(UpdateState::Failed);
        };
        let mask = |indexes: &[u64]| {
            indexes
                .iter()
                .try_fold(0u32, |mask, &index| (index < count as u64).then(|| mask | 1 << index))
        };
        let (succeeded, failed, canceled) = (
            self.succeeded | mask(succeeded)?,
            self.failed | mask(failed)?,
            self.canceled | mask(canceled)?,
        );
        if succeeded & failed != 0 || succeeded & canceled != 0 || failed & canceled != 0 {
            return None;
        }
        (self.succeeded, self.failed, self.canceled) = (succeeded, failed, canceled);
        Some(if ((succeeded | failed | canceled).count_ones() as usize) < count {
            UpdateState::InProgress
        } else if failed != 0 {
            UpdateState::Failed
        } else if canceled != 0 {
            UpdateState::Cancelled
        } else {
            UpdateState::Succeeded
        })
    }
}

/// Attempt and index of `/a/{attempt}/{index}`.
fn named(path: &str) -> Option<(AttemptId, u8)> {
    let (attempt, index) = path.strip_prefix("/a/")?.split_once('/')?;
    Some((AttemptId::new(attempt.parse().ok()?)?, index.parse().ok()?))
}
