//! Large fleets on real sockets: the storms, played small, a server that stalls, and a harness that others keep from the processor.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Plays a scenario under these words before the command; gives what the process said and its summary.
fn run(scenario: &str, under: &[&str], arguments: &[&str]) -> (Output, Value) {
    let folder: TempDir = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("storm.toml"), scenario).unwrap();
    let program = [
        under,
        &[env!("CARGO_BIN_EXE_squall"), "run", "storm.toml", "--out", "runs"],
        arguments,
    ]
    .concat();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let summary = std::fs::read(folder.path().join("runs/latest/summary.json"));
    let summary = summary.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output, serde_json::from_slice(&summary).unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Everything that was expected has come true.
fn assert_passed((output, summary): &(Output, Value)) {
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
    crate::assert_passed_or_late(output.status.code(), summary, &told);
    let expectations = summary["expectations"].as_array().unwrap();
    assert!(
        expectations.iter().all(|expectation| expectation["passed"] == true),
        "{expectations:?}"
    );
}

#[test]
fn both_storms_update_every_device() {
    let plain = crate::hurried(
        "storm",
        &[
            ("count = 100000", "count = 300"),
            (r#"arrive = "2000/s""#, r#"arrive = "300/s""#),
            (r#"at = "55s""#, r#"at = "1500ms""#),
        ],
    );
    let tls = crate::hurried(
        "storm-tls",
        &[("count = 50000", "count = 150"), (r#"at = "105s""#, r#"at = "1500ms""#)],
    );
    std::thread::scope(|scope| {
        let plain = scope.spawn(|| run(&plain, &["env"], &[]));
        let tls = run(&tls, &["env"], &[]);
        let plain = plain.join().unwrap();
        assert_passed(&plain);
        assert_passed(&tls);
        assert_eq!(plain.1["devices"]["by_state"]["succeeded"], 300);
        assert_eq!(tls.1["devices"]["by_state"]["succeeded"], 150);
    });
}

/// The server is stopped for 5 s while devices come in, a few at a time. Each of them tries again and again; what it waited in all is in the
/// times from the planned moment alone, and a harness that counted from each try would not have seen it. Without the stall both take from
/// 1.7 s to 4.1 s: the device subscribes a drawn while after it has connected.
#[test]
fn a_server_that_stalls_shows_in_times_from_the_plan_and_not_in_raw_ones() {
    let played = run(
        r#"
        scenario = { duration = "11s" }
        server.tls = "off"
        firmware.app = { "1.0.0" = { size = "8 KiB" } }
        fleet.few = { count = 300, runs = "app@1.0.0", arrive = "30/s" }
        fault = [{ inject = "freeze", who = "server", at = "3s", for = "5s" }]
        expect = ["connect_time p(99) > 6500ms", "connect_time_raw p(99) < 5500ms", "connects{result:timeout} count > 200"]
        "#,
        &["env"],
        &[],
    );
    assert_passed(&played);
}

/// Runs what follows where a descriptor table holds so little that the fleet is spread over several, in the harness and in its server.
const SMALL_TABLES: [&str; 3] = ["sh", "-c", r#"ulimit -n 400 && exec "$0" "$@""#];

/// Its doors are shut for a while, with a rollout half done, and then it is killed: each of its threads has listeners and connections in a
/// descriptor table of its own, and the next process must have them again.
#[test]
fn an_outage_and_a_crash_befall_a_server_whose_threads_have_tables_of_their_own() {
    if !squall::tables::can_split() {
        eprintln!("not run: threads may have no tables of their own here");
        return;
    }
    let played = run(
        r#"
        scenario = { duration = "12s" }
        server = { tls = "off", store = "disk", limits = { offers = "60/s" } }
        firmware.app = { "1.0.0" = { size = "8 KiB" }, "1.1.0" = { size = "8 KiB", boot = "confirm after 100ms" } }
        fleet.few = { count = 300, runs = "app@1.0.0", arrive = "300/s", reconnect = "200ms..1s" }
        step = [{ at = "3s", deploy = "app@1.1.0", to = "all" }]
        fault = [
          { name = "shut", inject = "outage", who = "server", at = "4s", for = "2s" },
          { name = "killed", inject = "crash", who = "server", at = "8s", for = "1s" }]
        expect = ["devices{runs:app@1.1.0} share == 100 %", "disagreements count == 0", "connects{result:refused} count >= 300"]
        "#,
        &SMALL_TABLES,
        &[],
    );
    assert_passed(&played);
    assert_eq!(played.1["devices"]["by_state"]["succeeded"], 300);
    // Four tables of 400 carry the fleet, no one of which carries it alone.
    let shards = played.1["harness"]["threads"].as_array().unwrap().iter();
    let shards = shards.filter(|thread| thread["name"].as_str().unwrap().starts_with("shard-"));
    assert_eq!(shards.count(), 4);
    // Before Linux 6.2 the system does not tell.
    if let Some(descriptors) = played.1["harness"]["descriptors"].as_object() {
        let most = descriptors["most"].as_u64().unwrap();
        assert_eq!(descriptors["of"], 400);
        assert!((75..=400).contains(&most), "a quarter of the fleet and more: {most}");
    }
}

/// Processes that do nothing and want a processor for it; they end with this value.
struct Burners(Vec<Child>);

impl Burners {
    fn on(processor: &str) -> Burners {
        let burn = || {
            let mut command = Command::new("taskset");
            command.args(["-c", processor, "sh", "-c", "while :; do :; done"]);
            command.spawn().unwrap()
        };
        Burners((0..3).map(|_| burn()).collect())
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for burner in &mut self.0 {
            let _ = burner.kill();
            let _ = burner.wait();
        }
    }
}

/// The first processor that this process may run on.
fn processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let listed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap();
    listed.trim().split([',', '-']).next().unwrap().to_owned()
}

/// What it was to hold it does not, and that is no fault of the server's: on the one processor of the harness others stand before it.
#[test]
fn a_starved_harness_says_so_and_blames_no_server() {
    if !crate::foreign_tool("taskset") {
        return;
    }
    let processor = processor();
    let place = processor.clone();
    // The harness is up by then, in most cases: starting among the others would only take long.
    let burners = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_secs(1));
        Burners::on(&place)
    });
    let (output, summary) = run(
        r#"
        scenario = { duration = "6s", ends = "duration" }
        server.tls = "off"
        firmware.app = { "1.0.0" = { size = "8 KiB" } }
        fleet.few = { count = 60, runs = "app@1.0.0", arrive = "60/s from 1s" }
        expect = ["connect_time p(99) < 1ms"]
        "#,
        &["nice", "-n", "15", "taskset", "-c", &processor],
        &[],
    );
    drop(burners.join().unwrap());
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(102), "{told}{}", text(&output.stderr));
    assert_eq!(summary["expectations"][0]["passed"], false, "{told}");
    let reasons = summary["harness"]["reasons"].as_array().unwrap();
    assert!(
        reasons.iter().any(|reason| reason.as_str().unwrap().contains("limit 50 ms")),
        "{reasons:?}"
    );
    let carries = &summary["harness"]["carries"];
    assert!(carries["devices"].as_u64().unwrap() < 60, "{carries}");
    assert!(told.contains("this machine carries some"), "{told}");
}
