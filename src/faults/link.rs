//! The path between a device and its server: a fixed one-way delay, half the profile's median round trip.

use std::time::Duration;

/// A link profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkProfile {
    /// Name in scenarios.
    pub name: &'static str,
    /// Time for any message in either direction.
    pub one_way: Duration,
}

/// The profiles, with the medians of realism.md, table 1: ethernet 25 ms, wifi-good 28 ms round trip.
const PROFILES: &[LinkProfile] = &[
    LinkProfile {
        name: "lan",
        one_way: Duration::from_micros(12_500),
    },
    LinkProfile {
        name: "wifi",
        one_way: Duration::from_millis(14),
    },
];

impl LinkProfile {
    /// The profile called `name`.
    pub fn named(name: &str) -> Option<LinkProfile> {
        PROFILES.iter().copied().find(|profile| profile.name == name)
    }

    /// Every profile.
    pub const fn all() -> &'static [LinkProfile] {
        PROFILES
    }
}
