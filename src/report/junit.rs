//! `junit.xml`: a suite a run, a case for the run itself, for each expectation and for the invariants.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::model::show_count;

use super::rerun::rerun_command;
use super::summary::{ExpectationRow, Summary};
use super::words::{limit_of, value_of};

/// The report of one or several runs.
pub(super) fn junit(runs: &[&Summary]) -> String {
    let mut report = Report::new("squall");
    for (number, summary) in runs.iter().enumerate() {
        let name = match runs.len() {
            1 => summary.scenario.name.clone(),
            _ => format!("{} {}", summary.scenario.name, number + 1),
        };
        report.add_test_suite(suite(&name, summary));
    }
    let mut xml = report.to_string().expect("text is written to memory, and is UTF-8");
    xml.push('\n');
    xml
}

fn suite(name: &str, summary: &Summary) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.set_time(Duration::try_from_secs_f64(summary.elapsed_s).unwrap_or_default());
    let facts = [
        ("mode", summary.mode.clone()),
        ("seed", summary.scenario.seed.to_string()),
        ("scenario", summary.scenario.hash.clone()),
        ("squall", summary.squall.version.clone()),
        ("exit_code", summary.exit_code.to_string()),
    ];
    suite.add_properties(facts.map(|(key, value)| Property::new(key, value)));
    suite.add_test_case(run_case(name, summary));
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &summary.expectations {
        let again = seen.entry(&row.that).or_default();
        *again += 1;
        // Two cases of one name are one to many readers.
        let title = match *again {
            1 => row.that.clone(),
            again => format!("{} ({again})", row.that),
        };
        suite.add_test_case(expectation_case(name, title, row));
    }
    suite.add_test_cases(invariant_cases(name, summary));
    suite
}

/// Whether the run came to an end whose figures can be believed.
fn run_case(name: &str, summary: &Summary) -> TestCase {
    let errors: Vec<_> = summary.errors.iter().map(|row| row.message.as_str()).collect();
    let status = match summary.status.as_str() {
        "error" => failed(NonSuccessKind::Error, "error", &errors.join("; ")),
        "interrupted" => failed(NonSuccessKind::Error, "interrupted", "ended by the user"),
        "invalid" => {
            let reasons = summary.harness.as_ref().map(|harness| harness.reasons.join("; "));
            let reasons = format!("the harness was the bottleneck: {}", reasons.unwrap_or_default());
            failed(NonSuccessKind::Error, "invalid", &reasons)
        }
        _ => TestCaseStatus::success(),
    };
    let mut case = TestCase::new("run", status);
    case.set_classname(format!("squall.{name}"));
    case.set_time(Duration::try_from_secs_f64(summary.elapsed_s).unwrap_or_default());
    case.set_system_out(format!(
        "{} {}, end: {}\n{}",
        summary.mode,
        summary.status,
        summary.end,
        rerun_command(&summary.mode, &summary.scenario)
    ));
    case
}

fn expectation_case(name: &str, title: String, row: &ExpectationRow) -> TestCase {
    let status = match row.passed {
        true => TestCaseStatus::success(),
        false => {
            let message = format!("measured {}, limit {}", value_of(row), limit_of(row));
            let mut status = failed(NonSuccessKind::Failure, "expectation", &message);
            status.set_description(format!(
                "{}\nline {} of the scenario, judged at {} s",
                row.that, row.line, row.judged_at_s
            ));
            status
        }
    };
    let mut case = TestCase::new(title, status);
    case.set_classname(format!("squall.{name}.expectations"));
    case.set_time(Duration::ZERO);
    case
}

/// A case for each broken rule, and one for those that held.
fn invariant_cases(name: &str, summary: &Summary) -> Vec<TestCase> {
    let broken = summary.findings.iter().map(|finding| {
        let first = &finding.first;
        let device = first.device.as_deref().unwrap_or("no single device");
        let message = format!("broken {} times, first by {device} at {} s", finding.count, first.at_s);
        let mut status = failed(NonSuccessKind::Failure, "invariant", &message);
        status.set_description(first.evidence.clone());
        (finding.rule.clone(), status)
    });
    let held = u64::from(summary.invariants.rules).saturating_sub(summary.findings.len() as u64);
    let rest = (held > 0).then(|| ("rules-held".to_owned(), TestCaseStatus::success()));
    let cases = broken.chain(rest).map(|(rule, status)| {
        let mut case = TestCase::new(rule, status);
        case.set_classname(format!("squall.{name}.invariants"));
        case.set_time(Duration::ZERO);
        case
    });
    let mut cases: Vec<_> = cases.collect();
    if let Some(last) = cases.last_mut().filter(|_| held > 0) {
        let checks = show_count(summary.invariants.checks);
        last.set_system_out(format!("{held} rules held in {checks} checks"));
    }
    cases
}

fn failed(kind: NonSuccessKind, class: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(class).set_message(message);
    status
}
