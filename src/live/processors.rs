//! The processors that this process may use, and what memory is free: as the system tells it in /proc.

use std::fs;
use std::time::Duration;

/// Processor time in /proc is counted in hundredths of a second, on every Linux (proc_pid_stat(5), USER_HZ).
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Processors by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Processors(Vec<usize>);

impl Processors {
    /// Those that this process may run on.
    pub fn allowed() -> Processors {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let listed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Processors(listed.map(listed_in).unwrap_or_default())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// For how long they have done anything, added up.
    pub fn busy(&self) -> Option<Duration> {
        self.busy_in(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn busy_in(&self, stat: &str) -> Option<Duration> {
        let mut busy = Duration::ZERO;
        for line in stat.lines() {
            let Some((number, times)) = line.strip_prefix("cpu").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            if number.parse().is_ok_and(|number| self.0.contains(&number)) {
                busy += busy_of(times)?;
            }
        }
        (!self.0.is_empty()).then_some(busy)
    }
}

/// Time of one processor: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)); guests are counted in the first two.
fn busy_of(times: &str) -> Option<Duration> {
    let times: Vec<u32> = times
        .split_ascii_whitespace()
        .take(8)
        .map(|time| time.parse().ok())
        .collect::<Option<_>>()?;
    let idle = |place: usize| place == 3 || place == 4;
    let busy = times.iter().enumerate().filter(|(place, _)| !idle(*place));
    Some(busy.map(|(_, ticks)| TICK * *ticks).sum())
}

/// `0-2,5` is 0, 1, 2, 5.
fn listed_in(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// Bytes behind a key of /proc/meminfo.
pub(super) fn memory(key: &str) -> Option<u64> {
    kib_of(&fs::read_to_string("/proc/meminfo").ok()?, key).map(|kib| kib * 1024)
}

/// The number behind a key of a text that counts in KiB.
pub(super) fn kib_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "cpu  300 0 100 900 50 1 2 3 0 0\ncpu0 100 20 30 500 50 1 2 7 9 0\ncpu1 200 0 70 400 0 0 0 0 0 0\nintr 5 6\n";

    #[test]
    fn what_is_not_idle_is_busy_and_what_is_not_allowed_does_not_count() {
        let first = Processors(vec![0]).busy_in(STAT);
        assert_eq!(first, Some(TICK * (100 + 20 + 30 + 1 + 2 + 7)));
        assert_eq!(Processors(vec![0, 1]).busy_in(STAT), first.map(|first| first + TICK * 270));
        assert_eq!(Processors(Vec::new()).busy_in(STAT), None);
    }

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(listed_in("\t0-2,5\n"), [0, 1, 2, 5]);
        let here = Processors::allowed();
        assert!(
            here.count() > 0 && here.busy().is_some_and(|busy| !busy.is_zero()),
            "{here:?}"
        );
    }
}
