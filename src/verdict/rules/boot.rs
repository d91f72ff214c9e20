//! Always bootable, and flash used as the chip allows.

use crate::model::{BuildId, Observation};

use super::{Rule, Scene, Tally};
use crate::verdict::view::fold_build;

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

    pub(in crate::verdict) fn booted(&mut self, scene: &Scene<'_>, build_id: Option<&BuildId>) {
        let view = scene.view;
        let image = Some(fold_build(build_id));
        let first = view.images.running.is_none();
        let on_trial = view.trial.map(|trial| trial.image);
        let mut disguises = scene.build.disguised.iter();
        let disguised = disguises.any(|(found, told)| build_id == Some(told) && on_trial == Some(fold_build(Some(found))));
        let known = first || view.images.good == image || on_trial == image || disguised;
        self.bootable.hold(scene, known, || match build_id {
            Some(build_id) => format!("an image ran that is neither the old nor the new one: build id {build_id}"),
            None => "an image without a build id ran that is neither the old nor the new one".to_owned(),
        });
        // Whatever was written before this boot was written as allowed, or has been reported.
        self.flash.hold(scene, true, String::new);
    }

    pub(in crate::verdict) fn observed(&mut self, scene: &Scene<'_>, observation: &Observation) {
        if let Observation::Unbootable = observation {
            let evidence = || "the bootloader found no image to run".to_owned();
            self.bootable.hold(scene, false, evidence);
        } else if let Observation::FlashMisused { what, .. } = observation {
            self.flash.hold(scene, false, || (*what).to_owned());
        }
    }
}
