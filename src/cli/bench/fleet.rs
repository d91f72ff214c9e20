//! `squall bench run`: what a fleet on real sockets costs, harness and server apart.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::refusal::Refusal;
use crate::cli::results::put;
use crate::model::{show_count, show_size};
use crate::report::{HarnessRow, Summary};
use crate::scratch::Scratch;

/// Sizes where none are asked for: the last is what one machine of two cores is to carry over TLS (docs/performance.md).
pub(super) const SIZES: [u32; 3] = [1_000, 5_000, 20_000];

/// A 16 KiB update over TLS, which every device begins as it arrives.
const STORM: &str = r#"
scenario = { name = "bench-run", duration = "30m", trace = "off" }
firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "16 KiB" } }
fleet.meter = { count = 1, runs = "app@1.0.0", arrive = "500/s" }
step = [{ at = "0s", deploy = "app@1.1.0", to = "all" }]
expect = ["devices{runs:app@1.1.0} share == 100 %"]
"#;

/// Runs fleets of these sizes, each against a server of its own, and tells what they cost.
pub(super) fn fleets(sizes: &[u32]) -> Result<(), Refusal> {
    let scratch =
        Scratch::make("squall-bench-").map_err(|(place, error)| Refusal::internal(&format!("{}: {error}", place.display())))?;
    put("bench run: a 16 KiB update over MQTT and HTTPS, 500 devices a second, harness and server beside each other\n");
    put("                          harness, a device       server, a device\n");
    put("   devices        run    processor     memory   processor     memory   late p99\n");
    let alone = played(1, scratch.path())?;
    let mut failed = None;
    for &devices in sizes {
        let summary = played(devices, scratch.path())?;
        put(&line(devices, &summary, &alone)?);
        if summary.exit_code != 0 {
            let reasons = summary.harness.map(|harness| harness.reasons.join("; ")).unwrap_or_default();
            put(&format!(
                "           {}: exit code {} of `run`; {reasons}\n",
                summary.status, summary.exit_code
            ));
            failed = failed.or(Some(devices));
        }
    }
    failed.map_or(Ok(()), |devices| {
        let devices = show_count(devices.into());
        Err(Refusal::internal(&format!(
            "the run of {devices} devices did not pass: this machine carries fewer, or was busy"
        )))
    })
}

/// The summary of a run of so many devices, in a process of its own.
fn played(devices: u32, folder: &Path) -> Result<Summary, Refusal> {
    let told = |error: &dyn std::fmt::Display| Refusal::internal(&format!("a run of {devices} devices: {error}"));
    let program = std::env::current_exe().map_err(|error| told(&error))?;
    let mut command = Command::new(program);
    command
        .args(["run", "-", "--json", "--quiet", "--devices", &devices.to_string(), "--out"])
        .arg(folder);
    command.env_remove("SQUALL_SEED").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| told(&error))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(STORM.as_bytes()).map_err(|error| told(&error))?;
    }
    let ended = child.wait_with_output().map_err(|error| told(&error))?;
    serde_json::from_slice(&ended.stdout).map_err(|_| told(&format!("it ended without a summary, {}", ended.status)))
}

fn line(devices: u32, summary: &Summary, alone: &Summary) -> Result<String, Refusal> {
    let none = || Refusal::internal(&"a run told nothing of its harness");
    let (own, base) = (
        summary.harness.as_ref().ok_or_else(none)?,
        alone.harness.as_ref().ok_or_else(none)?,
    );
    let spent = |percent: f64| format!("{:.2} ms", percent * summary.elapsed_s * 10.0 / f64::from(devices));
    let grown = |bytes: fn(&HarnessRow) -> Option<u64>| {
        let more = bytes(own).unwrap_or(0).saturating_sub(bytes(base).unwrap_or(0));
        show_size(more as f64 / f64::from(devices))
    };
    Ok(format!(
        "{:>10} {:>8.1} s {:>12} {:>10} {:>11} {:>10} {:>7.1} ms\n",
        show_count(devices.into()),
        summary.elapsed_s,
        spent(own.cpu_percent),
        grown(|row| Some(row.memory_bytes)),
        spent(own.server_cpu_percent.unwrap_or(0.0)),
        grown(|row| row.server_memory_bytes),
        own.late_p99_s * 1e3,
    ))
}
