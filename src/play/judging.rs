//! When each expectation is judged: at its moment, every second, or at the end.

use std::time::Duration;

use crate::measure::Measured;
use crate::scenario::Plan;
use crate::time::SimTime;
use crate::verdict::{Expectation, JudgedAt, Judgement, Modes, judge};

use super::io::Mode;
use super::timeline::{Timeline, position};

/// The moment of an expectation.
#[derive(Clone, Copy, Debug)]
enum Moment {
    End,
    At(SimTime),
    After { step: usize, by: Duration },
    Always,
}

/// An expectation of this mode.
#[derive(Debug)]
struct Entry {
    /// Position in the plan.
    expectation: usize,
    moment: Moment,
    judgement: Option<Judgement>,
}

/// The expectations that count in this mode.
#[derive(Debug)]
pub(super) struct Judging {
    entries: Vec<Entry>,
}

impl Judging {
    /// Nothing is judged yet.
    pub(super) fn new(plan: &Plan, mode: Mode) -> Judging {
        let counts = |expectation: &Expectation| match expectation.mode {
            Modes::Both => true,
            Modes::Run => mode == Mode::Run,
            Modes::Sim => mode == Mode::Sim,
        };
        let moment = |expectation: &Expectation| match &expectation.at {
            JudgedAt::End => Moment::End,
            JudgedAt::Time(at) => Moment::At(*at),
            JudgedAt::AfterStep { step, by } => Moment::After {
                step: position(plan, step).expect("the plan names only steps that it has"),
                by: *by,
            },
            JudgedAt::Always => Moment::Always,
        };
        let counted = plan
            .expectations
            .iter()
            .enumerate()
            .filter(|(_, expectation)| counts(expectation));
        Judging {
            entries: counted
                .map(|(position, expectation)| Entry {
                    expectation: position,
                    moment: moment(expectation),
                    judgement: None,
                })
                .collect(),
        }
    }

    /// The expectations that count, by their positions in the plan, with the judgements that there are.
    pub(super) fn judged(&self) -> impl Iterator<Item = (usize, Option<&Judgement>)> {
        self.entries.iter().map(|entry| (entry.expectation, entry.judgement.as_ref()))
    }

    /// When the next expectation with a moment of its own is judged.
    pub(super) fn next_timed(&self, timeline: &Timeline) -> Option<SimTime> {
        self.entries.iter().filter_map(|entry| entry.timed(timeline)).min()
    }

    /// Judges the expectations whose moment has come.
    pub(super) fn judge_timed(
        &mut self,
        plan: &Plan,
        timeline: &Timeline,
        now: SimTime,
        measured: impl Fn(&Expectation) -> Option<Measured>,
    ) {
        for entry in &mut self.entries {
            if entry.timed(timeline).is_some_and(|at| at <= now) {
                entry.judge(plan, now, &measured);
            }
        }
    }

    /// From when on something is judged every second.
    pub(super) fn judged_from(&self, plan: &Plan) -> Option<SimTime> {
        let open = self.entries.iter().filter(|entry| entry.judgement.is_none());
        let from = open.filter_map(|entry| {
            let expectation = &plan.expectations[entry.expectation];
            match entry.moment {
                Moment::Always => Some(SimTime::ZERO),
                _ => expectation.abort_on_fail.then(|| SimTime::ZERO + expectation.after),
            }
        });
        from.min()
    }

    /// Judges what is judged every second; true if an expectation that must not fail failed, which ends the run.
    pub(super) fn judge_second(&mut self, plan: &Plan, now: SimTime, measured: impl Fn(&Expectation) -> Option<Measured>) -> bool {
        let mut aborted = false;
        for entry in &mut self.entries {
            let expectation = &plan.expectations[entry.expectation];
            let aborts = expectation.abort_on_fail && now >= SimTime::ZERO + expectation.after;
            let watched = aborts || matches!(entry.moment, Moment::Always);
            if entry.judgement.is_some() || !watched {
                continue;
            }
            let value = measured(expectation);
            if value.is_some() && !judge(expectation, value) {
                entry.judgement = Some(Judgement {
                    aborted: aborts,
                    ..judgement(entry.expectation, expectation, now, value)
                });
                aborted |= aborts;
            }
        }
        aborted
    }

    /// Judges what has not been judged, and gives all judgements in order of the file. An expectation whose moment never came,
    /// because its step did not fire, fails without a value.
    pub(super) fn finish(
        mut self,
        plan: &Plan,
        timeline: &Timeline,
        now: SimTime,
        measured: impl Fn(&Expectation) -> Option<Measured>,
    ) -> Vec<Judgement> {
        for entry in &mut self.entries {
            let never_came = matches!(entry.moment, Moment::After { step, .. } if timeline.fired_at(step).is_none());
            match &entry.judgement {
                Some(_) => {}
                None if never_came => entry.judge(plan, now, &|_: &Expectation| None),
                None => entry.judge(plan, now, &measured),
            }
        }
        self.entries.into_iter().filter_map(|entry| entry.judgement).collect()
    }
}

impl Entry {
    /// The moment of an expectation that has one and was not judged, once it is known.
    fn timed(&self, timeline: &Timeline) -> Option<SimTime> {
        match (&self.judgement, self.moment) {
            (None, Moment::At(at)) => Some(at),
            (None, Moment::After { step, by }) => timeline.fired_at(step).map(|fired| fired + by),
            (None, Moment::End | Moment::Always) | (Some(_), _) => None,
        }
    }

    fn judge(&mut self, plan: &Plan, now: SimTime, measured: &impl Fn(&Expectation) -> Option<Measured>) {
        let expectation = &plan.expectations[self.expectation];
        self.judgement = Some(judgement(self.expectation, expectation, now, measured(expectation)));
    }
}

fn judgement(position: usize, expectation: &Expectation, now: SimTime, measured: Option<Measured>) -> Judgement {
    Judgement {
        expectation: position,
        judged_at: now,
        measured: measured.map(|measured| measured.value),
        passed: judge(expectation, measured),
        aborted: false,
    }
}
