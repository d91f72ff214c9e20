//! What is done to a server: the nouns of the product, created and changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{CohortName, DeploymentName, DeviceId};
use super::image::ImageFile;
use super::selector::Selector;
use super::text::{FirmwareVersion, Slug};

/// Tags of a device: key to value.
pub type Tags = BTreeMap<String, String>;

/// One change that a person or a scenario asks of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// Makes a firmware.
    CreateFirmware {
        /// Its short identifier.
        slug: Slug,
    },
    /// Adds a version with its image to a firmware. A version never changes.
    CreateVersion {
        /// Firmware and version.
        firmware: FirmwareVersion,
        /// The image file.
        image: ImageFile,
    },
    /// Takes away a version that was never deployed.
    DeleteVersion {
        /// Firmware and version.
        firmware: FirmwareVersion,
    },
    /// Makes devices known before they connect, or changes the tags of known ones.
    RegisterDevices {
        /// Devices with their tags.
        devices: Vec<NewDevice>,
    },
    /// Makes a cohort.
    CreateCohort {
        /// Its name.
        cohort: CohortName,
        /// By hand, or by a rule on tags.
        rule: CohortRule,
    },
    /// Changes the rule of a cohort; members follow at once.
    ChangeCohort {
        /// Which cohort.
        cohort: CohortName,
        /// The new rule.
        rule: CohortRule,
    },
    /// Brings a cohort to given versions; supersedes the cohort's older deployment.
    Deploy {
        /// Name of the new deployment.
        deployment: DeploymentName,
        /// Which devices.
        cohort: CohortName,
        /// Packages in manifest order, at least one, one a slug.
        packages: Vec<FirmwareVersion>,
        /// Which of the packages is main.
        main: Option<Slug>,
    },
    /// Withdraws a deployment.
    Cancel {
        /// Which deployment.
        deployment: DeploymentName,
    },
    /// Lets a deployment make no new offers; what was offered goes on.
    Pause {
        /// Which deployment.
        deployment: DeploymentName,
    },
    /// Lets a deployment make offers again.
    Resume {
        /// Which deployment.
        deployment: DeploymentName,
    },
    /// Makes a new attempt of a deployment for each device whose latest one failed.
    Retry {
        /// Which deployment.
        deployment: DeploymentName,
    },
    /// Puts devices into a cohort by hand.
    Join {
        /// Which cohort.
        cohort: CohortName,
        /// Which devices.
        devices: Vec<DeviceId>,
    },
    /// Takes devices out of a cohort.
    Leave {
        /// Which cohort.
        cohort: CohortName,
        /// Which devices.
        devices: Vec<DeviceId>,
    },
    /// Changes tags of devices, all of them or none.
    ChangeTags {
        /// Which devices.
        whom: Whom,
        /// Tags to set.
        set: Tags,
        /// Keys to remove.
        remove: Vec<String>,
    },
}

/// The devices that a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// These.
    Devices(Vec<DeviceId>),
    /// All that match when the change is made. A server knows the keys `device`, `tag.K`, `cohort`, `session`, `runs`, `state` and
    /// `step` (a deployment), and picks none.
    Matching(Selector),
}

/// A device as it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id.
    pub id: DeviceId,
    /// Its tags.
    pub tags: Tags,
}

/// How devices become members of a cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CohortRule {
    /// By [`AdminAction::Join`] and [`AdminAction::Leave`] alone.
    ByHand,
    /// Those that the selector matches, always; its keys are `tag.K` and `device`, without a pick.
    Where(Selector),
}
