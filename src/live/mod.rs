//! Plays a plan in real time: real sockets, real TLS, a server in a process of its own.
//!
//! Owns the clock, the shards (threads with one task a device), the child server, the management client and the figures about the
//! harness itself. Decides nothing: device cores decide what devices do, the Director what the run does. Shards send sightings to the
//! conductor on the calling thread, which hands them to the Director and carries its directives out.

mod clock;
mod download;
mod gauges;
mod link;
mod mqtt;
mod shard;
mod station;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use crate::play::Outcome;
use crate::scenario::Plan;

/// How a plan is played in real time.
#[derive(Clone, Debug)]
pub struct PlayOptions {
    /// The program whose `serve` command is the embedded server.
    pub server_program: PathBuf,
    /// File that receives what the server says on standard error; `None` throws it away.
    pub log: Option<PathBuf>,
    /// What is shown meanwhile.
    pub progress: Progress,
}

/// What is shown on standard error while a run is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing.
    Off,
    /// One line in ten seconds.
    Lines,
    /// A bar that is drawn again and again.
    Bar,
}

/// Why a run could not begin. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlayError {
    /// The fleet needs more descriptors than a process may have.
    #[error("{0}")]
    TooLarge(String),
    /// The server did not come up, or refused what the scenario needs before its start.
    #[error("{0}")]
    Server(String),
}

/// Plays `plan` from its arrivals to its end.
///
/// # Errors
///
/// When the run could not begin; whatever goes wrong later is part of the [`Outcome`].
pub fn play(plan: Arc<Plan>, options: PlayOptions) -> Result<Outcome, PlayError> {
    let _ = (plan, options);
    Err(PlayError::Server("the live driver is not built in".to_owned()))
}
