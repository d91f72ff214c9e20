//! Link profiles: what a path between a device and its server is like, as data.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::Share;
use crate::time::SimTime;

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

/// A device that sleeps: awake for a while at the beginning of every period, counted from its first power-on. Asleep its link is off,
/// and it wants no connection; its RAM is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// How long it is awake in a period, above zero.
    pub awake: Duration,
    /// Length of the period, longer than `awake`.
    pub every: Duration,
}

impl Sleep {
    /// Until when a device that was first powered on at `since` sleeps, if it does at `now`.
    pub(super) fn until(&self, since: SimTime, now: SimTime) -> Option<SimTime> {
        let (into, period) = self.place(since, now);
        (into >= self.awake).then(|| since + self.every * period + self.every)
    }

    /// When that changes next, after `now`.
    pub(super) fn changes_at(&self, since: SimTime, now: SimTime) -> SimTime {
        let (into, period) = self.place(since, now);
        let begun = since + self.every * period;
        begun + if into < self.awake { self.awake } else { self.every }
    }

    /// How far into its period a device is, and which period that is.
    fn place(&self, since: SimTime, now: SimTime) -> (Duration, u32) {
        let passed = now.since(since);
        let period = u32::try_from(passed.as_nanos() / self.every.as_nanos().max(1)).unwrap_or(u32::MAX);
        (passed.saturating_sub(self.every.saturating_mul(period)), period)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_sleeps_from_the_end_of_its_waking_to_the_end_of_the_period() {
        let sleep = Sleep {
            awake: Duration::from_secs(5),
            every: Duration::from_secs(30),
        };
        let since = SimTime::from_secs(100);
        let until = |now: u64| sleep.until(since, SimTime::from_secs(now));
        assert_eq!([100, 104, 130, 134].map(until), [None; 4]);
        assert_eq!(until(105), Some(SimTime::from_secs(130)));
        assert_eq!(until(159), Some(SimTime::from_secs(160)));
        let changes = |now: u64| sleep.changes_at(since, SimTime::from_secs(now));
        let changing = [100, 105, 131].map(changes);
        assert_eq!(changing, [105, 130, 135].map(SimTime::from_secs));
    }
}
