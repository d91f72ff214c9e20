//! Figures of a run: series laid down before it, histograms, the transition matrix, the trace; and the measures that ask them.
//!
//! Observations of devices and events of the server go into the [`Recorder`]; a [`Measure`] asks it for one number. Memory is bounded
//! by the fleet and by what was asked for, not by the length of the run (the trace excepted, which is optional and capped).

mod board;
mod census;
mod disagreement;
mod fault;
mod fetching;
mod fingerprint;
mod grammar;
mod group;
mod happening;
mod harness;
mod line;
mod matrix;
mod metric;
mod places;
mod query;
mod recorder;
mod roster;
mod seconds;
mod selection;
mod series;
mod snapshot;
mod timeline;
mod trace;
mod trace_schema;
mod trend;

pub use board::{Note, Noted, States};
pub use census::{Census, CensusDevice, RecorderSetup};
pub use fault::{FaultFigures, FaultName};
pub use group::Group;
pub use happening::{FaultCame, Happening, NameId, StoredRecord, TraceNames};
pub use harness::HarnessFigures;
pub use line::{LineError, TraceLine};
pub use matrix::Matrix;
pub use metric::Kind;
pub use places::Register;
pub use query::{Aggregate, Comparison, Label, LabelKey, Measure, Metric, Op, OwnKey};
pub use recorder::{Measured, Part, Recorder};
pub use series::{Series, is_stuck};
pub use snapshot::{AttemptSnapshot, DeviceSnapshot};
pub use timeline::{AnswerClass, Happened, Timeline, TimelineRow};
pub use trace::{Trace, TraceRow};
pub use trace_schema::trace_schema;
pub use trend::Trend;
