//! Figures of a run: series laid down before it, histograms, the transition matrix, the trace; and the measures that ask them.

mod query;
mod recorder;

pub use query::{Aggregate, Comparison, Label, LabelKey, Measure, Metric, Op, OwnKey};
pub use recorder::Recorder;
