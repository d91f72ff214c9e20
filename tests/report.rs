//! Tests of `report` across modules.

mod comparisons;
mod files;
mod page;
mod rig;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use squall::model::{Phase, Why};
use squall::play::{LeftOpen, Mode, Outcome, RunEnd, RunError, Status};
use squall::report::{RunDirectory, Style, Summary, summary_schema, summary_text};
use squall::scenario::TlsPlan;
use squall::time::SimTime;
use squall::verdict::Finding;

use rig::{CRASHER, SLOW, outcome};

fn finding() -> Finding {
    Finding {
        rule: "no-success-before-confirmation",
        count: 3,
        device: Some("meter-00003".into()),
        at: SimTime::from_millis(12_345),
        evidence: "attempt 4 was reported succeeded while app@1.1.0 was not confirmed\u{1b}[31m".to_owned(),
    }
}

/// The same run, in trouble of every kind.
fn troubled() -> Outcome {
    let mut outcome = outcome(Mode::Run);
    outcome.findings.push(finding());
    outcome.errors.push(RunError {
        message: "the server closed the event stream".to_owned(),
        count: 2,
        first_device: Some("meter-00001".to_owned()),
    });
    outcome.left_open.push(LeftOpen {
        device: SLOW,
        why: Why::Hangs,
        stuck_by_firmware: true,
    });
    let harness = outcome.harness.as_mut().expect("of a run");
    harness.valid = false;
    harness.reasons = vec!["late p99 71 ms is over 50 ms".to_owned()];
    let mut plan = (*outcome.plan).clone();
    plan.server.tls = TlsPlan::Off;
    plan.warmup = Duration::from_secs(10);
    outcome.plan = plan.into();
    outcome
}

fn columns(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn a_simulated_run_reads_like_this() {
    let text = summary_text(&outcome(Mode::Sim), Style::Plain);
    assert!(columns(&text) <= 80, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_real_run_tells_of_the_harness_too() {
    let text = summary_text(&outcome(Mode::Run), Style::Plain);
    assert!(columns(&text) <= 80, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn trouble_is_told_in_80_columns() {
    let outcome = troubled();
    let text = summary_text(&outcome, Style::Plain);
    assert!(columns(&text) <= 80, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_summary_of_a_run_as_json() {
    insta::assert_snapshot!(Summary::of(&outcome(Mode::Sim)).to_json());
}

#[test]
fn the_first_line_says_what_the_run_came_to() {
    let said = |change: &dyn Fn(&mut Outcome), status: Status, word: &str| {
        let mut outcome = outcome(Mode::Run);
        change(&mut outcome);
        assert_eq!(outcome.status(), status);
        let text = summary_text(&outcome, Style::Plain);
        let first = text.lines().next().expect("a line").to_owned();
        assert!(first.starts_with(word), "{first}");
        assert!(first.ends_with(&format!("exit code {}", status.exit_code())), "{first}");
        assert_eq!(first.chars().count(), 79);
    };
    said(&|_| {}, Status::Failed, "FAILED  staged: 2 of 5 expectations");
    said(
        &|run| run.judgements.retain(|judgement| judgement.passed),
        Status::Passed,
        "PASSED  staged: 3 expectations",
    );
    said(
        &|run| run.judgements.clear(),
        Status::Passed,
        "PASSED  staged: nothing was expected",
    );
    said(
        &|run| run.findings.push(finding()),
        Status::Broken,
        "BROKEN  staged: 1 broken invariant",
    );
    said(
        &|run| run.end = RunEnd::Interrupted,
        Status::Interrupted,
        "INTERRUPTED  staged: ended by the user",
    );
    said(
        &|run| run.harness.as_mut().expect("of a run").valid = false,
        Status::Invalid,
        "INVALID  staged: the harness was the bottleneck",
    );
    said(
        &|run| run.end = RunEnd::Failed("the server ended: signal 9".to_owned()),
        Status::Error,
        "ERROR  staged: the server ended: signal 9",
    );
}

#[test]
fn color_is_for_terminals_alone() {
    let outcome = outcome(Mode::Sim);
    let plain = summary_text(&outcome, Style::Plain);
    let color = summary_text(&outcome, Style::Color);
    assert!(!plain.contains('\u{1b}'));
    assert!(color.contains("\u{1b}[1;31mFAILED\u{1b}[0m"));
    let stripped = color
        .replace("\u{1b}[0m", "")
        .replace("\u{1b}[1;31m", "")
        .replace("\u{1b}[1;32m", "");
    assert_eq!(stripped, plain);
}

/// Follows a `$ref` of the schema.
fn resolved<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    match part["$ref"].as_str() {
        Some(reference) => schema
            .pointer(reference.trim_start_matches('#'))
            .expect("the schema holds what it refers to"),
        None => part,
    }
}

/// Holds a value against a schema: types, required keys, items. Gives the number of keys that were looked at.
fn conforms(schema: &Value, part: &Value, value: &Value, place: &str) -> usize {
    let part = resolved(schema, part);
    if let Some(choices) = part["anyOf"].as_array() {
        let null = Value::from("null");
        let wanted = choices.iter().find(|choice| (choice["type"] == null) == value.is_null());
        return conforms(schema, wanted.expect("one choice fits"), value, place);
    }
    let kinds: Vec<&str> = match &part["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        other => panic!("{place}: type {other}"),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
    assert!(fits, "{place}: {kind} where {kinds:?} is wanted");
    let mut keys = 0;
    if let Value::Array(items) = value {
        let checked = items.iter().map(|item| conforms(schema, &part["items"], item, place));
        keys += checked.sum::<usize>();
    }
    if let Value::Object(fields) = value {
        for required in part["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(fields.contains_key(required), "{place}: {required} is missing");
        }
        for (key, field) in fields {
            let known = part["properties"].get(key).or_else(|| part.get("additionalProperties"));
            let known = known.unwrap_or_else(|| panic!("{place}: {key} is not in the schema"));
            keys += 1 + conforms(schema, known, field, &format!("{place}.{key}"));
        }
    }
    keys
}

#[test]
fn summaries_conform_to_the_printed_schema() {
    let schema: Value = serde_json::from_str(&summary_schema()).unwrap();
    for outcome in [outcome(Mode::Sim), outcome(Mode::Run), troubled()] {
        let summary: Value = serde_json::from_str(&Summary::of(&outcome).to_json()).unwrap();
        assert!(conforms(&schema, &schema, &summary, "summary") > 300);
    }
}

#[test]
fn the_summary_has_every_key_of_the_contract() {
    let summary: Value = serde_json::from_str(&Summary::of(&troubled()).to_json()).unwrap();
    let pointers = [
        "schema squall/version mode status exit_code elapsed_s started_at scenario/name scenario/hash scenario/seed",
        "scenario/overrides machine/cpu machine/cores machine/memory_bytes machine/os devices/total devices/by_state/succeeded",
        "devices/by_phase/idle devices/by_version/app@1.1.0 devices/by_cohort/canary/succeeded metrics/0/name metrics/0/labels",
        "metrics/0/type metrics/0/unit metrics/0/count metrics/0/sum metrics/0/min metrics/0/avg metrics/0/med metrics/0/p90",
        "metrics/0/p95 metrics/0/p99 metrics/0/p999 metrics/0/max expectations/0/that expectations/0/line",
        "expectations/0/judged_at_s expectations/0/measured expectations/0/limit expectations/0/unit expectations/0/passed",
        "expectations/0/aborted findings/0/rule findings/0/count findings/0/first/device findings/0/first/at_s",
        "findings/0/first/evidence errors/0/message errors/0/count errors/0/first_device transitions/0/from transitions/0/to",
        "transitions/0/cause transitions/0/count coverage/legal coverage/seen coverage/unseen/0 stuck/0/device stuck/0/phase",
        "stuck/0/for_s stuck/0/why faults fingerprint harness/valid harness/reasons harness/late_p99_s harness/cpu_percent",
        "harness/memory_bytes harness/dropped files/summary",
    ];
    for pointer in pointers.iter().flat_map(|line| line.split(' ')) {
        assert!(summary.pointer(&format!("/{pointer}")).is_some(), "{pointer} is missing");
    }
    assert_eq!(summary["coverage"]["legal"], 55);
}

#[test]
fn the_command_line_prints_the_schema() {
    let squall = |name: &str| {
        Command::new(env!("CARGO_BIN_EXE_squall"))
            .args(["schema", name])
            .output()
            .unwrap()
    };
    let printed = squall("summary");
    assert_eq!(printed.status.code(), Some(0));
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), summary_schema());
    let refused = squall("shares");
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "error: unknown schema `shares`: there are `scenario`, `summary`, `compare`, `trace`\n"
    );
}

fn written(outcome: &Outcome, out: &Path) -> RunDirectory {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_442_709);
    let run = RunDirectory::create(out, &outcome.plan.name, now).unwrap();
    run.log("began").unwrap();
    run.write(outcome).unwrap();
    run
}

#[test]
fn a_run_directory_holds_exactly_what_its_summary_names() {
    let out = tempfile::tempdir().unwrap();
    let run = written(&outcome(Mode::Sim), out.path());
    let mut found: Vec<_> = fs::read_dir(run.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let summary: Value = serde_json::from_str(&fs::read_to_string(out.path().join("latest/summary.json")).unwrap()).unwrap();
    let mut named: Vec<_> = summary["files"]
        .as_object()
        .unwrap()
        .values()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    named.sort();
    assert_eq!(found, named);
    assert_eq!(fs::read_to_string(run.path().join("scenario.toml")).unwrap(), "# as given\n");
    assert_eq!(
        fs::read_to_string(run.path().join("resolved.toml")).unwrap(),
        "# with every default\n"
    );
}

#[test]
fn a_simulations_files_are_the_same_each_time_and_tell_nothing_of_the_machine() {
    let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let runs = [&one, &two].map(|out| written(&outcome(Mode::Sim), out.path()));
    for entry in fs::read_dir(runs[0].path()).unwrap() {
        let name = entry.unwrap().file_name();
        let [first, second] = [0, 1].map(|side: usize| fs::read(runs[side].path().join(&name)).unwrap());
        assert_eq!(first, second, "{name:?}");
        let text = String::from_utf8_lossy(&first);
        assert!(!text.contains(one.path().to_str().unwrap()), "{name:?}");
        assert!(!text.contains("a key that no report may show"), "{name:?}");
    }
}

#[test]
fn the_trace_has_a_line_for_every_transition_in_order() {
    let out = tempfile::tempdir().unwrap();
    let outcome = outcome(Mode::Sim);
    let run = written(&outcome, out.path());
    let packed = fs::read(run.path().join("trace.ndjson.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counted: u64 = outcome.recorder.matrix().rows().map(|(_, count)| count).sum();
    let transitions: Vec<_> = lines.iter().filter(|line| line.get("from").is_some()).collect();
    assert_eq!(transitions.len() as u64, counted);
    assert!(lines.is_sorted_by_key(|line| line["t"].as_f64().unwrap()));
    let crashed = outcome.plan.devices[CRASHER.at()].id.as_str();
    let last = transitions.iter().rfind(|line| line["device"] == crashed).unwrap();
    assert_eq!(
        (&last["to"], &last["reason"]),
        (&"failed".into(), &"reset-before-confirm".into())
    );
}

#[test]
fn tables_have_a_row_a_device_and_a_row_a_second() {
    let out = tempfile::tempdir().unwrap();
    let outcome = outcome(Mode::Sim);
    let run = written(&outcome, out.path());
    let devices = fs::read_to_string(run.path().join("devices.csv")).unwrap();
    assert_eq!(devices.lines().count() as u32, rig::DEVICES + 1);
    insta::assert_snapshot!(
        devices
            .lines()
            .filter(|line| !line.contains("succeeded,1"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let timeline = fs::read_to_string(run.path().join("timeline.csv")).unwrap();
    let columns = timeline.lines().map(|line| line.split(',').count());
    assert_eq!(columns.clone().min(), columns.max());
    assert_eq!(timeline.lines().count(), 59);
    let head: Vec<_> = timeline.lines().next().unwrap().split(',').collect();
    let last: Vec<_> = timeline.lines().last().unwrap().split(',').collect();
    let value = |name: &str| last[head.iter().position(|column| *column == name).unwrap()];
    assert_eq!(
        (value("t_s"), value("online"), value("state_succeeded")),
        ("58.000000", "20", "18")
    );
    assert_eq!(value(&format!("phase_{}", Phase::Downloading)), "1");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let out = tempfile::tempdir().unwrap();
    let run = written(&outcome(Mode::Sim), out.path());
    fs::remove_dir_all(run.path()).unwrap();
    let error = run.write(&outcome(Mode::Sim)).unwrap_err();
    assert!(error.to_string().contains("scenario.toml: "), "{error}");
}
