//! The host's present: the machine's monotonic clock, counted from an epoch.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::time::SimTime;

/// Time since the epoch; copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch_ns: u64,
}

impl Clock {
    /// Counts from this moment.
    pub(crate) fn starting() -> Self {
        Clock {
            epoch_ns: monotonic_ns(),
        }
    }

    /// Counts from `epoch_ns` on CLOCK_MONOTONIC, which processes of one machine share.
    pub(crate) fn since(epoch_ns: u64) -> Self {
        Clock { epoch_ns }
    }

    /// The present; zero before the epoch.
    pub(crate) fn now(self) -> SimTime {
        SimTime::from_nanos(monotonic_ns().saturating_sub(self.epoch_ns))
    }

    /// The epoch as the machine's calendar has it now, milliseconds since 1970.
    pub(crate) fn epoch_ms(self) -> u64 {
        let calendar = clock_gettime(ClockId::Realtime);
        let since_1970 = Duration::new(calendar.tv_sec.unsigned_abs(), calendar.tv_nsec.unsigned_abs() as u32);
        let passed = Duration::from_nanos(self.now().as_nanos());
        u64::try_from(since_1970.saturating_sub(passed).as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until `due`; for ever if that is never.
    pub(crate) async fn sleep_until(self, due: Option<SimTime>) {
        match due {
            Some(due) => tokio::time::sleep(due.since(self.now())).await,
            None => std::future::pending().await,
        }
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let since_boot = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32);
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ahead_reads_as_zero_and_an_epoch_behind_as_what_has_passed() {
        let present = monotonic_ns();
        assert_eq!(Clock::since(u64::MAX).now(), SimTime::ZERO);
        let hour_ago = present.saturating_sub(3_600_000_000_000);
        assert!(Clock::since(hour_ago).now().as_nanos() >= present - hour_ago);
    }
}
