//! The statistics of a comparison: a shift between two samples with an interval that asks nothing of their distribution, and scales that
//! a few wild runs do not move.
//!
//! Values are logarithms, so that a shift is a ratio. A value that is infinite (an update that never ended) is larger than every other
//! and equal to its like.

/// A shift with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shift {
    /// Median of the differences.
    pub(super) estimate: f64,
    /// The interval; `None` where there are too few values for the level that is asked for.
    pub(super) interval: Option<(f64, f64)>,
}

/// From one sample to another: Hodges and Lehmann's median of all pairwise differences, with the exact interval that goes with the test of
/// Mann and Whitney. `alpha` is the chance that the interval misses, both sides together.
pub(super) fn shift(from: &[f64], to: &[f64], alpha: f64) -> Option<Shift> {
    let mut differences: Vec<f64> = Vec::with_capacity(from.len() * to.len());
    for after in to {
        differences.extend(from.iter().map(|before| difference(*before, *after)));
    }
    differences.sort_unstable_by(f64::total_cmp);
    let rank = rank_of(&rank_sum_chances(from.len(), to.len()), alpha);
    located(&differences, rank)
}

/// The same over pairs: the median of all Walsh averages, with the exact interval of Wilcoxon's signed-rank test.
pub(super) fn paired_shift(from: &[f64], to: &[f64], alpha: f64) -> Option<Shift> {
    let pairs: Vec<f64> = from
        .iter()
        .zip(to)
        .map(|(before, after)| difference(*before, *after))
        .collect();
    let mut averages = Vec::with_capacity(pairs.len() * (pairs.len() + 1) / 2);
    for (at, one) in pairs.iter().enumerate() {
        averages.extend(pairs[..=at].iter().map(|other| mean(*one, *other)));
    }
    averages.sort_unstable_by(f64::total_cmp);
    let rank = rank_of(&signed_rank_chances(pairs.len()), alpha);
    located(&averages, rank)
}

/// The fewest values a side, or pairs, from which an interval of this level can be had at all.
pub(super) fn fewest(paired: bool, alpha: f64) -> usize {
    let enough = |count: &usize| {
        let chances = match paired {
            true => signed_rank_chances(*count),
            false => rank_sum_chances(*count, *count),
        };
        rank_of(&chances, alpha).is_some()
    };
    (1..64).find(enough).unwrap_or(64)
}

/// Spread within samples, as a standard deviation would be of normal values: Shamos's median of all differences within each sample.
pub(super) fn spread(samples: &[&[f64]]) -> Option<f64> {
    let mut differences = Vec::new();
    for sample in samples {
        for (at, one) in sample.iter().enumerate() {
            differences.extend(sample[..at].iter().map(|other| difference(*one, *other).abs()));
        }
    }
    median(&mut differences).map(|median| median * 1.048_358)
}

/// Scaled median of the absolute deviations from the median.
pub(super) fn deviation(values: &[f64]) -> Option<f64> {
    let middle = median(&mut values.to_vec())?;
    let mut away: Vec<f64> = values.iter().map(|value| difference(middle, *value).abs()).collect();
    median(&mut away).map(|median| median * 1.482_602)
}

/// The median; sorts.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[half]),
        _ => Some(mean(values[half - 1], values[half])),
    }
}

/// The value that a standard normal variable exceeds with this chance.
pub(super) fn normal_tail(chance: f64) -> f64 {
    // Bisection over the complementary error function; a comparison asks a few times.
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        match upper_tail(middle) > chance {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

/// Chance that a standard normal variable exceeds `z`, which is not negative: Abramowitz and Stegun 26.2.17, to 1e-7.
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let poly = t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly
}

fn difference(before: f64, after: f64) -> f64 {
    match before == after {
        true => 0.0,
        false => after - before,
    }
}

fn mean(one: f64, other: f64) -> f64 {
    match one == other {
        true => one,
        false => one / 2.0 + other / 2.0,
    }
}

/// Median and interval of sorted candidates; the interval leaves `rank - 1` of them out at each end.
fn located(sorted: &[f64], rank: Option<usize>) -> Option<Shift> {
    let estimate = median(&mut sorted.to_vec())?;
    let interval = rank.map(|rank| (sorted[rank - 1], sorted[sorted.len() - rank]));
    Some(Shift { estimate, interval })
}

/// The largest rank whose tail is at most half of `alpha`; `None` where even the smallest is too likely.
fn rank_of(chances: &[f64], alpha: f64) -> Option<usize> {
    let mut tail = 0.0;
    let mut rank = 0;
    for chance in chances {
        tail += chance;
        if tail > alpha / 2.0 {
            break;
        }
        rank += 1;
    }
    // Ranks from the middle on would turn the interval round.
    (rank > 0).then(|| rank.min(chances.len().div_ceil(2)))
}

/// Chances of Mann and Whitney's U from zero on, where both samples come from one distribution: the Gaussian binomial coefficient, divided
/// by its sum.
fn rank_sum_chances(m: usize, n: usize) -> Vec<f64> {
    // Rounding moves upwards only, so the lower half is right to the last digits; the upper one is its mirror.
    let top = m * n / 2;
    let mut ways = vec![0.0; top + 1];
    ways[0] = 1.0;
    for factor in 1..=m {
        // Times (1 - q^(n + factor)), over (1 - q^factor).
        for at in (n + factor..=top).rev() {
            ways[at] -= ways[at - n - factor];
        }
        for at in factor..=top {
            ways[at] += ways[at - factor];
        }
    }
    let mirrored = (top + 1..=m * n).map(|at| m * n - at);
    let mirrored: Vec<f64> = mirrored.map(|at| ways[at]).collect();
    ways.extend(mirrored);
    normalized(ways)
}

/// Chances of Wilcoxon's signed rank sum from zero on.
fn signed_rank_chances(pairs: usize) -> Vec<f64> {
    let top = pairs * (pairs + 1) / 2;
    let mut ways = vec![0.0; top + 1];
    ways[0] = 1.0;
    for rank in 1..=pairs {
        for at in (rank..=top).rev() {
            ways[at] += ways[at - rank];
        }
    }
    normalized(ways)
}

fn normalized(ways: Vec<f64>) -> Vec<f64> {
    let all: f64 = ways.iter().sum();
    ways.into_iter().map(|ways| ways / all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_those_of_the_tables() {
        // 2 and 2 values: U is 0, 1, 2, 3, 4 in 1, 1, 2, 1, 1 of 6 orders.
        let sixths: Vec<_> = rank_sum_chances(2, 2).iter().map(|chance| (chance * 6.0).round()).collect();
        assert_eq!(sixths, [1.0, 1.0, 2.0, 1.0, 1.0]);
        let eighths: Vec<_> = signed_rank_chances(3).iter().map(|chance| (chance * 8.0).round()).collect();
        assert_eq!(eighths, [1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0]);
        // Critical values of the printed tables, two-sided 5 %: U of 8 and 8 is 13, W of 10 pairs is 8.
        assert_eq!(rank_of(&rank_sum_chances(8, 8), 0.05), Some(14));
        assert_eq!(rank_of(&signed_rank_chances(10), 0.05), Some(9));
    }

    #[test]
    fn four_gates_need_six_runs_a_side_or_ten_seeds() {
        assert_eq!((fewest(false, 0.01 / 4.0), fewest(true, 0.01 / 4.0)), (6, 10));
        assert_eq!(shift(&[0.0; 5], &[0.0; 5], 0.0025).unwrap().interval, None);
    }

    #[test]
    fn large_samples_keep_their_tails() {
        let chances = rank_sum_chances(60, 60);
        assert!(chances.iter().all(|chance| *chance >= 0.0));
        assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        // Normal approximation: mean 1800, deviation 190.5; the rank of 2.5 % is near 1800 - 1.96 x 190.5.
        let rank = rank_of(&chances, 0.05).unwrap() as f64;
        assert!((rank - 1427.0).abs() < 4.0, "{rank}");
    }

    #[test]
    fn a_shift_is_found_and_a_wild_run_does_not_move_it() {
        let base: Vec<f64> = (0..9).map(|n| f64::from(n) * 0.001).collect();
        let mut slow: Vec<f64> = base.iter().map(|value| value + 0.1).collect();
        slow[8] = f64::INFINITY;
        let found = shift(&base, &slow, 0.0025).unwrap();
        assert!((found.estimate - 0.1).abs() < 0.002, "{found:?}");
        let (low, high) = found.interval.unwrap();
        assert!(low > 0.09 && high > 0.1, "{found:?}");
        let pairs = paired_shift(&base, &slow, 0.05).unwrap();
        assert!((pairs.estimate - 0.1).abs() < 1e-9, "{pairs:?}");
    }

    #[test]
    fn runs_that_never_end_are_equal() {
        let endless = [f64::INFINITY; 6];
        let found = shift(&endless, &endless, 0.0025).unwrap();
        assert_eq!((found.estimate, found.interval), (0.0, Some((0.0, 0.0))));
    }

    #[test]
    fn scales_are_those_of_normal_values() {
        let normal: Vec<f64> = (1..200)
            .map(|n| {
                let share = f64::from(n) / 200.0;
                if share < 0.5 {
                    -normal_tail(share)
                } else {
                    normal_tail(1.0 - share)
                }
            })
            .collect();
        assert!((spread(&[&normal]).unwrap() - 1.0).abs() < 0.03);
        assert!((deviation(&normal).unwrap() - 1.0).abs() < 0.03);
        assert!((normal_tail(0.025) - 1.96).abs() < 0.001);
    }
}
