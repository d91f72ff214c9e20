//! A comparison in words: 80 columns, Markdown under a fixed marker, JUnit with a case a gate.

use std::fmt::Write;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::model::{show_count, show_duration, show_size};
use crate::report::markdown::{code, escape};
use crate::report::words::{counted, cut};

use super::{Comparison, GateRow, SideRow};

/// First line of the comment of a comparison.
pub const COMPARE_MARKER: &str = "<!-- squall:compare -->";

/// The comparison in 80 columns.
pub fn compare_text(comparison: &Comparison) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}{}  base {}; candidate {}; {} {}",
        forced(comparison),
        comparison.scenario,
        side(&comparison.base),
        side(&comparison.candidate),
        measured(comparison),
        short(&comparison.hash)
    );
    let level = format!("{} % intvl", comparison.level);
    let _ = writeln!(
        text,
        "{:<21} {:>11} {:>11}{:>9}{level:>18}{:>8}   verdict",
        "gate", "base", "cand", "change", "band"
    );
    for row in &comparison.gates {
        let _ = writeln!(
            text,
            "{:<21} {:>11} {:>11}{:>9}{:>18}{:>8}   {}",
            cut(&row.gate, 21),
            value(row.base_median, &row.unit),
            value(row.candidate_median, &row.unit),
            change(row.ratio),
            interval(row),
            format!("±{} %", figure(row.band * 100.0)),
            verdict(row)
        );
    }
    for gate in &comparison.not_measured {
        let _ = writeln!(text, "{:<21} not measured by every run", cut(gate, 21));
    }
    for that in &comparison.broken_expectations {
        let _ = writeln!(text, "expectation held before, fails now: {that}");
    }
    if !comparison.coverage.lost.is_empty() {
        let _ = writeln!(text, "never seen any more: {}", comparison.coverage.lost.join(", "));
    }
    let _ = writeln!(
        text,
        "{:<64}{:>15}",
        conclusion(comparison),
        format!("exit code {}", comparison.exit_code)
    );
    text
}

/// The comparison as a comment.
pub fn compare_markdown(comparison: &Comparison) -> String {
    let sign = match comparison.verdict.as_str() {
        "regression" => "❌",
        "undecided" => "⚠️",
        _ => "✅",
    };
    let mut text = format!(
        "{COMPARE_MARKER}\n### {sign} squall compare: {}\n\n",
        escape(&conclusion(comparison))
    );
    if !comparison.forced.is_empty() {
        let _ = writeln!(text, "**FORCED**: overlooked {}\n", comparison.forced.join(", "));
    }
    let _ = writeln!(
        text,
        "{}: base {}, candidate {}; {} `{}`, exit code {}\n",
        escape(&comparison.scenario),
        escape(&side(&comparison.base)),
        escape(&side(&comparison.candidate)),
        measured(comparison),
        short(&comparison.hash),
        comparison.exit_code
    );
    let _ = writeln!(
        text,
        "| gate | base | candidate | change | {} % interval | band | verdict |\n|---|---:|---:|---:|---:|---:|---|",
        comparison.level
    );
    for row in &comparison.gates {
        let strong = if row.verdict == "worse" { "**" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | ±{} % | {strong}{}{strong} |",
            code(&row.gate),
            value(row.base_median, &row.unit),
            value(row.candidate_median, &row.unit),
            change(row.ratio),
            interval(row),
            figure(row.band * 100.0),
            verdict(row)
        );
    }
    text.push('\n');
    for that in &comparison.broken_expectations {
        let _ = writeln!(text, "- ❌ held before, fails now: {}", code(that));
    }
    for pair in &comparison.coverage.lost {
        let _ = writeln!(text, "- ❌ never seen any more: {}", code(pair));
    }
    for gate in &comparison.not_measured {
        let _ = writeln!(text, "- not measured by every run: {}", code(gate));
    }
    text
}

/// The comparison as JUnit: an undecided gate is skipped.
pub fn compare_junit(comparison: &Comparison) -> String {
    let mut suite = TestSuite::new(format!("{}compare {}", forced(comparison), comparison.scenario));
    suite.set_time(Duration::ZERO);
    let mut add = |class: &str, name: &str, status: TestCaseStatus| {
        let mut case = TestCase::new(name, status);
        case.set_classname(format!("squall.compare.{class}"));
        case.set_time(Duration::ZERO);
        suite.add_test_case(case);
    };
    for row in &comparison.gates {
        let message = format!(
            "{} ({}, band ±{} %): {}",
            change(row.ratio),
            interval(row),
            figure(row.band * 100.0),
            verdict(row)
        );
        let status = match row.verdict.as_str() {
            "worse" => failure(&message),
            "cannot-tell" => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(message);
                status
            }
            _ => TestCaseStatus::success(),
        };
        add("gates", &row.gate, status);
    }
    for that in &comparison.broken_expectations {
        add(
            "expectations",
            that,
            failure("held in every run of the base, fails in most of the candidate"),
        );
    }
    let coverage = match comparison.coverage.lost.is_empty() {
        true => TestCaseStatus::success(),
        false => failure(&format!("never seen any more: {}", comparison.coverage.lost.join(", "))),
    };
    add("coverage", "coverage", coverage);
    let mut report = Report::new("squall compare");
    report.add_test_suite(suite);
    let mut xml = report.to_string().expect("text is written to memory, and is UTF-8");
    xml.push('\n');
    xml
}

/// What was overlooked, where anything was.
fn forced(comparison: &Comparison) -> String {
    match comparison.forced.is_empty() {
        true => String::new(),
        false => format!("FORCED ({}): ", comparison.forced.join(", ")),
    }
}

/// How the sides were measured, and what they have in common.
fn measured(comparison: &Comparison) -> &'static str {
    let overlooked = |word: &str| comparison.forced.iter().any(|forced| forced == word);
    match (comparison.design.as_str(), overlooked("machine"), overlooked("hash")) {
        ("interleaved", _, _) => "measured in turn, scenario",
        ("paired", _, false) => "seed by seed, same scenario",
        ("paired", _, true) => "seed by seed, scenario",
        (_, false, false) => "same machine, same scenario",
        (_, false, true) => "same machine, scenario",
        (_, true, false) => "same scenario",
        (_, true, true) => "scenario",
    }
}

fn failure(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type("regression").set_message(message);
    status
}

fn conclusion(comparison: &Comparison) -> String {
    let count = |word: &str| comparison.gates.iter().filter(|row| row.verdict == word).count() as u64;
    let mut parts = Vec::new();
    for (word, said) in [
        ("worse", "worse"),
        ("better", "better"),
        ("same", "same"),
        ("cannot-tell", "undecided"),
    ] {
        if count(word) > 0 {
            parts.push(format!("{} {said}", counted(count(word), "gate")));
        }
    }
    let coverage = &comparison.coverage;
    let sign = if coverage.lost.is_empty() { "=" } else { ">" };
    parts.push(format!("coverage {} {sign} {}", coverage.base, coverage.candidate));
    if !comparison.broken_expectations.is_empty() {
        parts.push(counted(comparison.broken_expectations.len() as u64, "expectation") + " broken");
    }
    format!("{}  {}", comparison.verdict.to_uppercase(), parts.join(", "))
}

fn side(row: &SideRow) -> String {
    let runs = counted(row.runs, "run");
    match row.batches {
        1 => format!("`{}` {runs}", row.name),
        batches => format!("`{}` {batches} batches, {runs}", row.name),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

fn value(value: Option<f64>, unit: &str) -> String {
    match (value, unit) {
        (None, _) => "open".to_owned(),
        (Some(value), "s") if value < 0.1 => format!("{:.1} ms", value * 1e3),
        (Some(value), "s") => show_duration(Duration::try_from_secs_f64(value).unwrap_or_default()),
        (Some(value), "B") => show_size(value),
        (Some(value), "B/s") => format!("{}/s", show_size(value)),
        (Some(value), _) if value.fract() == 0.0 => show_count(value as u64),
        (Some(value), _) => format!("{value:.2}"),
    }
}

fn change(ratio: Option<f64>) -> String {
    match ratio {
        Some(_) => format!("{} %", signed(ratio)),
        None => signed(ratio),
    }
}

/// A change in percent; nothing is not less than nothing.
fn signed(ratio: Option<f64>) -> String {
    let rounded = ratio.map(|ratio| ((ratio - 1.0) * 1000.0).round() / 10.0 + 0.0);
    rounded.map_or_else(|| "endless".to_owned(), |percent| format!("{percent:+.1}"))
}

fn interval(row: &GateRow) -> String {
    match row.has_interval {
        true => format!("{}..{} %", signed(row.low), signed(row.high)),
        false => "too few runs".to_owned(),
    }
}

/// Without zeros that say nothing.
fn figure(percent: f64) -> String {
    let text = format!("{percent:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

fn verdict(row: &GateRow) -> String {
    match row.verdict.as_str() {
        "worse" => "WORSE".to_owned(),
        "cannot-tell" => {
            let runs = row.runs_wanted.filter(|runs| *runs > 0).map(|runs| counted(runs, "more run"));
            let batches = row.batches_wanted.filter(|batches| *batches > 0);
            let batches = batches.map(|batches| format!("{batches} batches more in the baseline"));
            let wanted: Vec<_> = runs.into_iter().chain(batches).collect();
            format!("can't tell, {}", wanted.join(", "))
        }
        other => other.to_owned(),
    }
}
