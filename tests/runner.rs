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
