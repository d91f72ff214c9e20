//! Everything comes to rest once trouble is over.

use crate::model::{DeviceIndex, Phase};
use crate::time::SimTime;

use super::{Rule, Tally};

const SETTLES: Rule = Rule {
    name: "settles",
    statement: "once trouble is over, every open attempt ends within the settle time",
    protocol: &[28, 47],
};

/// Counts what did and did not come to rest.
#[derive(Debug)]
pub(in crate::verdict) struct Settling {
    tally: Tally,
}

impl Default for Settling {
    fn default() -> Self {
        Settling {
            tally: Tally::new(&SETTLES),
        }
    }
}

impl Settling {
    pub(in crate::verdict) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(in crate::verdict) fn unsettled(&mut self, at: SimTime, device: DeviceIndex, phase: Phase, why: &str) {
        self.tally
            .check(false, at, device, || format!("still {phase} when settling was over: {why}"));
    }

    /// The run came to rest with this many devices.
    pub(in crate::verdict) fn settled(&mut self, devices: u64) {
        self.tally.checks += devices;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_come_to_rest_is_found() {
        let mut settling = Settling::default();
        settling.settled(10);
        assert_eq!((settling.tally.checks, settling.tally.broken), (10, 0));
        let device = DeviceIndex(3);
        settling.unsettled(SimTime::from_secs(90), device, Phase::Downloading, "downloading, 5 B so far");
        let text = settling.tally.first.unwrap().text;
        assert_eq!(text, "still downloading when settling was over: downloading, 5 B so far");
    }
}
