//! The summary in 80 columns (contract, section 5), made of the numbers of `summary.json` alone.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::model::{CohortName, UpdateState, show_count, show_duration, show_size};
use crate::play::Outcome;

use super::summary::{ExpectationRow, FaultRow, MetricRow, ScenarioRow, Summary};

/// Where values at the right end.
const RIGHT: usize = 79;
/// Where the text of a line with a heading begins.
const BODY: usize = 13;
/// Most groups of failures, errors and stuck devices that are shown.
const GROUPS_MAX: usize = 10;
/// A device is slow when its update took longer than this many times the median.
const SLOW: f64 = 2.0;
/// Phases whose visits are worth a line; the others take next to no time.
const TIMED_PHASES: &[&str] = &[
    "waiting",
    "installing",
    "downloading",
    "retrying",
    "swapping",
    "probation",
    "reverting",
];

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
    Yellow,
}

impl Style {
    fn paint(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Green => 32,
            Tint::Red => 31,
            Tint::Yellow => 33,
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
    page.data(summary);
    page.faults(summary);
    page.failures(summary);
    page.stuck(summary);
    page.errors(summary);
    page.coverage(summary);
    page.harness(summary);
    for note in &summary.notes {
        page.entry(&note.about, &note.text);
    }
    page.slowest(summary);
    page.rerun(summary);
    page.text
}

/// What came of a fault.
fn came_of(row: &FaultRow) -> String {
    if let (Some(strikes), None) = (&row.strikes, row.planned) {
        let chance = row.chance_percent.unwrap_or(100.0);
        let tried = row.tried.map_or_else(String::new, |tried| format!("{} ", show_count(tried)));
        return format!("{chance} % of {tried}{strikes}: {} done", show_count(row.done));
    }
    let mut text = match row.planned {
        Some(planned) => format!("{} planned, {} done", show_count(planned), show_count(row.done)),
        None => format!("{} done", show_count(row.done)),
    };
    if !row.missed_because.is_empty() {
        let whole: u64 = row.missed_because.values().sum();
        let several = row.missed_because.len() > 1;
        let reasons = row.missed_because.iter().map(|(why, count)| match several {
            true => format!("{why}: {}", show_count(*count)),
            false => why.clone(),
        });
        let reasons: Vec<_> = reasons.collect();
        text += &format!(", {} missed ({})", show_count(whole), reasons.join(", "));
    }
    text
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
            "invalid" => (Tint::Yellow, "INVALID"),
            "interrupted" => (Tint::Yellow, "INTERRUPTED"),
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

    /// The cohorts; all devices where there are none, or where some are in no cohort.
    fn cohorts(&mut self, summary: &Summary) {
        let all = CohortName::all();
        let mut rows: Vec<_> = summary
            .devices
            .by_cohort
            .iter()
            .filter(|(name, _)| **name != all.as_str())
            .collect();
        let members: u64 = rows.iter().map(|(_, states)| states.values().sum::<u64>()).sum();
        if members != summary.devices.total {
            rows.extend(summary.devices.by_cohort.get_key_value(all.as_str()));
        }
        self.line("cohort     devices succeeded failed open  deploy_time 50 %     90 %      99 %");
        for (name, states) in rows {
            let labels = [("cohort", name.as_str())];
            let time = summary.metric("deploy_time", if name == all.as_str() { &[] } else { &labels });
            self.cohort(name, states, time);
        }
        match summary.devices.by_state.get(UpdateState::Cancelled.word()) {
            None | Some(0) => {}
            Some(&cancelled) => self.entry("cancelled", &counted(cancelled, "device")),
        }
    }

    fn cohort(&mut self, name: &str, states: &BTreeMap<String, u64>, time: Option<&MetricRow>) {
        let of = |state: UpdateState| states.get(state.word()).copied().unwrap_or(0);
        let devices = show_count(states.values().sum());
        let open = of(UpdateState::Pending) + of(UpdateState::InProgress);
        let reached = time.is_some_and(|time| time.count > 0) || open > 0;
        let part = |value: Option<f64>| match (value, reached) {
            (None, true) => "open".to_owned(),
            (value, _) => span(value),
        };
        let line = format!(
            "{}{devices} {:>9} {:>6} {:>4}{:>18}{:>9}{:>10}",
            named(name, 18 - devices.len()),
            show_count(of(UpdateState::Succeeded)),
            show_count(of(UpdateState::Failed)),
            show_count(open),
            part(time.and_then(|time| time.med)),
            part(time.and_then(|time| time.p90)),
            part(time.and_then(|time| time.p99)),
        );
        self.line(&line);
    }

    fn times(&mut self, summary: &Summary) {
        let totals = ["update_time", "connect_time"]
            .into_iter()
            .map(|name| (name, summary.metric(name, &[])));
        let phases = TIMED_PHASES
            .iter()
            .map(|phase| (*phase, summary.metric("phase_time", &[("phase", phase)])));
        let rows: Vec<_> = totals
            .chain(phases)
            .filter_map(|(name, row)| Some((name, row.filter(|row| row.count > 0)?)))
            .collect();
        if rows.is_empty() {
            return;
        }
        self.line("time                n     min     med     p90     p95     p99     max");
        for (name, row) in rows {
            self.line(&time_line(name, row));
        }
    }

    /// What came over the links, and what of it was of use.
    fn data(&mut self, summary: &Summary) {
        let bytes = |label: (&str, &str)| summary.metric("bytes", &[label]).map_or(0, |row| row.count);
        let (down, image) = (bytes(("dir", "down")), bytes(("kind", "image")));
        let useful = image.saturating_sub(bytes(("kind", "wasted")));
        if useful > 0 {
            let size = |bytes: u64| show_size(bytes as f64);
            let times = down as f64 / useful as f64;
            let peak = summary.metric("throughput", &[]).and_then(|row| row.max);
            let peak = peak.map_or(String::new(), |rate| format!(", peak {}/s", show_size(rate)));
            self.entry(
                "data",
                &format!("{} down, {} useful (x{times:.2}){peak}", size(down), size(useful)),
            );
        }
    }

    /// A row a fault: what was planned, what came of it, and why the rest did not come about.
    fn faults(&mut self, summary: &Summary) {
        let width = |column: fn(&FaultRow) -> &str| summary.faults.iter().map(|row| column(row).chars().count()).max();
        let (name, kind) = (width(|row| &row.name).unwrap_or(0), width(|row| &row.kind).unwrap_or(0));
        for row in &summary.faults {
            let head = format!("{:<6} {:<name$}  {:<kind$}  ", "fault", row.name, row.kind);
            let indent = head.chars().count();
            // Long names leave no room beside them.
            let (head, indent) = match indent > RIGHT / 2 {
                true => {
                    self.line(&head);
                    (String::new(), BODY)
                }
                false => (head, indent),
            };
            let mut head = head;
            for line in wrapped(&came_of(row), RIGHT - indent) {
                self.line(&format!("{head:<indent$}{line}"));
                head.clear();
            }
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
                    self.entry(
                        "",
                        &format!("this machine carries some {devices} devices of this kind: {}", largest.basis),
                    );
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

/// The command that plays the same again. It stands on one line, however long, so that it can be copied.
pub fn rerun_command(mode: &str, scenario: &ScenarioRow) -> String {
    let mut command = format!("squall {mode} {} --seed {}", quoted(&scenario.name), scenario.seed);
    for (key, value) in &scenario.overrides {
        let _ = match key.as_str() {
            "scenario.seed" => Ok(()),
            "devices" => write!(command, " -d {}", quoted(value)),
            _ => write!(command, " --set {}", quoted(&format!("{key}={value}"))),
        };
    }
    command
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@=%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// What the first line says besides its word.
pub(super) fn judgement(summary: &Summary) -> String {
    let expected = summary.expectations.len() as u64;
    let failed = summary.expectations.iter().filter(|row| !row.passed).count() as u64;
    match summary.status.as_str() {
        "passed" if expected == 0 => "nothing was expected".to_owned(),
        "passed" => counted(expected, "expectation"),
        "failed" => format!("{failed} of {}", counted(expected, "expectation")),
        "broken" => counted(summary.findings.len() as u64, "broken invariant"),
        "invalid" => "the harness was the bottleneck".to_owned(),
        "interrupted" => "ended by the user".to_owned(),
        _ => summary
            .errors
            .first()
            .map_or_else(|| "could not go on".to_owned(), |error| error.message.clone()),
    }
}

/// The measured value of an expectation with its unit.
pub(super) fn value_of(row: &ExpectationRow) -> String {
    match (row.measured, row.unit.as_str()) {
        (None, _) if row.endless => "open".to_owned(),
        (None, _) => "undefined".to_owned(),
        (Some(value), "%") => share(value),
        (Some(value), "s") => span(Some(value)),
        (Some(value), "1/s") => format!("{value:.2}/s"),
        (Some(value), "B") => show_size(value),
        (Some(value), "B/s") => format!("{}/s", show_size(value)),
        (Some(value), _) => show_count(value as u64),
    }
}

/// What an expectation is held against, with its unit.
pub(super) fn limit_of(row: &ExpectationRow) -> String {
    match row.unit.as_str() {
        "%" => share(row.limit),
        "s" => span(Some(row.limit)),
        "1/s" => format!("{:.2}/s", row.limit),
        "B" => show_size(row.limit),
        "B/s" => format!("{}/s", show_size(row.limit)),
        _ => show_count(row.limit as u64),
    }
}

/// Two decimals; only the whole is shown as the whole, and only nothing as nothing.
fn share(percent: f64) -> String {
    let shown = (percent * 100.0).round() / 100.0;
    let shown = match shown {
        s if s >= 100.0 && percent < 100.0 => 99.99,
        s if s <= 0.0 && percent > 0.0 => 0.01,
        s => s,
    };
    format!("{shown:.2} %")
}

pub(super) fn span(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| show_duration(Duration::from_secs_f64(seconds.max(0.0))),
    )
}

/// How long a run was: `14.8 s`, `6m58s`, `6h02m`.
pub(super) fn length(seconds: f64) -> String {
    match seconds.round() as u64 {
        0..60 => span(Some(seconds)),
        s @ 60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => span(Some(seconds)),
    }
}

pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", show_count(count))
}

/// A row of the table of times. A long name, count or time pushes the others aside as far as it must: nothing is cut, nothing touches.
fn time_line(name: &str, row: &MetricRow) -> String {
    const COUNT_END: usize = 21;
    const COLUMN: usize = 8;
    let count = show_count(row.count);
    let width = COUNT_END.saturating_sub(count.len()).max(name.len() + 3);
    let mut line = format!("{}{count}", named(name, width));
    let values = [row.min, row.med, row.p90, row.p95, row.p99, row.max];
    for (column, value) in values.into_iter().enumerate() {
        let end = COUNT_END + COLUMN * (column + 1);
        let room = end.saturating_sub(line.chars().count() + 1);
        let _ = write!(line, " {:>room$}", span(value));
    }
    line
}

/// A name indented by two, in exactly `width` columns, the last of them blank.
fn named(name: &str, width: usize) -> String {
    let room = width.saturating_sub(3);
    format!("  {:<room$} ", cut(name, room))
}

/// The text, or its beginning and an ellipsis where it is longer than `room` characters.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Lines of at most `width` characters, broken at blanks; a longer word is broken where it must be.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        let used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + rest.len() > width {
            lines.push(String::new());
        } else if used > 0 {
            lines.last_mut().expect("there is a line").push(' ');
        }
        while rest.len() > width {
            lines.last_mut().expect("there is a line").extend(rest.drain(..width));
            lines.push(String::new());
        }
        lines.last_mut().expect("there is a line").extend(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_is_shown_as_the_whole() {
        assert_eq!(
            [share(100.0), share(99.9996), share(3.0), share(0.0001), share(0.0)],
            ["100.00 %", "99.99 %", "3.00 %", "0.01 %", "0.00 %"]
        );
    }

    #[test]
    fn lines_break_at_blanks_and_long_words_where_they_must() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("ab cdefghij k", 4), ["ab", "cdef", "ghij", "k"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn runs_are_as_long_as_a_person_says() {
        assert_eq!([length(14.84), length(418.0), length(21_720.0)], ["14.8 s", "6m58s", "6h02m"]);
    }

    #[test]
    fn the_rerun_command_survives_a_shell() {
        assert_eq!(quoted("fleet.demo.count=50"), "fleet.demo.count=50");
        assert_eq!(quoted("scenario.duration=30 s"), "'scenario.duration=30 s'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }

    #[test]
    fn a_crowded_row_of_times_is_neither_cut_nor_run_together() {
        let row = |count, seconds| MetricRow {
            name: "connect_time".to_owned(),
            labels: BTreeMap::new(),
            kind: "trend".to_owned(),
            unit: "s".to_owned(),
            count,
            sum: None,
            min: Some(seconds),
            avg: None,
            med: Some(seconds),
            p90: Some(seconds),
            p95: None,
            p99: None,
            p999: None,
            max: None,
        };
        assert_eq!(
            time_line("connect_time", &row(400, 2.0)),
            "  connect_time    400  2.00 s  2.00 s  2.00 s       -       -       -"
        );
        let crowded = time_line("connect_time", &row(1_000_000, 693.3));
        assert_eq!(
            crowded.split_whitespace().take(5).collect::<Vec<_>>(),
            ["connect_time", "1,000,000", "11m33.3s", "11m33.3s", "11m33.3s"]
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_cut() {
        assert_eq!(named("canary", 10), "  canary  ");
        assert_eq!(named("everything-else", 10), "  everyt… ");
    }
}
