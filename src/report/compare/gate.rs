//! A gate: a measure of a run's summary, one number a run.

use std::collections::BTreeMap;
use std::fmt;

use crate::measure::Metric;
use crate::model::closest;
use crate::report::summary::{MetricRow, Summary};

/// Gates of a comparison that names none.
pub const DEFAULT_GATES: [&str; 4] = [
    "update_time p(95)",
    "deploy_time p(99)",
    "connect_time p(95)",
    "throughput med",
];
/// Metrics of which more is better.
const BETTER_IF_MORE: [&str; 3] = ["throughput", "download_rate", "download_rate_raw"];
/// What a summary tells of a series.
const AGGREGATES: &str = "count, sum, min, avg, med, p(90), p(95), p(99), p(99.9), max";

/// `update_time{cohort:west} p(95)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    text: String,
    metric: String,
    labels: BTreeMap<String, String>,
    aggregate: &'static str,
}

impl Gate {
    /// Reads a gate: a measure without comparison.
    ///
    /// # Errors
    /// A fragment that says what is wrong, and the way out.
    pub fn parse(text: &str) -> Result<Gate, String> {
        let trimmed = text.trim();
        let (series, aggregate) = trimmed
            .rsplit_once(char::is_whitespace)
            .ok_or_else(|| "a gate is a metric and an aggregate, for example \"update_time p(95)\"".to_owned())?;
        let aggregate =
            known(aggregate).ok_or_else(|| format!("`{aggregate}` is not told by a summary: there are {AGGREGATES}"))?;
        let series = series.trim();
        let (metric, labels) = match series.split_once('{') {
            None => (series, BTreeMap::new()),
            Some((metric, labels)) => {
                let labels = labels.strip_suffix('}').ok_or_else(|| "`{` has no `}`".to_owned())?;
                (metric, read_labels(labels)?)
            }
        };
        let metric = metric.trim();
        if Metric::from_word(metric).is_none() {
            return Err(match closest(metric, Metric::ALL.iter().map(|metric| metric.word())) {
                Some(near) => format!("unknown metric `{metric}`: did you mean `{near}`?"),
                None => format!("unknown metric `{metric}`: docs/metrics.md has all of them"),
            });
        }
        Ok(Gate {
            text: trimmed.to_owned(),
            metric: metric.to_owned(),
            labels,
            aggregate,
        })
    }

    /// The gates of a comparison that names none.
    pub fn defaults() -> Vec<Gate> {
        let gates = DEFAULT_GATES.iter().map(|text| Gate::parse(text));
        gates
            .map(|gate| gate.expect("the gates of this file are well formed"))
            .collect()
    }

    /// Whether a larger value is a regression.
    pub(super) fn more_is_worse(&self) -> bool {
        !BETTER_IF_MORE.contains(&self.metric.as_str())
    }

    /// Unit of the value: `s`, `B`, `B/s`, `1`.
    pub(super) fn unit<'a>(&self, summary: &'a Summary) -> Option<&'a str> {
        self.row(summary).map(|row| match self.aggregate {
            "count" => "1",
            _ => row.unit.as_str(),
        })
    }

    /// The value of a run; infinite where it is not over, `None` where the run does not tell.
    pub(super) fn value(&self, summary: &Summary) -> Option<f64> {
        let row = self.row(summary)?;
        let value = match self.aggregate {
            "count" => return Some(row.count as f64),
            "sum" => row.sum,
            "min" => row.min,
            "avg" => row.avg,
            "med" => row.med,
            "p90" => row.p90,
            "p95" => row.p95,
            "p99" => row.p99,
            "p999" => row.p999,
            _ => row.max,
        };
        let states = &summary.devices.by_state;
        let open: u64 = ["pending", "in-progress"].iter().filter_map(|state| states.get(*state)).sum();
        let endless = row.count > 0 || (self.metric == "deploy_time" && open > 0);
        value.or(endless.then_some(f64::INFINITY))
    }

    fn row<'a>(&self, summary: &'a Summary) -> Option<&'a MetricRow> {
        let mut rows = summary.metrics.iter();
        rows.find(|row| row.name == self.metric && row.labels == self.labels)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

fn known(aggregate: &str) -> Option<&'static str> {
    let words = [
        ("count", "count"),
        ("sum", "sum"),
        ("min", "min"),
        ("avg", "avg"),
        ("med", "med"),
        ("p(50)", "med"),
        ("p(90)", "p90"),
        ("p(95)", "p95"),
        ("p(99)", "p99"),
        ("p(99.9)", "p999"),
        ("max", "max"),
    ];
    words
        .into_iter()
        .find(|(word, _)| *word == aggregate)
        .map(|(_, column)| column)
}

fn read_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for label in text.split(',') {
        let (key, value) = label.split_once(':').ok_or_else(|| format!("label `{label}` has no `:`"))?;
        labels
            .entry(key.trim().to_owned())
            .and_modify(|all| *all = format!("{all},{}", value.trim()))
            .or_insert_with(|| value.trim().to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_read_as_measures_do() {
        let gate = Gate::parse(" update_time{cohort:west} p(95) ").unwrap();
        assert_eq!((gate.metric.as_str(), gate.aggregate), ("update_time", "p95"));
        assert_eq!(gate.labels, BTreeMap::from([("cohort".to_owned(), "west".to_owned())]));
        assert!(gate.more_is_worse() && !Gate::parse("throughput med").unwrap().more_is_worse());
    }

    #[test]
    fn a_gate_that_no_summary_tells_is_refused_with_the_way_out() {
        assert!(Gate::parse("update_time").unwrap_err().contains("update_time p(95)"));
        assert!(Gate::parse("update_tim p(95)").unwrap_err().contains("`update_time`?"));
        assert!(Gate::parse("update_time p(97)").unwrap_err().contains("p(95), p(99)"));
        assert!(
            Gate::parse("update_time{cohort:west p(95)")
                .unwrap_err()
                .contains("has no `}`")
        );
    }
}
