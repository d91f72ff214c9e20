//! Draws without state.
//!
//! A draw is a hash of (seed, purpose, device key, natural ordinal). Nothing is stored and nothing is counted globally, so that
//! adding a device, splitting a fleet over processes or playing in the other mode changes no device's draws. The mixing function is
//! the finalizer of SplitMix64 (Steele, Lea, Flood 2014), applied once per input word.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What a draw decides. The number is part of the hash: append, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// When a device of a random arrival process is first powered on.
    Arrival = 1,
    /// Which outcome a booted version has on this device.
    BootOutcome = 2,
    /// Which outcome the install handler of a version has on this device.
    InstallOutcome = 3,
    /// Length of the n-th wait before a download is tried again.
    RetryDelay = 4,
    /// Length of the n-th wait before MQTT connects again.
    ReconnectDelay = 5,
    /// The random number that names a boot (`deviceRunId`).
    DeviceRunId = 6,
    /// Packet identifier of the n-th SUBSCRIBE.
    PacketId = 7,
    /// Rank of a device when a cohort picks its members.
    CohortPick = 8,
    /// Rank of a device when shares of a tag are dealt.
    TagShare = 9,
    /// Rank of a device when a step picks devices.
    StepPick = 10,
    /// Rank of a device when a fault picks devices.
    FaultPick = 11,
    /// Contents of a generated image.
    ImageContent = 12,
    /// The artifact key of a server whose key is seeded.
    ArtifactKey = 13,
    /// The moment of the n-th fault on a device.
    FaultMoment = 14,
    /// How an operation under way is torn by a power cut.
    TornOperation = 15,
    /// Latency of the n-th message on a link.
    LinkLatency = 16,
    /// Whether a packet of the n-th message on a link is lost.
    LinkLoss = 17,
    /// When in its n-th period a link drops, and for how long.
    LinkDrop = 18,
    /// Time from the n-th start of an application until its network is there.
    LinkJoin = 19,
    /// How long the n-th happening of a fault lasts.
    FaultLasting = 20,
    /// Whether what the server was writing when it crashed for the n-th time had come to the disk.
    CrashSync = 40,
    /// Whether a fault strikes the n-th message, request or operation that it could strike.
    FaultChance = 21,
    /// Where in a download, an image or an attempt the n-th happening of a fault strikes.
    FaultPlace = 22,
    /// Which bits are mixed where a torn operation stopped.
    TornBits = 23,
    /// What a cheating device makes up.
    Cheat = 24,
    /// When a device is away, and for how long.
    Absence = 25,
}

/// The source of every random choice of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Luck {
    seed: u64,
}

impl Luck {
    /// All draws of the run with this seed.
    pub const fn new(seed: u64) -> Self {
        Luck { seed }
    }

    /// A draw without state: 64 evenly distributed bits for the `ordinal`-th use of `purpose` by the device with key `device`.
    pub const fn draw(self, purpose: Purpose, device: u64, ordinal: u64) -> u64 {
        self.lot(purpose, device).draw(ordinal)
    }

    /// The draws of a device for one purpose, for who needs many of them.
    pub const fn lot(self, purpose: Purpose, device: u64) -> Lot {
        Lot(mix(mix(self.seed ^ mix(purpose as u64)) ^ device))
    }

    /// A draw in `0..bound`, by multiplication: the bias is below `bound / 2^64`. Zero when `bound` is zero.
    pub const fn below(self, purpose: Purpose, device: u64, ordinal: u64, bound: u64) -> u64 {
        self.lot(purpose, device).below(ordinal, bound)
    }

    /// A duration drawn evenly from `range`, to the nanosecond.
    pub fn duration(self, purpose: Purpose, device: u64, ordinal: u64, range: RangeInclusive<Duration>) -> Duration {
        let low = range.start().as_nanos() as u64;
        let high = range.end().as_nanos() as u64;
        let width = high.saturating_sub(low).saturating_add(1);
        Duration::from_nanos(low + self.below(purpose, device, ordinal, width))
    }
}

/// What a device draws for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot(u64);

impl Lot {
    /// As [`Luck::draw`].
    pub const fn draw(self, ordinal: u64) -> u64 {
        mix(self.0 ^ mix(ordinal.wrapping_add(GOLDEN)))
    }

    /// As [`Luck::below`].
    pub const fn below(self, ordinal: u64, bound: u64) -> u64 {
        ((self.draw(ordinal) as u128 * bound as u128) >> 64) as u64
    }
}

/// The key under which a device draws: a hash of its fleet's name and its number in the fleet, so that reordering a file or
/// adding a fleet changes nothing.
pub fn device_key(fleet: &str, number: u32) -> u64 {
    mix(text_key(fleet) ^ mix(u64::from(number).wrapping_add(GOLDEN)))
}

/// A stable 64-bit key of a name (cohort, step, fault, version), to be used as or mixed into an ordinal.
pub fn text_key(text: &str) -> u64 {
    text.bytes().fold(GOLDEN, |hash, byte| mix(hash ^ u64::from(byte)))
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finalizer over the input advanced by the golden ratio.
const fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_every_input() {
        let luck = Luck::new(1);
        let draw = luck.draw(Purpose::RetryDelay, 7, 3);
        assert_eq!(draw, luck.draw(Purpose::RetryDelay, 7, 3));
        assert_ne!(draw, Luck::new(2).draw(Purpose::RetryDelay, 7, 3));
        assert_ne!(draw, luck.draw(Purpose::PacketId, 7, 3));
        assert_ne!(draw, luck.draw(Purpose::RetryDelay, 8, 3));
        assert_ne!(draw, luck.draw(Purpose::RetryDelay, 7, 4));
    }

    /// Chi-squared over 256 cells, for consecutive devices and for consecutive ordinals: 255 degrees of freedom, and the 99.9 %
    /// quantile is 330.5 (NIST/SEMATECH e-Handbook, table 1.3.6.7.4).
    #[test]
    fn draws_fill_every_cell_evenly() {
        let luck = Luck::new(42);
        let by_device = |n: u64| luck.draw(Purpose::Arrival, device_key("fleet", n as u32), 0);
        let by_ordinal = |n: u64| luck.draw(Purpose::RetryDelay, 99, n);
        for draw in [&by_device as &dyn Fn(u64) -> u64, &by_ordinal] {
            for shift in [0, 24, 56] {
                let mut cells = [0u32; 256];
                (0..65_536).for_each(|n| cells[(draw(n) >> shift) as usize & 255] += 1);
                let chi: f64 = cells.iter().map(|&seen| (f64::from(seen) - 256.0).powi(2) / 256.0).sum();
                assert!(chi < 330.5, "chi-squared {chi} at shift {shift}");
            }
        }
    }

    #[test]
    fn one_changed_input_bit_changes_half_of_the_output() {
        let luck = Luck::new(3);
        let flipped: u32 = (0..64)
            .map(|bit| (luck.draw(Purpose::Arrival, 0, 5) ^ luck.draw(Purpose::Arrival, 1 << bit, 5)).count_ones())
            .sum();
        assert!((28 * 64..36 * 64).contains(&flipped), "{flipped} of 4096 bits");
    }

    #[test]
    fn durations_stay_within_their_range() {
        let range = Duration::from_millis(2)..=Duration::from_millis(4);
        let luck = Luck::new(9);
        let drawn: Vec<_> = (0..1000)
            .map(|n| luck.duration(Purpose::RetryDelay, 1, n, range.clone()))
            .collect();
        assert!(drawn.iter().all(|d| range.contains(d)));
        assert!(drawn.iter().any(|d| *d < Duration::from_micros(2100)));
        assert!(drawn.iter().any(|d| *d > Duration::from_micros(3900)));
    }
}
