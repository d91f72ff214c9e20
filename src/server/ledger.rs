//! The ledger: all that is durable, and the one way to change it.
//!
//! A change is a [`Record`] that is applied and put out; restoring applies the same records again. What a server knows after a
//! restart is therefore what it knew before, by construction. Whether a change is allowed has been decided before.

use std::collections::BTreeMap;

use crate::model::{AttemptId, StateReason, UpdateState, push_sparingly};

use super::attempts::{Attempt, AttemptIndex, Attempts, Results};
use super::catalog::{Catalog, Image};
use super::cohorts::Cohorts;
use super::deployments::{Deployment, Deployments, Package};
use super::history::History;
use super::record::{CohortNumber, DeploymentNumber, DeviceNumber, Record, Stamp};
use super::registry::Registry;

/// Everything that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ledger {
    pub catalog: Catalog,
    pub registry: Registry,
    pub cohorts: Cohorts,
    pub deployments: Deployments,
    pub attempts: Attempts,
    pub history: History,
}

impl Ledger {
    /// An empty one; with `keep_history`, what happens is kept to be shown. Nobody who chooses names of devices knows the `key`.
    pub fn new(keep_history: bool, key: u64) -> Self {
        Ledger {
            catalog: Catalog::default(),
            registry: Registry::new(key),
            cohorts: Cohorts::new(),
            deployments: Deployments::default(),
            attempts: Attempts::default(),
            history: History::new(keep_history),
        }
    }

    /// True while the deployment of an attempt is active and its device in the deployment's cohort.
    pub fn holds(&self, attempt: AttemptIndex) -> bool {
        let attempt = self.attempts.at(attempt);
        let deployment = self.deployments.at(attempt.deployment);
        deployment.active && self.registry.at(attempt.device).is_in(deployment.cohort)
    }

    /// Makes one change.
    pub fn apply(&mut self, stamp: Stamp, record: &Record) {
        self.change(record);
        self.history.note(stamp, record, &self.attempts);
    }

    fn change(&mut self, record: &Record) {
        match record {
            Record::FirmwareCreated { slug } => self.catalog.add_firmware(slug.clone()),
            Record::ImageStored { digest, build_id, image } => {
                let image = Image {
                    bytes: image.clone(),
                    build_id: *build_id,
                };
                self.catalog.add_image(*digest, image);
            }
            Record::VersionCreated { firmware, digest } => self.catalog.add_version(firmware.clone(), *digest),
            Record::VersionDeleted { firmware } => self.catalog.remove_version(firmware),
            Record::DeviceRegistered { device, tags } => {
                self.registry.add(device.clone(), tags.clone());
            }
            Record::DeviceTagged { device, tags } => self.registry.at_mut(*device).set_tags(tags.clone()),
            Record::SessionSeen { device, session } => self.registry.at_mut(*device).session = *session,
            Record::CohortCreated { cohort, rule } => {
                self.cohorts.add(cohort.clone(), rule.clone());
            }
            Record::CohortChanged { cohort, rule } => self.cohorts.at_mut(*cohort).rule.clone_from(rule),
            Record::CohortJoined { device, cohort } => self.join(*device, *cohort),
            Record::CohortLeft { device, cohort } => self.leave(*device, *cohort),
            Record::DeploymentCreated {
                deployment,
                cohort,
                packages,
                main,
            } => {
                let package = |firmware: &crate::model::FirmwareVersion| Package {
                    firmware: firmware.clone(),
                    digest: self
                        .catalog
                        .version(firmware)
                        .expect("versions are recorded before deployments"),
                };
                let deployment = Deployment {
                    name: deployment.clone(),
                    cohort: *cohort,
                    packages: packages.iter().map(package).collect(),
                    main: *main,
                    active: true,
                    cancelled: false,
                    paused: false,
                    attempts: Vec::new(),
                    progress: BTreeMap::new(),
                    reasons: BTreeMap::new(),
                };
                self.deploy(deployment);
            }
            Record::DeploymentCancelled { deployment } => self.withdraw(*deployment),
            Record::DeploymentPaused { deployment } => self.deployments.at_mut(*deployment).paused = true,
            Record::DeploymentResumed { deployment } => self.deployments.at_mut(*deployment).paused = false,
            Record::AttemptCreated {
                attempt,
                device,
                deployment,
            } => self.open(*attempt, *device, *deployment),
            Record::ManifestSent { attempt } => self.send(*attempt),
            Record::CancelRequested { attempt } => self.attempt_mut(*attempt).cancel_requested = true,
            Record::ResultsKnown { attempt, results } => self.know(*attempt, *results),
            Record::AttemptRefused { attempt, error } => self.attempt_mut(*attempt).error = Some(Box::new(*error)),
            Record::AttemptEnded { attempt, state, reason } => self.end(*attempt, *state, *reason),
        }
    }

    fn join(&mut self, device: DeviceNumber, cohort: CohortNumber) {
        self.registry.at_mut(device).join(cohort);
        self.cohorts.at_mut(cohort).members.insert(device);
    }

    fn leave(&mut self, device: DeviceNumber, cohort: CohortNumber) {
        self.registry.at_mut(device).leave(cohort);
        self.cohorts.at_mut(cohort).members.remove(&device);
    }

    fn deploy(&mut self, deployment: Deployment) {
        let cohort = deployment.cohort;
        let number = self.deployments.push(deployment);
        if let Some(older) = self.cohorts.at_mut(cohort).deployment.replace(number) {
            self.deployments.at_mut(older).active = false;
        }
    }

    fn withdraw(&mut self, number: DeploymentNumber) {
        let deployment = self.deployments.at_mut(number);
        deployment.active = false;
        deployment.cancelled = true;
        let holding = &mut self.cohorts.at_mut(deployment.cohort).deployment;
        if *holding == Some(number) {
            *holding = None;
        }
    }

    fn open(&mut self, id: AttemptId, device: DeviceNumber, deployment: DeploymentNumber) {
        let index = self.attempts.push(Attempt {
            id,
            device,
            deployment,
            state: UpdateState::Pending,
            reason: None,
            sent: false,
            cancel_requested: false,
            results: Results::default(),
            error: None,
        });
        let owner = self.registry.at_mut(device);
        owner.attempts.push(index);
        owner.pending = Some(index);
        let deployment = self.deployments.at_mut(deployment);
        push_sparingly(&mut deployment.attempts, index);
        deployment.count(UpdateState::None, UpdateState::Pending);
    }

    fn send(&mut self, id: AttemptId) {
        let index = self.index(id);
        self.attempts.at_mut(index).sent = true;
        if self.attempts.at(index).state == UpdateState::Pending {
            self.enter(index, UpdateState::InProgress);
            let owner = self.registry.at_mut(self.attempts.at(index).device);
            owner.pending = None;
            owner.current = Some(index);
        }
    }

    fn know(&mut self, id: AttemptId, results: Results) {
        self.attempt_mut(id).results = results;
    }

    fn end(&mut self, id: AttemptId, state: UpdateState, reason: StateReason) {
        let index = self.index(id);
        self.enter(index, state);
        let attempt = self.attempts.at_mut(index);
        attempt.reason = Some(reason);
        *self.deployments.at_mut(attempt.deployment).reasons.entry(reason).or_default() += 1;
        let owner = self.registry.at_mut(self.attempts.at(index).device);
        for engaged in [&mut owner.current, &mut owner.pending] {
            if *engaged == Some(index) {
                *engaged = None;
            }
        }
    }

    fn enter(&mut self, index: AttemptIndex, state: UpdateState) {
        let attempt = self.attempts.at_mut(index);
        let from = std::mem::replace(&mut attempt.state, state);
        self.deployments.at_mut(attempt.deployment).count(from, state);
    }

    fn attempt_mut(&mut self, id: AttemptId) -> &mut Attempt {
        let index = self.index(id);
        self.attempts.at_mut(index)
    }

    fn index(&self, id: AttemptId) -> AttemptIndex {
        self.attempts
            .find(id)
            .expect("attempts are recorded before what happens to them")
    }
}
