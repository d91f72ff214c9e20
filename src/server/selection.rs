//! Selections: which devices a *who* means at this moment, as far as a server can tell.

use crate::model::{FirmwareVersion, Key, Selector, Session, Test, UpdateState};

use super::Server;
use super::admin::invalid;
use super::io::AdminError;
use super::record::{DeploymentNumber, DeviceNumber};

impl Server {
    /// The devices that a selection means, ascending by number.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] for a pick, and for keys that a server cannot answer.
    pub(super) fn select(&self, who: &Selector) -> Result<Vec<DeviceNumber>, AdminError> {
        let chosen = self.selection(who)?;
        Ok(self.ledger.registry.numbers().filter(|&device| chosen(device)).collect())
    }

    /// Judges devices one by one.
    ///
    /// # Errors
    /// As [`Server::select`].
    pub(super) fn selection<'a>(&'a self, who: &'a Selector) -> Result<impl Fn(DeviceNumber) -> bool + use<'a>, AdminError> {
        if who.pick.is_some() {
            let message = "a selection takes every device that matches; it cannot pick some of them";
            return Err(invalid("who", message));
        }
        if let Some(key) = who.keys().find(|key| matches!(key, Key::Fleet | Key::Phase)) {
            let message =
                format!("a server knows the keys `device`, `tag.K`, `cohort`, `session`, `runs`, `state`, `step`, not `{key}`");
            return Err(invalid("who", message));
        }
        let steps = self.deployments_asked(who);
        Ok(move |device| who.matches(|key, value| self.has(device, key, value, steps.as_deref())))
    }

    /// The deployments that `step` names, where it is asked for: `state` means the state in those.
    fn deployments_asked(&self, who: &Selector) -> Option<Vec<DeploymentNumber>> {
        let mut steps = who
            .terms
            .iter()
            .filter(|term| !term.negated)
            .filter_map(|term| match &term.test {
                Test::Key { key: Key::Step, values } => Some(values),
                Test::Key { .. } | Test::All => None,
            });
        let first = steps.next()?;
        let names = first.iter().chain(steps.flatten());
        Some(
            names
                .filter_map(|name| self.ledger.deployments.find(&name.as_str().into()))
                .collect(),
        )
    }

    fn has(&self, number: DeviceNumber, key: &Key, value: &str, steps: Option<&[DeploymentNumber]>) -> bool {
        let device = self.ledger.registry.at(number);
        match key {
            Key::Device => device.id.as_str() == value,
            Key::Tag(tag) => device.tags().get(tag).is_some_and(|set| set == value),
            Key::Cohort => {
                let cohort = self.ledger.cohorts.named(value);
                cohort.is_some_and(|cohort| device.is_in(cohort))
            }
            Key::Session => self.session_of(number).word() == value,
            Key::State => self.state_in(number, steps).word() == value,
            Key::Step => {
                let asked = self.ledger.deployments.find(&value.into());
                let mut reached = device.attempts.iter().map(|&index| self.ledger.attempts.at(index).deployment);
                asked.is_some_and(|asked| reached.any(|deployment| deployment == asked))
            }
            Key::Runs => self.may_run(number) && self.installed(number).iter().any(|version| version.to_string() == value),
            Key::Fleet | Key::Phase => false,
        }
    }

    /// A server sees a device online, connected without its OTA topic, or not at all.
    pub(super) fn session_of(&self, device: DeviceNumber) -> Session {
        match (self.connections.online(device), self.connections.of(device)) {
            (Some(_), _) => Session::Online,
            (None, Some(_)) => Session::Connecting,
            (None, None) => Session::Offline,
        }
    }

    /// State of the latest attempt, of those of `steps` where they are given.
    fn state_in(&self, device: DeviceNumber, steps: Option<&[DeploymentNumber]>) -> UpdateState {
        let mut attempts = self
            .ledger
            .registry
            .at(device)
            .attempts
            .iter()
            .rev()
            .map(|&index| self.ledger.attempts.at(index));
        attempts
            .find(|attempt| steps.is_none_or(|steps| steps.contains(&attempt.deployment)))
            .map_or(UpdateState::None, |attempt| attempt.state)
    }

    /// Whether a device has told anything that says what it runs; most of a large registry has not.
    fn may_run(&self, number: DeviceNumber) -> bool {
        let device = self.ledger.registry.at(number);
        device.session.build_id.is_some() || !device.attempts.is_empty()
    }

    /// What a device runs as far as it told: the version whose build id it reports, and of other firmware the version that it last
    /// reported as succeeded. At most one version a firmware where build ids are.
    pub(super) fn installed(&self, number: DeviceNumber) -> Vec<FirmwareVersion> {
        let device = self.ledger.registry.at(number);
        let mut known: Vec<FirmwareVersion> = device
            .session
            .build_id
            .map(|id| self.ledger.catalog.built_as(&id))
            .unwrap_or_default();
        for &index in device.attempts.iter().rev() {
            let attempt = self.ledger.attempts.at(index);
            let packages = &self.ledger.deployments.at(attempt.deployment).packages;
            let succeeded = packages
                .iter()
                .enumerate()
                .filter(|(at, _)| attempt.results.succeeded >> at & 1 == 1);
            for (_, package) in succeeded {
                if known.iter().all(|version| version.slug != package.firmware.slug) {
                    known.push(package.firmware.clone());
                }
            }
        }
        known
    }
}
