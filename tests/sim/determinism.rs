//! One plan, one outcome: whatever process plays it, whoever watches, and whoever else takes part.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use squall::measure::TraceRow;
use squall::play::Outcome;
use squall::sim::{Pulse, play, play_shown};

use super::{example, plan_of};

#[test]
fn two_processes_write_the_same_files_byte_for_byte() {
    for arguments in [
        ["planted", "-d", "12"],
        ["server-crash", "-d", "20"],
        ["rural", "-d", "3"],
        ["retry-storm", "-d", "20"],
    ] {
        let [one, other] = [(), ()].map(|()| {
            let folder = tempfile::tempdir().unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_squall"))
                .arg("sim")
                .args(arguments)
                .arg("--out")
                .arg(folder.path())
                .env_remove("SQUALL_SEED")
                .output()
                .unwrap();
            assert!(matches!(output.status.code(), Some(0 | 99)), "{output:?}");
            files(&folder.path().join("latest"))
        });
        assert!(
            one.contains_key("trace.ndjson.zst") && one.contains_key("summary.json"),
            "{arguments:?}"
        );
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (name, bytes) in &one {
            assert!(bytes == &other[name], "{arguments:?}: {name} differs");
        }
    }
}

#[test]
fn a_screen_changes_nothing() {
    for name in ["planted", "bad-firmware"] {
        let alone = play(example(name, 4));
        let mut pictures = 0;
        let watched = play_shown(example(name, 4), &mut |scene| {
            pictures += 1;
            Pulse::Until(scene.now + std::time::Duration::from_millis(150))
        });
        assert!(pictures > 100, "{name}: {pictures}");
        assert!(rows(&alone).len() > 500, "{name}");
        assert_eq!(rows(&alone), rows(&watched), "{name}");
        assert_eq!(alone.recorder.fingerprint(), watched.recorder.fingerprint());
        assert_eq!((alone.elapsed, &alone.findings), (watched.elapsed, &watched.findings));
    }
}

#[test]
fn a_device_more_leaves_every_other_trace_as_it_was_to_the_nanosecond() {
    // Attempts have ids up to 21 with it, which take a byte each as do those without it: a longer id would take longer on the link.
    let lives = |count: u32| {
        let outcome = play(Arc::new(plan_of(&format!(
            r#"
            scenario = {{ duration = "2m" }}
            firmware.app = ["1.0.0", "1.1.0"]
            fleet.first = {{ count = {count}, runs = "app@1.0.0", arrive = "20/s", link = "lte-m", connack_timeout = "5s", retry = "1s..9s full" }}
            fleet.second = {{ count = 10, runs = "app@1.0.0", link = "wifi" }}
            step = [{{ at = "4s", deploy = "app@1.1.0", to = "all" }}]
            fault = [{{ name = "cut", inject = "power-cut", who = "all", at = "flash any" }},
              {{ name = "busy", inject = "http 503", who = "all", chance = "30 %" }}]"#
        ))));
        let ids = (1..=10).flat_map(|n| [format!("first-{n:05}"), format!("second-{n:05}")]);
        let life = |id: String| {
            let index = outcome.recorder.device_index(&id).unwrap();
            let own = rows(&outcome).into_iter().filter(|row| row.device == index);
            // What is told of the server's side names its attempts, and who is in front of whom in that.
            own.filter_map(|row| Some((row.at, row.transition()?))).collect::<Vec<_>>()
        };
        ids.map(life).collect::<Vec<_>>()
    };
    let (ten, eleven) = (lives(10), lives(11));
    assert!(ten.iter().all(|life| life.len() > 5));
    assert_eq!(ten, eleven);
}

fn rows(outcome: &Outcome) -> Vec<TraceRow> {
    outcome.recorder.trace().unwrap().sorted()
}

/// Every file of a run but its log, which tells of the time of day.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
    named
        .filter(|(name, _)| name != "log.txt")
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}
