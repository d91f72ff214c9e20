//! Runs that are split over processes, and added up again.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::outside::{Serve, said, squall};

/// Everything that can be split: fleets, tags, cohorts by hand and by rule, picks, faults, cheats, measures of every kind.
const SCENARIO: &str = r#"
scenario = { duration = "3m", ends = "duration", seed = 11, trace = "on" }
firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "48 KiB", boot = { "confirm after 2s" = "80 %", "crash after 1s" = "20 %" } }, "1.2.0" = {} }
fleet.meter = { count = 70, runs = "app@1.0.0", link = "wifi", arrive = "20/s", tags.region = ["north", "west"] }
fleet.cam = { count = 33, runs = "app@1.0.0", link = "lte", arrive = "over 10s", cheats = { flood = "10 %" } }
cohort.canary.members = "20 of all"
cohort.west.where = "tag.region:west"
step = [
  { name = "one", at = "5s", deploy = "app@1.1.0", to = "canary" },
  { name = "all", at = "20s", deploy = "app@1.1.0", to = "all" },
  { name = "moved", at = "40s", tag = { region = "west" }, who = "9 of tag.region:north" },
  { name = "west", at = "45s", deploy = "app@1.2.0", to = "west" }]
fault = [
  { name = "cut", inject = "power-cut", who = "25 % of all", at = "downloading 10 %..90 %", for = "1s..3s" },
  { name = "busy", inject = "http 503", who = "all", chance = "10 %" },
  { name = "gone", inject = "link-down", who = "7 of cohort:west", at = "30s..50s", for = "5s" }]
expect = [
  "devices{runs:app@1.2.0} share > 40 %", "devices{cohort:canary,state:succeeded} count >= 0", "update_time p(95) < 60s",
  "deploy_time{step:west} p(50) < 60s", "retries count > 5", "faults{fault:cut,done:yes} count > 5", "data_used max > 0 B", "throughput max > 0 B/s",
  "wear max >= 1", "disagreements count == 0", "request_time{ranged:no} count > 0", "messages{type:results} count > 100",
  "coverage share > 1 %", "findings count == 0", "stuck count == 0"]
"#;

#[test]
fn shards_add_up_to_the_whole_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("split.toml"), SCENARIO).unwrap();
    let whole = squall(folder.path(), &["sim", "split.toml", "-q", "--out", "whole"]);
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
    for number in 1..=4 {
        let (shard, out) = (format!("{number}/4"), format!("shard-{number}"));
        let played = squall(folder.path(), &["sim", "split.toml", "-q", "--shard", &shard, "--out", &out]);
        assert_eq!(played.status.code(), Some(0), "{}", said(&played));
        assert!(said(&played).contains("of 103 devices"), "{}", said(&played));
    }
    // In any order.
    let shards = ["shard-3/latest", "shard-1/latest", "shard-4/latest", "shard-2/latest"];
    let merged = squall(folder.path(), &[&["merge", "--out", "merged"][..], &shards].concat());
    assert_eq!(merged.status.code(), Some(0), "{}", said(&merged));
    let (whole, merged) = (folder.path().join("whole/latest"), folder.path().join("merged/latest"));
    let names = |folder: &PathBuf| {
        let entries = std::fs::read_dir(folder).unwrap();
        let names: std::collections::BTreeSet<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names
    };
    assert_eq!(names(&whole), names(&merged));
    assert!(names(&whole).len() >= 10, "{:?}", names(&whole));
    for name in names(&whole).iter().filter(|name| *name != "log.txt") {
        let [one, other] = [&whole, &merged].map(|folder| std::fs::read(folder.join(name)).unwrap());
        let [shown, seen] = [&one, &other].map(|bytes| String::from_utf8_lossy(bytes));
        let first = shown.lines().zip(seen.lines()).find(|(one, other)| one != other);
        assert!(one == other, "{name:?} differs: {first:?}");
    }
}

/// The scenario against this server.
fn against(server: &Serve, folder: &TempDir, name: &str) {
    std::fs::write(folder.path().join(name), format!("server = {{ {} }}\n{RUN}", server.keys())).unwrap();
}

/// Forty devices, ten of them canaries; those of version 1.1.0 roll back one in four.
const RUN: &str = r#"
scenario = { duration = "7s", ends = "duration" }
firmware.app = { "1.0.0" = { size = "8 KiB" }, "1.1.0" = { size = "8 KiB", boot = { "confirm after 200ms" = "75 %", "crash after 100ms" = "25 %" } } }
fleet.few = { count = 40, runs = "app@1.0.0", flash = { like = "nrf52840", time_scale = 0.02 } }
cohort.canary.members = "10 of all"
step = [{ name = "one", at = "1s", deploy = "app@1.1.0", to = "canary" }, { name = "all", at = "2s", deploy = "app@1.1.0", to = "all" }]
expect = ["devices{runs:app@1.1.0} share == 75 %", "disagreements count == 0", "devices{cohort:canary} count == 10"]
"#;

/// `squall run` of these arguments, under way.
fn run(folder: &TempDir, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command
        .arg("run")
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Four shards against a server of their own, which begin together in so many seconds, and what they came to.
fn four_shards(folder: &TempDir, lead: u64) -> Vec<Output> {
    let server = Serve::start();
    against(&server, folder, "four.toml");
    let start = moment_in(lead);
    let shard = |number: u32| {
        let (shard, out) = (format!("{number}/4"), format!("out-{number}"));
        run(folder, &["four.toml", "--shard", &shard, "--start-at", &start, "--out", &out])
    };
    let shards: Vec<_> = (1..=4).map(shard).collect();
    let ended = |shard: Child| shard.wait_with_output().unwrap();
    shards.into_iter().map(ended).collect()
}

#[test]
fn shards_of_a_run_against_one_server_come_to_what_one_process_comes_to() {
    let folder = tempfile::tempdir().unwrap();
    let one = Serve::start();
    against(&one, &folder, "one.toml");
    let whole = run(&folder, &["one.toml", "--out", "whole"]);
    // On a busy machine they need longer to get ready.
    let mut leads = [3, 9, 27].into_iter();
    let shards = loop {
        let lead = leads.next().expect("shards are ready after half a minute");
        let shards = four_shards(&folder, lead);
        let late = |shard: &Output| said(shard).contains("`--start-at");
        if !shards.iter().any(late) {
            break shards;
        }
    };
    let whole = whole.wait_with_output().unwrap();
    let read = |folder_name: &str| -> Value {
        let path = folder.path().join(folder_name).join("latest/summary.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let came = |output: &Output, out: &str| crate::assert_passed_or_late(output.status.code(), &read(out), &said(output));
    came(&whole, "whole");
    for (number, shard) in (1..).zip(shards) {
        came(&shard, &format!("out-{number}"));
    }
    let outs = ["out-1/latest", "out-2/latest", "out-3/latest", "out-4/latest"];
    let merged = squall(folder.path(), &[&["merge", "--out", "merged"][..], &outs].concat());
    came(&merged, "merged");
    let (whole, merged) = (read("whole"), read("merged"));
    for part in ["devices", "transitions", "failures", "expectations"] {
        let ignored = |mut value: Value| {
            for row in value.as_array_mut().into_iter().flatten() {
                row.as_object_mut().map(|row| row.remove("judged_at_s"));
            }
            value
        };
        assert_eq!(ignored(whole[part].clone()), ignored(merged[part].clone()), "{part}");
    }
    for metric in [
        "attempts",
        "rollbacks",
        "manifests",
        "requests",
        "update_time",
        "deploy_time",
        "connects",
    ] {
        let counts = |summary: &Value| -> Vec<(Value, Value)> {
            let rows = summary["metrics"].as_array().unwrap().iter();
            // How many tries come to nothing is up to the machine: a busy one answers too late.
            let planned = |row: &&Value| metric != "connects" || row["labels"]["result"] == "ok";
            rows.filter(|row| row["name"] == metric)
                .filter(planned)
                .map(|row| (row["labels"].clone(), row["count"].clone()))
                .collect()
        };
        assert_eq!(counts(&whole), counts(&merged), "{metric}");
    }
}

/// A moment so many seconds ahead, as `--start-at` has it.
#[expect(clippy::disallowed_methods, reason = "processes begin together in real time")]
fn moment_in(seconds: u64) -> String {
    squall::report::timestamp(std::time::SystemTime::now() + std::time::Duration::from_secs(seconds))
}

#[test]
fn shards_that_make_no_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
scenario = { duration = "10s" }
firmware.app = ["1.0.0", "1.1.0"]
fleet.few = { count = 5, runs = "app@1.0.0" }
step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
"#;
    std::fs::write(folder.path().join("few.toml"), text).unwrap();
    let played = |shard: &str, out: &str, more: &[&str]| {
        let arguments = ["sim", "few.toml", "-q", "--shard", shard, "--out", out];
        squall(folder.path(), &[&arguments[..], more].concat())
    };
    assert_eq!(played("1/3", "one", &[]).status.code(), Some(0));
    assert_eq!(played("3/3", "three", &[]).status.code(), Some(0));
    assert_eq!(played("2/3", "two", &["--seed", "9"]).status.code(), Some(0));
    let refuses = |runs: &[&str], why: &str| {
        let merged = squall(folder.path(), &[&["merge"][..], runs].concat());
        assert_eq!(merged.status.code(), Some(2), "{}", said(&merged));
        assert!(said(&merged).contains(why), "{}", said(&merged));
    };
    refuses(&["one/latest", "three/latest"], "of 3 shards 2 is missing");
    refuses(&["one/latest", "one/latest", "three/latest"], "shard 1/3 is there twice");
    refuses(&["one/latest", "two/latest", "three/latest"], "the seed differs");
    refuses(&["one"], "no shard of a run");
    let split = played("4/3", "four", &[]);
    assert_eq!(split.status.code(), Some(2));
    assert!(said(&split).contains("`4/3` is no shard"), "{}", said(&split));

    let when = text.replace("at = \"1s\"", "when = \"devices{session:online} count == 5\"");
    std::fs::write(folder.path().join("few.toml"), when).unwrap();
    let split = played("1/3", "when", &[]);
    assert_eq!(split.status.code(), Some(2));
    assert!(
        said(&split).contains("line 5: step `deploy-1` has a `when`"),
        "{}",
        said(&split)
    );
}
