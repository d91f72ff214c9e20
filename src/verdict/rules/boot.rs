//! Always bootable, and flash used as the chip allows.

use crate::model::{DeviceIndex, Observation};
use crate::time::SimTime;

use super::{Rule, Tally};

const ALWAYS_BOOTABLE: Rule = Rule {
    name: "always-bootable",
    statement: "at every boot there is an image to run: the old one, or the complete new one",
    protocol: &[30],
};
const FLASH_AS_ALLOWED: Rule = Rule {
    name: "flash-as-allowed",
    statement: "flash is written only where it was erased, in units of the chip",
    protocol: &[],
};

/// Watches boots.
#[derive(Debug)]
pub(in crate::verdict) struct Boot {
    bootable: Tally,
    flash: Tally,
}

impl Default for Boot {
    fn default() -> Self {
        Boot {
            bootable: Tally::new(&ALWAYS_BOOTABLE),
            flash: Tally::new(&FLASH_AS_ALLOWED),
        }
    }
}

impl Boot {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 2] {
        [&self.bootable, &self.flash]
    }

    pub(in crate::verdict) fn booted(&mut self, at: SimTime, device: DeviceIndex) {
        self.bootable.check(true, at, device, String::new);
        // Whatever was written before this boot was written as allowed, or has been reported.
        self.flash.check(true, at, device, String::new);
    }

    pub(in crate::verdict) fn observed(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        if let Observation::Unbootable = observation {
            let evidence = || "the bootloader found no image to run".to_owned();
            self.bootable.check(false, at, device, evidence);
        } else if let Observation::FlashMisused { what } = observation {
            self.flash.check(false, at, device, || (*what).to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_an_image_is_found_and_one_that_boots_is_not() {
        let mut boot = Boot::default();
        boot.booted(SimTime::ZERO, DeviceIndex(0));
        boot.observed(SimTime::ZERO, DeviceIndex(0), &Observation::Confirmed);
        assert_eq!(boot.tallies().map(|tally| (tally.checks, tally.broken)), [(1, 0), (1, 0)]);
        boot.observed(SimTime::from_secs(1), DeviceIndex(3), &Observation::Unbootable);
        boot.observed(
            SimTime::from_secs(2),
            DeviceIndex(4),
            &Observation::FlashMisused {
                what: "wrote a page twice",
            },
        );
        assert_eq!(boot.tallies().map(|tally| tally.broken), [1, 1]);
        assert_eq!(boot.bootable.first.unwrap().device, DeviceIndex(3));
        assert_eq!(boot.flash.first.unwrap().text, "wrote a page twice");
    }
}
