//! The summary in 80 columns (contract, section 5), made of the numbers of `summary.json` alone.

mod tables;
mod twin;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{show_count, show_size};
use crate::play::Outcome;

use super::rerun::{quoted, rerun_command};
use super::summary::{ExpectationRow, FilledRow, Summary};
use super::words::{counted, cut, judgement, length, span, value_of, wrapped};

pub(super) use tables::missed_because;

/// Where values at the right end.
const RIGHT: usize = 79;
/// Where the text of a line with a heading begins.
const BODY: usize = 13;
/// Most groups of failures, errors and stuck devices that are shown.
const GROUPS_MAX: usize = 10;
/// A device is slow when its update took longer than this many times the median.
const SLOW: f64 = 2.0;
/// Whether text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// No escape sequences: files, pipes, `NO_COLOR`.
    Plain,
    /// For a terminal.
    Color,
}

#[derive(Clone, Copy)]
enum Tint {
    Green,
    Red,
    /// Yellow cannot be read on a light terminal.
    Magenta,
}

impl Style {
    fn paint(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Green => 32,
            Tint::Red => 31,
            Tint::Magenta => 35,
        };
        match self {
            Style::Plain => text.to_owned(),
            Style::Color => format!("\u{1b}[1;{code}m{text}\u{1b}[0m"),
        }
    }
}

/// The summary in 80 columns (contract, section 5).
pub fn summary_text(outcome: &Outcome, style: Style) -> String {
    text_of(&Summary::of(outcome), style)
}

/// The same from a summary.
pub fn text_of(summary: &Summary, style: Style) -> String {
    let mut page = Page {
        text: String::new(),
        style,
    };
    page.verdict(summary);
    page.facts(summary);
    summary.expectations.iter().for_each(|row| page.expectation(row));
    page.invariants(summary);
    page.cohorts(summary);
    page.times(summary);
    page.connects(summary);
    page.data(summary);
    page.faults(summary);
    page.failures(summary);
    page.stuck(summary);
    page.errors(summary);
    page.coverage(summary);
    page.harness(summary);
    page.twin(summary);
    for note in &summary.notes {
        page.entry(&note.about, &note.text);
    }
    page.slowest(summary);
    page.rerun(summary);
    page.text
}

struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A heading and its text, wrapped at column 80.
    fn entry(&mut self, heading: &str, text: &str) {
        let mut heading = heading;
        for line in wrapped(text, RIGHT - BODY) {
            self.line(&format!("{heading:<BODY$}{line}"));
            heading = "";
        }
    }

    fn verdict(&mut self, summary: &Summary) {
        let (tint, word) = match summary.status.as_str() {
            "passed" => (Tint::Green, "PASSED"),
            "failed" => (Tint::Red, "FAILED"),
            "broken" => (Tint::Red, "BROKEN"),
            "invalid" => (Tint::Magenta, "INVALID"),
            "interrupted" => (Tint::Magenta, "INTERRUPTED"),
            _ => (Tint::Red, "ERROR"),
        };
        let right = format!("exit code {}", summary.exit_code);
        let room = RIGHT - right.len() - word.len() - 4;
        let what = cut(&format!("{}: {}", summary.scenario.name, judgement(summary)), room);
        let painted = self.style.paint(tint, word);
        self.line(&format!("{painted}  {what:<room$}  {right}"));
    }

    fn facts(&mut self, summary: &Summary) {
        let hash = summary.scenario.hash.get(..8).unwrap_or(&summary.scenario.hash);
        let facts = [
            summary.mode.clone(),
            format!("seed {}", summary.scenario.seed),
            format!("{} ({})", length(summary.elapsed_s), summary.end),
            counted(summary.devices.total, "device"),
            format!("scenario {hash}"),
            format!("squall {}", summary.squall.version),
        ];
        for line in wrapped(&facts.join(", "), RIGHT) {
            self.line(&line);
        }
    }

    fn expectation(&mut self, row: &ExpectationRow) {
        let mark = match row.passed {
            true => self.style.paint(Tint::Green, "✓"),
            false => self.style.paint(Tint::Red, "✗"),
        };
        let value = value_of(row);
        let ended = if row.aborted { " (ended the run)" } else { "" };
        let room = RIGHT - 4 - value.chars().count() - 1;
        let that = cut(&format!("{}{ended}", row.that), room);
        self.line(&format!("  {mark} {that:<room$} {value}"));
    }

    fn invariants(&mut self, summary: &Summary) {
        let held = u64::from(summary.invariants.rules) - summary.findings.len() as u64;
        let checks = counted(summary.invariants.checks, "check");
        if summary.findings.is_empty() {
            self.entry("invariants", &format!("{} held in {checks}", counted(held, "rule")));
            return;
        }
        let broken = summary.findings.len() as u64;
        self.entry(
            "invariants",
            &format!("{} broken, {held} held in {checks}", counted(broken, "rule")),
        );
        for finding in &summary.findings {
            let mark = self.style.paint(Tint::Red, "✗");
            let times = counted(finding.count, "time");
            self.line(&format!("  {mark} {}: {times}", finding.rule));
            let device = finding.first.device.as_deref().unwrap_or("no single device");
            let at = span(Some(finding.first.at_s));
            self.entry("", &format!("first {device} at {at}: {}", finding.first.evidence));
        }
    }

    fn failures(&mut self, summary: &Summary) {
        let rows = summary.failures.iter().map(|row| {
            let detail = row.detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
            (row.count, format!("{}{detail}", row.reason))
        });
        self.groups("failures", rows);
    }

    fn stuck(&mut self, summary: &Summary) {
        let mut phases: BTreeMap<&str, (u64, &str, &str)> = BTreeMap::new();
        for row in &summary.stuck {
            phases.entry(&row.phase).or_insert((0, &row.device, &row.why)).0 += 1;
        }
        let rows = phases.into_iter();
        self.groups(
            "stuck",
            rows.map(|(phase, (count, device, why))| (count, format!("in {phase}, such as {device}: {why}"))),
        );
    }

    fn errors(&mut self, summary: &Summary) {
        let rows = summary.errors.iter().map(|row| {
            let device = row
                .first_device
                .as_ref()
                .map_or(String::new(), |device| format!(" (first {device})"));
            (row.count, format!("{}{device}", row.message))
        });
        self.groups("errors", rows);
    }

    /// Counts and their texts under a heading, up to a limit.
    fn groups(&mut self, heading: &str, rows: impl Iterator<Item = (u64, String)>) {
        let rows: Vec<_> = rows.collect();
        let mut heading = heading;
        for (count, text) in rows.iter().take(GROUPS_MAX) {
            let lines = wrapped(text, RIGHT - 17);
            let mut count = show_count(*count);
            for line in lines {
                self.line(&format!("{heading:<9}{count:>6}  {line}"));
                (heading, count) = ("", String::new());
            }
        }
        if rows.len() > GROUPS_MAX {
            let rest: u64 = rows[GROUPS_MAX..].iter().map(|(count, _)| count).sum();
            self.line(&format!(
                "{:<9}{:>6}  others; summary.json has them all",
                "",
                show_count(rest)
            ));
        }
    }

    fn coverage(&mut self, summary: &Summary) {
        let coverage = &summary.coverage;
        let illegal = summary.findings.iter().find(|finding| finding.rule == "legal-transition");
        let illegal = illegal.map_or(0, |finding| finding.count);
        let text = format!("{} of {} legal transitions, {illegal} illegal", coverage.seen, coverage.legal);
        self.entry("coverage", &text);
    }

    fn harness(&mut self, summary: &Summary) {
        let Some(harness) = &summary.harness else {
            return;
        };
        let late = harness.late_p99_s * 1e3;
        let figures = format!(
            "late p99 {late:.1} ms, CPU {:.0} %, {} dropped",
            harness.cpu_percent,
            show_count(harness.dropped)
        );
        match harness.valid {
            true => self.entry("harness", &format!("valid: {figures}")),
            false => {
                self.entry(
                    "harness",
                    &format!("INVALID, these figures are not the server's: {}", harness.reasons.join("; ")),
                );
                if let Some(largest) = &harness.carries {
                    let devices = show_count(largest.devices);
                    let text = format!("this machine carries some {devices} devices of this kind: {}", largest.basis);
                    self.entry("", &text);
                }
                self.entry("", &figures);
            }
        }
        let memory = |bytes: u64| show_size(bytes as f64);
        let mut text = format!("peak memory {}", memory(harness.memory_bytes));
        if let Some(bytes) = harness.server_memory_bytes {
            let _ = write!(text, "; server: peak memory {}", memory(bytes));
        }
        if let Some(percent) = harness.server_cpu_percent {
            let _ = write!(text, ", CPU {percent:.0} %");
        }
        self.entry("", &text);
        let filled = |what: &str, filled: &Option<FilledRow>| {
            let filled = filled.as_ref()?;
            let of = filled.of.map(|of| format!(" of {}", show_count(of))).unwrap_or_default();
            Some(format!("{}{of} {what}", show_count(filled.most)))
        };
        let taken = [filled("descriptors", &harness.descriptors), filled("ports", &harness.ports)];
        let taken: Vec<_> = taken.into_iter().flatten().collect();
        if !taken.is_empty() {
            self.entry("", &format!("at most {}", taken.join(", ")));
        }
    }

    /// The command that tells the story of the device that took longest, if it took much longer than most.
    fn slowest(&mut self, summary: &Summary) {
        let usual = summary.metric("update_time", &[]).and_then(|row| row.med);
        let slow = summary.slowest.as_ref().zip(usual);
        let slow = slow.filter(|(slowest, usual)| slowest.update_time_s > SLOW * usual);
        if let (Some((slowest, _)), true) = (slow, summary.files.contains_key("trace")) {
            let command = format!("squall replay runs/latest --device {}", quoted(&slowest.device));
            self.line(&format!("{:<BODY$}{command}", "slowest"));
        }
    }

    fn rerun(&mut self, summary: &Summary) {
        let command = rerun_command(&summary.mode, &summary.scenario);
        self.line(&format!("{:<BODY$}{command}", "rerun"));
    }
}
