//! Which of the devices that match a selection are taken, exactly, by rank.

use std::cmp::Reverse;

use crate::luck::Purpose;
use crate::model::{DeviceIndex, Pick, Selector};
use crate::scenario::Plan;

/// The devices that a pick takes of those that match, in their order: those of the highest rank. Each `ordinal` ranks anew.
pub(super) fn picked(
    plan: &Plan,
    who: &Selector,
    mut matching: Vec<DeviceIndex>,
    purpose: Purpose,
    ordinal: u64,
) -> Vec<DeviceIndex> {
    let count = match who.pick {
        None => return matching,
        Some(Pick::Count(count)) => usize::try_from(count).unwrap_or(usize::MAX).min(matching.len()),
        Some(Pick::Share(share)) => share.of(matching.len() as u64) as usize,
    };
    matching.sort_by_cached_key(|device| {
        let rank = plan.luck().draw(purpose, plan.devices[device.at()].key, ordinal);
        (Reverse(rank), *device)
    });
    matching.truncate(count);
    matching.sort_unstable();
    matching
}
