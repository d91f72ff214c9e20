//! The server's process in virtual time: what waits for it, what it has made durable, and what its faults do to both.
//!
//! Without faults and service time nothing waits here and nothing is kept. Where a crash or a full disk is planned there is a journal,
//! which does what a store does: the changes of one batch are written while those of the next gather, and what reveals them is held
//! back until they are there. A crash drops what was not.

use std::collections::VecDeque;
use std::time::Duration;

use crate::faults::ServerCondition;
use crate::model::{AdminAction, DeviceIndex, ServerEvent};
use crate::scenario::Plan;
use crate::server::{Load, Record, ServerOutput, ServerOutputs, Stamp};
use crate::time::SimTime;

use super::queue::Event;

/// How long a batch takes until it is on the disk: an ordinary solid-state disk's.
const SYNC: Duration = Duration::from_millis(2);

/// Something that the process is to handle.
#[derive(Debug)]
pub(super) enum Work {
    /// Of a device.
    Device(DeviceIndex, Event),
    /// A change that the management is asked for.
    Admin(u64, AdminAction),
}

/// The process.
#[derive(Debug, Default)]
pub(super) struct Process {
    condition: ServerCondition,
    /// Service time of a message where nothing slows the server.
    load: Load,
    /// What has reached the process and not been handled, each with when it is to be.
    waiting: VecDeque<(SimTime, Work)>,
    busy_until: SimTime,
    journal: Option<Journal>,
}

/// A store as far as a crash needs it.
#[derive(Debug, Default)]
struct Journal {
    durable: Vec<(Stamp, Record)>,
    /// The batch that is being written, with when it is on the disk.
    writing: Option<(SimTime, ServerOutputs)>,
    /// What came meanwhile.
    gathering: ServerOutputs,
    /// Events that were durable when the process was killed, and had been told to nobody.
    untold: Vec<ServerEvent>,
}

impl Process {
    pub(super) fn new(plan: &Plan) -> Process {
        let journaled = plan.server_faults.iter().any(|fault| fault.kind.needs_disk());
        Process {
            load: Load::new(plan.server.delay.clone()),
            journal: journaled.then(Journal::default),
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

    /// True while it handles nothing: it is not there or stopped, or waits for room on the disk.
    pub(super) fn is_still(&self) -> bool {
        let writing = self.journal.as_ref().is_some_and(|journal| journal.writing.is_some());
        self.condition.down || self.condition.frozen || self.condition.disk_full && writing
    }

    /// True if all that reaches it is handled and answered at that moment.
    pub(super) fn is_prompt(&self) -> bool {
        self.journal.is_none()
            && !self.is_still()
            && self.waiting.is_empty()
            && self.load.is_free()
            && self.condition.slow.is_zero()
    }

    /// True where what is asked must be kept until it is answered.
    pub(super) fn may_crash(&self) -> bool {
        self.journal.is_some()
    }

    /// Changes how it stands; what waited while it was still is handled from here on.
    pub(super) fn stand(&mut self, condition: ServerCondition, now: SimTime) {
        let was_still = self.is_still();
        self.condition = condition;
        if was_still && !self.is_still() {
            self.busy_until = now;
            for (_, work) in std::mem::take(&mut self.waiting) {
                self.wait(work, now);
            }
        }
    }

    /// Something reaches the process: given back if it is to be handled at once.
    pub(super) fn reach(&mut self, work: Work, now: SimTime) -> Option<Work> {
        if !self.is_still() && self.load.is_free() && self.condition.slow.is_zero() && self.waiting.is_empty() {
            return Some(work);
        }
        self.wait(work, now);
        None
    }

    /// When something is due that waited or is being written.
    pub(super) fn next_due(&self) -> Option<SimTime> {
        let written = self.written().map(|(due, _)| *due);
        let waiting = self.waiting.front().filter(|_| !self.is_still()).map(|(due, _)| *due);
        [written, waiting].into_iter().flatten().min()
    }

    /// Takes out what waited and is due.
    pub(super) fn next_waiting(&mut self, now: SimTime) -> Option<Work> {
        if self.is_still() {
            return None;
        }
        self.waiting.pop_front_if(|(due, _)| *due <= now).map(|(_, work)| work)
    }

    /// Takes out the batch that is on the disk; the next one is written from here on.
    pub(super) fn next_written(&mut self, now: SimTime) -> Option<ServerOutputs> {
        self.written().filter(|(due, _)| *due <= now)?;
        self.journal.as_mut()?.finish_batch(now)
    }

    /// What the server wants done: given back if nothing has to be written before.
    pub(super) fn commit(&mut self, outputs: ServerOutputs, now: SimTime) -> Option<ServerOutputs> {
        match &mut self.journal {
            Some(journal) => journal.commit(outputs, now),
            None => Some(outputs),
        }
    }

    /// Keeps a record that is on the disk.
    pub(super) fn keep(&mut self, stamp: Stamp, record: Record) {
        if let Some(journal) = &mut self.journal {
            journal.durable.push((stamp, record));
        }
    }

    /// Kills the process; gives what there is to restore a server from. The batch that was being written has come to the disk if
    /// `written`, and there is room; what gathered behind it has not.
    pub(super) fn kill(&mut self, written: bool) -> Vec<(Stamp, Record)> {
        self.waiting.clear();
        let full = self.condition.disk_full;
        let Some(journal) = &mut self.journal else {
            return Vec::new();
        };
        journal.gathering.clear();
        let last = journal.writing.take().filter(|_| written && !full);
        for output in last.into_iter().flat_map(|(_, outputs)| outputs) {
            match output {
                ServerOutput::Record { stamp, record } => journal.durable.push((stamp, record)),
                ServerOutput::Observed(event) => journal.untold.push(event),
                ServerOutput::Transmit { .. } | ServerOutput::Close(_) | ServerOutput::Answer { .. } => {}
            }
        }
        journal.durable.clone()
    }

    /// What the new process tells that the killed one did not come to tell.
    pub(super) fn take_untold(&mut self) -> Vec<ServerEvent> {
        self.journal
            .as_mut()
            .map(|journal| std::mem::take(&mut journal.untold))
            .unwrap_or_default()
    }

    fn written(&self) -> Option<&(SimTime, ServerOutputs)> {
        let stopped = self.condition.down || self.condition.frozen || self.condition.disk_full;
        self.journal.as_ref()?.writing.as_ref().filter(|_| !stopped)
    }

    /// What a message takes that comes now.
    fn service(&mut self, now: SimTime) -> Duration {
        self.load.take(now) + self.condition.slow
    }

    fn wait(&mut self, work: Work, now: SimTime) {
        let takes = match work {
            Work::Device(_, Event::Received { .. }) => self.service(now),
            Work::Device(..) | Work::Admin(..) => Duration::ZERO,
        };
        self.busy_until = self.busy_until.max(now) + takes;
        self.waiting.push_back((self.busy_until, work));
    }
}

impl Journal {
    fn commit(&mut self, mut outputs: ServerOutputs, now: SimTime) -> Option<ServerOutputs> {
        if self.writing.is_some() {
            self.gathering.append(&mut outputs);
            return None;
        }
        if !outputs.iter().any(is_stored) {
            return Some(outputs);
        }
        self.writing = Some((now + SYNC, outputs));
        None
    }

    fn finish_batch(&mut self, now: SimTime) -> Option<ServerOutputs> {
        let (_, mut outputs) = self.writing.take()?;
        let mut gathered = std::mem::take(&mut self.gathering);
        if gathered.iter().any(is_stored) {
            self.writing = Some((now + SYNC, gathered));
        } else {
            outputs.append(&mut gathered);
        }
        Some(outputs)
    }
}

/// Whether something is written before anything after it is told.
fn is_stored(output: &ServerOutput) -> bool {
    match output {
        ServerOutput::Record { .. } | ServerOutput::Observed(_) => true,
        ServerOutput::Transmit { .. } | ServerOutput::Close(_) | ServerOutput::Answer { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Prompt;
    use crate::server::RequestId;

    fn journaled() -> Process {
        Process {
            journal: Some(Journal::default()),
            ..Process::default()
        }
    }

    fn at(millis: u64) -> SimTime {
        SimTime::from_millis(millis)
    }

    /// A change made durable, and the answer that reveals it.
    fn change(number: u32) -> ServerOutputs {
        let stamp = Stamp {
            at_ms: u64::from(number),
            by: Prompt::Time,
        };
        let slug = "app".parse().unwrap();
        let record = Record::FirmwareCreated { slug };
        let request = RequestId(u64::from(number));
        vec![
            ServerOutput::Record { stamp, record },
            ServerOutput::Answer { request, result: Ok(()) },
        ]
    }

    fn answers(outputs: &ServerOutputs) -> Vec<u64> {
        let answer = |output: &ServerOutput| match output {
            ServerOutput::Answer { request, .. } => Some(request.0),
            _ => None,
        };
        outputs.iter().filter_map(answer).collect()
    }

    /// Carries a batch out as the engine does.
    fn carry_out(process: &mut Process, outputs: ServerOutputs) -> Vec<u64> {
        let told = answers(&outputs);
        for output in outputs {
            if let ServerOutput::Record { stamp, record } = output {
                process.keep(stamp, record);
            }
        }
        told
    }

    #[test]
    fn a_crash_loses_what_is_not_on_the_disk_and_nothing_that_was_told() {
        for (written, survivors) in [(false, vec![1]), (true, vec![1, 2])] {
            let mut process = journaled();
            assert_eq!(process.commit(change(1), at(0)), None, "told before it is durable");
            let first = process.next_written(at(2)).unwrap();
            assert_eq!(carry_out(&mut process, first), [1]);
            assert_eq!(process.commit(change(2), at(5)), None);
            assert_eq!(process.commit(change(3), at(6)), None);
            assert_eq!(process.next_written(at(6)), None, "the disk takes its time");
            let kept: Vec<_> = process.kill(written).iter().map(|(stamp, _)| stamp.at_ms).collect();
            assert_eq!(kept, survivors);
            assert_eq!(process.next_written(at(60)), None, "the dead tell nothing");
        }
    }

    #[test]
    fn changes_that_come_while_one_is_written_are_one_batch() {
        let mut process = journaled();
        (1..=4).for_each(|number| assert_eq!(process.commit(change(number), at(0)), None));
        let batches: Vec<_> = [2, 4]
            .map(|millis| answers(&process.next_written(at(millis)).unwrap()))
            .into();
        assert_eq!(batches, [vec![1], vec![2, 3, 4]]);
        assert_eq!(process.next_due(), None);
    }

    #[test]
    fn a_full_disk_holds_everything_back_until_there_is_room() {
        let mut process = journaled();
        let full = ServerCondition {
            disk_full: true,
            ..ServerCondition::default()
        };
        process.stand(full, at(0));
        let work = |number| {
            Work::Admin(
                number,
                AdminAction::Cancel {
                    deployment: "one".into(),
                },
            )
        };
        assert!(process.reach(work(1), at(0)).is_some(), "nothing is to be written yet");
        assert_eq!(process.commit(change(1), at(0)), None);
        assert!(process.reach(work(2), at(1)).is_none());
        assert_eq!((process.next_due(), process.next_written(at(9))), (None, None));
        process.stand(ServerCondition::default(), at(10));
        assert_eq!(process.next_due(), Some(at(2)));
        assert_eq!(answers(&process.next_written(at(10)).unwrap()), [1]);
        assert!(process.next_waiting(at(10)).is_some());
    }
}
