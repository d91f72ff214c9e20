//! What an exploration came to.

use crate::play::Status;

use super::reached::Reached;
use super::seeds::SeedResult;

/// Sums over the seeds that were told.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Seeds played to their end.
    pub played: u64,
    /// Of these, how many did not pass.
    pub failing: u64,
    /// The gravest status of a seed, and interrupted where the exploration was.
    pub status: Status,
    /// What they reached.
    pub reached: Reached,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            played: 0,
            failing: 0,
            status: Status::Passed,
            reached: Reached::default(),
        }
    }
}

impl Tally {
    /// Adds a seed.
    pub(super) fn add(&mut self, result: &SeedResult) {
        self.played += 1;
        self.failing += u64::from(result.status != Status::Passed);
        self.status = self.status.graver(result.status);
        self.reached.merge(&result.reached);
    }

    /// Adds another exploration.
    pub fn absorb(&mut self, other: &Tally) {
        self.played += other.played;
        self.failing += other.failing;
        self.status = self.status.graver(other.status);
        self.reached.merge(&other.reached);
    }

    /// The user wanted no more.
    pub(super) fn interrupt(&mut self) {
        self.status = self.status.graver(Status::Interrupted);
    }
}
