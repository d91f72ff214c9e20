//! `squall sim` as a user calls it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn plays_an_example_and_points_latest_to_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let output = sim(folder.path(), &["quickstart"]);
    assert_exit(&output, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("quickstart"), "{output:?}");
    let latest = folder.path().join("latest");
    for name in [
        "scenario.toml",
        "summary.json",
        "summary.txt",
        "devices.csv",
        "timeline.csv",
        "log.txt",
    ] {
        assert!(latest.join(name).is_file(), "no {name}");
    }
}

#[test]
fn json_is_the_summary_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let output = sim(folder.path(), &["quickstart", "-d", "20", "--json"]);
    assert_exit(&output, 0);
    let file = std::fs::read(folder.path().join("latest/summary.json")).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&file));
    let summary: serde_json::Value = serde_json::from_slice(&file).unwrap();
    assert_eq!((&summary["mode"], &summary["devices"]["total"]), (&"sim".into(), &20.into()));
}

#[test]
fn verify_plays_twice_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = sim(folder.path(), &["bad-firmware", "--verify"]);
    assert_exit(&output, 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("verified"), "{output:?}");
    assert!(!folder.path().join("latest/verify").exists());
}

#[test]
fn repeat_counts_the_seed_up_and_gives_each_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let output = sim(folder.path(), &["bad-firmware", "--repeat", "2", "--seed", "5"]);
    assert_exit(&output, 0);
    let seeds = ["rep-01", "rep-02"].map(|name| {
        let text = std::fs::read(folder.path().join("latest").join(name).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&text).unwrap();
        (summary["scenario"]["seed"].as_u64().unwrap(), summary["fingerprint"].clone())
    });
    assert_eq!((seeds[0].0, seeds[1].0), (5, 6));
    assert_ne!(seeds[0].1, seeds[1].1);
}

#[test]
fn a_failed_expectation_is_exit_code_99() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("wrong.toml");
    let text = std::fs::read_to_string(scenarios().join("quickstart.toml")).unwrap();
    std::fs::write(&scenario, text.replace("p(95) < 12s", "p(95) < 1ms")).unwrap();
    assert_exit(&sim(folder.path(), &[scenario.to_str().unwrap()]), 99);
}

#[test]
fn what_is_not_supported_or_makes_no_sense_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    for (arguments, said) in [
        (&["quickstart", "--watch", "10x"][..], "`--watch` needs a terminal"),
        (&["quickstart", "--seed", "seven"][..], "`--seed seven`"),
        (&["quickstart", "--repeat", "0"][..], "--repeat"),
        (&["nowhere.toml"][..], "nowhere.toml"),
    ] {
        let output = sim(&out, arguments);
        assert_exit(&output, 2);
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
        assert!(!out.exists());
    }
}

#[test]
fn an_output_folder_that_cannot_be_made_is_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = sim(&file.join("runs"), &["quickstart"]);
    assert_exit(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("file"), "{output:?}");
}

fn sim(out: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall"))
        .arg("sim")
        .args(arguments)
        .arg("--out")
        .arg(out)
        .env_remove("SQUALL_SEED")
        .env_remove("SQUALL_OUT")
        .output()
        .unwrap()
}

fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}
