//! When the Director looks at a run, and what it does about what it sees: judges, fires steps, sends faults, ends the run.

use std::sync::Arc;
use std::time::Duration;

use crate::measure::{Aggregate, Noted, Recorder};
use crate::model::DeploymentName;
use crate::scenario::{Ends, PlannedStep, StepVerb};
use crate::time::SimTime;
use crate::verdict::Expectation;

use super::ending::{QUIET, Stage};
use super::io::{Directive, Mode, RunEnd};
use super::{Director, verbs};

/// How often `when` and `always` are judged and the timeline grows a row.
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Seconds between two looks where nothing is judged by the second and nobody watches.
const SELDOM: u32 = 60;

impl Director {
    /// Does what is due. A late call is fine: what was missed is made up for.
    pub fn handle_timeout(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        if self.over() {
            return;
        }
        let mut second = false;
        while self.next_second <= now {
            self.recorder.second_over(self.next_second);
            self.next_second += SECOND;
            second = true;
        }
        if second {
            self.recorder.observe_findings(self.broken());
        }
        let measured = |expectation: &Expectation| self.recorder.value(&expectation.measure, now);
        self.judging.judge_timed(&self.plan, &self.timeline, now, measured);
        if second && self.judging.judge_second(&self.plan, now, measured) {
            self.stop(RunEnd::Aborted, false, out);
        }
        match self.stage {
            Stage::Trouble => self.on_trouble(now, second, out),
            Stage::Settling { until } => self.on_settling(now, until, out),
            Stage::Asked | Stage::Over { .. } => {}
        }
        self.schedule();
    }

    /// Lets several seconds pass between two looks where nothing is judged by the second: for a driver that tells everything that
    /// happened by then, though not in the order of time.
    pub fn look_seldom(&mut self) {
        self.looks_seldom = true;
        self.schedule();
    }

    /// When [`Director::handle_timeout`] is due next; `None` once the run is over.
    #[must_use]
    pub fn next_timeout(&self) -> Option<SimTime> {
        self.next_timeout
    }

    /// Fires steps, and looks whether trouble is over. Conditions are judged before the moment's own steps fire, hence without them.
    fn on_trouble(&mut self, now: SimTime, second: bool, out: &mut Vec<Directive>) {
        let plan = Arc::clone(&self.plan);
        for (index, step) in plan.steps.iter().enumerate().filter(|_| second) {
            if self.timeline.judge(index, now, || holds(&self.recorder, step, now)) {
                self.fire(index, step, now, out);
            }
        }
        while let Some(index) = self.timeline.due(now) {
            self.fire(index, &plan.steps[index], now, out);
        }
        self.send_faults(now, out);
        self.befall_server(now, out);
        if plan.ends == Ends::Settled && second && self.nothing_left(now) {
            self.stop(RunEnd::Settled, false, out);
        } else if now >= SimTime::ZERO + plan.duration {
            self.stage = Stage::Asked;
            self.spare_server(now, out);
            out.push(Directive::EndTrouble);
        }
    }

    pub(super) fn on_settling(&mut self, now: SimTime, until: SimTime, out: &mut Vec<Directive>) {
        if self.at_rest(now, self.honest_attempts()) {
            let end = match self.plan.ends {
                Ends::Settled => RunEnd::Settled,
                Ends::Duration => RunEnd::Duration,
            };
            self.stop(end, false, out);
        } else if now >= until {
            self.stop(RunEnd::Duration, true, out);
        }
    }

    fn fire(&mut self, index: usize, step: &PlannedStep, now: SimTime, out: &mut Vec<Directive>) {
        self.timeline.fire(index, now);
        self.recorder
            .note(now, None, Noted::Run(format!("step `{}` fires", step.name)));
        if let StepVerb::Deploy { packages, .. } = &step.verb {
            self.referee.deployed(&DeploymentName::new(step.name.as_str()), packages);
        }
        let actions = verbs::actions(&self.plan, step, &mut self.timeline, &mut self.recorder);
        if !self.carries_out_steps() {
            self.requests.asked_elsewhere(now);
            return;
        }
        for action in actions {
            let request = self.requests.ask(index);
            out.push(Directive::Admin { request, action });
        }
    }

    /// In real time all shards meet one server, and one of them tells it what the steps say.
    fn carries_out_steps(&self) -> bool {
        self.mode == Mode::Sim || self.plan.split.leads()
    }

    /// Sends the faults whose moment has come, or is the devices' own to see. What they must break is no longer held against a device.
    fn send_faults(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        while let Some(sending) = self.faults.send_next(&self.plan, &self.timeline, &self.recorder, now) {
            let planned = &self.plan.faults[sending.fault];
            let (devices, each) = (sending.devices.len() as u64, planned.planned_each());
            self.recorder.fault_planned(sending.fault as u16, devices, each);
            let lifts = planned.kind.lifts();
            for &device in &sending.devices {
                if !lifts.is_empty() {
                    self.referee.lift(device, lifts);
                }
                let injections = self.faults.injections(&self.plan, &sending, device);
                out.extend(
                    injections
                        .into_iter()
                        .map(|injection| Directive::Inject(device, Box::new(injection))),
                );
            }
        }
    }

    /// No arrival, timed step, timed expectation, running `for`, bounded fault or open attempt is left. Called after this second's judgements, which
    /// are the last that every `when` gets.
    fn nothing_left(&self, now: SimTime) -> bool {
        let expected = self.judging.next_timed(&self.timeline).is_some();
        let striking =
            self.faults.pending(&self.plan, &self.timeline, now) || self.server_faults.pending(&self.plan, &self.timeline);
        self.arrivals_left == 0
            && !self.timeline.pending(now)
            && !expected
            && !striking
            && self.at_rest(now, self.recorder.open_attempts())
    }

    /// No attempt is open, and nothing that was asked of the server can open one any more.
    fn at_rest(&self, now: SimTime, open: u64) -> bool {
        open == 0 && self.requests.quiet(now, QUIET)
    }

    /// Open attempts but for those of cheaters: within `duration` a run waits for them, and afterwards nobody can demand an end of them.
    pub(super) fn honest_attempts(&self) -> u64 {
        let open = self.recorder.open_attempts();
        if open == 0 {
            return 0;
        }
        open - self.plan.cheaters().filter(|device| self.recorder.is_open(*device)).count() as u64
    }

    pub(super) fn schedule(&mut self) {
        let expected = self.judging.next_timed(&self.timeline);
        let (step, end) = match self.stage {
            Stage::Trouble => {
                let of_server = self.server_faults.next_due(&self.plan, &self.timeline);
                let happens = [self.timeline.next_timed(), self.faults.next_due(&self.timeline), of_server];
                (happens.into_iter().flatten().min(), Some(SimTime::ZERO + self.plan.duration))
            }
            Stage::Asked => (None, None),
            Stage::Settling { until } => (None, Some(until)),
            Stage::Over { .. } => {
                self.next_timeout = None;
                return;
            }
        };
        let moments = [Some(self.next_look()), expected, step, end];
        self.next_timeout = moments.into_iter().flatten().min();
    }

    /// When seconds are looked at next: each of them once it is over, unless neither a judgement nor the end of the run can hang on one.
    fn next_look(&self) -> SimTime {
        let ends_from = match (&self.stage, self.plan.ends) {
            (Stage::Trouble, Ends::Duration) => None,
            (Stage::Trouble, Ends::Settled) => Some(self.last_arrival),
            (Stage::Asked | Stage::Settling { .. } | Stage::Over { .. }, _) => Some(SimTime::ZERO),
        };
        let judged_from = [self.timeline.judged_from(), self.judging.judged_from(&self.plan)];
        let counts_from = judged_from.into_iter().flatten().chain(ends_from).min();
        let passes = |seconds: &u32| {
            let end = self.next_second + SECOND * *seconds;
            counts_from.is_none_or(|from| end <= from)
        };
        let passed = (1..SELDOM).take_while(passes).last().filter(|_| self.looks_seldom);
        self.next_second + SECOND * passed.unwrap_or(0)
    }
}

/// Whether the `when` of a step holds; a share over too few devices does not.
fn holds(recorder: &Recorder, step: &PlannedStep, now: SimTime) -> bool {
    let Some(measure) = &step.when else {
        return false;
    };
    let measured = recorder.value(measure, now);
    measured.is_some_and(|measured| {
        let enough = measure.aggregate != Aggregate::Share || measured.base >= step.min_count;
        enough && measure.comparison.is_some_and(|comparison| comparison.holds(measured.value))
    })
}
