//! The series of a run as rows of its summary: what is over all devices, by fleet, by cohort, and what the scenario asked for.

use std::collections::BTreeMap;

use crate::measure::{Aggregate, Group, Kind, Label, Measure, Metric, Recorder, Trend};
use crate::model::{AttemptResult, BootReason, ConnectResult, Phase};
use crate::time::SimTime;

use super::sum::{Census, finite};
use super::summary::MetricRow;
use super::untrusted::clean;

/// Every series of a run, as rows of its summary.
pub(super) fn metrics(recorder: &Recorder, census: &Census, elapsed: SimTime) -> Vec<MetricRow> {
    let mut rows = Vec::new();
    group(&mut rows, &[], recorder.total(), census.open);
    rows.push(MetricRow {
        kind: Metric::Throughput.kind().word().to_owned(),
        ..rates("throughput", &[], recorder.throughput())
    });
    rows.extend(of_harness(recorder));
    for (fleet, figures) in recorder.by_fleet() {
        let open = census.open_by_fleet.get(fleet).copied().unwrap_or(0);
        group(&mut rows, &[("fleet", fleet)], figures, open);
    }
    for (cohort, figures) in recorder.by_cohort() {
        let open = census.open_by_cohort.get(cohort.as_str()).copied().unwrap_or(0);
        group(&mut rows, &[("cohort", cohort.as_str())], figures, open);
    }
    for series in recorder.requested() {
        let row = requested(recorder, series.metric, &series.labels, elapsed);
        if !rows
            .iter()
            .any(|known: &MetricRow| known.name == row.name && known.labels == row.labels)
        {
            rows.push(row);
        }
    }
    rows
}

/// Rows of the series that every run has. What never happened has no row of its own, the totals excepted.
fn group(rows: &mut Vec<MetricRow>, labels: &[(&str, &str)], group: &Group, open: u64) {
    rows.push(counter("attempts", labels, &[], group.attempts.iter().sum()));
    for (result, count) in AttemptResult::ALL.iter().zip(group.attempts).filter(|(_, count)| *count > 0) {
        rows.push(counter("attempts", labels, &[("result", result.word())], count));
    }
    rows.push(counter("rollbacks", labels, &[], group.rollbacks));
    rows.push(counter("connects", labels, &[], group.connects.iter().sum()));
    for (result, count) in ConnectResult::ALL.iter().zip(group.connects).filter(|(_, count)| *count > 0) {
        rows.push(counter("connects", labels, &[("result", result.word())], count));
    }
    rows.push(counter("manifests", labels, &[], group.manifests + group.manifests_again));
    rows.push(counter("manifests", labels, &[("repeat", "yes")], group.manifests_again));
    for (dir, count) in [("up", group.messages_up), ("down", group.messages_down)] {
        rows.push(counter("messages", labels, &[("dir", dir)], count));
    }
    for (op, count) in [("erase", group.flash_erases), ("write", group.flash_writes)] {
        rows.push(counter("flash_ops", labels, &[("op", op)], count));
    }
    for (name, count) in [
        ("requests", group.requests),
        ("retries", group.retries),
        ("resumes", group.resumes),
        ("restarts", group.restarts),
    ] {
        rows.push(counter(name, labels, &[], count));
    }
    rows.push(counter("boots", labels, &[], group.boots.iter().sum()));
    for (why, count) in BootReason::ALL.iter().zip(group.boots).filter(|(_, count)| *count > 0) {
        rows.push(counter("boots", labels, &[("why", why.word())], count));
    }
    for (own, bytes) in [
        (&[("dir", "up")][..], group.bytes_up),
        (&[("dir", "down")], group.bytes_down),
        (&[("kind", "image")], group.image_bytes),
        (&[("kind", "wasted")], group.wasted_bytes),
    ] {
        let row = counter("bytes", labels, own, bytes);
        rows.push(MetricRow {
            unit: "B".to_owned(),
            ..row
        });
    }
    rows.push(trend("update_time", labels, &[], &group.update_time, 0));
    rows.push(trend("deploy_time", labels, &[], &group.deploy_time, open));
    rows.push(trend("connect_time", labels, &[], &group.connect_time, 0));
    rows.push(rates("download_rate", labels, &group.download_rate.0));
    rows.push(trend("connect_time_raw", labels, &[], &group.connect_time_raw, 0));
    for (phase, visits) in Phase::ALL
        .iter()
        .zip(&group.phase_time)
        .filter(|(_, visits)| visits.count() > 0)
    {
        rows.push(trend("phase_time", labels, &[("phase", phase.word())], visits, 0));
    }
}

fn label_map(labels: &[(&str, &str)], own: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels
        .iter()
        .chain(own)
        .map(|(key, value)| ((*key).to_owned(), clean(value)))
        .collect()
}

fn counter(name: &str, labels: &[(&str, &str)], own: &[(&str, &str)], count: u64) -> MetricRow {
    MetricRow {
        name: name.to_owned(),
        labels: label_map(labels, own),
        kind: "counter".to_owned(),
        unit: "1".to_owned(),
        count,
        sum: Some(count as f64),
        min: None,
        avg: None,
        med: None,
        p90: None,
        p95: None,
        p99: None,
        p999: None,
        max: None,
    }
}

/// A distribution of bytes a second, whose sum means nothing.
fn rates(name: &str, labels: &[(&str, &str)], values: &Trend) -> MetricRow {
    MetricRow {
        unit: "B/s".to_owned(),
        sum: None,
        ..trend(name, labels, &[], values, 0)
    }
}

fn trend(name: &str, labels: &[(&str, &str)], own: &[(&str, &str)], trend: &Trend, open: u64) -> MetricRow {
    let part = |percent: f64| trend.percentile(percent, open).and_then(finite);
    let over = |value: Option<f64>| value.filter(|_| open == 0).and_then(finite);
    MetricRow {
        name: name.to_owned(),
        labels: label_map(labels, own),
        kind: "trend".to_owned(),
        unit: "s".to_owned(),
        count: trend.count(),
        sum: over((trend.count() > 0).then(|| trend.sum())),
        min: trend.min().and_then(finite),
        avg: over(trend.avg()),
        med: part(50.0),
        p90: part(90.0),
        p95: part(95.0),
        p99: part(99.0),
        p999: part(99.9),
        max: over(trend.max()),
    }
}

/// How harness and server fared; nothing in virtual time.
fn of_harness(recorder: &Recorder) -> Vec<MetricRow> {
    let Some(figures) = recorder.harness() else {
        return Vec::new();
    };
    let gauge = |name: &str, unit: &str| MetricRow {
        kind: "gauge".to_owned(),
        unit: unit.to_owned(),
        sum: None,
        ..counter(name, &[], &[], 1)
    };
    let percent = |name: &str, part: f64| MetricRow {
        avg: finite(part * 100.0),
        ..gauge(name, "%")
    };
    let mut rows = vec![
        trend("lateness", &[], &[], &figures.late, 0),
        percent("cpu", figures.cpu),
        MetricRow {
            max: finite(figures.memory as f64),
            ..gauge("memory", "B")
        },
        counter("dropped", &[], &[], figures.dropped),
    ];
    rows.extend(figures.server_cpu.map(|part| percent("server_cpu", part)));
    let times = figures.server_time.iter().filter(|(_, times)| times.count() > 0);
    rows.extend(times.map(|(op, times)| trend("server_time", &[], &[("op", op.word())], times, 0)));
    rows
}

/// Labels as a row shows them: key to values joined by `|`, a key that is turned round with its `!`.
pub(super) fn shown_labels(labels: &[Label]) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for label in labels {
        let key = format!("{}{}", if label.negated { "!" } else { "" }, label.key);
        let values = label.values.join("|");
        shown
            .entry(key)
            .and_modify(|all| *all = format!("{all},{values}"))
            .or_insert(values);
    }
    shown
}

/// The row of a series that the scenario asks for.
fn requested(recorder: &Recorder, metric: Metric, labels: &[Label], elapsed: SimTime) -> MetricRow {
    let value = |aggregate: Aggregate| {
        let measure = Measure {
            metric,
            labels: labels.to_vec(),
            aggregate,
            comparison: None,
        };
        recorder.value(&measure, elapsed).map(|measured| measured.value)
    };
    let timed = |aggregate: Aggregate| {
        let asked = aggregate != Aggregate::Sum || metric.kind() == Kind::Trend;
        let shown = |value: f64| if metric.unit() == "%" { value * 100.0 } else { value };
        let value = value(aggregate).filter(|_| asked && metric.allows(aggregate));
        value.map(shown).and_then(finite)
    };
    let count = value(Aggregate::Count).unwrap_or(0.0) as u64;
    MetricRow {
        name: metric.to_string(),
        labels: shown_labels(labels),
        kind: metric.kind().word().to_owned(),
        unit: metric.unit().to_owned(),
        count,
        sum: match metric.kind() {
            Kind::Gauge => None,
            Kind::Counter => Some(count as f64),
            Kind::Trend if count == 0 => None,
            Kind::Trend => timed(Aggregate::Sum),
        },
        min: timed(Aggregate::Min),
        avg: timed(Aggregate::Avg),
        med: timed(Aggregate::Med),
        p90: timed(Aggregate::Percentile(90.0)),
        p95: timed(Aggregate::Percentile(95.0)),
        p99: timed(Aggregate::Percentile(99.0)),
        p999: timed(Aggregate::Percentile(99.9)),
        max: timed(Aggregate::Max),
    }
}
