//! How harness and embedded server fared.

use crate::model::Prompt;
use crate::time::SimTime;

use super::query::{Aggregate, Metric};
use super::recorder::Measured;
use super::series::rate;
use super::trend::Trend;

/// How harness and embedded server fared in real time.
#[derive(Clone, Debug, PartialEq)]
pub struct HarnessFigures {
    /// Lateness of timer wakes.
    pub late: Trend,
    /// Processor time of the harness, as a part of one core.
    pub cpu: f64,
    /// Most memory of the harness, bytes.
    pub memory: u64,
    /// Work dropped.
    pub dropped: u64,
    /// Processor time of the embedded server, as a part of one core.
    pub server_cpu: Option<f64>,
    /// How long the embedded server took, by what it was to do.
    pub server_time: Vec<(Prompt, Trend)>,
}

impl HarnessFigures {
    pub(super) fn value(&self, metric: Metric, aggregate: Aggregate, now: SimTime) -> Option<Measured> {
        let one = |value: f64| Some(Measured { value, base: 1 });
        match (metric, aggregate) {
            (Metric::Lateness, _) => self.late.measured(aggregate, 0, now),
            (Metric::Dropped, Aggregate::Rate) => rate(self.dropped, now),
            (Metric::Dropped, Aggregate::Share) => None,
            (Metric::Dropped, _) => Some(Measured {
                value: self.dropped as f64,
                base: self.dropped,
            }),
            (Metric::Cpu, Aggregate::Avg) => one(self.cpu),
            (Metric::Memory, Aggregate::Max) => one(self.memory as f64),
            (Metric::ServerCpu, Aggregate::Avg) => one(self.server_cpu?),
            _ => None,
        }
    }
}
