//! How long the core takes for what it is told: waiting, deciding and storing, until the answer is on its way.

use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::model::Prompt;
use crate::time::SimTime;
use crate::wire::api::{OpTimes, TimesView};

const SCHEMA: &str = "squall.times/1";
/// Longest time that is told apart, microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Distributions since the process began, by [`Prompt`]; clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Times(Arc<Mutex<[Histogram<u64>; Prompt::ALL.len()]>>);

impl Default for Times {
    fn default() -> Self {
        let empty = || Histogram::new_with_max(LONGEST_US, 3).expect("a microsecond to an hour is a valid range");
        Times(Arc::new(Mutex::new(std::array::from_fn(|_| empty()))))
    }
}

impl Times {
    /// What was told at these moments is done.
    pub(crate) fn done(&self, now: SimTime, told: impl IntoIterator<Item = (SimTime, Prompt)>) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, prompt) in told {
            let us = u64::try_from(now.since(at).as_micros()).unwrap_or(u64::MAX);
            times[prompt as usize].saturating_record(us);
        }
    }

    /// What there is so far.
    pub(crate) fn view(&self) -> TimesView {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Prompt::ALL.iter().zip(times.iter()).filter(|(_, times)| !times.is_empty());
        let ops = seen.map(|(prompt, times)| OpTimes {
            op: prompt.word().to_owned(),
            counts: times
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
                .collect(),
        });
        TimesView {
            schema: SCHEMA.to_owned(),
            ops: ops.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_what_they_were_for() {
        let times = Times::default();
        let told = |us: u64, prompt| (SimTime::from_nanos(us * 1_000), prompt);
        let now = SimTime::from_nanos(3_000_000);
        times.done(
            now,
            [
                told(2_000, Prompt::Connect),
                told(2_000, Prompt::Connect),
                told(2_900, Prompt::Results),
            ],
        );
        let ops = times.view().ops;
        let shown: Vec<_> = ops.iter().map(|op| (op.op.as_str(), op.counts.as_slice())).collect();
        assert_eq!(shown, [("connect", &[(1_000, 2)][..]), ("update-results", &[(100, 1)])]);
    }
}
