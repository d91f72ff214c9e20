//! Where something stands in a list that somebody else keeps, found in constant time.

use crate::memory;

/// An index over a list: it holds positions alone, and is handed a way to look at what stands there.
///
/// A slot is empty or holds a position, counted from one, and above it as much of the hash as there is room for: what stands at a
/// position is looked at only if it most likely is what is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Zero is empty. A position stands in the slot of its hash or behind it; at most seven of eight are taken.
    slots: Vec<u32>,
    taken: usize,
}

impl Places {
    /// An index with room for so many positions, which are below that number.
    pub(crate) fn with_room(count: usize) -> Places {
        Places {
            slots: vec![0; (count * 8 / 7 + 2).next_power_of_two()],
            taken: 0,
        }
    }

    /// The position of what has this hash and is what is looked for.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let (mask, mark) = (self.mask(), self.mark(hash));
        let last = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize & last;
        // Some slots are empty: one of them ends every search.
        loop {
            let taken = self.slots[slot];
            if taken == 0 {
                return None;
            }
            if taken & !mask == mark && is_it(self.position(taken)) {
                return Some(self.position(taken));
            }
            slot = (slot + 1) & last;
        }
    }

    /// Has what is needed to find something ready.
    pub(crate) fn fetch(&self, hash: u64) {
        if let Some(slot) = self.probe(hash).next() {
            memory::fetch(&self.slots[slot]);
        }
    }

    /// Adds a position that is not there; `hash_of` gives the hash of what stands at any position in the index, and of this one.
    pub(crate) fn add(&mut self, place: usize, hash_of: impl Fn(usize) -> u64) {
        let needed = (self.taken + 1).max(place + 1);
        if needed * 8 > self.slots.len() * 7 {
            let before = std::mem::replace(self, Places::with_room(needed));
            for taken in before.slots.iter().filter(|taken| **taken != 0) {
                let place = before.position(*taken);
                self.put(place, hash_of(place));
            }
        }
        self.put(place, hash_of(place));
    }

    /// Takes a position away; those that stand behind its slot move up to where they are looked for.
    pub(crate) fn remove(&mut self, place: usize, hash_of: impl Fn(usize) -> u64) {
        let is_it = |slot: &usize| self.slots[*slot] != 0 && self.position(self.slots[*slot]) == place;
        let Some(mut gap) = self.probe(hash_of(place)).find(is_it) else {
            return;
        };
        let last = self.slots.len() - 1;
        let mut slot = (gap + 1) & last;
        while self.slots[slot] != 0 {
            let home = hash_of(self.position(self.slots[slot])) as usize;
            // It stays if it would be ahead of where it is looked for.
            if slot.wrapping_sub(home) & last >= slot.wrapping_sub(gap) & last {
                self.slots[gap] = self.slots[slot];
                gap = slot;
            }
            slot = (slot + 1) & last;
        }
        self.slots[gap] = 0;
        self.taken -= 1;
    }

    fn put(&mut self, place: usize, hash: u64) {
        let free = self.probe(hash).find(|slot| self.slots[*slot] == 0);
        self.slots[free.expect("some slots are empty")] = self.mark(hash) | (place as u32 + 1);
        self.taken += 1;
    }

    /// Every slot, from the one that a hash belongs to.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let (first, len) = (hash as usize, self.slots.len());
        (0..len).map(move |step| first.wrapping_add(step) & (len - 1))
    }

    /// The bits of a slot that hold a position: all are below the number of slots.
    fn mask(&self) -> u32 {
        (self.slots.len() as u32).wrapping_sub(1)
    }

    /// What a slot holds of a hash.
    fn mark(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.mask()
    }

    fn position(&self, taken: u32) -> usize {
        (taken & self.mask()) as usize - 1
    }
}

/// A hash of a name under a key. Who chooses names and does not know the key cannot choose them so that they meet.
pub(crate) fn hash_of_name(key: u64, name: &[u8]) -> u64 {
    let (words, rest) = name.as_chunks();
    let rest = rest.iter().rfold(0, |rest, byte| rest << 8 | u64::from(*byte));
    let words = words.iter().copied().map(u64::from_le_bytes).chain([rest]);
    words.fold(hash_of_number(key ^ name.len() as u64), |hash, word| {
        hash_of_number(hash ^ word)
    })
}

/// A hash of a number: the finalizer of SplitMix64.
pub(crate) const fn hash_of_number(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Hashes that collide, lie behind each other and reach around the end.
    fn crowded(place: usize) -> u64 {
        [place as u64, place as u64 / 8, u64::MAX - place as u64 % 3][place % 3]
    }

    #[test]
    fn what_is_there_is_found_and_nothing_else_is() {
        for hash_of in [
            crowded,
            |place| crowded(place) << 32 | crowded(place),
            |place| hash_of_number(place as u64),
        ] {
            let (mut places, mut tree) = (Places::default(), BTreeMap::new());
            for step in 0..900_usize {
                places.add(step, hash_of);
                tree.insert(step, ());
                if step % 4 > 0 {
                    let gone = step * 7 % (step + 1);
                    places.remove(gone, hash_of);
                    tree.remove(&gone);
                }
                if step % 50 == 0 {
                    let found = |place: usize| places.find(hash_of(place), |at| at == place).is_some();
                    assert!(
                        (0..step + 9).all(|place| found(place) == tree.contains_key(&place)),
                        "at {step}"
                    );
                }
            }
            assert_eq!(places.taken, tree.len());
        }
    }

    #[test]
    fn names_are_told_apart_by_every_byte_their_length_and_the_key() {
        let names = [
            "",
            "\0",
            "meter-00001",
            "meter-00002",
            "fourteen-bytes",
            "fourteen-bytes\0",
            "sixteen-bytes-xx",
        ];
        let hashes = |key| names.map(|name| hash_of_name(key, name.as_bytes()));
        let different: std::collections::BTreeSet<_> = hashes(1).into_iter().chain(hashes(2)).collect();
        assert_eq!(different.len(), 2 * names.len());
    }
}
