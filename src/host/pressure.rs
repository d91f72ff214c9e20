//! What weighs on the core: service time of messages, and how a parent wants the server to stand.

use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use crate::server::{Load, ServiceTime};
use crate::time::SimTime;
use crate::wire::api::ChildCondition;

/// Service time, and the parent's wishes.
pub(crate) struct Pressure {
    load: Load,
    condition: watch::Receiver<ChildCondition>,
    busy_until: SimTime,
}

impl Pressure {
    /// Every message of a device takes what `times` says, and what the condition adds.
    pub(crate) fn new(times: ServiceTime, condition: watch::Receiver<ChildCondition>) -> Pressure {
        Pressure {
            load: Load::new(times),
            condition,
            busy_until: SimTime::ZERO,
        }
    }

    /// True if no message takes any time.
    pub(crate) fn is_free(&self) -> bool {
        self.load.is_free() && self.condition.borrow().slow_ns == 0
    }

    /// True while nothing can be stored.
    pub(crate) fn disk_full(&self) -> bool {
        self.condition.borrow().disk_full
    }

    /// True while nobody is to be let in; a connection that was in its handshake when that began comes here late.
    pub(crate) fn lets_nobody_in(&self) -> bool {
        self.condition.borrow().outage
    }

    /// Takes the time of one message.
    pub(crate) async fn serve(&mut self, clock: Clock) {
        let now = clock.now();
        let slow = Duration::from_nanos(self.condition.borrow().slow_ns);
        self.busy_until = self.busy_until.max(now) + self.load.take(now) + slow;
        clock.sleep_until(Some(self.busy_until)).await;
    }

    /// Waits until everybody is to be put out.
    pub(crate) async fn outage(&mut self) {
        outage(&mut self.condition).await;
    }
}

/// Waits until an outage begins.
pub(crate) async fn outage(condition: &mut watch::Receiver<ChildCondition>) {
    loop {
        if condition.changed().await.is_err() {
            // Nobody wants one: the server was started by a person, or the parent is gone and this process soon.
            std::future::pending::<()>().await;
        }
        if condition.borrow().outage {
            return;
        }
    }
}
