//! What the core wants said on one connection, waiting for the connection's task: bounded, so that a client that does not read is
//! closed instead of served from memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::wire::Packet;

/// Queue between the core's thread and one connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Packets that may wait for the client.
    room: usize,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

/// What a connection has to do next.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Send these.
    pub(crate) packets: Vec<Packet>,
    /// Then end, if so.
    pub(crate) end: Option<End>,
}

/// How a connection ends from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After what waits has been sent.
    Flushed,
    /// At once.
    Aborted,
}

impl Outbox {
    /// An empty one with room for so many packets.
    pub(crate) fn new(room: u64) -> Outbox {
        Outbox {
            room: usize::try_from(room).unwrap_or(usize::MAX),
            waiting: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Queues a packet; false if the client reads too slowly, whose connection then ends.
    #[must_use]
    pub(crate) fn push(&self, packet: Packet) -> bool {
        let mut waiting = self.lock();
        let room = waiting.packets.len() < self.room;
        if room {
            waiting.packets.push(packet);
        } else {
            *waiting = Waiting {
                packets: Vec::new(),
                end: Some(End::Aborted),
            };
        }
        drop(waiting);
        self.changed.notify_one();
        room
    }

    /// Ends the connection after what waits.
    pub(crate) fn close(&self) {
        self.lock().end.get_or_insert(End::Flushed);
        self.changed.notify_one();
    }

    /// Ends the connection at once.
    pub(crate) fn abort(&self) {
        *self.lock() = Waiting {
            packets: Vec::new(),
            end: Some(End::Aborted),
        };
        self.changed.notify_one();
    }

    /// Takes what waits.
    pub(crate) fn take(&self) -> Waiting {
        let mut waiting = self.lock();
        Waiting {
            packets: std::mem::take(&mut waiting.packets),
            end: waiting.end,
        }
    }

    /// Waits until something may have changed since [`Outbox::take`].
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until the connection must end at once.
    pub(crate) async fn aborted(&self) {
        while self.lock().end != Some(End::Aborted) {
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_is_cut_off_and_what_waited_is_forgotten() {
        let outbox = Outbox::new(9);
        for _ in 0..9 {
            assert!(outbox.push(Packet::PingResponse));
        }
        assert!(!outbox.push(Packet::PingResponse));
        let waiting = outbox.take();
        assert_eq!((waiting.packets.len(), waiting.end), (0, Some(End::Aborted)));
    }

    #[test]
    fn closing_keeps_what_waits() {
        let outbox = Outbox::new(9);
        assert!(outbox.push(Packet::PingResponse));
        outbox.close();
        let waiting = outbox.take();
        assert_eq!((waiting.packets.len(), waiting.end), (1, Some(End::Flushed)));
    }
}
