//! Watches a run from outside and holds the invariants.

use crate::measure::Census;
use crate::model::{DeploymentName, DeviceId, DeviceIndex, FirmwareVersion, Observation, Phase, ServerEvent, UpdateState};
use crate::time::SimTime;
use crate::wire::ota::{CloudMessage, decode_cloud, decode_results};
use crate::wire::{Packet, topic};

use super::finding::Finding;
use super::rules::{Assignment, Attempts, Boot, Confirmation, Reports, Rule, Settling, Tally, Transitions};

/// Most artifacts of a manifest that any device takes (protocol 3.1).
const ARTIFACTS_MAX: u8 = 32;

/// What a referee has to know beforehand.
#[derive(Clone, Copy, Debug)]
pub struct RefereeSetup<'a> {
    /// Who takes part and what it runs.
    pub census: &'a Census,
}

/// Holds every invariant at once.
#[derive(Debug)]
pub struct Referee {
    ids: Vec<DeviceId>,
    /// Positions in `ids`, by id.
    by_id: Vec<DeviceIndex>,
    boot: Boot,
    confirmation: Confirmation,
    reports: Reports,
    assignment: Assignment,
    attempts: Attempts,
    transitions: Transitions,
    settling: Settling,
}

impl Referee {
    /// How many rules are held.
    pub const RULES: u32 = 11;

    /// Ready to watch from the start of a run.
    pub fn new(setup: RefereeSetup<'_>) -> Self {
        let devices = &setup.census.devices;
        let mut by_id: Vec<_> = (0..devices.len()).map(|at| DeviceIndex(at as u32)).collect();
        by_id.sort_unstable_by(|a, b| devices[a.at()].id.cmp(&devices[b.at()].id));
        Referee {
            ids: devices.iter().map(|device| device.id.clone()).collect(),
            by_id,
            boot: Boot::default(),
            confirmation: Confirmation::default(),
            reports: Reports::default(),
            assignment: Assignment::new(devices.iter().map(|device| device.runs.clone())),
            attempts: Attempts::default(),
            transitions: Transitions::default(),
            settling: Settling::default(),
        }
    }

    /// A device showed something.
    pub fn observed(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        self.boot.observed(at, device, observation);
        match observation {
            Observation::Transition { transition, attempt, .. } => {
                self.transitions.changed(at, device, *transition, *attempt);
                self.attempts.phase(at, device, transition.to, *attempt);
            }
            Observation::HandlerCalled {
                attempt,
                index,
                firmware,
            } => {
                self.attempts.handler(at, device, *attempt);
                self.confirmation.handler(device, *attempt, *index, firmware);
            }
            Observation::AttemptEnded { attempt, result, .. } => {
                self.attempts.ended(device, *attempt, *result);
                self.confirmation.ended(at, device, *attempt, *result);
            }
            Observation::Booted { firmware, confirmed, .. } => {
                self.boot.booted(at, device);
                self.confirmation.booted(device, firmware, *confirmed);
                self.assignment.runs(at, device, firmware);
            }
            Observation::Confirmed => self.confirmation.confirmed(device),
            Observation::Installed { firmware } => self.assignment.runs(at, device, firmware),
            Observation::Session(_)
            | Observation::ConnectTried { .. }
            | Observation::ManifestReceived { .. }
            | Observation::ResultPublished { .. }
            | Observation::Unbootable
            | Observation::RolledBack
            | Observation::RecordWritten { .. }
            | Observation::RecordDeleted { .. }
            | Observation::UpgradeRequested
            | Observation::Requested { .. }
            | Observation::Answered { .. }
            | Observation::RetryScheduled { .. }
            | Observation::DownloadLost { .. }
            | Observation::FlashMisused { .. } => {}
        }
    }

    /// A device handed this packet to its transport.
    pub fn sent(&mut self, at: SimTime, device: DeviceIndex, packet: &Packet) {
        let Packet::Publish(publish) = packet else {
            return;
        };
        if publish.topic != topic::OTA_D2C {
            return;
        }
        match decode_results(&publish.payload) {
            Ok(results) => {
                self.reports.reported(at, device, &results);
                self.confirmation.reported(at, device, &results);
            }
            Err(error) => self.reports.unreadable(at, device, error),
        }
    }

    /// A device was given this packet.
    pub fn delivered(&mut self, _at: SimTime, device: DeviceIndex, packet: &Packet) {
        let Packet::Publish(publish) = packet else {
            return;
        };
        if !topic::belongs_to(&publish.topic, topic::OTA_C2D) {
            return;
        }
        if let Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) = decode_cloud(&publish.payload, ARTIFACTS_MAX) {
            self.confirmation.manifest(device, attempt, &manifest);
        }
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
        let Ok(position) = self.by_id.binary_search_by(|index| self.ids[index.at()].cmp(device)) else {
            return;
        };
        let device = self.by_id[position];
        self.attempts.state(at, device, *attempt, (*from, *to), *reason);
        if *from == UpdateState::None {
            self.assignment.reached(device, deployment);
        }
    }

    /// A step asks for this deployment; called before the server is told.
    pub fn deployed(&mut self, deployment: &DeploymentName, packages: &[FirmwareVersion]) {
        self.assignment.deployed(deployment, packages);
    }

    /// Settling is over and this device, which its own firmware does not hang, still has an open attempt.
    pub fn unsettled(&mut self, at: SimTime, device: DeviceIndex, phase: Phase, why: &str) {
        self.settling.unsettled(at, device, phase, why);
    }

    /// The run is over: findings in the order of the rules, and the number of checks made. `settled` is true when the run came to
    /// rest; only then must an attempt that ended at the device have ended at the server too.
    pub fn finish(&mut self, at: SimTime, settled: bool) -> (Vec<Finding>, u64) {
        self.assignment.finish();
        self.attempts.finish(at, settled);
        if settled {
            self.settling.settled(self.ids.len() as u64);
        }
        let tallies = self.tallies();
        let checks = tallies.iter().map(|tally| tally.checks).sum();
        let findings = tallies.iter().filter_map(|tally| self.finding(tally)).collect();
        (findings, checks)
    }

    /// The rules that are held, in the order of findings.
    pub fn rules(&self) -> Vec<&'static Rule> {
        self.tallies().iter().map(|tally| tally.rule).collect()
    }

    fn tallies(&self) -> [&Tally; Self::RULES as usize] {
        let [bootable, flash] = self.boot.tallies();
        let [changes, form] = self.reports.tallies();
        let [one_open, finality, truth] = self.attempts.tallies();
        [
            bootable,
            flash,
            self.confirmation.tally(),
            changes,
            form,
            self.assignment.tally(),
            one_open,
            finality,
            self.transitions.tally(),
            truth,
            self.settling.tally(),
        ]
    }

    fn finding(&self, tally: &Tally) -> Option<Finding> {
        let first = tally.first.as_ref()?;
        Some(Finding {
            rule: tally.rule.name,
            count: tally.broken,
            device: self.ids.get(first.device.at()).cloned(),
            at: first.at,
            evidence: first.text.clone(),
        })
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
    use std::sync::Arc;

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
        Referee::new(RefereeSetup { census: &census })
    }

    #[test]
    fn every_rule_has_a_name_of_its_own_and_says_what_it_holds() {
        let rules = referee().rules();
        let names: BTreeSet<_> = rules.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), Referee::RULES as usize);
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
        let attempt = AttemptId::new(7).unwrap();
        let ended = ServerEvent::StateChanged {
            device: "a".into(),
            deployment: "one".into(),
            attempt,
            from: UpdateState::InProgress,
            to: UpdateState::Succeeded,
            reason: StateReason::Results,
        };
        referee.server(SimTime::from_secs(3), &ended);
        for succeeded in [vec![0], vec![]] {
            let report = Report::Results {
                succeeded,
                failed: vec![],
                canceled: vec![],
            };
            let payload = encode_results(&UpdateResults { attempt, report });
            referee.sent(
                SimTime::from_secs(1),
                DeviceIndex(0),
                &Packet::Publish(Publish::at_most_once(topic::OTA_D2C, payload)),
            );
        }
        let garbage = Packet::Publish(Publish::at_most_once(topic::OTA_D2C, &b"\xff"[..]));
        referee.sent(SimTime::from_secs(2), DeviceIndex(0), &garbage);
        let elsewhere = Packet::Publish(Publish::at_most_once(topic::INGEST, &b"\xff"[..]));
        referee.sent(SimTime::from_secs(2), DeviceIndex(0), &elsewhere);
        let (findings, checks) = referee.finish(SimTime::from_secs(9), true);
        let found: Vec<_> = findings
            .iter()
            .map(|finding| (finding.rule, finding.device.as_ref().unwrap().as_str(), finding.count))
            .collect();
        assert_eq!(
            found,
            [
                ("reported-result-never-changes", "b", 1),
                ("well-formed-results", "b", 1),
                ("ends-are-final", "a", 1),
                ("state-equals-truth", "a", 1)
            ]
        );
        assert!(checks > 4);
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
        let (findings, _) = referee.finish(SimTime::from_secs(9), true);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].rule, findings[0].count), ("no-version-nobody-assigned", 1));
    }
}
