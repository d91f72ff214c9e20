//! What the auditor remembers: connections, devices, attempts, deployments. Small, for a simulation has a hundred thousand of each.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use bytes::Bytes;

use crate::model::{ArtifactResult, AttemptId, CohortName, DeploymentName, DeviceIndex, Few, FirmwareVersion, UpdateState};
use crate::time::SimTime;
use crate::wire::api::AttemptView;
use crate::wire::ota::{ReadManifest, Report};
use crate::wire::{ImageAnswer, ImageRequest};

/// A device's connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) device: DeviceIndex,
    pub(super) subscribed: bool,
    /// It has subscribed before.
    pub(super) again: bool,
    /// When something about an attempt last passed, either way.
    pub(super) busy_at: SimTime,
}

impl Line {
    /// One on which nothing has passed.
    pub(super) fn of(device: DeviceIndex) -> Line {
        Line {
            device,
            subscribed: false,
            again: false,
            busy_at: SimTime::ZERO,
        }
    }
}

/// A device.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) current: Option<AttemptId>,
    /// The greatest attempt that it has had, and the greatest whose manifest it was sent.
    pub(super) newest: Option<AttemptId>,
    pub(super) sent: Option<AttemptId>,
}

/// A deployment, as it was asked for.
#[derive(Debug)]
pub(super) struct Rollout {
    pub(super) name: DeploymentName,
    pub(super) cohort: CohortName,
    /// In manifest order.
    pub(super) packages: Vec<FirmwareVersion>,
}

/// Number of a deployment, from one: a hundred thousand attempts name one, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RolloutNumber(NonZeroU32);

impl RolloutNumber {
    /// That of the deployment behind so many others.
    fn behind(others: usize) -> RolloutNumber {
        RolloutNumber(NonZeroU32::MIN.saturating_add(others as u32))
    }

    fn at(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// An attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) device: DeviceIndex,
    /// Its deployment; `None` if nobody was seen to ask for it.
    pub(super) rollout: Option<RolloutNumber>,
    pub(super) state: UpdateState,
    succeeded: u32,
    failed: u32,
    canceled: u32,
    /// Prints of the secrets, by artifact, once its manifest was sent.
    secrets: Few<u64>,
}

/// Deployments and which of them holds for a cohort.
#[derive(Debug, Default)]
pub(super) struct Rollouts {
    all: Vec<Rollout>,
    by_name: BTreeMap<DeploymentName, RolloutNumber>,
    holding: BTreeMap<CohortName, RolloutNumber>,
    /// Images of the catalog.
    images: BTreeMap<FirmwareVersion, Bytes>,
}

impl Rollouts {
    /// Takes a deployment in; from here on it holds for its cohort, if it is `active`.
    pub(super) fn add(&mut self, rollout: Rollout, active: bool) {
        let number = RolloutNumber::behind(self.all.len());
        if active {
            self.holding.insert(rollout.cohort.clone(), number);
        }
        self.by_name.insert(rollout.name.clone(), number);
        self.all.push(rollout);
    }

    /// A deployment holds for nobody any more.
    pub(super) fn cancel(&mut self, name: &DeploymentName) {
        let cancelled = self.find(name);
        self.holding.retain(|_, holding| Some(*holding) != cancelled);
    }

    /// Forgets every deployment; images stay what they are.
    pub(super) fn forget(&mut self) {
        self.all.clear();
        self.by_name.clear();
        self.holding.clear();
    }

    pub(super) fn find(&self, name: &DeploymentName) -> Option<RolloutNumber> {
        self.by_name.get(name).copied()
    }

    pub(super) fn store(&mut self, firmware: FirmwareVersion, image: Bytes) {
        self.images.insert(firmware, image);
    }

    /// The number of artifacts of an attempt; `None` where its deployment is not known.
    pub(super) fn artifacts(&self, attempt: &Attempt) -> Option<usize> {
        Some(self.all[attempt.rollout?.at()].packages.len())
    }

    /// The image behind an artifact of an attempt, if it is known.
    fn image(&self, attempt: &Attempt, index: u8) -> Option<&Bytes> {
        let package = self.all[attempt.rollout?.at()].packages.get(usize::from(index))?;
        self.images.get(package)
    }

    /// Whether an attempt's deployment still holds for its device, which is in these cohorts beside `all`.
    pub(super) fn holds(&self, attempt: &Attempt, cohorts: &[CohortName]) -> bool {
        let Some(number) = attempt.rollout else { return false };
        let cohort = &self.all[number.at()].cohort;
        let member = *cohort == CohortName::all() || cohorts.contains(cohort);
        member && self.holding.get(cohort) == Some(&number)
    }

    /// Whether an answer to an image request is right, and whether the secret was; `None` where that cannot be told.
    pub(super) fn right(
        &self,
        attempt: &Attempt,
        index: u8,
        request: &ImageRequest<'_>,
        answer: &ImageAnswer,
    ) -> Option<(bool, bool)> {
        let secret = attempt.secrets.get(usize::from(index))?;
        let given = request.authorization.and_then(|value| value.strip_prefix("OtaSecret "));
        let right = given.is_some_and(|given| print(given.as_bytes()) == *secret);
        let image = self.image(attempt, index);
        let holds = match (right, answer.status) {
            (false, status) => matches!(status, 401 | 403) && answer.body.is_empty(),
            (true, 200) => image.is_none_or(|image| same(&answer.body, image)),
            (true, 206) => answer.content_range.is_some_and(|range| {
                let whole = range.last.checked_sub(range.first).map(|beyond| beyond + 1) == Some(answer.body.len() as u64);
                whole
                    && image.is_none_or(|image| {
                        let part = image.get(range.first as usize..=range.last as usize);
                        range.total == image.len() as u64 && part.is_some_and(|part| same(&answer.body, part))
                    })
            }),
            (true, status) => status == 416,
        };
        Some((holds, right))
    }
}

impl Attempt {
    pub(super) fn of(device: DeviceIndex, rollout: Option<RolloutNumber>) -> Self {
        Attempt {
            device,
            rollout,
            state: UpdateState::None,
            succeeded: 0,
            failed: 0,
            canceled: 0,
            secrets: Few::None,
        }
    }

    /// As the server showed it before the watch began.
    pub(super) fn had(device: DeviceIndex, rollout: Option<RolloutNumber>, view: &AttemptView) -> Self {
        let with = |result: ArtifactResult| {
            let results = view.results.iter().take(32).enumerate();
            let matching = results.filter(|(_, known)| known.as_deref() == Some(result.word()));
            matching.fold(0, |mask, (index, _)| mask | 1 << index)
        };
        Attempt {
            state: view.state,
            succeeded: with(ArtifactResult::Succeeded),
            failed: with(ArtifactResult::Failed),
            canceled: with(ArtifactResult::Canceled),
            ..Attempt::of(device, rollout)
        }
    }

    /// Its manifest was sent.
    pub(super) fn offer(&mut self, manifest: &ReadManifest<'_>) {
        let secrets = manifest.artifacts.iter().map(|artifact| print(artifact.secret));
        self.secrets = secrets.collect();
    }

    /// Takes in a report on `count` artifacts; gives the state that it must lead to, or `None` if it must change nothing (protocol
    /// O12, O25, section 10).
    pub(super) fn report(&mut self, report: &Report, count: usize) -> Option<UpdateState> {
        let Report::Results {
            succeeded,
            failed,
            canceled,
        } = report
        else {
            return Some(UpdateState::Failed);
        };
        let mask = |indexes: &[u64]| {
            indexes
                .iter()
                .try_fold(0u32, |mask, &index| (index < count as u64).then(|| mask | 1 << index))
        };
        let (succeeded, failed, canceled) = (
            self.succeeded | mask(succeeded)?,
            self.failed | mask(failed)?,
            self.canceled | mask(canceled)?,
        );
        if succeeded & failed != 0 || succeeded & canceled != 0 || failed & canceled != 0 {
            return None;
        }
        (self.succeeded, self.failed, self.canceled) = (succeeded, failed, canceled);
        Some(if ((succeeded | failed | canceled).count_ones() as usize) < count {
            UpdateState::InProgress
        } else if failed != 0 {
            UpdateState::Failed
        } else if canceled != 0 {
            UpdateState::Cancelled
        } else {
            UpdateState::Succeeded
        })
    }
}

/// Attempt and index of `/a/{attempt}/{index}`.
pub(super) fn named(path: &str) -> Option<(AttemptId, u8)> {
    let (attempt, index) = path.strip_prefix("/a/")?.split_once('/')?;
    Some((AttemptId::new(attempt.parse().ok()?)?, index.parse().ok()?))
}

/// True for equal bytes; those that lie in one place need no reading.
fn same(one: &[u8], other: &[u8]) -> bool {
    std::ptr::eq(one, other) || one == other
}

/// FNV-1a over bytes, enough to tell a secret from another, and to deal devices out.
pub(super) fn print(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |print, &byte| {
        (print ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_a_device_and_of_its_attempt_is_small() {
        assert!(size_of::<Known>() <= 24, "{}", size_of::<Known>());
        assert!(size_of::<Attempt>() <= 40, "{}", size_of::<Attempt>());
    }
}
