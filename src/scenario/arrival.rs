//! When devices are first powered on: planned before the run, in integers, so that every machine plans the same.

use std::time::Duration;

use crate::luck::{Luck, Purpose, device_key};
use crate::model::{EventRate, parse_duration, parse_event_rate};
use crate::time::SimTime;

use super::fields::{ARRIVAL, Complaint, Fields, TIME};
use super::text::{exact_rate, exact_time};

/// How a fleet arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub pattern: Pattern,
    /// The arrival begins here.
    pub from: Duration,
}

/// The shape of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// All in the same moment.
    AtOnce,
    /// Evenly, so many in a time.
    Rate(EventRate),
    /// Evenly over a time; the last one comes a gap before its end.
    Over(Duration),
    /// Gaps drawn from the exponential distribution.
    Poisson(EventRate),
    /// Over a time, in waves of a day: more around an hour, fewer twelve hours away from it.
    Diurnal {
        /// How long the arrival lasts, whole hours.
        over: Duration,
        /// The busiest hour of the day; the run begins at midnight.
        peak: Duration,
    },
}

impl Arrival {
    /// `at once`: what a fleet does that says nothing.
    pub const AT_ONCE: Arrival = Arrival {
        pattern: Pattern::AtOnce,
        from: Duration::ZERO,
    };

    /// Reads `arrive` of a fleet.
    pub fn parse(text: &str, fields: &Fields<'_>) -> Result<Arrival, Complaint> {
        let (body, from) = match text.rsplit_once(" from ") {
            Some((body, from)) => (
                body.trim(),
                parse_duration(from).map_err(|error| fields.not_a_quantity("arrive", TIME, error))?,
            ),
            None => (text.trim(), Duration::ZERO),
        };
        let rate = |text: &str| match parse_event_rate(text) {
            Ok(EventRate(0)) => Err(Complaint::new(
                format!("`arrive` of {} is a rate of zero", fields.subject),
                "write for example \"200/s\"",
            )),
            Ok(rate) => Ok(rate),
            Err(error) => Err(fields.not_a_quantity("arrive", ARRIVAL, error)),
        };
        let pattern = match body.split_once(' ') {
            _ if body == "at once" => Pattern::AtOnce,
            Some(("over", time)) => {
                Pattern::Over(parse_duration(time).map_err(|error| fields.not_a_quantity("arrive", TIME, error))?)
            }
            Some(("poisson", per)) => Pattern::Poisson(rate(per)?),
            Some(("diurnal", shape)) => diurnal(shape, fields)?,
            _ if body.starts_with(|c: char| c.is_ascii_digit()) => Pattern::Rate(rate(body)?),
            _ => {
                let hint = "write `at once`, a rate such as `200/s`, `over 30s`, `poisson 20/s` or `diurnal over 24h peak 18h`, each with `from T` if it begins later";
                return Err(Complaint::new(
                    format!("unknown arrival `{body}` of {}", fields.subject),
                    hint,
                ));
            }
        };
        Ok(Arrival { pattern, from })
    }

    /// How long it takes until `count` devices are there, on average.
    pub fn takes(self, count: u64) -> Duration {
        match self.pattern {
            Pattern::AtOnce => Duration::ZERO,
            Pattern::Rate(rate) | Pattern::Poisson(rate) => rate.due(count).unwrap_or_default(),
            Pattern::Over(time) | Pattern::Diurnal { over: time, .. } => time,
        }
    }

    /// When each device of a fleet is first powered on, by its number.
    pub fn moments(self, luck: Luck, fleet: &str, count: u32) -> Vec<SimTime> {
        let mut log_gaps = 0u128;
        let waves = match self.pattern {
            Pattern::Diurnal { over, peak } => Waves::new(over, peak),
            Pattern::AtOnce | Pattern::Rate(_) | Pattern::Over(_) | Pattern::Poisson(_) => Waves::default(),
        };
        (0..count)
            .map(|number| {
                let after = match self.pattern {
                    Pattern::AtOnce => Duration::ZERO,
                    Pattern::Rate(rate) => rate.due(u64::from(number)).unwrap_or_default(),
                    Pattern::Over(time) => {
                        let nanos = time.as_nanos() * u128::from(number) / u128::from(count);
                        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
                    }
                    Pattern::Poisson(rate) => {
                        let draw = luck.draw(Purpose::Arrival, device_key(fleet, number), 0);
                        log_gaps += u128::from(negative_log(draw));
                        Duration::from_nanos(mean_gaps(log_gaps, rate))
                    }
                    Pattern::Diurnal { .. } => waves.moment(number, count),
                };
                SimTime::from(self.from) + after
            })
            .collect()
    }
}

impl std::fmt::Display for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pattern {
            Pattern::AtOnce => f.write_str("at once")?,
            Pattern::Rate(rate) => f.write_str(&exact_rate(rate))?,
            Pattern::Over(time) => write!(f, "over {}", exact_time(time))?,
            Pattern::Poisson(rate) => write!(f, "poisson {}", exact_rate(rate))?,
            Pattern::Diurnal { over, peak } => write!(f, "diurnal over {} peak {}", exact_time(over), exact_time(peak))?,
        }
        match self.from {
            Duration::ZERO => Ok(()),
            from => write!(f, " from {}", exact_time(from)),
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// How busy an hour is that lies so many hours from the peak: 1 + 0.6 cos, in thousandths. The swing of 60 % is an estimate: what an
/// office loses outside its hours.
const SWING: [u64; 13] = [1600, 1580, 1520, 1424, 1300, 1155, 1000, 845, 700, 576, 480, 420, 400];

/// Reads `over T peak T`.
fn diurnal(shape: &str, fields: &Fields<'_>) -> Result<Pattern, Complaint> {
    let time = |text: &str| parse_duration(text.trim()).map_err(|error| fields.not_a_quantity("arrive", TIME, error));
    let parts = shape.trim().strip_prefix("over ").and_then(|rest| rest.split_once(" peak "));
    let Some((over, peak)) = parts else {
        let message = format!("arrival `diurnal` of {} has no `over T peak T`", fields.subject);
        return Err(Complaint::new(message, "write for example \"diurnal over 24h peak 18h\""));
    };
    let (over, peak) = (time(over)?, time(peak)?);
    let hours = |time: Duration| {
        time.as_nanos()
            .is_multiple_of(HOUR.as_nanos())
            .then_some(time.as_secs() / 3600)
    };
    match (hours(over), hours(peak)) {
        (Some(1..=8784), Some(0..=23)) => Ok(Pattern::Diurnal { over, peak }),
        _ => Err(Complaint::new(
            format!("arrival `diurnal` of {} is out of range", fields.subject),
            "whole hours: over 1h to 366d, with the peak at 0h to 23h of the day",
        )),
    }
}

/// The hours of a diurnal arrival: how much of it lies before the end of each, in thousandths of a mean hour.
#[derive(Default)]
struct Waves {
    until: Vec<u64>,
}

impl Waves {
    fn new(over: Duration, peak: Duration) -> Waves {
        let peak = peak.as_secs() / 3600;
        let weight = |hour: u64| {
            let apart = (hour % 24).abs_diff(peak);
            SWING[apart.min(24 - apart) as usize]
        };
        let add = |sum: &mut u64, hour: u64| {
            *sum += weight(hour);
            Some(*sum)
        };
        Waves {
            until: (0..over.as_secs() / 3600).scan(0, add).collect(),
        }
    }

    /// When the device with this number comes: where so much of the whole has passed.
    fn moment(&self, number: u32, count: u32) -> Duration {
        let whole = u128::from(self.until.last().copied().unwrap_or_default());
        // In parts of `count`, so that nothing is rounded before the end.
        let wanted = whole * u128::from(number);
        let parts = |sum: u64| u128::from(sum) * u128::from(count);
        let hour = self.until.partition_point(|&until| parts(until) <= wanted);
        let before = hour.checked_sub(1).map_or(0, |hour| self.until[hour]);
        let weight = self.until.get(hour).map_or(1, |&until| until - before);
        let nanos = (wanted - parts(before)) * HOUR.as_nanos() / parts(weight).max(1);
        HOUR * hour as u32 + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// So many mean gaps (with 32 fractional bits) of a rate, in nanoseconds.
fn mean_gaps(gaps: u128, rate: EventRate) -> u64 {
    const NANOS_OF_THOUSAND_DAYS: u128 = 86_400_000_000_000_000;
    let nanos = gaps.saturating_mul(NANOS_OF_THOUSAND_DAYS) / u128::from(rate.0.max(1));
    u64::try_from(nanos >> 32).unwrap_or(u64::MAX)
}

/// -ln(u) for u = (draw + 1) / 2^64, with 32 fractional bits: the binary logarithm bit by bit, by squaring, times ln 2. Floats would
/// differ from machine to machine.
fn negative_log(draw: u64) -> u64 {
    const LN_2: u128 = 0xb172_17f7_d1cf_79ab;
    let value = u128::from(draw) + 1;
    let exponent = 127 - value.leading_zeros();
    // The mantissa in [1, 2) with 63 fractional bits.
    let mut mantissa = (value << 63) >> exponent;
    let mut log = u64::from(exponent) << 32;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >= 1 << 64 {
            mantissa >>= 1;
            log |= 1 << bit;
        }
    }
    let binary = (64u64 << 32) - log;
    ((u128::from(binary) * LN_2) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integer_logarithm_is_the_logarithm() {
        for draw in [0, 1, 2, 1000, u64::MAX / 3, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let exact = -((draw as f64 + 1.0) / 2f64.powi(64)).ln();
            let found = negative_log(draw) as f64 / 2f64.powi(32);
            assert!((exact - found).abs() < 1e-8, "{draw}: {exact} {found}");
        }
    }

    #[test]
    fn the_logarithm_falls_as_the_draw_rises() {
        let draws = (0..4096u64).map(|n| n << 52 | 0xfff);
        let logs: Vec<u64> = draws.map(negative_log).collect();
        assert!(logs.windows(2).all(|pair| pair[0] >= pair[1]));
    }

    #[test]
    fn poisson_arrivals_keep_their_rate_and_scatter() {
        let arrival = Arrival {
            pattern: Pattern::Poisson(parse_event_rate("20/s").unwrap()),
            from: Duration::from_secs(3),
        };
        let moments = arrival.moments(Luck::new(1), "f", 20_000);
        assert!(moments.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(moments[0] >= SimTime::from_secs(3));
        let took = moments[19_999].since(SimTime::from_secs(3)).as_secs_f64();
        assert!((970.0..1030.0).contains(&took), "20,000 at 20/s took {took} s");
        let gaps: Vec<f64> = moments.windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64()).collect();
        let variance = gaps.iter().map(|gap| (gap - 0.05).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (0.9..1.1).contains(&(variance.sqrt() / 0.05)),
            "deviation {}",
            variance.sqrt()
        );
    }

    #[test]
    fn a_diurnal_arrival_is_four_times_as_busy_at_its_peak() {
        let arrival = Arrival {
            pattern: Pattern::Diurnal {
                over: HOUR * 48,
                peak: HOUR * 18,
            },
            from: Duration::ZERO,
        };
        let moments = arrival.moments(Luck::new(1), "f", 48_000);
        assert!(moments.windows(2).all(|pair| pair[0] <= pair[1]));
        let in_hour = |hour: u64| {
            let within = SimTime::from_secs(hour * 3600)..SimTime::from_secs((hour + 1) * 3600);
            moments.iter().filter(|moment| within.contains(moment)).count()
        };
        for (peak, trough) in [(in_hour(18), in_hour(6)), (in_hour(42), in_hour(30))] {
            assert!(
                (1598..=1602).contains(&peak) && (398..=402).contains(&trough),
                "{peak} {trough}"
            );
        }
        assert!(moments[47_999] < SimTime::from_secs(48 * 3600));
    }

    #[test]
    fn even_arrivals_fill_their_time() {
        let over = |pattern| Arrival {
            pattern,
            from: Duration::from_secs(25),
        };
        let moments = over(Pattern::Over(Duration::from_secs(10))).moments(Luck::new(1), "f", 100);
        assert_eq!(
            (moments[0], moments[99]),
            (SimTime::from_secs(25), SimTime::from_millis(34_900))
        );
        let moments = over(Pattern::Rate(parse_event_rate("200/s").unwrap())).moments(Luck::new(1), "f", 400);
        assert_eq!(moments[399], SimTime::from_millis(26_995));
    }
}
