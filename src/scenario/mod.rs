//! The scenario language: from a file to a [`Plan`] decided down to each device.

mod plan;

pub use plan::{
    Ends, Plan, PlannedCohort, PlannedDevice, PlannedFleet, PlannedStep, PlannedVersion, ServerPlan, Settle, StepTime, StepVerb,
    TlsPlan,
};
