//! What the run meant: invariants that hold in every run, expectations of this scenario.

mod expectation;
mod finding;

pub use expectation::{Expectation, JudgedAt, Judgement, Modes};
pub use finding::Finding;
