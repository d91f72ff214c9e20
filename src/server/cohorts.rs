//! Cohorts: sets of devices that deployments target, by hand or by a rule on tags. `all` has number zero and holds every device.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::model::{CohortName, CohortRule, Key, Selector};

use super::record::{CohortNumber, DeploymentNumber, DeviceNumber};
use super::registry::{Device, Registry};

/// The cohort that every device is in.
pub(super) const ALL: CohortNumber = CohortNumber(0);

/// Every cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cohorts {
    by_name: BTreeMap<CohortName, CohortNumber>,
    cohorts: Vec<Cohort>,
}

/// A cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cohort {
    pub name: CohortName,
    pub rule: CohortRule,
    /// Members; kept empty for `all`.
    pub members: BTreeSet<DeviceNumber>,
    /// The deployment that holds for it.
    pub deployment: Option<DeploymentNumber>,
}

impl Cohorts {
    /// `all` alone.
    pub fn new() -> Self {
        let mut cohorts = Cohorts {
            by_name: BTreeMap::new(),
            cohorts: Vec::new(),
        };
        cohorts.add(CohortName::all(), CohortRule::Where(Selector::all()));
        cohorts
    }

    pub fn add(&mut self, name: CohortName, rule: CohortRule) -> CohortNumber {
        let number = CohortNumber(u32::try_from(self.cohorts.len()).expect("cohorts are fewer than 2^32"));
        self.by_name.insert(name.clone(), number);
        self.cohorts.push(Cohort {
            name,
            rule,
            members: BTreeSet::new(),
            deployment: None,
        });
        number
    }

    pub fn find(&self, name: &CohortName) -> Option<CohortNumber> {
        self.by_name.get(name).copied()
    }

    pub fn named(&self, name: &str) -> Option<CohortNumber> {
        self.by_name.get(name).copied()
    }

    /// Numbers by name, from the cohort behind `after`, which has to be there.
    pub fn behind(&self, after: Option<&CohortName>) -> Option<impl Iterator<Item = CohortNumber>> {
        let start = match after {
            None => Bound::Unbounded,
            Some(after) => Bound::Excluded(self.by_name.get_key_value(after)?.0),
        };
        let rest = self.by_name.range::<CohortName, _>((start, Bound::Unbounded));
        Some(rest.map(|(_, number)| *number))
    }

    pub fn at(&self, number: CohortNumber) -> &Cohort {
        &self.cohorts[number.0 as usize]
    }

    pub fn at_mut(&mut self, number: CohortNumber) -> &mut Cohort {
        &mut self.cohorts[number.0 as usize]
    }

    /// The newest deployment that holds for a cohort of `device`.
    pub fn newest_deployment(&self, device: &Device) -> Option<DeploymentNumber> {
        let own = device.cohorts().iter().chain([&ALL]);
        own.filter_map(|&cohort| self.at(cohort).deployment).max()
    }

    /// Cohorts that follow a rule and whose membership of `device` contradicts it: those to leave, those to join.
    pub fn drift(&self, device: &Device) -> (Vec<CohortNumber>, Vec<CohortNumber>) {
        let (mut leaves, mut joins) = (Vec::new(), Vec::new());
        for (number, cohort) in (0..).map(CohortNumber).zip(&self.cohorts).skip(1) {
            match (cohort.wants(device), device.is_in(number)) {
                (Some(false), true) => leaves.push(number),
                (Some(true), false) => joins.push(number),
                (None | Some(true), true) | (None | Some(false), false) => {}
            }
        }
        (leaves, joins)
    }

    /// Members of a cohort, ascending.
    pub fn members(&self, number: CohortNumber, registry: &Registry) -> Vec<DeviceNumber> {
        if number == ALL {
            registry.numbers().collect()
        } else {
            self.at(number).members.iter().copied().collect()
        }
    }

    /// How many members a cohort has.
    pub fn member_count(&self, number: CohortNumber, registry: &Registry) -> usize {
        if number == ALL {
            registry.len()
        } else {
            self.at(number).members.len()
        }
    }
}

impl Cohort {
    /// Whether the rule wants `device` as a member; `None` where there is no rule.
    fn wants(&self, device: &Device) -> Option<bool> {
        match &self.rule {
            CohortRule::ByHand => None,
            CohortRule::Where(selector) => Some(selects(selector, device)),
        }
    }
}

impl Device {
    /// True if the device is a member of `cohort`.
    pub fn is_in(&self, cohort: CohortNumber) -> bool {
        cohort == ALL || self.cohorts().binary_search(&cohort).is_ok()
    }
}

/// True if a rule on tags and id selects `device`; other keys are refused when a cohort is made and select nobody.
fn selects(selector: &Selector, device: &Device) -> bool {
    selector.matches(|key, value| match key {
        Key::Device => device.id.as_str() == value,
        Key::Tag(tag) => device.tags().get(tag).is_some_and(|set| set == value),
        Key::Fleet | Key::Cohort | Key::Runs | Key::Session | Key::Phase | Key::State | Key::Step => false,
    })
}
