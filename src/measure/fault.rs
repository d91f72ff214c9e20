//! What came of the faults of a plan, as reports and the dashboard count it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Phase;
use crate::time::SimTime;

use super::happening::FaultCame;

/// A fault as a recorder is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultName {
    /// Its name in the scenario.
    pub name: Arc<str>,
    /// Its kind, as scenarios write it.
    pub kind: Arc<str>,
}

/// Counts of one fault of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultFigures {
    /// Its name in the scenario.
    pub name: Arc<str>,
    /// Its kind, as scenarios write it.
    pub kind: Arc<str>,
    /// Devices that it was dealt to so far.
    pub devices: u64,
    /// Happenings planned so far; `None` where it strikes single messages, requests or operations, or has no end.
    pub planned: Option<u64>,
    /// Happenings that came about.
    pub done: u64,
    /// Happenings that did not, and will not.
    pub missed: u64,
    /// Messages, requests or operations that it could have struck and by its chance did not.
    pub spared: u64,
    /// Devices at which it is on.
    pub on: u64,
    /// Happenings that came about, by the [`Phase`] of the device.
    pub phases: [u64; Phase::ALL.len()],
    /// The first and the last moment at which it was seen at work.
    pub seen: Option<(SimTime, SimTime)>,
    /// Why happenings were missed, and how many.
    pub reasons: BTreeMap<Arc<str>, u64>,
}

impl FaultFigures {
    pub(super) fn new(fault: FaultName) -> Self {
        FaultFigures {
            name: fault.name,
            kind: fault.kind,
            devices: 0,
            planned: None,
            done: 0,
            missed: 0,
            spared: 0,
            on: 0,
            phases: [0; Phase::ALL.len()],
            seen: None,
            reasons: BTreeMap::new(),
        }
    }

    /// Its kind without what it takes: `http` of `http 503`.
    pub fn kind_word(&self) -> &str {
        self.kind.split(' ').next().unwrap_or_default()
    }

    /// More is planned: `each` for each of `devices`.
    pub(super) fn plan(&mut self, devices: u64, each: Option<u64>) {
        self.devices += devices;
        if let Some(each) = each {
            self.planned = Some(self.planned.unwrap_or(0) + devices * each);
        }
    }

    /// Adds what came of it at other devices.
    pub(super) fn add(&mut self, other: &FaultFigures) {
        self.devices += other.devices;
        self.planned = match (self.planned, other.planned) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0) + other.unwrap_or(0)),
        };
        self.done += other.done;
        self.missed += other.missed;
        self.spared += other.spared;
        self.on += other.on;
        self.phases.iter_mut().zip(other.phases).for_each(|(sum, more)| *sum += more);
        self.seen = match (self.seen, other.seen) {
            (Some((first, last)), Some((earlier, later))) => Some((first.min(earlier), last.max(later))),
            (one, other) => one.or(other),
        };
        for (why, count) in &other.reasons {
            *self.reasons.entry(Arc::clone(why)).or_default() += count;
        }
    }

    pub(super) fn came(&mut self, at: SimTime, came: FaultCame, phase: Phase, why: Option<&str>) {
        if came != FaultCame::Missed {
            let (first, last) = self.seen.unwrap_or((at, at));
            self.seen = Some((first.min(at), last.max(at)));
        }
        match came {
            FaultCame::Began => self.on += 1,
            FaultCame::Ended => self.on = self.on.saturating_sub(1),
            FaultCame::Done => {
                self.done += 1;
                self.phases[phase as usize] += 1;
            }
            FaultCame::Missed => {
                self.missed += 1;
                let why: Arc<str> = why.unwrap_or("it did not come about").into();
                *self.reasons.entry(why).or_default() += 1;
            }
        }
    }

    /// As [`FaultFigures::came`], for a fault that strikes no device.
    pub(super) fn came_to_server(&mut self, at: SimTime, came: FaultCame, why: Option<&str>) {
        match came {
            FaultCame::Done => self.done += 1,
            FaultCame::Began | FaultCame::Ended | FaultCame::Missed => self.came(at, came, Phase::Idle, why),
        }
    }

    pub(super) fn spare(&mut self) {
        self.spared += 1;
    }
}
