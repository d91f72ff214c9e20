//! The command line as a whole: help, bad input, starters, completions, what a machine can carry.

mod advise;
mod picture;
mod schemas;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Verbs that are there.
const VERBS: [&str; 19] = [
    "run",
    "sim",
    "explore",
    "advise",
    "picture",
    "replay",
    "check",
    "serve",
    "report",
    "compare",
    "merge",
    "image",
    "bench",
    "qemu",
    "new",
    "doctor",
    "profiles",
    "completions",
    "schema",
];

fn squall(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for variable in ["SQUALL_SEED", "SQUALL_OUT", "COLUMNS"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The lines that a verb answers bad input with, and its exit code.
fn refused(folder: &Path, line: &str) -> String {
    let output = squall(folder, &line.split(' ').collect::<Vec<_>>());
    assert!(
        output.stdout.is_empty(),
        "`squall {line}` says on stdout: {}",
        text(&output.stdout)
    );
    format!(
        "$ squall {line}\n{}exit code {}\n",
        text(&output.stderr),
        output.status.code().unwrap()
    )
}

#[test]
fn every_verb_answers_bad_input_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("taken.toml"), "").unwrap();
    let played = squall(folder.path(), &["sim", "-q", "quickstart", "-d", "3", "--out", "played"]);
    assert_eq!(played.status.code(), Some(0), "{}", text(&played.stderr));
    std::os::unix::fs::symlink("played/latest", folder.path().join("sound")).unwrap();
    let lines = [
        "rnu quickstart",
        "exploer quickstart",
        "frobnicate",
        "image inspcet a.bin",
        "merge a",
        "compare main",
        "compare main runs/none",
        "bench speed",
        "bench sim --devices many",
        "bench sim --devices 0",
        "qemu run none.bin",
        "qemu sweep none.bin",
        "qemu sweep none.bin --update other.bin",
        "run",
        "run quikstart",
        "run quickstart --fps 0",
        "run quickstart --seed x",
        "run quickstart --set fleet.demo.cout=3",
        "run quickstart --metrics nowhere",
        "run quickstart --metrics 0.0.0.0:9464",
        "run quickstart --metrics-for-all",
        "sim quickstart --watch fast",
        "sim quickstart --watch 10x",
        "sim quickstart --watch 10x --repeat 3",
        "sim quickstart --repeat 0",
        "sim quickstart --report page.pdf",
        "sim quickstart --repeat 2 --report page.html",
        "sim quickstart --baseline none",
        "explore quickstart --seeds none",
        "explore quickstart --seeds 0",
        "explore quickstart --for soon",
        "explore quickstart --jobs 0",
        "replay runs/none",
        "replay runs/none --device demo-00001",
        "replay runs/none --from 3s",
        "replay runs/none --device demo-00001 --without cut",
        "replay sound --device demo-00099",
        "replay sound --device demo-00001 --from soon",
        "replay sound --without cut",
        "check none.toml",
        "serve --listen nowhere",
        "serve --admin 192.0.2.1:9000 --tls off",
        "serve --tls none.pem",
        "serve --tls none.pem,none.key",
        "serve --limit connections=few",
        "serve --first-attempt 0",
        "serve --chase 30",
        "serve --deadline soon",
        "report runs/none",
        "report played",
        "report",
        "report sound --report page.pdf",
        "report sound sound --report page.html",
        "compare sound sound --force weather",
        "compare sound sound --tolerance 90",
        "compare sound sound --gate update_time",
        "compare --run quickstart --a fleet.demo.cout=3",
        "compare --run quickstart --runs 0",
        "image inspect none.bin",
        "new",
        "new Night_Rollout",
        "new taken",
        "profiles nb-iott",
        "completions cmd",
        "schema summry",
        "schema frobnicate",
        "doctor now",
    ];
    let said: Vec<_> = lines.iter().map(|line| refused(folder.path(), line)).collect();
    for (line, said) in lines.iter().zip(&said) {
        assert!(said.ends_with("exit code 2\n"), "`squall {line}`: {said}");
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn standard_output_that_is_full_is_told_and_no_defect() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command
        .args(["sim", "-q", "quickstart", "-d", "3"])
        .current_dir(folder.path());
    let output = command.stdin(Stdio::null()).stdout(full).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(
        said,
        "error: standard output cannot be written: No space left on device (os error 28)\n"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        folder.path().join("runs/latest/summary.json").is_file(),
        "every file is written"
    );
}

#[test]
fn the_help_of_every_verb_has_examples() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&squall(folder.path(), &["--help"]).stdout);
    for verb in VERBS {
        assert!(help.contains(&format!("\n  {verb} ")), "`{verb}` is not in the help:\n{help}");
        let said = text(&squall(folder.path(), &[verb, "--help"]).stdout);
        let examples = said.lines().filter(|line| line.trim_start().starts_with("squall ")).count();
        assert!(
            examples > 0 || ["image", "qemu"].contains(&verb),
            "`squall {verb} --help` has no example:\n{said}"
        );
    }
}

#[test]
fn a_starter_passes_the_strict_check_and_its_simulation() {
    let folder = tempfile::tempdir().unwrap();
    let made = squall(folder.path(), &["new", "night-rollout"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let checked = squall(folder.path(), &["check", "--strict", "night-rollout.toml"]);
    assert_eq!(
        (checked.status.code(), text(&checked.stdout)),
        (Some(0), "ok\n".to_owned()),
        "{}",
        text(&checked.stderr)
    );
    let played = squall(folder.path(), &["sim", "-q", "night-rollout.toml"]);
    assert_eq!(played.status.code(), Some(0), "{}", text(&played.stdout));
    assert!(
        text(&played.stdout).starts_with("PASSED  night-rollout: 2 expectations"),
        "{}",
        text(&played.stdout)
    );
}

#[test]
fn built_in_scenarios_work_anywhere_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let played = squall(folder.path(), &["sim", "-q", "quickstart", "-d", "5"]);
    assert_eq!(played.status.code(), Some(0), "{}", text(&played.stderr));
    assert!(folder.path().join("runs/latest/summary.json").is_file());
}

#[test]
fn completions_know_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&squall(folder.path(), &["completions", shell]).stdout);
        for verb in VERBS {
            assert!(script.contains(verb), "{shell} does not complete `{verb}`");
        }
    }
}

#[test]
fn profiles_name_their_sources() {
    let folder = tempfile::tempdir().unwrap();
    let all = text(&squall(folder.path(), &["profiles"]).stdout);
    for name in ["lan", "wifi", "nb-iot", "satellite", "nrf52840", "nrf9160"] {
        assert!(all.contains(&format!("\n  {name} ")), "{all}");
    }
    for name in ["azure", "thread-device", "nb-iot-edge", "nrf54l15", "field", "no-herd"] {
        let read = squall(folder.path(), &["profiles", name, "--json"]);
        let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
        let figures = read[0]["figures"].as_array().unwrap();
        let sourced = |figure: &serde_json::Value| figure["source"].as_str().is_some_and(|source| source.len() > 5);
        assert!(read[0]["name"] == name && figures.iter().all(sourced), "{read}");
    }
    let one = text(&squall(folder.path(), &["profiles", "nrf52840"]).stdout);
    assert!(one.contains("page_erase") && one.contains("tERASEPAGE"), "{one}");
}

#[test]
fn the_doctor_looks_at_what_a_run_needs() {
    let folder = tempfile::tempdir().unwrap();
    let output = squall(folder.path(), &["doctor"]);
    let said = text(&output.stdout);
    for what in [
        "cores",
        "memory",
        "descriptors",
        "ports",
        "loopback",
        "run directories",
        "openssl",
        "chromium",
        "qemu-system-arm",
    ] {
        assert!(said.contains(what), "{what}:\n{said}");
    }
    assert_eq!(output.status.code(), Some(i32::from(said.contains('✗'))), "{said}");
}

#[test]
fn verbose_tells_what_happens_and_standard_output_stays_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let aloud = squall(folder.path(), &["sim", "-v", "bad-firmware", "-d", "5"]);
    let said = text(&aloud.stderr);
    for what in [
        "step `bad` fires",
        "step `fix` fires",
        "rolled back",
        "cam-00004  probation -> succeeded",
    ] {
        assert!(said.contains(what), "{what}:\n{said}");
    }
    let quiet = squall(folder.path(), &["sim", "-q", "bad-firmware", "-d", "5"]);
    assert_eq!((text(&quiet.stderr), quiet.stdout), (String::new(), aloud.stdout));
}

#[test]
fn color_is_only_for_terminals_that_want_it() {
    let folder = tempfile::tempdir().unwrap();
    let played = squall(folder.path(), &["sim", "-q", "quickstart", "-d", "2"]);
    assert!(!text(&played.stdout).contains('\u{1b}'));
}

#[test]
fn a_running_run_is_scraped() {
    const SCENARIO: &str = r#"
        scenario = { name = "scraped", duration = "60s", ends = "duration", settle = "off" }
        server.tls = "off"
        firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "unconfirmed" } }
        fleet.demo = { count = 3, runs = "app@1.0.0" }
        step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices count == 3"]
    "#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scraped.toml"), SCENARIO).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["run", "scraped.toml", "--metrics", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = said
        .find_map(|line| line.unwrap().strip_prefix("metrics at http://").map(str::to_owned))
        .expect("it says where");
    let address = address.strip_suffix("/metrics").unwrap();
    let scrape = |path: &str| {
        let mut socket = TcpStream::connect(address).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let (_sender, clock) = std::sync::mpsc::channel::<()>();
    let mut page = String::new();
    for _ in 0..600 {
        page = scrape("/metrics");
        if page.contains("squall_phases{phase=\"probation\"} 3\n") {
            break;
        }
        let _ = clock.recv_timeout(Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in [
        "HTTP/1.1 200 OK",
        "content-type: text/plain; version=0.0.4; charset=utf-8",
        "# TYPE squall_devices gauge",
        "squall_devices{cohort=\"all\",state=\"in-progress\"} 3",
        "# TYPE squall_image_bytes_total counter",
        "squall_phases{phase=\"probation\"} 3",
        "squall_run_info{scenario=\"scraped\",seed=\"1\",mode=\"run\"} 1",
        "squall_connect_time_seconds{quantile=\"0.99\"}",
    ] {
        assert!(page.contains(line), "{line}:\n{page}");
    }
    let body = page.split("\r\n\r\n").nth(1).unwrap();
    for line in body.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("squall_") && value.parse::<f64>().is_ok(), "{line}");
    }
}
