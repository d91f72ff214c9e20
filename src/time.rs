//! The run's own clock type.
//!
//! Every core receives the present as an argument of type [`SimTime`]; none of them can ask for it. Zero is the start of the
//! run in both modes. The absence of a deadline is `None`, never a far future.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(u64);

impl SimTime {
    /// The start of the run.
    pub const ZERO: SimTime = SimTime(0);

    /// The moment `nanos` nanoseconds after the start of the run.
    pub const fn from_nanos(nanos: u64) -> Self {
        SimTime(nanos)
    }

    /// The moment `millis` milliseconds after the start of the run.
    pub const fn from_millis(millis: u64) -> Self {
        SimTime(millis * 1_000_000)
    }

    /// The moment `secs` seconds after the start of the run.
    pub const fn from_secs(secs: u64) -> Self {
        SimTime(secs * 1_000_000_000)
    }

    /// Nanoseconds since the start of the run.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start of the run, for display and for reports.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time that has passed since `earlier`; zero if `earlier` lies ahead.
    pub const fn since(self, earlier: SimTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Duration> for SimTime {
    fn from(since_start: Duration) -> Self {
        SimTime(nanos(since_start))
    }
}

impl Add<Duration> for SimTime {
    type Output = SimTime;

    fn add(self, later: Duration) -> SimTime {
        SimTime(self.0.saturating_add(nanos(later)))
    }
}

impl AddAssign<Duration> for SimTime {
    fn add_assign(&mut self, later: Duration) {
        *self = *self + later;
    }
}

impl Sub<Duration> for SimTime {
    type Output = SimTime;

    fn sub(self, earlier: Duration) -> SimTime {
        SimTime(self.0.saturating_sub(nanos(earlier)))
    }
}

impl fmt::Display for SimTime {
    /// Seconds with six decimals, as traces write them: `12.345678`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

/// A duration in nanoseconds, saturating after 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(SimTime::from_secs(1) - Duration::from_secs(2), SimTime::ZERO);
        assert_eq!(
            SimTime::from_nanos(u64::MAX) + Duration::from_secs(1),
            SimTime::from_nanos(u64::MAX)
        );
        assert_eq!(SimTime::ZERO.since(SimTime::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn prints_seconds_to_the_microsecond() {
        assert_eq!(SimTime::from_nanos(12_345_678_901).to_string(), "12.345678");
    }
}
