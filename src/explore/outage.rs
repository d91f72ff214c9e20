//! How long a server may be gone before a fleet does not come back by itself, and what its retries have to do with it.
//!
//! A setting of the back-off is tried with longer and longer outages, until one is so long that the fleet is still not back a while after
//! its end: from there on the retries alone keep the server busy. Nothing is taken to be monotone: the shortest outage of the grid that
//! does not heal is found by playing every shorter one.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::model::parse_duration;
use crate::play::Outcome;
use crate::scenario::{Overrides, Source, load};
use crate::sim::{Pulse, play_watched};

use super::draft::Draft;

/// Outages that are tried, seconds; none is the first.
pub const OUTAGES: [u64; 10] = [0, 1, 2, 5, 10, 20, 30, 60, 120, 300];
/// First waits of the settings that are tried, milliseconds.
const WAITS: [u64; 7] = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000];
/// The longest wait of a jittered setting is this many times the first.
const GROWTH: u64 = 60;

/// A way to wait before a device connects again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first wait, and the only one where it does not grow.
    pub first: Duration,
    /// Doubling, drawn anew each time; otherwise always the same.
    pub jittered: bool,
}

/// What became of a fleet that retries in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// The way.
    pub retry: Retry,
    /// The longest outage before the boundary that it came back from, seconds; `None` where it was never there to begin with.
    pub heals: Option<u64>,
    /// The shortest that it did not come back from; `None` where it came back from all.
    pub stays: Option<u64>,
}

/// A scenario whose outage is to be lengthened.
#[derive(Clone, Debug)]
pub struct Storm {
    draft: Draft,
    /// Position of the fault.
    outage: usize,
    /// When it begins.
    pub at: Duration,
    /// How long after its end the fleet must be back.
    pub within: Duration,
}

impl Retry {
    /// Every way that is tried, from the most hasty on.
    pub fn all() -> impl Iterator<Item = Retry> {
        [false, true].into_iter().flat_map(|jittered| {
            WAITS.into_iter().map(move |millis| Retry {
                first: Duration::from_millis(millis),
                jittered,
            })
        })
    }

    /// As a scenario says it.
    pub fn written(self) -> String {
        let millis = self.first.as_millis();
        match self.jittered {
            false => format!("{millis}ms"),
            true => format!("{millis}ms..{}ms full", millis * u128::from(GROWTH)),
        }
    }
}

impl Storm {
    /// The scenario as it is resolved; `None` if it has no outage at a fixed time. It is played without its steps: a device that
    /// restarts for its update is away as well, for a reason of its own.
    pub fn new(resolved: &str, within: Duration) -> Option<Storm> {
        let draft = Draft::read(resolved).without_all("expect").without_all("step");
        let outage = draft
            .positions("fault")
            .into_iter()
            .find(|&at| draft.value(at, "inject") == Some("\"outage\""))?;
        let at = parse_duration(draft.value(outage, "at")?.trim_matches('"')).ok()?;
        Some(Storm {
            draft,
            outage,
            at,
            within,
        })
    }

    /// The scenario with this way to wait and an outage of this many seconds; it passes if nearly all devices are online again in time.
    pub fn scenario(&self, retry: Retry, seconds: u64) -> String {
        let judged = self.at + Duration::from_secs(seconds) + self.within;
        let mut draft = self.draft.clone();
        for at in draft.positions("fleet") {
            draft = draft.with(at, "reconnect", &format!("\"{}\"", retry.written()));
        }
        for at in draft.positions("scenario") {
            let until = format!("\"{}ms\"", judged.as_millis());
            draft = draft
                .with(at, "duration", &until)
                .with(at, "settle", "\"off\"")
                .with(at, "ends", "\"duration\"")
                .with(at, "trace", "\"off\"");
        }
        draft = match seconds {
            0 => draft.without(self.outage),
            _ => draft.with(self.outage, "for", &format!("\"{seconds}s\"")),
        };
        draft
            .with_more("[[expect]]\nthat = \"devices{session:online} share >= 99 %\"\nat = \"end\"\n")
            .to_string()
    }

    /// Tries one way to wait with longer and longer outages; `None` where `halt` says so.
    fn boundary(&self, retry: Retry, folder: &Path, halt: &(dyn Fn() -> bool + Sync)) -> Result<Option<Boundary>, String> {
        let mut boundary = Boundary {
            retry,
            heals: None,
            stays: None,
        };
        for seconds in OUTAGES {
            let source = Source::Beside(folder.to_owned(), self.scenario(retry, seconds));
            let plan = load(source, &Overrides::default()).map_err(|errors| errors.to_string())?;
            let outcome = play_watched(Arc::new(plan), &mut |_, _| match halt() {
                true => Pulse::Interrupt,
                false => Pulse::GoOn,
            });
            if halt() {
                return Ok(None);
            }
            if !is_back(&outcome) {
                boundary.stays = Some(seconds);
                break;
            }
            boundary.heals = Some(seconds);
        }
        Ok(Some(boundary))
    }

    /// Tries every way to wait, some at the same time, the scenario's files in `folder`; those that `halt` cut off are missing.
    ///
    /// # Errors
    /// If the scenario cannot be loaded with an outage of another length.
    pub fn search(
        &self,
        jobs: NonZeroUsize,
        folder: &Path,
        halt: &(dyn Fn() -> bool + Sync),
        tell: &(dyn Fn(&Boundary) + Sync),
    ) -> Result<Vec<Boundary>, String> {
        let ways: Vec<Retry> = Retry::all().collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            while let Some((at, retry)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, *ways.get(at)?))) {
                if let Some(boundary) = self.boundary(retry, folder, halt)? {
                    tell(&boundary);
                    found.push((at, boundary));
                }
            }
            Ok(found)
        };
        let all: Result<Vec<_>, String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err("a thread of the search panicked".to_owned()))
                })
                .collect()
        });
        let mut found: Vec<_> = all?.into_iter().flatten().collect();
        found.sort_by_key(|(at, _)| *at);
        Ok(found.into_iter().map(|(_, boundary)| boundary).collect())
    }
}

/// True if nearly all devices were online at the end.
fn is_back(outcome: &Outcome) -> bool {
    outcome.errors.is_empty() && outcome.judgements.iter().all(|judgement| judgement.passed)
}
