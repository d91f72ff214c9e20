//! How the harness and its server fare, read from /proc: processor time, memory, busy threads, the machine.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure::Trend;
use crate::model::Prompt;
use crate::play::{HarnessReport, Lateness, Machine};
use crate::time::SimTime;

use super::gauges::{Gauges, late_p99, lateness, p99};

/// Processor time in /proc is counted in hundredths of a second, on every Linux (proc_pid_stat(5), USER_HZ).
const TICK: Duration = Duration::from_millis(10);
/// Above this the figures are the harness's, not the server's (contract, section 4, exit code 102).
const LATE_MAX: Duration = Duration::from_millis(50);
/// A thread is watched in windows of this length.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// Most intervals of lateness that are kept.
const LATENESS_MAX: usize = 480;
/// Share of a window, in percent, above which a thread is a bottleneck.
const BUSY_MAX: u64 = 90;

/// Watches the harness and its server during a run.
#[derive(Debug)]
pub(crate) struct Watch {
    gauges: Vec<Arc<Gauges>>,
    server: Option<u32>,
    cpu_before: Duration,
    server_cpu_before: Duration,
    server_last: Option<Usage>,
    threads: BTreeMap<u32, Duration>,
    window_began: SimTime,
    /// Threads that were a bottleneck, by name.
    busy: Vec<String>,
    /// Lateness over the run, in intervals of equal length; how it stood at the end of the last, and how many looks make one.
    late: Vec<Lateness>,
    late_before: Option<Histogram<u64>>,
    looks: (u32, u32),
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    cpu: Duration,
    peak_memory: u64,
}

impl Watch {
    /// Begins to watch, with the server's process id.
    pub fn new(gauges: Vec<Arc<Gauges>>, server: Option<u32>) -> Watch {
        let cpu = |process: &str| usage(process).map_or(Duration::ZERO, |usage| usage.cpu);
        Watch {
            gauges,
            server,
            cpu_before: cpu("self"),
            server_cpu_before: server.map_or(Duration::ZERO, |id| cpu(&id.to_string())),
            server_last: None,
            threads: thread_times().into_iter().map(|(id, (_, cpu))| (id, cpu)).collect(),
            window_began: SimTime::ZERO,
            busy: Vec::new(),
            late: Vec::new(),
            late_before: None,
            looks: (0, 1),
        }
    }

    /// The server is another process from here on.
    pub fn follow_server(&mut self, server: Option<u32>) {
        if server.is_some() {
            self.server = server;
        }
    }

    /// Looks once; a window of [`WINDOW`] or longer is judged.
    pub fn look(&mut self, now: SimTime) {
        if let Some(id) = self.server {
            self.server_last = usage(&id.to_string()).or(self.server_last);
        }
        self.looks.0 += 1;
        if self.looks.0 >= self.looks.1 {
            self.looks.0 = 0;
            self.note_lateness(now);
        }
        let window = now.since(self.window_began);
        if window < WINDOW {
            return;
        }
        let times = thread_times();
        for (id, (name, cpu)) in &times {
            let spent = cpu.saturating_sub(self.threads.get(id).copied().unwrap_or_default());
            if spent.as_nanos() * 100 > window.as_nanos() * u128::from(BUSY_MAX) && !self.busy.contains(name) {
                self.busy.push(name.clone());
            }
        }
        self.threads = times.into_iter().map(|(id, (_, cpu))| (id, cpu)).collect();
        self.window_began = now;
    }

    /// Ends an interval of the lateness; once there are too many, neighbors become one (the larger counts) and each is twice as long.
    fn note_lateness(&mut self, now: SimTime) {
        let all = lateness(self.gauges.iter().map(Arc::as_ref));
        let mut recent = all.clone();
        if let Some(before) = &self.late_before {
            recent.subtract(before).expect("a later state holds the earlier one");
        }
        self.late.push(Lateness {
            at: now,
            p99_s: p99(&recent).as_secs_f64(),
            wakes: recent.len(),
        });
        self.late_before = Some(all);
        if self.late.len() >= LATENESS_MAX {
            let merged = self.late.chunks(2).map(|pair| Lateness {
                at: pair[pair.len() - 1].at,
                p99_s: pair.iter().map(|one| one.p99_s).fold(0.0, f64::max),
                wakes: pair.iter().map(|one| one.wakes).sum(),
            });
            self.late = merged.collect();
            self.looks.1 *= 2;
        }
    }

    /// Lateness of timer wakes so far, 99th percentile.
    pub fn late_p99(&self) -> Duration {
        late_p99(self.gauges.iter().map(Arc::as_ref))
    }

    /// Image bytes that devices have got so far.
    pub fn image_bytes(&self) -> u64 {
        self.gauges.iter().map(|gauges| gauges.image_bytes()).sum()
    }

    /// The report, at the end of the run; with how long the server says that it took.
    pub fn report(mut self, now: SimTime, server_time: Vec<(Prompt, Trend)>) -> HarnessReport {
        self.look(now);
        let late = self.late_p99();
        let exhausted: u64 = self.gauges.iter().map(|gauges| gauges.exhausted()).sum();
        let dropped: u64 = self.gauges.iter().map(|gauges| gauges.dropped()).sum();
        let reasons = reasons(late, exhausted, dropped, &self.busy);
        let own = usage("self");
        let percent = |cpu: Duration, before: Duration| {
            let elapsed = now.as_secs_f64();
            if elapsed > 0.0 {
                cpu.saturating_sub(before).as_secs_f64() / elapsed * 100.0
            } else {
                0.0
            }
        };
        HarnessReport {
            valid: reasons.is_empty(),
            reasons,
            late_p99_s: late.as_secs_f64(),
            late: Trend::of_micros(&lateness(self.gauges.iter().map(Arc::as_ref))),
            lateness: self.late,
            cpu_percent: own.map_or(0.0, |own| percent(own.cpu, self.cpu_before)),
            memory_bytes: own.map_or(0, |own| own.peak_memory),
            dropped: dropped + exhausted,
            server_memory_bytes: self.server_last.map(|server| server.peak_memory),
            server_cpu_percent: self.server_last.map(|server| percent(server.cpu, self.server_cpu_before)),
            server_time,
            machine: machine(),
        }
    }
}

fn reasons(late: Duration, exhausted: u64, dropped: u64, busy: &[String]) -> Vec<String> {
    let mut reasons = Vec::new();
    if late > LATE_MAX {
        let limit = LATE_MAX.as_millis();
        reasons.push(format!(
            "timers woke {} ms late at the 99th percentile, limit {limit} ms",
            late.as_millis()
        ));
    }
    if exhausted > 0 {
        reasons.push(format!("out of descriptors or ports for {exhausted} connections"));
    }
    if dropped > 0 {
        reasons.push(format!("{dropped} observations dropped"));
    }
    reasons.extend(
        busy.iter()
            .map(|name| format!("thread {name} over {BUSY_MAX} % busy for {} s", WINDOW.as_secs())),
    );
    reasons
}

fn usage(process: &str) -> Option<Usage> {
    let (_, cpu) = processor_time(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(Usage {
        cpu,
        peak_memory: kib_of(&status, "VmHWM:")? * 1024,
    })
}

/// Name and processor time of every thread of this process, by thread id.
fn thread_times() -> BTreeMap<u32, (String, Duration)> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return BTreeMap::new();
    };
    let times = threads.filter_map(|thread| {
        let thread = thread.ok()?;
        let id = thread.file_name().to_str()?.parse().ok()?;
        // A thread may end between the two reads.
        Some((id, processor_time(&fs::read_to_string(thread.path().join("stat")).ok()?)?))
    });
    times.collect()
}

/// Name and processor time from a `stat` file; the name stands in parentheses and may hold anything.
fn processor_time(stat: &str) -> Option<(String, Duration)> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    // Fields 14 and 15 of proc_pid_stat(5), counted from 1; behind the name field 3 is the first.
    let mut fields = after.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((name, TICK * user.saturating_add(system)))
}

fn kib_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let cpu = processors.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, model)| model.trim())
    });
    Machine {
        cpu: cpu.unwrap_or(std::env::consts::ARCH).to_owned(),
        cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory_bytes: kib_of(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
        os: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) (b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 1 0 5 6 7";
        assert_eq!(processor_time(stat), Some(("a) (b".to_owned(), Duration::from_millis(1_750))));
        assert_eq!(processor_time("nonsense"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let own = usage("self").unwrap();
        assert!(own.peak_memory > 100_000, "{own:?}");
        assert!(!thread_times().is_empty());
        assert!(machine().memory_bytes > 0);
    }

    #[test]
    fn a_harness_past_its_limits_says_why() {
        assert_eq!(reasons(LATE_MAX, 0, 0, &[]), Vec::<String>::new());
        let busy = ["shard-0".to_owned()];
        assert_eq!(
            reasons(Duration::from_millis(63), 2, 1, &busy),
            [
                "timers woke 63 ms late at the 99th percentile, limit 50 ms",
                "out of descriptors or ports for 2 connections",
                "1 observations dropped",
                "thread shard-0 over 90 % busy for 10 s"
            ]
        );
    }
}
