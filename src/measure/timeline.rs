//! The timeline: a row a second, merged into longer ones where a run lasts longer than the rows suffice.

use serde::{Deserialize, Serialize};

use crate::model::{AttemptResult, Phase, Session, UpdateState};
use crate::time::SimTime;

/// Most rows kept; at this number neighbors are merged and every row covers twice the time.
const ROWS_MAX: usize = 4096;

/// What was so at the end of an interval, and what happened in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// End of the interval.
    pub at: SimTime,
    /// Devices by [`Session`].
    pub sessions: [u64; Session::ALL.len()],
    /// Devices by [`UpdateState`] in the newest deployment that reached them.
    pub states: [u64; UpdateState::ALL.len()],
    /// Devices by [`Phase`].
    pub phases: [u64; Phase::ALL.len()],
    /// What happened.
    pub happened: Happened,
}

impl TimelineRow {
    /// Other devices stand like this.
    fn stand_with(&mut self, others: &TimelineRow) {
        let sums = |sums: &mut [u64], more: &[u64]| sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        sums(&mut self.sessions, &others.sessions);
        sums(&mut self.states, &others.states);
        sums(&mut self.phases, &others.phases);
    }
}

crate::model::word_enum! {
    /// Answers to image requests, as far as a timeline tells them apart.
    AnswerClass {
        /// The whole image.
        Whole = "200",
        /// A part of it.
        Part = "206",
        /// Other statuses below 400.
        Redirect = "3xx",
        /// The request was at fault.
        Client = "4xx",
        /// The server is busy.
        Busy = "503",
        /// The server is at fault.
        Server = "5xx",
    }
}

impl AnswerClass {
    /// The class of an HTTP status.
    pub const fn of(status: u16) -> AnswerClass {
        match status {
            200 => AnswerClass::Whole,
            206 => AnswerClass::Part,
            0..400 => AnswerClass::Redirect,
            400..500 => AnswerClass::Client,
            503 => AnswerClass::Busy,
            _ => AnswerClass::Server,
        }
    }
}

/// What happened in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Connections made up to the OTA SUBACK.
    pub connects_ok: u64,
    /// Tries to connect that failed.
    pub connects_failed: u64,
    /// Manifests received for the first time.
    pub manifests: u64,
    /// Image requests.
    pub requests: u64,
    /// Answers to image requests, by [`AnswerClass`].
    pub answers: [u64; AnswerClass::ALL.len()],
    /// Installations that began.
    pub starts: u64,
    /// Bytes of images that devices got.
    pub image_bytes: u64,
    /// Downloads that began to wait for another try.
    pub retries: u64,
    /// Returns to the old image.
    pub rollbacks: u64,
    /// Ended attempts by [`AttemptResult`].
    pub ended: [u64; AttemptResult::ALL.len()],
}

impl Happened {
    pub(super) fn add(&mut self, later: &Happened) {
        self.connects_ok += later.connects_ok;
        self.connects_failed += later.connects_failed;
        self.manifests += later.manifests;
        self.requests += later.requests;
        self.answers
            .iter_mut()
            .zip(later.answers)
            .for_each(|(sum, more)| *sum += more);
        self.starts += later.starts;
        self.image_bytes += later.image_bytes;
        self.retries += later.retries;
        self.rollbacks += later.rollbacks;
        self.ended.iter_mut().zip(later.ended).for_each(|(sum, more)| *sum += more);
    }
}

/// Rows of equal length in time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timeline {
    rows: Vec<TimelineRow>,
    /// Seconds that a row covers.
    stride: u64,
    /// Seconds in the row under way.
    filled: u64,
    under_way: TimelineRow,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline {
            rows: Vec::new(),
            stride: 1,
            filled: 0,
            under_way: TimelineRow::default(),
        }
    }
}

impl Timeline {
    /// Takes one second: gauges replace, what happened adds up.
    pub(super) fn second(&mut self, row: TimelineRow) {
        let mut happened = self.under_way.happened;
        happened.add(&row.happened);
        self.under_way = TimelineRow { happened, ..row };
        self.filled += 1;
        if self.filled >= self.stride {
            self.filled = 0;
            self.rows.push(std::mem::take(&mut self.under_way));
            if self.rows.len() >= ROWS_MAX {
                self.halve();
            }
        }
    }

    fn halve(&mut self) {
        let merged = self.rows.chunks(2).map(|pair| {
            let mut happened = Happened::default();
            pair.iter().for_each(|row| happened.add(&row.happened));
            let last = pair.last().expect("a chunk has at least one row");
            TimelineRow {
                happened,
                ..last.clone()
            }
        });
        self.rows = merged.collect();
        self.stride *= 2;
    }

    /// Several timelines as the one of all their devices: where one is over before another, its devices stay as they were.
    pub(super) fn sum(mut parts: Vec<Timeline>) -> Timeline {
        let stride = parts.iter().map(|part| part.stride).max().unwrap_or(1);
        for part in &mut parts {
            while part.stride < stride {
                part.coarsen();
            }
        }
        let longest = parts.iter().max_by_key(|part| (part.rows.len(), part.filled));
        let Some((full, filled)) = longest.map(|part| (part.rows.len(), part.filled)) else {
            return Timeline::default();
        };
        let row = |at: usize| {
            let mut sum = TimelineRow::default();
            for part in &parts {
                let now = part.row(at);
                let Some(stands) = now.or_else(|| part.rows().last()) else {
                    continue;
                };
                sum.stand_with(stands);
                if let Some(now) = now {
                    sum.at = sum.at.max(now.at);
                    sum.happened.add(&now.happened);
                }
            }
            sum
        };
        Timeline {
            rows: (0..full).map(row).collect(),
            stride,
            filled,
            under_way: if filled > 0 { row(full) } else { TimelineRow::default() },
        }
    }

    /// Makes every row cover twice the time; a row without a neighbor is under way again.
    fn coarsen(&mut self) {
        if !self.rows.len().is_multiple_of(2)
            && let Some(lone) = self.rows.pop()
        {
            let later = std::mem::take(&mut self.under_way);
            let mut happened = lone.happened;
            happened.add(&later.happened);
            let last = if self.filled > 0 { later } else { lone };
            self.under_way = TimelineRow { happened, ..last };
            self.filled += self.stride;
        }
        self.halve();
    }

    /// Seconds that a row covers.
    pub const fn stride(&self) -> u64 {
        self.stride
    }

    fn row(&self, at: usize) -> Option<&TimelineRow> {
        let under_way = (self.filled > 0 && at == self.rows.len()).then_some(&self.under_way);
        self.rows.get(at).or(under_way)
    }

    /// Rows in order of time; the last one may cover less time than the others.
    pub fn rows(&self) -> impl Iterator<Item = &TimelineRow> {
        self.rows.iter().chain((self.filled > 0).then_some(&self.under_way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(seconds: u64) -> Timeline {
        let mut timeline = Timeline::default();
        for second in 1..=seconds {
            timeline.second(TimelineRow {
                at: SimTime::from_secs(second),
                happened: Happened {
                    requests: 1,
                    ..Happened::default()
                },
                ..TimelineRow::default()
            });
        }
        timeline
    }

    #[test]
    fn a_short_run_has_a_row_a_second() {
        assert_eq!(timeline(90).rows().count(), 90);
        assert_eq!(timeline(90).rows().last().unwrap().at, SimTime::from_secs(90));
    }

    #[test]
    fn timelines_of_unequal_length_sum_up_at_the_coarser_of_their_strides() {
        let (short, long) = (timeline(90), timeline(5_000));
        assert_eq!((short.stride(), long.stride()), (1, 2));
        let both = Timeline::sum(vec![short, long.clone()]);
        let happened = |timeline: &Timeline| timeline.rows().map(|row| row.happened.requests).sum::<u64>();
        assert_eq!((happened(&both), both.rows().count()), (5_090, long.rows().count()));
        assert_eq!(
            both.rows().nth(44).map(|row| (row.at, row.happened.requests)),
            Some((SimTime::from_secs(90), 4))
        );
        assert_eq!(both.rows().nth(45).map(|row| row.happened.requests), Some(2));
    }

    #[test]
    fn hours_fit_and_nothing_is_lost_in_merging() {
        for seconds in [4095, 4096, 4097, 86_401] {
            let timeline = timeline(seconds);
            assert!(timeline.rows().count() <= ROWS_MAX);
            assert_eq!(timeline.rows().map(|row| row.happened.requests).sum::<u64>(), seconds);
            assert_eq!(timeline.rows().last().unwrap().at, SimTime::from_secs(seconds));
        }
    }
}
