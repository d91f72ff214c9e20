//! `histograms.hlog`: every distribution of a run as an HDR interval log, one line a series, which any HDR implementation reads.
//!
//! Values are microseconds (bytes of `data_used`, a value a device); the tag names the series as a measure does (`deploy_time{cohort:west}`), with `;` between labels, since the
//! format keeps the comma for itself. Read back, the log gives the curves of a report.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::measure::{Group, Recorder, Trend};
use crate::model::Phase;
use crate::time::SimTime;

use super::series::shown_labels;

/// Distributions by the name of their series: `deploy_time{cohort:west}`.
pub(super) type Histograms = BTreeMap<String, Histogram<u64>>;

/// Writes every distribution that has values, in order of their names.
pub(super) fn write_histograms(recorder: &Recorder, elapsed: SimTime, file: &mut dyn Write) -> io::Result<()> {
    let mut text = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(
            "values are microseconds, and the largest stands in seconds; of data_used they are bytes, and millions of them",
        )
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut text, &mut serializer)?;
    let length = Duration::from_nanos(elapsed.as_nanos());
    for (name, trend) in series(recorder) {
        let (Some(histogram), Some(tag)) = (trend.histogram(), Tag::new(&name)) else {
            continue;
        };
        let written = log.write_histogram(histogram, Duration::ZERO, length, Some(tag));
        written.map_err(|error| io::Error::other(error.to_string()))?;
    }
    if let Some(used) = data_used(recorder) {
        let written = log.write_histogram(&used, Duration::ZERO, length, Tag::new("data_used"));
        written.map_err(|error| io::Error::other(error.to_string()))?;
    }
    file.write_all(&text)
}

/// Bytes a device; `None` where nothing crossed.
fn data_used(recorder: &Recorder) -> Option<Histogram<u64>> {
    let mut used = Histogram::new(3).ok()?;
    for bytes in recorder.data_used() {
        used.record(bytes).ok()?;
    }
    (used.max() > 0).then_some(used)
}

/// Every trend with the name that its tag gives it.
fn series(recorder: &Recorder) -> BTreeMap<String, &Trend> {
    let mut all = BTreeMap::new();
    group(&mut all, "", recorder.total());
    for (fleet, figures) in recorder.by_fleet() {
        group(&mut all, &format!("fleet:{fleet}"), figures);
    }
    for (cohort, figures) in recorder.by_cohort() {
        group(&mut all, &format!("cohort:{cohort}"), figures);
    }
    for asked in recorder.requested() {
        if let Some(trend) = asked.trend() {
            let labels = shown_labels(&asked.labels);
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            all.entry(tag_of(&asked.metric.to_string(), &labels)).or_insert(trend);
        }
    }
    all
}

fn group<'a>(all: &mut BTreeMap<String, &'a Trend>, who: &str, figures: &'a Group) {
    let mut put = |name: &str, own: Option<String>, trend: &'a Trend| {
        let who = Some(who.to_owned()).filter(|who| !who.is_empty());
        let labels: Vec<_> = who.into_iter().chain(own).collect();
        all.insert(tag_of(name, &labels), trend);
    };
    put("update_time", None, &figures.update_time);
    put("deploy_time", None, &figures.deploy_time);
    put("connect_time", None, &figures.connect_time);
    put("connect_time_raw", None, &figures.connect_time_raw);
    for (phase, visits) in Phase::ALL.iter().zip(&figures.phase_time) {
        put("phase_time", Some(format!("phase:{phase}")), visits);
    }
}

fn tag_of(metric: &str, labels: &[String]) -> String {
    let name = match labels.is_empty() {
        true => metric.to_owned(),
        false => format!("{metric}{{{}}}", labels.join(";")),
    };
    // What the format has no place for; names and values of the language hold none of it.
    name.replace([',', ' ', '\r', '\n'], "_")
}

/// Reads a log; lines that make no sense are an error that names them.
pub(super) fn read_histograms(log: &[u8]) -> Result<Histograms, String> {
    let mut all = Histograms::new();
    let mut reader = Deserializer::new();
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(interval) = entry.map_err(|_| "not an HDR histogram log".to_owned())? else {
            continue;
        };
        let Some(tag) = interval.tag() else {
            continue;
        };
        let packed = STANDARD.decode(interval.encoded_histogram());
        let packed = packed.map_err(|error| format!("histogram `{}`: {error}", tag.as_str()))?;
        let histogram = reader.deserialize(&mut packed.as_slice());
        let histogram = histogram.map_err(|_| format!("histogram `{}` is damaged", tag.as_str()))?;
        all.insert(tag.as_str().replace(';', ","), histogram);
    }
    Ok(all)
}
