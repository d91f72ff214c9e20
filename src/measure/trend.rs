//! How long things took: a histogram of three digits in bounded memory.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::query::Aggregate;
use super::recorder::Measured;
use super::series::rate;
use crate::time::SimTime;

/// Longest time that the histogram tells apart; what is longer counts as this long, and is counted.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// What a histogram counts in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Grain {
    /// Microseconds, told in seconds.
    #[default]
    Micros,
    /// What is recorded, told as it is.
    Ones,
}

/// A distribution of times, or of amounts: times to the microsecond below 2 ms and to a part in a thousand above.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Packed", into = "Packed")]
pub struct Trend {
    grain: Grain,
    /// Made at the first value, so that a series without values costs nothing.
    histogram: Option<Box<Histogram<u64>>>,
    count: u64,
    sum_us: u128,
    min_us: u64,
    max_us: u64,
    too_long: u64,
}

/// A distribution as it is written: the counts of its histogram's buckets, and what is known to the last digit.
#[derive(Serialize, Deserialize)]
struct Packed {
    grain: Grain,
    counts: Vec<(u64, u64)>,
    sum: u128,
    min: u64,
    max: u64,
    too_long: u64,
}

impl From<Trend> for Packed {
    fn from(trend: Trend) -> Packed {
        let buckets = trend.histogram.iter().flat_map(|histogram| histogram.iter_recorded());
        Packed {
            grain: trend.grain,
            counts: buckets
                .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
                .collect(),
            sum: trend.sum_us,
            min: trend.min_us,
            max: trend.max_us,
            too_long: trend.too_long,
        }
    }
}

impl From<Packed> for Trend {
    fn from(packed: Packed) -> Trend {
        let mut trend = Trend {
            grain: packed.grain,
            ..Trend::default()
        };
        for (value, times) in packed.counts {
            trend.take_times(value.clamp(packed.min, packed.max), times);
        }
        Trend {
            sum_us: packed.sum,
            min_us: packed.min,
            max_us: packed.max,
            too_long: packed.too_long,
            ..trend
        }
    }
}

impl Trend {
    /// A distribution of amounts: bytes a second.
    pub fn of_amounts() -> Trend {
        Trend {
            grain: Grain::Ones,
            ..Trend::default()
        }
    }

    /// The distribution of times in microseconds, each with how often it was seen.
    pub fn of_counts(counts: impl IntoIterator<Item = (u64, u64)>) -> Trend {
        let mut trend = Trend::default();
        counts.into_iter().for_each(|(us, times)| trend.take_times(us, times));
        trend
    }

    /// The distribution of times that a histogram of microseconds holds.
    pub fn of_micros(histogram: &Histogram<u64>) -> Trend {
        let seen = histogram.iter_recorded().map(|step| {
            let us = histogram.highest_equivalent(step.value_iterated_to());
            (us, step.count_since_last_iteration())
        });
        Trend::of_counts(seen)
    }

    /// Both distributions as one; they count in the same grain.
    #[must_use]
    pub fn with(mut self, other: &Trend) -> Trend {
        debug_assert_eq!(self.grain, other.grain);
        let Some(more) = &other.histogram else { return self };
        let (sum_us, min_us, max_us) = (self.sum_us + other.sum_us, self.min_us, self.max_us.max(other.max_us));
        let min_us = if self.count == 0 {
            other.min_us
        } else {
            min_us.min(other.min_us)
        };
        let histogram = self.histogram.get_or_insert_with(empty);
        // Value by value, so that it grows as one that all values were recorded in: reports show that to the byte.
        for step in more.iter_recorded() {
            let recorded = histogram.record_n(step.value_iterated_to(), step.count_since_last_iteration());
            recorded.expect("the histogram grows");
        }
        Trend {
            count: self.count + other.count,
            too_long: self.too_long + other.too_long,
            sum_us,
            min_us,
            max_us,
            ..self
        }
    }

    /// Takes the values of another distribution, which counts in the same grain.
    pub(super) fn add(&mut self, other: &Trend) {
        *self = std::mem::take(self).with(other);
    }

    pub(super) fn record(&mut self, time: Duration) {
        self.take(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn record_amount(&mut self, amount: u64) {
        self.take(amount);
    }

    fn told(&self, counted: f64) -> f64 {
        match self.grain {
            Grain::Micros => counted / 1e6,
            Grain::Ones => counted,
        }
    }

    fn take(&mut self, us: u64) {
        self.take_times(us, 1);
    }

    fn take_times(&mut self, us: u64, times: u64) {
        let longest = LONGEST.as_micros() as u64;
        if us > longest {
            self.too_long += times;
        }
        let us = us.min(longest);
        self.min_us = if self.count == 0 { us } else { self.min_us.min(us) };
        self.max_us = self.max_us.max(us);
        self.count += times;
        self.sum_us += u128::from(us) * u128::from(times);
        let histogram = self.histogram.get_or_insert_with(empty);
        histogram
            .record_n(us, times)
            .expect("the histogram grows, and 30 days in microseconds fit it");
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Values longer than 30 days, which count as 30 days.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    /// The distribution in microseconds; `None` without values.
    pub fn histogram(&self) -> Option<&Histogram<u64>> {
        self.histogram.as_deref()
    }

    /// Sum, seconds.
    pub fn sum(&self) -> f64 {
        self.told(self.sum_us as f64)
    }

    /// Mean, seconds.
    pub fn avg(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum() / self.count as f64)
    }

    /// Smallest, seconds.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then(|| self.told(self.min_us as f64))
    }

    /// Largest, seconds.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then(|| self.told(self.max_us as f64))
    }

    /// The value that `percent` of the values do not exceed, seconds; `open` further values count as infinite.
    pub fn percentile(&self, percent: f64, open: u64) -> Option<f64> {
        let total = self.count + open;
        if total == 0 {
            return None;
        }
        let rank = ((percent / 100.0 * total as f64).ceil() as u64).clamp(1, total);
        if rank > self.count {
            return Some(f64::INFINITY);
        }
        let histogram = self.histogram.as_ref()?;
        let mut seen = 0;
        for step in histogram.iter_recorded() {
            seen += step.count_since_last_iteration();
            if seen >= rank {
                let us = histogram.highest_equivalent(step.value_iterated_to());
                return Some(self.told(us.clamp(self.min_us, self.max_us) as f64));
            }
        }
        self.max()
    }

    /// Several percentiles in one pass, seconds; `percents` grow.
    pub fn percentiles<const N: usize>(&self, percents: [f64; N]) -> [Option<f64>; N] {
        let mut found = [None; N];
        let Some(histogram) = self.histogram.as_ref().filter(|_| self.count > 0) else {
            return found;
        };
        let rank = |percent: f64| ((percent / 100.0 * self.count as f64).ceil() as u64).clamp(1, self.count);
        let (mut seen, mut next) = (0, 0);
        for step in histogram.iter_recorded() {
            seen += step.count_since_last_iteration();
            while next < N && seen >= rank(percents[next]) {
                let us = histogram.highest_equivalent(step.value_iterated_to());
                found[next] = Some(self.told(us.clamp(self.min_us, self.max_us) as f64));
                next += 1;
            }
            if next == N {
                break;
            }
        }
        found
    }

    /// The value of an aggregate other than share; with `open` values counted as infinite.
    pub(super) fn measured(&self, aggregate: Aggregate, open: u64, now: SimTime) -> Option<Measured> {
        match aggregate {
            Aggregate::Rate => rate(self.count, now),
            _ => self.value(aggregate, open),
        }
    }

    /// The value of an aggregate other than share and rate; with `open` values counted as infinite.
    pub(super) fn value(&self, aggregate: Aggregate, open: u64) -> Option<Measured> {
        let endless = |value: Option<f64>| if open > 0 { Some(f64::INFINITY) } else { value };
        let value = match aggregate {
            Aggregate::Count => Some(self.count as f64),
            Aggregate::Sum => endless(Some(self.sum())),
            Aggregate::Min => self.min().or_else(|| endless(None)),
            Aggregate::Avg => endless(self.avg()),
            Aggregate::Med => self.percentile(50.0, open),
            Aggregate::Max => endless(self.max()),
            Aggregate::Percentile(percent) => self.percentile(percent, open),
            Aggregate::Share | Aggregate::Rate => None,
        };
        value.map(|value| Measured {
            value,
            base: self.count + open,
        })
    }
}

fn empty() -> Box<Histogram<u64>> {
    Box::new(Histogram::new(3).expect("three digits are within the histogram's range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(millis: impl IntoIterator<Item = u64>) -> Trend {
        let mut trend = Trend::default();
        millis.into_iter().for_each(|ms| trend.record(Duration::from_millis(ms)));
        trend
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let trend = trend((1..=1000).rev());
        for percent in [1.0, 50.0, 90.0, 95.0, 99.0, 99.9] {
            let (found, exact) = (trend.percentile(percent, 0).unwrap(), percent / 100.0);
            assert!((found - exact).abs() <= exact / 950.0, "p({percent}) is {found}");
        }
        assert_eq!((trend.min(), trend.max(), trend.count()), (Some(0.001), Some(1.0), 1000));
        assert_eq!(trend.avg(), Some(0.5005));
        let each = [50.0, 95.0, 99.0].map(|percent| trend.percentile(percent, 0));
        assert_eq!(trend.percentiles([50.0, 95.0, 99.0]), each);
        assert_eq!(
            (trend.percentile(0.0, 0), trend.percentile(100.0, 0)),
            (Some(0.001), Some(1.0))
        );
    }

    #[test]
    fn two_distributions_make_the_one_of_all_their_values() {
        let (low, high) = (trend(1..=600), trend(601..=1000));
        let both = low.clone().with(&high);
        assert_eq!(both, trend(1..=1000));
        assert_eq!(Trend::default().with(&both).with(&Trend::default()), both);
        let counted = Trend::of_counts([(2_000, 3), (5_000, 1)]);
        assert_eq!(counted, trend([2, 2, 5, 2]));
    }

    #[test]
    fn a_distribution_is_read_back_as_it_was_written() {
        for written in [Trend::default(), trend([1, 7, 7, 90_001]), Trend::of_amounts()] {
            let text = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<Trend>(&text).unwrap(), written, "{text}");
        }
    }

    #[test]
    fn open_values_are_infinite() {
        let trend = trend([1000; 98]);
        assert_eq!(trend.percentile(98.0, 2), Some(1.0));
        assert_eq!(trend.percentile(99.0, 2), Some(f64::INFINITY));
        assert_eq!(trend.value(Aggregate::Max, 2).unwrap().value, f64::INFINITY);
        assert_eq!(trend.value(Aggregate::Min, 2).unwrap(), Measured { value: 1.0, base: 100 });
    }

    #[test]
    fn nothing_has_no_percentile_but_a_count() {
        assert_eq!(Trend::default().value(Aggregate::Med, 0), None);
        assert_eq!(Trend::default().value(Aggregate::Count, 0).unwrap().value, 0.0);
    }

    #[test]
    fn a_value_that_does_not_fit_is_counted() {
        let trend = trend([1, 1000 * 3600 * 24 * 31]);
        assert_eq!((trend.count(), trend.too_long()), (2, 1));
        assert_eq!(trend.max(), Some(LONGEST.as_secs_f64()));
    }
}
