//! The run's own clock type.
//!
//! Every core receives the present as an argument of type [`SimTime`]; none of them can ask for it. Zero is the start of the
//! run in both modes. The absence of a deadline is `None`, never a far future.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds since the start of the run, up to 2^64 - 2.
///
/// Kept as one more than their number, so that a moment that may be missing takes no more room: most of an idle device's state is
/// deadlines that it does not have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(NonZeroU64);

impl SimTime {
    /// The start of the run.
    pub const ZERO: SimTime = SimTime(NonZeroU64::MIN);

    /// The moment `nanos` nanoseconds after the start of the run.
    pub const fn from_nanos(nanos: u64) -> Self {
        SimTime(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// The moment `millis` milliseconds after the start of the run.
    pub const fn from_millis(millis: u64) -> Self {
        SimTime::from_nanos(millis * 1_000_000)
    }

    /// The moment `secs` seconds after the start of the run.
    pub const fn from_secs(secs: u64) -> Self {
        SimTime::from_nanos(secs * 1_000_000_000)
    }

    /// Nanoseconds since the start of the run.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// Seconds since the start of the run, for display and for reports.
    pub fn as_secs_f64(self) -> f64 {
        self.as_nanos() as f64 / 1e9
    }

    /// Time that has passed since `earlier`; zero if `earlier` lies ahead.
    pub const fn since(self, earlier: SimTime) -> Duration {
        Duration::from_nanos(self.as_nanos().saturating_sub(earlier.as_nanos()))
    }
}

impl Default for SimTime {
    fn default() -> Self {
        SimTime::ZERO
    }
}

/// As nanoseconds.
impl Serialize for SimTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.as_nanos())
    }
}

impl<'de> Deserialize<'de> for SimTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(SimTime::from_nanos)
    }
}

impl fmt::Debug for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimTime").field(&self.as_nanos()).finish()
    }
}

impl From<Duration> for SimTime {
    fn from(since_start: Duration) -> Self {
        SimTime::from_nanos(nanos(since_start))
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
        SimTime::from_nanos(self.as_nanos().saturating_sub(nanos(earlier)))
    }
}

impl fmt::Display for SimTime {
    /// Seconds with six decimals, as traces write them: `12.345678`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}",
            self.as_nanos() / 1_000_000_000,
            self.as_nanos() % 1_000_000_000 / 1_000
        )
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
    fn a_moment_that_may_be_missing_takes_no_more_room() {
        assert_eq!(size_of::<Option<SimTime>>(), size_of::<SimTime>());
        assert_eq!(SimTime::from_nanos(7).as_nanos(), 7);
        assert!(SimTime::ZERO < SimTime::from_nanos(1) && SimTime::default() == SimTime::ZERO);
        assert_eq!(format!("{:?}", SimTime::from_nanos(7)), "SimTime(7)");
    }

    #[test]
    fn prints_seconds_to_the_microsecond() {
        assert_eq!(SimTime::from_nanos(12_345_678_901).to_string(), "12.345678");
    }
}
