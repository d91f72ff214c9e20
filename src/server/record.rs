//! What the server stores: one value a durable change, in the order in which the changes took place.
//!
//! Records are plain data. Devices, cohorts and deployments are numbered in the order of their creation, from zero (cohort zero is
//! `all`), so that a record refers to them by number as a row of a table would.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{
    AttemptId, BuildId, CohortName, CohortRule, DeploymentName, DeviceId, Digest, FirmwareVersion, Prompt, Slug, StateReason, Tags,
    UpdateState,
};

use super::attempts::Results;

/// Position of a device in the order of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceNumber(pub u32);

/// Position of a cohort in the order of creation; zero is `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CohortNumber(pub u32);

/// Position of a deployment in the order of creation: the greater, the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeploymentNumber(pub u32);

/// When a change took place, and what prompted it; of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch; since the start of the run where [`super::ServerConfig::epoch_ms`] is zero.
    pub at_ms: u64,
    /// By what.
    pub by: Prompt,
}

/// One durable change. In JSON an object with the field `change`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Record {
    /// A firmware was made.
    FirmwareCreated {
        /// Its identifier.
        slug: Slug,
    },
    /// An image was stored; once a digest.
    ImageStored {
        /// SHA-256 of the bytes.
        digest: Digest,
        /// Build id found in it.
        build_id: Option<BuildId>,
        /// The file; not in JSON.
        #[serde(skip)]
        image: Bytes,
    },
    /// A version was made; its image was stored before.
    VersionCreated {
        /// Firmware and version.
        firmware: FirmwareVersion,
        /// Its image.
        digest: Digest,
    },
    /// A version that was never deployed was taken away, and its image with it if no other version has that.
    VersionDeleted {
        /// Firmware and version.
        firmware: FirmwareVersion,
    },
    /// A device became known, under the next number.
    DeviceRegistered {
        /// Its id.
        device: DeviceId,
        /// Its tags.
        tags: Tags,
    },
    /// A device's tags changed.
    DeviceTagged {
        /// Which device.
        device: DeviceNumber,
        /// All of its tags.
        tags: Tags,
    },
    /// A device told of itself in session metadata (protocol 4.1).
    SessionSeen {
        /// Which device.
        device: DeviceNumber,
        /// What it told.
        session: SessionSeen,
    },
    /// A cohort was made, under the next number.
    CohortCreated {
        /// Its name.
        cohort: CohortName,
        /// How devices become members.
        rule: CohortRule,
    },
    /// A cohort's rule changed; changes of membership have records of their own.
    CohortChanged {
        /// Which cohort.
        cohort: CohortNumber,
        /// The new rule.
        rule: CohortRule,
    },
    /// A device entered a cohort.
    CohortJoined {
        /// Which device.
        device: DeviceNumber,
        /// Which cohort; never `all`.
        cohort: CohortNumber,
    },
    /// A device left a cohort.
    CohortLeft {
        /// Which device.
        device: DeviceNumber,
        /// Which cohort; never `all`.
        cohort: CohortNumber,
    },
    /// A deployment was made, under the next number; it takes the place of its cohort's older one.
    DeploymentCreated {
        /// Its name.
        deployment: DeploymentName,
        /// Which devices.
        cohort: CohortNumber,
        /// Packages in manifest order.
        packages: Vec<FirmwareVersion>,
        /// Position of the main package.
        main: Option<u8>,
    },
    /// A deployment was withdrawn.
    DeploymentCancelled {
        /// Which deployment.
        deployment: DeploymentNumber,
    },
    /// A deployment makes no new offers from here on.
    DeploymentPaused {
        /// Which deployment.
        deployment: DeploymentNumber,
    },
    /// A deployment makes offers again.
    DeploymentResumed {
        /// Which deployment.
        deployment: DeploymentNumber,
    },
    /// An attempt was made; its state is Pending.
    AttemptCreated {
        /// Its id, greater than every earlier one.
        attempt: AttemptId,
        /// Whose attempt.
        device: DeviceNumber,
        /// What it carries out.
        deployment: DeploymentNumber,
    },
    /// The manifest of an attempt was sent for the first time; its state is In Progress, unless it had ended.
    ManifestSent {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// An attempt In Progress is to be cancelled.
    CancelRequested {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// More results of an attempt are known.
    ResultsKnown {
        /// Which attempt.
        attempt: AttemptId,
        /// All that are known.
        results: Results,
    },
    /// The device refused an attempt.
    AttemptRefused {
        /// Which attempt.
        attempt: AttemptId,
        /// Number of the attempt error.
        error: u64,
    },
    /// An attempt ended.
    AttemptEnded {
        /// Which attempt.
        attempt: AttemptId,
        /// Succeeded, Failed or Cancelled.
        state: UpdateState,
        /// Why.
        reason: StateReason,
    },
}

impl Record {
    /// The version that this adds to the catalog, if it does.
    pub fn created_version(&self) -> Option<&FirmwareVersion> {
        match self {
            Record::VersionCreated { firmware, .. } => Some(firmware),
            _ => None,
        }
    }
}

/// What a device last told of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSeen {
    /// Names the boot.
    pub run_id: u64,
    /// Identity of the running image.
    pub build_id: Option<BuildId>,
    /// The greatest attempt id that it had received.
    pub last_attempt: Option<AttemptId>,
}
