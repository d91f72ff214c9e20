//! Reports for machines, held against stock readers: JUnit, HDR log, Markdown, CSV, and `squall report`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use squall::play::{Mode, Outcome};
use squall::report::{Format, MARKDOWN_MARKER, Recording};

use super::rig::outcome;
use super::{troubled, written};
use crate::foreign_tool;

const JUNIT: &str = r"
import sys, xmlschema
from junitparser import JUnitXml
xmlschema.validate(sys.argv[1], sys.argv[2])
for suite in JUnitXml.fromfile(sys.argv[1]):
    print(suite.name, suite.tests, suite.failures, suite.errors)
    for case in suite:
        print(case.classname, '|', case.name, '|', [type(result).__name__ for result in case.result])
";

const HDR: &str = r"
import math, sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 3600000000000, 3))
while True:
    histogram = reader.get_next_interval_histogram()
    if histogram is None:
        break
    count = histogram.get_total_count()
    # This reader rounds ranks where ours rounds up: the share that belongs to the same rank is asked for.
    share = 100 * math.ceil(0.95 * count) / count
    print(histogram.get_tag(), count, histogram.get_value_at_percentile(share), histogram.get_max_value())
";

/// What a script of a stock reader says; `None` where Python or its packages are missing.
fn python(script: &str, module: &str, arguments: &[&Path]) -> Option<String> {
    if !(foreign_tool("python3") && foreign_module(module)) {
        return None;
    }
    let said = Command::new("python3")
        .arg("-c")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Some(String::from_utf8(said.stdout).unwrap())
}

/// Whether the Python on the path has a package.
fn foreign_module(module: &str) -> bool {
    let import = format!("import {module}");
    let found = Command::new("python3")
        .arg("-c")
        .arg(import)
        .output()
        .is_ok_and(|said| said.status.success());
    if !found {
        eprintln!("not run: Python's {module} missing");
    }
    assert!(
        found || std::env::var_os("SQUALL_REQUIRE_TOOLS").is_none(),
        "Python's {module} is missing, and SQUALL_REQUIRE_TOOLS is set"
    );
    found
}

fn squall(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.current_dir(folder).args(arguments).output().unwrap()
}

fn recording(outcome: &Outcome, out: &Path) -> Recording {
    Recording::read(written(outcome, out).path()).unwrap()
}

fn made(format: Format, runs: &[Recording]) -> String {
    format.make(Path::new("report"), runs).unwrap()
}

#[test]
fn junit_holds_to_the_common_schema_and_a_stock_parser_counts_alike() {
    let out = tempfile::tempdir().unwrap();
    let run = written(&troubled(), out.path());
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/junit.xsd");
    let Some(said) = python(JUNIT, "xmlschema, junitparser", &[&run.path().join("junit.xml"), &schema]) else {
        return;
    };
    insta::assert_snapshot!(said);
}

#[test]
fn a_second_implementation_reads_the_histograms_and_finds_the_same_percentiles() {
    let out = tempfile::tempdir().unwrap();
    let run = written(&outcome(Mode::Sim), out.path());
    let Some(said) = python(HDR, "hdrh", &[&run.path().join("histograms.hlog")]) else {
        return;
    };
    let summary = Recording::read(run.path()).unwrap().summary;
    let mut compared = 0;
    for line in said.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [tag, count, p95, max] = words[..] else {
            panic!("{line}");
        };
        let (name, labels) = tag.trim_end_matches('}').split_once('{').unwrap_or((tag, ""));
        let labels: Vec<_> = labels.split(';').filter_map(|label| label.split_once(':')).collect();
        let row = summary
            .metric(name, &labels)
            .unwrap_or_else(|| panic!("{tag} is in no summary"));
        assert_eq!(row.count.to_string(), count, "{tag}");
        let seconds = |text: &str| text.parse::<f64>().unwrap() / 1e6;
        // An attempt that is open counts in the percentiles of the summary, and is in no histogram.
        if name != "deploy_time" {
            for (found, own) in [(p95, row.p95), (max, row.max)] {
                let own = own.unwrap();
                assert!((seconds(found) - own).abs() <= own / 500.0, "{tag}: {found} and {own}");
            }
        }
        compared += 1;
    }
    assert!(compared > 20, "{said}");
}

#[test]
fn a_comment_says_what_a_reviewer_asks() {
    let out = tempfile::tempdir().unwrap();
    let comment = made(Format::Markdown, &[recording(&troubled(), out.path())]);
    assert!(comment.starts_with(MARKDOWN_MARKER), "{comment}");
    insta::assert_snapshot!(comment);
}

#[test]
fn a_table_of_metrics_has_a_row_a_metric_and_run() {
    let out = tempfile::tempdir().unwrap();
    let run = recording(&outcome(Mode::Sim), out.path());
    let metrics = run.summary.metrics.len();
    let table = made(Format::Csv, &[run.clone(), run]);
    assert_eq!(table.lines().count(), 2 * metrics + 1);
    let row = table.lines().find(|line| line.starts_with("2,staged,sim,1,update_time,,"));
    assert!(row.unwrap().ends_with(",12.455"), "{row:?}");
}

#[test]
fn reports_are_made_again_from_a_run_directory() {
    let out = tempfile::tempdir().unwrap();
    let run = written(&outcome(Mode::Sim), out.path());
    let there = |name: &str| fs::read_to_string(run.path().join(name)).unwrap();
    let said = squall(
        out.path(),
        &[
            "report",
            "latest",
            "--report",
            "again/junit.xml",
            "--report",
            "again/summary.json",
        ],
    );
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8(said.stdout).unwrap(), there("summary.txt"));
    for name in ["junit.xml", "summary.json"] {
        assert_eq!(
            fs::read_to_string(out.path().join("again").join(name)).unwrap(),
            there(name),
            "{name}"
        );
    }
}

#[test]
fn repetitions_are_reported_together() {
    let out = tempfile::tempdir().unwrap();
    let played = squall(
        out.path(),
        &[
            "sim",
            "quickstart",
            "-d",
            "5",
            "-q",
            "--repeat",
            "2",
            "--out",
            "runs",
            "--report",
            "both.csv",
        ],
    );
    assert_eq!(played.status.code(), Some(0), "{}", String::from_utf8_lossy(&played.stderr));
    let first = fs::read_to_string(out.path().join("both.csv")).unwrap();
    assert_eq!(
        squall(out.path(), &["report", "runs/latest", "-q", "--report", "again.csv"])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(fs::read_to_string(out.path().join("again.csv")).unwrap(), first);
    assert!(first.contains("\n2,quickstart,sim,2,"), "{first}");
}

#[test]
fn a_report_that_cannot_be_made_is_refused_before_anything_is_done() {
    let out = tempfile::tempdir().unwrap();
    let mut said = String::new();
    for arguments in [
        "report nowhere",
        "report . --report x.pdf",
        "sim quickstart --report x.doc",
        "sim quickstart --repeat 2 --report x.json",
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let refused = squall(out.path(), &arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(refused.stdout.is_empty());
        said += &format!(
            "$ squall {}\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&refused.stderr)
        );
    }
    insta::assert_snapshot!(said);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
