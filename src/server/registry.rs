//! The registry: devices, their tags, and what each is engaged in.

use std::cmp::Ordering;

use crate::model::{DeviceId, Few, Places, Sorted, Tags, hash_of_name, push_sparingly};

use super::attempts::AttemptIndex;
use super::record::{CohortNumber, DeviceNumber, SessionSeen};

/// Every device, by number and by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// In the order of their ids.
    by_id: Sorted<DeviceNumber>,
    devices: Vec<Device>,
    places: Places,
    /// Of the hashes of ids.
    key: u64,
}

/// A device as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub id: DeviceId,
    /// Most devices of a large fleet have nothing of it.
    apart: Option<Box<Apart>>,
    /// Its attempts, oldest first.
    pub attempts: Few<AttemptIndex>,
    /// The attempt In Progress.
    pub current: Option<AttemptIndex>,
    /// The attempt Pending, which is newer than the current one.
    pub pending: Option<AttemptIndex>,
    pub session: SessionSeen,
}

/// What sets a device apart from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Apart {
    tags: Tags,
    /// Cohorts that it is in, growing, `all` left out.
    cohorts: Few<CohortNumber>,
}

/// Of a device without tags.
static NO_TAGS: Tags = Tags::new();

impl Device {
    pub fn tags(&self) -> &Tags {
        self.apart.as_ref().map_or(&NO_TAGS, |apart| &apart.tags)
    }

    pub fn set_tags(&mut self, tags: Tags) {
        self.set_apart(|apart| apart.tags = tags);
    }

    /// Cohorts that it is in, growing, `all` left out.
    pub fn cohorts(&self) -> &[CohortNumber] {
        self.apart.as_ref().map_or(&[], |apart| &apart.cohorts)
    }

    pub fn join(&mut self, cohort: CohortNumber) {
        if let Err(place) = self.cohorts().binary_search(&cohort) {
            self.set_apart(|apart| apart.cohorts.insert(place, cohort));
        }
    }

    pub fn leave(&mut self, cohort: CohortNumber) {
        self.set_apart(|apart| apart.cohorts.retain(|&other| other != cohort));
    }

    fn set_apart(&mut self, change: impl FnOnce(&mut Apart)) {
        change(self.apart.get_or_insert_default());
        self.apart.take_if(|apart| **apart == Apart::default());
    }
}

impl Registry {
    /// An empty one, with a key that nobody who chooses ids knows.
    pub fn new(key: u64) -> Registry {
        Registry {
            by_id: Sorted::default(),
            devices: Vec::new(),
            places: Places::default(),
            key,
        }
    }

    /// Makes a device known under the next number.
    pub fn add(&mut self, id: DeviceId, tags: Tags) -> DeviceNumber {
        let number = self.next();
        self.by_id.insert(number, |known| self.devices[known.0 as usize].id.cmp(&id));
        let mut device = Device {
            id,
            apart: None,
            attempts: Few::None,
            current: None,
            pending: None,
            session: SessionSeen::default(),
        };
        device.set_tags(tags);
        push_sparingly(&mut self.devices, device);
        let (devices, key) = (&self.devices, self.key);
        self.places
            .add(number.0 as usize, |place| hash_of_name(key, devices[place].id.as_bytes()));
        number
    }

    /// The number of the next device.
    pub fn next(&self) -> DeviceNumber {
        DeviceNumber(u32::try_from(self.devices.len()).expect("devices are bounded"))
    }

    pub fn find(&self, id: &DeviceId) -> Option<DeviceNumber> {
        let hash = hash_of_name(self.key, id.as_bytes());
        let place = self.places.find(hash, |place| self.devices[place].id == *id)?;
        Some(DeviceNumber(place as u32))
    }

    /// Devices by id, from the one behind `after`.
    pub fn by_id(&self, after: Option<&DeviceId>) -> impl Iterator<Item = (&DeviceId, DeviceNumber)> {
        let order = move |known: &DeviceNumber| match after {
            Some(after) if self.at(*known).id <= *after => Ordering::Less,
            Some(_) | None => Ordering::Greater,
        };
        self.by_id.from(order).map(|number| (&self.at(*number).id, *number))
    }

    pub fn at(&self, number: DeviceNumber) -> &Device {
        &self.devices[number.0 as usize]
    }

    pub fn at_mut(&mut self, number: DeviceNumber) -> &mut Device {
        &mut self.devices[number.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Every number in use.
    pub fn numbers(&self) -> impl Iterator<Item = DeviceNumber> + use<> {
        (0..self.next().0).map(DeviceNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_device_is_small() {
        assert!(size_of::<Device>() <= 88, "{}", size_of::<Device>());
    }
}
