//! What weighs on the core: service time of messages, and how a parent wants the server to stand.

use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use crate::time::SimTime;
use crate::wire::api::ChildCondition;

/// Service time, and the parent's wishes.
pub(crate) struct Pressure {
    delay: Duration,
    condition: watch::Receiver<ChildCondition>,
    busy_until: SimTime,
}

impl Pressure {
    /// Every message of a device takes `delay`, and what the condition adds.
    pub(crate) fn new(delay: Duration, condition: watch::Receiver<ChildCondition>) -> Pressure {
        Pressure {
            delay,
            condition,
            busy_until: SimTime::ZERO,
        }
    }

    /// How much each message takes.
    pub(crate) fn service(&self) -> Duration {
        self.delay + Duration::from_nanos(self.condition.borrow().slow_ns)
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
        self.busy_until = self.busy_until.max(clock.now()) + self.service();
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
