//! The pace of offers: first manifests of attempts go out one after the other at a rate (contract, `limits.offers`).
//!
//! Nothing here is durable: who waits for an offer is known again when devices subscribe after a restart.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::EventRate;
use crate::time::SimTime;

use super::Server;
use super::io::ServerOutputs;
use super::record::DeviceNumber;

/// First offers of attempts, at a rate.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Between two offers; `None` without a limit.
    interval: Option<Duration>,
    /// When the next one may go out.
    free_at: SimTime,
    /// Who waits, first come first served; each once.
    waiting: VecDeque<DeviceNumber>,
    known: BTreeSet<DeviceNumber>,
}

impl Pace {
    pub fn new(rate: Option<EventRate>) -> Pace {
        Pace {
            interval: rate.and_then(|rate| rate.due(1)),
            ..Pace::default()
        }
    }

    /// True if an offer may go out to `device` now; it waits for its turn otherwise.
    fn admits(&mut self, device: DeviceNumber, now: SimTime) -> bool {
        let Some(interval) = self.interval else {
            return true;
        };
        if self.free_at <= now && self.waiting.is_empty() {
            // A wake that comes late costs the next one nothing.
            let even = self.free_at + interval;
            self.free_at = if even > now { even } else { now + interval };
            return true;
        }
        if self.known.insert(device) {
            self.waiting.push_back(device);
        }
        false
    }

    /// Who is to be offered something now.
    fn next(&mut self, now: SimTime) -> Option<DeviceNumber> {
        if self.free_at > now {
            return None;
        }
        let device = self.waiting.pop_front()?;
        self.known.remove(&device);
        Some(device)
    }

    /// When the next turn is, if somebody waits for one.
    pub fn next_due(&self) -> Option<SimTime> {
        (!self.waiting.is_empty()).then_some(self.free_at)
    }
}

impl Server {
    /// True if the first manifest of an attempt may be sent to `device` now.
    pub(super) fn may_offer(&mut self, device: DeviceNumber, now: SimTime) -> bool {
        self.pace.admits(device, now)
    }

    /// Makes the offers whose turn it is.
    pub(super) fn keep_pace(&mut self, now: SimTime, out: &mut ServerOutputs) {
        // One whose turn comes may be gone, or ended: the turn is the next one's then.
        while let Some(device) = self.pace.next(now) {
            let waiting = std::mem::take(&mut self.pace.waiting);
            self.offer(device, now, out);
            let asked_again = std::mem::replace(&mut self.pace.waiting, waiting);
            self.pace.waiting.extend(asked_again);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_go_out_evenly_and_in_turn() {
        let mut pace = Pace::new(Some(EventRate(2 * 86_400_000)));
        let at = SimTime::from_millis;
        assert!(pace.admits(DeviceNumber(1), at(0)));
        assert!(!pace.admits(DeviceNumber(2), at(0)) && !pace.admits(DeviceNumber(3), at(100)));
        assert!(!pace.admits(DeviceNumber(2), at(200)), "who waits keeps its place");
        assert_eq!((pace.next(at(499)), pace.next_due()), (None, Some(at(500))));
        assert_eq!(pace.next(at(500)), Some(DeviceNumber(2)));
        assert!(Pace::new(None).admits(DeviceNumber(1), at(0)));
    }
}
