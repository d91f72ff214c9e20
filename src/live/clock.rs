//! The one place that reads the real clock.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::time::SimTime;

/// Maps the machine's monotonic clock to the run's own time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    zero: Instant,
    zero_monotonic_ns: u64,
}

impl Clock {
    /// A clock whose time zero lies `lead` ahead.
    #[expect(clippy::disallowed_methods, reason = "the live clock is the one place that reads it")]
    pub fn starting_in(lead: Duration) -> Clock {
        let lead_ns = u64::try_from(lead.as_nanos()).expect("a lead is seconds, not centuries");
        Clock {
            zero: Instant::now() + lead,
            zero_monotonic_ns: monotonic_ns().saturating_add(lead_ns),
        }
    }

    /// A clock whose time zero is a moment of the machine's own clock.
    ///
    /// # Errors
    ///
    /// How late it is, where that moment is over.
    #[expect(clippy::disallowed_methods, reason = "the live clock is the one place that reads it")]
    pub fn starting_at(moment: SystemTime) -> Result<Clock, Duration> {
        let lead = moment.duration_since(SystemTime::now());
        lead.map(Clock::starting_in).map_err(|late| late.duration())
    }

    /// The present; time zero until it has come.
    #[expect(clippy::disallowed_methods, reason = "the live clock is the one place that reads it")]
    pub fn now(&self) -> SimTime {
        SimTime::ZERO + Instant::now().saturating_duration_since(self.zero)
    }

    /// When `at` is on tokio's clock.
    pub fn instant(&self, at: SimTime) -> Instant {
        self.zero + Duration::from_nanos(at.as_nanos())
    }

    /// The run's time of a moment that another process stamped, relative to its epoch on the machine's monotonic clock.
    pub fn stamped(&self, epoch_monotonic_ns: u64, at_ns: u64) -> SimTime {
        SimTime::from_nanos(
            epoch_monotonic_ns
                .saturating_add(at_ns)
                .saturating_sub(self.zero_monotonic_ns),
        )
    }
}

/// Time since a moment, for threads that wait for what another process does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// From now on.
    #[expect(clippy::disallowed_methods, reason = "what runs in another process runs in real time")]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// How long ago that was.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Timers of one try to see how late they wake with nothing else to do, and how far they are apart.
const PROBES: u32 = 200;
const PROBES_APART: Duration = Duration::from_micros(500);
/// Tries, the best of which counts: another process that takes the processor for a moment says nothing of the timers.
const TRIES: usize = 3;

/// How late timers wake with nothing else to do, 99th percentile; takes a tenth of a second where that is at most `enough`.
pub(crate) async fn lateness_at_rest(enough: Duration) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        best = best.min(probed().await);
        if best <= enough {
            break;
        }
    }
    best
}

#[expect(clippy::disallowed_methods, reason = "the live clock is the one place that reads it")]
async fn probed() -> Duration {
    let begun = Instant::now();
    let mut probes = tokio::task::JoinSet::new();
    for probe in 1..=PROBES {
        let due = begun + PROBES_APART * probe;
        probes.spawn(async move {
            tokio::time::sleep_until(due).await;
            Instant::now().saturating_duration_since(due)
        });
    }
    let mut late = probes.join_all().await;
    late.sort_unstable();
    late[late.len() * 99 / 100 - 1]
}

/// The machine's monotonic clock, nanoseconds: the same in every process.
pub(crate) fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).expect("the monotonic clock is never negative");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_of_another_process_keeps_its_place() {
        let clock = Clock::starting_in(Duration::from_secs(5));
        let epoch = clock.zero_monotonic_ns - 3_000_000_000;
        assert_eq!(clock.stamped(epoch, 4_000_000_000), SimTime::from_secs(1));
        assert_eq!(clock.stamped(epoch, 1_000_000_000), SimTime::ZERO);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn timers_at_rest_are_looked_at() {
        let late = lateness_at_rest(Duration::MAX).await;
        assert!(!late.is_zero() && late < Duration::from_secs(60), "{late:?}");
    }

    #[test]
    fn time_stands_at_zero_until_the_start() {
        assert_eq!(Clock::starting_in(Duration::from_secs(60)).now(), SimTime::ZERO);
    }
}
