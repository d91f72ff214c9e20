//! Attempts: one device carrying out one deployment, and how its state follows from results (protocol, section 10).

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::model::{ArtifactResult, AttemptId, StateReason, UpdateState, push_sparingly};

use super::record::{DeploymentNumber, DeviceNumber};

/// Most packages of a deployment: no device takes more artifacts (protocol 3.1), and [`Results`] has a bit for each.
pub(super) const ARTIFACTS_MAX: usize = 32;

/// Results of an attempt's artifacts, a bit an index. Pending is the absence of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// What a report of these indexes says about `artifacts` artifacts; `None` if an index is out of range or in two arrays
    /// (protocol O25).
    pub(super) fn reported(succeeded: &[u64], failed: &[u64], canceled: &[u64], artifacts: usize) -> Option<Results> {
        let mask = |indexes: &[u64]| {
            indexes.iter().try_fold(0u32, |mask, &index| {
                usize::try_from(index).ok().filter(|&index| index < artifacts)?;
                Some(mask | 1 << index)
            })
        };
        let results = Results {
            succeeded: mask(succeeded)?,
            failed: mask(failed)?,
            canceled: mask(canceled)?,
        };
        results.is_consistent().then_some(results)
    }

    /// What is known once `newer` has been reported, too; `None` if it contradicts what is known: a result never changes
    /// (protocol O12). Reports may arrive twice and in any order, hence the union.
    pub(super) fn joined(self, newer: Results) -> Option<Results> {
        let results = Results {
            succeeded: self.succeeded | newer.succeeded,
            failed: self.failed | newer.failed,
            canceled: self.canceled | newer.canceled,
        };
        results.is_consistent().then_some(results)
    }

    /// The state of an attempt with these results of `artifacts` artifacts (protocol, section 10, order of evaluation).
    pub(super) fn state(self, artifacts: usize) -> UpdateState {
        let known = (self.succeeded | self.failed | self.canceled).count_ones() as usize;
        if known < artifacts {
            UpdateState::InProgress
        } else if self.failed != 0 {
            UpdateState::Failed
        } else if self.canceled != 0 {
            UpdateState::Cancelled
        } else {
            UpdateState::Succeeded
        }
    }

    const fn is_consistent(self) -> bool {
        self.succeeded & self.failed == 0 && self.succeeded & self.canceled == 0 && self.failed & self.canceled == 0
    }
}

/// Position of an attempt in the order of creation, counted from one, so that none takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttemptIndex(NonZeroU32);

impl AttemptIndex {
    /// As a position in a column of attempts.
    pub const fn at(self) -> usize {
        self.0.get() as usize - 1
    }

    fn new(position: usize) -> Option<Self> {
        let number = u32::try_from(position + 1).ok()?;
        NonZeroU32::new(number).map(AttemptIndex)
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub id: AttemptId,
    pub device: DeviceNumber,
    pub deployment: DeploymentNumber,
    pub state: UpdateState,
    /// Why it ended.
    pub reason: Option<StateReason>,
    /// Its manifest was sent at least once.
    pub sent: bool,
    pub cancel_requested: bool,
    pub results: Results,
    /// Few are refused.
    pub error: Option<Box<u64>>,
}

/// Every attempt, by growing id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempts(Vec<Attempt>);

impl Attempts {
    pub fn push(&mut self, attempt: Attempt) -> AttemptIndex {
        let index = AttemptIndex::new(self.0.len()).expect("attempts are fewer than 2^32");
        push_sparingly(&mut self.0, attempt);
        index
    }

    pub fn at(&self, index: AttemptIndex) -> &Attempt {
        &self.0[index.at()]
    }

    pub fn at_mut(&mut self, index: AttemptIndex) -> &mut Attempt {
        &mut self.0[index.at()]
    }

    pub fn find(&self, id: AttemptId) -> Option<AttemptIndex> {
        // Ids are given one after the other: most stand where they would if none had ever been passed over.
        let first = self.0.first()?.id.number();
        let likely = usize::try_from(id.number().checked_sub(first)?).ok()?;
        match self.0.get(likely) {
            Some(attempt) if attempt.id == id => AttemptIndex::new(likely),
            _ => AttemptIndex::new(self.0.binary_search_by_key(&id, |attempt| attempt.id).ok()?),
        }
    }

    pub fn last_id(&self) -> Option<AttemptId> {
        self.0.last().map(|attempt| attempt.id)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_judged_in_the_order_of_section_10() {
        let state = |succeeded: &[u64], failed: &[u64], canceled: &[u64]| {
            Results::reported(succeeded, failed, canceled, 3).unwrap().state(3)
        };
        assert_eq!(state(&[], &[], &[]), UpdateState::InProgress);
        assert_eq!(state(&[0], &[1], &[]), UpdateState::InProgress);
        assert_eq!(state(&[0], &[1], &[2]), UpdateState::Failed);
        assert_eq!(state(&[0, 1], &[], &[2]), UpdateState::Cancelled);
        assert_eq!(state(&[0, 1, 2], &[], &[]), UpdateState::Succeeded);
    }

    #[test]
    fn reports_out_of_range_or_in_two_minds_say_nothing() {
        assert_eq!(Results::reported(&[2], &[], &[], 2), None);
        assert_eq!(Results::reported(&[u64::MAX], &[], &[], 32), None);
        for (succeeded, failed, canceled) in [(&[0][..], &[][..], &[0][..]), (&[0], &[0], &[]), (&[], &[0], &[0])] {
            assert_eq!(Results::reported(succeeded, failed, canceled, 2), None);
        }
        assert!(Results::reported(&[31], &[], &[], 32).is_some());
    }

    #[test]
    fn a_known_result_is_neither_changed_nor_lost() {
        let first = Results::reported(&[0], &[], &[], 2).unwrap();
        assert_eq!(first.joined(Results::reported(&[], &[0], &[], 2).unwrap()), None);
        let both = first.joined(Results::reported(&[], &[1], &[], 2).unwrap()).unwrap();
        assert_eq!(
            (both.of(0), both.of(1)),
            (Some(ArtifactResult::Succeeded), Some(ArtifactResult::Failed))
        );
    }

    #[test]
    fn an_attempt_is_small() {
        assert!(size_of::<Attempt>() <= 40, "{}", size_of::<Attempt>());
    }
}
