//! Manifests and the results of their artifacts (protocol 3.2, 3.5).

use super::text::{FirmwareVersion, Secret, Slug, Url, Version};
use super::words::word_enum;

/// What an attempt asks of a device: artifacts in processing order, at least one, at most one of them main.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The server had cancelled the attempt when it sent this (protocol 3.2.1).
    pub canceled: bool,
    /// Artifacts, named in results by their position from zero.
    pub artifacts: Vec<Artifact>,
}

/// One image of a manifest. There is no size, no digest and no build id (protocol 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Which firmware.
    pub slug: Slug,
    /// True for the firmware that contains the SDK, installed through MCUboot.
    pub main: bool,
    /// Where it is downloaded.
    pub url: Url,
    /// What authorizes the download.
    pub secret: Secret,
    /// Label that the cloud chose; compared byte by byte with the version record.
    pub version: Version,
}

impl Artifact {
    /// Firmware and version in one.
    pub fn firmware(&self) -> FirmwareVersion {
        FirmwareVersion {
            slug: self.slug.clone(),
            version: self.version.clone(),
        }
    }
}

word_enum! {
    /// How an artifact ended. Pending is the absence of a result.
    ArtifactResult {
        /// Installed.
        Succeeded = "succeeded",
        /// Not installed.
        Failed = "failed",
        /// Not attempted, or stopped.
        Canceled = "canceled",
    }
}

word_enum! {
    /// Why a device refuses a whole attempt (protocol 3.1). Receivers tolerate numbers beyond these.
    AttemptError {
        /// 0: anything else, such as a storage failure.
        Unknown = "unknown-error",
        /// 1: more artifacts than the device was built for.
        ArtifactCountExceeded = "artifact-count-exceeded",
        /// 2: an artifact type other than firmware.
        UnknownArtifactType = "unknown-artifact-type",
        /// 3: the message broke the schema.
        CannotParseMessage = "cannot-parse-message",
    }
}

impl AttemptError {
    /// The number on the wire and in the attempt record.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The error with this number.
    pub fn from_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index)).copied()
    }
}
