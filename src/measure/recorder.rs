//! Takes observations and keeps the figures.

/// Every figure of a run.
#[derive(Debug, Default)]
pub struct Recorder {}
