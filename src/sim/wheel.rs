//! The fast queue: a wheel of two levels, and a small sorted run of what comes next.
//!
//! Time is cut into slots of a millisecond, and those into laps of 4,096 slots. What falls into the open slot or before is sorted and
//! taken from; what falls into the lap under way waits in its slot, what falls into one of the next 4,096 laps in that lap, unsorted;
//! what is later still in a heap. An event is moved three times at most, whatever waits beside it, so that the cost of one does not
//! grow with the fleet.

use super::queue::{Heap, Scheduled};
use crate::model::DeviceIndex;
use crate::time::SimTime;

/// Slots of a lap, and laps of the wheel.
const SLOTS: usize = 4_096;
/// How often an event is told of before its turn.
pub(super) const STAGES: usize = 4;
/// A slot is 2^20 nanoseconds, about a millisecond.
const SLOT_BITS: u32 = 20;
/// A lap is 4,096 slots, about four seconds.
const LAP_BITS: u32 = SLOT_BITS + 12;

/// Events by time.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The slot that is open, counted from time zero.
    slot: u64,
    /// The lap that it is in, or the next one.
    lap: u64,
    /// What was in it when it was opened, the first at the end.
    open: Vec<Scheduled>,
    /// Of these, so many from the start have not been told of as near, by stage.
    far_off: [usize; STAGES],
    /// What has come into it since.
    late: Heap,
    /// The rest of the lap.
    slots: Ring,
    /// The laps behind it.
    laps: Ring,
    /// What is beyond them.
    far: Heap,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            slot: 0,
            lap: 0,
            open: Vec::new(),
            far_off: [0; STAGES],
            late: Heap::default(),
            slots: Ring::new(),
            laps: Ring::new(),
            far: Heap::default(),
        }
    }
}

impl Wheel {
    /// Adds an event, which happens no earlier than the one taken out last.
    pub(super) fn push(&mut self, scheduled: Scheduled) {
        let (slot, lap) = (slot_of(scheduled.at), lap_of(scheduled.at));
        if slot <= self.slot {
            self.late.push(scheduled);
        } else if lap == self.lap {
            self.slots.put(slot, scheduled);
        } else if lap - self.lap < SLOTS as u64 {
            self.laps.put(lap, scheduled);
        } else {
            self.far.push(scheduled);
        }
    }

    /// When the first event happens.
    pub(super) fn next_at(&mut self) -> Option<SimTime> {
        self.open_next();
        let open = self.open.last().map(|next| next.at);
        [open, self.late.next_at()].into_iter().flatten().min()
    }

    /// Takes the first event out.
    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        self.open_next();
        match (self.open.last(), self.late.first()) {
            (Some(open), Some(late)) if late < open => self.late.pop(),
            (None, _) => self.late.pop(),
            (Some(_), _) => self.open.pop(),
        }
    }

    /// The next device of an event that has come near: within `near` events of its turn (stage 0, then the others, each closer). Each is told once
    /// a stage; events that came late are not told.
    pub(super) fn coming(&mut self, stage: usize, near: usize) -> Option<DeviceIndex> {
        let left = &mut self.far_off[stage];
        *left = (*left).min(self.open.len());
        if *left == 0 || self.open.len() - *left >= near {
            return None;
        }
        *left -= 1;
        Some(self.open[*left].device)
    }

    /// Opens the next slot that holds anything, once the open one is used up.
    fn open_next(&mut self) {
        if !self.open.is_empty() || self.late.first().is_some() {
            return;
        }
        loop {
            if let Some(slot) = self.slots.next_from(self.slot + 1, lap_end(self.lap)) {
                self.slot = slot;
                self.slots.exchange(slot, &mut self.open);
                self.open.sort_unstable_by(|a, b| b.cmp(a));
                self.far_off = [self.open.len(); STAGES];
                return;
            }
            if !self.enter_next_lap() {
                return;
            }
        }
    }

    /// Spreads the next lap that holds anything over its slots; false if there is none. What is far moves into the laps meanwhile.
    fn enter_next_lap(&mut self) -> bool {
        let near = self.laps.next_from(self.lap + 1, self.lap + SLOTS as u64);
        let far = self.far.next_at().map(lap_of);
        let Some(lap) = [near, far].into_iter().flatten().min() else {
            return false;
        };
        // The slot before the lap's first: nothing of the lap is open.
        self.slot = (lap << (LAP_BITS - SLOT_BITS)) - 1;
        self.lap = lap;
        while self.far.next_at().is_some_and(|at| lap_of(at) < lap + SLOTS as u64) {
            let scheduled = self.far.pop().expect("it was seen a moment ago");
            self.laps.put(lap_of(scheduled.at), scheduled);
        }
        for scheduled in self.laps.take(lap) {
            self.slots.put(slot_of(scheduled.at), scheduled);
        }
        true
    }
}

/// Unsorted bags, round and round, and which of them hold anything.
#[derive(Debug)]
struct Ring {
    bags: Vec<Vec<Scheduled>>,
    /// A bit a bag.
    filled: [u64; SLOTS / 64],
}

impl Ring {
    fn new() -> Ring {
        Ring {
            bags: (0..SLOTS).map(|_| Vec::new()).collect(),
            filled: [0; SLOTS / 64],
        }
    }

    fn put(&mut self, number: u64, scheduled: Scheduled) {
        let place = number as usize % SLOTS;
        self.filled[place / 64] |= 1 << (place % 64);
        self.bags[place].push(scheduled);
    }

    /// Empties a bag, which keeps no room.
    fn take(&mut self, number: u64) -> Vec<Scheduled> {
        let mut bag = Vec::new();
        self.exchange(number, &mut bag);
        bag
    }

    /// Gives an empty bag for one that holds something.
    fn exchange(&mut self, number: u64, bag: &mut Vec<Scheduled>) {
        let place = number as usize % SLOTS;
        self.filled[place / 64] &= !(1 << (place % 64));
        std::mem::swap(&mut self.bags[place], bag);
    }

    /// The first filled bag in a range no longer than the ring.
    fn next_from(&self, start: u64, end: u64) -> Option<u64> {
        let mut number = start;
        while number < end {
            let place = number as usize % SLOTS;
            let word = self.filled[place / 64] >> (place % 64);
            if word != 0 {
                let found = number + u64::from(word.trailing_zeros());
                return Some(found).filter(|found| *found < end);
            }
            number += 64 - number % 64;
        }
        None
    }
}

fn slot_of(at: SimTime) -> u64 {
    at.as_nanos() >> SLOT_BITS
}

fn lap_of(at: SimTime) -> u64 {
    at.as_nanos() >> LAP_BITS
}

/// The first slot behind a lap.
fn lap_end(lap: u64) -> u64 {
    (lap + 1) << (LAP_BITS - SLOT_BITS)
}

#[cfg(test)]
mod tests {
    use super::super::queue::Event;
    use super::*;
    use crate::luck::{Luck, Purpose};

    /// Everything from a nanosecond to weeks ahead, the past of the open slot and the same moment included.
    #[test]
    fn the_wheel_gives_what_the_heap_gives() {
        let luck = Luck::new(11);
        let (mut wheel, mut heap) = (Wheel::default(), Heap::default());
        let (mut now, mut taken) = (0, 0);
        for round in 0..60_000_u64 {
            let draw = luck.draw(Purpose::RetryDelay, 1, round);
            let ahead = draw >> 4 >> (draw % 60).max(10);
            let scheduled = || Scheduled {
                at: SimTime::from_nanos(now + if draw.is_multiple_of(7) { 0 } else { ahead }),
                device: DeviceIndex((draw >> 32) as u32 % 50),
                sequence: round as u32,
                event: Event::PowerOn,
            };
            wheel.push(scheduled());
            heap.push(scheduled());
            // Fills up at first, then keeps level, then runs empty.
            for _ in 0..[0, 1, 2][round as usize / 20_000] {
                assert_eq!(wheel.next_at(), heap.next_at());
                let (one, other) = (wheel.pop(), heap.pop());
                assert_eq!(one, other);
                now = one.map_or(now, |next| next.at.as_nanos());
                taken += 1;
            }
        }
        assert_eq!((taken, wheel.next_at(), wheel.pop()), (60_000, None, None));
        assert!(now > 1 << 44, "laps beyond the wheel were reached");
    }
}
