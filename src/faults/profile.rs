//! Link profiles: what a path between a device and its server is like, as data.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::Share;

use super::latency::Latency;

/// A path between a device and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkProfile {
    /// Name in scenarios and reports.
    pub name: String,
    /// Time of one message in one direction, without its serialization.
    pub latency: Latency,
    /// Bits a second towards the device; `None` is unlimited.
    pub down: Option<u64>,
    /// Bits a second towards the server; `None` is unlimited.
    pub up: Option<u64>,
    /// Part of IP packets lost; felt as the delay of a retransmission.
    pub loss: Share,
    /// Times without a link, one in each period.
    pub drops: Option<Drops>,
    /// Bytes allowed in a period; beyond them the link is down until the period ends.
    pub quota: Option<Quota>,
    /// From power to network.
    pub join: RangeInclusive<Duration>,
}

/// One loss of the link in every period, at a moment drawn evenly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    /// Length of the period, above zero.
    pub every: Duration,
    /// How long the link is gone.
    pub lasting: RangeInclusive<Duration>,
}

/// A data allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes, both directions together.
    pub bytes: u64,
    /// Length of the period, above zero; periods follow one another from the start of the run.
    pub per: Duration,
}

impl LinkProfile {
    /// A path of constant delay and nothing else.
    pub fn fixed(name: impl Into<String>, one_way: Duration) -> Self {
        LinkProfile {
            name: name.into(),
            latency: Latency::constant(one_way),
            down: None,
            up: None,
            loss: Share(0),
            drops: None,
            quota: None,
            join: Duration::ZERO..=Duration::ZERO,
        }
    }
}
