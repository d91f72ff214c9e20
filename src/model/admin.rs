//! What is done to a server: the nouns of the product, created and changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{CohortName, DeploymentName, DeviceId};
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
    /// Adds a version with its image to a firmware. A version is immutable once it is deployed.
    CreateVersion {
        /// Firmware and version.
        firmware: FirmwareVersion,
        /// The image file.
        image: Bytes,
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
    /// Sets tags on devices.
    Tag {
        /// Which devices.
        devices: Vec<DeviceId>,
        /// Tags to set.
        tags: Tags,
    },
    /// Removes tags from devices.
    Untag {
        /// Which devices.
        devices: Vec<DeviceId>,
        /// Keys to remove.
        keys: Vec<String>,
    },
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
