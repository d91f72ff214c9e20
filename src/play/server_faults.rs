//! Faults of the server: when each begins and ends, and how the server's process is to stand meanwhile.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::faults::{Moment, PlannedServerFault, ServerCondition};
use crate::luck::{Purpose, text_key};
use crate::scenario::Plan;
use crate::time::SimTime;

use super::timeline::{Timeline, position};

/// The server draws under this key where devices have keys of their own.
const SERVER_KEY: u64 = 0;

/// The faults of the server in a run, in order of the plan.
#[derive(Debug)]
pub(super) struct ServerFaults {
    entries: Vec<Entry>,
    /// Those that are on, with the moment at which they end; `None` is the end of trouble.
    on: Vec<(usize, Option<SimTime>)>,
}

#[derive(Debug)]
struct Entry {
    /// Mixed into every draw.
    key: u64,
    /// The step that its times count from.
    after: Option<usize>,
    /// How many have begun, or were passed over.
    begun: u32,
}

/// What came of a fault of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It has begun.
    Began(usize),
    /// It was due while the server was down.
    Missed(usize),
    /// It is over.
    Ended(usize),
}

impl ServerFaults {
    pub(super) fn new(plan: &Plan) -> ServerFaults {
        let entry = |fault: &PlannedServerFault| Entry {
            key: text_key(&fault.name),
            after: match &fault.at {
                Moment::Step { step, .. } => position(plan, step),
                Moment::Start | Moment::Time(_) | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => None,
            },
            begun: 0,
        };
        ServerFaults {
            entries: plan.server_faults.iter().map(entry).collect(),
            on: Vec::new(),
        }
    }

    /// When one begins or ends next, as far as that is known.
    pub(super) fn next_due(&self, plan: &Plan, timeline: &Timeline) -> Option<SimTime> {
        let begins = (0..self.entries.len()).filter_map(|fault| self.begins(plan, timeline, fault));
        let ends = self.on.iter().filter_map(|(_, end)| *end);
        begins.chain(ends).min()
    }

    /// Takes out what begins or ends next, up to `now`; of one moment ends come first.
    pub(super) fn next(&mut self, plan: &Plan, timeline: &Timeline, now: SimTime) -> Option<Came> {
        if let Some(at) = self.on.iter().position(|(_, end)| end.is_some_and(|end| end <= now)) {
            return Some(Came::Ended(self.on.remove(at).0));
        }
        let due = |fault: &usize| self.begins(plan, timeline, *fault).is_some_and(|at| at <= now);
        let fault = (0..self.entries.len()).find(due)?;
        let at = self.begins(plan, timeline, fault)?;
        let (entry, planned) = (&mut self.entries[fault], &plan.server_faults[fault]);
        let ordinal = entry.key.wrapping_add(u64::from(entry.begun));
        entry.begun += 1;
        if self.condition(plan).down {
            return Some(Came::Missed(fault));
        }
        let lasting = planned.lasting.clone().or_else(|| planned.kind.lasts().map(|own| own..=own));
        let lasting = lasting.map(|range| plan.luck().duration(Purpose::FaultLasting, SERVER_KEY, ordinal, range));
        self.on.push((fault, lasting.map(|lasting| at.max(now) + lasting)));
        Some(Came::Began(fault))
    }

    /// Ends everything that is on; gives what that was. Nothing begins any more.
    pub(super) fn end_all(&mut self) -> Vec<usize> {
        self.on.drain(..).map(|(fault, _)| fault).collect()
    }

    /// How the server is to stand.
    pub(super) fn condition(&self, plan: &Plan) -> ServerCondition {
        ServerCondition::under(self.on.iter().map(|(fault, _)| plan.server_faults[*fault].kind))
    }

    /// True while something bounded is on, or waits for a time that is known.
    pub(super) fn pending(&self, plan: &Plan, timeline: &Timeline) -> bool {
        let waits = |fault: usize| plan.server_faults[fault].times.is_some() && self.begins(plan, timeline, fault).is_some();
        self.on.iter().any(|(_, end)| end.is_some()) || (0..self.entries.len()).any(waits)
    }

    /// How many of a fault are left that were planned and have not begun.
    pub(super) fn left(&self, plan: &Plan, fault: usize) -> u64 {
        let planned = plan.server_faults[fault].times.unwrap_or(0);
        u64::from(planned.saturating_sub(self.entries[fault].begun))
    }

    /// When the next one of a fault begins, if there is one and that is known.
    fn begins(&self, plan: &Plan, timeline: &Timeline, fault: usize) -> Option<SimTime> {
        let (entry, planned) = (&self.entries[fault], &plan.server_faults[fault]);
        if planned.times.is_some_and(|times| entry.begun >= times) {
            return None;
        }
        let origin = match entry.after {
            Some(step) => timeline.fired_at(step)?,
            None => SimTime::ZERO,
        };
        // Repeated ones follow the first, whose moment is drawn; others have a moment of their own each.
        let (draw, later) = match planned.every {
            Some(every) => (0, every.saturating_mul(entry.begun)),
            None => (entry.begun, Duration::ZERO),
        };
        let ordinal = entry.key.wrapping_add(u64::from(draw));
        let moment = plan
            .luck()
            .duration(Purpose::FaultMoment, SERVER_KEY, ordinal, times_of(&planned.at));
        Some(origin + moment + later)
    }
}

fn times_of(moment: &Moment) -> RangeInclusive<Duration> {
    match moment {
        Moment::Time(times) | Moment::Step { after: times, .. } => times.clone(),
        Moment::Start | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => Duration::ZERO..=Duration::ZERO,
    }
}
