//! The invariants: each watches from outside, and counts what it checked.
//!
//! A group holds the rules about one noun. What is known of a device stands in its [`View`], which rules see as it stood before the
//! event that they judge; only what is about attempts at the server, assignment and settling keeps columns of its own. The numbers
//! are those of protocol section 9, its exceptions those of section 14; `docs/invariants.md` lists them all.

mod assignment;
mod attempts;
mod boot;
mod cancellation;
mod connection;
mod download;
mod handlers;
mod images;
mod messages;
mod records;
mod reports;
mod settling;
mod supersession;
mod transitions;

use crate::model::DeviceIndex;
use crate::time::SimTime;

use super::build::Build;
use super::view::View;

pub(super) use assignment::Assignment;
pub(super) use attempts::Attempts;
pub(super) use boot::Boot;
pub(super) use cancellation::Cancellation;
pub(super) use connection::{Beginning, Connection, LineStep, follow_line};
pub(super) use download::Download;
pub(super) use handlers::{Call, Handlers};
pub(super) use images::Images;
pub(super) use messages::{Messages, flaws};
pub(super) use records::{Records, Written};
pub(super) use reports::{Reports, contradiction};
pub(super) use settling::Settling;
pub(super) use supersession::Supersession;
pub(super) use transitions::Transitions;

/// Rules of which something can be seen from the server's side.
pub(super) mod outside {
    pub(in crate::verdict) use super::cancellation::CALLED_OFF_RUNS_NOTHING;
    pub(in crate::verdict) use super::connection::{
        LAST_ATTEMPT_COVERS_THE_RECORD, METADATA_THEN_SUBSCRIPTIONS, RUN_ID_NAMES_THE_BOOT,
    };
    pub(in crate::verdict) use super::download::SECRETS_STAY;
    pub(in crate::verdict) use super::handlers::{AFTER_SUCCESS, ENDED_IS_ENDED, NOTHING_FOR_INSTALLED};
    pub(in crate::verdict) use super::images::{MAIN_SUCCEEDS_RUNNING, NO_SUCCESS_BEFORE_CONFIRMATION};
    pub(in crate::verdict) use super::messages::{
        KEYS_OF_THE_TABLE, NO_UNKNOWN_ATTEMPT, ONE_MAP, RIGHT_ATTEMPT_ERROR, WELL_FORMED_RESULTS,
    };
    pub(in crate::verdict) use super::records::FAILURE_ENDS_ALL;
    pub(in crate::verdict) use super::reports::{REPORTS_ONLY_GROW, RESULT_NEVER_CHANGES, SUPERSEDED_IS_SILENT};
}

/// A rule that holds in every run.
#[derive(Debug)]
pub struct Rule {
    /// Its name in findings.
    pub name: &'static str,
    /// What it says.
    pub statement: &'static str,
    /// Invariants of protocol section 9 that it holds; empty where the contract alone states it.
    pub protocol: &'static [u8],
}

/// When and where something happened, and what was known by then.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    /// When.
    pub(super) at: SimTime,
    /// To which device.
    pub(super) device: DeviceIndex,
    /// The device as it stood before.
    pub(super) view: &'a View,
    /// What it is built to.
    pub(super) build: &'a Build,
}

/// How one rule fared.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) rule: &'static Rule,
    pub(super) checks: u64,
    pub(super) broken: u64,
    pub(super) first: Option<Evidence>,
}

/// The first time that a rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) at: SimTime,
    pub(super) device: DeviceIndex,
    pub(super) text: String,
}

impl Tally {
    pub(super) const fn new(rule: &'static Rule) -> Self {
        Tally {
            rule,
            checks: 0,
            broken: 0,
            first: None,
        }
    }

    /// Counts a check; where it does not hold, keeps the earliest evidence.
    pub(super) fn check(&mut self, holds: bool, at: SimTime, device: DeviceIndex, evidence: impl FnOnce() -> String) {
        self.checks += 1;
        if holds {
            return;
        }
        self.broken += 1;
        if self
            .first
            .as_ref()
            .is_none_or(|first| (at, device) < (first.at, first.device))
        {
            let text = evidence();
            self.first = Some(Evidence { at, device, text });
        }
    }

    /// Counts a check of a device that is held to the rule.
    fn hold(&mut self, scene: &Scene<'_>, holds: bool, evidence: impl FnOnce() -> String) {
        if !scene.view.lifted.has_any(self.rule.protocol) {
            self.check(holds, scene.at, scene.device, evidence);
        }
    }
}

/// Grows a column of devices up to `device`, so that a watcher needs no census.
fn row<T: Default>(rows: &mut Vec<T>, device: DeviceIndex) -> &mut T {
    if rows.len() <= device.at() {
        rows.reserve_exact((device.at() + 1 - rows.len()).max(rows.len() / 8));
        rows.resize_with(device.at() + 1, T::default);
    }
    &mut rows[device.at()]
}

/// True if `part` stands somewhere in `bytes`.
pub(super) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_evidence_is_kept_and_all_is_counted() {
        const RULE: Rule = Rule {
            name: "rule",
            statement: "holds",
            protocol: &[],
        };
        let mut tally = Tally::new(&RULE);
        for (at, holds) in [(5, true), (7, false), (3, false), (9, false)] {
            tally.check(holds, SimTime::from_secs(at), DeviceIndex(at as u32), || format!("at {at}"));
        }
        assert_eq!((tally.checks, tally.broken), (4, 3));
        assert_eq!(tally.first.unwrap().text, "at 3");
    }
}
