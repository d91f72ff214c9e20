//! QEMU's monitor protocol (QMP): one JSON object a line; requests are answered in order, events come between.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A monitor that answers.
#[derive(Debug)]
pub(super) struct Qmp {
    lines: BufReader<UnixStream>,
    /// Resets that the firmware has asked for, as far as the monitor has told.
    guest_resets: u32,
}

impl Qmp {
    /// Greets the monitor on a fresh connection.
    pub(super) fn greet(stream: UnixStream) -> io::Result<Qmp> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut qmp = Qmp {
            lines: BufReader::new(stream),
            guest_resets: 0,
        };
        let mut greeting = String::new();
        qmp.lines.read_line(&mut greeting)?;
        qmp.ask("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Stops the processor.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        self.ask("stop", json!({}))
    }

    /// Lets the processor go on.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        self.ask("cont", json!({}))
    }

    /// How often the firmware has reset the machine by itself, up to the last answer.
    pub(super) fn guest_resets(&self) -> u32 {
        self.guest_resets
    }

    /// Resets the machine; its flash stays.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.ask("system_reset", json!({}))
    }

    /// Does nothing but wake QEMU's main loop, which then looks at the serial line.
    pub(super) fn nudge(&mut self) -> io::Result<()> {
        self.ask("query-status", json!({}))
    }

    /// Writes `size` bytes of the processor's memory from address zero on to a file.
    pub(super) fn save(&mut self, size: usize, file: &Path) -> io::Result<()> {
        let file = file.to_string_lossy();
        self.ask("memsave", json!({ "val": 0, "size": size, "filename": file, "cpu-index": 0 }))
    }

    fn ask(&mut self, command: &str, arguments: Value) -> io::Result<()> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.lines.get_mut(), "{request}")?;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let answer: Value = serde_json::from_str(&line).map_err(io::Error::other)?;
            if answer["event"] == "RESET" && answer["data"]["guest"] == true {
                self.guest_resets += 1;
            }
            if answer.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = answer.get("error") {
                let text = error["desc"].as_str().unwrap_or("no description").to_owned();
                return Err(io::Error::other(format!("{command}: {text}")));
            }
        }
    }
}
