//! Watches devices from the server's side alone, and holds the rules that can be seen from there.
//!
//! The [`super::Referee`] sees what a device shows of itself. A real device shows nothing: of it there are only the packets that it
//! sends, those that are sent to it, and its image requests with their answers. The rules are the same ones under the same names; each
//! is held as far as these tell, and a break is certain only as far as its evidence says. What cannot be told apart from outside (flash,
//! records, handlers, whether a message arrived) breaks nothing here; `docs/judge.md` lists what is held and what is not.

mod downloads;
mod reports;
mod seen;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AttemptId, BuildId, DeviceId, DeviceIndex, FirmwareVersion, ServerEvent};
use crate::time::SimTime;
use crate::wire::ota::{CloudMessage, decode_cloud, decode_results};
use crate::wire::{Packet, topic};

use super::finding::Finding;
use super::rules::outside::*;
use super::rules::{Attempts, Rule, Tally};
use seen::{Offered, Seen};

pub use downloads::Fetched;

/// Most artifacts of a manifest that any device can be built for (protocol 3.1).
const ARTIFACTS_MAX: u8 = 32;

/// Rules that are held from the server's side, in the order of findings.
const HELD: [&Rule; 19] = [
    &ONE_MAP,
    &KEYS_OF_THE_TABLE,
    &WELL_FORMED_RESULTS,
    &NO_UNKNOWN_ATTEMPT,
    &RIGHT_ATTEMPT_ERROR,
    &RESULT_NEVER_CHANGES,
    &REPORTS_ONLY_GROW,
    &AFTER_SUCCESS,
    &FAILURE_ENDS_ALL,
    &NOTHING_FOR_INSTALLED,
    &ENDED_IS_ENDED,
    &MAIN_SUCCEEDS_RUNNING,
    &NO_SUCCESS_BEFORE_CONFIRMATION,
    &CALLED_OFF_RUNS_NOTHING,
    &SUPERSEDED_IS_SILENT,
    &METADATA_THEN_SUBSCRIPTIONS,
    &RUN_ID_NAMES_THE_BOOT,
    &LAST_ATTEMPT_COVERS_THE_RECORD,
    &SECRETS_STAY,
];

/// Watches any number of devices, which it meets as they come.
#[derive(Debug)]
pub struct Witness {
    numbers: BTreeMap<DeviceId, DeviceIndex>,
    ids: Vec<DeviceId>,
    seen: Vec<Seen>,
    tallies: Vec<Tally>,
    /// Also held: what the server tells of its attempts.
    attempts: Attempts,
    /// Versions of the catalog by the build id of their images.
    builds: BTreeMap<BuildId, Vec<FirmwareVersion>>,
    /// Findings not yet taken.
    fresh: Vec<Finding>,
    /// Rule and device of those that were given out.
    told: BTreeSet<(&'static str, DeviceIndex)>,
}

/// How one rule fared.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Which one.
    pub rule: &'static Rule,
    /// How often it was checked.
    pub checks: u64,
    /// How often it was broken.
    pub broken: u64,
}

impl Default for Witness {
    fn default() -> Self {
        Witness {
            numbers: BTreeMap::new(),
            ids: Vec::new(),
            seen: Vec::new(),
            tallies: HELD.into_iter().map(Tally::new).collect(),
            attempts: Attempts::default(),
            builds: BTreeMap::new(),
            fresh: Vec::new(),
            told: BTreeSet::new(),
        }
    }
}

impl Witness {
    /// The catalog has a version whose image has this build id.
    pub fn stored(&mut self, firmware: FirmwareVersion, build_id: BuildId) {
        let versions = self.builds.entry(build_id).or_default();
        if !versions.contains(&firmware) {
            versions.push(firmware);
        }
    }

    /// A device takes part that was there before the watch began; `last_sent` is the newest attempt that was sent to it.
    pub fn meet(&mut self, device: &DeviceId, last_sent: Option<AttemptId>) {
        let index = self.number(device);
        self.seen[index.at()].unseen = last_sent;
    }

    /// A device sent this packet.
    pub fn sent(&mut self, at: SimTime, device: &DeviceId, packet: &Packet) {
        let index = self.number(device);
        let mut watch = self.watch(at, index);
        watch.line(packet);
        if let Packet::Publish(publish) = packet {
            watch.published(&publish.topic, &publish.payload);
            if publish.topic == topic::OTA_D2C {
                watch.shaped(&publish.payload);
                if let Ok(results) = decode_results(&publish.payload) {
                    watch.reported(&results);
                }
            }
        }
    }

    /// A device was sent this packet; whether it arrived is not known.
    pub fn transmitted(&mut self, _at: SimTime, device: &DeviceId, packet: &Packet) {
        let Packet::Publish(publish) = packet else { return };
        if !topic::belongs_to(&publish.topic, topic::OTA_C2D) {
            return;
        }
        let index = self.number(device);
        if let Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) = decode_cloud(&publish.payload, ARTIFACTS_MAX) {
            self.seen[index.at()].offer(attempt, &manifest);
        }
    }

    /// A device's image request was answered.
    pub fn fetched(&mut self, at: SimTime, device: &DeviceId, fetched: &Fetched<'_>) {
        let index = self.number(device);
        self.watch(at, index).fetched(fetched);
    }

    /// The server told something.
    pub fn server(&mut self, at: SimTime, event: &ServerEvent) {
        let ServerEvent::StateChanged {
            device,
            attempt,
            from,
            to,
            reason,
            ..
        } = event
        else {
            return;
        };
        let index = self.number(device);
        let before = self.server_rules().map(|tally| tally.broken);
        self.attempts.state(at, index, *attempt, (*from, *to), *reason);
        let now = self.server_rules();
        let broken: Vec<_> = now
            .iter()
            .zip(before)
            .filter(|(tally, before)| tally.broken > *before)
            .collect();
        let found: Vec<_> = broken
            .into_iter()
            .filter_map(|(tally, _)| Some((tally.rule, tally.first.as_ref()?.text.clone())))
            .collect();
        for (rule, text) in found {
            self.tell(rule, at, index, text);
        }
    }

    /// What was found since the last time; of each rule and device the first break alone.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.fresh)
    }

    /// How every rule that is held here fared.
    pub fn held(&self) -> Vec<Held> {
        let held = |tally: &Tally| Held {
            rule: tally.rule,
            checks: tally.checks,
            broken: tally.broken,
        };
        let tallies = self.tallies.iter().chain(self.server_rules());
        tallies.map(held).collect()
    }

    /// Devices that were watched.
    pub fn devices(&self) -> usize {
        self.ids.len()
    }

    /// True if a rule broke.
    pub fn is_broken(&self) -> bool {
        !self.told.is_empty()
    }

    /// The build id of a version's image.
    fn build_of(&self, firmware: &FirmwareVersion) -> Option<BuildId> {
        let mut builds = self.builds.iter();
        builds
            .find(|(_, versions)| versions.contains(firmware))
            .map(|(build_id, _)| *build_id)
    }

    /// Those of [`Attempts`] that need no device's word.
    fn server_rules(&self) -> [&Tally; 2] {
        let [one_open, finality, _truth] = self.attempts.tallies();
        [one_open, finality]
    }

    fn number(&mut self, device: &DeviceId) -> DeviceIndex {
        if let Some(number) = self.numbers.get(device) {
            return *number;
        }
        let number = DeviceIndex(self.ids.len() as u32);
        self.numbers.insert(device.clone(), number);
        self.ids.push(device.clone());
        self.seen.push(Seen::default());
        number
    }

    fn watch(&mut self, at: SimTime, index: DeviceIndex) -> Watch<'_> {
        Watch {
            witness: self,
            at,
            index,
        }
    }

    fn tell(&mut self, rule: &'static Rule, at: SimTime, index: DeviceIndex, evidence: String) {
        if self.told.insert((rule.name, index)) {
            self.fresh.push(Finding {
                rule: rule.name,
                count: 1,
                device: self.ids.get(index.at()).cloned(),
                at,
                evidence,
            });
        }
    }
}

/// One thing that one device did, on its way through the rules.
struct Watch<'a> {
    witness: &'a mut Witness,
    at: SimTime,
    index: DeviceIndex,
}

impl Watch<'_> {
    fn seen(&self) -> &Seen {
        &self.witness.seen[self.index.at()]
    }

    fn seen_mut(&mut self) -> &mut Seen {
        &mut self.witness.seen[self.index.at()]
    }

    fn offered(&self, attempt: AttemptId) -> Option<&Offered> {
        self.seen().offered(attempt)
    }

    /// Counts a check of a rule, and tells of it where it does not hold.
    fn hold(&mut self, rule: &'static Rule, holds: bool, evidence: impl FnOnce() -> String) {
        let (at, index) = (self.at, self.index);
        let text = (!holds).then(evidence);
        let tally = self.witness.tallies.iter_mut().find(|tally| tally.rule.name == rule.name);
        let tally = tally.expect("every rule that is checked is listed");
        tally.check(holds, at, index, String::new);
        if let Some(text) = text {
            self.witness.tell(rule, at, index, text);
        }
    }
}
