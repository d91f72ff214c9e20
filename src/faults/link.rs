//! The path of one device: when what enters it comes out. A model without a clock; both drivers ask it and wait.
//!
//! Bytes of one direction leave one after the other at the profile's rate, whatever connection they belong to, and spend a drawn
//! latency on the way. What belongs to one connection never overtakes itself, since TCP would not let it. A lost packet costs one
//! retransmission timeout: twice the median round trip, at least 200 ms (Linux's lower bound of RFC 6298's timer). Handshakes and
//! requests are short and wait for nobody. Bodies are [`super::flow::Flow`]'s.

use std::time::Duration;

use crate::luck::{Lot, Luck, Purpose};
use crate::model::Share;
use crate::time::SimTime;
use crate::wire::overhead::{TCP_ROUND_TRIPS, TLS_ROUND_TRIPS, Traffic};

use super::profile::LinkProfile;

/// Payload of one full TCP segment on Ethernet with timestamps, bytes (1,500 less 20 IP, 20 TCP, 12 options).
pub(super) const SEGMENT: u64 = 1_448;
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

/// Under which device's key, and with whose luck, a link draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// The run's luck.
    pub luck: Luck,
    /// The device's key.
    pub device: u64,
}

/// What a draw of a link is for: the natural ordinals of the device.
#[derive(Clone, Copy, Debug)]
enum Leg {
    /// The n-th MQTT packet in a direction.
    Packet(Way, u32),
    /// Round trip `1` of the n-th handshake, in a direction.
    Handshake(Way, u32, u32),
    /// The n-th image request, or the head of its answer.
    Request(Way, u32),
}

impl Leg {
    fn ordinal(self) -> u64 {
        let tagged = |tag: u64, way: Way, n: u32, part: u32| {
            tag << 60 | u64::from(way == Way::Down) << 56 | u64::from(part) << 48 | u64::from(n)
        };
        match self {
            Leg::Packet(way, n) => tagged(0, way, n, 0),
            Leg::Handshake(way, n, round) => tagged(1, way, n, round),
            Leg::Request(way, n) => tagged(2, way, n, 0),
        }
    }
}

impl Draws {
    /// How long a message of so many segments is on the path: its latency, and what the loss of packets costs it.
    fn delay(self, profile: &LinkProfile, leg: Leg, segments: u64) -> Duration {
        let ordinal = leg.ordinal();
        let draw = self.luck.draw(Purpose::LinkLatency, self.device, ordinal);
        let latency = profile.latency.of_draw(draw);
        if profile.loss.0 == 0 {
            return latency;
        }
        let losses = self.losses(profile);
        let lost = (0..segments).filter(|segment| losses.hit((ordinal << 16).wrapping_add(*segment)));
        match lost.count() {
            0 => latency,
            lost => latency + retransmission(profile) * u32::try_from(lost).unwrap_or(u32::MAX),
        }
    }

    /// Which segments are lost.
    pub(super) fn losses(self, profile: &LinkProfile) -> Losses {
        Losses {
            share: profile.loss,
            draws: self.luck.lot(Purpose::LinkLoss, self.device),
        }
    }
}

/// Which segments a link loses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Losses {
    share: Share,
    draws: Lot,
}

impl Losses {
    /// Whether this segment is lost.
    pub(super) fn hit(self, ordinal: u64) -> bool {
        self.share.0 > self.draws.below(ordinal, Share::WHOLE.0)
    }
}

/// What a path remembers: per direction when it is free again, when the last packet arrives, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    up: Lane,
    down: Lane,
    /// MQTT packets so far, by [`Way`].
    packets: [u32; 2],
    handshakes: u32,
    requests: u32,
    /// Kept where the profile has a quota.
    quota: Option<Box<Used>>,
}

/// What of a quota is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    period: u32,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lane {
    free_at: SimTime,
    last_at: SimTime,
}

impl Link {
    /// Takes an MQTT packet of `bytes` at `now`: when it begins to leave, when it has left, and when it arrives.
    pub(super) fn packet(&mut self, profile: &LinkProfile, way: Way, tls: bool, bytes: u64, now: SimTime, draws: Draws) -> Passage {
        let on_wire = on_wire(tls, bytes);
        self.charge(profile, on_wire, now);
        let (lane, rate) = match way {
            Way::Up => (&mut self.up, profile.up),
            Way::Down => (&mut self.down, profile.down),
        };
        let number = &mut self.packets[way as usize];
        let leg = Leg::Packet(way, *number);
        *number = number.wrapping_add(1);
        let begins = lane.free_at.max(now);
        lane.free_at = begins + serialization(on_wire, rate);
        let delay = draws.delay(profile, leg, bytes.div_ceil(SEGMENT));
        lane.last_at = lane.last_at.max(lane.free_at + delay);
        Passage {
            on_wire,
            begins,
            left: lane.free_at,
            arrives: lane.last_at,
        }
    }

    /// Time for the handshakes of a connection.
    pub(super) fn handshake(&mut self, profile: &LinkProfile, tls: bool, now: SimTime, draws: Draws) -> Duration {
        let number = self.handshakes;
        self.handshakes = number.wrapping_add(1);
        let traffic = Traffic::connecting(tls);
        self.charge(profile, traffic.total(), now);
        let rounds = TCP_ROUND_TRIPS + if tls { TLS_ROUND_TRIPS } else { 0 };
        let legs = (0..rounds).flat_map(|round| [Way::Up, Way::Down].map(|way| Leg::Handshake(way, number, round)));
        let travel: Duration = legs.map(|leg| draws.delay(profile, leg, 1)).sum();
        travel + serialization(traffic.sent, profile.up) + serialization(traffic.received, profile.down)
    }

    /// Time for an image request of `bytes` on an open connection.
    pub(super) fn request(&mut self, profile: &LinkProfile, tls: bool, bytes: u64, now: SimTime, draws: Draws) -> Duration {
        let leg = Leg::Request(Way::Up, self.requests);
        self.requests = self.requests.wrapping_add(1);
        let on_wire = on_wire(tls, bytes);
        self.charge(profile, on_wire, now);
        draws.delay(profile, leg, 1) + serialization(on_wire, profile.up)
    }

    /// Takes the head of an image answer; the body follows at its heels.
    pub(super) fn head(&mut self, profile: &LinkProfile, tls: bool, bytes: u64, now: SimTime, draws: Draws) -> Passage {
        let leg = Leg::Request(Way::Down, self.requests);
        let on_wire = on_wire(tls, bytes);
        self.charge(profile, on_wire, now);
        let begins = self.down.free_at.max(now);
        self.down.free_at = begins + serialization(on_wire, profile.down);
        let delay = draws.delay(profile, leg, 1);
        Passage {
            on_wire,
            begins,
            left: self.down.free_at,
            arrives: self.down.free_at + delay,
        }
    }

    /// True if all that has entered has left by `at`, and has arrived.
    pub(super) fn is_clear(&self, at: SimTime) -> bool {
        let clear = |lane: &Lane| lane.free_at <= at && lane.last_at <= at;
        clear(&self.up) && clear(&self.down)
    }

    /// So many packets went each way and were there before others followed.
    pub(super) fn passed(&mut self, number: u32) {
        self.packets
            .iter_mut()
            .for_each(|packets| *packets = packets.wrapping_add(number));
    }

    /// Number of the last image request, from 1.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// When the direction towards the device is free of packets.
    pub(super) fn down_free_at(&self) -> SimTime {
        self.down.free_at
    }

    /// Until when the link is gone, if it is gone at `now`: a drop of the profile (unless `calm`), or a used-up quota.
    pub(super) fn down_until(&self, profile: &LinkProfile, calm: bool, now: SimTime, draws: Draws) -> Option<SimTime> {
        let dropped = drop_window(profile, now, draws).filter(|(from, until)| !calm && (*from..*until).contains(&now));
        dropped.map(|(_, until)| until).max(self.quota_ends(profile, now))
    }

    fn quota_ends(&self, profile: &LinkProfile, now: SimTime) -> Option<SimTime> {
        let quota = profile.quota?;
        let used = self.quota.as_ref()?;
        let current = u64::from(used.period) == now.as_nanos() / nanos(quota.per);
        (current && used.bytes >= quota.bytes).then(|| SimTime::from_nanos((u64::from(used.period) + 1) * nanos(quota.per)))
    }

    /// When the link goes next by a drop of its profile, after `now`.
    pub(super) fn next_drop(profile: &LinkProfile, now: SimTime, draws: Draws) -> Option<SimTime> {
        let (from, _) = drop_window(profile, now, draws)?;
        if from > now {
            return Some(from);
        }
        let every = profile.drops.as_ref()?.every;
        let next_period = SimTime::from_nanos((now.as_nanos() / nanos(every) + 1) * nanos(every));
        drop_window(profile, next_period, draws).map(|(from, _)| from)
    }

    /// Forgets what is under way: the connections are gone, and what was queued went with them.
    pub(super) fn cleared(&mut self, now: SimTime) {
        for lane in [&mut self.up, &mut self.down] {
            lane.free_at = lane.free_at.min(now);
            lane.last_at = lane.last_at.min(now);
        }
    }

    /// Counts bytes against the quota.
    pub(super) fn charge(&mut self, profile: &LinkProfile, bytes: u64, now: SimTime) {
        let Some(quota) = profile.quota else { return };
        let period = u32::try_from(now.as_nanos() / nanos(quota.per)).unwrap_or(u32::MAX);
        let used = self.quota.get_or_insert_default();
        if period != used.period {
            **used = Used { period, bytes: 0 };
        }
        used.bytes += bytes;
    }
}

/// One message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// Its bytes on the wire.
    pub(super) on_wire: u64,
    /// Its first bit leaves.
    pub(super) begins: SimTime,
    /// Its last bit has left.
    pub(super) left: SimTime,
    /// It is there.
    pub(super) arrives: SimTime,
}

/// The drop of the period in which `now` lies; it stays within its period, cut off at the end where it would not.
fn drop_window(profile: &LinkProfile, now: SimTime, draws: Draws) -> Option<(SimTime, SimTime)> {
    let drops = profile.drops.as_ref()?;
    let every = nanos(drops.every);
    let period = now.as_nanos() / every;
    let Draws { luck, device } = draws;
    let lasting = nanos(luck.duration(Purpose::LinkDrop, device, period << 1, drops.lasting.clone())).min(every);
    let start = period * every + luck.below(Purpose::LinkDrop, device, period << 1 | 1, every - lasting + 1);
    Some((SimTime::from_nanos(start), SimTime::from_nanos(start + lasting)))
}

/// Bytes on the wire for `bytes` written at once, TLS, TCP and IP included.
pub(super) fn on_wire(tls: bool, bytes: u64) -> u64 {
    Traffic::sending(tls, bytes).sent
}

/// Time that bytes take at a rate.
pub(super) fn serialization(bytes: u64, rate: Option<u64>) -> Duration {
    let Some(rate) = rate.filter(|&rate| rate > 0) else {
        return Duration::ZERO;
    };
    match bytes.checked_mul(8_000_000_000) {
        Some(billionths) => Duration::from_nanos(billionths / rate),
        None => Duration::from_nanos(u64::try_from(u128::from(bytes) * 8_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX)),
    }
}

/// The longest that `bytes`, which fit a segment, are under way where nothing else is.
pub(super) fn longest(profile: &LinkProfile, way: Way, tls: bool, bytes: u64) -> Duration {
    let rate = match way {
        Way::Up => profile.up,
        Way::Down => profile.down,
    };
    let lost = match profile.loss.0 {
        0 => Duration::ZERO,
        _ => retransmission(profile),
    };
    serialization(on_wire(tls, bytes), rate) + profile.latency.longest() + lost
}

/// What one lost packet costs.
pub(super) fn retransmission(profile: &LinkProfile) -> Duration {
    (profile.latency.median() * 4).max(RETRANSMISSION_MIN)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Latency;
    use crate::faults::profile::{Drops, Quota};

    const DRAWS: Draws = Draws {
        luck: Luck::new(1),
        device: 1,
    };

    fn arrives(link: &mut Link, profile: &LinkProfile, way: Way, bytes: u64, now: SimTime) -> SimTime {
        link.packet(profile, way, false, bytes, now, DRAWS).arrives
    }

    #[test]
    fn a_rate_is_delivered_with_its_headers() {
        let profile = LinkProfile {
            down: Some(2_000_000),
            ..LinkProfile::fixed("two-megabit", Duration::from_millis(10))
        };
        let mut link = Link::default();
        let mut arrived = SimTime::ZERO;
        for _ in 0..100 {
            arrived = arrives(&mut link, &profile, Way::Down, 14_480, SimTime::ZERO);
        }
        let bits = 100.0 * 15_000.0 * 8.0;
        let rate = bits / (arrived.as_secs_f64() - 0.010);
        assert!((rate / 2e6 - 1.0).abs() < 1e-6, "{rate} bit/s");
    }

    #[test]
    fn nothing_overtakes_and_the_ways_are_independent() {
        let latency = Latency::lognormal(Duration::from_millis(14), Duration::from_millis(140));
        let profile = LinkProfile {
            latency,
            ..LinkProfile::fixed("wifi", Duration::ZERO)
        };
        let mut link = Link::default();
        let arrivals: Vec<_> = (0..200)
            .map(|n| arrives(&mut link, &profile, Way::Up, 100, SimTime::from_millis(n)))
            .collect();
        assert!(arrivals.is_sorted());
        let down = arrives(&mut link, &profile, Way::Down, 100, SimTime::ZERO);
        assert!(down < arrivals[199]);
    }

    #[test]
    fn a_lost_packet_costs_a_retransmission() {
        let lossy = LinkProfile {
            loss: Share(20_000),
            ..LinkProfile::fixed("lossy", Duration::from_millis(10))
        };
        let late = (0..10_000u64).filter(|&device| {
            let draws = Draws { device, ..DRAWS };
            let passage = Link::default().packet(&lossy, Way::Up, false, 100, SimTime::ZERO, draws);
            passage.arrives >= SimTime::from_millis(210)
        });
        let late = late.count();
        assert!((150..250).contains(&late), "{late} of 10,000 late at 2 % loss");
    }

    #[test]
    fn a_handshake_takes_its_round_trips() {
        let profile = LinkProfile::fixed("plain", Duration::from_millis(10));
        let mut link = Link::default();
        assert_eq!(
            link.handshake(&profile, false, SimTime::ZERO, DRAWS),
            Duration::from_millis(20)
        );
        assert_eq!(
            link.handshake(&profile, true, SimTime::ZERO, DRAWS),
            Duration::from_millis(40)
        );
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
            let from = Link::next_drop(&profile, now, DRAWS).unwrap();
            assert_eq!(from.as_nanos() / 180_000_000_000, period);
            let until = link.down_until(&profile, false, from, DRAWS).unwrap();
            assert!((5.0..=60.0).contains(&(until.as_secs_f64() - from.as_secs_f64())));
            assert_eq!(link.down_until(&profile, false, until, DRAWS), None);
            assert_eq!(link.down_until(&profile, true, from, DRAWS), None);
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
        arrives(&mut link, &profile, Way::Down, 5_000, SimTime::from_secs(1));
        assert_eq!(link.down_until(&profile, false, SimTime::from_secs(2), DRAWS), None);
        arrives(&mut link, &profile, Way::Down, 5_000, SimTime::from_secs(3));
        let back = SimTime::from_secs(3600);
        assert_eq!(link.down_until(&profile, false, SimTime::from_secs(4), DRAWS), Some(back));
        assert_eq!(link.down_until(&profile, true, SimTime::from_secs(4), DRAWS), Some(back));
        assert_eq!(link.down_until(&profile, false, back, DRAWS), None);
    }
}
