//! Tables of file descriptors: a process has one, which the hard limit bounds, and each thread may have one of its own.
//!
//! A large fleet is spread over threads with tables of their own, so that a limit of 20,000, as many containers have it, is no obstacle.
//! What is opened before a thread splits off is in both tables; what is opened later is in one alone, so nothing that holds a descriptor
//! may pass between such threads. A runtime is built before, or the others could not wake it.

use std::io;
use std::thread;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Descriptors of a device: its connection, after a reset the one before it, which stays until the next CONNACK, and its download.
pub const A_DEVICE: u64 = 3;
/// Descriptors of a process beside its devices: runtimes, pipes, listeners, files, the management API.
pub const BESIDE: u64 = 100;
/// Descriptors of a thread that all tables hold: its runtime's, its listeners'.
const A_THREAD: u64 = 8;
/// Threads with devices where one table is enough.
const SHARDS: u32 = 2;
/// Most threads with tables of their own.
const SHARDS_MAX: u32 = 64;

/// How the connections of a fleet are spread over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Threads.
    pub shards: u32,
    /// Whether each has a table of its own.
    pub own_tables: bool,
}

impl Spread {
    /// One table for all.
    pub const WHOLE: Spread = Spread {
        shards: SHARDS,
        own_tables: false,
    };

    /// The spread of `devices` devices where a table holds `limit` descriptors; `None` where no spread suffices.
    pub fn of(devices: u64, limit: Option<u64>, may_split: bool) -> Option<Spread> {
        match limit {
            Some(limit) if devices * A_DEVICE + BESIDE > limit => {
                let enough = |shards: &u32| may_split && devices <= carried(*shards, limit);
                let shards = (SHARDS..=SHARDS_MAX).find(enough)?;
                Some(Spread {
                    shards,
                    own_tables: true,
                })
            }
            Some(_) | None => Some(Spread::WHOLE),
        }
    }

    /// The largest fleet for which there is a spread.
    pub fn largest(limit: u64, may_split: bool) -> u64 {
        let whole = limit.saturating_sub(BESIDE) / A_DEVICE;
        let split = (SHARDS..=SHARDS_MAX).map(|shards| carried(shards, limit)).max();
        split.filter(|_| may_split).map_or(whole, |split| split.max(whole))
    }
}

/// Devices that so many tables carry.
fn carried(shards: u32, limit: u64) -> u64 {
    let shards = u64::from(shards);
    shards * limit.saturating_sub(BESIDE + shards * A_THREAD) / A_DEVICE
}

/// Gives the calling thread a table of its own, with everything that is open.
///
/// # Errors
///
/// Where the system refuses, as some containers do.
pub fn split() -> io::Result<()> {
    // SAFETY: descriptors that are open stay valid in both tables; whoever splits passes none that is opened later to another thread.
    #[expect(
        unsafe_code,
        reason = "the system call is safe for a thread that keeps its descriptors to itself"
    )]
    let split = unsafe { unshare_unsafe(UnshareFlags::FILES) };
    Ok(split?)
}

/// Whether the system lets threads have tables of their own: one tries.
pub fn can_split() -> bool {
    let tried = thread::Builder::new().name("table".to_owned()).spawn(split);
    tried.is_ok_and(|thread| thread.join().is_ok_and(|split| split.is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_spread_over_as_many_tables_as_it_takes() {
        let spread = |devices| Spread::of(devices, Some(20_000), true).map(|spread| (spread.shards, spread.own_tables));
        assert_eq!(spread(6_633), Some((2, false)));
        assert_eq!(spread(6_634), Some((2, true)));
        assert_eq!(spread(100_000), Some((16, true)));
        let largest = Spread::largest(20_000, true);
        assert!(largest > 400_000, "{largest}");
        assert!(spread(largest).is_some() && spread(largest + 1).is_none());
    }

    #[test]
    fn without_tables_of_their_own_the_limit_bounds_the_fleet() {
        let whole = Some(Spread::WHOLE);
        assert_eq!(Spread::largest(20_000, false), 6_633);
        assert_eq!(Spread::of(6_633, Some(20_000), false), whole);
        assert_eq!(Spread::of(6_634, Some(20_000), false), None);
        assert_eq!(Spread::of(10_000_000, None, false), whole);
    }

    #[test]
    fn what_a_thread_opens_in_its_own_table_is_no_others() {
        if !can_split() {
            eprintln!("not run: threads may have no tables of their own here");
            return;
        }
        use std::os::fd::AsRawFd;
        let opened = thread::spawn(|| {
            split().unwrap();
            // A number that nobody else has.
            let files: Vec<_> = (0..300).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
            files.last().map(AsRawFd::as_raw_fd).unwrap()
        });
        let number = opened.join().unwrap();
        assert!(!std::path::Path::new(&format!("/proc/self/fd/{number}")).exists());
    }
}
