//! Deployments: decisions to bring a cohort to given versions, and which attempts follow from them.

use std::collections::BTreeMap;

use crate::model::{DeploymentName, Digest, FirmwareVersion, StateReason, UpdateState};

use super::attempts::AttemptIndex;
use super::record::{CohortNumber, DeploymentNumber};

/// Every deployment, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Deployments {
    by_name: BTreeMap<DeploymentName, DeploymentNumber>,
    deployments: Vec<Deployment>,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deployment {
    pub name: DeploymentName,
    pub cohort: CohortNumber,
    /// In manifest order.
    pub packages: Vec<Package>,
    /// Position of the main package.
    pub main: Option<u8>,
    /// False once it was replaced or withdrawn.
    pub active: bool,
    /// Withdrawn by a person or a step.
    pub cancelled: bool,
    /// It makes no new offers.
    pub paused: bool,
    /// Its attempts by growing id.
    pub attempts: Vec<AttemptIndex>,
    /// How many of them are in which state.
    pub progress: BTreeMap<UpdateState, u64>,
    /// How many of them ended for which reason.
    pub reasons: BTreeMap<StateReason, u64>,
}

/// One version to bring, and its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub firmware: FirmwareVersion,
    pub digest: Digest,
}

impl Deployments {
    pub fn push(&mut self, deployment: Deployment) -> DeploymentNumber {
        let number = self.next();
        self.by_name.insert(deployment.name.clone(), number);
        self.deployments.push(deployment);
        number
    }

    /// The number of the next deployment.
    pub fn next(&self) -> DeploymentNumber {
        DeploymentNumber(u32::try_from(self.deployments.len()).expect("deployments are fewer than 2^32"))
    }

    pub fn find(&self, name: &DeploymentName) -> Option<DeploymentNumber> {
        self.by_name.get(name).copied()
    }

    pub fn at(&self, number: DeploymentNumber) -> &Deployment {
        &self.deployments[number.0 as usize]
    }

    pub fn at_mut(&mut self, number: DeploymentNumber) -> &mut Deployment {
        &mut self.deployments[number.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.deployments.len()
    }

    /// Oldest first, from the one behind `after`, which has to be there.
    pub fn behind(&self, after: Option<&DeploymentName>) -> Option<impl Iterator<Item = &Deployment>> {
        let start = match after {
            None => 0,
            Some(after) => self.find(after)?.0 as usize + 1,
        };
        Some(self.deployments[start..].iter())
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.iter()
    }
}

impl Deployment {
    /// True if it brings this version.
    pub fn brings(&self, firmware: &FirmwareVersion) -> bool {
        self.packages.iter().any(|package| package.firmware == *firmware)
    }

    /// Counts an attempt in `to` that was in `from`.
    pub fn count(&mut self, from: UpdateState, to: UpdateState) {
        if let Some(count) = self.progress.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.progress.remove(&from);
            }
        }
        *self.progress.entry(to).or_default() += 1;
    }
}
