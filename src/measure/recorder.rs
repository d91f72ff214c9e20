//! Takes observations and keeps the figures.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{CohortName, DeviceId, DeviceIndex, FirmwareVersion, Observation, Selector, ServerEvent, Tags};
use crate::time::SimTime;

use super::query::Measure;
use super::trace::Trace;

/// Who takes part: devices by [`DeviceIndex`], cohorts by name.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Devices in the order of the plan.
    pub devices: Vec<CensusDevice>,
    /// Cohorts that series are laid down for; `all` is left out, being the total.
    pub cohorts: Vec<CohortName>,
}

/// One device of the census.
#[derive(Clone, Debug)]
pub struct CensusDevice {
    /// Its id.
    pub id: DeviceId,
    /// Name of its fleet.
    pub fleet: Arc<str>,
    /// Its tags at the start.
    pub tags: Arc<Tags>,
    /// What it runs at the start; the first is main.
    pub runs: Vec<FirmwareVersion>,
    /// When it is first powered on.
    pub boot_at: SimTime,
}

/// What a recorder is laid out for.
#[derive(Clone, Debug, Default)]
pub struct RecorderSetup {
    /// Who takes part.
    pub census: Census,
    /// Measures that will be asked for.
    pub requested: Vec<Measure>,
    /// Whether transitions are kept for the trace file.
    pub trace: bool,
    /// Trends leave out what ended before this.
    pub warmup: Duration,
}

/// The value of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// In the unit of the measure: seconds, a share from 0 to 1, a count, events a second. Infinite where it is not over yet.
    pub value: f64,
    /// Denominator of a share; number of values behind anything else.
    pub base: u64,
}

/// Every figure of a run.
#[derive(Debug, Default)]
pub struct Recorder {
    trace: Trace,
}

impl Recorder {
    /// Lays down every series.
    pub fn new(setup: RecorderSetup) -> Self {
        let _ = setup;
        Recorder::default()
    }

    /// Takes what was seen of a device.
    pub fn observe(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        let _ = (at, device, observation);
    }

    /// Takes what the server told about itself; devices that are not in the census are passed over.
    pub fn observe_server(&mut self, at: SimTime, event: &ServerEvent) {
        let _ = (at, event);
    }

    /// Sets tags of a device.
    pub fn set_tags(&mut self, device: DeviceIndex, tags: &Tags) {
        let _ = (device, tags);
    }

    /// Removes tags of a device.
    pub fn remove_tags(&mut self, device: DeviceIndex, keys: &[String]) {
        let _ = (device, keys);
    }

    /// Writes a row of the timeline; called once a second.
    pub fn second_over(&mut self, at: SimTime) {
        let _ = at;
    }

    /// The value of a measure; `None` where it is undefined (a share of nothing, a percentile of no values), or where it was not
    /// among the requested ones.
    pub fn value(&self, measure: &Measure, now: SimTime) -> Option<Measured> {
        let _ = (measure, now);
        None
    }

    /// Devices that fulfil every term of `selector` at this moment; its pick is not looked at.
    pub fn matching(&self, selector: &Selector) -> Vec<DeviceIndex> {
        let _ = selector;
        Vec::new()
    }

    /// Devices that are not at rest, or have an attempt that the server holds open.
    pub fn open_attempts(&self) -> u64 {
        0
    }

    /// The device with this id.
    pub fn device_index(&self, id: &str) -> Option<DeviceIndex> {
        let _ = id;
        None
    }

    /// A wrapping sum over all transitions, independent of their order and of how a fleet is split.
    pub fn fingerprint(&self) -> u64 {
        0
    }

    /// The transitions, if they are kept.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}
