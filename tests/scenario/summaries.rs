//! What each scenario comes to in virtual time, as a user reads it, with the fingerprint that any build of Squall has to reach.
//! `.ci/alike` plays the same with another build, and compares.

use std::path::Path;
use std::sync::Arc;

use squall::play::Status;
use squall::report::{Style, summary_text};
use squall::scenario::{Overrides, Source, load};
use squall::sim::play;

/// Scenarios, and with how many devices where all are many for a build without optimizations. Some expectations count devices, so that
/// their scenarios are played whole; the stages of a nation would be empty with so few.
const PLAYED: [(&str, Option<u64>, &[&str]); 15] = [
    ("quickstart", None, &[]),
    ("staged-rollout", Some(200), &[]),
    ("late-joiners", None, &[]),
    ("bad-firmware", None, &[]),
    ("power-cuts", None, &[]),
    ("retry-storm", Some(400), &[]),
    ("server-crash", Some(100), &[]),
    ("cheats", None, &[]),
    ("multi-package", Some(100), &[]),
    ("rural", Some(40), &[]),
    ("pull-request", None, &[]),
    (
        "nation",
        Some(40),
        &[
            "cohort.canary.members=2 of all",
            "cohort.early.members=4 of all,!cohort:canary",
            "cohort.tenth.members=8 of all,!cohort:canary|early",
        ],
    ),
    ("planted", None, &[]),
    ("planted-rare", None, &[]),
    ("planted-server", None, &[]),
];

#[test]
fn every_scenario_passes_in_virtual_time_and_its_summary_reads_like_this() {
    for (name, devices, set) in PLAYED {
        let overrides = Overrides {
            devices,
            set: set.iter().map(|set| (*set).to_owned()).collect(),
            ..Overrides::default()
        };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
        let mut plan = load(Source::Path(file), &overrides).unwrap_or_else(|errors| panic!("{errors}"));
        plan.file = Some(format!("scenarios/{name}.toml").into());
        let outcome = play(Arc::new(plan));
        let text = summary_text(&outcome, Style::Plain);
        assert_eq!(outcome.status(), Status::Passed, "{text}");
        let mut command = format!("squall sim {name}");
        command.extend(devices.map(|devices| format!(" -d {devices}")));
        command.extend(set.iter().map(|set| format!(" --set '{set}'")));
        let fingerprint = outcome.recorder.fingerprint();
        insta::assert_snapshot!(
            format!("summary-{name}"),
            format!("{command}\nfingerprint {fingerprint:016x}\n\n{text}")
        );
    }
}
