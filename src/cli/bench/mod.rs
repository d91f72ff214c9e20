//! `squall bench`: the figures of docs/performance.md, made here and now.

mod fleet;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::time::{ClockId, clock_gettime};

use crate::live::{Took, measure_downloads};
use crate::model::{show_count, show_size};
use crate::play::Status;
use crate::scenario::{Overrides, Source, load};
use crate::sim::play_counted;

use super::refusal::Refusal;
use super::results::put;
use super::{BAD_INPUT, now};

/// Sizes of `bench sim` where none are asked for.
const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];

/// What `bench sim` plays: a 64 KiB update of a fleet that arrives over ten minutes, and keep-alives for an hour.
const HOUR: &str = r#"
scenario = { name = "bench-sim", duration = "1h", ends = "duration", trace = "off" }
firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "64 KiB" } }
fleet.meter = { count = 1, runs = "app@1.0.0", link = "wifi", arrive = "over 10m" }
step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
expect = ["devices{runs:app@1.1.0} share == 100 %"]
"#;

const EXAMPLES: &str = "\
Examples:
  squall bench sim                                   10,000, 100,000 and 1,000,000 devices
  squall bench sim --devices 100000                  one size
  squall bench run                                   1,000, 5,000 and 20,000 devices on real sockets
  squall bench download                              devices' downloads beside a bare loop and curl

Measure on a machine that does nothing else. docs/performance.md has figures, and the commands that make the others.";

/// Arguments of `squall bench`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// What is measured: `sim`, `run` or `download`
    #[arg(value_name = "WHAT")]
    what: String,
    /// Sizes of the fleet, of `sim` and `run`, played from the smallest on
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    devices: Vec<u32>,
    /// Downloads of each client and size, of `download`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), default_value_t = 400)]
    downloads: u32,
}

/// One size.
#[derive(Clone, Copy, Debug)]
struct Figures {
    devices: u32,
    wall: Duration,
    /// Processor time, user and system.
    cpu: Duration,
    events: u64,
    /// The most memory that the process ever had, bytes; sizes grow, so that it is this one's.
    peak: u64,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &BenchArgs) -> u8 {
    let told = match args.what.as_str() {
        "sim" => sim(&sizes(&args.devices, &SIZES)),
        "run" => fleet::fleets(&sizes(&args.devices, &fleet::SIZES)),
        "download" => download(args.downloads),
        other => {
            eprintln!("error: unknown bench `{other}`: there are `sim`, `run` and `download`");
            return BAD_INPUT;
        }
    };
    told.map_or_else(|refusal| refusal.tell(), |()| 0)
}

/// The sizes that are asked for, or the usual ones; from the smallest on.
fn sizes(asked: &[u32], usual: &[u32]) -> Vec<u32> {
    let mut sizes = if asked.is_empty() { usual } else { asked }.to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Sizes of the images that are downloaded, bytes.
const IMAGES: [usize; 2] = [64 << 10, 1 << 20];

fn download(downloads: u32) -> Result<(), Refusal> {
    let program = std::env::current_exe().map_err(|error| Refusal::internal(&format!("this program's own path: {error}")))?;
    for size in IMAGES {
        for tls in [true, false] {
            let how = if tls { "over TLS" } else { "without TLS" };
            let took = measure_downloads(&program, tls, size, downloads).map_err(|problem| Refusal::internal(&problem))?;
            let shown = show_size(size as f64);
            put(&format!(
                "bench download: {downloads} of {shown} {how}, a connection each, 16 at once\n"
            ));
            put("  client                  MiB/s   of bare   processor, each   MiB a processor second   of bare\n");
            // The bare loop that does the same work: every byte of an image has to be hashed.
            let bare = took.iter().find(|took| took.client == "bare hyper, hashed").cloned();
            took.iter().for_each(|took| put(&download_line(took, bare.as_ref())));
        }
    }
    Ok(())
}

fn download_line(took: &Took, bare: Option<&Took>) -> String {
    let mib = took.bytes as f64 / f64::from(1 << 20);
    let by = |time: Duration| mib / time.as_secs_f64().max(1e-9);
    let of_bare = |rate: fn(&Took) -> Duration| {
        let bare = bare.map_or(0.0, |bare| rate(bare).as_secs_f64());
        format!("{:.0} %", 100.0 * bare / rate(took).as_secs_f64().max(1e-9))
    };
    format!(
        "  {:<20} {:>8.1} {:>9} {:>14.0} us {:>24.1} {:>9}\n",
        took.client,
        by(took.wall),
        of_bare(|took| took.wall),
        took.cpu.as_secs_f64() * 1e6 / f64::from(took.downloads),
        by(took.cpu),
        of_bare(|took| took.cpu),
    )
}

fn sim(sizes: &[u32]) -> Result<(), Refusal> {
    put("bench sim: a 64 KiB update and keep-alives over one virtual hour, on one core\n");
    put("   devices       wall        cpu         events  events/s  ns/event        peak  a device\n");
    let mut before: Option<Figures> = None;
    for &devices in sizes {
        let figures = measure(devices)?;
        put(&line(&figures, before.as_ref()));
        before = Some(figures);
    }
    Ok(())
}

fn measure(devices: u32) -> Result<Figures, Refusal> {
    let overrides = Overrides {
        devices: Some(u64::from(devices)),
        ..Overrides::default()
    };
    let (wall_before, cpu_before) = (now(), processor_time());
    let plan = load(Source::Stdin(HOUR.to_owned()), &overrides).map_err(|errors| Refusal::told(errors.to_string()))?;
    let (outcome, events) = play_counted(Arc::new(plan));
    if outcome.status() != Status::Passed {
        let status = outcome.status().word();
        return Err(Refusal::internal(&format!("the simulation of {devices} devices {status}")));
    }
    Ok(Figures {
        devices,
        wall: now().duration_since(wall_before).unwrap_or_default(),
        cpu: processor_time().saturating_sub(cpu_before),
        events,
        peak: peak_memory().ok_or_else(|| Refusal::internal(&"/proc/self/status tells no peak of memory"))?,
    })
}

fn line(figures: &Figures, before: Option<&Figures>) -> String {
    let cpu = figures.cpu.as_secs_f64();
    let mut line = format!(
        "{:>10} {:>8.2} s {:>8.2} s {:>14} {:>7.2} M {:>9.0} {:>11} {:>7} B\n",
        show_count(figures.devices.into()),
        figures.wall.as_secs_f64(),
        cpu,
        show_count(figures.events),
        figures.events as f64 / cpu / 1e6,
        cpu * 1e9 / figures.events as f64,
        show_size(figures.peak as f64),
        show_count(figures.peak / u64::from(figures.devices.max(1))),
    );
    if let Some(before) = before {
        let (more, longer) = (
            f64::from(figures.devices) / f64::from(before.devices),
            cpu / before.cpu.as_secs_f64(),
        );
        line.push_str(&format!(
            "           {more:.1} times the devices took {longer:.1} times the time\n"
        ));
    }
    line
}

fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(spent.tv_sec), u32::try_from(spent.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// The most memory that this process ever had, bytes.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_downloads_took_is_set_against_the_bare_loop() {
        let took = |client, millis: u64| Took {
            client,
            downloads: 10,
            bytes: 10 << 20,
            wall: Duration::from_millis(millis),
            cpu: Duration::from_millis(millis / 2),
        };
        let line = download_line(&took("squall's devices", 125), Some(&took("bare hyper", 100)));
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            words,
            ["squall's", "devices", "80.0", "80", "%", "6200", "us", "161.3", "81", "%"]
        );
    }

    #[test]
    fn the_workload_updates_every_device_and_keeps_it_alive() {
        let figures = measure(20).unwrap();
        assert!(figures.peak > 1 << 20 && figures.cpu > Duration::ZERO);
        // Some two hundred and thirty events a device: keep-alives every 21 seconds or so, and the update.
        assert!((4_000..=6_000).contains(&figures.events), "{} events", figures.events);
    }
}
