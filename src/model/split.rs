//! A part of a fleet that one process plays, where several share it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::DeviceIndex;

/// Shard `number` of `of`. Devices are dealt in turn, so that every shard has its part of each fleet and of each moment's arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Split {
    number: u32,
    of: u32,
}

/// A shard that there cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no shard: write `NUMBER/OF`, such as `3/16`, from `1/1` to `{max}/{max}`", max = Split::MAX)]
pub struct NoSplit(String);

impl Split {
    /// Everything in one process.
    pub const WHOLE: Split = Split { number: 1, of: 1 };
    /// Most shards of a run.
    pub const MAX: u32 = 10_000;

    /// Which shard, from one.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Of how many.
    pub const fn of(self) -> u32 {
        self.of
    }

    /// True where nothing is split.
    pub const fn is_whole(self) -> bool {
        self.of == 1
    }

    /// True for the shard that does what only one may do.
    pub const fn leads(self) -> bool {
        self.number == 1
    }

    /// Whether a device is of this shard.
    pub const fn holds(self, device: DeviceIndex) -> bool {
        device.0 % self.of == self.number - 1
    }

    /// How many devices of a shard stand before a device of it.
    pub const fn position(self, device: DeviceIndex) -> usize {
        (device.0 / self.of) as usize
    }

    /// How many of `devices` are of this shard.
    pub const fn count(self, devices: usize) -> usize {
        let of = self.of as usize;
        (devices + of - self.number as usize) / of
    }
}

impl Default for Split {
    fn default() -> Split {
        Split::WHOLE
    }
}

impl FromStr for Split {
    type Err = NoSplit;

    fn from_str(text: &str) -> Result<Split, NoSplit> {
        let numbers = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) && of <= Split::MAX => Ok(Split { number, of }),
            Some(_) | None => Err(NoSplit(text.to_owned())),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_of_one_shard_and_stands_at_its_place_in_it() {
        for (devices, of) in [(0, 3), (1, 3), (2, 3), (3, 3), (1_000, 16), (5, 1)] {
            let shards: Vec<Split> = (1..=of).map(|number| Split { number, of }).collect();
            let mut seen = vec![0; shards.len()];
            for device in (0..devices).map(DeviceIndex) {
                let holders: Vec<_> = (0..shards.len()).filter(|shard| shards[*shard].holds(device)).collect();
                assert_eq!(holders.len(), 1);
                assert_eq!(shards[holders[0]].position(device), seen[holders[0]]);
                seen[holders[0]] += 1;
            }
            let counts: Vec<_> = shards.iter().map(|shard| shard.count(devices as usize)).collect();
            assert_eq!(counts, seen, "{devices} devices, {of} shards");
        }
    }

    #[test]
    fn a_shard_is_written_as_its_number_and_how_many_there_are() {
        assert_eq!("3/16".parse::<Split>().map(|split| split.to_string()), Ok("3/16".to_owned()));
        for wrong in ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/10001", "a/b", "1/4/2"] {
            assert!(wrong.parse::<Split>().is_err(), "{wrong}");
        }
    }
}
