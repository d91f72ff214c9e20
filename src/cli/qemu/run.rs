//! `squall qemu run`: one board with its console.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::cli::interrupt::Interrupt;
use crate::cli::refusal::Refusal;
use crate::qemu::{FLASH_SIZE, Flash, Guest, Relay, pause};

use super::BenchArgs;

/// How often the bench looks whether it is to end, and wakes the board's serial line.
const GLANCE: Duration = Duration::from_millis(100);

/// Exit code of a bench that was switched off by Ctrl-C.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  squall qemu run firmware-fixtures/app-1.0.0.bin
  squall qemu run firmware-fixtures/app-1.0.0.bin --save flash.bin
  squall qemu run --flash flash.bin firmware-fixtures/app-1.0.0.bin

The first line names the pseudo-terminal on which the board's serial line is; a
client of the MCU manager protocol can update it there. Ctrl-C switches it off.

Exit codes: 1 QEMU is missing or has failed, 2 bad input, 130 switched off.";

/// Arguments of `squall qemu run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Image in the primary slot
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Whole flash to begin with, as --save or a sweep wrote it
    #[arg(long, value_name = "FILE")]
    flash: Option<PathBuf>,
    /// Writes the whole flash here when the board is switched off
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    bench: BenchArgs,
}

/// Carries the command out; gives the exit code.
pub(super) fn run(args: &RunArgs) -> Result<u8, Refusal> {
    let image = super::image(&args.image)?;
    let flash = match &args.flash {
        None => Flash::of(&args.bench.bootloader()?, &image).map_err(|error| Refusal::bad_input(&error))?,
        Some(path) => {
            let whole = Flash::from_bytes(super::read(path)?);
            whole.ok_or_else(|| Refusal::bad_input(&format!("{}: a board's flash has {FLASH_SIZE} bytes", path.display())))?
        }
    };
    let internal = |error: &dyn std::fmt::Display| Refusal::internal(error);
    let mut guest = Guest::new(args.bench.qemu()?, flash);
    let interrupt = Interrupt::listen();
    guest.power_on(None).map_err(|error| internal(&error))?;
    let terminal = Terminal::open().map_err(|error| internal(&error))?;
    println!("serial line  {}", terminal.name);
    let line = guest.serial_line().map_err(|error| internal(&error))?;
    let relayed = relay(line, terminal.master);
    relayed.map_err(|error| internal(&error))?;
    while !interrupt.asked() && guest.is_on() {
        guest.nudge().map_err(|error| internal(&error))?;
        pause(GLANCE);
    }
    if !guest.is_on() {
        return Err(internal(&"the guest has ended by itself"));
    }
    guest.power_off().map_err(|error| internal(&error))?;
    if let Some(path) = &args.save {
        let written = std::fs::write(path, guest.flash().bytes());
        written.map_err(|error| internal(&format!("{}: {error}", path.display())))?;
    }
    Ok(INTERRUPTED)
}

/// A pseudo-terminal for a client to open.
struct Terminal {
    name: String,
    master: File,
    /// Held open, so that the terminal outlives its clients.
    _slave: OwnedFd,
}

impl Terminal {
    fn open() -> io::Result<Terminal> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        // Bytes pass as they are.
        let mut modes = tcgetattr(slave.as_fd())?;
        modes.make_raw();
        tcsetattr(slave.as_fd(), OptionalActions::Now, &modes)?;
        Ok(Terminal {
            name: name.to_string_lossy().into_owned(),
            master: File::from(master),
            _slave: slave,
        })
    }
}

/// Carries bytes both ways, and prints what the firmware prints; ends with the line.
fn relay(mut line: UnixStream, mut terminal: File) -> io::Result<()> {
    let (mut to_line, mut from_terminal) = (line.try_clone()?, terminal.try_clone()?);
    thread::spawn(move || io::copy(&mut from_terminal, &mut to_line));
    thread::spawn(move || -> io::Result<()> {
        let (mut buffer, mut relay) = ([0; 4096], Relay::default());
        loop {
            let length = line.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            terminal.write_all(&buffer[..length])?;
            for printed in relay.printed(&buffer[..length]) {
                println!("{printed}");
            }
        }
    });
    Ok(())
}
