//! Guests: real Cortex-M0 firmware on an emulated nRF51822, each in a QEMU process of its own.
//!
//! [`Guest`] is one board on its bench: it owns the flash while the power is off, and the process while it is on. Flash goes in before
//! the first instruction and is read back before the process ends, or outlives it ([`FlashAccess`]), so that what firmware wrote survives
//! resets, power cuts and the process. [`Smp`] speaks the management protocol with what runs there. What is emulated: the processor, the flash controller as it
//! erases and writes, the serial line, timers. What is not: radio, watchdog, how long flash takes, and how it wears.
//!
//! Everything here blocks, with a bound on every wait; callers give a guest a thread.

mod deadline;
mod flash;
mod gdb;
mod guest;
mod machine;
mod qmp;
mod shared;
mod smp;
mod spawner;
mod sweep;

pub use deadline::pause;
pub use flash::{ERASED, FLASH_SIZE, Flash, FlashError, PAGE_SIZE, PRIMARY, SECONDARY, SLOT_SIZE, Standing};
pub use guest::{Cut, Guest, GuestError, Hurry};
pub use machine::{FlashAccess, Qemu, QemuError};
pub use smp::{Console, Relay, SlotState, Smp, SmpError};
pub use sweep::{During, Ended, Point, Sweep, SweepError, Tear};

/// The bootloader that guests get unless another one is named: firmware-fixtures/boot.bin.
pub const BOOTLOADER: &[u8] = include_bytes!("../../firmware-fixtures/boot.bin");
