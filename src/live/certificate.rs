//! What the harness certifies of itself: whether its figures may be believed, and if not, why, and what fleet this machine would carry.
//! Only judges; what it judges is read elsewhere.

use std::time::Duration;

use crate::model::{show_count, show_size};
use crate::play::{Filled, LargestFleet};

/// Above this the figures are the harness's, not the server's (contract, section 4, exit code 102).
pub const LATE_MAX: Duration = Duration::from_millis(50);
/// A thread is watched in windows of this length.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Part of a window above which a thread is a bottleneck.
const BUSY_MAX: f64 = 0.9;
/// Of all memory, the part that has to stay free: with less the system pushes out what is needed.
const FREE_MIN: u64 = 50;
/// Part of the processors that a fleet may take on the average of a second, so that timers find one free.
const LOAD_MAX: f64 = 0.7;
/// Part of the ports that a fleet may take: finding a free one among the last is slow.
const PORTS_MAX: f64 = 0.9;

/// What is judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    /// Lateness of timer wakes over the run, 99th percentile.
    pub late: Duration,
    /// The same before anything was there to do.
    pub late_at_rest: Duration,
    /// Connections that the machine had no descriptor or port for.
    pub exhausted: u64,
    /// Observations that nobody took in time.
    pub dropped: u64,
    /// Own threads, each with the largest part of a window that it was busy.
    pub threads: Vec<(String, f64)>,
    /// Least memory that was free, and all of it, bytes.
    pub memory: Option<(u64, u64)>,
    /// Most memory that harness and server took together, bytes.
    pub taken: u64,
    /// The second in which the processors were busiest.
    pub busiest: Option<Load>,
    /// Devices of the run.
    pub devices: u64,
    /// Devices that the file descriptors suffice for.
    pub fitting: Option<u64>,
    /// Descriptors that a table may hold, and ports that connections may come from; `None` is without limit.
    pub table: Option<u64>,
    pub ports_there: Option<u64>,
    /// Descriptors in the fullest table, and ports that were taken.
    pub descriptors: Option<Filled>,
    pub ports: Option<Filled>,
}

/// What the processors that this process may use did for a second, as parts of all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    /// For harness and server.
    pub ours: f64,
    /// For anybody else.
    pub others: f64,
    /// How many processors there are.
    pub cores: usize,
}

impl Load {
    /// Whether they did more than in another second, whole percents of them; of two alike, in which they did more for us.
    pub fn exceeds(&self, other: &Load) -> bool {
        let all = |load: &Load| ((load.ours + load.others) * 1e2) as u32;
        (all(self), self.ours) > (all(other), other.ours)
    }
}

impl Readings {
    /// Why the figures are not the server's; empty where they are.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let limit = LATE_MAX.as_millis();
        if self.late_at_rest > LATE_MAX {
            reasons.push(format!(
                "timers woke {} ms late before there was anything to do, limit {limit} ms",
                self.late_at_rest.as_millis()
            ));
        }
        if self.late > LATE_MAX {
            reasons.push(format!(
                "timers woke {} ms late at the 99th percentile, limit {limit} ms",
                self.late.as_millis()
            ));
        }
        if self.exhausted > 0 {
            reasons.push(format!(
                "out of descriptors or ports for {} connections",
                show_count(self.exhausted)
            ));
        }
        if self.dropped > 0 {
            reasons.push(format!("{} observations dropped", show_count(self.dropped)));
        }
        if let Some((free, all)) = self.memory.filter(|(free, all)| *free < all / FREE_MIN) {
            let (free, all) = (show_size(free as f64), show_size(all as f64));
            reasons.push(format!(
                "{free} of {all} memory were free, so that the system swapped or stalled"
            ));
        }
        let busy = self.threads.iter().filter(|(_, part)| *part > BUSY_MAX);
        reasons.extend(busy.map(|(name, _)| format!("thread {name} over {:.0} % busy for {} s", BUSY_MAX * 1e2, WINDOW.as_secs())));
        reasons
    }

    /// The largest fleet of this kind that the machine carries, as far as this run tells: an estimate with its basis.
    pub fn largest_fleet(&self) -> Option<LargestFleet> {
        let bounds = [
            self.by_processors(),
            self.by_thread(),
            self.by_memory(),
            self.by_descriptors(),
            self.by_ports(),
        ];
        let least = bounds.into_iter().flatten().min_by_key(|carried| carried.devices);
        let least = least
            .filter(|carried| carried.devices < self.devices)
            .or_else(|| self.by_lateness());
        least.map(|carried| LargestFleet {
            devices: two_digits(carried.devices),
            ..carried
        })
    }

    fn by_processors(&self) -> Option<LargestFleet> {
        let load = self.busiest.filter(|load| load.ours > 0.0)?;
        let free = (1.0 - load.others).max(0.0);
        Some(LargestFleet {
            devices: self.part(LOAD_MAX * free / load.ours),
            basis: format!(
                "in the busiest second the run took {:.0} % of {} and other work {:.0} %; {:.0} % of what others leave is \
                 reckoned with",
                load.ours * 1e2,
                match load.cores {
                    1 => "the one core".to_owned(),
                    cores => format!("{cores} cores"),
                },
                load.others * 1e2,
                LOAD_MAX * 1e2
            ),
        })
    }

    fn by_thread(&self) -> Option<LargestFleet> {
        let (name, part) = self.threads.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let part = part.min(1.0);
        (part > 0.0).then(|| LargestFleet {
            devices: self.part(LOAD_MAX / part),
            basis: format!(
                "thread {name} was {:.0} % busy for {} s; {:.0} % is reckoned with",
                part * 1e2,
                WINDOW.as_secs(),
                LOAD_MAX * 1e2
            ),
        })
    }

    fn by_memory(&self) -> Option<LargestFleet> {
        let (free, all) = self.memory?;
        let a_device = self.taken / self.devices.max(1);
        (a_device > 0).then(|| LargestFleet {
            devices: (free + self.taken).saturating_sub(all / FREE_MIN) / a_device,
            basis: format!(
                "harness and server took {} a device, and {} were free",
                show_size(a_device as f64),
                show_size((free + self.taken) as f64)
            ),
        })
    }

    fn by_descriptors(&self) -> Option<LargestFleet> {
        Some(LargestFleet {
            devices: self.fitting?,
            basis: "so many do the file descriptors suffice for".to_owned(),
        })
    }

    fn by_ports(&self) -> Option<LargestFleet> {
        let ports = self.ports.filter(|ports| ports.most > 0)?;
        let of = ports.of?;
        Some(LargestFleet {
            devices: self.part(PORTS_MAX * of as f64 / ports.most as f64),
            basis: format!(
                "{} of {} ports were taken at once; {:.0} % is reckoned with",
                show_count(ports.most),
                show_count(of),
                PORTS_MAX * 1e2
            ),
        })
    }

    /// For want of anything that was full.
    fn by_lateness(&self) -> Option<LargestFleet> {
        let late = self.late.max(self.late_at_rest);
        (late > LATE_MAX).then(|| LargestFleet {
            devices: self.part(LATE_MAX.as_secs_f64() / late.as_secs_f64()),
            basis: format!(
                "{} ms late is too late, and lateness grows at least as the fleet does",
                late.as_millis()
            ),
        })
    }

    fn part(&self, part: f64) -> u64 {
        (self.devices as f64 * part).round() as u64
    }
}

/// The first two digits: more would say more than is known.
fn two_digits(devices: u64) -> u64 {
    let mut unit = 1;
    while devices / unit >= 100 {
        unit *= 10;
    }
    devices / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Readings {
        Readings {
            late: Duration::from_millis(2),
            late_at_rest: Duration::from_millis(1),
            threads: vec![("shard-0".to_owned(), 0.4)],
            memory: Some((20 << 30, 24 << 30)),
            taken: 1 << 30,
            busiest: Some(Load {
                ours: 0.5,
                others: 0.0,
                cores: 2,
            }),
            devices: 50_000,
            fitting: Some(400_000),
            ..Readings::default()
        }
    }

    #[test]
    fn a_harness_within_its_limits_has_nothing_to_say() {
        let at_the_limit = Readings {
            late: LATE_MAX,
            late_at_rest: LATE_MAX,
            threads: vec![("shard-0".to_owned(), BUSY_MAX)],
            ..calm()
        };
        assert_eq!(at_the_limit.reasons(), Vec::<String>::new());
    }

    #[test]
    fn a_harness_past_its_limits_says_why() {
        let bad = Readings {
            late: Duration::from_millis(63),
            late_at_rest: Duration::from_millis(51),
            exhausted: 2,
            dropped: 1,
            threads: vec![("shard-0".to_owned(), 0.95), ("shard-1".to_owned(), 0.5)],
            memory: Some((100 << 20, 24 << 30)),
            ..calm()
        };
        assert_eq!(
            bad.reasons(),
            [
                "timers woke 51 ms late before there was anything to do, limit 50 ms",
                "timers woke 63 ms late at the 99th percentile, limit 50 ms",
                "out of descriptors or ports for 2 connections",
                "1 observations dropped",
                "100.0 MiB of 24.00 GiB memory were free, so that the system swapped or stalled",
                "thread shard-0 over 90 % busy for 10 s"
            ]
        );
    }

    #[test]
    fn what_is_scarcest_bounds_the_fleet() {
        let late = Duration::from_millis(100);
        let busiest = |ours, others, cores| Some(Load { ours, others, cores });
        let full = Readings {
            busiest: busiest(0.9, 0.1, 2),
            late,
            ..calm()
        };
        let starved = Readings {
            busiest: busiest(0.2, 0.8, 1),
            late,
            ..calm()
        };
        let one_thread = Readings {
            threads: vec![("squall".to_owned(), 1.0)],
            ..calm()
        };
        let no_memory = Readings {
            memory: Some((100 << 20, 24 << 30)),
            taken: 23 << 30,
            ..calm()
        };
        let no_ports = Readings {
            ports: Some(Filled {
                most: 28_232,
                of: Some(28_232),
            }),
            ..calm()
        };
        let few_descriptors = Readings {
            fitting: Some(6_633),
            ..calm()
        };
        let only_late = Readings { late, ..calm() };
        for (readings, carried, said) in [
            (
                full,
                35_000,
                "in the busiest second the run took 90 % of 2 cores and other work 10 %",
            ),
            (
                starved,
                35_000,
                "in the busiest second the run took 20 % of the one core and other work 80 %",
            ),
            (one_thread, 35_000, "thread squall was 100 % busy"),
            (no_memory, 49_000, "harness and server took 482.3 KiB a device"),
            (
                no_ports,
                45_000,
                "28,232 of 28,232 ports were taken at once; 90 % is reckoned with",
            ),
            (few_descriptors, 6_600, ""),
            (only_late, 25_000, "100 ms late is too late"),
        ] {
            let LargestFleet { devices, basis } = readings.largest_fleet().unwrap();
            assert!(devices == carried && basis.contains(said), "{devices}: {basis}");
        }
        assert_eq!(calm().largest_fleet(), None, "a run that is carried says nothing of more");
    }
}
