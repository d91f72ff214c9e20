//! The steps of a plan: which have fired, which may, and whether any can still happen.
//!
//! A step without `when` fires at its moment. One with `when` is judged once a second from its moment on, and fires when the
//! measure has held at every judgement for as long as `for` says.

use std::time::Duration;

use crate::scenario::{Plan, PlannedStep, StepTime};
use crate::time::SimTime;

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It may still fire; its `when` has held since this moment.
    Waiting { held_since: Option<SimTime> },
    /// Its `when` has held for long enough, and it fires then.
    Late(SimTime),
    /// It fired then.
    Fired(SimTime),
    /// A `cancel` that fired earlier named it: it never fires.
    Withdrawn,
}

/// Where a step's earliest moment comes from.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    At(SimTime),
    After { step: usize, by: Duration },
}

/// What the timeline keeps of a step.
#[derive(Clone, Copy, Debug)]
struct Entry {
    anchor: Anchor,
    conditional: bool,
    held_for: Duration,
    late: Duration,
    standing: Standing,
    /// A `pause` that fired later holds back what it deploys.
    paused: bool,
}

/// The steps of a run, by their position in the plan.
#[derive(Debug)]
pub(super) struct Timeline {
    entries: Vec<Entry>,
}

impl Timeline {
    /// The timeline at the start of a run.
    pub(super) fn new(plan: &Plan) -> Timeline {
        let entry = |step: &PlannedStep| Entry {
            anchor: match &step.at {
                StepTime::At(at) => Anchor::At(*at),
                StepTime::After { step, by } => Anchor::After {
                    step: position(plan, step).expect("the plan names only steps that it has"),
                    by: *by,
                },
            },
            conditional: step.when.is_some(),
            held_for: step.held_for,
            late: step.late,
            standing: Standing::Waiting { held_since: None },
            paused: false,
        };
        Timeline {
            entries: plan.steps.iter().map(entry).collect(),
        }
    }

    /// Marks a step as fired.
    pub(super) fn fire(&mut self, step: usize, now: SimTime) {
        self.entries[step].standing = Standing::Fired(now);
    }

    /// Makes sure that a step that has not fired never does. True if it had fired already.
    pub(super) fn withdraw(&mut self, step: usize) -> bool {
        let standing = &mut self.entries[step].standing;
        match standing {
            Standing::Fired(_) => true,
            Standing::Waiting { .. } | Standing::Late(_) | Standing::Withdrawn => {
                *standing = Standing::Withdrawn;
                false
            }
        }
    }

    /// Notes whether what a step deployed is held back.
    pub(super) fn pause(&mut self, step: usize, paused: bool) {
        self.entries[step].paused = paused;
    }

    /// True while what a step deployed is held back.
    pub(super) fn is_paused(&self, step: usize) -> bool {
        self.entries[step].paused
    }

    /// Judges one conditional step for this second; true if it is to fire. `holds` is asked only if its moment has come.
    pub(super) fn judge(&mut self, step: usize, now: SimTime, holds: impl FnOnce() -> bool) -> bool {
        let come = self.earliest(step).is_some_and(|earliest| earliest <= now);
        let entry = &mut self.entries[step];
        let Standing::Waiting { held_since } = &mut entry.standing else {
            return false;
        };
        if !entry.conditional || !come {
            return false;
        }
        *held_since = holds().then(|| held_since.unwrap_or(now));
        let fires = held_since.is_some_and(|since| now.since(since) >= entry.held_for);
        if fires && !entry.late.is_zero() {
            entry.standing = Standing::Late(now + entry.late);
            return false;
        }
        fires
    }

    /// From when on a `when` is judged once a second, as far as that is known.
    pub(super) fn judged_from(&self) -> Option<SimTime> {
        let waits = |step: &usize| {
            let entry = &self.entries[*step];
            entry.conditional && matches!(entry.standing, Standing::Waiting { .. })
        };
        (0..self.entries.len())
            .filter(waits)
            .filter_map(|step| self.earliest(step))
            .min()
    }

    /// The first step whose moment is known and has come, in order of the file.
    pub(super) fn due(&self, now: SimTime) -> Option<usize> {
        (0..self.entries.len()).find(|&step| self.timed(step).is_some_and(|at| at <= now))
    }

    /// When the next step fires whose moment is known.
    pub(super) fn next_timed(&self) -> Option<SimTime> {
        (0..self.entries.len()).filter_map(|step| self.timed(step)).min()
    }

    /// The waiting step that can fire first, as far as is known, with its earliest moment.
    pub(super) fn next(&self) -> Option<(usize, Option<SimTime>)> {
        let waiting = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(step, entry)| match entry.standing {
                Standing::Waiting { .. } => Some((step, self.earliest(step))),
                Standing::Late(at) => Some((step, Some(at))),
                Standing::Fired(_) | Standing::Withdrawn => None,
            });
        waiting.min_by_key(|(step, earliest)| (earliest.is_none(), *earliest, *step))
    }

    /// True while a step must be waited for: its moment is known and lies ahead, or its `when` holds and `for` is running.
    pub(super) fn pending(&self, now: SimTime) -> bool {
        self.entries.iter().enumerate().any(|(step, entry)| match entry.standing {
            Standing::Waiting { held_since: Some(_) } | Standing::Late(_) => true,
            Standing::Waiting { held_since: None } => self
                .earliest(step)
                .is_some_and(|earliest| !entry.conditional || earliest > now),
            Standing::Fired(_) | Standing::Withdrawn => false,
        })
    }

    /// When a step fired, if it did.
    pub(super) fn fired_at(&self, step: usize) -> Option<SimTime> {
        match self.entries[step].standing {
            Standing::Fired(at) => Some(at),
            Standing::Waiting { .. } | Standing::Late(_) | Standing::Withdrawn => None,
        }
    }

    /// When a step that has not fired does, if that is known: it has no `when`, or its `when` is behind it.
    fn timed(&self, step: usize) -> Option<SimTime> {
        let entry = &self.entries[step];
        match entry.standing {
            Standing::Late(at) => Some(at),
            Standing::Waiting { .. } if !entry.conditional => self.earliest(step),
            Standing::Waiting { .. } | Standing::Fired(_) | Standing::Withdrawn => None,
        }
    }

    /// The earliest moment of a step; `None` while the step that it follows has not fired.
    fn earliest(&self, step: usize) -> Option<SimTime> {
        match self.entries[step].anchor {
            Anchor::At(at) => Some(at),
            Anchor::After { step, by } => self.fired_at(step).map(|fired| fired + by),
        }
    }
}

/// Position of the step with this name.
pub(super) fn position(plan: &Plan, name: &str) -> Option<usize> {
    plan.steps.iter().position(|step| step.name == name)
}
