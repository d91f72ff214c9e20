//! Attempts: one device carrying out one deployment, and how its state follows from results (protocol, section 10).

use crate::model::ArtifactResult;

/// Results of an attempt's artifacts, a bit an index. Pending is the absence of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Indexes that succeeded.
    pub succeeded: u32,
    /// Indexes that failed.
    pub failed: u32,
    /// Indexes that were canceled.
    pub canceled: u32,
}

impl Results {
    /// The result of the artifact at `index`, below 32.
    pub fn of(self, index: usize) -> Option<ArtifactResult> {
        let has = |mask: u32| mask >> index & 1 == 1;
        if has(self.succeeded) {
            Some(ArtifactResult::Succeeded)
        } else if has(self.failed) {
            Some(ArtifactResult::Failed)
        } else if has(self.canceled) {
            Some(ArtifactResult::Canceled)
        } else {
            None
        }
    }
}
