//! `squall doctor`: what this machine can carry, and what is missing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::live::{Capacity, LATE_MAX, timer_lateness};
use crate::model::{show_count, show_size};

use super::INTERNAL;
use super::results::put;

/// Foreign programs, and what they are for. None is needed to play a scenario.
const TOOLS: [(&str, &str); 6] = [
    ("openssl", "tests hold TLS and signatures against it"),
    ("mosquitto_pub", "tests let a stock MQTT client talk to the server"),
    ("imgtool", "tests hold images against MCUboot's own tool"),
    ("curl", "tests let a stock HTTP client talk to the server"),
    ("chromium", "tests open report.html in it"),
    ("qemu-system-arm", "boards with real firmware"),
];

const EXAMPLES: &str = "\
Examples:
  squall doctor                                      exit code 0 if scenarios can be played here";

/// Arguments of `squall doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Folder that run directories are to be made in
    #[arg(long, value_name = "DIR", default_value = "runs", env = "SQUALL_OUT")]
    out: PathBuf,
}

/// One line: how it stands, what was looked at, what was found.
struct Line {
    standing: Standing,
    what: &'static str,
    found: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Missing,
    Bad,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &DoctorArgs) -> u8 {
    let mut lines = machine(&Capacity::look());
    lines.push(folder(&args.out));
    lines.extend(TOOLS.map(|(name, purpose)| tool(name, purpose)));
    let mut text = String::new();
    for line in &lines {
        let mark = match line.standing {
            Standing::Good => "✓",
            Standing::Missing => "-",
            Standing::Bad => "✗",
        };
        let _ = writeln!(text, "{mark} {:<16} {}", line.what, line.found);
    }
    put(&text);
    match lines.iter().any(|line| line.standing == Standing::Bad) {
        true => INTERNAL,
        false => 0,
    }
}

fn machine(capacity: &Capacity) -> Vec<Line> {
    let line = |good: bool, what, found| Line {
        standing: if good { Standing::Good } else { Standing::Bad },
        what,
        found,
    };
    let cores = match capacity.cores {
        1 => "1: harness and server share it, so a large run may be invalid".to_owned(),
        cores => cores.to_string(),
    };
    let memory = format!(
        "{} free: {} devices at 32 KiB each, harness and server together",
        show_size(capacity.memory_bytes as f64),
        show_count(capacity.devices_by_memory)
    );
    let descriptors = match capacity.descriptors {
        Some((limit, devices)) => format!(
            "{} in a table: `run` carries {} devices; `ulimit -Hn` raises it, `sim` needs none",
            show_count(limit),
            show_count(devices)
        ),
        None => "without limit".to_owned(),
    };
    let ports = format!(
        "{} on each loopback address; the connections of a large fleet come from up to 250",
        show_count(capacity.ports)
    );
    vec![
        line(true, "cores", cores),
        line(capacity.devices_by_memory > 0, "memory", memory),
        line(
            capacity.descriptors.is_none_or(|(_, devices)| devices > 0),
            "descriptors",
            descriptors,
        ),
        line(capacity.ports > 0, "ports", ports),
        timers(),
        match &capacity.loopback {
            Ok(()) => line(true, "loopback", "servers can listen on 127.0.0.1".to_owned()),
            Err(error) => line(false, "loopback", format!("nothing can listen on 127.0.0.1: {error}")),
        },
    ]
}

/// Whether timers wake in time with nothing else to do.
fn timers() -> Line {
    let limit = LATE_MAX.as_millis();
    let (good, found) = match timer_lateness() {
        Ok(late) => (
            late <= LATE_MAX,
            format!(
                "{:.1} ms late at rest, p99; a run above {limit} ms is invalid",
                late.as_secs_f64() * 1e3
            ),
        ),
        Err(error) => (false, format!("cannot be looked at: {error}")),
    };
    Line {
        standing: if good { Standing::Good } else { Standing::Bad },
        what: "timers",
        found,
    }
}

/// Whether run directories can be made in `out`, or in the nearest folder above it that is there.
fn folder(out: &Path) -> Line {
    let there = out.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let probe = there.join(format!(".squall-doctor-{}", std::process::id()));
    let made = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    Line {
        standing: if made.is_ok() { Standing::Good } else { Standing::Bad },
        what: "run directories",
        found: match made {
            Ok(()) => format!("go to {}", out.display()),
            Err(error) => format!("{} cannot be written: {error}; use `--out DIR`", out.display()),
        },
    }
}

fn tool(name: &'static str, purpose: &str) -> Line {
    let there = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    Line {
        standing: if there { Standing::Good } else { Standing::Missing },
        what: name,
        found: match there {
            true => purpose.to_owned(),
            false => format!("missing; {purpose}, nothing else needs it"),
        },
    }
}
