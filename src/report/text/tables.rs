//! The tables of the summary: cohorts, times, data, faults.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{CohortName, UpdateState, show_count, show_size};
use crate::report::summary::{FaultRow, MetricRow, Summary};
use crate::report::words::{counted, cut, span, wrapped};

use super::{BODY, Page, RIGHT};

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

impl Page {
    /// The cohorts; all devices where there are none, or where some are in no cohort.
    pub(super) fn cohorts(&mut self, summary: &Summary) {
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

    pub(super) fn times(&mut self, summary: &Summary) {
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

    /// How tries to connect ended, where most of them failed: then this is what to look at.
    pub(super) fn connects(&mut self, summary: &Summary) {
        let count = |labels: &[(&str, &str)]| summary.metric("connects", labels).map_or(0, |row| row.count);
        let (tries, done) = (count(&[]), count(&[("result", "ok")]));
        if tries <= 2 * done {
            return;
        }
        let ended = ["refused", "timeout", "reset", "tls", "auth"].map(|result| (result, count(&[("result", result)])));
        let ended = ended.iter().filter(|(_, count)| *count > 0);
        let ended: Vec<_> = ended
            .map(|(result, count)| format!("{result} {}", show_count(*count)))
            .collect();
        let text = format!(
            "{} tries, {} succeeded; {}",
            show_count(tries),
            show_count(done),
            ended.join(", ")
        );
        self.entry("connects", &text);
    }

    /// What came over the links, and what of it was of use.
    pub(super) fn data(&mut self, summary: &Summary) {
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
    pub(super) fn faults(&mut self, summary: &Summary) {
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
    if let Some(because) = missed_because(row) {
        let whole: u64 = row.missed_because.values().sum();
        text += &format!(", {} missed ({because})", show_count(whole));
    }
    text
}

/// Why what was planned of a fault did not come about, with how often where there are several reasons.
pub(in crate::report) fn missed_because(row: &FaultRow) -> Option<String> {
    let several = row.missed_because.len() > 1;
    let reasons = row.missed_because.iter().map(|(why, count)| match several {
        true => format!("{why}: {}", show_count(*count)),
        false => why.clone(),
    });
    let reasons: Vec<_> = reasons.collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
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

#[cfg(test)]
mod tests {
    use super::*;

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
