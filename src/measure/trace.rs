//! The trace: one row a happening, compact in memory.

use crate::model::{DeviceId, DeviceIndex, Observation, ServerEvent, Transition};
use crate::time::SimTime;

use super::happening::{FaultCame, Happening, TraceNames};
use super::line::{self, LineError, TraceLine};

/// One happening of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRow {
    /// When.
    pub at: SimTime,
    /// Which device.
    pub device: DeviceIndex,
    /// Number of the row in the device's life, from zero.
    pub sequence: u32,
    /// What.
    pub happening: Happening,
}

impl TraceRow {
    /// The transition, if the row is one.
    pub fn transition(&self) -> Option<Transition> {
        let Happening::Transition { transition, .. } = self.happening else {
            return None;
        };
        Some(transition)
    }
}

/// Happenings as they were seen, up to [`Trace::LIMIT`] of them.
#[derive(Debug, Default)]
pub struct Trace {
    rows: Vec<TraceRow>,
    names: TraceNames,
    /// Number of the next row of each device.
    next: Vec<u32>,
    left_out: u64,
}

impl Trace {
    /// Most rows that are kept; what comes later is only counted.
    pub const LIMIT: usize = 8_000_000;
    /// Once it is this long, only transitions are kept.
    const TALK_LIMIT: usize = Trace::LIMIT / 2;

    /// Takes what was seen of a device.
    pub(super) fn observe(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        if let Some(happening) = Happening::seen(observation, &mut self.names) {
            self.push(at, device, happening);
        }
    }

    /// Takes what the server told about a device.
    pub(super) fn observe_server(&mut self, at: SimTime, device: DeviceIndex, event: &ServerEvent) {
        if let Some(happening) = Happening::told(event, &mut self.names) {
            self.push(at, device, happening);
        }
    }

    /// Takes what came of a fault at a device.
    pub(super) fn fault(
        &mut self,
        at: SimTime,
        device: DeviceIndex,
        (name, kind): (&str, &str),
        came: FaultCame,
        why: Option<&str>,
    ) {
        let [name, kind] = [name, kind].map(|text| self.names.intern(text));
        let why = why.map(|text| self.names.intern(text));
        self.push(at, device, Happening::Fault { name, kind, came, why });
    }

    fn push(&mut self, at: SimTime, device: DeviceIndex, happening: Happening) {
        let limit = match matches!(happening, Happening::Transition { .. }) {
            true => Self::LIMIT,
            false => Self::TALK_LIMIT,
        };
        if self.rows.len() >= limit {
            self.left_out += 1;
            return;
        }
        if self.next.len() <= device.at() {
            self.next.resize(device.at() + 1, 0);
        }
        let sequence = self.next[device.at()];
        self.next[device.at()] += 1;
        self.rows.push(TraceRow {
            at,
            device,
            sequence,
            happening,
        });
    }

    /// Takes a line that was written elsewhere; `device` tells whose it is. One of a kind that is not known is passed over.
    pub(super) fn read_line(&mut self, line: &str, device: impl FnOnce(&str) -> Option<DeviceIndex>) -> Result<(), LineError> {
        let Some(read) = TraceLine::read(line, &mut self.names)? else {
            return Ok(());
        };
        let device = device(&read.device).ok_or(LineError::Field("device"))?;
        self.push(read.at, device, read.happening);
        Ok(())
    }

    /// More rows did not fit elsewhere.
    pub(super) fn leave_out(&mut self, rows: u64) {
        self.left_out += rows;
    }

    /// Rows that did not fit.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in the order (time to the microsecond, which is what lines show, device, the device's own sequence).
    pub fn sorted(&self) -> Vec<TraceRow> {
        let mut rows = self.rows.clone();
        rows.sort_unstable_by_key(|row| (row.at.as_nanos() / 1_000, row.device, row.sequence));
        rows
    }

    /// The rows from a position on, as they came in; those of one device are in order.
    pub fn rows_from(&self, position: usize) -> &[TraceRow] {
        self.rows.get(position..).unwrap_or_default()
    }

    /// The names in the rows.
    pub fn names(&self) -> &TraceNames {
        &self.names
    }

    /// Appends a row as one line of NDJSON.
    pub fn write_line(&self, row: &TraceRow, device: &DeviceId, text: &mut String) {
        line::write(row.at, device.as_str(), &row.happening, &self.names, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Phase, Session};

    const ACCEPTED: Observation = Observation::Transition {
        transition: Transition {
            from: Phase::Idle,
            to: Phase::Accepted,
            cause: Cause::Normal,
        },
        attempt: None,
        reason: None,
    };

    #[test]
    fn rows_come_in_order_of_time_device_and_sequence() {
        let mut trace = Trace::default();
        for (at, device) in [(5, 1), (5, 0), (5, 0), (3, 9)] {
            trace.observe(SimTime::from_nanos(at * 1_000), DeviceIndex(device), &ACCEPTED);
        }
        let order: Vec<_> = trace
            .sorted()
            .iter()
            .map(|row| (row.at.as_nanos() / 1_000, row.device.0, row.sequence))
            .collect();
        assert_eq!(order, [(3, 9, 0), (5, 0, 0), (5, 0, 1), (5, 1, 0)]);
    }

    #[test]
    fn what_comes_of_a_fault_has_a_line() {
        let mut trace = Trace::default();
        let why = Some("the download was over");
        trace.fault(
            SimTime::from_secs(3),
            DeviceIndex(0),
            ("cut", "power-cut"),
            FaultCame::Missed,
            why,
        );
        let mut line = String::new();
        trace.write_line(&trace.sorted()[0], &DeviceId::new("d"), &mut line);
        assert_eq!(
            line,
            "{\"t\":3.000000,\"device\":\"d\",\"what\":\"fault\",\"fault\":\"cut\",\"kind\":\"power-cut\",\"came\":\"missed\",\
             \"how\":\"the download was over\"}\n"
        );
    }

    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<TraceRow>(), 32);
    }

    #[test]
    fn talk_does_not_crowd_transitions_out() {
        let mut trace = Trace::default();
        let row = TraceRow {
            at: SimTime::ZERO,
            device: DeviceIndex(0),
            sequence: 0,
            happening: Happening::PowerLost,
        };
        trace.rows = vec![row; Trace::TALK_LIMIT];
        trace.observe(SimTime::ZERO, DeviceIndex(0), &Observation::Session(Session::Off));
        trace.observe(SimTime::ZERO, DeviceIndex(0), &ACCEPTED);
        assert_eq!((trace.rows.len(), trace.left_out()), (Trace::TALK_LIMIT + 1, 1));
    }
}
