//! The fingerprint of a run: a wrapping sum over all transitions, independent of their order and of how a fleet is split.

use crate::model::{DeviceId, Transition};
use crate::time::SimTime;

/// What one transition adds to the fingerprint.
pub(super) fn print_of(at: SimTime, device: &DeviceId, sequence: u32, transition: Transition) -> u64 {
    let key = device.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let pair = (transition.from as u64) << 16 | (transition.to as u64) << 8 | transition.cause as u64;
    [at.as_nanos(), key, u64::from(sequence), pair]
        .into_iter()
        .fold(0, |hash, word| mix(hash ^ word))
}

/// The finalizer of SplitMix64.
const fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
