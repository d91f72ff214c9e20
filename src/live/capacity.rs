//! What this machine can carry, before anything is played.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use crate::model::{show_count, show_size};
use crate::scenario::{Plan, TlsPlan};
use crate::tables;

use super::certificate::LATE_MAX;
use super::clock::lateness_at_rest;
use super::descriptors;
use super::processors::memory;
use super::stream::sources;

/// Memory of a device with TLS in harness and server together, as designed: 16 KiB each.
const A_DEVICE: u64 = 32 * 1024;
/// The same without TLS: 6 KiB each.
const A_PLAIN_DEVICE: u64 = 12 * 1024;
/// Connections of a device that hold a port at once: its own, its download's, and in the minute that the kernel keeps them, those before.
const PORTS_A_DEVICE: u64 = 4;

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
        let memory_bytes = memory("MemAvailable:").unwrap_or(0);
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

/// How late timers wake here with nothing else to do, 99th percentile; takes a tenth of a second.
///
/// # Errors
///
/// When the system gives no descriptors.
pub fn timer_lateness() -> std::io::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(lateness_at_rest(LATE_MAX)))
}

/// What a plan takes of this machine, and what there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Devices.
    devices: u64,
    /// Descriptors that harness and server need each, what one table holds, and how many tables there are.
    descriptors: (u64, Option<u64>, u32),
    /// Ports, those of one address, and how many addresses connections come from.
    ports: (u64, u64, u32),
    /// Memory, and what of it is free, bytes.
    memory: (u64, u64),
    cores: usize,
}

impl Needs {
    /// Of a plan on this machine.
    pub fn of(plan: &Plan) -> Needs {
        let capacity = Capacity::look();
        let devices = plan.played_count() as u64;
        let spread = descriptors::spread(plan);
        let a_device = if plan.server.tls == TlsPlan::Off {
            A_PLAIN_DEVICE
        } else {
            A_DEVICE
        };
        Needs {
            devices,
            descriptors: (
                devices * tables::A_DEVICE + tables::BESIDE,
                capacity.descriptors.map(|(limit, _)| limit),
                if spread.own_tables { spread.shards } else { 1 },
            ),
            ports: (devices * PORTS_A_DEVICE, capacity.ports, sources_of(plan)),
            memory: (devices * a_device, capacity.memory_bytes),
            cores: capacity.cores,
        }
    }

    /// Whether the fleet is so large that a user wants to know.
    pub fn are_large(&self) -> bool {
        self.devices >= 5_000
    }
}

impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (descriptors, limit, tables) = self.descriptors;
        let there = match (limit, tables) {
            (None, _) => "without limit".to_owned(),
            (Some(limit), 1) => format!("of {}", show_count(limit)),
            (Some(limit), tables) => format!("in {tables} tables of {}", show_count(limit)),
        };
        let (ports, of_one, addresses) = self.ports;
        let (memory, free) = self.memory;
        write!(
            f,
            "{} devices need {} descriptors {there}, in harness and server each; {} ports of {} on {addresses} loopback \
             address{}; {} memory of {} free; {} core{}",
            show_count(self.devices),
            show_count(descriptors),
            show_count(ports),
            show_count(of_one * u64::from(addresses)),
            if addresses == 1 { "" } else { "es" },
            show_size(memory as f64),
            show_size(free as f64),
            self.cores,
            if self.cores == 1 { "" } else { "s" },
        )
    }
}

/// Ports that the connections of a plan may come from.
pub(super) fn ports_for(plan: &Plan) -> Option<u64> {
    ports().map(|ports| ports * u64::from(sources_of(plan)))
}

fn sources_of(plan: &Plan) -> u32 {
    let host = plan.server.target.as_ref().map(|target| target.address.host.as_str());
    sources(plan.played_count(), host)
}

fn ports() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(high.saturating_sub(low) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_stand_beside_what_there_is() {
        let needs = Needs {
            devices: 100_000,
            descriptors: (300_100, Some(20_000), 16),
            ports: (400_000, 28_232, 101),
            memory: (100_000 * A_PLAIN_DEVICE, 22 << 30),
            cores: 2,
        };
        assert_eq!(
            needs.to_string(),
            "100,000 devices need 300,100 descriptors in 16 tables of 20,000, in harness and server each; 400,000 ports of \
             2,851,432 on 101 loopback addresses; 1.14 GiB memory of 22.00 GiB free; 2 cores"
        );
        assert!(needs.are_large());
    }
}
