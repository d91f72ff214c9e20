//! Whether a fleet fits the machine: every connection is a file descriptor, and a table holds only so many.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::model::show_count;
use crate::scenario::Plan;
use crate::tables::{A_DEVICE, BESIDE, Spread, can_split};

/// A fleet does not fit the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{devices} devices need {needed} file descriptors ({A_DEVICE} a device: its connection, after a reset the one before it, its \
     download; {BESIDE} beside them), in the harness and in the server each, but a table may hold {limit} here{alone}: \
     {fitting} devices fit; use `-d {plain}`, or raise the hard limit (`ulimit -Hn`)"
)]
pub struct TooLarge {
    devices: String,
    needed: String,
    limit: String,
    alone: &'static str,
    fitting: String,
    plain: u64,
}

/// Raises this process's limit as far as it may be raised (a child inherits it) and checks that the devices of `plan` fit.
///
/// # Errors
///
/// [`TooLarge`], with the arithmetic.
pub fn make_room(plan: &Plan) -> Result<(), TooLarge> {
    let devices = plan.played_count() as u64;
    let limit = raised();
    fits(
        devices,
        limit,
        plan.bench.is_none() && is_needed(devices, limit) && can_split(),
    )
}

/// How the devices of a plan are spread over threads; [`make_room`] has found that they fit.
pub(super) fn spread(plan: &Plan) -> Spread {
    // Guests are started by one thread for all, whose pipes would be in its own table alone: fleets with boards have one table.
    let spread = Spread::of(plan.played_count() as u64, raised(), plan.bench.is_none());
    spread.unwrap_or(Spread::WHOLE)
}

/// Descriptors that a table may hold, and devices that fit; `None` where there is no limit.
pub fn room() -> Option<(u64, u64)> {
    let limit = raised()?;
    Some((limit, Spread::largest(limit, can_split())))
}

/// The limit, raised as far as it may be raised; `None` is without limit.
fn raised() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let hard = limit.maximum;
        limit.current = hard;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit = getrlimit(Resource::Nofile);
        }
    }
    limit.current
}

/// Whether one table is not enough.
fn is_needed(devices: u64, limit: Option<u64>) -> bool {
    Spread::of(devices, limit, false).is_none()
}

fn fits(devices: u64, limit: Option<u64>, may_split: bool) -> Result<(), TooLarge> {
    let Some(limit) = limit.filter(|limit| Spread::of(devices, Some(*limit), may_split).is_none()) else {
        return Ok(());
    };
    let fitting = Spread::largest(limit, may_split);
    Err(TooLarge {
        devices: show_count(devices),
        needed: show_count(devices * A_DEVICE + BESIDE),
        limit: show_count(limit),
        alone: match may_split {
            true => "",
            false => ", and threads have no tables of their own",
        },
        fitting: show_count(fitting),
        plain: fitting,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_fleet_fits_and_one_more_does_not() {
        assert_eq!(fits(6_633, Some(20_000), false), Ok(()));
        assert_eq!(fits(100_000, Some(20_000), true), Ok(()));
        assert_eq!(fits(10_000_000, None, false), Ok(()));
        let refused = fits(6_634, Some(20_000), false).unwrap_err().to_string();
        assert!(
            refused.starts_with("6,634 devices need 20,002 file descriptors (3 a device:"),
            "{refused}"
        );
        assert!(
            refused.contains("may hold 20,000 here, and threads have no tables of their own: 6,633 devices fit; use `-d 6633`"),
            "{refused}"
        );
        let refused = fits(1_000_000, Some(20_000), true).unwrap_err().to_string();
        assert!(refused.contains("may hold 20,000 here: "), "{refused}");
    }
}
