//! The host's present: the machine's monotonic clock, counted from an epoch.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::time::SimTime;

/// Time since the epoch; copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// On CLOCK_MONOTONIC; below zero where the epoch is older than the machine's last start.
    epoch_ns: i128,
}

impl Clock {
    /// Counts from this moment.
    pub(crate) fn starting() -> Self {
        Clock {
            epoch_ns: monotonic_ns().into(),
        }
    }

    /// Counts from a moment of the calendar, milliseconds since 1970: a store's clock does not begin anew.
    pub(crate) fn since_calendar_ms(calendar_ms: u64) -> Self {
        let passed = i128::from(calendar_now_ms().saturating_sub(calendar_ms)) * 1_000_000;
        Clock {
            epoch_ns: i128::from(monotonic_ns()) - passed,
        }
    }

    /// Counts from `epoch_ns` on CLOCK_MONOTONIC, which processes of one machine share.
    pub(crate) fn since(epoch_ns: u64) -> Self {
        Clock {
            epoch_ns: epoch_ns.into(),
        }
    }

    /// The present; zero before the epoch.
    pub(crate) fn now(self) -> SimTime {
        let passed = i128::from(monotonic_ns()) - self.epoch_ns;
        SimTime::from_nanos(u64::try_from(passed.max(0)).unwrap_or(u64::MAX))
    }

    /// The epoch as the machine's calendar has it now, milliseconds since 1970.
    pub(crate) fn epoch_ms(self) -> u64 {
        calendar_now_ms().saturating_sub(self.now().as_nanos() / 1_000_000)
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

/// The calendar's present, milliseconds since 1970.
pub(crate) fn calendar_now_ms() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    let since_1970 = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32);
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
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

    #[test]
    fn a_clock_goes_on_from_a_moment_before_the_machine_was_started() {
        let decades = 30 * 365 * 86_400_000;
        let clock = Clock::since_calendar_ms(calendar_now_ms() - decades);
        assert!(clock.now().as_nanos() >= decades * 1_000_000);
        assert!(clock.epoch_ms().abs_diff(calendar_now_ms() - decades) < 1_000);
    }
}
