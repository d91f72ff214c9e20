//! What a link of 2 Mbit/s delivers, in virtual and in real time: bytes on the wire, overhead of TCP and TLS included, over the time that
//! a download takes. Flash is made a thousand times faster, so that it does not hold the device back, and has room for an image so large
//! that handshakes are not what is measured.
//!
//! `cargo bench --bench link` prints a line a mode, and fails where the ratio is more than 3 % off.

use std::process::{Command, ExitCode};

/// Bits a second of the link.
const RATE: f64 = 2e6;
/// Bytes of the image.
const IMAGE: f64 = 2048.0 * 1024.0;
/// Payload of a TCP segment, and what it takes on the wire (docs/faults.md).
const SEGMENT: (f64, f64) = (1_448.0, 1_500.0);
/// How far off a ratio may be.
const TOLERANCE: f64 = 0.03;

const SCENARIO: &str = r#"
scenario = { name = "link", duration = "60s" }
firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "2 MiB" } }
link.two = { like = "lan", latency = "5ms", down = "2 Mbit/s", up = "2 Mbit/s", loss = "0 %", join = "0s" }
fleet.demo = { count = 5, runs = "app@1.0.0", link = "two", flash = { like = "nrf52840", size = "8 MiB", slot = "3 MiB", page = "32 KiB", time_scale = 0.001 } }
step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]
expect = ["devices{state:succeeded} count == 5"]
"#;

fn main() -> ExitCode {
    let mut good = true;
    for mode in ["sim", "run"] {
        match measured(mode) {
            Ok(seconds) => {
                let ratio = IMAGE * SEGMENT.1 / SEGMENT.0 * 8.0 / seconds / RATE;
                println!("{mode}: 2 MiB in {seconds:.3} s, {ratio:.4} of 2 Mbit/s");
                good &= (ratio - 1.0).abs() <= TOLERANCE;
            }
            Err(problem) => {
                eprintln!("{mode}: {problem}");
                good = false;
            }
        }
    }
    ExitCode::from(u8::from(!good))
}

/// Plays the scenario; gives the median time of a download.
fn measured(mode: &str) -> Result<f64, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("link.toml");
    std::fs::write(&file, SCENARIO).map_err(|error| error.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command
        .arg(mode)
        .arg(&file)
        .arg("--json")
        .arg("--out")
        .arg(folder.path().join("runs"));
    let output = command.output().map_err(|error| error.to_string())?;
    let summary: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let rows = summary["metrics"].as_array().ok_or("the summary has no metrics")?;
    let downloading = rows
        .iter()
        .find(|row| row["name"] == "phase_time" && row["labels"] == serde_json::json!({ "phase": "downloading" }));
    downloading
        .and_then(|row| row["med"].as_f64())
        .ok_or_else(|| "nothing was downloaded".to_owned())
}
