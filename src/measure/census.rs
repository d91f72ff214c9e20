//! Who takes part in a run, and what a recorder is laid out for.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{CohortName, DeviceId, FirmwareVersion, Tags};
use crate::time::SimTime;

use super::fault::FaultName;
use super::query::Measure;

/// Who takes part: devices by [`DeviceIndex`](crate::model::DeviceIndex), cohorts by name.
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
    /// Faults in the order of the plan.
    pub faults: Vec<FaultName>,
}
