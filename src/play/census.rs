//! Who takes part in a run and what is counted of it, as recorder and referee are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::Jitter;
use crate::measure::{Census, CensusDevice, FaultName, Recorder, RecorderSetup};
use crate::model::FirmwareVersion;
use crate::scenario::{Plan, PlannedFleet, PlannedVersion};
use crate::verdict::{Build, Least, Waits};
use crate::wire::ImagePrint;

/// Who takes part, as recorder and referee are told.
pub(super) fn census(plan: &Plan) -> Census {
    let names: Vec<Arc<str>> = plan.fleets.iter().map(|fleet| fleet.name.as_str().into()).collect();
    let devices = plan.devices.iter().map(|device| CensusDevice {
        id: device.id.clone(),
        fleet: Arc::clone(&names[usize::from(device.fleet)]),
        tags: Arc::clone(&device.tags),
        runs: plan.fleets[usize::from(device.fleet)].runs.clone(),
        boot_at: device.boot_at,
    });
    Census {
        devices: devices.collect(),
        cohorts: plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect(),
    }
}

/// A recorder laid out for a plan.
pub(super) fn recorder(plan: &Plan, census: Census) -> Recorder {
    Recorder::new(RecorderSetup {
        census,
        requested: plan.measures().cloned().collect(),
        trace: plan.trace,
        warmup: plan.warmup,
        faults: counted(plan),
    })
}

/// What the recorder has a row for: faults of devices, then of the server, then cheats.
fn counted(plan: &Plan) -> Vec<FaultName> {
    let server = plan.server_faults.iter().map(|fault| FaultName {
        name: fault.name.as_str().into(),
        kind: fault.kind.to_string().into(),
    });
    let faults = plan.faults.iter().map(|fault| FaultName {
        name: fault.name.as_str().into(),
        kind: fault.kind.to_string().into(),
    });
    let cheats = plan.cheats.iter().map(|row| FaultName {
        name: row.name.as_str().into(),
        kind: row.cheat.word().into(),
    });
    faults.chain(server).chain(cheats).collect()
}

/// What the devices of each fleet are built to, as the referee is told.
pub(super) fn builds(plan: &Plan) -> BTreeMap<Arc<str>, Build> {
    let build = |fleet: &PlannedFleet| {
        let retry = &fleet.config.retry;
        let least = match retry.jitter {
            Jitter::Fixed => Least::Whole,
            Jitter::Half => Least::Half,
            Jitter::Full => Least::Nothing,
        };
        Build {
            max_artifacts: fleet.config.max_artifacts,
            retry: Waits {
                first: retry.first,
                max: retry.max,
                least,
            },
            lifted: fleet.config.sdk.breaks().to_vec(),
            duplicates_cancel: !fleet.config.quirks.ignores_canceled_duplicate,
            disguised: fleet.behaviors.disguised().collect(),
        }
    };
    plan.fleets
        .iter()
        .map(|fleet| (fleet.name.as_str().into(), build(fleet)))
        .collect()
}

/// The images of the run, as the referee is told.
pub(super) fn images(plan: &Plan) -> Vec<(FirmwareVersion, ImagePrint)> {
    let print = |version: &PlannedVersion| (version.firmware.clone(), ImagePrint::of(&version.image));
    plan.versions.iter().map(print).collect()
}
