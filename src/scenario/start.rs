//! Whom a selection finds at the start of a run.

use crate::model::{CohortRule, DeviceIndex, Key, Selector};

use super::plan::{PlannedCohort, PlannedDevice, PlannedFleet};

/// The devices as they stand before the first step.
#[derive(Clone, Copy)]
pub(super) struct AtStart<'p> {
    pub fleets: &'p [PlannedFleet],
    pub devices: &'p [PlannedDevice],
    pub cohorts: &'p [PlannedCohort],
}

impl<'p> AtStart<'p> {
    /// The devices of a cohort, each with its fleet.
    pub fn devices_in(self, cohort: &str) -> impl Iterator<Item = (&'p PlannedFleet, &'p PlannedDevice)> {
        let inside = move |number: &u32| cohort == "all" || self.is_member(cohort, DeviceIndex(*number));
        let devices = (0..self.devices.len() as u32).filter(inside);
        devices.map(move |number| {
            let device = &self.devices[number as usize];
            (&self.fleets[usize::from(device.fleet)], device)
        })
    }

    /// How many devices match, the pick left aside. Session, phase, state and step are nobody's yet.
    pub fn matching(self, selector: &Selector) -> u64 {
        (0..self.devices.len() as u32)
            .filter(|&number| self.matches(selector, DeviceIndex(number)))
            .count() as u64
    }

    /// How many devices are in a cohort.
    pub fn members(self, cohort: &PlannedCohort) -> u64 {
        match &cohort.rule {
            CohortRule::ByHand => cohort.members.len() as u64,
            CohortRule::Where(rule) => self.matching(rule),
        }
    }

    /// Whether a device matches, the pick left aside.
    pub fn matches(self, selector: &Selector, device: DeviceIndex) -> bool {
        let planned = &self.devices[device.at()];
        let fleet = &self.fleets[usize::from(planned.fleet)];
        selector.matches(|key, value| match key {
            Key::Fleet => fleet.name == value,
            Key::Cohort => value == "all" || self.is_member(value, device),
            Key::Device => planned.id.as_str() == value,
            Key::Tag(tag) => planned.tags.get(tag).is_some_and(|found| found == value),
            Key::Runs => fleet.runs.iter().any(|version| version.to_string() == value),
            Key::Session | Key::Phase | Key::State | Key::Step => false,
        })
    }

    fn is_member(self, cohort: &str, device: DeviceIndex) -> bool {
        let cohort = self.cohorts.iter().find(|known| known.name.as_str() == cohort);
        cohort.is_some_and(|cohort| match &cohort.rule {
            CohortRule::ByHand => cohort.members.binary_search(&device).is_ok(),
            CohortRule::Where(rule) => self.matches(rule, device),
        })
    }
}
