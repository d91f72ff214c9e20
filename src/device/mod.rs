//! The simulated device: decides what the real device SDK and MCUboot would, does no I/O.

mod behavior;
mod config;
mod io;

pub use behavior::{Behaviors, BootOutcome, Dealt, ImageBehavior, InstallOutcome};
pub use config::{Backoff, Chip, DeviceConfig, DeviceIdentity, Jitter, SwapMethod};
pub use io::{DeviceInput, DeviceOutput, LinkLoss, Outputs};
