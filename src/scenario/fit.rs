//! Which hardware a version is made for, and the steps that send it to other.

use crate::device::Dealt;
use crate::model::{Key, show_count};

use super::error::Problems;
use super::file::{FleetFile, ScenarioFile, VerbFile, VersionFile};
use super::plan::PlannedDevice;
use super::start::AtStart;

/// Which devices of a fleet an image is made for: judged once, since hardware does not change.
pub(super) fn dealt(version: &VersionFile, fleet: &FleetFile, devices: &[PlannedDevice]) -> Dealt<bool> {
    if version.fits.is_none() {
        return Dealt::Same(true);
    }
    Dealt::Each {
        outcomes: vec![false, true],
        by_number: devices
            .iter()
            .map(|device| u8::from(is_for(version, &fleet.name, device)))
            .collect(),
    }
}

/// Whether a device of this fleet has the hardware that a version is made for.
fn is_for(version: &VersionFile, fleet: &str, device: &PlannedDevice) -> bool {
    let Some(fits) = &version.fits else { return true };
    fits.selector.matches(|key, value| match key {
        Key::Fleet => fleet == value,
        Key::Device => device.id.as_str() == value,
        Key::Tag(tag) => device.tags.get(tag).is_some_and(|found| found == value),
        Key::Cohort | Key::Runs | Key::Session | Key::Phase | Key::State | Key::Step => false,
    })
}

/// Warns of steps that deploy a version to devices that it is not made for, as cohorts stand at the start. Devices that look first
/// (`checks_fit`) come to no harm, and are left out.
pub(super) fn warn(file: &ScenarioFile, start: AtStart<'_>, warnings: &Problems) {
    for step in &file.steps {
        let Some(VerbFile::Deploy { packages, cohort, .. }) = &step.verb else {
            continue;
        };
        for package in packages {
            let version = file.versions.iter().find(|version| version.firmware == package.value);
            let Some((version, fits)) = version.and_then(|version| Some((version, version.fits.as_ref()?))) else {
                continue;
            };
            let reached = start.devices_in(&cohort.value);
            let (fitting, others): (Vec<_>, Vec<_>) =
                reached.partition(|(fleet, device)| fleet.config.checks_fit || is_for(version, &fleet.name, device));
            if let Some((_, example)) = others.first() {
                let message = format!("{} deploys `{}` to devices that it does not fit", step.subject, package.value);
                let hint = format!(
                    "`fits` is {}, and {} of the {} devices of cohort `{}` are other and do not look (`checks_fit`), `{}` for one",
                    fits.words.text,
                    show_count(others.len() as u64),
                    show_count((fitting.len() + others.len()) as u64),
                    cohort.value,
                    example.id
                );
                warnings.add(package.at, message, hint);
            }
        }
    }
}
