//! Many seeds of one scenario in virtual time, to find those that break it.
//!
//! Seeds are played over threads, one thread a simulation, and told in their order however many threads there are. An outcome that
//! failed is handed out to be kept and then dropped, as every other is, so that at most one plan and one outcome a thread are in
//! memory. Where plans come from, where failures go and when to stop is the caller's.

mod draft;
mod failure;
mod front;
mod seeds;
mod shrink;
mod tally;

pub use draft::Draft;
pub use failure::Failure;
pub use front::{Costs, front};
pub use seeds::{Exploration, Halt, Hooks, News, SeedResult, explore};
pub use shrink::{Shrunk, fails_as, shrink};
pub use tally::Tally;
