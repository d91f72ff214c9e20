//! What was planned of faults, and what came of it.

use crate::model::DeviceIndex;
use crate::time::SimTime;

use super::super::board::{Note, Noted};
use super::super::fault::FaultFigures;
use super::super::group::Entry;
use super::super::happening::FaultCame;
use super::super::query::Metric;
use super::super::selection::Facts;
use super::Recorder;

impl Recorder {
    /// A fault is dealt to so many more devices, and is planned to strike each so often; `None` where that is not known beforehand.
    pub fn fault_planned(&mut self, fault: u16, devices: u64, each: Option<u64>) {
        if let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) {
            figures.plan(devices, each);
        }
    }

    /// A fault of the server is planned to befall it so often; `None` has no end.
    pub fn server_fault_planned(&mut self, fault: u16, times: Option<u64>) {
        if let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) {
            figures.planned = times;
        }
    }

    /// Takes what came of a fault at a device.
    pub fn observe_fault(&mut self, at: SimTime, device: DeviceIndex, fault: u16, came: FaultCame, why: Option<&str>) {
        let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) else {
            return;
        };
        figures.came(at, came, self.roster.rows[device.at()].phase, why);
        if let Some(board) = &mut self.board {
            board.fault(at, device, fault, came);
        }
        if let Some(trace) = &mut self.trace {
            trace.fault(at, device, (&figures.name, &figures.kind), came, why);
        }
        // What strikes by chance strikes too often to be read.
        if let (Some(board), Some(_), FaultCame::Done | FaultCame::Missed) = (&mut self.board, figures.planned, came) {
            let what = Noted::Fault(figures.name.to_string(), came);
            board.note(Note {
                at,
                device: Some(device),
                what,
            });
        }
        match came {
            FaultCame::Done => self.enter_fault(at, device, fault, true),
            FaultCame::Missed => self.enter_fault(at, device, fault, false),
            FaultCame::Began | FaultCame::Ended => {}
        }
    }

    /// Takes what came of a fault of the server. It is in no device's trace; of a device's connections that shows what it did to them.
    pub fn observe_server_fault(&mut self, at: SimTime, fault: u16, came: FaultCame, why: Option<&str>) {
        let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) else {
            return;
        };
        figures.came_to_server(at, came, why);
        if let Some(board) = &mut self.board {
            board.server_fault(fault, came);
        }
        let what = Noted::Fault(figures.name.to_string(), came);
        let done = match came {
            FaultCame::Done => true,
            FaultCame::Missed => false,
            FaultCame::Began | FaultCame::Ended => return self.note(at, None, what),
        };
        self.total.take(Entry::Fault { done });
        let facts = Facts {
            fault: Some((fault, done)),
            ..Facts::default()
        };
        for series in self.requested.iter_mut().filter(|series| series.metric == Metric::Faults) {
            series.enter_of_server(facts);
        }
    }

    /// A fault could have struck a message, request or operation of a device, and by its chance did not.
    pub fn fault_spared(&mut self, at: SimTime, device: DeviceIndex, fault: u16) {
        if let Some(figures) = self.roster.faults.get_mut(usize::from(fault)) {
            figures.spare();
            self.enter_fault(at, device, fault, false);
        }
    }

    /// What came of the faults of the plan, in its order.
    pub fn faults(&self) -> &[FaultFigures] {
        &self.roster.faults
    }

    fn enter_fault(&mut self, at: SimTime, device: DeviceIndex, fault: u16, done: bool) {
        let facts = Facts {
            fault: Some((fault, done)),
            ..Facts::default()
        };
        self.enter(at, device, Entry::Fault { done }, facts);
    }
}
