//! As much of GDB's remote protocol as a board on a bench needs: fill the flash before it runs, stop at the n-th page erase.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::deadline::{Deadline, pause};

/// The register that erases the page whose address is written to it (nRF51 Series Reference Manual, NVMC).
const ERASEPAGE: u32 = 0x4001_e508;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at what is asked meanwhile.
const GLANCE: Duration = Duration::from_millis(20);

/// Bytes of memory that go into one packet: as hexadecimal digits well below the stub's limit of 4,096.
const CHUNK: usize = 1024;

/// What stops a machine that runs.
const BREAK: u8 = 0x03;

/// A debugger's connection to a machine.
#[derive(Debug)]
pub(super) struct Gdb {
    stream: UnixStream,
    received: Vec<u8>,
}

/// What whoever runs to an erase is asked meanwhile.
pub(super) struct Watching<'a> {
    /// Whether the erase of this number is the one to stand still before.
    pub(super) wanted: &'a dyn Fn(u32) -> bool,
    /// Whether the machine is to run unwatched.
    pub(super) over: &'a dyn Fn() -> bool,
    /// Whether the monitor wants the machine to stand still.
    pub(super) halted: &'a dyn Fn() -> bool,
}

/// Where a run to an erase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The processor stands right before the erase that was asked for.
    AtErase,
    /// The count was given up: it runs. So many erases came.
    Running(u32),
}

impl Gdb {
    pub(super) fn attach(stream: UnixStream) -> io::Result<Gdb> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut gdb = Gdb {
            stream,
            received: Vec::new(),
        };
        gdb.ask("qSupported")?;
        Ok(gdb)
    }

    /// Fills memory from address zero on.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
            let digits: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            self.expect_ok(&format!("M{:x},{:x}:{digits}", number * CHUNK, chunk.len()))?;
        }
        Ok(())
    }

    /// Lets a machine go on that stands still and stands by at each page erase, until one is wanted or it is to run unwatched.
    pub(super) fn run_to_erase(&mut self, watch: &Watching<'_>) -> io::Result<Stop> {
        let (set, forget) = (format!("Z2,{ERASEPAGE:x},4"), format!("z2,{ERASEPAGE:x},4"));
        let mut erases = 0;
        loop {
            self.expect_ok(&set)?;
            while (watch.halted)() {
                pause(GLANCE);
            }
            self.go_on()?;
            if !self.wait_for_erase(watch)? {
                self.stop()?;
                self.expect_ok(&forget)?;
                self.go_on()?;
                return Ok(Stop::Running(erases));
            }
            erases += 1;
            self.expect_ok(&forget)?;
            if (watch.wanted)(erases) {
                return Ok(Stop::AtErase);
            }
            self.step()?;
        }
    }

    /// True once the machine stands before an erase, false once it is to run unwatched.
    fn wait_for_erase(&mut self, watch: &Watching<'_>) -> io::Result<bool> {
        let mut stopped = false;
        loop {
            match self.receive(GLANCE)? {
                Some(stop) if stop.contains("watch") => return Ok(true),
                // The monitor stops machines as well: that is no erase.
                Some(_) => stopped = true,
                None if (watch.over)() => return Ok(false),
                None => {}
            }
            // Not the monitor lets it go on again: from QEMU 8.1 on the stub tells of no stop but the first after it did so itself.
            if stopped && !(watch.halted)() {
                stopped = false;
                self.go_on()?;
            }
        }
    }

    /// Executes one instruction.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.ask("s").map(drop)
    }

    /// Lets the machine run.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        self.send("c")
    }

    /// Stops a machine that runs.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        self.stream.write_all(&[BREAK])?;
        self.receive(PATIENCE)?
            .map(drop)
            .ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    fn expect_ok(&mut self, command: &str) -> io::Result<()> {
        match self.ask(command)?.as_str() {
            "OK" => Ok(()),
            other => {
                let what = command.chars().take(16).collect::<String>();
                Err(io::Error::other(format!(
                    "the debugger's stub answered `{other}` to `{what}`"
                )))
            }
        }
    }

    fn ask(&mut self, command: &str) -> io::Result<String> {
        self.send(command)?;
        self.receive(PATIENCE)?.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        let sum = command.bytes().fold(0_u8, u8::wrapping_add);
        self.stream.write_all(format!("${command}#{sum:02x}").as_bytes())
    }

    /// The next packet, acknowledged; `None` if none has come in time.
    fn receive(&mut self, patience: Duration) -> io::Result<Option<String>> {
        let until = Deadline::after(patience);
        loop {
            if let Some(packet) = self.take_packet() {
                self.stream.write_all(b"+")?;
                return Ok(Some(packet));
            }
            let left = until.left();
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take_packet(&mut self) -> Option<String> {
        let start = self.received.iter().position(|byte| *byte == b'$')?;
        let end = start + self.received[start..].iter().position(|byte| *byte == b'#')?;
        if self.received.len() < end + 3 {
            return None;
        }
        let packet = String::from_utf8_lossy(&self.received[start + 1..end]).into_owned();
        self.received.drain(..end + 3);
        Some(packet)
    }
}
