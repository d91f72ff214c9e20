//! The reference server's core: registry, catalog, cohorts, deployments, attempts, images; decides, does no I/O.

mod io;
mod record;

pub use io::{AdminError, ConnectionId, RequestId, ServerInput, ServerOutput, ServerOutputs};
pub use record::Record;
