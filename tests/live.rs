//! `squall run` as a user calls it: real processes, real sockets, real time.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use squall::model::Phase;
use squall::tables::can_split;
use tempfile::TempDir;

/// A folder for run directories, with a scenario of thirty devices that has nothing to do for a minute.
struct Desk {
    folder: TempDir,
}

const WAITING: &str = r#"
scenario = { duration = "60s", ends = "duration" }
firmware.app = { "1.0.0" = { size = "8 KiB" } }
fleet.few = { count = 30, runs = "app@1.0.0" }
expect = ["devices count == 30"]
"#;

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("waiting.toml"), WAITING).unwrap();
        Desk { folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// `squall run` with these arguments, yet to be started.
    fn squall(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command
            .arg("run")
            .args(arguments)
            .arg("--out")
            .arg(self.out())
            .current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn summary(&self) -> serde_json::Value {
        let path = self.out().join("latest").join("summary.json");
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
    }
}

/// A run under way, with the process of its server.
struct Run {
    harness: Child,
    server: Pid,
}

impl Run {
    /// Starts a run and waits until its server is up and serves devices.
    fn start(desk: &Desk) -> Run {
        let mut harness = desk.squall(&["waiting.toml"]).spawn().unwrap();
        let parent = harness.id();
        let server = within(Duration::from_secs(30), || server_of(parent));
        let Some(server) = server else {
            harness.kill().unwrap();
            panic!("no server was started: {:?}", harness.wait_with_output());
        };
        // The server has some sockets of its own; with those of the devices the run is on.
        within(Duration::from_secs(30), || (sockets(server) >= 30).then_some(())).expect("devices connect");
        Run { harness, server }
    }

    fn harness_id(&self) -> Pid {
        Pid::from_child(&self.harness)
    }

    /// Waits for the harness, which is about to end.
    fn end(mut self) -> Output {
        let ended = within(Duration::from_secs(20), || self.harness.try_wait().unwrap());
        if ended.is_none() {
            self.harness.kill().unwrap();
            panic!("the run does not end: {:?}", self.harness.wait_with_output());
        }
        self.harness.wait_with_output().unwrap()
    }
}

/// Asks until there is an answer.
fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let step = Duration::from_millis(20);
    for _ in 0..limit.as_millis() / step.as_millis() {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::park_timeout(step);
    }
    ask()
}

/// The child of `parent` that serves.
fn server_of(parent: u32) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let serves = |id: &&str| {
        let line = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split('\0').nth(1) == Some("serve")
    };
    let server = children.split_whitespace().find(serves)?;
    Pid::from_raw(server.parse().ok()?)
}

fn sockets(process: Pid) -> usize {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())) else {
        return 0;
    };
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// Whether a process has ended; one that nobody has waited for has.
fn gone(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.ok()
        .is_none_or(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

fn assert_gone(process: Pid) {
    within(Duration::from_secs(10), || gone(process).then_some(())).expect("the server ends with its harness");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Plays a built-in example in both modes. Every count of states, versions and transitions must be the same; gives the summary of
/// the run in real time.
fn play_both(example: &str, devices: &str) -> serde_json::Value {
    let desk = Desk::new();
    let mut simulated = Command::new(env!("CARGO_BIN_EXE_squall"));
    simulated
        .args(["sim", example, "-d", devices, "--json", "--out"])
        .arg(desk.folder.path().join("sim"));
    let simulated = simulated.output().unwrap();
    assert_eq!(simulated.status.code(), Some(0), "{}", text(&simulated.stderr));
    let simulated: serde_json::Value = serde_json::from_slice(&simulated.stdout).unwrap();

    let output = desk.squall(&[example, "-d", devices]).output().unwrap();
    let (told, problems) = (text(&output.stdout), text(&output.stderr));
    let summary = desk.summary();
    crate::assert_passed_or_late(output.status.code(), &summary, &format!("{told}{problems}"));
    let valid = summary["harness"]["valid"] == true;
    assert_eq!(summary["status"], if valid { "passed" } else { "invalid" }, "{told}");
    let expectations = summary["expectations"].as_array().unwrap();
    assert!(expectations.iter().all(|expectation| expectation["passed"] == true), "{told}");
    assert_eq!(summary["errors"], serde_json::json!([]));
    for counts in [
        "/devices",
        "/transitions",
        "/coverage",
        "/findings",
        "/stuck",
        "/scenario/hash",
    ] {
        assert_eq!(summary.pointer(counts), simulated.pointer(counts), "{counts}");
    }
    summary
}

#[test]
fn quickstart_updates_every_device_over_real_sockets() {
    let summary = play_both("quickstart", "200");
    assert_eq!(summary["mode"], "run");
    assert_eq!(summary["devices"]["by_state"]["succeeded"], 200);
    assert_eq!(summary["devices"]["by_version"]["app@1.1.0"], 200);
    let harness = &summary["harness"];
    assert_eq!(harness["dropped"], 0);
    assert!(harness["memory_bytes"].as_u64().unwrap() > 1_000_000, "{harness}");
    assert!(summary["machine"]["cores"].as_u64().unwrap() >= 1);
    assert!(summary["started_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn bad_firmware_rolls_back_and_is_repaired_over_real_sockets() {
    let summary = play_both("bad-firmware", "100");
    assert_eq!(summary["devices"]["by_version"]["app@1.2.0"], 100);
}

#[test]
fn late_joiners_are_found_over_real_sockets() {
    let summary = play_both("late-joiners", "400");
    assert_eq!(summary["devices"]["by_version"]["app@2.1.0"], 270);
}

/// Plays a scenario in both modes; gives both summaries, the run's first. It must pass in both.
fn played_both(text_of_it: &str) -> (serde_json::Value, serde_json::Value) {
    let desk = Desk::new();
    std::fs::write(desk.folder.path().join("both.toml"), text_of_it).unwrap();
    let mut simulated = Command::new(env!("CARGO_BIN_EXE_squall"));
    simulated
        .args(["sim", "both.toml", "--json", "--out"])
        .arg(desk.folder.path().join("sim"));
    let simulated = simulated.current_dir(desk.folder.path()).output().unwrap();
    assert_eq!(
        simulated.status.code(),
        Some(0),
        "{}{}",
        text(&simulated.stdout),
        text(&simulated.stderr)
    );
    let output = desk.squall(&["both.toml"]).output().unwrap();
    let (told, problems) = (text(&output.stdout), text(&output.stderr));
    let summary = desk.summary();
    crate::assert_passed_or_late(output.status.code(), &summary, &format!("{told}{problems}"));
    let expectations = summary["expectations"].as_array().unwrap();
    assert!(expectations.iter().all(|expectation| expectation["passed"] == true), "{told}");
    for none in ["findings", "errors"] {
        assert_eq!(summary[none], serde_json::json!([]), "{none}");
    }
    (summary, serde_json::from_slice(&simulated.stdout).unwrap())
}

/// Planned and done of each fault.
fn faults_of(summary: &serde_json::Value) -> Vec<serde_json::Value> {
    let rows = summary["faults"].as_array().unwrap().iter();
    rows.map(|row| serde_json::json!([row["name"], row["planned"], row["done"]]))
        .collect()
}

/// Everything that can befall the server, one after the other in the middle of a rollout.
const TROUBLED: &str = r#"
scenario = { duration = "60s" }
server = { store = "disk", chase = "2s", limits = { offers = "5/s" } }
firmware.app = ["1.0.0", "1.1.0"]
fleet.few = { count = 40, runs = "app@1.0.0", reconnect = "200ms", retry = "200ms..2s half", flash = { like = "nrf52840", time_scale = 0.1 } }
step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
fault = [{ inject = "crash", who = "server", at = "1500ms", for = "300ms", every = "5s", times = 2 },
  { inject = "outage", who = "server", at = "2500ms", for = "500ms" },
  { inject = "freeze", who = "server", at = "3500ms", for = "500ms" },
  { inject = "disk-full", who = "server", at = "4500ms", for = "500ms" },
  { inject = "slow 2ms", who = "server", at = "5500ms", for = "500ms" }]
expect = ["devices{state:succeeded} share == 100 %", "devices{runs:app@1.1.0} share == 100 %", "disagreements count == 0",
  "faults{kind:crash,done:yes} count == 2"]
"#;

#[test]
fn a_server_that_is_killed_cut_off_stopped_and_filled_up_brings_every_device_to_its_end() {
    let (run, sim) = played_both(TROUBLED);
    let one = |name| serde_json::json!([name, 1, 1]);
    let all = [
        serde_json::json!(["crash", 2, 2]),
        one("outage"),
        one("freeze"),
        one("disk-full"),
        one("slow"),
    ];
    assert_eq!((faults_of(&run), faults_of(&sim)), (all.to_vec(), all.to_vec()));
    let windows = run["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 6, "{windows:?}");
}

/// Devices of a fleet are updated again and again while their server is killed at seeded moments and started again on its store.
#[test]
fn a_server_that_is_killed_at_any_moment_of_a_fleets_updates_loses_no_device() {
    let kills: u64 = std::env::var("SQUALL_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(10);
    let faults: String = (0..kills)
        .map(|kill| {
            let from = 1_500 + 600 * kill;
            format!(
                r#"{{ name = "kill-{kill}", inject = "crash", who = "server", at = "{from}ms..{}ms", for = "50ms..150ms" }},"#,
                from + 400
            )
        })
        .collect();
    let deploys: String = (0..=kills / 4)
        .map(|deploy| {
            let (at, version) = (1_000 + 2_400 * deploy, 1 + deploy);
            format!(r#"{{ at = "{at}ms", deploy = "app@1.{version}.0", to = "all" }},"#)
        })
        .collect();
    let versions: String = (0..=1 + kills / 4).map(|minor| format!(r#""1.{minor}.0","#)).collect();
    let scenario = format!(
        r#"
        scenario = {{ duration = "2m" }}
        server = {{ store = "disk", chase = "1s", limits = {{ offers = "30/s" }} }}
        firmware.app = [{versions}]
        fleet.few = {{ count = 60, runs = "app@1.0.0", reconnect = "100ms..500ms half", retry = "100ms..1s half", flash = {{ like = "nrf52840", time_scale = 0.05 }} }}
        step = [{deploys}]
        fault = [{faults}]
        expect = ["devices{{state:succeeded}} share == 100 %", "devices{{runs:app@1.{}.0}} share == 100 %", "disagreements count == 0",
          "faults{{kind:crash,done:yes}} count == {kills}", "manifests{{repeat:yes}} count > 0"]
        "#,
        1 + kills / 4
    );
    let (run, sim) = played_both(&scenario);
    assert_eq!(run["devices"]["by_state"], sim["devices"]["by_state"]);
    assert_eq!((faults_of(&run).len() as u64, faults_of(&run)), (kills, faults_of(&sim)));
}

#[test]
fn a_crashed_and_a_paced_rollout_end_in_real_time_as_in_virtual_time() {
    const QUICK: &str = r#"runs = "app@1.0.0", retry = "100ms..1s half", flash = { like = "nrf52840", time_scale = 0.05 }"#;
    let crash = crate::hurried(
        "server-crash",
        &[
            ("count = 1000", "count = 80"),
            (r#"link = "lte""#, r#"link = "lan""#),
            (r#"runs = "app@1.0.0""#, QUICK),
            (r#"chase = "20s""#, r#"chase = "2s""#),
            (r#"offers = "25/s""#, r#"offers = "12/s""#),
            (r#"at = "10s""#, r#"at = "1s""#),
            (
                r#"at = "12s..16s", for = "3s", every = "10s""#,
                r#"at = "1500ms..2s", for = "400ms", every = "2s""#,
            ),
        ],
    );
    let staged = crate::hurried(
        "staged-rollout",
        &[
            ("count = 2000", "count = 100"),
            (
                "\nruns = \"app@1.0.0\"",
                "\nretry = \"100ms..1s half\"\nflash = { like = \"nrf52840\", time_scale = 0.05 }\nruns = \"app@1.0.0\"",
            ),
            (r#"link = "lte-m""#, r#"link = "wifi""#),
            (r#"boot = { "confirm after 2s""#, r#"boot = { "confirm after 200ms""#),
            (r#""crash after 1s""#, r#""crash after 100ms""#),
            ("100 of all", "10 of all"),
            (r#"offers = "6/s""#, r#"offers = "40/s""#),
            (r#"at = "12s""#, r#"at = "2s""#),
            (r#"for = "10s""#, r#"for = "1s""#),
            (r#"for = "2s..5s""#, r#"for = "200ms..500ms""#),
        ],
    );
    std::thread::scope(|scope| {
        let played = [crash, staged].map(|scenario| scope.spawn(move || played_both(&scenario)));
        for (run, sim) in played.map(|both| both.join().expect("it passes in both modes")) {
            for counts in ["by_state", "by_version"] {
                assert_eq!(run["devices"][counts], sim["devices"][counts], "{counts}");
            }
            assert_eq!(run["scenario"]["hash"], sim["scenario"]["hash"]);
        }
    });
}

#[test]
fn power_cuts_and_several_packages_come_to_the_same_in_real_time_as_in_virtual_time() {
    let cuts = crate::hurried(
        "power-cuts",
        &[
            (r#"seed = 7 }"#, "seed = 7 }\nserver.chase = \"1s\""),
            ("count = 500", "count = 40"),
            (
                r#"flash = "nrf52840""#,
                r#"retry = "100ms..1s half", flash = { like = "nrf52840", time_scale = 0.05 }"#,
            ),
            (r#"at = "5s""#, r#"at = "1s""#),
            (r#"for = "1s..5s""#, r#"for = "50ms..200ms""#),
            (r#"at = "swapping 0 %..100 %""#, r#"at = "swapping 0 %..100 %", for = "50ms""#),
            (r#"at = "probation+100ms""#, r#"at = "probation+100ms", for = "50ms""#),
            (
                r#"at = "reverting 0 %..100 %""#,
                r#"at = "reverting 0 %..100 %", for = "50ms""#,
            ),
            ("count >= 1400", "count >= 110"),
        ],
    );
    let packages = crate::hurried(
        "multi-package",
        &[
            (r#"duration = "60s" }"#, "duration = \"60s\" }\nserver.chase = \"1s\""),
            ("count = 200", "count = 50"),
            ("succeed after 6s", "succeed after 600ms"),
            ("fail after 2s", "fail after 200ms"),
            (
                r#""sensor@0.9.0"]"#,
                r#""sensor@0.9.0"], flash = { like = "nrf52840", time_scale = 0.05 }"#,
            ),
            (r#"at = "3s""#, r#"at = "1s""#),
        ],
    );
    std::thread::scope(|scope| {
        let played = [cuts, packages].map(|scenario| scope.spawn(move || played_both(&scenario)));
        for (run, sim) in played.map(|both| both.join().expect("it passes in both modes")) {
            for counts in ["by_state", "by_version"] {
                assert_eq!(run["devices"][counts], sim["devices"][counts], "{counts}");
            }
            let planned = |summary: &serde_json::Value| -> Vec<serde_json::Value> {
                let rows = summary["faults"].as_array().unwrap().iter();
                rows.map(|row| serde_json::json!([row["name"], row["planned"]])).collect()
            };
            assert_eq!(planned(&run), planned(&sim));
        }
    });
}

#[test]
fn a_killed_harness_leaves_no_server_behind() {
    let desk = Desk::new();
    let run = Run::start(&desk);
    let server = run.server;
    kill_process(run.harness_id(), Signal::KILL).unwrap();
    run.end();
    assert_gone(server);
}

#[test]
fn a_killed_server_ends_the_run_with_a_message_and_files() {
    let desk = Desk::new();
    let run = Run::start(&desk);
    kill_process(run.server, Signal::KILL).unwrap();
    let output = run.end();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(told.contains("the server was killed by signal 9"), "{told}");
    assert_eq!(desk.summary()["status"], "error");
    assert!(files(&desk.out().join("latest")).contains(&"devices.csv".to_owned()));
}

#[test]
fn ctrl_c_ends_the_run_in_good_order() {
    let desk = Desk::new();
    let run = Run::start(&desk);
    let server = run.server;
    kill_process(run.harness_id(), Signal::INT).unwrap();
    let output = run.end();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(gone(server), "the server is waited for");
    assert_eq!(desk.summary()["status"], "interrupted");
    assert!(files(&desk.out().join("latest")).contains(&"timeline.csv".to_owned()));
    assert!(text(&output.stdout).starts_with("INTERRUPTED"), "{}", text(&output.stdout));
}

#[test]
fn a_second_signal_stops_at_once() {
    let desk = Desk::new();
    let run = Run::start(&desk);
    let server = run.server;
    // A stopped server does not end by itself, so that the end of the run waits for it.
    kill_process(server, Signal::STOP).unwrap();
    kill_process(run.harness_id(), Signal::INT).unwrap();
    kill_process(run.harness_id(), Signal::TERM).unwrap();
    let output = run.end();
    kill_process(server, Signal::CONT)
        .or_else(|error| if gone(server) { Ok(()) } else { Err(error) })
        .unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(text(&output.stdout), "");
    assert_gone(server);
}

#[test]
fn a_fleet_too_large_is_refused_with_the_arithmetic() {
    let desk = Desk::new();
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 400 && exec \"$0\" run quickstart -d 2000 --out \"$1\"",
            env!("CARGO_BIN_EXE_squall"),
        ])
        .arg(desk.out())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.starts_with("error: 2,000 devices need 6,100 file descriptors"), "{told}");
    assert!(told.contains("may hold 400 here"), "{told}");
    let fitting = match can_split() {
        true => "devices fit; use `-d 937`",
        false => "100 devices fit; use `-d 100`",
    };
    assert!(told.contains(fitting), "{told}");
    assert!(!desk.out().exists(), "nothing is written");
}

#[test]
fn a_fleet_beyond_the_limit_is_spread_over_tables() {
    if !can_split() {
        eprintln!("not run: threads may have no tables of their own here");
        return;
    }
    let desk = Desk::new();
    // As it is, this table would hold 100 devices.
    let script = "ulimit -n 400 && exec \"$0\" run quickstart -d 400 -q --out \"$1\"";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_squall")])
        .arg(desk.out())
        .output()
        .unwrap();
    let told = text(&output.stdout);
    let problems = text(&output.stderr);
    crate::assert_passed_or_late(output.status.code(), &desk.summary(), &format!("{told}{problems}"));
    assert!(told.contains("400 devices"), "{told}");
}

#[test]
fn a_full_descriptor_table_is_told_without_a_panic() {
    let desk = Desk::new();
    // Enough for the arithmetic of one device, but most of it is taken.
    let script = "ulimit -n 110; n=9; while [ $n -lt 100 ]; do eval \"exec $n</dev/null\"; n=$((n+1)); done; exec \"$0\" run quickstart -d 1 --out \"$1\"";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_squall")])
        .arg(desk.out())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(told.contains("Too many open files") && !told.contains("panicked"), "{told}");
}

#[test]
fn an_unwritable_folder_is_told_before_anything_starts() {
    let desk = Desk::new();
    std::fs::write(desk.out(), "a file where a folder should be").unwrap();
    let output = desk.squall(&["waiting.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.starts_with("error: ") && told.contains("runs: it is a file"), "{told}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_port_in_use_is_told_with_its_address() {
    let desk = Desk::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = desk
        .squall(&["waiting.toml", "--set", &format!("server.listen=\"{address}\"")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("the server did not start") && told.contains(&address), "{told}");
    assert_eq!(desk.summary()["status"], "error");
}

/// What a scenario of faults comes to: devices by state, and of each fault what was planned and what came about.
fn came_to(summary: &serde_json::Value) -> (serde_json::Value, Vec<serde_json::Value>) {
    let faults = summary["faults"].as_array().unwrap();
    let counts = faults
        .iter()
        .map(|row| serde_json::json!([row["name"], row["planned"], row["done"]]));
    (summary["devices"]["by_state"].clone(), counts.collect())
}

#[test]
fn faults_strike_in_real_time_as_in_virtual_time() {
    let desk = Desk::new();
    std::fs::write(desk.folder.path().join("cuts.toml"), CUTS).unwrap();
    let (run, simulated) = in_both_modes(&desk, "cuts.toml");
    assert_eq!(came_to(&run), came_to(&simulated));
}

/// The summaries of a scenario played in real time and in virtual time.
fn in_both_modes(desk: &Desk, scenario: &str) -> (serde_json::Value, serde_json::Value) {
    let ended = desk.squall(&[scenario]).output().unwrap();
    let run = desk.summary();
    let told = format!("{}{}", text(&ended.stdout), text(&ended.stderr));
    crate::assert_passed_or_late(ended.status.code(), &run, &told);
    let mut simulated = Command::new(env!("CARGO_BIN_EXE_squall"));
    simulated
        .args(["sim", scenario, "--out"])
        .arg(desk.out())
        .current_dir(desk.folder.path());
    assert_eq!(simulated.output().unwrap().status.code(), Some(0));
    (run, desk.summary())
}

#[test]
fn every_fault_of_devices_links_and_downloads_and_every_moment_comes_to_the_same_in_both_modes() {
    let desk = Desk::new();
    std::fs::write(desk.folder.path().join("every.toml"), EVERY).unwrap();
    let (run, simulated) = in_both_modes(&desk, "every.toml");
    let kinds = |summary: &serde_json::Value| -> std::collections::BTreeSet<String> {
        let faults = summary["faults"].as_array().unwrap().iter();
        faults
            .map(|row| row["kind"].as_str().unwrap().split(' ').next().unwrap().to_owned())
            .collect()
    };
    // Noise on a serial line is for boards alone.
    let mut known = squall::faults::FaultKind::WORDS
        .iter()
        .filter(|kind| **kind != "uart-garbage");
    assert!(known.all(|kind| kinds(&run).contains(*kind)), "{:?}", kinds(&run));
    // No attempt is cancelled or rejected here, and an idle device has none.
    let met = |phase: &&Phase| !matches!(**phase, Phase::Idle | Phase::Cancelled | Phase::Rejected);
    for phase in Phase::ALL.iter().filter(met) {
        assert!(
            EVERY.contains(&format!("at = \"{}", phase.word())),
            "no fault at {}",
            phase.word()
        );
    }
    let states = |summary: &serde_json::Value| summary["devices"]["by_state"].clone();
    assert_eq!(states(&run), states(&simulated));
    // Only requests for what a fault is narrowed to are struck.
    let done = |name: &str| {
        let mut rows = simulated["faults"].as_array().unwrap().iter();
        rows.find(|row| row["name"] == name).unwrap()["done"].as_u64().unwrap()
    };
    assert!(done("of-side") > 0 && done("of-app") == 0 && done("installing") == 1);
    // How many requests a window of time meets is the machine's: of those it is enough that some were struck.
    let struck = |summary: &serde_json::Value| -> Vec<serde_json::Value> {
        let rows = summary["faults"].as_array().unwrap().iter();
        rows.map(|row| match row["kind"] == "http 503" {
            true => serde_json::json!([row["name"], row["done"].as_u64() > Some(0)]),
            false => serde_json::json!([row["name"], row["planned"], row["done"]]),
        })
        .collect()
    };
    assert_eq!(struck(&run), struck(&simulated));
}

/// Each kind of fault on a device of its own, each moment at least once.
const EVERY: &str = r#"
scenario = { name = "every", duration = "60s" }
server = { chase = "1s" }
firmware.app = ["1.0.0", "1.1.0"]
firmware.side = { "1.0.0" = {}, "1.1.0" = { size = "8 KiB", install = { "succeed after 500ms" = "100 %" } } }
link.plain = { latency = "5ms", down = "10 Mbit/s", loss = "0 %", join = "0s" }
link.thin = { latency = "5ms", down = "1 Mbit/s", loss = "0 %", join = "0s" }
fleet.few = { count = 44, id = "d{n}", runs = "app@1.0.0", link = "plain", retry = "100ms", flash = { like = "nrf52840", time_scale = 0.02 } }
fleet.pair = { count = 3, id = "p{n}", runs = ["app@1.0.0", "side@1.0.0"], link = "plain", retry = "100ms", flash = { like = "nrf52840", time_scale = 0.02 } }
step = [
  { name = "go", at = "1s", deploy = "app@1.1.0", to = "few" },
  { name = "both", at = "1s", deploy = ["side@1.1.0", "app@1.1.0"], main = "app", to = "pair" }]
cohort = { few.members = "fleet:few", pair.members = "fleet:pair" }
fault = [
  { name = "a", inject = "power-cut", who = "device:d1", at = "swapping 50 %", for = "100ms" },
  { name = "b", inject = "reset", who = "device:d2|d24", at = "probation+100ms", for = "100ms" },
  { name = "c", inject = "freeze", who = "device:d3", at = "step:go+100ms", for = "300ms" },
  { name = "d", inject = "app-abort", who = "device:d4", at = "downloading 40 %" },
  { name = "e", inject = "flash-fail", who = "device:d5", at = "flash 5" },
  { name = "f", inject = "flash-fail permanent", who = "device:d6", at = "flash 5" },
  { name = "g", inject = "flash-flip 3", who = "device:d7", at = "downloading 30 %" },
  { name = "h", inject = "lose-record attempt", who = "device:d8", at = "probation" },
  { name = "i", inject = "power-cut", who = "device:d8", at = "probation+150ms", for = "100ms" },
  { name = "j", inject = "link-down", who = "device:d9", at = "1200ms", for = "300ms" },
  { name = "k", inject = "link thin", who = "device:d10", at = "start", for = "2s" },
  { name = "l", inject = "lose", who = "device:d11", only = "results", at = "start", for = "4s" },
  { name = "m", inject = "duplicate", who = "device:d12", only = "manifest", at = "start", for = "4s" },
  { name = "n", inject = "delay 50ms", who = "device:d13", only = "results", at = "start", for = "4s" },
  { name = "o", inject = "http 503", who = "device:d14", at = "start", for = "2s" },
  { name = "p", inject = "corrupt 3", who = "device:d15", at = "start", for = "4s" },
  { name = "q", inject = "truncate", who = "device:d16", at = "downloading 40 %", for = "10ms" },
  { name = "r", inject = "truncate short", who = "device:d17", at = "start", for = "2s" },
  { name = "s", inject = "stall", who = "device:d18", at = "downloading 40 %", for = "10ms" },
  { name = "t", inject = "power-cut", who = "device:d18", at = "downloading+1s", for = "100ms" },
  { name = "u", inject = "slow 400 kbit/s", who = "device:d19", at = "start", for = "2s" },
  { name = "v", inject = "truncate", who = "device:d20", at = "downloading 60 %", for = "10ms" },
  { name = "w", inject = "wrong-range", who = "device:d20", at = "start", for = "4s" },
  { name = "x", inject = "redirect", who = "device:d21", at = "start", for = "4s" },
  { name = "y", inject = "bad-tls", who = "device:d22", at = "start", for = "4s" },
  { name = "expiry", inject = "cert-expiry", who = "device:d40", at = "start", for = "700ms" },
  { name = "clock", inject = "wrong-clock 20000d behind", who = "device:d41", at = "start", for = "700ms" },
  { name = "full", inject = "flash-full", who = "device:d42", at = "start", for = "4s" },
  { name = "data", inject = "bad-data crash after 200ms, aside after 2", who = "device:d43", at = "start", for = "4s" },
  { name = "image", inject = "wrong-image app@1.0.0", who = "device:d44", only = "app@1.1.0", at = "start", for = "4s" },
  { name = "z", inject = "power-cut", who = "device:d23", at = "flash erase 4", for = "100ms" },
  { name = "back", inject = "power-cut", who = "device:d24", at = "reverting 50 %", for = "100ms" },
  { name = "any", inject = "power-cut", who = "device:d25", at = "flash any", for = "50ms", times = 3 },
  { name = "pause", inject = "app-pause", who = "device:d27", at = "downloading 40 %", for = "300ms" },
  { name = "held", inject = "app-pause", who = "device:d28", at = "staged", for = "200ms" },
  { name = "accepted", inject = "power-cut", who = "device:d29", at = "accepted", for = "50ms" },
  { name = "downloading", inject = "power-cut", who = "device:d30", at = "downloading 20 %..60 %", for = "50ms" },
  { name = "waiting", inject = "power-cut", who = "device:d30", at = "waiting", for = "50ms" },
  { name = "broken", inject = "truncate", who = "device:d31", at = "downloading 40 %", for = "10ms" },
  { name = "retrying", inject = "power-cut", who = "device:d31", at = "retrying+20ms", for = "50ms" },
  { name = "staged", inject = "reset", who = "device:d32", at = "staged", for = "50ms" },
  { name = "committing", inject = "power-cut", who = "device:d33", at = "committing", for = "50ms" },
  { name = "swapping", inject = "power-cut", who = "device:d34", at = "swapping 0 %..100 %", for = "50ms" },
  { name = "reverting", inject = "reset", who = "device:d35", at = "probation+100ms", for = "50ms" },
  { name = "once-more", inject = "power-cut", who = "device:d35", at = "reverting 0 %..100 %", for = "50ms" },
  { name = "op", inject = "power-cut", who = "device:d36", at = "flash 20..60", for = "50ms" },
  { name = "erase", inject = "power-cut", who = "device:d37", at = "flash erase 2..9", for = "50ms", times = 2 },
  { name = "some-erase", inject = "power-cut", who = "device:d38", at = "flash erase any", for = "50ms", times = 2 },
  { name = "installing", inject = "power-cut", who = "device:p1", at = "installing+200ms", for = "50ms" },
  { name = "of-side", inject = "slow 400 kbit/s", who = "device:p2", only = "side@1.1.0", at = "start", for = "6s" },
  { name = "of-app", inject = "slow 400 kbit/s", who = "device:p2", only = "app@1.0.0", at = "start", for = "6s" },
  { name = "failed", inject = "reset", who = "device:d6", at = "failed+100ms", for = "50ms" },
  { name = "ended", inject = "reset", who = "device:d39", at = "succeeded+100ms", for = "50ms" },
  { name = "again", inject = "reset", who = "device:d26", at = "6s..6500ms", for = "50ms", every = "300ms", times = 3 }]
expect = ["devices{state:in-progress} count == 0", "disagreements count == 0"]
"#;

#[test]
fn cheaters_come_to_the_same_in_both_modes_and_what_a_run_measures_of_itself_can_be_asked() {
    let desk = Desk::new();
    std::fs::write(desk.folder.path().join("cheats.toml"), CHEATS).unwrap();
    let (run, simulated) = in_both_modes(&desk, "cheats.toml");
    let devices = |summary: &serde_json::Value| summary["devices"].clone();
    assert_eq!(devices(&run), devices(&simulated));
    assert!(
        run["faults"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["done"].as_u64() > Some(0)),
        "{}",
        run["faults"]
    );
    let judged = |summary: &serde_json::Value| summary["expectations"].as_array().unwrap().len();
    assert_eq!(
        judged(&run),
        judged(&simulated) + 7,
        "those of the harness are judged in real time alone"
    );
    let has = |summary: &serde_json::Value, metric: &str| {
        let mut rows = summary["metrics"].as_array().unwrap().iter();
        rows.any(|row| row["name"] == metric && row["count"].as_u64() > Some(0))
    };
    for metric in ["messages", "throughput", "download_rate", "flash_ops"] {
        assert!(has(&run, metric) && has(&simulated, metric), "{metric}");
    }
    for metric in ["lateness", "server_cpu", "server_time"] {
        assert!(has(&run, metric) && !has(&simulated, metric), "{metric}");
    }
}

const CHEATS: &str = r#"
scenario = { name = "cheats", duration = "8s" }
firmware.app = { "1.0.0" = { size = "8 KiB" }, "1.1.0" = { size = "8 KiB" } }
fleet.honest = { count = 5, runs = "app@1.0.0", flash = { time_scale = 0.1 } }
fleet.crook = { count = 10, runs = "app@1.0.0", flash = { time_scale = 0.1 }, cheats = { success-before-boot = 1, claim-success = 1, hide-results = 1, replay-results = 1, bad-index = 1, garbage = 1, no-ack = 1, wrong-secret = 1, steal-topic = 1, flood = 1 } }
step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
expect = ["devices{fleet:honest,state:succeeded} count == 5", "disagreements{fleet:honest} count == 0",
  { that = "lateness count > 0", mode = "run" }, { that = "memory max > 1 MiB", mode = "run" }, { that = "cpu avg >= 0 %", mode = "run" },
  { that = "server_cpu avg >= 0 %", mode = "run" }, { that = "dropped count == 0", mode = "run" },
  { that = "server_time{op:connect} count >= 14", mode = "run" }, { that = "server_time p(50) < 10s", mode = "run" },
  "wear{fleet:honest} max == 2", "update_time_raw{fleet:honest} count == 5", "phase_time_raw{fleet:honest,phase:swapping} count == 5"]
"#;

/// Every moment that an edge sees, on devices whose flash and boots take a fiftieth of their time.
const CUTS: &str = r#"
scenario = { name = "cuts", duration = "60s" }
firmware.app = ["1.0.0", "1.1.0"]
link.plain = { latency = "5ms", down = "10 Mbit/s", loss = "0 %", join = "0s" }
fleet.few = { count = 20, runs = "app@1.0.0", link = "plain", retry = "100ms", flash = { like = "nrf52840", time_scale = 0.02 } }
step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
fault = [
  { name = "any", inject = "power-cut", who = "all", at = "flash any", for = "100ms", times = 2 },
  { name = "swap", inject = "power-cut", who = "5 of all", at = "swapping 50 %", for = "100ms" },
  { name = "test", inject = "reset", who = "3 of all", at = "probation+200ms", for = "100ms" },
  { name = "down", inject = "link-down", who = "4 of all", at = "1200ms", for = "300ms" },
  { name = "cut", inject = "truncate", who = "all", at = "downloading 40 %", for = "10ms" }]
expect = ["devices{state:in-progress} count == 0", "disagreements count == 0"]
"#;
