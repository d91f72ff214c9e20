//! The body of an image answer on its way: how much of it has arrived, at any moment, without an event for each packet.
//!
//! The server has at most [`WINDOW`] bytes under way that the device has not read, as TCP's window allows. What the window lets in at
//! once is a train: it leaves at the rate of the path and stays on it for the latency of the answer. MQTT packets of the same device go
//! in between and push back what has not left yet; a lost segment holds back all that is behind it for a retransmission.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::SimTime;
use crate::wire::overhead::Traffic;

use super::link::{Draws, Passage, SEGMENT, retransmission, serialization};
use super::profile::LinkProfile;

/// Most bytes under way that the device has not read.
pub const WINDOW: u64 = 64 * 1024;

/// A body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Number of the request, for draws.
    request: u32,
    tls: bool,
    /// On the way to the device.
    latency: Duration,
    /// Until the server hears that the device has read.
    hearing: Duration,
    /// Bits a second that the fault `slow` allows.
    pub(super) slow: Option<u64>,
    total: Option<u64>,
    entered: u64,
    read: u64,
    /// When the last byte that has entered has left.
    left: SimTime,
    trains: VecDeque<Train>,
}

/// Bytes that follow each other without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Train {
    first: u64,
    end: u64,
    /// The first byte begins to leave.
    begins: SimTime,
    rate: Option<u64>,
    /// Nothing of it arrives before.
    floor: SimTime,
}

impl Flow {
    /// The body that follows a head, of `total` bytes where the head says so.
    pub(super) fn behind(
        head: Passage,
        profile: &LinkProfile,
        request: u32,
        tls: bool,
        total: Option<u64>,
        slow: Option<u64>,
        draws: Draws,
    ) -> Flow {
        let mut flow = Flow {
            request,
            tls,
            latency: head.arrives.since(head.left),
            hearing: profile.latency.median(),
            slow,
            total,
            entered: 0,
            read: 0,
            left: head.left,
            trains: VecDeque::new(),
        };
        flow.fill(profile, head.left, head.arrives, draws);
        flow
    }

    /// Bytes that can still come.
    pub(super) fn rest(&self) -> u64 {
        self.total.map_or(u64::MAX, |total| total.saturating_sub(self.read))
    }

    /// When `bytes` more, at most the window, have arrived; of what is left, if that is less.
    pub(super) fn arrival(&self, bytes: u64) -> SimTime {
        let end = self.read + bytes.min(self.rest()).min(WINDOW);
        let train = self.trains.iter().find(|train| train.end >= end);
        train.map_or(SimTime::ZERO, |train| self.arrives(train, end))
    }

    /// The device has read `bytes`: the window moves on; what it lets in does not leave before the path is `free`. Gives the bytes on
    /// the wire that were read.
    pub(super) fn read(&mut self, bytes: u64, profile: &LinkProfile, now: SimTime, free: SimTime, draws: Draws) -> u64 {
        let before = self.read;
        self.read += bytes.min(self.entered - self.read);
        while self.trains.front().is_some_and(|train| train.end <= self.read) {
            self.trains.pop_front();
        }
        self.fill(profile, free.max(now + self.hearing), SimTime::ZERO, draws);
        wire(self.tls, self.read) - wire(self.tls, before)
    }

    /// An MQTT packet leaves from `begins` on and takes the path for so long.
    pub(super) fn make_way(&mut self, begins: SimTime, taken: Duration) {
        if taken.is_zero() || self.left <= begins {
            return;
        }
        let mut split = None;
        for (place, train) in self.trains.iter_mut().enumerate() {
            if train.begins >= begins {
                train.begins += taken;
            } else if leaves(train, self.tls, train.end) > begins {
                split = Some((place, cut(train, self.tls, begins)));
            }
        }
        if let Some((place, at)) = split {
            let whole = self.trains[place];
            self.trains[place].end = at;
            let rest = Train {
                first: at,
                begins: begins + taken,
                ..whole
            };
            self.trains.insert(place + 1, rest);
            self.trains.retain(|train| train.first < train.end);
        }
        self.left += taken;
    }

    /// Lets in what the window allows, not before `from`.
    fn fill(&mut self, profile: &LinkProfile, from: SimTime, floor: SimTime, draws: Draws) {
        let end = (self.read + WINDOW).min(self.total.unwrap_or(u64::MAX));
        if end <= self.entered {
            return;
        }
        let rate = match (profile.down, self.slow) {
            (Some(rate), Some(slow)) => Some(rate.min(slow)),
            (rate, slow) => rate.or(slow),
        };
        let floor = self.trains.back().map_or(floor, |last| floor.max(last.floor));
        let mut train = Train {
            first: self.entered,
            end,
            begins: from.max(self.left),
            rate,
            floor,
        };
        if profile.loss.0 > 0 {
            let losses = draws.losses(profile);
            for segment in self.entered.div_ceil(SEGMENT)..end.div_ceil(SEGMENT) {
                let at = segment * SEGMENT;
                if !losses.hit(1 << 63 | u64::from(self.request) << 24 | segment) {
                    continue;
                }
                let lost_at = leaves(&train, self.tls, at);
                let behind = Train {
                    first: at,
                    begins: lost_at,
                    floor: train.floor.max(lost_at + self.latency + retransmission(profile)),
                    ..train
                };
                train.end = at;
                if train.first < train.end {
                    self.trains.push_back(train);
                }
                train = behind;
            }
        }
        self.left = leaves(&train, self.tls, end);
        self.trains.push_back(train);
        self.entered = end;
    }

    fn arrives(&self, train: &Train, end: u64) -> SimTime {
        train.floor.max(leaves(train, self.tls, end) + self.latency)
    }
}

/// When the bytes of a train up to `end` have left.
fn leaves(train: &Train, tls: bool, end: u64) -> SimTime {
    train.begins + serialization(wire(tls, end) - wire(tls, train.first), train.rate)
}

/// The first position of a train that has not left by `by`.
fn cut(train: &Train, tls: bool, by: SimTime) -> u64 {
    let (mut low, mut high) = (train.first, train.end);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if leaves(train, tls, middle) <= by {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Bytes on the wire for the first `bytes` of a body.
fn wire(tls: bool, bytes: u64) -> u64 {
    Traffic::receiving(tls, bytes).received
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::luck::Luck;
    use crate::model::Share;

    const DRAWS: Draws = Draws {
        luck: Luck::new(1),
        device: 1,
    };

    fn profile(down: u64, one_way: u64) -> LinkProfile {
        LinkProfile {
            down: Some(down),
            ..LinkProfile::fixed("test", Duration::from_millis(one_way))
        }
    }

    fn body(profile: &LinkProfile, total: u64) -> Flow {
        let head = Passage {
            on_wire: 0,
            begins: SimTime::ZERO,
            left: SimTime::ZERO,
            arrives: SimTime::ZERO + profile.latency.median(),
        };
        Flow::behind(head, profile, 1, false, Some(total), None, DRAWS)
    }

    /// Reads everything, a page at a time, as fast as it comes; gives the time.
    fn read_all(flow: &mut Flow, profile: &LinkProfile) -> SimTime {
        let mut now = SimTime::ZERO;
        while flow.rest() > 0 {
            let bytes = flow.rest().min(4096);
            now = now.max(flow.arrival(bytes));
            flow.read(bytes, profile, now, SimTime::ZERO, DRAWS);
        }
        now
    }

    /// Bytes that have arrived by `now` and were not read.
    fn arrived(flow: &Flow, now: SimTime) -> u64 {
        (0..=WINDOW.min(flow.rest()))
            .rev()
            .find(|&bytes| bytes == 0 || flow.arrival(bytes) <= now)
            .unwrap()
    }

    #[test]
    fn a_body_comes_at_the_rate_of_the_path() {
        let profile = profile(2_000_000, 10);
        let total = 1_448 * 500;
        let took = read_all(&mut body(&profile, total), &profile);
        let rate = 500.0 * 1500.0 * 8.0 / (took.as_secs_f64() - 0.010);
        assert!((rate / 2e6 - 1.0).abs() < 1e-5, "{rate} bit/s");
    }

    #[test]
    fn a_window_a_round_trip_is_all_that_a_long_path_gives() {
        let profile = profile(1_000_000_000, 310);
        let took = read_all(&mut body(&profile, 10 * WINDOW), &profile);
        // The first window half a round trip after the head, each further one a whole after the first bytes of the one before.
        let ideal = 0.310 + 9.0 * 0.620;
        assert!((took.as_secs_f64() / ideal - 1.0).abs() < 0.02, "{took}");
    }

    #[test]
    fn a_device_that_reads_late_finds_a_window_and_no_more() {
        let profile = profile(8_000_000, 10);
        let mut flow = body(&profile, 3 * WINDOW);
        let late = SimTime::from_secs(60);
        assert_eq!(arrived(&flow, late), WINDOW);
        flow.read(4096, &profile, late, SimTime::ZERO, DRAWS);
        assert_eq!(arrived(&flow, late), WINDOW - 4096);
        assert!(flow.arrival(WINDOW) >= late + Duration::from_millis(20));
        assert_eq!(arrived(&flow, late + Duration::from_secs(1)), WINDOW);
    }

    #[test]
    fn packets_in_between_push_back_what_has_not_left() {
        let profile = profile(2_000_000, 10);
        let mut flow = body(&profile, WINDOW);
        let before = (flow.arrival(4_344), flow.arrival(WINDOW));
        flow.make_way(SimTime::from_millis(100), Duration::from_millis(50));
        assert_eq!(flow.arrival(4_344), before.0, "has left by then");
        let shifted = flow.arrival(WINDOW).since(before.1);
        assert!(
            (Duration::from_millis(50)..Duration::from_millis(51)).contains(&shifted),
            "{shifted:?}"
        );
        let position = arrived(&flow, SimTime::from_millis(110));
        assert_eq!(arrived(&flow, SimTime::from_millis(159)), position, "nothing comes meanwhile");
    }

    #[test]
    fn a_lost_segment_holds_back_what_is_behind_it() {
        let lossy = LinkProfile {
            loss: Share(50_000),
            ..profile(20_000_000, 10)
        };
        let clean = read_all(&mut body(&profile(20_000_000, 10), 4 * WINDOW), &profile(20_000_000, 10));
        let took = read_all(&mut body(&lossy, 4 * WINDOW), &lossy);
        // 182 segments at 5 %: some nine retransmissions of 200 ms, of which those in one window overlap.
        let extra = took.since(clean);
        assert!(
            (Duration::from_millis(400)..Duration::from_millis(2_600)).contains(&extra),
            "{extra:?}"
        );
        let mut flow = body(&lossy, WINDOW);
        let arrivals: Vec<_> = (1..=64).map(|kib| flow.arrival(kib * 1024)).collect();
        assert!(arrivals.is_sorted());
        flow.read(WINDOW, &lossy, SimTime::from_secs(9), SimTime::ZERO, DRAWS);
        assert_eq!((flow.rest(), flow.trains.len()), (0, 0));
    }

    #[test]
    fn a_slow_server_is_slower_than_the_path() {
        let profile = profile(2_000_000, 10);
        let mut flow = body(&profile, 8 * WINDOW);
        flow.slow = Some(200_000);
        let took = read_all(&mut flow, &profile).as_secs_f64();
        // All but the first window, which was under way.
        let ideal = 7.0 * 65_536.0 * 8.0 * 1500.0 / 1448.0 / 200_000.0;
        assert!((took / ideal - 1.0).abs() < 0.03, "{took} s of {ideal} s");
    }
}
