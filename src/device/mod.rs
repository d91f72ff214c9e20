//! The simulated device: decides what the real device SDK and MCUboot would, does no I/O.
//!
//! [`Device`] owns one device whole: its flash with both image slots and the settings records, the bootloader, the MQTT session,
//! the update attempt with its worker, the download. Time and inputs are arguments, outputs go into a queue that the caller owns
//! and shares among its devices, in the order in which they happen. It draws nothing but waits, names and torn operations, all by
//! [`Luck`] from its own key and its own ordinals, and leaves transports, links, faults on the way and the server to others.

mod behavior;
mod config;
mod io;
mod timers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use behavior::{Behaviors, BootOutcome, Dealt, ImageBehavior, InstallOutcome};
pub use config::{Backoff, Chip, DeviceConfig, DeviceIdentity, Jitter, SwapMethod};
pub use io::{DeviceInput, DeviceOutput, LinkLoss, Outputs};
pub use timers::Timer;

use crate::luck::Luck;
use crate::model::{AttemptId, FirmwareVersion, Phase, Session, Version, Why};
use crate::time::SimTime;

/// One simulated device.
///
/// - **Input**: [`handle_input`](Self::handle_input) and [`handle_timeout`](Self::handle_timeout), which append to the outputs.
/// - **Schedule**: after either, [`next_timeout`](Self::next_timeout) says when the device wants to be woken.
/// - **Views**: phase, session, attempt, version and [`explain`](Self::explain) change only by input.
#[derive(Debug)]
pub struct Device {
    identity: DeviceIdentity,
    config: Arc<DeviceConfig>,
    behaviors: Arc<Behaviors>,
    luck: Luck,
    phase: Phase,
    session: Session,
    running: FirmwareVersion,
    image: Bytes,
}

impl Device {
    /// A device without power, with `image` in its primary slot, confirmed, and no records.
    pub fn new(identity: DeviceIdentity, config: Arc<DeviceConfig>, behaviors: Arc<Behaviors>, luck: Luck, image: Bytes) -> Device {
        let running = FirmwareVersion {
            slug: config.main.clone(),
            version: Version::new("0.0.0").expect("five bytes are within the limit"),
        };
        Device {
            identity,
            config,
            behaviors,
            luck,
            phase: Phase::Idle,
            session: Session::Off,
            running,
            image,
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, _input: DeviceInput, _now: SimTime, _out: &mut Outputs) {}

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: SimTime, _out: &mut Outputs) {}

    /// When the device next wants [`handle_timeout`](Self::handle_timeout), and what for; `None` means never.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(SimTime, Timer)> {
        None
    }

    /// The latest timer armed, housekeeping left out: by then a correct device has moved on by itself.
    pub fn latest_timeout(&self) -> Option<SimTime> {
        None
    }

    /// Where it stands in its attempt.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How it stands to its server.
    pub fn session(&self) -> Session {
        self.session
    }

    /// The main version that runs, or ran last.
    pub fn running(&self) -> &FirmwareVersion {
        &self.running
    }

    /// The attempt that it works on or last finished.
    pub fn attempt(&self) -> Option<AttemptId> {
        None
    }

    /// Why it is where it is.
    pub fn explain(&self, _now: SimTime) -> Why {
        let _ = (&self.identity, &self.config, &self.behaviors, self.luck, &self.image);
        Why::Off
    }

    /// True when its own firmware keeps it from ending what it began: `hang`, `mute`, `unconfirmed`, or an install that never
    /// returns. Such a device is stuck, not broken.
    pub fn stuck_by_firmware(&self) -> bool {
        false
    }

    /// Flash operations that have been done, all boots together.
    pub fn flash_ops(&self) -> u64 {
        0
    }
}

/// How long a device takes over an attempt with one main image of `image_bytes`, from the manifest to the confirmed image, if
/// nothing goes wrong: flash, hashing and boot, without network and without waiting for the confirmation.
pub fn clean_duration(config: &DeviceConfig, image_bytes: u64) -> Duration {
    let _ = (config, image_bytes);
    Duration::ZERO
}

/// How many flash operations that attempt has, the last record of its report included, when the old image is as large.
pub fn clean_ops(config: &DeviceConfig, image_bytes: u64) -> u64 {
    let _ = (config, image_bytes);
    0
}
