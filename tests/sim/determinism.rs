//! One plan, one outcome: whatever process plays it, whoever watches, and whoever else takes part.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use squall::measure::TraceRow;
use squall::play::Outcome;
use squall::sim::{Pulse, play, play_shown};

use super::example;

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
