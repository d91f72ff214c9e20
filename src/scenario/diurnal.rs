//! Arrivals that follow the day: few at night, most at the peak, in integers.
//!
//! The rate is that of a raised cosine: twice the mean at the peak, none twelve hours from it. The arrival begins at midnight; where it
//! takes longer than a day, the day repeats.

use std::time::Duration;

/// Nanoseconds of a day.
const DAY: u128 = 86_400_000_000_000;
/// Steps of one day; within a step the rate is constant.
const STEPS_A_DAY: u128 = 1_440;
/// Longest arrival in days; a longer one gets coarser steps.
const DAYS_MAX: u128 = 3_660;
/// The mean rate.
const MEAN: u64 = 1_000_000;

/// The moments of `count` arrivals over `over` with their peak at the time of day `peak`, the first one first.
pub(super) fn moments(over: Duration, peak: Duration, count: u32) -> impl Iterator<Item = Duration> {
    let span = over.as_nanos().max(1);
    let steps = span.div_ceil(DAY).clamp(1, DAYS_MAX) * STEPS_A_DAY;
    let weight = move |step: u128| u128::from(rate((span * (2 * step + 1)) / (2 * steps), peak.as_nanos()));
    let whole: u128 = (0..steps).map(weight).sum();
    let (mut step, mut before, mut here) = (0, 0, weight(0));
    (0..u128::from(count)).map(move |number| {
        // The middle of this arrival's part of the whole, so that none falls on an end.
        let due = whole * (2 * number + 1);
        let parts = 2 * u128::from(count);
        while due > (before + here) * parts && step + 1 < steps {
            before += here;
            step += 1;
            here = weight(step);
        }
        let within = (due - before * parts) * span / (here.max(1) * parts * steps);
        let nanos = span * step / steps + within;
        Duration::from_nanos(u64::try_from(nanos.min(span)).unwrap_or(u64::MAX))
    })
}

/// The rate at a moment: [`MEAN`] x (1 + cos), by Bhaskara's rational approximation, which is good to 0.002.
fn rate(at: u128, peak: u128) -> u64 {
    let from_peak = (at % DAY).abs_diff(peak % DAY);
    let nearest = from_peak.min(DAY - from_peak);
    // Twelve hours are 180 degrees, here in hundredths.
    let angle = (nearest * 36_000 / DAY) as i64;
    let from_quarter = 9_000 - angle;
    let sine = |x: i64| {
        let product = x * (18_000 - x) / 10_000;
        4 * MEAN as i64 * product / (40_500 - product)
    };
    let cosine = if from_quarter >= 0 {
        sine(from_quarter)
    } else {
        -sine(-from_quarter)
    };
    (MEAN as i64 + cosine).max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn hours(over: u64, peak: u64, count: u32) -> Vec<f64> {
        let span = Duration::from_secs(over * HOUR);
        moments(span, Duration::from_secs(peak * HOUR), count)
            .map(|at| at.as_secs_f64() / HOUR as f64)
            .collect()
    }

    #[test]
    fn the_approximation_is_a_cosine() {
        for hour in 0..48u64 {
            let found = rate(u128::from(hour) * DAY / 24, 18 * DAY / 24) as f64 / MEAN as f64 - 1.0;
            let exact = ((hour as f64 - 18.0) / 24.0 * std::f64::consts::TAU).cos();
            assert!((found - exact).abs() < 0.002, "hour {hour}: {found} {exact}");
        }
    }

    #[test]
    fn most_arrive_around_the_peak_and_hardly_any_opposite_to_it() {
        let arrived = hours(24, 18, 24_000);
        assert!(arrived.is_sorted());
        let between = |from: f64, to: f64| arrived.iter().filter(|&&at| (from..to).contains(&at)).count();
        // A raised cosine has 1/4 + 2/(2 pi sqrt 2)... of its area within three hours of the peak: 0.25 + 0.2251.
        assert!(
            (11_350..11_450).contains(&between(15.0, 21.0)),
            "{} around the peak",
            between(15.0, 21.0)
        );
        assert!((590..610).contains(&between(3.0, 9.0)), "{} opposite", between(3.0, 9.0));
        assert_eq!(between(0.0, 24.0), 24_000);
    }

    #[test]
    fn the_day_repeats_and_a_part_of_a_day_is_a_part() {
        let two_days = hours(48, 12, 20_000);
        let first = two_days.iter().filter(|&&at| at < 24.0).count();
        assert!((9_990..=10_010).contains(&first), "{first} on the first day");
        assert!(hours(1, 12, 100).iter().all(|at| (0.0..=1.0).contains(at)));
        assert!(hours(24, 18, 0).is_empty());
    }
}
