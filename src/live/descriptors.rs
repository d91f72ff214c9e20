//! Whether a fleet fits the machine: every connection is a file descriptor, and a process may have only so many.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::model::show_count;

/// Descriptors of a device: its connection, after a reset the one before it, which stays until the next CONNACK, and its download.
const A_DEVICE: u64 = 3;
/// Descriptors of a process beside its devices: runtimes, pipes, listeners, files, the management API.
const BESIDE: u64 = 100;

/// A fleet does not fit the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{devices} devices need {needed} file descriptors ({A_DEVICE} a device: its connection, after a reset the one before it, its \
     download; {BESIDE} beside them), in the harness and in the server each, but a process may have {limit} here: \
     {fitting} devices fit; use `-d {plain}`, or raise the hard limit (`ulimit -Hn`)"
)]
pub struct TooLarge {
    devices: String,
    needed: String,
    limit: String,
    fitting: String,
    plain: u64,
}

/// Raises this process's limit as far as it may be raised (a child inherits it) and checks that `devices` devices fit.
///
/// # Errors
///
/// [`TooLarge`], with the arithmetic.
pub fn make_room(devices: usize) -> Result<(), TooLarge> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let hard = limit.maximum;
        limit.current = hard;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit = getrlimit(Resource::Nofile);
        }
    }
    match limit.current {
        Some(current) => fits(devices as u64, current),
        None => Ok(()),
    }
}

/// Descriptors that a process may have, and devices that fit; `None` where there is no limit.
pub fn room() -> Option<(u64, u64)> {
    // What does not fit is of no concern here; the limit is raised all the same.
    let _ = make_room(0);
    let limit = getrlimit(Resource::Nofile).current?;
    Some((limit, limit.saturating_sub(BESIDE) / A_DEVICE))
}

fn fits(devices: u64, limit: u64) -> Result<(), TooLarge> {
    let needed = devices * A_DEVICE + BESIDE;
    if needed <= limit {
        return Ok(());
    }
    let fitting = limit.saturating_sub(BESIDE) / A_DEVICE;
    Err(TooLarge {
        devices: show_count(devices),
        needed: show_count(needed),
        limit: show_count(limit),
        fitting: show_count(fitting),
        plain: fitting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_fleet_fits_and_one_more_does_not() {
        assert_eq!(fits(6_633, 20_000), Ok(()));
        let refused = fits(6_634, 20_000).unwrap_err().to_string();
        assert!(
            refused.starts_with("6,634 devices need 20,002 file descriptors (3 a device:"),
            "{refused}"
        );
        assert!(
            refused.contains("may have 20,000 here: 6,633 devices fit; use `-d 6633`"),
            "{refused}"
        );
    }
}
