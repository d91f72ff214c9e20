//! Virtual time: the clock jumps to the next event.
//!
//! One thread plays a plan over the same cores as real time does: devices, the edges with their links and faults, the server, the Director. What
//! happens at one moment happens in a fixed order, so that a plan has one outcome, byte for byte. Parallelism is over seeds.

mod boxes;
mod engine;
mod link;
mod process;
mod queue;
mod wheel;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::play::{Director, Outcome};
use crate::scenario::Plan;
use crate::time::SimTime;

pub use engine::{PULSE, Pulse, Scene};
pub use queue::QueueKind;

/// Plays a plan to its end.
pub fn play(plan: Arc<Plan>) -> Outcome {
    play_watched(plan, &mut |_, _| Pulse::GoOn)
}

/// Plays a plan to its end; gives how many events that took, too.
pub fn play_counted(plan: Arc<Plan>) -> (Outcome, u64) {
    conduct(engine::Engine::new(plan, QueueKind::default()), &mut |_| Pulse::GoOn)
}

/// Plays a plan to its end with this queue.
pub fn play_with(plan: Arc<Plan>, queue: QueueKind) -> Outcome {
    play_on(plan, queue, &mut |_, _| Pulse::GoOn)
}

/// Plays a plan, and every few thousand events shows the Director to `pulse`, which may end the run. A defect of a core ends it too:
/// the outcome then says so, with device and time.
pub fn play_watched(plan: Arc<Plan>, pulse: &mut dyn FnMut(SimTime, &Director) -> Pulse) -> Outcome {
    play_on(plan, QueueKind::default(), pulse)
}

/// Plays a plan for somebody who watches: every picture can be had, and [`Pulse::Until`] sets the pace.
pub fn play_shown(plan: Arc<Plan>, pulse: &mut dyn FnMut(Scene<'_>) -> Pulse) -> Outcome {
    let mut engine = engine::Engine::new(plan, QueueKind::default());
    engine.watch();
    conduct(engine, pulse).0
}

fn play_on(plan: Arc<Plan>, queue: QueueKind, pulse: &mut dyn FnMut(SimTime, &Director) -> Pulse) -> Outcome {
    let pulse = &mut |scene: Scene<'_>| pulse(scene.now, scene.director);
    conduct(engine::Engine::new(plan, queue), pulse).0
}

fn conduct(mut engine: engine::Engine, pulse: &mut dyn FnMut(Scene<'_>) -> Pulse) -> (Outcome, u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| engine.run(pulse))) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        engine.fail(text.or_else(|| panic.downcast_ref().copied()).unwrap_or("panicked"));
    }
    engine.finish()
}
