//! What an attempt costs when nothing goes wrong: the plan needs to know before it runs.

use std::time::Duration;

use bytes::Bytes;

use super::config::{Chip, DeviceConfig};
use super::records::VALUE_LIMIT;
use super::slot::Slot;
use super::stretch::Stretch;
use super::swap::{Swap, WRITE_LIMIT};
use crate::mcuboot::SwapType;
use crate::model::RecordKey;

/// How long a device takes over an attempt with one main image of `image_bytes`, from the manifest to the confirmed image, if
/// nothing goes wrong: flash, hashing and boot, without network and without waiting for the confirmation. The old image is taken to
/// be as large.
pub fn clean_duration(config: &DeviceConfig, image_bytes: u64) -> Duration {
    let chip = &config.chip;
    let flash: Duration = stretches(config, image_bytes).map(|stretch| stretch.bill(chip).lasts).sum();
    // Searched for its build id, checked before the swap and again before it starts.
    let hashing = chip.hash(image_bytes) * 3 + chip.verify * 2;
    flash + hashing + chip.boot
}

/// How many flash operations that attempt has, from its first record to that of its report.
pub fn clean_ops(config: &DeviceConfig, image_bytes: u64) -> u64 {
    let chip = &config.chip;
    stretches(config, image_bytes)
        .map(|stretch| u64::from(stretch.bill(chip).ops))
        .sum()
}

/// How many page erases that attempt has.
pub fn clean_erases(config: &DeviceConfig, image_bytes: u64) -> u64 {
    let chip = &config.chip;
    stretches(config, image_bytes)
        .map(|stretch| u64::from(stretch.bill(chip).erases))
        .sum()
}

/// How many flash operations a main download has until `done` of its `image_bytes` bytes are written.
pub fn download_ops(config: &DeviceConfig, image_bytes: u64, done: u64) -> u64 {
    let chip = &config.chip;
    let page_size = u64::from(chip.page_size);
    let whole = pages(chip, image_bytes).take(usize::try_from(done / page_size).unwrap_or(usize::MAX));
    let ops: u64 = whole.map(|page| u64::from(page.bill(chip).ops)).sum();
    let rest = done.min(image_bytes) % page_size;
    // The page is erased before its first byte is written.
    ops + if rest > 0 { 1 + rest / u64::from(WRITE_LIMIT) } else { 0 }
}

fn pages(chip: &Chip, image_bytes: u64) -> impl Iterator<Item = Stretch> {
    let page_size = chip.page_size;
    let image_bytes = u32::try_from(image_bytes).unwrap_or(u32::MAX).min(chip.image_limit());
    (0..image_bytes.div_ceil(page_size)).map(move |number| Stretch::Page {
        at: (number + 1) * page_size,
        bytes: Bytes::from(vec![0; page_size.min(image_bytes - number * page_size) as usize]),
        first: number == 0,
    })
}

fn stretches(config: &DeviceConfig, image_bytes: u64) -> impl Iterator<Item = Stretch> {
    let chip = &*config.chip;
    let page_size = chip.page_size;
    let image_bytes = u32::try_from(image_bytes).unwrap_or(u32::MAX).min(chip.image_limit());
    let size = image_bytes.div_ceil(page_size) as u16;
    let store = |key, len| Stretch::Store {
        key,
        content: Bytes::from(vec![0; len]),
    };
    let attempt = move || store(RecordKey::Attempt, 32);
    let version = RecordKey::Version(crate::model::Slug::new("main").expect("four bytes are a slug"));
    let before = std::iter::once(attempt()).chain(pages(chip, image_bytes.into()));
    let after = [
        store(RecordKey::Probation, VALUE_LIMIT),
        Stretch::Request,
        Stretch::Swap(Swap::begin(config.swap, SwapType::Test, (size, size), &Slot::default())),
        Stretch::Confirm,
        store(version, 32),
        attempt(),
        Stretch::Delete {
            key: RecordKey::Probation,
        },
        attempt(),
    ];
    before.chain(after)
}
