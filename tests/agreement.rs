//! `run` and `sim` are two drivers of the same cores: on the same scenario they agree on every count.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Plays an example through the real binary and returns its `summary.json`. A busy machine may make the harness declare its times
/// invalid (exit code 102); what is counted here holds all the same. Anything else than that and 0 is a failure.
fn summary(mode: &str, example: &str, folder: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command
        .args([mode, example, "--quiet", "--json", "--out"])
        .arg(folder.join(mode))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let summary: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{mode} {example}: {error}: {words}"));
    let reasons = summary["harness"]["reasons"].to_string();
    match output.status.code() {
        Some(0) => {}
        Some(102) => assert!(
            reasons.contains("late") && !reasons.contains("dropped"),
            "{mode} {example}: {reasons}"
        ),
        other => panic!("{mode} {example}: exit code {other:?}: {summary:#}{words}"),
    }
    summary
}

/// What both modes must agree on: states, versions, phases, cohorts, and each transition with its cause.
fn counts(summary: &Value) -> Value {
    serde_json::json!({
        "devices": summary["devices"],
        "transitions": summary["transitions"],
        "expectations": summary["expectations"].as_array().unwrap().iter().map(|row| row["passed"].clone()).collect::<Vec<_>>(),
        "findings": summary["findings"],
        "errors": summary["errors"],
    })
}

fn assert_modes_agree(example: &str, devices: u64) {
    let folder = tempfile::tempdir().unwrap();
    let [run, sim] = ["run", "sim"].map(|mode| counts(&summary(mode, example, folder.path())));
    assert_eq!(run["devices"]["total"], devices);
    assert!(!run["transitions"].as_array().unwrap().is_empty(), "nothing happened");
    assert_eq!(run, sim, "{example}");
}

#[test]
fn both_modes_agree_on_quickstart() {
    assert_modes_agree("quickstart", 200);
}

#[test]
fn both_modes_agree_on_late_joiners() {
    assert_modes_agree("late-joiners", 400);
}

#[test]
fn both_modes_agree_on_bad_firmware() {
    assert_modes_agree("bad-firmware", 100);
}
