//! What the server shows: the management API's answers to reads. Nothing here changes anything.

use crate::model::{AttemptId, CohortName, DeploymentName, DeviceId, FirmwareVersion, Slug};
use crate::wire::api::{AttemptView, CohortView, DeploymentView, DeviceView, FirmwareView, Page, VersionView};

use super::Server;

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
}

impl Server {
    /// Every firmware by slug.
    pub fn firmware(&self) -> Vec<FirmwareView> {
        Vec::new()
    }

    /// One firmware.
    pub fn firmware_named(&self, _slug: &Slug) -> Option<FirmwareView> {
        None
    }

    /// One version.
    pub fn version(&self, _firmware: &FirmwareVersion) -> Option<VersionView> {
        None
    }

    /// Devices by id, from the one behind `after`, at most `limit`.
    pub fn devices(&self, _after: Option<&DeviceId>, _limit: usize) -> Page<DeviceView> {
        Page {
            items: Vec::new(),
            next: None,
        }
    }

    /// One device.
    pub fn device(&self, _id: &DeviceId) -> Option<DeviceView> {
        None
    }

    /// Every cohort by name, `all` among them.
    pub fn cohorts(&self) -> Vec<CohortView> {
        Vec::new()
    }

    /// One cohort.
    pub fn cohort(&self, _name: &CohortName) -> Option<CohortView> {
        None
    }

    /// Members of a cohort by id, from the one behind `after`, at most `limit`; `None` if there is no such cohort.
    pub fn cohort_members(&self, _name: &CohortName, _after: Option<&DeviceId>, _limit: usize) -> Option<Page<DeviceId>> {
        None
    }

    /// Every deployment, oldest first.
    pub fn deployments(&self) -> Vec<DeploymentView> {
        Vec::new()
    }

    /// One deployment.
    pub fn deployment(&self, _name: &DeploymentName) -> Option<DeploymentView> {
        None
    }

    /// Attempts of a deployment by id, from the one behind `after`, at most `limit`; `None` if there is no such deployment.
    pub fn deployment_attempts(
        &self,
        _name: &DeploymentName,
        _after: Option<AttemptId>,
        _limit: usize,
    ) -> Option<Page<AttemptView>> {
        None
    }

    /// One attempt.
    pub fn attempt(&self, _id: AttemptId) -> Option<AttemptView> {
        None
    }

    /// How much the server holds and has seen.
    pub fn counts(&self) -> ServerCounts {
        ServerCounts::default()
    }
}
