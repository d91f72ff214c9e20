//! What this machine can carry, before anything is played.

use std::fs;
use std::net::TcpListener;

use super::descriptors;

/// Memory of a device with TLS in harness and server together, as designed: 16 KiB each.
const A_DEVICE: u64 = 32 * 1024;

/// What a real run has to go round with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Processors.
    pub cores: usize,
    /// Memory that is free, bytes; zero where the system does not say.
    pub memory_bytes: u64,
    /// Devices that the free memory suffices for, as designed.
    pub devices_by_memory: u64,
    /// File descriptors that a process may have, and devices that they suffice for; `None` is without limit.
    pub descriptors: Option<(u64, u64)>,
    /// Ports that connections from one loopback address can come from.
    pub ports: u64,
    /// Why nothing can listen on loopback, if nothing can.
    pub loopback: Result<(), String>,
}

impl Capacity {
    /// Looks at this machine.
    pub fn look() -> Capacity {
        let memory_bytes = meminfo("MemAvailable:").unwrap_or(0) * 1024;
        Capacity {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes,
            devices_by_memory: memory_bytes / A_DEVICE,
            descriptors: descriptors::room(),
            ports: ports().unwrap_or(0),
            loopback: TcpListener::bind("127.0.0.1:0").map(drop).map_err(|error| error.to_string()),
        }
    }
}

/// KiB behind a key of /proc/meminfo.
fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn ports() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(high.saturating_sub(low) + 1)
}
