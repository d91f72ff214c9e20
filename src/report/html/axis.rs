//! Axes: where a value stands, which ticks a reader expects, and how they are written with their unit.

use std::time::Duration;

use crate::model::{show_count, show_duration, show_size};

/// What an axis counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Devices or events.
    Count,
    /// Events a second.
    Rate,
    /// Seconds, written with the unit that suits each.
    Span,
    /// Percent.
    Percent,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// A value as a tick or a tooltip writes it.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Unit::Count if value.fract() == 0.0 => show_count(value.max(0.0) as u64),
            Unit::Count => format!("{value:.1}"),
            Unit::Rate if value == 0.0 => "0".to_owned(),
            Unit::Rate => format!("{}/s", number(value)),
            Unit::Span => tick(value),
            Unit::Percent => format!("{} %", number(value)),
            Unit::Bytes => show_size(value),
        }
    }
}

/// At most two decimals, and none that say nothing.
fn number(value: f64) -> String {
    match value {
        v if v.abs() >= 100.0 || v.fract() == 0.0 => show_count(v.max(0.0).round() as u64),
        v if v.abs() >= 1.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A time, down to microseconds; from a second on as the summary has it.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => tick(s),
        s => show_duration(Duration::from_secs_f64(s)),
    }
}

/// A time at an axis, where zeros say nothing.
pub(super) fn tick(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0".to_owned(),
        s if s < 0.001 => format!("{} µs", figure(s * 1e6)),
        s if s < 1.0 => format!("{} ms", figure(s * 1e3)),
        s if s <= 100.0 => format!("{} s", figure(s)),
        s => show_duration(Duration::from_secs_f64(s)),
    }
}

/// Three significant digits without trailing zeros.
fn figure(value: f64) -> String {
    let decimals = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// From values to a place between 0 and 1.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// Even.
    Linear { low: f64, high: f64 },
    /// By the logarithm; both ends are above zero.
    Log { low: f64, high: f64 },
}

impl Scale {
    /// From zero to a round number that `high` fits below.
    pub(super) fn from_zero(high: f64) -> Scale {
        let step = round_step(high.max(1e-9) / 4.0);
        Scale::Linear {
            low: 0.0,
            high: (high / step).ceil().max(1.0) * step,
        }
    }

    /// Over whole decades.
    pub(super) fn decades(low: f64, high: f64) -> Scale {
        let low = 10f64.powf(low.max(1e-6).log10().floor());
        let high = 10f64.powf(high.max(1e-6).log10().ceil());
        Scale::Log {
            low,
            high: high.max(low * 10.0),
        }
    }

    /// Where a value stands, 0 to 1.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Scale::Linear { low, high } => (value - low) / (high - low),
            Scale::Log { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    /// Values worth a tick.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Scale::Linear { low, high } => {
                let step = round_step((high - low) / 5.0);
                let count = ((high - low) / step + 1e-6).floor() as u32;
                (0..=count).map(|number| low + f64::from(number) * step).collect()
            }
            Scale::Log { low, high } => {
                let decades = (high / low).log10().round() as i32;
                let every = decades / 6 + 1;
                (0..=decades)
                    .step_by(every as usize)
                    .map(|decade| low * 10f64.powi(decade))
                    .collect()
            }
        }
    }
}

/// The smallest of 1, 2, 5, 10, … that is at least `least`.
fn round_step(least: f64) -> f64 {
    let decade = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * decade >= least * 0.999_999);
    step.unwrap_or(10.0) * decade
}

/// The time of a run as an axis: ticks in the unit that suits its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeAxis {
    end: f64,
    /// Seconds in the unit, and its name.
    unit: (f64, &'static str),
}

impl TimeAxis {
    /// An axis from zero to `end` seconds.
    pub(super) fn new(end: f64) -> TimeAxis {
        let unit = match end {
            e if e <= 180.0 => (1.0, "s"),
            e if e <= 3.0 * 3600.0 => (60.0, "min"),
            e if e <= 72.0 * 3600.0 => (3600.0, "h"),
            _ => (86_400.0, "d"),
        };
        TimeAxis {
            end: end.max(1e-3),
            unit,
        }
    }

    pub(super) fn place(self, seconds: f64) -> f64 {
        (seconds / self.end).clamp(0.0, 1.0)
    }

    /// Seconds and what is written there.
    pub(super) fn ticks(self) -> Vec<(f64, String)> {
        let step = round_step(self.end / self.unit.0 / 8.0);
        let count = (self.end / self.unit.0 / step + 1e-6).floor() as u32;
        let tick = |number: u32| {
            let value = f64::from(number) * step;
            (value * self.unit.0, figure(value))
        };
        (0..=count).map(tick).collect()
    }

    /// Name of the unit: `s`, `min`, `h`, `d`.
    pub(super) fn unit(self) -> &'static str {
        self.unit.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_end_where_the_axis_does() {
        assert_eq!(Scale::from_zero(37.0).ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert!(Scale::from_zero(0.0).ticks().len() >= 5);
        assert_eq!(Scale::decades(0.02, 3.0).ticks(), [0.01, 0.1, 1.0, 10.0]);
        let minutes = TimeAxis::new(418.0).ticks();
        assert_eq!(minutes.last(), Some(&(360.0, "6".to_owned())));
        assert_eq!(TimeAxis::new(3600.0).unit(), "min");
    }

    #[test]
    fn times_are_short_at_every_size() {
        assert_eq!(
            [0.0, 0.00025, 0.0148, 0.1, 6.0, 12.345, 418.0].map(span),
            ["0", "250 µs", "14.8 ms", "100 ms", "6.00 s", "12.3 s", "6m58.0s"]
        );
        assert_eq!([1.0, 10.0, 100.0].map(tick), ["1 s", "10 s", "100 s"]);
    }
}
