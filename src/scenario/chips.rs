//! The named chips, embedded in the binary; each figure stands there with its source.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::Deserialize;

use crate::device::Chip;
use crate::model::{parse_duration, parse_size};

/// The chip of a fleet that names none.
pub(super) const DEFAULT: &str = "nrf52840";

/// The chip that QEMU emulates.
pub(super) const OF_BOARDS: &str = "nrf51822";

/// A figure with its source.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figure {
    value: String,
    #[serde(rename = "source")]
    _source: String,
}

impl Figure {
    /// The figure with its unit.
    pub(super) fn text(&self) -> &str {
        &self.value
    }

    /// The figure as a time.
    pub(super) fn time(&self) -> Duration {
        parse_duration(&self.value).expect("profiles hold times with units")
    }

    fn bytes(&self) -> u32 {
        let size = parse_size(&self.value).expect("profiles hold sizes with units");
        u32::try_from(size).expect("no chip has 4 GiB of flash")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChipProfile {
    flash_size: Figure,
    page_size: Figure,
    write_size: Figure,
    page_erase: Figure,
    kib_write: Figure,
    slot_size: Figure,
    kib_hash: Figure,
    verify: Figure,
    boot: Figure,
}

static CHIPS: LazyLock<BTreeMap<String, (Arc<Chip>, u32)>> = LazyLock::new(|| {
    let profiles: BTreeMap<String, ChipProfile> =
        toml::from_str(include_str!("../../profiles/chips.toml")).expect("the embedded profiles are valid");
    profiles
        .into_iter()
        .map(|(name, profile)| {
            let chip = Chip {
                name: name.clone(),
                page_size: profile.page_size.bytes(),
                write_size: profile.write_size.bytes(),
                page_erase: profile.page_erase.time(),
                kib_write: profile.kib_write.time(),
                slot_size: profile.slot_size.bytes(),
                kib_hash: profile.kib_hash.time(),
                verify: profile.verify.time(),
                boot: profile.boot.time(),
            };
            (name, (Arc::new(chip), profile.flash_size.bytes()))
        })
        .collect()
});

/// The chips there are.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    CHIPS.keys().map(String::as_str)
}

/// The chip called `name`.
pub(super) fn chip(name: &str) -> Option<Arc<Chip>> {
    CHIPS.get(name).map(|(chip, _)| Arc::clone(chip))
}

/// Bytes of the whole flash of the chip called `name`.
pub(super) fn flash_size(name: &str) -> Option<u32> {
    CHIPS.get(name).map(|(_, size)| *size)
}

/// The largest image that a chip can take by swap-offset.
pub(super) fn largest_image(chip: &Chip) -> u64 {
    u64::from(chip.image_limit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nrf52840_takes_the_times_of_the_contract() {
        let chip = chip(DEFAULT).unwrap();
        let page = chip.page_erase + chip.kib_write * (chip.page_size / 1024);
        let download = page * 16;
        assert!((1.95..2.10).contains(&download.as_secs_f64()), "64 KiB: {download:?}");
        assert!((3.9..4.2).contains(&(download * 2).as_secs_f64()));
        let boot = chip.boot + chip.kib_hash * 256 + chip.verify;
        assert!((0.40..0.50).contains(&boot.as_secs_f64()), "256 KiB boot in {boot:?}");
    }

    #[test]
    fn every_chip_has_room_for_two_slots_and_the_times_of_its_family() {
        let all: Vec<_> = names().collect();
        assert_eq!(
            all,
            [
                "esp32",
                "linux-emmc",
                "nrf51822",
                "nrf52832",
                "nrf52840",
                "nrf52840-mx25r64",
                "nrf5340",
                "nrf54l15",
                "nrf9160",
                "stm32f4",
                "stm32l4",
            ]
        );
        for name in all {
            let chip = chip(name).unwrap();
            assert!(2 * chip.slot_size < flash_size(name).unwrap(), "{name}");
            assert!(chip.slot_size.is_multiple_of(chip.page_size) && chip.page_size.is_multiple_of(chip.write_size));
            // Of three large sectors one is an image's.
            let (of, parts) = if name == "stm32f4" { (1, 3) } else { (8, 10) };
            assert!(largest_image(&chip) >= u64::from(chip.slot_size) * of / parts, "{name}");
        }
        let page = chip("nrf5340").unwrap();
        let flash = (page.page_erase + page.kib_write * 4) * 64 * 2;
        assert!((16.0..17.5).contains(&flash.as_secs_f64()), "256 KiB by offset: {flash:?}");
    }
}
