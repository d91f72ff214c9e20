//! What the run meant: invariants that hold in every run, expectations of this scenario.
//!
//! The [`Referee`] watches from outside: what devices show, the bytes they send and get, what the server tells. It never asks a core
//! anything. The [`Auditor`] does the same at a server's own door, and holds the server's rules; the [`Witness`] stands there too, and
//! holds of the devices' rules what can be seen from the server's side alone. [`judge`] holds a measured value against an expectation;
//! when that is done is the Director's business.

mod auditor;
mod build;
mod expectation;
mod finding;
mod referee;
mod rulebook;
mod rules;
mod view;
mod witness;

pub use auditor::{Audit, Auditor, SECRETS_OPEN_IMAGES, SERVER_RULES, server_rule};
pub use build::{Build, Least, Waits};
pub use expectation::{Expectation, JudgedAt, Judgement, Modes, judge};
pub use finding::Finding;
pub use referee::{Referee, RefereeSetup};
pub use rules::Rule;
pub use witness::{Fetched, Held, Witness};
