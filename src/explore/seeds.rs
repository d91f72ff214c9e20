//! The loop over seeds: threads take them in order, results are told in order.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::play::{Director, Outcome, RunEnd, Status};
use crate::scenario::Plan;
use crate::sim::{Pulse, play_watched};
use crate::time::SimTime;

use super::failure::Failure;
use super::reached::Reached;
use super::tally::Tally;

/// How often the caller hears of us while nothing is to be told.
const TICK: Duration = Duration::from_millis(200);

/// Which seeds are played, and by how many threads.
#[derive(Clone, Copy, Debug)]
pub struct Exploration {
    /// The first seed; the others count up from it, and from the largest to zero.
    pub first: u64,
    /// How many; `None` for as many as there is time for.
    pub seeds: Option<u64>,
    /// Simulations at the same time.
    pub jobs: NonZeroUsize,
}

/// What the caller does for an exploration; called from its threads.
pub struct Hooks<'a, E> {
    /// Makes the plan of a seed.
    pub plan: &'a (dyn Fn(u64) -> Result<Arc<Plan>, E> + Sync),
    /// Keeps the outcome of a seed that did not pass.
    pub keep: &'a (dyn Fn(u64, &Outcome) -> Result<(), E> + Sync),
    /// Whether to go on.
    pub halt: &'a (dyn Fn() -> Halt + Sync),
}

/// Whether an exploration goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It does.
    GoOn,
    /// No further seed is begun; those under way are played to their end.
    NoMore,
    /// Seeds under way are dropped.
    Now,
}

/// What is told while an exploration is under way.
#[derive(Debug)]
pub enum News<'a> {
    /// A seed is over; seeds come in order.
    Seed(&'a SeedResult),
    /// Some time has passed; how far it is.
    Tick(&'a Tally),
}

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct SeedResult {
    /// Which seed.
    pub seed: u64,
    /// What it came to.
    pub status: Status,
    /// What was wrong, unless it passed.
    pub failure: Option<Failure>,
    /// The sum over its transitions.
    pub fingerprint: u64,
    /// What it reached.
    pub reached: Reached,
}

/// What a thread has to say of the n-th seed: a result, nothing where the seed was dropped, or why the exploration cannot go on.
type Word<E> = (u64, Result<Option<SeedResult>, E>);

/// Plays seeds and tells of each in order, until there are no more or `tell` breaks off.
///
/// # Errors
/// The first error of a hook, in the order of seeds; what was told before stays true.
pub fn explore<E: Send>(
    exploration: &Exploration,
    hooks: &Hooks<'_, E>,
    tell: &mut dyn FnMut(News<'_>) -> ControlFlow<()>,
) -> Result<Tally, E> {
    let next = AtomicU64::new(0);
    let given_up = AtomicBool::new(false);
    let halt = || {
        if given_up.load(Ordering::Relaxed) {
            Halt::Now
        } else {
            (hooks.halt)()
        }
    };
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(exploration.jobs.get());
        for _ in 0..exploration.jobs.get() {
            let (sender, next, halt) = (sender.clone(), &next, &halt);
            scope.spawn(move || work(exploration, hooks, next, halt, &sender));
        }
        drop(sender);
        let told = collect(&receiver, tell);
        given_up.store(true, Ordering::Relaxed);
        // A thread that waits to be heard ends when nobody listens.
        drop(receiver);
        told
    })
    .map(|mut tally| {
        if (hooks.halt)() == Halt::Now {
            tally.interrupt();
        }
        tally
    })
}

/// Takes seed after seed, until there are no more or nobody wants them.
fn work<E>(
    exploration: &Exploration,
    hooks: &Hooks<'_, E>,
    next: &AtomicU64,
    halt: &(dyn Fn() -> Halt + Sync),
    sender: &SyncSender<Word<E>>,
) {
    while halt() == Halt::GoOn {
        let ordinal = next.fetch_add(1, Ordering::Relaxed);
        if exploration.seeds.is_some_and(|seeds| ordinal >= seeds) {
            return;
        }
        let result = play_seed(exploration.first.wrapping_add(ordinal), hooks, halt);
        if sender.send((ordinal, result)).is_err() {
            return;
        }
    }
}

fn play_seed<E>(seed: u64, hooks: &Hooks<'_, E>, halt: &(dyn Fn() -> Halt + Sync)) -> Result<Option<SeedResult>, E> {
    let mut pulse = |_: SimTime, _: &Director| match halt() {
        Halt::GoOn | Halt::NoMore => Pulse::GoOn,
        Halt::Now => Pulse::Interrupt,
    };
    let outcome = play_watched((hooks.plan)(seed)?, &mut pulse);
    if outcome.end == RunEnd::Interrupted {
        return Ok(None);
    }
    let status = outcome.status();
    if status != Status::Passed {
        (hooks.keep)(seed, &outcome)?;
    }
    let result = SeedResult {
        seed,
        status,
        failure: Failure::of(&outcome),
        fingerprint: outcome.recorder.fingerprint(),
        reached: Reached::of(&outcome.recorder),
    };
    Ok(Some(result))
}

/// Tells results in the order of seeds, whatever order they come in.
fn collect<E>(receiver: &Receiver<Word<E>>, tell: &mut dyn FnMut(News<'_>) -> ControlFlow<()>) -> Result<Tally, E> {
    let mut tally = Tally::default();
    let mut early = BTreeMap::new();
    let mut awaited = 0;
    loop {
        match receiver.recv_timeout(TICK) {
            Ok((ordinal, word)) => drop(early.insert(ordinal, word)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(tally),
        }
        while let Some(result) = early.remove(&awaited) {
            awaited += 1;
            if let Some(result) = result? {
                tally.add(&result);
                if tell(News::Seed(&result)).is_break() {
                    return Ok(tally);
                }
            }
        }
        if tell(News::Tick(&tally)).is_break() {
            return Ok(tally);
        }
    }
}
