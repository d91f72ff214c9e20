//! Rollouts: deployments made, withdrawn, held back, let go on, tried again (contract, "Deployments").

use std::collections::BTreeSet;

use crate::model::{CohortName, DeploymentName, FirmwareVersion, Slug, StateReason, UpdateState, is_word};
use crate::time::SimTime;

use super::Server;
use super::admin::{exists, invalid, unknown};
use super::attempts::ARTIFACTS_MAX;
use super::io::{AdminError, ServerOutputs};
use super::record::{DeploymentNumber, DeviceNumber, Record};

impl Server {
    pub(super) fn deploy(
        &mut self,
        deployment: DeploymentName,
        cohort: &CohortName,
        packages: Vec<FirmwareVersion>,
        main: Option<&Slug>,
        now: SimTime,
        out: &mut ServerOutputs,
    ) -> Result<(), AdminError> {
        if !is_word(deployment.as_str()) {
            let message = format!("`{deployment}` is not 1 to 64 letters, digits, `.`, `_` and `-`");
            return Err(invalid("name", message));
        }
        if self.ledger.deployments.find(&deployment).is_some() {
            return Err(exists("deployment", &deployment));
        }
        let cohort = self.ledger.cohorts.find(cohort).ok_or_else(|| unknown("cohort", cohort))?;
        let main = self.check_packages(&packages, main)?;
        let members = self.ledger.cohorts.members(cohort, &self.ledger.registry);
        self.check_ids(&deployment, members.len())?;
        let number = self.ledger.deployments.next();
        let record = Record::DeploymentCreated {
            deployment,
            cohort,
            packages,
            main,
        };
        self.commit(record, out);
        members
            .into_iter()
            .for_each(|device| self.reach(device, number, StateReason::Deployed, now, out));
        Ok(())
    }

    /// Checks what a manifest must fulfil (protocol, invariants 10 and 11); gives the position of the main package.
    fn check_packages(&self, packages: &[FirmwareVersion], main: Option<&Slug>) -> Result<Option<u8>, AdminError> {
        if !(1..=ARTIFACTS_MAX).contains(&packages.len()) {
            let message = format!("{} packages, a deployment has 1 to {ARTIFACTS_MAX}", packages.len());
            return Err(invalid("packages", message));
        }
        let mut slugs = BTreeSet::new();
        for package in packages {
            if self.ledger.catalog.versions(&package.slug).is_none() {
                return Err(unknown("firmware", &package.slug));
            }
            if self.ledger.catalog.version(package).is_none() {
                return Err(unknown("version", package));
            }
            if !slugs.insert(&package.slug) {
                return Err(invalid("packages", format!("`{}` stands twice", package.slug)));
            }
        }
        let Some(main) = main else {
            return Ok(None);
        };
        let position = packages.iter().position(|package| package.slug == *main);
        let position = position.ok_or_else(|| invalid("main", format!("`{main}` is none of the packages")))?;
        Ok(u8::try_from(position).ok())
    }

    /// Cancelling a second time changes nothing.
    pub(super) fn cancel(&mut self, name: &DeploymentName, now: SimTime, out: &mut ServerOutputs) -> Result<(), AdminError> {
        let number = self.deployment_named(name)?;
        let deployment = self.ledger.deployments.at(number);
        if deployment.cancelled {
            return Ok(());
        }
        let attempts = deployment.attempts.clone();
        self.commit(Record::DeploymentCancelled { deployment: number }, out);
        attempts.into_iter().for_each(|attempt| self.withdraw(attempt, now, out));
        Ok(())
    }

    /// Makes no offers of a deployment from here on; attempts In Progress go on. A second time changes nothing.
    pub(super) fn pause_offers(&mut self, name: &DeploymentName, out: &mut ServerOutputs) -> Result<(), AdminError> {
        let deployment = self.holding(name)?;
        if !self.ledger.deployments.at(deployment).paused {
            self.commit(Record::DeploymentPaused { deployment }, out);
        }
        Ok(())
    }

    /// Makes offers of a deployment again, those that waited first. Nothing changes if it was not paused.
    pub(super) fn resume_offers(&mut self, name: &DeploymentName, now: SimTime, out: &mut ServerOutputs) -> Result<(), AdminError> {
        let number = self.holding(name)?;
        if !self.ledger.deployments.at(number).paused {
            return Ok(());
        }
        self.commit(Record::DeploymentResumed { deployment: number }, out);
        let attempts = self.ledger.deployments.at(number).attempts.iter();
        let attempts = attempts.map(|&index| self.ledger.attempts.at(index));
        let waiting: Vec<_> = attempts
            .filter(|attempt| attempt.state == UpdateState::Pending)
            .map(|attempt| attempt.device)
            .collect();
        for device in waiting {
            self.offer(device, now, out);
        }
        Ok(())
    }

    /// Makes a new attempt for every member of the cohort whose latest attempt is one of this deployment that failed. A rejected id
    /// never revives (protocol O26), so it has to be a new one.
    pub(super) fn retry(&mut self, name: &DeploymentName, now: SimTime, out: &mut ServerOutputs) -> Result<(), AdminError> {
        let number = self.holding(name)?;
        let failed = self.failed_devices(number);
        self.check_ids(name, failed.len())?;
        for device in failed {
            self.reach(device, number, StateReason::Retried, now, out);
        }
        Ok(())
    }

    /// Devices whose latest attempt is one of this deployment and failed, and for whom it still holds; each once.
    fn failed_devices(&self, number: DeploymentNumber) -> Vec<DeviceNumber> {
        let attempts = self.ledger.deployments.at(number).attempts.iter();
        let failed = attempts.filter_map(|&index| {
            let attempt = self.ledger.attempts.at(index);
            let latest = self.ledger.registry.at(attempt.device).attempts.last();
            let again = attempt.state == UpdateState::Failed && latest == Some(&index) && self.ledger.holds(index);
            again.then_some(attempt.device)
        });
        failed.collect()
    }

    fn deployment_named(&self, name: &DeploymentName) -> Result<DeploymentNumber, AdminError> {
        self.ledger.deployments.find(name).ok_or_else(|| unknown("deployment", name))
    }

    /// The deployment of this name, which must be one that holds for its cohort.
    fn holding(&self, name: &DeploymentName) -> Result<DeploymentNumber, AdminError> {
        let number = self.deployment_named(name)?;
        let deployment = self.ledger.deployments.at(number);
        let ended = match (deployment.active, deployment.cancelled) {
            (true, _) => return Ok(number),
            (false, true) => "was cancelled",
            (false, false) => "was replaced by a newer deployment of its cohort",
        };
        let message = format!("deployment `{name}` {ended}");
        Err(AdminError::Conflict { message })
    }

    /// Refuses what would need more attempt ids than are left.
    fn check_ids(&self, name: &DeploymentName, needed: usize) -> Result<(), AdminError> {
        let left = self.next_attempt().map_or(0, |next| u64::MAX - next.number() + 1);
        if left < needed as u64 {
            let message = format!("{left} attempt ids are left, `{name}` needs {needed}");
            return Err(AdminError::Conflict { message });
        }
        Ok(())
    }
}
