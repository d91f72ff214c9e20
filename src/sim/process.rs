//! The server's process in virtual time: what waits for it, what it has made durable, and what its faults do to it.
//!
//! Without faults and service time nothing waits here and nothing is kept. Where a crash is planned, records are kept as a store on
//! disk would, and what they reveal is held back until they are synced: a crash drops what was not.

use std::collections::VecDeque;
use std::time::Duration;

use crate::faults::{ServerCondition, ServerFaultKind};
use crate::model::{DeviceIndex, ServerEvent};
use crate::scenario::Plan;
use crate::server::{Record, ServerOutput, ServerOutputs, Stamp};
use crate::time::SimTime;

use super::queue::Event;

/// How long a batch takes until it is on the disk: an ordinary solid-state disk's.
const SYNC: Duration = Duration::from_millis(2);

/// How the process stands.
#[derive(Debug, Default)]
pub(super) struct Process {
    condition: ServerCondition,
    /// Service time of a message where nothing slows the server.
    delay: Duration,
    /// What has reached the process and not been handled, each with when it is to be.
    waiting: VecDeque<(SimTime, DeviceIndex, Event)>,
    busy_until: SimTime,
    journal: Option<Journal>,
}

/// A store as far as a crash needs it.
#[derive(Debug, Default)]
struct Journal {
    synced: Vec<(Stamp, Record)>,
    /// Batches on their way to the disk, with when they are there.
    syncing: VecDeque<(SimTime, ServerOutputs)>,
}

/// What is there after a crash.
pub(super) struct Survived {
    /// The records to restore a server from.
    pub(super) records: Vec<(Stamp, Record)>,
    /// What was durable and had been told to nobody.
    pub(super) untold: Vec<ServerEvent>,
}

impl Process {
    pub(super) fn new(plan: &Plan) -> Process {
        let crashes = plan.server_faults.iter().any(|fault| fault.kind == ServerFaultKind::Crash);
        Process {
            delay: plan.server.delay,
            journal: crashes.then(Journal::default),
            ..Process::default()
        }
    }

    /// How it stands.
    pub(super) fn condition(&self) -> ServerCondition {
        self.condition
    }

    /// True while nobody can connect.
    pub(super) fn refuses(&self) -> bool {
        self.condition.down || self.condition.outage
    }

    /// True while it handles nothing.
    pub(super) fn is_still(&self) -> bool {
        self.condition.down || self.condition.frozen || self.condition.disk_full
    }

    /// Changes how it stands; what waited while it was stopped is handled from now on.
    pub(super) fn stand(&mut self, condition: ServerCondition, now: SimTime) {
        let was_still = self.is_still();
        self.condition = condition;
        if was_still && !self.is_still() {
            self.busy_until = now;
            for (device, event) in std::mem::take(&mut self.waiting)
                .into_iter()
                .map(|(_, device, event)| (device, event))
            {
                self.wait(device, event, now);
            }
        }
    }

    /// Something reaches the process: given back if it is to be handled at once.
    pub(super) fn reach(&mut self, device: DeviceIndex, event: Event, now: SimTime) -> Option<Event> {
        if !self.is_still() && self.service().is_zero() && self.waiting.is_empty() {
            return Some(event);
        }
        self.wait(device, event, now);
        None
    }

    /// When something is due that waited.
    pub(super) fn next_due(&self) -> Option<SimTime> {
        if self.is_still() {
            return None;
        }
        let synced = self.journal.as_ref().and_then(|journal| journal.syncing.front());
        let waiting = self.waiting.front().map(|(due, _, _)| *due);
        [waiting, synced.map(|(due, _)| *due)].into_iter().flatten().min()
    }

    /// Takes out what waited and is due.
    pub(super) fn next_waiting(&mut self, now: SimTime) -> Option<(DeviceIndex, Event)> {
        let (_, device, event) = self.waiting.pop_front_if(|(due, _, _)| *due <= now)?;
        Some((device, event))
    }

    /// Takes out the next batch that is on the disk.
    pub(super) fn next_synced(&mut self, now: SimTime) -> Option<ServerOutputs> {
        let syncing = &mut self.journal.as_mut()?.syncing;
        syncing.pop_front_if(|(due, _)| *due <= now).map(|(_, outputs)| outputs)
    }

    /// What the server wants done: given back if nothing has to be synced before.
    pub(super) fn commit(&mut self, outputs: ServerOutputs, now: SimTime) -> Option<ServerOutputs> {
        match &mut self.journal {
            Some(journal) if !outputs.is_empty() => {
                journal.syncing.push_back((now + SYNC, outputs));
                None
            }
            Some(_) | None => Some(outputs),
        }
    }

    /// Keeps a record that is on the disk.
    pub(super) fn keep(&mut self, stamp: Stamp, record: Record) {
        if let Some(journal) = &mut self.journal {
            journal.synced.push((stamp, record));
        }
    }

    /// Ends the process. The batch that was being written may have come to the disk, as `synced` says; the others have not.
    pub(super) fn crash(&mut self, synced: bool) -> Survived {
        self.waiting.clear();
        let mut untold = Vec::new();
        let Some(journal) = &mut self.journal else {
            let records = Vec::new();
            return Survived { records, untold };
        };
        let under_way = std::mem::take(&mut journal.syncing).into_iter().next();
        for output in under_way.filter(|_| synced).into_iter().flat_map(|(_, outputs)| outputs) {
            match output {
                ServerOutput::Record { stamp, record } => journal.synced.push((stamp, record)),
                ServerOutput::Observed(event) => untold.push(event),
                ServerOutput::Transmit { .. } | ServerOutput::Close(_) | ServerOutput::Answer { .. } => {}
            }
        }
        let records = journal.synced.clone();
        Survived { records, untold }
    }

    /// True where what is asked must be kept until it is answered.
    pub(super) fn may_crash(&self) -> bool {
        self.journal.is_some()
    }

    fn service(&self) -> Duration {
        self.delay + self.condition.slow
    }

    fn wait(&mut self, device: DeviceIndex, event: Event, now: SimTime) {
        let begins = self.busy_until.max(now);
        let takes = match event {
            Event::Received { .. } => self.service(),
            _ => Duration::ZERO,
        };
        self.busy_until = begins + takes;
        self.waiting.push_back((self.busy_until, device, event));
    }
}
