//! Plays a plan in real time: real sockets, real TLS, a server in a process of its own.
//!
//! Owns the clock, the shards (threads with one task a device), the child server, the management client and the figures about the
//! harness itself. Decides nothing: device cores decide what devices do, the Director what the run does. Shards send sightings to the
//! conductor on the calling thread, which hands them to the Director and carries its directives out.

mod access;
mod admin;
mod audience;
mod berth;
mod board;
mod capacity;
mod certificate;
mod changes;
mod child;
mod clock;
mod conductor;
mod defect;
mod descriptors;
mod download;
mod downloads;
mod events;
mod exporter;
mod filled;
mod gauges;
mod harness;
mod interrupt;
mod link;
mod mqtt;
#[cfg(test)]
mod peers;
mod processors;
mod progress;
mod server;
mod shard;
mod station;
mod steward;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::play::{Director, Mode, Outcome, Viewer};
use crate::scenario::Plan;
use crate::time::SimTime;

pub use access::check_access;
pub use board::{NoBoards, find_boards};
pub use capacity::{Capacity, Needs, timer_lateness};
pub use certificate::LATE_MAX;
pub use defect::defect_on_order;
pub use descriptors::{TooLarge, make_room};
pub use downloads::{Took, measure_downloads};
pub use exporter::export;

/// How a plan is played in real time.
#[derive(Debug)]
pub struct PlayOptions {
    /// The program whose `serve` command is the embedded server.
    pub server_program: PathBuf,
    /// File that receives what the server says on standard error; `None` throws it away.
    pub log: Option<PathBuf>,
    /// Where images are put for a program that carries out steps.
    pub images: PathBuf,
    /// What is shown meanwhile.
    pub progress: Progress,
    /// Who watches besides.
    pub viewers: Vec<Viewer>,
    /// What is done before the second signal ends the process at once.
    pub before_exit: fn(),
    /// When time zero is, where several processes are to begin together.
    pub start_at: Option<SystemTime>,
    /// When the run begins, RFC 3339, for the report.
    pub started_at: Option<String>,
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

/// Plays `plan` from its arrivals to its end. Whatever goes wrong becomes part of the [`Outcome`]; call [`make_room`] before, so that
/// a fleet that does not fit is refused before anything begins.
pub fn play(plan: Arc<Plan>, options: PlayOptions) -> Outcome {
    let begun = interrupt::watch(options.before_exit).and_then(|interrupts| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok((interrupts, runtime))
    });
    match begun {
        Ok((interrupts, runtime)) => {
            let outcome = runtime.block_on(conductor::conduct(plan, options, interrupts));
            runtime.shutdown_background();
            outcome
        }
        Err(error) => {
            let mut director = Director::new(plan, Mode::Run);
            director.fail(SimTime::ZERO, format!("the run could not begin: {error}"), &mut Vec::new());
            director.finish(SimTime::ZERO, None, options.started_at)
        }
    }
}
