//! One board on its bench: power, reset, serial line, and the moment at which power is cut.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;

use super::deadline::Deadline;
use super::flash::Flash;
use super::gdb::{Gdb, Stop, Watching};
use super::machine::{Machine, Qemu, QemuError};
use super::smp::{GiveUp, Smp, SmpError};

/// How long a request on the serial line may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a board does not do what was asked.
#[derive(Debug, Error)]
pub enum GuestError {
    /// It is off.
    #[error("the board is off")]
    Off,
    /// The process.
    #[error(transparent)]
    Machine(#[from] QemuError),
    /// The firmware on the serial line.
    #[error(transparent)]
    Firmware(#[from] SmpError),
}

/// How an erase is torn by a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Right before it.
    Before,
    /// In the middle: bits of before and after, picked by this draw.
    Middle(u64),
    /// Right after it.
    After,
}

/// A board.
#[derive(Debug)]
pub struct Guest {
    qemu: Qemu,
    /// As it was when power went last.
    flash: Flash,
    on: Option<Power>,
    hurry: Hurry,
}

/// Makes whoever waits for an answer of a guest give up, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Hurry(Arc<AtomicU32>);

impl Hurry {
    /// Nobody waits until this is over.
    pub fn begin(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// It is over.
    pub fn end(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is there while power is on.
#[derive(Debug)]
struct Power {
    smp: Smp,
    watch: Watch,
    /// Set once the processor stands before the erase at which power is to be cut.
    reached: Arc<AtomicBool>,
    machine: Machine,
}

/// What the debugger does.
#[derive(Debug)]
enum Watch {
    Nothing(Gdb),
    Erases {
        counting: JoinHandle<io::Result<(Gdb, Stop)>>,
        stop: Arc<AtomicBool>,
        /// The erase to stand still before; zero is none.
        wanted: Arc<AtomicU32>,
        /// Erases that have come, one that it stands before included.
        seen: Arc<AtomicU32>,
        /// The processor is to stand still, wherever it is.
        halted: Arc<AtomicBool>,
    },
    /// It was lost on the way.
    Gone,
}

impl Guest {
    /// A board that is off.
    pub fn new(qemu: Qemu, flash: Flash) -> Guest {
        Guest {
            qemu,
            flash,
            on: None,
            hurry: Hurry::default(),
        }
    }

    /// What makes those who wait for this guest give up.
    pub fn hurry(&self) -> Hurry {
        self.hurry.clone()
    }

    /// Switches the power on. With `cut_at`, the processor stops before that page erase, counted from one and from now; whatever is
    /// under way on the serial line is then given up, and [`Self::cut`] is to follow.
    pub fn power_on(&mut self, cut_at: Option<u32>) -> Result<(), GuestError> {
        self.on = None;
        let (machine, lines) = Machine::start(&self.qemu, &self.flash)?;
        let reached = Arc::new(AtomicBool::new(false));
        let mut gdb = lines.gdb;
        let watch = match cut_at {
            Some(nth) => count(gdb, nth, &reached),
            None => {
                gdb.go_on().map_err(gone)?;
                Watch::Nothing(gdb)
            }
        };
        let give_up = GiveUp {
            reached: Arc::clone(&reached),
            hurried: Arc::clone(&self.hurry.0),
        };
        let smp = Smp::new(lines.serial, give_up);
        self.on = Some(Power {
            smp,
            watch,
            reached,
            machine,
        });
        Ok(())
    }

    /// Page erases are counted since power came: the processor is to stop before the one of this number, and before none for zero.
    pub fn cut_at(&mut self, nth: u32) -> Result<(), GuestError> {
        match &self.power()?.watch {
            Watch::Erases { wanted, .. } => wanted.store(nth, Ordering::Release),
            Watch::Nothing(_) | Watch::Gone => {}
        }
        Ok(())
    }

    /// Page erases since power came, where they are counted; one that the processor stands before is among them.
    pub fn erases_seen(&self) -> u32 {
        match self.on.as_ref().map(|power| &power.watch) {
            Some(Watch::Erases { seen, .. }) => seen.load(Ordering::Acquire),
            Some(Watch::Nothing(_) | Watch::Gone) | None => 0,
        }
    }

    /// How many page erases came since the count began, which ends.
    pub fn erases(&mut self) -> Result<u32, GuestError> {
        let power = self.power()?;
        let watch = std::mem::replace(&mut power.watch, Watch::Gone);
        let (gdb, stop) = finish(watch).map_err(gone)?;
        power.watch = Watch::Nothing(gdb);
        match stop {
            Stop::Running(erases) => Ok(erases),
            Stop::AtErase => Err(gone(io::Error::other("it stands at an erase")).into()),
        }
    }

    /// Whether the processor stands before the erase at which power is to be cut.
    pub fn at_cut(&self) -> bool {
        self.on.as_ref().is_some_and(|power| power.reached.load(Ordering::Acquire))
    }

    /// Cuts the power at the erase that the processor stands at.
    pub fn cut(&mut self, cut: Cut) -> Result<(), GuestError> {
        let power = self.power()?;
        let (mut gdb, _) = finish(std::mem::replace(&mut power.watch, Watch::Gone)).map_err(gone)?;
        let before = power.machine.read_flash()?;
        self.flash = match cut {
            Cut::Before => before,
            Cut::After | Cut::Middle(_) => {
                gdb.step().map_err(gone)?;
                let after = power.machine.read_flash()?;
                match cut {
                    Cut::Middle(draw) => after.with_mixed_page(&before, draw),
                    Cut::Before | Cut::After => after,
                }
            }
        };
        self.on = None;
        Ok(())
    }

    /// Cuts the power at this moment, wherever the processor is.
    pub fn power_off(&mut self) -> Result<(), GuestError> {
        self.flash = self.power()?.machine.end()?;
        self.on = None;
        Ok(())
    }

    /// Stops the processor, wherever it is; [`Self::go_on`] lets it go on from there.
    pub fn halt(&mut self) -> Result<(), GuestError> {
        let power = self.power()?;
        if let Watch::Erases { halted, .. } = &power.watch {
            halted.store(true, Ordering::Release);
        }
        Ok(power.machine.qmp.stop().map_err(monitor_gone)?)
    }

    /// Lets a processor go on that was stopped.
    pub fn go_on(&mut self) -> Result<(), GuestError> {
        let power = self.power()?;
        match &power.watch {
            // The debugger lets it go on.
            Watch::Erases { halted, .. } => halted.store(false, Ordering::Release),
            Watch::Nothing(_) | Watch::Gone => power.machine.qmp.go_on().map_err(monitor_gone)?,
        }
        Ok(())
    }

    /// How often the firmware has reset the board by itself since power came, up to the last call that asked the monitor.
    pub fn resets_seen(&self) -> u32 {
        self.on.as_ref().map_or(0, |power| power.machine.qmp.guest_resets())
    }

    /// Resets the board as a watchdog with a witness would: the flash is looked at before, and what it held is told.
    pub fn bite(&mut self) -> Result<Flash, GuestError> {
        self.halt()?;
        let machine = &mut self.power()?.machine;
        let flash = machine.read_flash()?;
        machine.qmp.reset().map_err(monitor_gone)?;
        self.go_on()?;
        Ok(flash)
    }

    /// Resets the board, as its watchdog would. What its flash holds stays.
    pub fn reset(&mut self) -> Result<(), GuestError> {
        let power = self.power()?;
        Ok(power.machine.qmp.reset().map_err(monitor_gone)?)
    }

    /// Wakes QEMU's main loop: after a reset it may not look at the serial line until something does.
    pub fn nudge(&mut self) -> Result<(), GuestError> {
        Ok(self.power()?.machine.qmp.nudge().map_err(monitor_gone)?)
    }

    /// Waits until the firmware answers.
    pub fn wait_until_up(&mut self) -> Result<(), GuestError> {
        let until = Deadline::after(self.qemu.boot_timeout);
        loop {
            self.nudge()?;
            match self.power()?.smp.echo("up", Duration::from_millis(200)) {
                Ok(_) => return Ok(()),
                Err(SmpError::Silent) if !until.is_over() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The serial line.
    pub fn smp(&mut self) -> Result<(&mut Smp, Duration), GuestError> {
        Ok((&mut self.power()?.smp, PATIENCE))
    }

    /// The serial line itself, for a client that is not ours.
    pub fn serial_line(&mut self) -> Result<UnixStream, GuestError> {
        Ok(self.power()?.smp.line()?)
    }

    /// The flash, as it was when power went last.
    pub fn flash(&self) -> &Flash {
        &self.flash
    }

    /// Whether power is on and the process runs; one that ended by itself, as at a fault in a fault handler, is a board without power.
    /// Its flash is as it was then where that outlives the process, and otherwise as it was when power came.
    pub fn is_on(&mut self) -> bool {
        if self.on.as_mut().is_some_and(|power| power.machine.has_ended())
            && let Some(power) = self.on.take()
            && let Some(left) = power.machine.left()
        {
            self.flash = left;
        }
        self.on.is_some()
    }

    /// Whether the flash outlives the process.
    pub fn flash_outlives(&self) -> bool {
        self.on.as_ref().is_some_and(|power| power.machine.left().is_some())
    }

    /// Number of the process, while power is on.
    pub fn process(&self) -> Option<u32> {
        self.on.as_ref().map(|power| power.machine.process())
    }

    fn power(&mut self) -> Result<&mut Power, GuestError> {
        if !self.is_on() {
            return Err(GuestError::Off);
        }
        self.on.as_mut().ok_or(GuestError::Off)
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        if let Watch::Erases { stop, .. } = &self.watch {
            stop.store(true, Ordering::Release);
        }
    }
}

fn count(mut gdb: Gdb, nth: u32, reached: &Arc<AtomicBool>) -> Watch {
    let (stop, halted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (wanted, seen) = (Arc::new(AtomicU32::new(nth)), Arc::new(AtomicU32::new(0)));
    let (asked, held, reached) = (Arc::clone(&stop), Arc::clone(&halted), Arc::clone(reached));
    let (aim, count) = (Arc::clone(&wanted), Arc::clone(&seen));
    let counting = thread::spawn(move || {
        let is_wanted = |erases| {
            count.store(erases, Ordering::Release);
            aim.load(Ordering::Acquire) == erases
        };
        let end = gdb.run_to_erase(&Watching {
            wanted: &is_wanted,
            over: &|| asked.load(Ordering::Acquire),
            halted: &|| held.load(Ordering::Acquire),
        })?;
        reached.store(end == Stop::AtErase, Ordering::Release);
        Ok((gdb, end))
    });
    Watch::Erases {
        counting,
        stop,
        wanted,
        seen,
        halted,
    }
}

/// Ends a count, wherever it is.
fn finish(watch: Watch) -> io::Result<(Gdb, Stop)> {
    match watch {
        Watch::Nothing(gdb) => Ok((gdb, Stop::Running(0))),
        Watch::Gone => Err(io::ErrorKind::NotConnected.into()),
        Watch::Erases { counting, stop, .. } => {
            stop.store(true, Ordering::Release);
            counting
                .join()
                .map_err(|_| io::Error::other("the debugger's thread has failed"))?
        }
    }
}

fn gone(error: io::Error) -> QemuError {
    QemuError::Gone { part: "debugger", error }
}

fn monitor_gone(error: io::Error) -> QemuError {
    QemuError::Gone { part: "monitor", error }
}
