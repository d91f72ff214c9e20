//! Where each name of a list stands, found in constant time.

use std::sync::Arc;

use crate::model::{DeviceId, DeviceIndex};

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
        Register {
            places: Arc::new(Places::new(ids.len(), |at| ids[at].as_str())),
            ids,
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
    pub fn find_likely(&self, id: &str, likely: Option<DeviceIndex>) -> Option<DeviceIndex> {
        let found = likely.filter(|likely| self.ids.get(likely.at()).is_some_and(|known| known.as_str() == id));
        found.or_else(|| self.find(id))
    }

    /// The device with this id.
    pub fn find(&self, id: &str) -> Option<DeviceIndex> {
        let place = self.places.find(id, |at| self.ids[at].as_str())?;
        Some(DeviceIndex(place as u32))
    }
}

/// An index over names that somebody else keeps: it holds their positions alone, and is handed a way to read them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Positions from one, at the hash of their name or behind it; zero is empty. At most half of them are taken.
    slots: Vec<u32>,
}

impl Places {
    /// The index over `count` different names.
    fn new<'n>(count: usize, name: impl Fn(usize) -> &'n str) -> Places {
        let mut places = Places {
            slots: vec![0; (count * 2).next_power_of_two()],
        };
        for place in 0..count {
            let free = places.probe(name(place)).find(|slot| places.slots[*slot] == 0);
            let free = free.expect("half of the slots are empty");
            places.slots[free] = place as u32 + 1;
        }
        places
    }

    /// The position of a name, if it is in the list.
    fn find<'n>(&self, wanted: &str, name: impl Fn(usize) -> &'n str) -> Option<usize> {
        let taken = self
            .probe(wanted)
            .map(|slot| self.slots[slot])
            .take_while(|place| *place != 0);
        taken.map(|place| place as usize - 1).find(|place| name(*place) == wanted)
    }

    /// Every slot, from the one that a name belongs to.
    fn probe(&self, name: &str) -> impl Iterator<Item = usize> + use<> {
        let (first, len) = (hash(name) as usize, self.slots.len());
        (0..len).map(move |step| first.wrapping_add(step) & (len - 1))
    }
}

/// FNV-1a, its upper half folded into the lower one.
fn hash(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_place_and_no_other_is() {
        for count in [0, 1, 2, 1_000] {
            let names: Vec<_> = (0..count).map(|n| format!("meter-{n:05}")).collect();
            let name = |place: usize| names[place].as_str();
            let places = Places::new(count, name);
            for (place, wanted) in names.iter().enumerate() {
                assert_eq!(places.find(wanted, name), Some(place));
            }
            assert_eq!(places.find("meter-x", name), None);
        }
    }
}
