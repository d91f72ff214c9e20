//! `serve --judge` with devices of the live driver over real sockets: those with a defect are found by name, the sound ones never.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rumqttc::mqttbytes::v4;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use squall::device::Defect;
use squall::live::{PlayOptions, Progress, play};

use super::images::offered;
use super::mqtt::Client;
use super::rig::{Serve, request};
use crate::sim::plan_of;

/// Defects that can be seen from the server's side, the fleet that has each, and the rule that must find it.
const PLANTED: [(&str, Defect, &str); 14] = [
    ("wraps", Defect::WrapResults, "results-are-one-map"),
    ("adds", Defect::AddKey, "keys-of-the-table"),
    ("empties", Defect::SendEmptyList, "well-formed-results"),
    ("invents", Defect::ReportUnknownId, "no-unknown-attempt"),
    ("changes", Defect::ChangeReported, "reported-result-never-changes"),
    ("forgets", Defect::ForgetReported, "reports-only-grow"),
    ("reverses", Defect::HandlersOutOfOrder, "handler-after-success"),
    ("rushes", Defect::SucceedWithoutBoot, "no-success-before-confirmation"),
    ("mixes", Defect::MetadataLate, "metadata-then-subscriptions"),
    ("repeats", Defect::RunIdConstant, "run-id-names-the-boot"),
    ("leaks", Defect::LeakSecret, "secrets-stay"),
    ("again", Defect::IgnoreVersionRecord, "nothing-for-installed-versions"),
    ("unlucky", Defect::SucceedUnconfirmed, "main-succeeds-running"),
    ("leaves", Defect::LeaveRestPending, "failure-ends-the-rest"),
];

/// Every fleet has two devices; `sound` has ten, which go through everything that the others do.
fn scenario() -> String {
    let fleets: String = PLANTED
        .iter()
        .map(|(name, _, _)| format!("fleet.{name} = {{ count = 2, runs = [\"app@1.0.0\", \"modem@2.0.0\"], flash = {{ like = \"nrf52840\", time_scale = 0.05 }} }}\n"))
        .collect();
    format!(
        r#"
        scenario = {{ duration = "16s", settle = "off" }}
        firmware.modem = {{ "2.0.0" = {{}}, "2.1.0" = {{ size = "8 KiB", install = "succeed after 100ms" }}, "2.2.0" = {{ size = "8 KiB", install = "fail after 100ms" }} }}
        firmware.app = {{ "1.0.0" = {{ size = "16 KiB" }}, "1.1.0" = {{ size = "16 KiB", boot = "confirm after 500ms" }}, "1.2.0" = {{ size = "16 KiB", boot = "crash after 3s" }} }}
        fleet.sound = {{ count = 10, runs = ["app@1.0.0", "modem@2.0.0"], flash = {{ like = "nrf52840", time_scale = 0.05 }} }}
        {fleets}
        cohort.crashing.members = "fleet:unlucky"
        cohort.failing.members = "fleet:leaves"
        step = [
          {{ name = "first", at = "1s", deploy = ["modem@2.1.0", "app@1.1.0"], main = "app", to = "all" }},
          {{ name = "second", at = "6s", deploy = ["modem@2.1.0", "app@1.1.0"], main = "app", to = "all" }},
          {{ name = "crash", at = "9s", deploy = "app@1.2.0", to = "crashing" }},
          {{ name = "fail", at = "9s", deploy = ["modem@2.2.0", "app@1.1.0"], main = "app", to = "failing" }},
        ]
        "#
    )
}

#[test]
fn defects_are_found_from_outside_over_real_sockets_and_sound_devices_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(&folder, r#"exec "$SQUALL" "$@" --judge"#);
    let mut plan = plan_of(&scenario());
    for fleet in &mut plan.fleets {
        let planted = PLANTED.iter().find(|(name, _, _)| *name == fleet.name);
        Arc::make_mut(&mut fleet.behaviors).defect = planted.map(|(_, defect, _)| *defect);
    }
    let log = folder.path().join("log.txt");
    let outcome = play(Arc::new(plan), options(program, &log));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(outcome.errors.is_empty(), "{:?}\n{log}", outcome.errors);
    let found = findings(&log);
    for (fleet, _, rule) in PLANTED {
        let rules = found.get(fleet).cloned().unwrap_or_default();
        assert!(rules.contains(rule), "{fleet} broke {rules:?}, not {rule}\n{log}");
    }
    assert_eq!(found.get("sound"), None, "{log}");
    let known: BTreeSet<_> = PLANTED.iter().map(|(fleet, _, _)| (*fleet).to_owned()).collect();
    assert!(found.keys().all(|fleet| known.contains(fleet)), "{:?}", found.keys());
    assert!(log.contains("judge: 38 devices"), "{log}");
}

/// A program by whose name the harness starts its server.
fn script(folder: &tempfile::TempDir, body: &str) -> PathBuf {
    let program = folder.path().join("server");
    let text = format!("#!/bin/sh\nSQUALL='{}'\n{body}\n", env!("CARGO_BIN_EXE_squall"));
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn options(server_program: PathBuf, log: &Path) -> PlayOptions {
    PlayOptions {
        start_at: None,
        images: log.with_file_name("images"),
        server_program,
        log: Some(log.to_owned()),
        progress: Progress::Off,
        viewers: Vec::new(),
        before_exit: || {},
        started_at: None,
    }
}

/// Adds a defect to the orders that the harness gives, and passes the rest of what it says on.
const BENT: &str = r#"IFS= read -r orders
{ printf '%s,"defect":"open-images"}\n' "${orders%\}}"; cat; } | "$SQUALL" "$@""#;

#[test]
fn a_server_that_gives_images_away_breaks_a_run() {
    let scenario = r#"
        scenario = { duration = "6s", settle = "off" }
        firmware.app = { "1.0.0" = { size = "8 KiB" }, "1.1.0" = { size = "8 KiB", boot = "confirm after 100ms" } }
        fleet.thief = { count = 2, runs = "app@1.0.0", cheats = { wrong-secret = 2 } }
        step = [{ at = "1s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices count == 2"]
    "#;
    let folder = tempfile::tempdir().unwrap();
    for (body, broken) in [(r#"exec "$SQUALL" "$@""#, &[][..]), (BENT, &["secrets-open-images"])] {
        let log = folder.path().join("log.txt");
        let outcome = play(Arc::new(plan_of(scenario)), options(script(&folder, body), &log));
        let rules: Vec<_> = outcome.findings.iter().map(|finding| finding.rule).collect();
        assert_eq!((&rules[..], &outcome.errors[..]), (broken, &[][..]));
        assert_eq!(outcome.status().exit_code() == 100, !broken.is_empty());
    }
}

#[test]
fn a_judging_server_that_gives_images_away_finds_itself_out() {
    let mut command = super::rig::squall(&["--child", "--tls", "off", "--judge"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, r#"{{"epoch_monotonic_ns":0,"defect":"open-images"}}"#).unwrap();
    let mut serve = Serve::from_child(child);
    serve.deploy_to_all("d");
    let (path, secret) = offered(&serve, "meter-1");
    let wrong: String = secret.chars().rev().take(24).collect();
    let authorization = format!("OtaSecret {wrong}");
    let stolen = request(serve.images(), "GET", &path, &[("Authorization", &authorization)], b"");
    assert_eq!(stolen.status, 200);
    drop(input);
    let code = serve.exit_code();
    let mut last = String::new();
    std::io::Read::read_to_string(&mut serve.stdout, &mut last).unwrap();
    let verdict: Value = serde_json::from_str(last.trim()).unwrap_or_else(|error| panic!("{error}: {last}"));
    let rules: Vec<_> = verdict["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| &finding["rule"])
        .collect();
    assert!(rules.contains(&&Value::from("secrets-open-images")), "{verdict}");
    assert_eq!(code, Some(100));
}

/// Rules broken, by fleet, as the lines on standard error tell them: `judge: 1.5 s meter-1: rule: evidence`.
fn findings(log: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for line in log.lines() {
        let Some((_, told)) = line.split_once("judge: ") else {
            continue;
        };
        let mut parts = told.split(": ");
        let (Some(place), Some(rule)) = (parts.next(), parts.next()) else {
            continue;
        };
        if let Some((_, device)) = place.split_once(" s ") {
            let fleet = device.rsplit_once('-').map_or(device, |(fleet, _)| fleet);
            found.entry(fleet.to_owned()).or_default().insert(rule.to_owned());
        }
    }
    found
}

/// Ends a judging server, and gives its exit code and its last line.
fn ended(mut serve: Serve) -> (Option<i32>, Value) {
    kill_process(Pid::from_child(&serve.child), Signal::TERM).unwrap();
    let code = serve.exit_code();
    let mut last = String::new();
    std::io::Read::read_to_string(&mut serve.stdout, &mut last).unwrap();
    (
        code,
        serde_json::from_str(last.trim()).unwrap_or_else(|error| panic!("{error}: {last}")),
    )
}

#[test]
fn a_judging_server_ends_with_100_when_a_rule_broke_and_with_0_when_none_did() {
    let serve = Serve::start(&["--tls", "off", "--judge"]);
    let idle = Client::connect(&serve, "idle");
    drop(idle);
    let (code, verdict) = ended(serve);
    assert_eq!(
        (code, &verdict["schema"], &verdict["findings"]),
        (Some(0), &"squall.judge/1".into(), &Value::Array(vec![]))
    );

    let serve = Serve::start(&["--tls", "off", "--judge"]);
    let mut wrong = Client::connect(&serve, "meter-1");
    // A subscription ahead of the session metadata.
    wrong.subscribe("ota-cbor-c2d");
    wrong.send(v4::Packet::PingReq);
    assert_eq!(wrong.receive(), Some(v4::Packet::PingResp));
    let (code, verdict) = ended(serve);
    let finding = &verdict["findings"][0];
    assert_eq!(
        (code, &finding["rule"], &finding["device"]),
        (Some(100), &"metadata-then-subscriptions".into(), &"meter-1".into())
    );
    let rules = verdict["rules"].as_array().unwrap();
    let row = rules.iter().find(|row| row["rule"] == finding["rule"]).unwrap();
    assert_eq!((&row["checks"], &row["broken"]), (&1.into(), &1.into()));
}
