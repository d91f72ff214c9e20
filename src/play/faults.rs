//! Faults on their way to devices: whom each one concerns, when it is sent, how much of it is left, and for how long it holds the run.
//!
//! A moment that only the device's own edge can see travels with the fault from the start of the run. One that is a time, or a step's,
//! is waited for here: whom it concerns is then judged as the devices stand, and each device gets a moment of its own.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::faults::{Happening, Injection, LinkProfile, Moment, Narrowing, PlannedFault, Trigger};
use crate::luck::{Purpose, text_key};
use crate::measure::Recorder;
use crate::model::{DeviceIndex, Key, Transition};
use crate::scenario::Plan;
use crate::time::SimTime;

use super::pick::picked;
use super::timeline::{Timeline, position};

/// The faults of a run, in order of the plan.
#[derive(Debug)]
pub(super) struct Faults {
    entries: Vec<Entry>,
    /// Something bounded is due, or on, until then.
    busy_until: SimTime,
}

/// One fault of the plan.
#[derive(Debug)]
struct Entry {
    /// Mixed into every draw.
    key: u64,
    anchor: Anchor,
    only: Arc<[Narrowing]>,
    link: Option<Arc<LinkProfile>>,
    image: Option<Bytes>,
    /// Whom it was sent to, by device, with the happenings that are left where they are counted.
    sent: Option<Vec<(DeviceIndex, u64)>>,
}

/// When a fault is sent.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    At(SimTime),
    After { step: usize, by: Duration },
}

/// A fault that is sent: to whom, and what.
#[derive(Debug)]
pub(super) struct Sending {
    /// Position in the plan.
    pub(super) fault: usize,
    /// To whom.
    pub(super) devices: Vec<DeviceIndex>,
    /// From when its times count.
    origin: SimTime,
}

impl Faults {
    pub(super) fn new(plan: &Plan) -> Faults {
        let entry = |fault: &PlannedFault| Entry {
            key: text_key(&fault.name),
            anchor: match &fault.at {
                Moment::Start | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => Anchor::At(SimTime::ZERO),
                Moment::Time(times) => Anchor::At(SimTime::ZERO + *times.start()),
                Moment::Step { step, after } => Anchor::After {
                    step: position(plan, step).expect("the plan names only steps that it has"),
                    by: *after.start(),
                },
            },
            only: fault.only.clone().into(),
            link: fault.kind.link().and_then(|name| plan.links.get(name).cloned()),
            image: fault.kind.image().and_then(|firmware| plan.image_of(firmware)),
            sent: None,
        };
        Faults {
            entries: plan.faults.iter().map(entry).collect(),
            busy_until: SimTime::ZERO,
        }
    }

    /// When the next fault is sent, as far as that is known.
    pub(super) fn next_due(&self, timeline: &Timeline) -> Option<SimTime> {
        self.entries.iter().filter_map(|entry| entry.due(timeline)).min()
    }

    /// Takes out the next fault that is to be sent; whom it concerns is judged now.
    pub(super) fn send_next(&mut self, plan: &Plan, timeline: &Timeline, recorder: &Recorder, now: SimTime) -> Option<Sending> {
        let due = |entry: &Entry| entry.due(timeline).is_some_and(|due| due <= now);
        let fault = self.entries.iter().position(due)?;
        let planned = &plan.faults[fault];
        let origin = match (&planned.at, self.entries[fault].anchor) {
            (Moment::Step { .. }, Anchor::After { step, .. }) => timeline.fired_at(step).unwrap_or(now),
            _ => SimTime::ZERO,
        };
        let matching = match planned.at {
            Moment::Time(_) | Moment::Step { .. } => recorder.matching(&planned.who),
            Moment::Start | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => {
                plan.matching_at_start(&planned.who)
            }
        };
        let devices = picked_here(plan, planned, matching, self.entries[fault].key);
        let each = planned.planned_each().unwrap_or(0);
        self.entries[fault].sent = Some(devices.iter().map(|device| (*device, each)).collect());
        if let (Moment::Start | Moment::Time(_) | Moment::Step { .. }, Some(longest)) = (&planned.at, longest(planned))
            && !devices.is_empty()
        {
            self.busy_until = self.busy_until.max(origin + *times_of(&planned.at).end() + longest);
        }
        Some(Sending { fault, devices, origin })
    }

    /// What one device of a sending is given.
    pub(super) fn injections(&self, plan: &Plan, sending: &Sending, device: DeviceIndex) -> Vec<Injection> {
        let planned = &plan.faults[sending.fault];
        let entry = &self.entries[sending.fault];
        let injection = |first: u32, trigger: Trigger, times: Option<u32>| Injection {
            fault: sending.fault as u16,
            key: entry.key,
            first,
            kind: planned.kind.clone(),
            trigger,
            lasting: planned.lasting.clone().or_else(|| planned.kind.lasts().map(|own| own..=own)),
            every: planned.every,
            times,
            chance: planned.chance,
            only: Arc::clone(&entry.only),
            link: entry.link.clone(),
            image: entry.image.clone(),
        };
        if let Some(trigger) = Trigger::of_moment(&planned.at) {
            return vec![injection(0, trigger, planned.times)];
        }
        let times = times_of(&planned.at);
        let at = |first: u32| {
            let ordinal = entry.key.wrapping_add(u64::from(first));
            let key = plan.devices[device.at()].key;
            Trigger::At(sending.origin + plan.luck().duration(Purpose::FaultMoment, key, ordinal, times.clone()))
        };
        match planned.every {
            Some(_) => vec![injection(0, at(0), planned.times)],
            None => (0..planned.times.unwrap_or(1))
                .map(|first| injection(first, at(first), Some(1)))
                .collect(),
        }
    }

    /// Something came of a fault.
    pub(super) fn came(&mut self, plan: &Plan, at: SimTime, device: DeviceIndex, fault: usize, happening: Happening) {
        match happening {
            Happening::Done | Happening::Missed(_) => {
                if let Some(left) = self.entries[fault].left(device) {
                    *left = left.saturating_sub(1);
                }
            }
            Happening::Began => {
                if let Some(longest) = longest_once(&plan.faults[fault]) {
                    self.busy_until = self.busy_until.max(at + longest);
                }
            }
            Happening::Spared | Happening::Ended => {}
        }
    }

    /// A device enters a phase: what strikes a while later is waited for.
    pub(super) fn entered(&mut self, plan: &Plan, at: SimTime, device: DeviceIndex, transition: Transition) {
        for (entry, planned) in self.entries.iter_mut().zip(&plan.faults) {
            let Moment::Phase { phase, after } = &planned.at else {
                continue;
            };
            if *phase == transition.to
                && let Some(longest) = longest(planned)
                && entry.left(device).is_some_and(|left| *left > 0)
            {
                self.busy_until = self.busy_until.max(at + *after.end() + longest);
            }
        }
    }

    /// True while something bounded is due, on, or waits for a time that is known.
    pub(super) fn pending(&self, plan: &Plan, timeline: &Timeline, now: SimTime) -> bool {
        let waits = |(entry, planned): (&Entry, &PlannedFault)| entry.due(timeline).is_some() && longest(planned).is_some();
        self.busy_until > now || self.entries.iter().zip(&plan.faults).any(waits)
    }

    /// What never came about, at the end: by fault and device, how often, and why. Faults that were never sent are among it where it is
    /// known whom they would have concerned.
    pub(super) fn unmet(&mut self, plan: &Plan) -> Vec<(usize, DeviceIndex, u64, &'static str)> {
        let mut unmet = Vec::new();
        for (fault, (entry, planned)) in self.entries.iter_mut().zip(&plan.faults).enumerate() {
            let each = planned.planned_each().unwrap_or(0);
            let known = !planned.who.keys().any(Key::changes);
            let why = match (&entry.sent, &planned.at) {
                (None, Moment::Step { .. }) => "its step did not fire",
                (None, _) => "the run ended before its moment",
                (Some(_), Moment::Phase { .. } | Moment::Progress { .. }) => "the phase was not entered",
                (Some(_), Moment::Flash { .. }) => "no attempt was accepted",
                (Some(_), Moment::Start | Moment::Time(_) | Moment::Step { .. }) => "the run ended before its moment",
            };
            let left = match entry.sent.take() {
                Some(sent) => sent,
                None if known => {
                    let matching = plan.matching_at_start(&planned.who);
                    let devices = picked_here(plan, planned, matching, entry.key);
                    devices.into_iter().map(|device| (device, each)).collect()
                }
                None => Vec::new(),
            };
            let left = left.into_iter().filter(|(_, left)| *left > 0);
            unmet.extend(left.map(|(device, left)| (fault, device, left, why)));
        }
        unmet
    }

    /// Whether a fault was sent to anybody yet.
    pub(super) fn is_sent(&self, fault: usize) -> bool {
        self.entries[fault].sent.is_some()
    }
}

impl Entry {
    /// When it is sent, if it was not and that is known.
    fn due(&self, timeline: &Timeline) -> Option<SimTime> {
        match (&self.sent, self.anchor) {
            (Some(_), _) => None,
            (None, Anchor::At(at)) => Some(at),
            (None, Anchor::After { step, by }) => timeline.fired_at(step).map(|fired| fired + by),
        }
    }

    /// Happenings that are left at a device.
    fn left(&mut self, device: DeviceIndex) -> Option<&mut u64> {
        let sent = self.sent.as_mut()?;
        let at = sent.binary_search_by_key(&device, |(device, _)| *device).ok()?;
        Some(&mut sent[at].1)
    }
}

/// Those of a fault's devices that are played here; it is dealt to all of the plan.
fn picked_here(plan: &Plan, planned: &PlannedFault, matching: Vec<DeviceIndex>, key: u64) -> Vec<DeviceIndex> {
    let mut devices = picked(plan, &planned.who, matching, Purpose::FaultPick, key);
    devices.retain(|device| plan.split.holds(*device));
    devices
}

/// The times of a moment that is one, or a step's.
fn times_of(moment: &Moment) -> RangeInclusive<Duration> {
    match moment {
        Moment::Time(times) | Moment::Step { after: times, .. } => times.clone(),
        Moment::Start | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => Duration::ZERO..=Duration::ZERO,
    }
}

/// The longest that one happening lasts; `None` where it has no end of its own.
fn longest_once(fault: &PlannedFault) -> Option<Duration> {
    fault
        .lasting
        .as_ref()
        .map(|lasting| *lasting.end())
        .or_else(|| fault.kind.lasts())
}

/// The longest from the first moment to the end of the last happening; `None` where there is no end.
fn longest(fault: &PlannedFault) -> Option<Duration> {
    let again = match (fault.every, fault.times) {
        (Some(every), Some(times)) => every.saturating_mul(times.saturating_sub(1)),
        (Some(_), None) => return None,
        (None, _) => Duration::ZERO,
    };
    longest_once(fault).map(|once| once.saturating_add(again))
}
