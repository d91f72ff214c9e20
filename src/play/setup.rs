//! What a server must know before the first device is powered on.

use std::collections::BTreeSet;

use crate::model::{AdminAction, DeviceId, DeviceIndex, NewDevice, Split};
use crate::scenario::Plan;

/// Most devices of one management request.
pub(super) const BATCH: usize = 1_000;

/// Firmware, versions, devices with their tags, cohorts, members; in this order, since each names what stands before it.
///
/// Devices and members are those of `split`, the rest is the same for every shard: who comes later finds it there.
pub(super) fn actions(plan: &Plan, split: Split) -> Vec<AdminAction> {
    let slugs: BTreeSet<_> = plan.versions.iter().map(|version| &version.firmware.slug).collect();
    let firmware = slugs
        .into_iter()
        .map(|slug| AdminAction::CreateFirmware { slug: slug.clone() });
    let versions = plan.versions.iter().map(|version| AdminAction::CreateVersion {
        firmware: version.firmware.clone(),
        image: version.image.clone().into(),
    });
    let played: Vec<_> = (0..)
        .map(DeviceIndex)
        .zip(&plan.devices)
        .filter(|(device, _)| split.holds(*device))
        .collect();
    let devices = played.chunks(BATCH).map(|batch| AdminAction::RegisterDevices {
        devices: batch
            .iter()
            .map(|(_, device)| NewDevice {
                id: device.id.clone(),
                tags: device.tags.as_ref().clone(),
            })
            .collect(),
    });
    let cohorts = plan.cohorts.iter().map(|cohort| AdminAction::CreateCohort {
        cohort: cohort.name.clone(),
        rule: cohort.rule.clone(),
    });
    let members = plan.cohorts.iter().flat_map(|cohort| {
        let members: Vec<_> = cohort.members.iter().copied().filter(|device| split.holds(*device)).collect();
        let batches: Vec<_> = batches(plan, &members).collect();
        batches.into_iter().map(|devices| AdminAction::Join {
            cohort: cohort.name.clone(),
            devices,
        })
    });
    firmware
        .chain(versions)
        .chain(devices)
        .chain(cohorts)
        .chain(members)
        .collect()
}

/// The ids of these devices, in batches that one request carries.
pub(super) fn batches<'a>(plan: &'a Plan, devices: &'a [DeviceIndex]) -> impl Iterator<Item = Vec<DeviceId>> + 'a {
    devices
        .chunks(BATCH)
        .map(|batch| batch.iter().map(|device| plan.devices[device.at()].id.clone()).collect())
}
