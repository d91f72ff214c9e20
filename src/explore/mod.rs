//! Many seeds of one scenario in virtual time, to find those that break it.
//!
//! Seeds are played over threads, one thread a simulation, and told in their order however many threads there are. An outcome that
//! failed is handed out to be kept and then dropped, as every other is, so that at most one plan and one outcome a thread are in
//! memory. An outage is lengthened, for one way to retry after the other, until the fleet does not come back. Plans of a rollout are told
//! apart by what they cost. Where plans come from, where failures go and when to stop is the caller's.

mod draft;
mod failure;
mod front;
mod guide;
mod outage;
mod reached;
mod seeds;
mod shrink;
mod tally;

pub use draft::Draft;
pub use failure::Failure;
pub use front::{Costs, front};
pub use guide::{GENERATION, Guide};
pub use outage::{Boundary, OUTAGES, Retry, Storm};
pub use reached::{Reached, Struck};
pub use seeds::{Exploration, Halt, Hooks, News, SeedResult, explore};
pub use shrink::{Shrunk, fails_as, shrink};
pub use tally::Tally;
