//! The trace: one row a transition, compact in memory.

use std::fmt::Write;

use crate::model::{AttemptId, DeviceId, DeviceIndex, FailureReason, Transition};
use crate::time::SimTime;

/// One transition of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceRow {
    /// When.
    pub at: SimTime,
    /// Which device.
    pub device: DeviceIndex,
    /// Number of the transition in the device's life, from zero.
    pub sequence: u32,
    /// From, to, and why.
    pub transition: Transition,
    /// The attempt concerned.
    pub attempt: Option<AttemptId>,
    /// What went wrong, if something did.
    pub reason: Option<FailureReason>,
}

/// Transitions as they were seen, up to [`Trace::LIMIT`] of them.
#[derive(Debug, Default)]
pub struct Trace {
    rows: Vec<TraceRow>,
    left_out: u64,
}

impl Trace {
    /// Most rows that are kept; what comes later is only counted.
    pub const LIMIT: usize = 8_000_000;

    pub(super) fn push(&mut self, row: TraceRow) {
        if self.rows.len() < Self::LIMIT {
            self.rows.push(row);
        } else {
            self.left_out += 1;
        }
    }

    /// Rows that did not fit.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in the order (time, device, the device's own sequence).
    pub fn sorted(&self) -> Vec<TraceRow> {
        let mut rows = self.rows.clone();
        rows.sort_unstable_by_key(|row| (row.at, row.device, row.sequence));
        rows
    }
}

impl TraceRow {
    /// Appends the row as one line of NDJSON.
    pub fn write_line(&self, device: &DeviceId, line: &mut String) {
        let _ = write!(
            line,
            "{{\"t\":{},\"device\":{},\"from\":\"{}\",\"to\":\"{}\",\"cause\":\"{}\",\"attempt\":",
            self.at,
            serde_json::Value::from(device.as_str()),
            self.transition.from,
            self.transition.to,
            self.transition.cause,
        );
        match self.attempt {
            Some(attempt) => {
                let _ = write!(line, "\"{attempt}\"");
            }
            None => line.push_str("null"),
        }
        match self.reason {
            Some(reason) => {
                let _ = write!(line, ",\"reason\":\"{}\"}}", reason.word());
            }
            None => line.push_str(",\"reason\":null}"),
        }
        line.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Phase};

    fn row(at: u64, device: u32, sequence: u32) -> TraceRow {
        TraceRow {
            at: SimTime::from_nanos(at),
            device: DeviceIndex(device),
            sequence,
            transition: Transition {
                from: Phase::Idle,
                to: Phase::Accepted,
                cause: Cause::Normal,
            },
            attempt: AttemptId::new(7),
            reason: None,
        }
    }

    #[test]
    fn rows_come_in_order_of_time_device_and_sequence() {
        let mut trace = Trace::default();
        let given = [row(5, 1, 0), row(5, 0, 1), row(5, 0, 0), row(3, 9, 0)];
        given.into_iter().for_each(|row| trace.push(row));
        assert_eq!(trace.sorted(), [row(3, 9, 0), row(5, 0, 0), row(5, 0, 1), row(5, 1, 0)]);
    }

    #[test]
    fn a_line_is_json_with_ids_as_text() {
        let mut line = String::new();
        row(12_345_678_901, 0, 0).write_line(&DeviceId::new("demo-\"1"), &mut line);
        assert_eq!(
            line,
            "{\"t\":12.345678,\"device\":\"demo-\\\"1\",\"from\":\"idle\",\"to\":\"accepted\",\"cause\":\"normal\",\
             \"attempt\":\"7\",\"reason\":null}\n"
        );
        let refused = TraceRow {
            reason: Some(FailureReason::Status(404)),
            ..row(0, 0, 0)
        };
        line.clear();
        refused.write_line(&DeviceId::new("d"), &mut line);
        assert!(line.ends_with(",\"reason\":\"http-status\"}\n"));
    }
}
