//! How accurate time is where everything about a device's network is timers: `cargo bench --bench timers [DEVICES]`, 20,000 by default.
//!
//! First the floor: as many tasks on as many threads, each with nothing but a timer a second. Then a fleet on a slow link that loses
//! packets, with messages lost and delayed, answers slowed down and replaced, links that go down: all of it played inside the harness,
//! over real sockets, without root and without a proxy. Its times stand beside those of the same scenario in virtual time, where timers
//! are exact. Prints, and judges nothing.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

/// Threads of a harness whose fleet one descriptor table holds.
const THREADS: u32 = 2;
const SECONDS: u32 = 10;

/// Times that are compared, and the quantiles of them.
const METRICS: [&str; 4] = ["connect_time", "downloading", "retrying", "update_time"];

fn main() {
    let devices = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let devices: u32 = devices.unwrap_or(20_000);
    println!("bare timers: {devices} tasks on {THREADS} threads, a timer a second each, for {SECONDS} s");
    let mut late = bare(devices);
    late.sort_unstable();
    let at = |per_mille: usize| late[(late.len() - 1) * per_mille / 1000].as_secs_f64() * 1e3;
    println!(
        "late  p50 {:.2} ms   p99 {:.2} ms   p99.9 {:.2} ms   max {:.2} ms",
        at(500),
        at(990),
        at(999),
        at(1000)
    );

    println!("\n{devices} devices on an impaired network, in real and in virtual time");
    let (run, sim) = (played("run", devices), played("sim", devices));
    let harness = &run["harness"];
    let ms = |value: &Value| value.as_f64().map_or(f64::NAN, |seconds| seconds * 1e3);
    println!(
        "timers of the harness: late p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms; CPU {} % of a core",
        ms(&harness["late_p99_s"]),
        ms(&row(&run, "lateness")["p999"]),
        ms(&row(&run, "lateness")["max"]),
        harness["cpu_percent"]
    );
    println!(
        "{:13} {:>9} {:>10} {:>10} {:>9} {:>10} {:>10}",
        "seconds", "n run", "p50 run", "p50 sim", "", "p99 run", "p99 sim"
    );
    for metric in METRICS {
        let (run, sim) = (row(&run, metric), row(&sim, metric));
        let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        println!(
            "{metric:13} {:>9} {:>10.3} {:>10.3} {:>8.2}x {:>10.3} {:>10.3}  {:.2}x",
            run["count"],
            number(run, "med"),
            number(sim, "med"),
            number(run, "med") / number(sim, "med"),
            number(run, "p99"),
            number(sim, "p99"),
            number(run, "p99") / number(sim, "p99"),
        );
    }
    for fault in run["faults"].as_array().into_iter().flatten() {
        println!("fault {:10} {} done", fault["name"].as_str().unwrap_or(""), fault["done"]);
    }
}

/// Lateness of every wake.
fn bare(devices: u32) -> Vec<Duration> {
    let thread = |number: u32| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.expect("a runtime can be built").block_on(async move {
                let mut tasks = tokio::task::JoinSet::new();
                let begun = Instant::now() + Duration::from_millis(500);
                for device in (number..devices).step_by(THREADS as usize) {
                    let phase = Duration::from_secs(1) * device / devices;
                    tasks.spawn(async move {
                        let mut late = Vec::with_capacity(SECONDS as usize);
                        for second in 0..SECONDS {
                            let due = begun + phase + Duration::from_secs(1) * second;
                            sleep_until(due).await;
                            late.push(Instant::now().saturating_duration_since(due));
                        }
                        late
                    });
                }
                tasks.join_all().await.concat()
            })
        })
    };
    let threads: Vec<_> = (0..THREADS).map(thread).collect();
    threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("it ends"))
        .collect()
}

fn played(mode: &str, devices: u32) -> Value {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let scenario = format!(
        r#"
        scenario = {{ duration = "3m", trace = "off" }}
        server = {{ tls = "off", limits = {{ offers = "{}/s" }} }}
        firmware.app = {{ "1.0.0" = {{ size = "16 KiB" }}, "1.1.0" = {{ size = "16 KiB" }} }}
        link.field = {{ latency = "80ms p99 400ms", down = "1 Mbit/s", up = "250 kbit/s", loss = "1 %" }}
        fleet.meter = {{ count = {devices}, runs = "app@1.0.0", link = "field", arrive = "over 20s", connack_timeout = "5s", reconnect = "1s..10s half" }}
        step = [{{ at = "25s", deploy = "app@1.1.0", to = "all" }}]
        fault = [
          {{ name = "lost", inject = "lose", who = "all", chance = "2 %", only = "results" }},
          {{ name = "late", inject = "delay 500ms", who = "20 % of all" }},
          {{ name = "slow", inject = "slow 8 KiB/s", who = "10 % of all" }},
          {{ name = "busy", inject = "http 503", who = "all", chance = "5 %" }},
          {{ name = "away", inject = "link-down", who = "5 % of all", at = "downloading+50ms", for = "2s..4s" }}]
        expect = ["devices{{state:succeeded}} share >= 99 %"]
        "#,
        (devices / 40).max(10)
    );
    std::fs::write(folder.path().join("impaired.toml"), scenario).expect("a file can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command
        .args([mode, "impaired.toml", "--json", "-q"])
        .current_dir(folder.path());
    let output = command.stdin(Stdio::null()).output().expect("squall starts");
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{mode}: {error}: {told}"))
}

/// The series over all devices; one of a phase by its name.
fn row<'s>(summary: &'s Value, name: &str) -> &'s Value {
    let rows = summary["metrics"].as_array().expect("a summary has metrics").iter();
    let is_it = |row: &&Value| {
        let labels = row["labels"].as_object().map_or(0, serde_json::Map::len);
        (row["name"] == name && labels == 0) || (row["labels"]["phase"] == name && row["name"] == "phase_time" && labels == 1)
    };
    rows.filter(is_it)
        .max_by_key(|row| row["count"].as_u64())
        .unwrap_or(&Value::Null)
}
