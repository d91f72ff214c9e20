//! Plans of a rollout by what they cost: none is best in everything, and the front is those that no other beats in all.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::measure::Recorder;
use crate::model::{DeviceIndex, Selector};
use crate::play::Outcome;
use crate::scenario::StepVerb;
use crate::time::SimTime;

/// What a plan came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// From the first deployment until 99 % of the devices have an end of their attempt; `None` where that did not come.
    pub time: Option<Duration>,
    /// Devices whose attempt failed, or that are out of reach at the end.
    pub harmed: u64,
    /// Most connections and image requests in a second after the first deployment.
    pub peak: u64,
}

impl Costs {
    /// What one run came to.
    pub fn of(outcome: &Outcome) -> Costs {
        let recorder = &outcome.recorder;
        let devices = outcome.plan.devices.len() as u64;
        let deploys = outcome.plan.steps.iter().zip(&outcome.fired);
        let first = deploys
            .filter(|(step, _)| matches!(step.verb, StepVerb::Deploy { .. }))
            .filter_map(|(_, fired)| *fired)
            .min()
            .unwrap_or(SimTime::ZERO);
        let stride = recorder.timeline().stride().max(1);
        let (mut ended, mut peak, mut done) = (0, 0, None);
        // The arrivals of a fleet are no part of its rollout.
        for row in recorder.timeline().rows().filter(|row| row.at > first) {
            let happened = &row.happened;
            ended += happened.ended.iter().sum::<u64>();
            peak = peak.max((happened.requests + happened.connects_ok + happened.connects_failed).div_ceil(stride));
            if ended * 100 >= devices * 99 && done.is_none() {
                done = Some(row.at.since(first));
            }
        }
        Costs {
            time: done,
            harmed: harmed(recorder),
            peak,
        }
    }

    /// True if it is no worse in anything, and better in something.
    fn beats(&self, other: &Costs) -> bool {
        let key = |costs: &Costs| (costs.time.unwrap_or(Duration::MAX), costs.harmed, costs.peak);
        let ((time, harmed, peak), (their_time, their_harmed, their_peak)) = (key(self), key(other));
        time <= their_time && harmed <= their_harmed && peak <= their_peak && key(self) != key(other)
    }
}

fn harmed(recorder: &Recorder) -> u64 {
    let those = |words: &str| recorder.matching(&Selector::parse(words).expect("it is a selection"));
    let hit: BTreeSet<DeviceIndex> = [those("state:failed"), those("!session:online")]
        .into_iter()
        .flatten()
        .collect();
    hit.len() as u64
}

/// Which of these no other beats, in order of time.
pub fn front(all: &[Costs]) -> Vec<usize> {
    let beaten = |costs: &Costs| all.iter().any(|other| other.beats(costs));
    let mut front: Vec<usize> = (0..all.len()).filter(|&plan| !beaten(&all[plan])).collect();
    front.sort_by_key(|&plan| (all[plan].time.unwrap_or(Duration::MAX), all[plan].harmed, plan));
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(minutes: u64, harmed: u64, peak: u64) -> Costs {
        Costs {
            time: (minutes > 0).then(|| Duration::from_secs(60 * minutes)),
            harmed,
            peak,
        }
    }

    #[test]
    fn the_front_is_what_no_other_beats_and_never_is_the_longest_time() {
        let all = [
            costs(9, 10, 50),
            costs(5, 40, 50),
            costs(9, 10, 60),
            costs(0, 2, 90),
            costs(5, 40, 49),
        ];
        assert_eq!(front(&all), [4, 0, 3]);
        assert_eq!(front(&[costs(1, 1, 1), costs(1, 1, 1)]), [0, 1], "equal plans beat neither");
    }
}
