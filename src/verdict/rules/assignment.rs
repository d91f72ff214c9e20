//! No version that nobody assigned.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DeploymentName, DeviceIndex, FirmwareVersion};
use crate::time::SimTime;

use super::{Rule, Tally, row};

const NOBODY_ASSIGNED: Rule = Rule {
    name: "no-version-nobody-assigned",
    statement: "a device runs what it had at the start, or what a deployment that reached it asks for",
    protocol: &[],
};

/// Watches what runs.
#[derive(Debug)]
pub(in crate::verdict) struct Assignment {
    tally: Tally,
    /// By device: what it had at the start, as a position in `starts`.
    given: Vec<u16>,
    /// What devices had at the start: few combinations, and those of a fleet behind each other.
    starts: Vec<Vec<FirmwareVersion>>,
    /// By device: the first deployment that reached it, by its position in `deployments`.
    reached: Vec<Option<u16>>,
    /// Further ones.
    reached_later: BTreeSet<(DeviceIndex, u16)>,
    deployments: Vec<(DeploymentName, Vec<FirmwareVersion>)>,
    /// Versions without an assignment so far: in real time the server's event may come behind the device's.
    doubtful: BTreeMap<(DeviceIndex, FirmwareVersion), SimTime>,
    /// Nobody tells whom deployments reach.
    void: bool,
}

impl Assignment {
    pub(in crate::verdict) fn new<'c>(given: impl Iterator<Item = &'c [FirmwareVersion]>) -> Self {
        let mut starts: Vec<Vec<FirmwareVersion>> = Vec::new();
        let mut number = |given: &[FirmwareVersion]| {
            if starts.last().is_none_or(|last| last != given) {
                starts.push(given.to_vec());
            }
            u16::try_from(starts.len() - 1).expect("there are fewer fleets than 65,536")
        };
        Assignment {
            tally: Tally::new(&NOBODY_ASSIGNED),
            given: given.map(&mut number).collect(),
            starts,
            reached: Vec::new(),
            reached_later: BTreeSet::new(),
            deployments: Vec::new(),
            doubtful: BTreeMap::new(),
            void: false,
        }
    }

    pub(in crate::verdict) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Nobody tells whom deployments reach: nothing is judged.
    pub(in crate::verdict) fn is_void(&mut self) {
        self.void = true;
    }

    pub(in crate::verdict) fn deployed(&mut self, deployment: &DeploymentName, packages: &[FirmwareVersion]) {
        let at = self.number(deployment);
        self.deployments[at].1 = packages.to_vec();
    }

    pub(in crate::verdict) fn reached(&mut self, device: DeviceIndex, deployment: &DeploymentName) {
        let number = u16::try_from(self.number(deployment)).unwrap_or(u16::MAX);
        match row(&mut self.reached, device) {
            Some(first) if *first == number => {}
            Some(_) => {
                self.reached_later.insert((device, number));
            }
            none => *none = Some(number),
        }
    }

    pub(in crate::verdict) fn runs(&mut self, at: SimTime, device: DeviceIndex, firmware: &FirmwareVersion) {
        if self.void {
            return;
        }
        if self.assigned(device, firmware) {
            self.tally.check(true, at, device, String::new);
        } else {
            self.doubtful.entry((device, firmware.clone())).or_insert(at);
        }
    }

    /// The run is over: whatever has no assignment yet gets none.
    pub(in crate::verdict) fn finish(&mut self) {
        for ((device, firmware), at) in std::mem::take(&mut self.doubtful) {
            let assigned = self.assigned(device, &firmware);
            self.tally.check(assigned, at, device, || {
                format!("{firmware} runs, which no deployment brought to it")
            });
        }
    }

    fn assigned(&self, device: DeviceIndex, firmware: &FirmwareVersion) -> bool {
        let given = self.given.get(device.at()).map(|start| &self.starts[usize::from(*start)]);
        let first = self.reached.get(device.at()).copied().flatten();
        let later = self.reached_later.range((device, 0)..=(device, u16::MAX));
        let mut reached = first.into_iter().chain(later.map(|(_, number)| *number));
        given.is_some_and(|given| given.contains(firmware))
            || reached.any(|number| {
                let deployment = self.deployments.get(usize::from(number));
                deployment.is_some_and(|(_, packages)| packages.contains(firmware))
            })
    }

    fn number(&mut self, deployment: &DeploymentName) -> usize {
        let known = self.deployments.iter().position(|(name, _)| name == deployment);
        known.unwrap_or_else(|| {
            self.deployments.push((deployment.clone(), Vec::new()));
            self.deployments.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceIndex = DeviceIndex(0);

    fn version(text: &str) -> FirmwareVersion {
        text.parse().unwrap()
    }

    fn watch() -> Assignment {
        let mut watch = Assignment::new([[version("app@1")], [version("app@1")]].iter().map(|given| given.as_slice()));
        watch.deployed(&"one".into(), &[version("app@2"), version("modem@2")]);
        watch
    }

    #[test]
    fn what_was_given_or_deployed_is_right() {
        let mut watch = watch();
        watch.runs(SimTime::ZERO, DEVICE, &version("app@1"));
        // The device is ahead of the server's events.
        watch.runs(SimTime::from_secs(1), DEVICE, &version("app@2"));
        watch.reached(DEVICE, &"one".into());
        watch.runs(SimTime::from_secs(2), DEVICE, &version("modem@2"));
        watch.finish();
        assert_eq!((watch.tally.checks, watch.tally.broken), (3, 0));
    }

    #[test]
    fn a_version_of_somebody_elses_deployment_is_found() {
        let mut watch = watch();
        watch.reached(DeviceIndex(1), &"one".into());
        watch.runs(SimTime::from_secs(3), DEVICE, &version("app@2"));
        watch.finish();
        let first = watch.tally.first.unwrap();
        assert_eq!(
            (watch.tally.broken, first.at, first.device),
            (1, SimTime::from_secs(3), DEVICE)
        );
        assert_eq!(first.text, "app@2 runs, which no deployment brought to it");
    }

    #[test]
    fn a_version_that_nobody_ever_deployed_is_found() {
        let mut watch = watch();
        watch.reached(DEVICE, &"one".into());
        watch.runs(SimTime::ZERO, DEVICE, &version("app@3"));
        watch.finish();
        assert_eq!(watch.tally.broken, 1);
    }
}
