//! When to look at which connection.
//!
//! Wakes are many and far ahead: they wait unsorted in slots of some time, and only those of the first slot are kept in order. A wake
//! that was called off or put off stays where it is; whoever opens its slot or takes it out finds that it is no longer wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::connections::Wake;
use crate::time::SimTime;

/// A slot is 2^26 nanoseconds, about 67 ms.
const SLOT_BITS: u32 = 26;

/// Wakes by time.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Those before the end of the open slot.
    open: BTreeSet<(SimTime, Wake)>,
    slot: u64,
    later: BTreeMap<u64, Vec<(SimTime, Wake)>>,
}

impl Wakes {
    pub fn add(&mut self, at: SimTime, wake: Wake) {
        let slot = slot_of(at);
        if slot <= self.slot {
            self.open.insert((at, wake));
        } else {
            self.later.entry(slot).or_default().push((at, wake));
        }
    }

    /// The first wake of the open slot, which may no longer be wanted.
    pub fn first(&self) -> Option<(SimTime, Wake)> {
        self.open.first().copied()
    }

    /// Takes the first wake off.
    pub fn take_first(&mut self) {
        self.open.pop_first();
    }

    /// Opens the next slot, of which those wakes stay that are `wanted` as soon; the others are added again for when they are. False if there is no
    /// slot left.
    pub fn open_next(&mut self, mut wanted: impl FnMut(SimTime, Wake) -> Option<SimTime>) -> bool {
        let Some((slot, wakes)) = self.later.pop_first() else {
            return false;
        };
        self.slot = slot;
        for (at, wake) in wakes {
            if let Some(at) = wanted(at, wake) {
                self.add(at, wake);
            }
        }
        true
    }
}

fn slot_of(at: SimTime) -> u64 {
    at.as_nanos() >> SLOT_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ConnectionId;

    #[test]
    fn wakes_come_by_time_whatever_slot_they_are_in() {
        let mut wakes = Wakes::default();
        let added = [90_000, 5, 40, 90_001, 6, 100_000, 41, 5];
        let mut taken = Vec::new();
        let mut take = |wakes: &mut Wakes| {
            while wakes.first().is_none() && wakes.open_next(|at, _| Some(at)) {}
            taken.extend(wakes.first().map(|(at, _)| at));
            wakes.take_first();
            wakes.first().is_some() || !wakes.later.is_empty()
        };
        for (number, millis) in added.into_iter().enumerate() {
            wakes.add(SimTime::from_millis(millis), Wake::Chase(ConnectionId(number as u64)));
            if number == 3 {
                take(&mut wakes);
            }
        }
        while take(&mut wakes) {}
        let expected = [5, 5, 6, 40, 41, 90_000, 90_001, 100_000].map(SimTime::from_millis);
        assert_eq!(taken, expected);
    }
}
