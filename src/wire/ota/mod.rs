//! The four OTA messages (protocol 3): three that the cloud sends, one that a device sends.
//!
//! Each is a map with integer keys under a closed schema. What a device hears is decoded in `cloud`, in the three layers of protocol
//! 3.6, so that an error tells what the device has to answer; what it says is coded in `results`. Messages of the cloud are encoded
//! with definite lengths, a device's as the SDK writes them: indefinite lengths, minimal integers, keys in ascending order.

mod cloud;
mod results;

pub use cloud::{CloudMessage, DecodeError, Unreadable, decode_cloud, encode_cloud};
pub(crate) use cloud::{ReadArtifact, ReadManifest, read_cloud};
pub use results::{Report, ResultsError, UpdateResults, decode_results, encode_results};

/// Keys of the OTA messages (protocol 3.1).
mod key {
    pub(super) const MESSAGE_TYPE: u64 = 0;
    pub(super) const ATTEMPT: u64 = 32;
    pub(super) const CANCELED: u64 = 33;
    pub(super) const MANIFEST: u64 = 34;
    pub(super) const ARTIFACT_TYPE: u64 = 35;
    pub(super) const SLUG: u64 = 36;
    pub(super) const MAIN: u64 = 37;
    pub(super) const URL: u64 = 38;
    pub(super) const SECRET: u64 = 39;
    pub(super) const VERSION: u64 = 40;
    pub(super) const SUCCEEDED: u64 = 42;
    pub(super) const FAILED: u64 = 43;
    pub(super) const CANCELED_ARTIFACTS: u64 = 44;
    pub(super) const ATTEMPT_ERROR: u64 = 45;
}

/// Message types of OTA (protocol 3.1).
mod message {
    pub(super) const UPDATE_ARTIFACTS: u64 = 6;
    pub(super) const CANCEL_UPDATE: u64 = 7;
    pub(super) const REPORT_UPDATE_RESULTS: u64 = 8;
    pub(super) const UPDATE_RESULTS: u64 = 9;
}

/// The one artifact type (protocol 3.1).
const FIRMWARE: u64 = 0;

/// Bytes that a device's buffer for OTA messages holds; a longer payload is acknowledged and discarded unseen (protocol 2.4).
pub fn receive_limit(max_artifacts: u8) -> usize {
    96 + usize::from(max_artifacts) * 272
}

/// Keys met in a map; those of every schema here are below 64.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    /// Notes the key; true if it was there before.
    fn again(&mut self, key: u64) -> bool {
        let bit = u32::try_from(key).ok().and_then(|key| 1u64.checked_shl(key)).unwrap_or(0);
        let again = self.0 & bit != 0;
        self.0 |= bit;
        again
    }
}
