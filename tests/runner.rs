//! All tests across modules, in one binary.

mod boards;
mod cli;
mod dashboard;
mod device;
mod explore;
mod host;
mod image;
mod invariants;
mod live;
mod mcuboot;
mod outside;
mod qemu;
mod readme;
mod report;
mod scenario;
mod server;
mod shards;
mod sim;
mod storm;
mod target;
mod tidy;
mod wire;

/// Whether the foreign program `name` is there. On a bare machine its absence is said and the test ends; where
/// `SQUALL_REQUIRE_TOOLS` is set (as `.ci/run` does, which installs them) it is a failure.
fn foreign_tool(name: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    assert!(
        found || std::env::var_os("SQUALL_REQUIRE_TOOLS").is_none(),
        "{name} is missing, and SQUALL_REQUIRE_TOOLS is set"
    );
    if !found {
        eprintln!("not run: {name} missing");
    }
    found
}

/// A scenario that comes with it, with these places written otherwise.
fn hurried(name: &str, places: &[(&str, &str)]) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    let text = std::fs::read_to_string(path).unwrap();
    places.iter().fold(text, |text, (written, hurried)| {
        assert!(text.contains(written), "`{written}` is not in {name}");
        text.replace(written, hurried)
    })
}

/// How a run ended that was to pass: with 0, or with 102 for the one reason that other tests on the same machine can give, a harness that
/// woke late. That it dropped something, ran out of anything or kept a thread busy is its own doing and fails the test.
fn assert_passed_or_late(code: Option<i32>, summary: &serde_json::Value, told: &str) {
    let reasons = summary["harness"]["reasons"].as_array().unwrap();
    let late = |reason: &serde_json::Value| reason.as_str().is_some_and(|reason| reason.contains("timers woke"));
    assert!(reasons.iter().all(late), "{reasons:?}");
    assert_eq!(summary["harness"]["valid"], reasons.is_empty(), "{reasons:?}");
    assert_eq!(code, Some(if reasons.is_empty() { 0 } else { 102 }), "{told}");
}
