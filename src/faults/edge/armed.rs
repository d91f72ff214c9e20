//! One fault in wait at a device, or on.

use std::time::Duration;

use crate::luck::Purpose;
use crate::model::Share;
use crate::time::SimTime;

use super::super::link::Draws;
use super::super::plan::{Injection, Narrowing, Trigger};
use super::poison::Poison;

/// A fault of one device.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) injection: Injection,
    /// When it strikes next, once that is known.
    pub(super) due: Option<SimTime>,
    /// It is on, until then or to the end of trouble.
    pub(super) on: Option<Option<SimTime>>,
    /// Happenings so far, missed ones included.
    pub(super) happened: u32,
    /// Messages, requests or operations that it could have struck.
    pub(super) tried: u32,
    /// Those that it struck.
    pub(super) struck: u32,
    /// Messages that it is narrowed to by their type, where it waits for the n-th.
    passed: u32,
    /// Flash operations or erases, all boots together, before which it strikes; the next one is the last.
    pub(super) targets: Vec<u64>,
    /// Flash operations that its chance strikes lie beyond this one: an operation that is tried again is not struck again.
    pub(super) beyond: u64,
    /// Flash targets have been drawn: the attempt was accepted.
    pub(super) aimed: bool,
    /// How much of the phase under way must be done.
    pub(super) share: Option<Share>,
    /// When it last struck.
    pub(super) since: SimTime,
    /// It has been given to the device and comes about later, if it does.
    pub(super) pending: bool,
    /// What its data does to the device, once there is some.
    pub(super) poison: Option<Poison>,
    /// Why what is left of it will have been missed.
    pub(super) why: &'static str,
}

impl Armed {
    pub(super) fn new(injection: Injection) -> Armed {
        let (due, why) = match &injection.trigger {
            Trigger::At(at) => (Some(*at), "its moment did not come"),
            Trigger::Phase { .. } => (None, "the phase was not entered"),
            Trigger::Progress { .. } => (None, "the phase was not entered"),
            Trigger::Flash { .. } => (None, "no attempt was accepted"),
        };
        Armed {
            injection,
            due,
            on: None,
            happened: 0,
            tried: 0,
            struck: 0,
            passed: 0,
            targets: Vec::new(),
            beyond: 0,
            aimed: false,
            share: None,
            since: SimTime::ZERO,
            pending: false,
            poison: None,
            why,
        }
    }

    /// Happenings that are left; `None` is without end.
    pub(super) fn left(&self) -> Option<u32> {
        self.injection.times.map(|times| times.saturating_sub(self.happened))
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left() == Some(0)
    }

    /// When it strikes, or is over.
    pub(super) fn next_due(&self) -> Option<SimTime> {
        let ends = self.on.flatten();
        let resets = self.poison.as_ref().and_then(|poison| poison.resets_at);
        [self.due, ends, resets].into_iter().flatten().min()
    }

    /// Counts a happening at `now`, and sets the next one where they follow each other by time.
    pub(super) fn happens(&mut self, now: SimTime) {
        let planned = self.due.take().unwrap_or(now);
        self.since = now;
        self.happened += 1;
        if let Some(every) = self.injection.every.filter(|_| !self.is_spent()) {
            self.due = Some(planned + every);
        }
    }

    /// The key of a draw for the n-th happening (from zero) at this device.
    pub(super) fn ordinal(&self, happening: u32) -> u64 {
        let number = u64::from(self.injection.first) + u64::from(happening);
        self.injection.key.wrapping_add(number)
    }

    /// Until when the happening that begins at `now` lasts.
    pub(super) fn lasts_until(&self, now: SimTime, draws: Draws) -> Option<SimTime> {
        let range = self.injection.lasting.clone()?;
        let ordinal = self.ordinal(self.happened.saturating_sub(1));
        Some(now + draws.luck.duration(Purpose::FaultLasting, draws.device, ordinal, range))
    }

    /// A wait after an anchor, drawn for the happening to come.
    pub(super) fn waits(&self, after: &std::ops::RangeInclusive<Duration>, draws: Draws) -> Duration {
        let ordinal = self.ordinal(self.happened);
        draws
            .luck
            .duration(Purpose::FaultMoment, draws.device, ordinal, after.clone())
    }

    /// Counts a message where it waits for the n-th of them; true if this is the one, or it waits for none.
    pub(super) fn is_its_turn(&mut self) -> bool {
        let mut numbers = self.injection.only.iter().filter_map(|narrowing| match narrowing {
            Narrowing::Nth(number) => Some(*number),
            Narrowing::Message(_) | Narrowing::Version(_) => None,
        });
        let Some(first) = numbers.next() else {
            return true;
        };
        self.passed = self.passed.saturating_add(1);
        first == self.passed || numbers.any(|number| number == self.passed)
    }

    /// Whether its chance strikes the message, request or operation at hand.
    pub(super) fn is_struck(&mut self, draws: Draws) -> bool {
        let number = u64::from(self.tried);
        self.tried += 1;
        let struck = self.strikes(number, draws);
        self.struck += u32::from(struck);
        struck
    }

    /// Whether its chance strikes the message, request or operation with this number.
    pub(super) fn strikes(&self, number: u64, draws: Draws) -> bool {
        let ordinal = self.injection.key ^ number.rotate_left(32);
        self.injection.chance.0 > draws.luck.below(Purpose::FaultChance, draws.device, ordinal, Share::WHOLE.0)
    }

    /// 64 bits for where the happening at hand strikes; `part` tells several places apart.
    pub(super) fn place(&self, part: u64, draws: Draws) -> u64 {
        let ordinal = self.ordinal(self.happened) ^ (u64::from(self.struck) << 24 | part).rotate_left(24);
        draws.luck.draw(Purpose::FaultPlace, draws.device, ordinal)
    }
}
