//! One QEMU process: started with an empty processor that stands still, supervised, ended.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use thiserror::Error;

use super::deadline::{Deadline, pause};
use super::flash::{FLASH_SIZE, Flash};
use super::gdb::Gdb;
use super::qmp::Qmp;
use super::shared::SharedFlash;
use super::spawner;

/// Pause between two looks at something that is waited for.
const GLANCE: Duration = Duration::from_millis(2);

/// How guests are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// Program, looked up in `PATH` unless it has a slash.
    pub binary: String,
    /// Machine; its flash must be an nRF51822's.
    pub machine: String,
    /// How long a guest may take until it answers on its serial line.
    pub boot_timeout: Duration,
    /// How a guest's flash gets in and out.
    pub access: FlashAccess,
}

/// How the flash of a guest is filled before it runs, and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashAccess {
    /// Filled through the debugger's stub, read through the monitor while the process lives: with every version.
    Debugger,
    /// Memory that Squall holds together with the process, and that outlives it: from QEMU 10 on.
    Shared,
}

impl Default for Qemu {
    /// The contract's defaults, and what works with every version.
    fn default() -> Self {
        Qemu {
            binary: "qemu-system-arm".to_owned(),
            machine: "microbit".to_owned(),
            boot_timeout: Duration::from_secs(10),
            access: FlashAccess::Debugger,
        }
    }
}

/// Why there is no machine.
#[derive(Debug, Error)]
pub enum QemuError {
    /// The program is not there.
    #[error("`{binary}` is not there: install it (Debian: apt-get install qemu-system-arm), or name another by `qemu.binary`")]
    Missing {
        /// What was looked for.
        binary: String,
    },
    /// The program is not what is needed.
    #[error("`{binary}` is of version {found}: {LEAST_MAJOR}.0 or newer is needed")]
    TooOld {
        /// What was asked.
        binary: String,
        /// What it said.
        found: String,
    },
    /// The program ended or did not connect.
    #[error("the guest did not start: {reason}")]
    NotStarted {
        /// What it said, or what was waited for.
        reason: String,
    },
    /// Talking to a machine that was started went wrong.
    #[error("the guest's {part} is gone: {error}")]
    Gone {
        /// Monitor, debugger, serial line, flash or the process itself.
        part: &'static str,
        /// How.
        error: io::Error,
    },
}

/// Oldest major version that was tried.
const LEAST_MAJOR: u32 = 7;
/// Major version from which on a machine's flash can be shared (`aux-ram-share`).
const SHARES_FLASH: u32 = 10;

impl Qemu {
    /// This QEMU with the best that its version can do.
    ///
    /// # Errors
    /// The program is missing or too old.
    pub fn found(self) -> Result<Qemu, QemuError> {
        let access = match self.major()? {
            major if major >= SHARES_FLASH => FlashAccess::Shared,
            _ => FlashAccess::Debugger,
        };
        Ok(Qemu { access, ..self })
    }

    /// The major version of the program, as it says itself.
    fn major(&self) -> Result<u32, QemuError> {
        let output = Command::new(&self.binary)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|_| QemuError::Missing {
                binary: self.binary.clone(),
            })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let found = version.unwrap_or("unknown").to_owned();
        let major = found.split('.').next().and_then(|major| major.parse::<u32>().ok());
        major.filter(|major| *major >= LEAST_MAJOR).ok_or_else(|| QemuError::TooOld {
            binary: self.binary.clone(),
            found,
        })
    }
}

/// A running process, with its flash as it was handed in and its processor at the reset vector.
pub(super) struct Machine {
    child: Child,
    pub(super) qmp: Qmp,
    shared: Option<SharedFlash>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine(process {})", self.child.id())
    }
}

/// What hangs on a machine's other two sockets.
pub(super) struct Lines {
    pub(super) serial: UnixStream,
    pub(super) gdb: Gdb,
}

impl Machine {
    /// Starts a process; its processor stands still before the first instruction.
    pub(super) fn start(qemu: &Qemu, flash: &Flash) -> Result<(Machine, Lines), QemuError> {
        let failed = |error: io::Error| QemuError::NotStarted {
            reason: error.to_string(),
        };
        let folder = folder().map_err(failed)?;
        let listen = |name: &str| {
            let listener = UnixListener::bind(folder.path().join(name))?;
            listener.set_nonblocking(true).map(|()| listener)
        };
        let serial = listen("serial").map_err(failed)?;
        let monitor = listen("monitor").map_err(failed)?;
        let debugger = listen("debugger").map_err(failed)?;
        let child = spawner::spawn(&qemu.binary, &arguments(qemu, &folder)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => QemuError::NotStarted {
                reason: "`setpriv` is not there: install it (Debian: apt-get install util-linux)".to_owned(),
            },
            _ => failed(error),
        })?;
        let mut ended = Ending(Some(child));
        let until = Deadline::after(qemu.boot_timeout);
        let mut accept = |listener: &UnixListener| ended.accept(listener, until);
        let (serial, monitor, debugger) = (accept(&serial)?, accept(&monitor)?, accept(&debugger)?);
        let child = ended.0.take().expect("it is taken here alone");
        let mut machine = Machine {
            child,
            qmp: Qmp::greet(monitor).map_err(failed)?,
            shared: None,
        };
        // The board is made before the monitor answers, and after the sockets are connected.
        machine.shared = match qemu.access {
            FlashAccess::Debugger => None,
            FlashAccess::Shared => SharedFlash::of(machine.process()),
        };
        // All are connected: the folder goes at once, so that a Squall that is killed leaves none behind.
        drop(folder);
        let mut gdb = Gdb::attach(debugger).map_err(failed)?;
        match &machine.shared {
            Some(shared) => shared.write(flash),
            None => gdb.write(flash.bytes()),
        }
        .map_err(failed)?;
        // The processor reads its first vector anew, now from what stands there.
        machine.qmp.reset().map_err(failed)?;
        Ok((machine, Lines { serial, gdb }))
    }

    /// What the flash holds at this moment; the processor stands still afterwards.
    pub(super) fn read_flash(&mut self) -> Result<Flash, QemuError> {
        let gone = |error| QemuError::Gone { part: "monitor", error };
        self.qmp.stop().map_err(gone)?;
        if let Some(shared) = &self.shared {
            return shared.read().map_err(gone);
        }
        let folder = folder().map_err(gone)?;
        let file = folder.path().join("flash");
        self.qmp.save(FLASH_SIZE, &file).map_err(gone)?;
        let bytes = std::fs::read(&file).map_err(gone)?;
        Flash::from_bytes(bytes).ok_or_else(|| gone(io::Error::other("it wrote less than the whole flash")))
    }

    /// Ends the process at this moment, wherever it is, and says what the flash held then.
    pub(super) fn end(&mut self) -> Result<Flash, QemuError> {
        if self.shared.is_none() {
            return self.read_flash();
        }
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map_err(|error| QemuError::Gone { part: "process", error })?;
        self.left().ok_or_else(|| QemuError::Gone {
            part: "flash",
            error: io::ErrorKind::UnexpectedEof.into(),
        })
    }

    /// What the flash of a process that has ended held in the end, where that outlives it.
    pub(super) fn left(&self) -> Option<Flash> {
        self.shared.as_ref()?.read().ok()
    }

    /// The process's number.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// True once the process has ended by itself, as it does when a fault handler faults.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that is not a machine yet.
struct Ending(Option<Child>);

impl Ending {
    fn accept(&mut self, listener: &UnixListener, until: Deadline) -> Result<UnixStream, QemuError> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let blocking = stream.set_nonblocking(false);
                    return blocking.map(|()| stream).map_err(|error| QemuError::NotStarted {
                        reason: error.to_string(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    return Err(QemuError::NotStarted {
                        reason: error.to_string(),
                    });
                }
            }
            let child = self.0.as_mut().expect("it is there until all are accepted");
            if !matches!(child.try_wait(), Ok(None)) {
                let mut said = String::new();
                if let Some(stderr) = child.stderr.take() {
                    let _ = stderr.take(4096).read_to_string(&mut said);
                }
                let reason = said.lines().next().unwrap_or("it ended at once").to_owned();
                return Err(QemuError::NotStarted { reason });
            }
            if until.is_over() {
                return Err(QemuError::NotStarted {
                    reason: "it did not connect in time".to_owned(),
                });
            }
            pause(GLANCE);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder for what passes between this process and a machine's. Names of sockets are short: it stands where names are.
fn folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("squall-").tempdir_in("/tmp")
}

/// The command line: nothing but what a board has, QEMU connecting to listeners that are there before it.
fn arguments(qemu: &Qemu, folder: &TempDir) -> Vec<String> {
    let socket = |id: &str, name: &str| {
        let path = folder.path().join(name);
        format!("socket,id={id},path={}", path.display())
    };
    let (serial, monitor, debugger) = (socket("u", "serial"), socket("m", "monitor"), socket("g", "debugger"));
    let machine = match qemu.access {
        FlashAccess::Debugger => qemu.machine.clone(),
        FlashAccess::Shared => format!("{},aux-ram-share=on", qemu.machine),
    };
    let words: [&str; 20] = [
        "-M",
        &machine,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-S",
        "-accel",
        "tcg,tb-size=1",
        "-chardev",
        &serial,
        "-serial",
        "chardev:u",
        "-chardev",
        &monitor,
        "-mon",
        "chardev=m,mode=control",
        "-chardev",
        &debugger,
        "-gdb",
    ];
    let words = words.into_iter().chain(["chardev:g"]);
    words.map(str::to_owned).collect()
}
