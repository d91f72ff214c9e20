//! What will happen, in order: by time, then by device, then in the order in which it was scheduled for that device.
//!
//! Two queues keep this order: a heap, which is the reference, and the wheel, which is fast. A simulation with either is the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::DeviceIndex;
use crate::time::SimTime;
use crate::wire::{DownloadRequest, ImageAnswer, Packet};

use super::wheel::Wheel;

pub(super) use super::wheel::STAGES;

/// Something that happens to one device, or to the server because of it.
#[derive(Debug)]
pub(super) enum Event {
    /// The device is first powered on.
    PowerOn,
    /// The device's next timer is due, unless it was set anew since.
    Wake {
        /// Which setting of the timer.
        generation: u32,
    },
    /// TCP and TLS of this connection are up.
    Connected {
        /// Number of the connection.
        connection: u32,
    },
    /// A packet reaches the device.
    Delivered {
        /// Number of the connection.
        connection: u32,
        /// Which.
        packet: Box<Packet>,
    },
    /// The server's closing of a connection reaches the device.
    Closed {
        /// Number of the connection.
        connection: u32,
    },
    /// A connection reaches the server.
    Opened {
        /// Number of the connection.
        connection: u32,
    },
    /// A packet reaches the server.
    Received {
        /// Number of the connection.
        connection: u32,
        /// Which.
        packet: Box<Packet>,
    },
    /// The device's closing of a connection reaches the server.
    Gone {
        /// Number of the connection.
        connection: u32,
    },
    /// An image request reaches the server.
    Requested {
        /// Number of the download.
        download: u32,
        /// What is wanted.
        request: Box<DownloadRequest>,
    },
    /// The server's answer reaches the device.
    Answered {
        /// Number of the download.
        download: u32,
        /// With the body, which follows as fast as the path allows.
        answer: Box<ImageAnswer>,
    },
}

/// An event and its place in the order.
#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) at: SimTime,
    pub(super) device: DeviceIndex,
    /// Counts what is scheduled for this device.
    pub(super) sequence: u32,
    pub(super) event: Event,
}

/// Which queue a simulation is played with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    /// The reference, which takes no short cuts: every event goes through the queue.
    Heap,
    /// The fast one.
    #[default]
    Wheel,
}

/// A queue of either kind.
#[derive(Debug)]
pub(super) enum Queue {
    Heap(Heap),
    Wheel(Box<Wheel>),
}

impl Queue {
    /// An empty queue.
    pub(super) fn new(kind: QueueKind) -> Queue {
        match kind {
            QueueKind::Heap => Queue::Heap(Heap::default()),
            QueueKind::Wheel => Queue::Wheel(Box::default()),
        }
    }

    /// Adds an event, which happens no earlier than the one taken out last.
    pub(super) fn push(&mut self, scheduled: Scheduled) {
        match self {
            Queue::Heap(heap) => heap.push(scheduled),
            Queue::Wheel(wheel) => wheel.push(scheduled),
        }
    }

    /// When the first event happens.
    pub(super) fn next_at(&mut self) -> Option<SimTime> {
        match self {
            Queue::Heap(heap) => heap.next_at(),
            Queue::Wheel(wheel) => wheel.next_at(),
        }
    }

    /// A device whose next event has come within `near` of its turn, each once a stage; only the fast queue knows.
    pub(super) fn coming(&mut self, stage: usize, near: usize) -> Option<DeviceIndex> {
        match self {
            Queue::Heap(_) => None,
            Queue::Wheel(wheel) => wheel.coming(stage, near),
        }
    }

    /// Takes the first event out.
    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        match self {
            Queue::Heap(heap) => heap.pop(),
            Queue::Wheel(wheel) => wheel.pop(),
        }
    }
}

/// A binary heap: the reference that the wheel must agree with.
#[derive(Debug, Default)]
pub(super) struct Heap {
    heap: BinaryHeap<Reverse<Scheduled>>,
}

impl Heap {
    /// Adds an event.
    pub(super) fn push(&mut self, scheduled: Scheduled) {
        self.heap.push(Reverse(scheduled));
    }

    /// When the first event happens.
    pub(super) fn next_at(&self) -> Option<SimTime> {
        self.first().map(|scheduled| scheduled.at)
    }

    /// The first event.
    pub(super) fn first(&self) -> Option<&Scheduled> {
        self.heap.peek().map(|Reverse(scheduled)| scheduled)
    }

    /// Takes the first event out.
    pub(super) fn pop(&mut self) -> Option<Scheduled> {
        self.heap.pop().map(|Reverse(scheduled)| scheduled)
    }
}

impl Scheduled {
    fn order(&self) -> (SimTime, DeviceIndex, u32) {
        (self.at, self.device, self.sequence)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_time_then_device_then_the_devices_own_sequence() {
        let mut queue = Heap::default();
        for (at, device, sequence) in [(2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 0)] {
            queue.push(Scheduled {
                at: SimTime::from_nanos(at),
                device: DeviceIndex(device),
                sequence,
                event: Event::PowerOn,
            });
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|next| (next.at.as_nanos(), next.device.0, next.sequence))
            .collect();
        assert_eq!(taken, [(1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)]);
        assert_eq!(queue.next_at(), None);
    }

    /// One of each idle device waits in the queue.
    #[test]
    fn what_is_scheduled_is_small() {
        assert_eq!(size_of::<Scheduled>(), 32);
    }
}
