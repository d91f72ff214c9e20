//! Who takes part in a run, found by id in constant time.

use std::sync::Arc;

use crate::model::{DeviceId, DeviceIndex, Places, hash_of_name};

/// Ids are the scenario's choice: no stranger's.
const KEY: u64 = 0;

/// Who takes part in a run, by [`DeviceIndex`] and by id: one copy for everybody who keeps something of each device.
#[derive(Clone, Debug, Default)]
pub struct Register {
    ids: Arc<[DeviceId]>,
    places: Arc<Places>,
}

impl Register {
    /// The register of these devices, whose ids differ.
    pub fn new(ids: impl Iterator<Item = DeviceId>) -> Register {
        let ids: Arc<[DeviceId]> = ids.collect();
        let mut places = Places::with_room(ids.len());
        (0..ids.len()).for_each(|place| places.add(place, |at| hash_of_name(KEY, ids[at].as_bytes())));
        Register {
            ids,
            places: Arc::new(places),
        }
    }

    /// All ids.
    pub fn ids(&self) -> &[DeviceId] {
        &self.ids
    }

    /// The id of a device.
    pub fn id(&self, device: DeviceIndex) -> &DeviceId {
        &self.ids[device.at()]
    }

    /// The device with this id, which most likely is this one.
    pub fn find_likely(&self, id: &DeviceId, likely: Option<DeviceIndex>) -> Option<DeviceIndex> {
        let found = likely.filter(|likely| self.ids.get(likely.at()) == Some(id));
        found.or_else(|| self.find(id.as_str()))
    }

    /// The device with this id.
    pub fn find(&self, id: &str) -> Option<DeviceIndex> {
        let id = id.as_bytes();
        let place = self.places.find(hash_of_name(KEY, id), |at| self.ids[at].as_bytes() == id)?;
        Some(DeviceIndex(place as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_found_at_its_place_and_no_other_is() {
        for count in [0, 1, 2, 1_000] {
            let register = Register::new((0..count).map(|n| DeviceId::new(format!("meter-{n:05}"))));
            for place in (0..count).map(DeviceIndex) {
                let id = register.id(place);
                let likely = [None, Some(DeviceIndex(0)), Some(DeviceIndex(count))];
                assert!(likely.iter().all(|likely| register.find_likely(id, *likely) == Some(place)));
            }
            assert_eq!(register.find("meter-x"), None);
        }
    }
}
