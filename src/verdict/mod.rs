//! What the run meant: invariants that hold in every run, expectations of this scenario.

mod expectation;
mod finding;
mod referee;

pub use expectation::{Expectation, JudgedAt, Judgement, Modes, judge};
pub use finding::Finding;
pub use referee::{Referee, RefereeSetup};
