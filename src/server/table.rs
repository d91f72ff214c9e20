//! Values by connection, found in constant time.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::io::ConnectionId;

/// A hash table that nobody walks through. A connection's name is its driver's choice, never a stranger's: it needs no secret hash.
pub(super) type ByConnection<T> = HashMap<ConnectionId, T, BuildHasherDefault<Mixer>>;

/// The finalizer of SplitMix64 over one number.
#[derive(Debug, Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let mut z = (self.0 ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = z ^ (z >> 31);
    }
}
