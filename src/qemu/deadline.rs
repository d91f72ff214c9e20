//! The bench's clock: moments by which something must have happened, and pauses between two looks.

use std::thread;
use std::time::{Duration, Instant};

/// A moment by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub(super) fn after(patience: Duration) -> Deadline {
        Deadline(now() + patience)
    }

    /// Time until then.
    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether it has passed.
    pub(super) fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// Waits between two looks at something that another process does.
#[expect(
    clippy::disallowed_methods,
    reason = "guests have threads of their own, which have nothing else to do"
)]
pub fn pause(time: Duration) {
    thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "what runs in a guest runs in real time")]
fn now() -> Instant {
    Instant::now()
}
