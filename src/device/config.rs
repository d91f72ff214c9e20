//! What a device is built of and set to: shared by its fleet, fixed for the run.

use std::sync::Arc;
use std::time::Duration;

use super::sdk::{Quirks, Sdk};
use crate::luck::{Luck, Purpose};
use crate::mcuboot::VerifyingKey;
use crate::model::{DeviceId, IngestKey, Slug, word_enum};

/// One device's own data.
#[derive(Clone, Debug)]
pub struct DeviceIdentity {
    /// Its id: the MQTT user name.
    pub id: DeviceId,
    /// The key under which it draws (see [`crate::luck::device_key`]).
    pub key: u64,
    /// Its number in its fleet, from zero.
    pub number: u32,
}

/// Build options and settings, shared by a fleet.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Slug of the firmware in the primary slot.
    pub main: Slug,
    /// Password for MQTT.
    pub ingest_key: IngestKey,
    /// Flash geometry and times.
    pub chip: Arc<Chip>,
    /// How MCUboot exchanges images.
    pub swap: SwapMethod,
    /// The key of MCUboot: it runs only what bears its signature. `None` for a bootloader that checks digests alone.
    pub key: Option<VerifyingKey>,
    /// Waits before MQTT connects again; the SDK's is a constant 500 ms (protocol 2.3).
    pub reconnect: Backoff,
    /// Waits before a download is tried again; the SDK's is 5 s to 300 s, doubling, upper half (protocol 5.5).
    pub retry: Backoff,
    /// How long a CONNACK may take (protocol 2.3: 500 ms).
    pub connack_timeout: Duration,
    /// MQTT keep-alive (protocol 2.1: 60 s).
    pub keep_alive: Duration,
    /// Most artifacts of a manifest, 1 to 32 (protocol 3.1: 4).
    pub max_artifacts: u8,
    /// False in a run without TLS: `http` URLs are then accepted, a deviation that reports name.
    pub tls: bool,
    /// Which generation of the SDK it is built with.
    pub sdk: Sdk,
    /// What the SDK is known to do otherwise than it says.
    pub quirks: Quirks,
    /// How often it tells its uptime, and with it that it logs what it does; `None` for never (protocol 4.3, 4.4).
    pub heartbeat: Option<Duration>,
    /// Looks into the first page of a main image before it erases the slot, and refuses one that is made for other hardware.
    pub checks_fit: bool,
    /// When its bootloader's security counter rises to that of an image.
    pub rollback_lock: RollbackLock,
    /// Erases are counted by page, because somebody asks for the most-erased one.
    pub counts_wear: bool,
    /// Its firmware runs on a board outside: slots and bootloader are the board's, and what is kept of them here is what it has told.
    pub on_board: bool,
}

word_enum! {
    /// When the bootloader's security counter rises: below it, no image is started any more.
    RollbackLock {
        /// There is none.
        Off = "off",
        /// Once an image with a higher one is confirmed, as MCUboot does it.
        Confirm = "confirm",
        /// As soon as such an image starts: the way back is closed before anybody knows that it is not needed.
        Start = "start",
    }
}

/// How MCUboot exchanges the images of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapMethod {
    /// The new image stands one page higher in the secondary slot: two erases and writes a page.
    Offset,
    /// The old image first moves up by one page in its own slot: three erases and writes a page.
    Move,
}

impl SwapMethod {
    /// Its word in scenarios.
    pub const fn word(self) -> &'static str {
        match self {
            SwapMethod::Offset => "offset",
            SwapMethod::Move => "move",
        }
    }
}

/// Geometry and times of a chip's flash, and its speed at hashing. Sources stand in `profiles/chips.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Name in scenarios.
    pub name: String,
    /// Bytes of an erasable page.
    pub page_size: u32,
    /// Bytes of the smallest write.
    pub write_size: u32,
    /// Time to erase one page.
    pub page_erase: Duration,
    /// Time to write 1 KiB.
    pub kib_write: Duration,
    /// Bytes of one slot, trailer included.
    pub slot_size: u32,
    /// Time to hash 1 KiB at boot.
    pub kib_hash: Duration,
    /// Time to verify a signature at boot.
    pub verify: Duration,
    /// Time from reset to the application, without hashing and verifying.
    pub boot: Duration,
}

/// How waits grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// First ceiling.
    pub first: Duration,
    /// Largest ceiling; the ceiling doubles after each failure up to here. Equal to `first` for a constant wait.
    pub max: Duration,
    /// Where below the ceiling the wait lies.
    pub jitter: Jitter,
}

/// Where a wait lies below its ceiling c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Exactly c.
    Fixed,
    /// Evenly in [ceil(c/2), c], in whole milliseconds (protocol 5.5).
    Half,
    /// Evenly in [0, c].
    Full,
}

impl DeviceConfig {
    /// Where in the secondary slot an image is written that is to be swapped in.
    pub(super) fn image_at(&self) -> u32 {
        match self.swap {
            SwapMethod::Offset => self.chip.page_size,
            SwapMethod::Move => 0,
        }
    }
}

impl Chip {
    /// The same flash, of which nothing takes any time: where it does, it takes a board's.
    #[must_use]
    pub fn without_times(&self) -> Chip {
        Chip {
            page_erase: Duration::ZERO,
            kib_write: Duration::ZERO,
            kib_hash: Duration::ZERO,
            verify: Duration::ZERO,
            boot: Duration::ZERO,
            ..self.clone()
        }
    }

    /// Time to hash `bytes` at boot.
    pub(super) fn hash(&self, bytes: u64) -> Duration {
        let nanos = self.kib_hash.as_nanos() * u128::from(bytes) / 1024;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Backoff {
    /// The wait after the `failures`-th failure in a row (from 1), drawn with the device's own `ordinal`.
    pub(super) fn delay(&self, failures: u32, luck: Luck, purpose: Purpose, device: u64, ordinal: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max.max(self.first));
        match self.jitter {
            Jitter::Fixed => ceiling,
            Jitter::Half => {
                let high = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
                let low = high.div_ceil(2);
                let drawn = luck.below(purpose, device, ordinal.into(), (high - low).saturating_add(1));
                Duration::from_millis(low + drawn)
            }
            Jitter::Full => luck.duration(purpose, device, ordinal.into(), Duration::ZERO..=ceiling),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDK: Backoff = Backoff {
        first: Duration::from_secs(5),
        max: Duration::from_secs(300),
        jitter: Jitter::Half,
    };

    #[test]
    fn waits_lie_in_the_upper_half_of_a_doubling_ceiling() {
        for failures in 1..40 {
            let ceiling = 5_000u64.saturating_mul(1 << (failures - 1).min(20)).min(300_000);
            let mut drawn: Vec<_> = (0..200)
                .map(|ordinal| SDK.delay(failures, Luck::new(7), Purpose::RetryDelay, 1, ordinal))
                .collect();
            drawn.sort();
            let bounds = Duration::from_millis(ceiling.div_ceil(2))..=Duration::from_millis(ceiling);
            assert!(
                drawn.iter().all(|wait| bounds.contains(wait)),
                "failure {failures}: {drawn:?}"
            );
            assert!(drawn[0] < drawn[199], "failure {failures} draws");
            assert!(
                drawn.iter().all(|wait| wait.subsec_nanos() % 1_000_000 == 0),
                "whole milliseconds"
            );
        }
    }

    #[test]
    fn a_constant_wait_is_constant() {
        let constant = Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_millis(500),
            jitter: Jitter::Fixed,
        };
        for failures in [1, 2, 50, u32::MAX] {
            let wait = constant.delay(failures, Luck::new(7), Purpose::ReconnectDelay, 1, 0);
            assert_eq!(wait, Duration::from_millis(500));
        }
    }
}
