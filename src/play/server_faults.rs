//! Faults of the server: when each begins and ends, and how the server's process is to stand meanwhile.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::faults::{Moment, PlannedServerFault, ServerCondition};
use crate::luck::{Purpose, text_key};
use crate::measure::FaultCame;
use crate::scenario::Plan;
use crate::time::SimTime;

use super::Director;
use super::io::Directive;
use super::timeline::{Timeline, position};

/// The server draws under this key where devices have keys of their own.
const SERVER_KEY: u64 = 0;

/// The faults of the server in a run, in order of the plan.
#[derive(Debug)]
pub(super) struct ServerFaults {
    entries: Vec<Entry>,
    on: Vec<On>,
    /// Those that are over.
    over: Vec<ServerFaultWindow>,
}

/// When a fault of the server was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFaultWindow {
    /// Its position among the faults of the server.
    pub fault: usize,
    /// Its beginning.
    pub from: SimTime,
    /// Its end; `None` if the run ended before.
    pub to: Option<SimTime>,
}

/// A fault that is on.
#[derive(Clone, Copy, Debug)]
struct On {
    fault: usize,
    since: SimTime,
    /// `None` is the end of trouble.
    until: Option<SimTime>,
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
            over: Vec::new(),
        }
    }

    /// When one begins or ends next, as far as that is known.
    pub(super) fn next_due(&self, plan: &Plan, timeline: &Timeline) -> Option<SimTime> {
        let begins = (0..self.entries.len()).filter_map(|fault| self.begins(plan, timeline, fault));
        let ends = self.on.iter().filter_map(|on| on.until);
        begins.chain(ends).min()
    }

    /// Takes out what begins or ends next, up to `now`; of one moment ends come first.
    pub(super) fn next(&mut self, plan: &Plan, timeline: &Timeline, now: SimTime) -> Option<Came> {
        if let Some(at) = self.on.iter().position(|on| on.until.is_some_and(|until| until <= now)) {
            let on = self.on.remove(at);
            return Some(Came::Ended(self.end(on, now)));
        }
        let due = |fault: &usize| self.begins(plan, timeline, *fault).is_some_and(|at| at <= now);
        let fault = (0..self.entries.len()).find(due)?;
        let (entry, planned) = (&mut self.entries[fault], &plan.server_faults[fault]);
        let ordinal = entry.key.wrapping_add(u64::from(entry.begun));
        entry.begun += 1;
        if self.condition(plan).down {
            return Some(Came::Missed(fault));
        }
        let lasting = planned.lasting.clone().or_else(|| planned.kind.lasts().map(|own| own..=own));
        let lasting = lasting.map(|range| plan.luck().duration(Purpose::FaultLasting, SERVER_KEY, ordinal, range));
        self.on.push(On {
            fault,
            since: now,
            until: lasting.map(|lasting| now + lasting),
        });
        Some(Came::Began(fault))
    }

    /// Ends everything that is on; gives what that was. Nothing begins any more.
    pub(super) fn end_all(&mut self, now: SimTime) -> Vec<usize> {
        let on = std::mem::take(&mut self.on);
        on.into_iter().map(|on| self.end(on, now)).collect()
    }

    /// When each was on, in order of their beginning.
    pub(super) fn windows(&self) -> Vec<ServerFaultWindow> {
        let still_on = self.on.iter().map(|on| ServerFaultWindow {
            fault: on.fault,
            from: on.since,
            to: None,
        });
        let mut windows: Vec<_> = self.over.iter().copied().chain(still_on).collect();
        windows.sort_by_key(|window| (window.from, window.fault));
        windows
    }

    fn end(&mut self, on: On, now: SimTime) -> usize {
        self.over.push(ServerFaultWindow {
            fault: on.fault,
            from: on.since,
            to: Some(now),
        });
        on.fault
    }

    /// How the server is to stand.
    pub(super) fn condition(&self, plan: &Plan) -> ServerCondition {
        ServerCondition::under(self.on.iter().map(|on| plan.server_faults[on.fault].kind))
    }

    /// True while something bounded is on, or waits for a time that is known.
    pub(super) fn pending(&self, plan: &Plan, timeline: &Timeline) -> bool {
        let is_bounded =
            |fault: &PlannedServerFault| fault.times.is_some() && (fault.lasting.is_some() || fault.kind.lasts().is_some());
        let waits = |fault: usize| is_bounded(&plan.server_faults[fault]) && self.begins(plan, timeline, fault).is_some();
        self.on.iter().any(|on| on.until.is_some()) || (0..self.entries.len()).any(waits)
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

impl Director {
    /// Tells the recorder how many happenings of faults of the server are planned.
    pub(super) fn plan_server_faults(&mut self) {
        for (fault, planned) in Arc::clone(&self.plan).server_faults.iter().enumerate() {
            let number = self.number_of(fault);
            self.recorder.server_fault_planned(number, planned.times.map(u64::from));
        }
    }

    /// Begins and ends the faults of the server whose moment has come.
    pub(super) fn befall_server(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        let before = self.server_faults.condition(&self.plan);
        while let Some(came) = self.server_faults.next(&self.plan, &self.timeline, now) {
            match came {
                Came::Began(fault) => {
                    self.tell_server_fault(now, fault, FaultCame::Began, None);
                    self.tell_server_fault(now, fault, FaultCame::Done, None);
                }
                Came::Missed(fault) => self.tell_server_fault(now, fault, FaultCame::Missed, Some("the server was down")),
                Came::Ended(fault) => self.tell_server_fault(now, fault, FaultCame::Ended, None),
            }
        }
        let after = self.server_faults.condition(&self.plan);
        if after != before {
            out.push(Directive::Server(after));
        }
    }

    /// Trouble is over for the server.
    pub(super) fn spare_server(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        let on = self.server_faults.end_all(now);
        for fault in &on {
            self.tell_server_fault(now, *fault, FaultCame::Ended, None);
        }
        if !on.is_empty() {
            out.push(Directive::Server(self.server_faults.condition(&self.plan)));
        }
    }

    /// The run is over: what is planned for the server and has not come about will not.
    pub(super) fn miss_server_faults(&mut self, now: SimTime) {
        for fault in 0..self.plan.server_faults.len() {
            for _ in 0..self.server_faults.left(&self.plan, fault) {
                self.tell_server_fault(now, fault, FaultCame::Missed, Some("the run ended before its moment"));
            }
        }
    }

    fn tell_server_fault(&mut self, now: SimTime, fault: usize, came: FaultCame, why: Option<&str>) {
        let number = self.number_of(fault);
        self.recorder.observe_server_fault(now, number, came, why);
    }

    /// Faults of the server are numbered behind those of devices.
    fn number_of(&self, server_fault: usize) -> u16 {
        (self.plan.faults.len() + server_fault) as u16
    }
}

fn times_of(moment: &Moment) -> RangeInclusive<Duration> {
    match moment {
        Moment::Time(times) | Moment::Step { after: times, .. } => times.clone(),
        Moment::Start | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => Duration::ZERO..=Duration::ZERO,
    }
}
