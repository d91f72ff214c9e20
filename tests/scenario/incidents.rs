//! The museum: each incident fails as history did, and passes with the better plan.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use squall::play::{Outcome, Status};
use squall::scenario::{Overrides, Source, load};
use squall::sim::play;

#[test]
fn every_incident_fails_as_history_did_and_passes_with_the_better_plan() {
    let incidents = incidents();
    assert!(incidents.len() >= 12, "{incidents:?}");
    for incident in &incidents {
        let harmed = played(incident);
        let fails = matches!(harmed.status(), Status::Failed | Status::Broken);
        assert!(fails, "{incident}: {:?} {}", harmed.status(), told(&harmed));
        let survived = played(&format!("{incident}-survived"));
        assert_eq!(survived.status(), Status::Passed, "{incident}-survived: {}", told(&survived));
    }
}

#[test]
fn every_incident_says_what_happened_where_that_is_told_and_what_would_have_helped() {
    for incident in incidents() {
        let text = |name: &str| fs::read_to_string(file(name)).unwrap();
        let (harmed, survived) = (text(&incident), text(&format!("{incident}-survived")));
        for part in ["What happened:", "Source:", "What would have helped:", "In Squall's words"] {
            assert!(harmed.contains(part), "{incident} does not say: {part}");
        }
        assert!(survived.contains("What helps:"), "{incident}-survived");
        let book = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/incidents.md")).unwrap();
        let told = [
            format!("| `{incident}`, "),
            format!("(incidents/{incident}.svg)"),
            format!("`{incident}-survived`. "),
        ];
        let missing: Vec<_> = told.iter().filter(|part| !book.contains(*part)).collect();
        assert!(missing.is_empty(), "docs/incidents.md lacks {missing:?}");
    }
}

/// Names of the pairs; a file without its other half is none.
fn incidents() -> Vec<String> {
    let names: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let (survived, harmed): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| name.ends_with("-survived"));
    let pairs: Vec<String> = survived
        .iter()
        .map(|name| name.trim_end_matches("-survived").to_owned())
        .collect();
    assert_eq!(harmed, pairs, "every incident has two files");
    pairs
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/incidents")
}

fn file(name: &str) -> PathBuf {
    folder().join(format!("{name}.toml"))
}

fn played(name: &str) -> Outcome {
    let plan = load(Source::Example(name.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    play(Arc::new(plan))
}

fn told(outcome: &Outcome) -> String {
    let failed: Vec<_> = outcome.judgements.iter().filter(|judgement| !judgement.passed).collect();
    format!("{failed:?} {:?} {:?}", outcome.findings, outcome.left_open)
}
