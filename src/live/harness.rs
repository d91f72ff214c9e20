//! How the harness and its server fare, read from /proc: processor time, memory, busy threads, the machine.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure::Trend;
use crate::model::Prompt;
use crate::play::{HarnessReport, Lateness, Machine, ThreadFigures};
use crate::time::SimTime;

use super::certificate::{Load, Readings, WINDOW};
use super::filled::{Level, PORT_WAITS, fullest_table, waiting_ports};
use super::gauges::{Gauges, late_p99, lateness, p99};
use super::processors::{Processors, TICK, kib_of, memory};

/// Most intervals of lateness that are kept.
const LATENESS_MAX: usize = 480;
/// A shorter while between two looks says little of the processors: their time is counted in hundredths of a second.
const LOAD_LEAST: Duration = Duration::from_millis(500);

/// Watches the harness and its server during a run.
#[derive(Debug)]
pub(crate) struct Watch {
    gauges: Vec<Arc<Gauges>>,
    server: Option<u32>,
    cpu_before: Duration,
    server_cpu_before: Duration,
    server_last: Option<Usage>,
    threads: BTreeMap<u32, Seen>,
    window_began: SimTime,
    processors: Processors,
    /// At the last look: when, what the processors had done, and what of it was ours.
    done_before: Option<(SimTime, Duration, Duration)>,
    /// Descriptors of the fullest table, ports.
    descriptors: Level,
    ports: Level,
    /// Ports that waited before the run, for what others had done.
    waiting_before: u64,
    /// What certifies the figures; filled in as the run goes.
    readings: Readings,
    /// Lateness over the run, in intervals of equal length; how it stood at the end of the last, and how many looks make one.
    late: Vec<Lateness>,
    late_before: Option<Histogram<u64>>,
    looks: (u32, u32),
}

/// A thread, as it was seen.
#[derive(Clone, Debug)]
struct Seen {
    name: String,
    /// Its processor time at the start of the run, of the window, and at the last look.
    at_start: Duration,
    at_window: Duration,
    last: Duration,
    /// Largest part of a window that it was busy.
    busiest: f64,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    cpu: Duration,
    peak_memory: u64,
}

impl Watch {
    /// Begins to watch, with the server's process id. `readings` holds what is known before the start.
    pub fn new(gauges: Vec<Arc<Gauges>>, server: Option<u32>, readings: Readings) -> Watch {
        let cpu = |process: &str| usage(process).map_or(Duration::ZERO, |usage| usage.cpu);
        Watch {
            gauges,
            server,
            cpu_before: cpu("self"),
            server_cpu_before: server.map_or(Duration::ZERO, |id| cpu(&id.to_string())),
            server_last: None,
            threads: thread_times()
                .into_iter()
                .map(|(id, (name, cpu))| (id, Seen::new(name, cpu)))
                .collect(),
            window_began: SimTime::ZERO,
            processors: Processors::allowed(),
            done_before: None,
            descriptors: Level::of(readings.table),
            ports: Level::of(readings.ports_there),
            waiting_before: waiting_ports().unwrap_or(0),
            readings,
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
        self.note_load(now);
        self.note_memory();
        self.note_filled(now);
        self.note_threads(now);
    }

    /// What the processors did since the last look.
    fn note_load(&mut self, now: SimTime) {
        let Some(busy) = self.processors.busy() else { return };
        let own = usage("self").map_or(Duration::ZERO, |own| own.cpu);
        let ours = own + self.server_last.map_or(Duration::ZERO, |server| server.cpu);
        let (since, busy_before, ours_before) = *self.done_before.get_or_insert((now, busy, ours));
        let cores = self.processors.count();
        let all = now.since(since).as_secs_f64() * cores as f64;
        if now.since(since) < LOAD_LEAST {
            return;
        }
        self.done_before = Some((now, busy, ours));
        let part = |later: Duration, earlier: Duration| (later.saturating_sub(earlier).as_secs_f64() / all).min(1.0);
        let ours = part(ours, ours_before);
        let load = Load {
            ours,
            others: (part(busy, busy_before) - ours).max(0.0),
            cores,
        };
        if self.readings.busiest.is_none_or(|busiest| load.exceeds(&busiest)) {
            self.readings.busiest = Some(load);
        }
    }

    fn note_memory(&mut self) {
        if let (Some(free), Some(all)) = (memory("MemAvailable:"), memory("MemTotal:")) {
            let least = self.readings.memory.map_or(free, |(least, _)| least.min(free));
            self.readings.memory = Some((least, all));
        }
    }

    /// How full the tables and the ports are.
    fn note_filled(&mut self, now: SimTime) {
        let server = self.server.and_then(|id| fullest_table(&id.to_string()));
        self.descriptors.note(fullest_table("self").max(server));
        let connections: u64 = self.gauges.iter().map(|gauges| gauges.connections()).sum();
        let others = if now < SimTime::from(PORT_WAITS) {
            self.waiting_before
        } else {
            0
        };
        self.ports
            .note(waiting_ports().map(|waiting| waiting.saturating_sub(others) + connections));
    }

    fn note_threads(&mut self, now: SimTime) {
        let window = now.since(self.window_began);
        for (id, (name, cpu)) in thread_times() {
            let seen = self.threads.entry(id).or_insert_with(|| Seen::new(name, Duration::ZERO));
            seen.last = cpu;
            if window >= WINDOW {
                let spent = cpu.saturating_sub(std::mem::replace(&mut seen.at_window, cpu));
                seen.busiest = seen.busiest.max(spent.as_secs_f64() / window.as_secs_f64());
            }
        }
        if window >= WINDOW {
            self.window_began = now;
        }
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
        let own = usage("self");
        let readings = Readings {
            late: self.late_p99(),
            exhausted: self.gauges.iter().map(|gauges| gauges.exhausted()).sum(),
            dropped: self.gauges.iter().map(|gauges| gauges.dropped()).sum(),
            descriptors: self.descriptors.filled(),
            ports: self.ports.filled(),
            threads: self.threads.values().map(|seen| (seen.name.clone(), seen.busiest)).collect(),
            taken: own.iter().chain(&self.server_last).map(|usage| usage.peak_memory).sum(),
            ..self.readings
        };
        let reasons = readings.reasons();
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
            carries: if reasons.is_empty() { None } else { readings.largest_fleet() },
            reasons,
            late_p99_s: readings.late.as_secs_f64(),
            late_at_rest_s: readings.late_at_rest.as_secs_f64(),
            late: Trend::of_micros(&lateness(self.gauges.iter().map(Arc::as_ref))),
            lateness: self.late,
            cpu_percent: own.map_or(0.0, |own| percent(own.cpu, self.cpu_before)),
            memory_bytes: own.map_or(0, |own| own.peak_memory),
            dropped: readings.dropped + readings.exhausted,
            free_memory_bytes: readings.memory.map(|(least, _)| least),
            descriptors: readings.descriptors,
            ports: readings.ports,
            threads: self.threads.into_values().map(|seen| seen.figures(now)).collect(),
            server_memory_bytes: self.server_last.map(|server| server.peak_memory),
            server_cpu_percent: self.server_last.map(|server| percent(server.cpu, self.server_cpu_before)),
            server_time,
            machine: machine(),
        }
    }
}

impl Seen {
    fn new(name: String, cpu: Duration) -> Seen {
        Seen {
            name,
            at_start: cpu,
            at_window: cpu,
            last: cpu,
            busiest: 0.0,
        }
    }

    fn figures(self, now: SimTime) -> ThreadFigures {
        let spent = self.last.saturating_sub(self.at_start).as_secs_f64();
        let part = if now > SimTime::ZERO { spent / now.as_secs_f64() } else { 0.0 };
        ThreadFigures {
            name: self.name,
            cpu_percent: part * 100.0,
            busiest_percent: self.busiest.max(part) * 100.0,
        }
    }
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
        memory_bytes: memory("MemTotal:").unwrap_or(0),
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
}
