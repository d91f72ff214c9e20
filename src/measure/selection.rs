//! Conditions of a measure or a selector, made ready to be held against devices and events many times.

use crate::model::{
    AttemptId, AttemptResult, Cause, CohortName, ConnectResult, DeviceIndex, FailureReason, Key, Phase, Selector, Session, Test,
    Transition, UpdateState,
};

use super::query::{Label, LabelKey, Metric, OwnKey};
use super::roster::{AttemptRow, Roster, Row};

/// What changes during a run and can make a device enter or leave a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Changing {
    Cohort = 0,
    Tag = 1,
    Runs = 2,
    Session = 3,
    Phase = 4,
    /// State and step.
    Attempts = 5,
}

/// One event, as far as measures can narrow it down.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// The attempt concerned. Its deployment decides `step`.
    pub(super) attempt: Option<AttemptId>,
    /// Of a visit to a phase: which.
    pub(super) phase: Option<Phase>,
    /// Bit of its result.
    pub(super) result: u16,
    pub(super) reason: Option<FailureReason>,
    pub(super) transition: Option<Transition>,
    /// Position of the fault in the plan, and whether it came about.
    pub(super) fault: Option<(u16, bool)>,
    /// Status of an answer, zero where there was none.
    pub(super) code: u16,
    /// Whether a request is ranged, or a manifest sent again.
    pub(super) flag: bool,
    /// Why it happened, where its own words say so.
    pub(super) word: &'static str,
    /// Direction of bytes.
    pub(super) dir: &'static str,
    /// What bytes are for.
    pub(super) bytes: &'static str,
}

impl Facts {
    pub(super) fn of_attempt(attempt: AttemptId) -> Self {
        Facts {
            attempt: Some(attempt),
            ..Facts::default()
        }
    }

    #[must_use]
    pub(super) fn ended(self, result: AttemptResult) -> Self {
        Facts {
            result: 1 << result as u16,
            ..self
        }
    }
}

/// Conditions, all of which must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    conditions: Vec<Condition>,
    /// Deployments named by `step` conditions that are not negated; `state` then means the state in these.
    steps: Vec<u16>,
    /// Bit set of [`Changing`].
    depends: u8,
}

#[derive(Clone, Debug)]
struct Condition {
    negated: bool,
    asked: Asked,
}

/// Names as numbers, words as bits.
#[derive(Clone, Debug)]
enum Asked {
    All,
    Fleet(Vec<u16>),
    Cohort(Vec<u16>),
    Device(Vec<DeviceIndex>),
    Tag(String, Vec<String>),
    Runs(Vec<u16>),
    Session(u16),
    Phase(u16),
    State(u16),
    Step(Vec<u16>),
    Result(u16),
    Reason(Vec<String>),
    From(u16),
    To(u16),
    Cause(u16),
    Fault(Vec<u16>),
    Done(Vec<bool>),
    Code(Vec<u16>),
    Flag(Vec<bool>),
    Word(Vec<String>),
    Dir(Vec<String>),
    Bytes(Vec<String>),
}

impl Selection {
    pub(super) fn of_labels<'a>(labels: impl IntoIterator<Item = &'a Label>, metric: Metric, roster: &Roster) -> Self {
        let mut selection = Selection::default();
        for label in labels {
            let asked = match &label.key {
                LabelKey::Who(key) => asked_of_device(key, &label.values, roster),
                LabelKey::Own(OwnKey::Result) => Asked::Result(match metric {
                    Metric::Connects | Metric::ConnectTime | Metric::ConnectTimeRaw => {
                        bits(&label.values, |word| ConnectResult::from_word(word).map(|it| it as u16))
                    }
                    _ => bits(&label.values, |word| AttemptResult::from_word(word).map(|it| it as u16)),
                }),
                LabelKey::Own(OwnKey::Reason) if !matches!(metric, Metric::Retries | Metric::Resumes | Metric::Restarts) => {
                    Asked::Reason(label.values.clone())
                }
                LabelKey::Own(OwnKey::Reason | OwnKey::Why | OwnKey::Rule | OwnKey::Type | OwnKey::Op) => {
                    Asked::Word(label.values.clone())
                }
                LabelKey::Own(OwnKey::Code) => Asked::Code(label.values.iter().map(|code| code.parse().unwrap_or(0)).collect()),
                LabelKey::Own(OwnKey::Ranged | OwnKey::Repeat) => {
                    Asked::Flag(label.values.iter().map(|word| word == "yes").collect())
                }
                LabelKey::Own(OwnKey::Dir) => Asked::Dir(label.values.clone()),
                LabelKey::Own(OwnKey::Kind) if metric != Metric::Faults => Asked::Bytes(label.values.clone()),
                LabelKey::Own(OwnKey::From) => Asked::From(phase_bits(&label.values)),
                LabelKey::Own(OwnKey::To) => Asked::To(phase_bits(&label.values)),
                LabelKey::Own(OwnKey::Cause) => {
                    Asked::Cause(bits(&label.values, |word| Cause::from_word(word).map(|it| it as u16)))
                }
                LabelKey::Own(OwnKey::Fault) => {
                    Asked::Fault(roster.faults_by(|fault| label.values.iter().any(|name| **name == *fault.name)))
                }
                LabelKey::Own(OwnKey::Kind) => {
                    Asked::Fault(roster.faults_by(|fault| label.values.iter().any(|kind| kind == fault.kind_word())))
                }
                LabelKey::Own(OwnKey::Done) => Asked::Done(label.values.iter().map(|word| word == "yes").collect()),
            };
            selection.push(label.negated, asked);
        }
        selection
    }

    pub(super) fn of_selector(selector: &Selector, roster: &Roster) -> Self {
        let mut selection = Selection::default();
        for term in &selector.terms {
            let asked = match &term.test {
                Test::All => Asked::All,
                Test::Key { key, values } => asked_of_device(key, values, roster),
            };
            selection.push(term.negated, asked);
        }
        selection
    }

    fn push(&mut self, negated: bool, asked: Asked) {
        match &asked {
            Asked::Step(steps) if !negated => self.steps.extend(steps),
            _ => {}
        }
        self.depends |= asked.changing().map_or(0, |changing| 1 << changing as u8);
        self.conditions.push(Condition { negated, asked });
    }

    /// True if a device is in the selection and a change of this kind can take it out; after the change, if one can have brought it in.
    pub(super) fn may_lose(&self, kind: Changing, device: DeviceIndex, row: &Row) -> bool {
        self.depends & 1 << kind as u8 != 0 && self.holds_device(device, row)
    }

    /// True when it depends on the deployment of an event's attempt.
    pub(super) fn asks_step(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| matches!(condition.asked, Asked::Step(_)))
    }

    /// Whether something of the whole run, of no device, is in the selection.
    pub(super) fn holds_whole(&self, facts: Facts) -> bool {
        self.conditions.iter().all(|condition| {
            let holds = match &condition.asked {
                Asked::Word(words) => words.iter().any(|word| word == facts.word),
                Asked::Fault(faults) => facts.fault.is_some_and(|(fault, _)| faults.contains(&fault)),
                Asked::Done(wanted) => facts.fault.is_some_and(|(_, done)| wanted.contains(&done)),
                Asked::All
                | Asked::Fleet(_)
                | Asked::Cohort(_)
                | Asked::Device(_)
                | Asked::Tag(..)
                | Asked::Runs(_)
                | Asked::Session(_)
                | Asked::Phase(_)
                | Asked::State(_)
                | Asked::Step(_)
                | Asked::Result(_)
                | Asked::Reason(_)
                | Asked::From(_)
                | Asked::To(_)
                | Asked::Cause(_)
                | Asked::Code(_)
                | Asked::Flag(_)
                | Asked::Dir(_)
                | Asked::Bytes(_) => false,
            };
            holds != condition.negated
        })
    }

    /// True where it names what bytes are for.
    pub(super) fn asks_bytes(&self) -> bool {
        let named = |condition: &Condition| matches!(condition.asked, Asked::Bytes(_));
        self.conditions.iter().any(named)
    }

    /// Whether a device is in the selection at this moment.
    pub(super) fn holds_device(&self, device: DeviceIndex, row: &Row) -> bool {
        self.conditions.iter().all(|condition| {
            let holds = match &condition.asked {
                Asked::Phase(phases) => phases & 1 << row.phase as u16 != 0,
                Asked::Step(steps) => reached(row, steps),
                asked => self.holds_anywhere(asked, device, row, Facts::default()),
            };
            holds != condition.negated
        })
    }

    /// Whether an event of a device is in the selection; `None` when that depends on a deployment that the server has not told of.
    pub(super) fn holds_event(&self, device: DeviceIndex, row: &Row, facts: Facts) -> Option<bool> {
        let mut known = true;
        for condition in &self.conditions {
            let holds = match &condition.asked {
                Asked::Phase(phases) => phases & 1 << facts.phase.unwrap_or(row.phase) as u16 != 0,
                Asked::Step(steps) => match facts.attempt {
                    None => reached(row, steps),
                    Some(attempt) => match row.attempt(attempt).and_then(|attempt| attempt.deployment) {
                        Some(deployment) => steps.contains(&deployment),
                        None => {
                            known = false;
                            continue;
                        }
                    },
                },
                asked => self.holds_anywhere(asked, device, row, facts),
            };
            if holds == condition.negated {
                return Some(false);
            }
        }
        known.then_some(true)
    }

    /// Conditions that mean the same for devices and events.
    fn holds_anywhere(&self, asked: &Asked, device: DeviceIndex, row: &Row, facts: Facts) -> bool {
        match asked {
            Asked::All => true,
            Asked::Fleet(fleets) => fleets.contains(&row.fleet),
            Asked::Cohort(cohorts) => row.cohorts.iter().any(|cohort| cohorts.contains(cohort)),
            Asked::Device(devices) => devices.contains(&device),
            Asked::Tag(key, values) => row.tags.get(key).is_some_and(|value| values.contains(value)),
            Asked::Runs(firmware) => row.runs.iter().any(|runs| firmware.contains(runs)),
            Asked::Session(sessions) => sessions & 1 << row.session as u16 != 0,
            Asked::State(states) if self.steps.is_empty() => states & 1 << row.state() as u16 != 0,
            Asked::State(states) => {
                let mut there = row.attempts.iter().rev().filter(|attempt| in_any(attempt, &self.steps));
                there.next().is_some_and(|attempt| states & 1 << attempt.state as u16 != 0)
            }
            Asked::Result(results) => results & facts.result != 0,
            Asked::Reason(words) => facts
                .reason
                .is_some_and(|reason| words.iter().any(|word| word == reason.word())),
            Asked::From(phases) => facts
                .transition
                .is_some_and(|transition| phases & 1 << transition.from as u16 != 0),
            Asked::To(phases) => facts
                .transition
                .is_some_and(|transition| phases & 1 << transition.to as u16 != 0),
            Asked::Cause(causes) => facts
                .transition
                .is_some_and(|transition| causes & 1 << transition.cause as u16 != 0),
            Asked::Fault(faults) => facts.fault.is_some_and(|(fault, _)| faults.contains(&fault)),
            Asked::Done(words) => facts.fault.is_some_and(|(_, done)| words.contains(&done)),
            Asked::Code(codes) => codes.contains(&facts.code),
            Asked::Flag(flags) => flags.contains(&facts.flag),
            Asked::Word(words) => words.iter().any(|word| word == facts.word),
            Asked::Dir(words) => words.iter().any(|word| word == facts.dir),
            Asked::Bytes(kinds) => kinds.iter().any(|kind| kind == facts.bytes),
            Asked::Phase(_) | Asked::Step(_) => unreachable!("devices and events tell these apart themselves"),
        }
    }
}

fn in_any(attempt: &AttemptRow, deployments: &[u16]) -> bool {
    attempt.deployment.is_some_and(|deployment| deployments.contains(&deployment))
}

fn reached(row: &Row, deployments: &[u16]) -> bool {
    row.attempts.iter().any(|attempt| in_any(attempt, deployments))
}

fn asked_of_device(key: &Key, values: &[String], roster: &Roster) -> Asked {
    match key {
        Key::Fleet => Asked::Fleet(numbers(values, |name| roster.fleets.find(&name.into()))),
        Key::Cohort if values.iter().any(|name| name == CohortName::all().as_str()) => Asked::All,
        Key::Cohort => Asked::Cohort(numbers(values, |name| roster.cohorts.find(&name.into()))),
        Key::Device => Asked::Device(values.iter().filter_map(|id| roster.find(id)).collect()),
        Key::Tag(name) => Asked::Tag(name.clone(), values.to_vec()),
        Key::Runs => Asked::Runs(numbers(values, |name| roster.firmware.find(&name.parse().ok()?))),
        Key::Session => Asked::Session(bits(values, |word| Session::from_word(word).map(|it| it as u16))),
        Key::Phase => Asked::Phase(phase_bits(values)),
        Key::State => Asked::State(bits(values, |word| UpdateState::from_word(word).map(|it| it as u16))),
        Key::Step => Asked::Step(numbers(values, |name| roster.deployments.find(&name.into()))),
    }
}

fn numbers(names: &[String], find: impl Fn(&str) -> Option<u16>) -> Vec<u16> {
    names.iter().filter_map(|name| find(name)).collect()
}

fn phase_bits(words: &[String]) -> u16 {
    bits(words, |word| Phase::from_word(word).map(|it| it as u16))
}

fn bits(words: &[String], number: impl Fn(&str) -> Option<u16>) -> u16 {
    words
        .iter()
        .filter_map(|word| number(word))
        .fold(0, |bits, number| bits | 1 << number)
}

impl Asked {
    const fn changing(&self) -> Option<Changing> {
        match self {
            Asked::Cohort(_) => Some(Changing::Cohort),
            Asked::Tag(..) => Some(Changing::Tag),
            Asked::Runs(_) => Some(Changing::Runs),
            Asked::Session(_) => Some(Changing::Session),
            Asked::Phase(_) => Some(Changing::Phase),
            Asked::State(_) | Asked::Step(_) => Some(Changing::Attempts),
            Asked::All
            | Asked::Fleet(_)
            | Asked::Device(_)
            | Asked::Result(_)
            | Asked::Reason(_)
            | Asked::From(_)
            | Asked::To(_)
            | Asked::Cause(_)
            | Asked::Fault(_)
            | Asked::Done(_)
            | Asked::Code(_)
            | Asked::Flag(_)
            | Asked::Word(_)
            | Asked::Dir(_)
            | Asked::Bytes(_) => None,
        }
    }
}
