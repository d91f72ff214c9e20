//! Cohorts and their members at the start.

use std::collections::BTreeMap;

use crate::luck::Purpose;
use crate::model::{CohortName, CohortRule, DeviceIndex, Key, Pick, Selector};
use crate::scenario::check::cohorts_in;
use crate::scenario::deal::taken;
use crate::scenario::file::{CohortFile, RuleFile, WhoFile};
use crate::scenario::plan::{PlannedCohort, PlannedDevice, PlannedFleet};

use super::Resolver;

impl Resolver<'_> {
    /// Cohorts with the members that they have by hand.
    pub fn cohorts(&self, fleets: &[PlannedFleet], devices: &[PlannedDevice]) -> Vec<PlannedCohort> {
        let mut members: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        while members.len() < self.file.cohorts.len() {
            let ready = self.file.cohorts.iter().find(|cohort| {
                let known = |name: &str| name == "all" || members.contains_key(name);
                let waits = matches!(&cohort.rule, Some(RuleFile::Members(who)) if !cohorts_in(who).all(known));
                !members.contains_key(cohort.name.as_str()) && !waits
            });
            let cohort = ready.expect("checking found no cohort that is made of itself");
            let of = self.members(cohort, &members, fleets, devices);
            members.insert(&cohort.name, of);
        }
        let planned = |cohort: &CohortFile| {
            let chosen = || {
                let of = members[cohort.name.as_str()].iter().enumerate();
                of.filter(|(_, member)| **member)
                    .map(|(index, _)| DeviceIndex(index as u32))
                    .collect()
            };
            let (rule, who, members) = match &cohort.rule {
                Some(RuleFile::Where(who)) => (CohortRule::Where(who.selector.clone()), who.selector.clone(), Vec::new()),
                Some(RuleFile::Members(who)) => (CohortRule::ByHand, who.selector.clone(), chosen()),
                None => (CohortRule::ByHand, Selector::default(), chosen()),
            };
            PlannedCohort {
                name: CohortName::new(cohort.name.as_str()),
                rule,
                who,
                members,
            }
        };
        self.file.cohorts.iter().map(planned).collect()
    }

    /// Who is in a cohort at the start, by device.
    fn members(
        &self,
        cohort: &CohortFile,
        known: &BTreeMap<&str, Vec<bool>>,
        fleets: &[PlannedFleet],
        devices: &[PlannedDevice],
    ) -> Vec<bool> {
        let (who, by_hand) = match &cohort.rule {
            Some(RuleFile::Members(who)) => (who, true),
            Some(RuleFile::Where(who)) => (who, false),
            None => return vec![false; devices.len()],
        };
        let matches: Vec<bool> = devices
            .iter()
            .enumerate()
            .map(|(index, device)| {
                who.selector.matches(|key, value| match key {
                    Key::Fleet => fleets[usize::from(device.fleet)].name == value,
                    Key::Cohort => value == "all" || known.get(value).is_some_and(|members| members[index]),
                    Key::Device => device.id.as_str() == value,
                    Key::Tag(tag) => device.tags.get(tag).is_some_and(|found| found == value),
                    Key::Runs | Key::Session | Key::Phase | Key::State | Key::Step => false,
                })
            })
            .collect();
        let found = matches.iter().filter(|matched| **matched).count() as u64;
        if !by_hand {
            return matches;
        }
        self.check_found(&format!("`members` of cohort `{}`", cohort.name), who, found);
        self.pick(&who.selector, matches, found, devices)
    }

    /// What there is to say where a selection finds `found` devices.
    pub(super) fn check_found(&self, subject: &str, who: &WhoFile, found: u64) {
        let wanted = who.selector.pick;
        if found == 0 {
            self.problems.add(
                who.words.inner,
                format!("{subject} matches no device"),
                "no device meets all of the conditions at once",
            );
        } else if taken(wanted, found) == 0 {
            let hint = format!("{found} devices match, and the pick takes none of them");
            self.warnings.add(who.words.inner, format!("{subject} is empty"), hint);
        } else if let Some(Pick::Count(count)) = wanted.filter(|_| taken(wanted, u64::MAX) > found) {
            let hint = format!("{found} devices match: all of them are taken");
            self.warnings
                .add(who.words.inner, format!("{subject} wants {count} devices"), hint);
        }
    }

    /// The devices of lowest rank among the matches. All cohorts rank alike, so that 20 % contains 10 %.
    fn pick(&self, selector: &Selector, matches: Vec<bool>, found: u64, devices: &[PlannedDevice]) -> Vec<bool> {
        if selector.pick.is_none() {
            return matches;
        }
        let mut ranked: Vec<(u64, usize)> = matches
            .iter()
            .enumerate()
            .filter(|(_, matched)| **matched)
            .map(|(index, _)| (self.luck.draw(Purpose::CohortPick, devices[index].key, 0), index))
            .collect();
        ranked.sort_unstable();
        let mut picked = vec![false; matches.len()];
        for &(_, index) in ranked.iter().take(taken(selector.pick, found) as usize) {
            picked[index] = true;
        }
        picked
    }
}
