//! The path of one device: when what enters it comes out. A model without a clock; both drivers ask it and wait.
//!
//! Bytes of one direction leave one after the other at the profile's rate, spend a drawn latency on the way, and never overtake one
//! another, since TCP would not let them. A lost packet costs one retransmission timeout: twice the median round trip, at least 200 ms
//! (Linux's lower bound of RFC 6298's timer).

use std::time::Duration;

use crate::luck::{Luck, Purpose};
use crate::time::SimTime;

use super::profile::LinkProfile;

/// Payload of one full TCP segment on Ethernet with timestamps, bytes (1,500 less 20 IP, 20 TCP, 12 options).
const SEGMENT: u64 = 1_448;
/// Headers of one segment on the wire below TLS, bytes: IP, TCP, timestamps.
const SEGMENT_HEADERS: u64 = 52;
/// Lower bound of a retransmission timeout.
const RETRANSMISSION_MIN: Duration = Duration::from_millis(200);

/// A direction of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Towards the server.
    Up,
    /// Towards the device.
    Down,
}

/// What a path remembers: per direction, when it is free again, when its last bytes arrive, and how many messages entered it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    up: Lane,
    down: Lane,
    quota_period: u32,
    quota_used: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lane {
    free_at: SimTime,
    last_at: SimTime,
    messages: u32,
}

impl Link {
    /// Takes a message of `bytes` (TLS included, TCP and IP not) at `now` and says when it arrives. `device` is the key under which the
    /// device draws.
    pub fn admit(&mut self, profile: &LinkProfile, way: Way, bytes: u64, now: SimTime, luck: Luck, device: u64) -> SimTime {
        let segments = bytes.div_ceil(SEGMENT).max(1);
        let on_wire = bytes + segments * SEGMENT_HEADERS;
        self.charge(profile, on_wire, now);
        let (lane, rate) = match way {
            Way::Up => (&mut self.up, profile.up),
            Way::Down => (&mut self.down, profile.down),
        };
        let ordinal = u64::from(lane.messages) << 1 | u64::from(way == Way::Down);
        lane.messages += 1;
        lane.free_at = lane.free_at.max(now) + serialization(on_wire, rate);
        let latency = profile.latency.of_draw(luck.draw(Purpose::LinkLatency, device, ordinal));
        let lost = (0..segments).filter(|segment| {
            let draw = luck.below(Purpose::LinkLoss, device, ordinal << 8 | segment & 0xff, 1_000_000);
            profile.loss.0 > draw
        });
        let delay = retransmission(profile) * u32::try_from(lost.count()).unwrap_or(u32::MAX);
        lane.last_at = lane.last_at.max(lane.free_at + latency + delay);
        lane.last_at
    }

    /// Until when the link is gone, if it is gone at `now`: a drop of the profile, or a used-up quota.
    pub fn down_until(&self, profile: &LinkProfile, now: SimTime, luck: Luck, device: u64) -> Option<SimTime> {
        let dropped = drop_window(profile, now, luck, device).filter(|(from, until)| (*from..*until).contains(&now));
        let over = profile
            .quota
            .filter(|quota| u64::from(self.quota_period) == now.as_nanos() / nanos(quota.per) && self.quota_used >= quota.bytes);
        let quota_ends = over.map(|quota| SimTime::from_nanos((u64::from(self.quota_period) + 1) * nanos(quota.per)));
        dropped.map(|(_, until)| until).max(quota_ends)
    }

    /// When the link goes next by a drop of its profile, after `now`.
    pub fn next_drop(profile: &LinkProfile, now: SimTime, luck: Luck, device: u64) -> Option<SimTime> {
        let (from, _) = drop_window(profile, now, luck, device)?;
        if from > now {
            return Some(from);
        }
        let every = profile.drops.as_ref()?.every;
        let next_period = SimTime::from_nanos((now.as_nanos() / nanos(every) + 1) * nanos(every));
        drop_window(profile, next_period, luck, device).map(|(from, _)| from)
    }

    /// Forgets what is under way: the connection is gone, and what was queued went with it.
    pub fn cleared(&mut self, now: SimTime) {
        for lane in [&mut self.up, &mut self.down] {
            lane.free_at = now;
            lane.last_at = now;
        }
    }

    fn charge(&mut self, profile: &LinkProfile, bytes: u64, now: SimTime) {
        let Some(quota) = profile.quota else { return };
        let period = u32::try_from(now.as_nanos() / nanos(quota.per)).unwrap_or(u32::MAX);
        if period != self.quota_period {
            self.quota_period = period;
            self.quota_used = 0;
        }
        self.quota_used += bytes;
    }
}

/// The drop of the period in which `now` lies; it stays within its period, cut off at the end where it would not.
fn drop_window(profile: &LinkProfile, now: SimTime, luck: Luck, device: u64) -> Option<(SimTime, SimTime)> {
    let drops = profile.drops.as_ref()?;
    let every = nanos(drops.every);
    let period = now.as_nanos() / every;
    let lasting = nanos(luck.duration(Purpose::LinkDrop, device, period << 1, drops.lasting.clone())).min(every);
    let start = period * every + luck.below(Purpose::LinkDrop, device, period << 1 | 1, every - lasting + 1);
    Some((SimTime::from_nanos(start), SimTime::from_nanos(start + lasting)))
}

fn serialization(bytes: u64, rate: Option<u64>) -> Duration {
    let Some(rate) = rate.filter(|&rate| rate > 0) else {
        return Duration::ZERO;
    };
    Duration::from_nanos(u64::try_from(u128::from(bytes) * 8_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX))
}

fn retransmission(profile: &LinkProfile) -> Duration {
    (profile.latency.median() * 4).max(RETRANSMISSION_MIN)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::profile::{Drops, Quota};
    use crate::model::Share;

    const LUCK: Luck = Luck::new(1);

    #[test]
    fn a_rate_is_delivered_with_its_headers() {
        let profile = LinkProfile {
            down: Some(2_000_000),
            ..LinkProfile::fixed("two-megabit", Duration::from_millis(10))
        };
        let mut link = Link::default();
        let mut arrived = SimTime::ZERO;
        for _ in 0..100 {
            arrived = link.admit(&profile, Way::Down, 14_480, SimTime::ZERO, LUCK, 1);
        }
        let bits = 100.0 * 15_000.0 * 8.0;
        let rate = bits / (arrived.as_secs_f64() - 0.010);
        assert!((rate / 2e6 - 1.0).abs() < 1e-6, "{rate} bit/s");
    }

    #[test]
    fn nothing_overtakes_and_the_ways_are_independent() {
        use crate::faults::Latency;
        let latency = Latency::lognormal(Duration::from_millis(14), Duration::from_millis(140));
        let profile = LinkProfile {
            latency,
            ..LinkProfile::fixed("wifi", Duration::ZERO)
        };
        let mut link = Link::default();
        let arrivals: Vec<_> = (0..200)
            .map(|n| link.admit(&profile, Way::Up, 100, SimTime::from_millis(n), LUCK, 1))
            .collect();
        assert!(arrivals.is_sorted());
        let down = link.admit(&profile, Way::Down, 100, SimTime::ZERO, LUCK, 1);
        assert!(down < arrivals[199]);
    }

    #[test]
    fn a_lost_packet_costs_a_retransmission() {
        let lossy = LinkProfile {
            loss: Share(20_000),
            ..LinkProfile::fixed("lossy", Duration::from_millis(10))
        };
        let late = (0..10_000u64)
            .filter(|&device| Link::default().admit(&lossy, Way::Up, 100, SimTime::ZERO, LUCK, device) >= SimTime::from_millis(210))
            .count();
        assert!((150..250).contains(&late), "{late} of 10,000 late at 2 % loss");
    }

    #[test]
    fn a_drop_comes_once_a_period() {
        let drops = Drops {
            every: Duration::from_secs(180),
            lasting: Duration::from_secs(5)..=Duration::from_secs(60),
        };
        let profile = LinkProfile {
            drops: Some(drops),
            ..LinkProfile::fixed("farm", Duration::ZERO)
        };
        let link = Link::default();
        let mut now = SimTime::ZERO;
        for period in 0..20 {
            let from = Link::next_drop(&profile, now, LUCK, 3).unwrap();
            assert_eq!(from.as_nanos() / 180_000_000_000, period);
            let until = link.down_until(&profile, from, LUCK, 3).unwrap();
            assert!((5.0..=60.0).contains(&(until.as_secs_f64() - from.as_secs_f64())));
            assert_eq!(link.down_until(&profile, until, LUCK, 3), None);
            now = until;
        }
    }

    #[test]
    fn a_used_up_quota_takes_the_link_down_until_the_period_ends() {
        let quota = Quota {
            bytes: 10_000,
            per: Duration::from_secs(3600),
        };
        let profile = LinkProfile {
            quota: Some(quota),
            ..LinkProfile::fixed("metered", Duration::ZERO)
        };
        let mut link = Link::default();
        link.admit(&profile, Way::Down, 5_000, SimTime::from_secs(1), LUCK, 1);
        assert_eq!(link.down_until(&profile, SimTime::from_secs(2), LUCK, 1), None);
        link.admit(&profile, Way::Down, 5_000, SimTime::from_secs(3), LUCK, 1);
        assert_eq!(
            link.down_until(&profile, SimTime::from_secs(4), LUCK, 1),
            Some(SimTime::from_secs(3600))
        );
        assert_eq!(link.down_until(&profile, SimTime::from_secs(3600), LUCK, 1), None);
    }
}
