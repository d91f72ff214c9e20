//! One gate judged: from the values of two sides to *worse*, *better*, *same* or *can't tell*.
//!
//! Pure arithmetic over numbers, so that thousands of comparisons can be played in a test.

use super::stats::{deviation, fewest, median, normal_tail, paired_shift, shift, spread};

/// Chance that any interval of a comparison misses, shared by its gates.
const ALPHA: f64 = 0.01;
/// A baseline of fewer batches tells nothing of the noise between batches.
const BATCHES_MIN: usize = 5;
/// Least band where that noise is not known.
const BLIND_BAND: f64 = 0.10;
/// Times the noise between batches that the band is wide at least.
const NOISE_WIDTH: f64 = 3.0;
/// Normal deviate of the chance, 5 %, to miss what the advice wants found.
const MISS: f64 = 1.645;
/// Efficiency of ranks beside means, for normal values.
const EFFICIENCY: f64 = 0.955;
/// The spread is estimated from few values; what is advised is this much more.
const CAUTION: f64 = 1.2;
/// Most runs a side that are advised.
const RUNS_MAX: usize = 200;
/// Runs of a batch.
const BATCH: usize = 7;

/// How the two sides were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Now and in turn, A B B A: both sides have the same weather.
    Interleaved,
    /// One after the other, or against a baseline.
    Apart,
    /// Seed for seed, in virtual time.
    Paired,
}

/// The values of a gate, one a run, in the order in which they were measured.
#[derive(Clone, Debug)]
pub struct Sides {
    /// How they were measured.
    pub design: Design,
    /// Of the base, a list a batch.
    pub base: Vec<Vec<f64>>,
    /// Of the candidate, a list a batch.
    pub candidate: Vec<Vec<f64>>,
}

/// What a gate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval lies beyond the band, on the bad side.
    Worse,
    /// The whole interval lies beyond the band, on the good side.
    Better,
    /// The whole interval lies inside the band.
    Same,
    /// None of these.
    CannotTell,
}

/// What is likely to decide a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Runs more: of the candidate in further batches, or of both sides where they were measured in turn or in pairs.
    pub runs: usize,
    /// Batches that the baseline lacks.
    pub batches: usize,
}

/// A gate, judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Median of the base's values.
    pub base: f64,
    /// Median of the candidate's values.
    pub candidate: f64,
    /// Candidate over base.
    pub ratio: f64,
    /// Interval of the ratio; `None` with too few runs.
    pub interval: Option<(f64, f64)>,
    /// How far the ratio may be from one and be no change.
    pub band: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// What is likely to decide it, where it is not decided.
    pub advice: Option<Advice>,
}

/// How likely an interval of one of `gates` gates is to hold the truth, in percent.
pub(super) fn level(gates: usize) -> f64 {
    let percent = 100.0 * (1.0 - ALPHA / gates.max(1) as f64);
    (percent * 100.0).round() / 100.0
}

/// Judges one of `gates` gates; `None` where a side has no value. With `more_is_worse` a larger value is a regression.
pub fn judge(sides: &Sides, gates: usize, tolerance: f64, more_is_worse: bool) -> Option<Judged> {
    let case = Case::of(sides, gates, tolerance);
    let base = case.base.concat();
    let shift = match sides.design {
        Design::Paired => paired_shift(&base, &case.candidate, case.alpha)?,
        Design::Interleaved | Design::Apart => shift(&base, &case.candidate, case.alpha)?,
    };
    let band = case.band();
    let interval = shift.interval.map(|(low, high)| (low.exp(), high.exp()));
    let verdict = verdict(interval, band, more_is_worse);
    Some(Judged {
        base: median(&mut base.clone())?.exp(),
        candidate: median(&mut case.candidate.clone())?.exp(),
        ratio: shift.estimate.exp(),
        interval,
        band,
        verdict,
        advice: (verdict == Verdict::CannotTell).then(|| case.advice(shift.estimate, band)),
    })
}

fn verdict(interval: Option<(f64, f64)>, band: f64, more_is_worse: bool) -> Verdict {
    let Some((low, high)) = interval else {
        return Verdict::CannotTell;
    };
    let (more, less) = match more_is_worse {
        true => (Verdict::Worse, Verdict::Better),
        false => (Verdict::Better, Verdict::Worse),
    };
    if low > 1.0 + band {
        more
    } else if high < 1.0 - band {
        less
    } else if low >= 1.0 - band && high <= 1.0 + band {
        Verdict::Same
    } else {
        Verdict::CannotTell
    }
}

/// The logarithms of a gate's values, and at which level they are compared.
struct Case {
    design: Design,
    base: Vec<Vec<f64>>,
    candidate: Vec<f64>,
    alpha: f64,
    tolerance: f64,
}

impl Case {
    fn of(sides: &Sides, gates: usize, tolerance: f64) -> Case {
        // Below a nanosecond there is nothing to tell apart, and no logarithm of nothing.
        let logs = |values: &[f64]| values.iter().map(|value| value.max(1e-9).ln()).collect::<Vec<f64>>();
        let batches = sides.base.iter().filter(|batch| !batch.is_empty());
        Case {
            design: sides.design,
            base: batches.map(|batch| logs(batch)).collect(),
            candidate: logs(&sides.candidate.concat()),
            alpha: ALPHA / gates.max(1) as f64,
            tolerance,
        }
    }

    /// The tolerance, or what the baseline's own weather does, whichever is wider.
    fn band(&self) -> f64 {
        match self.design {
            Design::Interleaved | Design::Paired => self.tolerance,
            Design::Apart if self.base.len() < BATCHES_MIN => self.tolerance.max(BLIND_BAND),
            Design::Apart => self.tolerance.max(NOISE_WIDTH * self.weather()),
        }
    }

    /// Noise between batches: scaled MAD of their medians. Of few values that comes out too small on average; the factor is for that.
    fn weather(&self) -> f64 {
        let medians: Vec<f64> = self.base.iter().filter_map(|batch| median(&mut batch.clone())).collect();
        let few = 1.0 + 1.0 / (medians.len() as f64 - 0.8).max(1.0);
        deviation(&medians).unwrap_or(0.0) * few
    }

    /// Noise of a run: within a batch, or of the difference of a pair.
    fn noise(&self) -> f64 {
        let base = self.base.concat();
        let noise = match self.design {
            Design::Paired => {
                let pairs: Vec<f64> = base
                    .iter()
                    .zip(&self.candidate)
                    .map(|(before, after)| after - before)
                    .collect();
                spread(&[&pairs])
            }
            Design::Interleaved | Design::Apart => {
                let candidate = self.candidate.as_slice();
                let samples: Vec<&[f64]> = self.base.iter().map(Vec::as_slice).chain([candidate]).collect();
                spread(&samples)
            }
        };
        noise.filter(|noise| noise.is_finite()).unwrap_or(0.0)
    }

    /// How many runs more tell a change of twice the tolerance from none, nineteen times of twenty; where there are as many already, how
    /// many tell on which side of the band's edge the change lies.
    fn advice(&self, estimate: f64, band: f64) -> Advice {
        let least = fewest(self.design == Design::Paired, self.alpha);
        let edge = band.ln_1p();
        let gap = (2.0 * self.tolerance).ln_1p() - edge;
        let now = self.candidate.len();
        let width = normal_tail(self.alpha / 2.0) + MISS;
        let noise = self.noise();
        // As if the base were known without error.
        let needed = |gap: f64| CAUTION * (noise * width / gap).powi(2) / EFFICIENCY;
        let more = |wanted: f64| (wanted.ceil() as usize + 1).clamp(least, RUNS_MAX).saturating_sub(now);
        if self.design == Design::Apart {
            return self.further_batches(least, gap, 1.0 / needed(gap.max(0.01)));
        }
        let sides = if self.design == Design::Paired { 1.0 } else { 2.0 };
        let near = (estimate.abs() - edge).abs().max(gap.max(0.01) / 3.0);
        let runs = match more(sides * needed(gap)) {
            0 => more(sides * needed(near)).max(2),
            runs => runs,
        };
        Advice { runs, batches: 0 }
    }

    /// Whole batches, since runs of one batch share its weather; `share` is one over the runs that would do if the base were known.
    fn further_batches(&self, least: usize, gap: f64, share: f64) -> Advice {
        let now = self.candidate.len();
        let left = share - 1.0 / self.base.concat().len() as f64;
        let wanted = match left > 0.0 {
            true => (1.0 / left).ceil() as usize + 1,
            false => 2 * now,
        };
        let runs = wanted
            .clamp(least, RUNS_MAX)
            .saturating_sub(now)
            .clamp(BATCH, (2 * now).max(BATCH));
        // A band that weather has made much wider than the tolerance may be narrower once the weather is better known.
        let hidden = gap < 0.6 * ((2.0 * self.tolerance).ln_1p() - self.tolerance.ln_1p());
        let batches = match BATCHES_MIN.saturating_sub(self.base.len()) {
            0 if hidden || left <= 0.0 => BATCHES_MIN,
            short => short,
        };
        Advice {
            runs: runs.div_ceil(BATCH) * BATCH,
            batches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(design: Design, base: &[&[f64]], candidate: &[f64]) -> Sides {
        Sides {
            design,
            base: base.iter().map(|batch| batch.to_vec()).collect(),
            candidate: vec![candidate.to_vec()],
        }
    }

    const CALM: [f64; 7] = [1.0, 1.01, 0.99, 1.0, 1.005, 0.995, 1.0];

    fn times(factor: f64) -> Vec<f64> {
        CALM.iter().map(|value| value * factor).collect()
    }

    #[test]
    fn a_clear_change_has_a_direction() {
        let found = |factor: f64, more_is_worse: bool| {
            let sides = sides(Design::Interleaved, &[&CALM], &times(factor));
            judge(&sides, 4, 0.05, more_is_worse).unwrap().verdict
        };
        assert_eq!(found(1.0, true), Verdict::Same);
        assert_eq!(found(1.2, true), Verdict::Worse);
        assert_eq!(found(0.8, true), Verdict::Better);
        assert_eq!(found(0.8, false), Verdict::Worse);
        assert_eq!(found(1.05, true), Verdict::CannotTell);
    }

    #[test]
    fn too_few_runs_decide_nothing_and_say_how_many_would() {
        let few = sides(Design::Interleaved, &[&CALM[..5]], &times(2.0)[..5]);
        let judged = judge(&few, 4, 0.05, true).unwrap();
        assert_eq!((judged.verdict, judged.interval), (Verdict::CannotTell, None));
        assert!(judged.advice.unwrap().runs >= 1, "{judged:?}");
    }

    #[test]
    fn a_young_baseline_has_a_wide_band_and_an_old_one_knows_its_weather() {
        let slower = times(1.08);
        let young = sides(Design::Apart, &[&CALM], &slower);
        assert_eq!(judge(&young, 4, 0.05, true).unwrap().band, 0.10);
        let calm = sides(Design::Apart, &[CALM.as_slice(); 5], &slower);
        let judged = judge(&calm, 4, 0.05, true).unwrap();
        assert_eq!((judged.band, judged.verdict), (0.05, Verdict::Worse));
        let stormy: Vec<Vec<f64>> = [0.95, 1.05, 1.0, 0.9, 1.1].map(times).to_vec();
        let stormy = Sides { base: stormy, ..calm };
        let judged = judge(&stormy, 4, 0.05, true).unwrap();
        assert!(judged.band > 0.15 && judged.verdict != Verdict::Worse, "{judged:?}");
        assert!(judged.advice.is_none_or(|advice| advice.batches > 0), "{judged:?}");
    }

    #[test]
    fn seeds_are_compared_in_pairs() {
        let base: Vec<f64> = (1..=10).map(f64::from).collect();
        let slower: Vec<f64> = base.iter().map(|value| value * 1.06).collect();
        let pairs = sides(Design::Paired, &[&base], &slower);
        assert_eq!(judge(&pairs, 4, 0.05, true).unwrap().verdict, Verdict::Worse);
        assert_eq!(
            judge(&sides(Design::Paired, &[&base[..9]], &slower[..9]), 4, 0.05, true)
                .unwrap()
                .interval,
            None
        );
    }
}
