//! What the server shows: the management API's answers to reads. Nothing here changes anything.

use bytes::Bytes;

use crate::model::{
    AttemptId, CohortName, CohortRule, DeploymentName, DeviceId, Digest, FirmwareVersion, Selector, Slug, UpdateState, Version,
};
use crate::wire::api::{AttemptView, CohortView, DeploymentView, DeviceView, FirmwareView, Page, VersionView};

use super::Server;
use super::admission::Refusals;
use super::attempts::AttemptIndex;
use super::cohorts::ALL;
use super::deployments::Deployment;
use super::io::AdminError;
use super::record::{CohortNumber, DeviceNumber};

/// How much a server holds and has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// Transport connections, authenticated or not.
    pub connections: u64,
    /// Devices known.
    pub devices: u64,
    /// Devices connected and subscribed to their OTA topic.
    pub online: u64,
    /// Attempts made so far.
    pub attempts: u64,
    /// Messages of devices that were ignored since the start: foreign topics, bad payloads, results that are late, unknown, out of
    /// range or contradictory.
    pub ignored: u64,
    /// Connections put out, by reason. Those that were not even let in are counted by [`super::Admission`].
    pub refusals: Refusals,
}

impl Server {
    /// Every firmware by slug.
    pub fn firmware(&self) -> Vec<FirmwareView> {
        let view = |(slug, versions)| self.view_firmware(slug, versions);
        self.ledger.catalog.firmwares().map(view).collect()
    }

    /// One firmware.
    pub fn firmware_named(&self, slug: &Slug) -> Option<FirmwareView> {
        Some(self.view_firmware(slug, self.ledger.catalog.versions(slug)?))
    }

    /// One version.
    pub fn version(&self, firmware: &FirmwareVersion) -> Option<VersionView> {
        Some(self.view_version(&firmware.version, self.ledger.catalog.version(firmware)?))
    }

    /// Devices by id, from the one behind `after`, at most `limit`.
    pub fn devices(&self, after: Option<&DeviceId>, limit: usize) -> Page<DeviceView> {
        let devices = self.ledger.registry.by_id(after).map(|(_, number)| number);
        page(devices, limit, |&number| self.view_device(number), |view| view.id.to_string())
    }

    /// Devices that a selection means, by id, from the one behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] for a pick, and for keys that a server cannot answer.
    pub fn devices_meant(&self, who: &Selector, after: Option<&DeviceId>, limit: usize) -> Result<Page<DeviceView>, AdminError> {
        let meant = self.selection(who)?;
        let devices = self.ledger.registry.by_id(after).map(|(_, number)| number);
        let devices = devices.filter(|&number| meant(number));
        Ok(page(
            devices,
            limit,
            |&number| self.view_device(number),
            |view| view.id.to_string(),
        ))
    }

    /// The image of a version.
    pub fn image_of(&self, firmware: &FirmwareVersion) -> Option<Bytes> {
        let digest = self.ledger.catalog.version(firmware)?;
        Some(self.ledger.catalog.image(&digest)?.bytes.clone())
    }

    /// One device.
    pub fn device(&self, id: &DeviceId) -> Option<DeviceView> {
        Some(self.view_device(self.ledger.registry.find(id)?))
    }

    /// Firmware by slug, from the one behind `after`, at most `limit`; `None` if there is no such firmware.
    pub fn firmware_behind(&self, after: Option<&Slug>, limit: usize) -> Option<Page<FirmwareView>> {
        let firmwares = self.ledger.catalog.firmwares_behind(after)?;
        Some(page(
            firmwares,
            limit,
            |(slug, versions)| self.view_firmware(slug, versions),
            |view| view.slug.clone(),
        ))
    }

    /// Cohorts by name, `all` among them, from the one behind `after`, at most `limit`; `None` if there is no such cohort.
    pub fn cohorts_behind(&self, after: Option<&CohortName>, limit: usize) -> Option<Page<CohortView>> {
        let numbers = self.ledger.cohorts.behind(after)?;
        Some(page(
            numbers,
            limit,
            |&number| self.view_cohort(number),
            |view| view.name.to_string(),
        ))
    }

    /// One cohort.
    pub fn cohort(&self, name: &CohortName) -> Option<CohortView> {
        Some(self.view_cohort(self.ledger.cohorts.find(name)?))
    }

    /// Members of a cohort by id, from the one behind `after`, at most `limit`; `None` if there is no such cohort.
    pub fn cohort_members(&self, name: &CohortName, after: Option<&DeviceId>, limit: usize) -> Option<Page<DeviceId>> {
        let cohort = self.ledger.cohorts.find(name)?;
        let devices = self.ledger.registry.by_id(after);
        let members = devices.filter(|(_, number)| self.ledger.registry.at(*number).is_in(cohort));
        Some(page(members, limit, |(id, _)| DeviceId::clone(id), DeviceId::to_string))
    }

    /// Every deployment, oldest first.
    pub fn deployments(&self) -> Vec<DeploymentView> {
        self.ledger
            .deployments
            .iter()
            .map(|deployment| self.view_deployment(deployment))
            .collect()
    }

    /// Deployments, oldest first, from the one behind `after`, at most `limit`; `None` if there is no such deployment.
    pub fn deployments_behind(&self, after: Option<&DeploymentName>, limit: usize) -> Option<Page<DeploymentView>> {
        let deployments = self.ledger.deployments.behind(after)?;
        Some(page(
            deployments,
            limit,
            |deployment| self.view_deployment(deployment),
            |view| view.name.to_string(),
        ))
    }

    /// The first of `deployment-1`, `deployment-2` and on that no deployment has, from as many as there are.
    pub fn free_deployment_name(&self) -> DeploymentName {
        let deployments = &self.ledger.deployments;
        let numbered = |number| DeploymentName::new(format!("deployment-{number}"));
        let mut names = (deployments.len() + 1..).map(numbered);
        names
            .find(|name| deployments.find(name).is_none())
            .expect("names never run out")
    }

    /// One deployment.
    pub fn deployment(&self, name: &DeploymentName) -> Option<DeploymentView> {
        let number = self.ledger.deployments.find(name)?;
        Some(self.view_deployment(self.ledger.deployments.at(number)))
    }

    /// Attempts of a deployment, all or those in `state`, by id, from the one behind `after`, at most `limit`; `None` if there is no such deployment.
    pub fn deployment_attempts(
        &self,
        name: &DeploymentName,
        state: Option<UpdateState>,
        after: Option<AttemptId>,
        limit: usize,
    ) -> Option<Page<AttemptView>> {
        let attempts = &self.ledger.deployments.at(self.ledger.deployments.find(name)?).attempts;
        let start = attempts.partition_point(|&index| Some(self.ledger.attempts.at(index).id) <= after);
        let rest = attempts[start..].iter().copied();
        let rest = rest.filter(|&index| state.is_none_or(|state| self.ledger.attempts.at(index).state == state));
        Some(page(
            rest,
            limit,
            |&index| self.view_attempt(index),
            |view| view.id.to_string(),
        ))
    }

    /// One attempt.
    pub fn attempt(&self, id: AttemptId) -> Option<AttemptView> {
        Some(self.view_attempt(self.ledger.attempts.find(id)?))
    }

    /// How much the server holds and has seen.
    pub fn counts(&self) -> ServerCounts {
        let (connections, online) = self.connections.counts();
        ServerCounts {
            connections,
            devices: self.ledger.registry.len() as u64,
            online,
            attempts: self.ledger.attempts.len() as u64,
            ignored: self.ignored,
            refusals: self.refusals,
        }
    }

    fn view_firmware(&self, slug: &Slug, versions: &[(Version, Digest)]) -> FirmwareView {
        let view = |(version, digest): &(Version, Digest)| self.view_version(version, *digest);
        FirmwareView {
            slug: slug.to_string(),
            versions: versions.iter().map(view).collect(),
        }
    }

    fn view_version(&self, version: &Version, digest: Digest) -> VersionView {
        let image = self
            .ledger
            .catalog
            .image(&digest)
            .expect("images are recorded before versions");
        VersionView {
            version: version.to_string(),
            size_bytes: image.bytes.len() as u64,
            digest: digest.to_string(),
            build_id: image.build_id.map(|id| id.to_string()),
            mcuboot: None,
        }
    }

    fn view_device(&self, number: DeviceNumber) -> DeviceView {
        let device = self.ledger.registry.at(number);
        let name = |&cohort: &CohortNumber| self.ledger.cohorts.at(cohort).name.clone();
        DeviceView {
            id: device.id.clone(),
            tags: device.tags().clone(),
            cohorts: device.cohorts().iter().map(name).collect(),
            online: self.connections.online(number).is_some(),
            build_id: device.session.build_id.map(|id| id.to_string()),
            runs: self.installed(number).iter().map(ToString::to_string).collect(),
            attempts: device.attempts.iter().map(|&index| self.view_attempt(index)).collect(),
        }
    }

    fn view_cohort(&self, number: CohortNumber) -> CohortView {
        let cohort = self.ledger.cohorts.at(number);
        let holding = cohort
            .deployment
            .map(|deployment| self.ledger.deployments.at(deployment).name.clone());
        CohortView {
            name: cohort.name.clone(),
            rule: match &cohort.rule {
                CohortRule::Where(selector) if number != ALL => Some(selector.to_string()),
                CohortRule::Where(_) | CohortRule::ByHand => None,
            },
            members: self.ledger.cohorts.member_count(number, &self.ledger.registry) as u64,
            deployment: holding,
        }
    }

    fn view_deployment(&self, deployment: &Deployment) -> DeploymentView {
        let main = deployment.main.map(|index| &deployment.packages[usize::from(index)]);
        DeploymentView {
            name: deployment.name.clone(),
            cohort: self.ledger.cohorts.at(deployment.cohort).name.clone(),
            packages: deployment
                .packages
                .iter()
                .map(|package| package.firmware.to_string())
                .collect(),
            main: main.map(|package| package.firmware.slug.to_string()),
            active: deployment.active,
            paused: deployment.active && deployment.paused,
            progress: deployment.progress.clone(),
            reasons: deployment.reasons.clone(),
        }
    }

    fn view_attempt(&self, index: AttemptIndex) -> AttemptView {
        let attempt = self.ledger.attempts.at(index);
        let deployment = self.ledger.deployments.at(attempt.deployment);
        let result = |index| attempt.results.of(index).map(|result| result.word().to_owned());
        AttemptView {
            id: attempt.id,
            device: self.ledger.registry.at(attempt.device).id.clone(),
            deployment: deployment.name.clone(),
            state: attempt.state,
            cancel_requested: attempt.cancel_requested && !attempt.state.ended(),
            results: (0..deployment.packages.len()).map(result).collect(),
            error: attempt.error.as_deref().copied(),
            reason: attempt.reason,
        }
    }
}

/// The first `limit` of `entries`, and where the next page begins if there are more.
fn page<E, T>(mut entries: impl Iterator<Item = E>, limit: usize, view: impl Fn(&E) -> T, key: impl Fn(&T) -> String) -> Page<T> {
    let items: Vec<T> = entries.by_ref().take(limit.max(1)).map(|entry| view(&entry)).collect();
    let next = entries.next().and_then(|_| items.last()).map(key);
    Page { items, next }
}
