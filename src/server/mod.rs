//! The reference server's core: registry, catalog, cohorts, deployments, attempts, images. It decides and does no I/O.
//!
//! Connections, packets and management requests enter by [`Server::handle_input`], the passing of time by
//! [`Server::handle_timeout`]; what is to be done leaves through the caller's queue, in order, records before what reveals them.
//! Image requests are answered by [`Server::serve_image`], questions by the views; both change nothing. What is durable stands in the
//! ledger and changes by records alone; what is not, in the connections. MQTT and HTTP as bytes, sockets, certificates and the
//! durable store are the driver's.

mod admin;
mod admission;
mod attempts;
mod catalog;
mod cohorts;
mod config;
mod connections;
mod deadlines;
mod defect;
mod deployments;
mod history;
mod images;
mod io;
mod ledger;
mod limits;
mod membership;
mod offers;
mod pace;
mod record;
mod registry;
mod rollout;
mod selection;
mod service;
mod sessions;
mod table;
mod views;
mod wakes;
mod watched;

pub use admission::{Admission, Door, Refusal, Refusals};
pub use attempts::Results;
pub use config::ServerConfig;
pub use defect::Defect;
pub use io::{AdminError, ConnectionId, RequestId, ServerInput, ServerOutput, ServerOutputs};
pub use limits::{LimitError, Limits};
pub use record::{CohortNumber, DeploymentNumber, DeviceNumber, Record, SessionSeen, Stamp};
pub use service::{Load, ServiceTime};
pub use sessions::prompt_of;
pub use views::ServerCounts;

use std::time::Duration;

use crate::memory;
use crate::model::{AttemptId, Prompt};
use crate::time::SimTime;
use crate::wire::{ImageAnswer, ImageRequest};

use connections::Connections;
use deadlines::Deadlines;
use images::Keys;
use ledger::Ledger;
use pace::Pace;

/// Most devices of a server, so that a leaked ingest key cannot fill its memory without bound.
const DEVICES_MAX: usize = 10_000_000;

/// A server: everything it knows, and its connections.
pub struct Server {
    keys: Keys,
    image_base: String,
    chase: Duration,
    first_attempt: AttemptId,
    ledger: Ledger,
    connections: Connections,
    pace: Pace,
    deadlines: Deadlines,
    ignored: u64,
    /// Longest packet, bytes.
    packet_max: u64,
    /// Connections put out, by reason.
    refusals: Refusals,
    defect: Option<Defect>,
    epoch_ms: u64,
    /// Of the input that is being handled.
    stamp: Stamp,
}

impl Server {
    /// A server that knows nothing but cohort `all`.
    ///
    /// # Panics
    /// If the image base is longer than [`ServerConfig::IMAGE_BASE_MAX`].
    pub fn new(config: ServerConfig) -> Server {
        let base = config.image_base.len();
        let max = ServerConfig::IMAGE_BASE_MAX;
        assert!(
            base <= max,
            "image base `{}` is {base} bytes long, the limit is {max}",
            config.image_base
        );
        let keys = Keys::new(&config.artifact_key, config.ingest_keys);
        Server {
            image_base: config.image_base,
            chase: config.chase,
            first_attempt: config.first_attempt,
            ledger: Ledger::new(config.keep_history, keys.name_key()),
            keys,
            connections: Connections::new(config.limits.connect_time, config.limits.silence),
            pace: Pace::new(config.limits.offers),
            deadlines: Deadlines::new(config.deadline),
            ignored: 0,
            epoch_ms: config.epoch_ms,
            stamp: Stamp {
                at_ms: config.epoch_ms,
                by: Prompt::Time,
            },
            packet_max: config.limits.packet,
            refusals: Refusals::default(),
            defect: None,
        }
    }

    /// A server as it stood after `records`, which another one put out in this order. Nobody is connected.
    ///
    /// # Panics
    /// As [`Server::new`], and if the records are not those of a server.
    pub fn restore(config: ServerConfig, records: impl IntoIterator<Item = (Stamp, Record)>) -> Server {
        let mut server = Server::new(config);
        let mut latest = server.stamp.at_ms;
        for (stamp, record) in records {
            latest = latest.max(stamp.at_ms);
            server.ledger.apply(stamp, &record);
            server.set_deadline(stamp, &record);
        }
        server.stamp.at_ms = latest;
        server
    }

    /// Takes in one thing that happened at `now`.
    pub fn handle_input(&mut self, input: ServerInput, now: SimTime, out: &mut ServerOutputs) {
        self.stamp(now, sessions::prompt_of(&input));
        match input {
            ServerInput::Opened(id) => self.opened(id, now),
            ServerInput::Closed(id) => self.closed(id, out),
            ServerInput::Received { from, packet } => self.received(from, packet, now, out),
            ServerInput::Admin { request, action } => {
                let result = self.administer(action, now, out);
                out.push(ServerOutput::Answer { request, result });
            }
        }
    }

    /// Does what is due at `now`: silent connections, missing results, offers whose turn it is, attempts past their deadline.
    pub fn handle_timeout(&mut self, now: SimTime, out: &mut ServerOutputs) {
        self.stamp(now, Prompt::Time);
        while let Some(wake) = self.connections.due(now) {
            self.wake(wake, now, out);
        }
        self.close_overdue(now, out);
        self.keep_pace(now, out);
    }

    /// When [`Server::handle_timeout`] is to be called; waking may find nothing to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<SimTime> {
        let wakes = [self.connections.next_wake(), self.pace.next_due(), self.deadlines.next()];
        wakes.into_iter().flatten().min()
    }

    /// Leaves a connection alone of which nothing but keep-alives is to come, never `silence` apart; for a driver that plays them only once it
    /// looks at the device again, and then says so by [`Server::stirs`]. False if that is too long.
    pub fn rests(&mut self, id: ConnectionId, silence: Duration) -> bool {
        self.connections.rest(id, silence)
    }

    /// The moment before which this connection is sent nothing unless something is received on it, or the server is administered; `None`
    /// if the device on it waits for its turn.
    pub fn silent_until(&self, id: ConnectionId) -> Option<SimTime> {
        let connection = self.connections.get(id)?;
        let owner = self.ledger.registry.at(connection.device?);
        owner.pending.is_none().then(|| connection.wakes_at())
    }

    /// When this connection is sent something next, or closed, unless something is received on it before or the server is administered.
    pub fn speaks_at(&self, id: ConnectionId) -> Option<SimTime> {
        self.connections.get(id).map(|connection| connection.wakes_at())
    }

    /// Has ready what is needed soon, when something comes on this connection.
    pub fn fetch(&self, id: ConnectionId) {
        self.connections.fetch(id);
    }

    /// Further, once that is there.
    pub fn fetch_more(&self, id: ConnectionId) {
        self.connections.fetch_more(id);
    }

    /// At last, of the device on it.
    pub fn fetch_device(&self, id: ConnectionId) {
        if let Some(device) = self.connections.get(id).and_then(|connection| connection.device) {
            memory::fetch(self.ledger.registry.at(device));
        }
    }

    /// A connection that was left alone was last heard at `heard_at`, if at all, and answered.
    pub fn stirs(&mut self, id: ConnectionId, heard_at: Option<SimTime>) {
        self.connections.stir(id, heard_at);
    }

    /// Answers a request for an image (design decision 12): 200 or 206, 401 without a secret, 403 with a wrong one, 404 for a path
    /// that names no artifact, 416 for a range beyond the end.
    pub fn serve_image(&self, request: &ImageRequest<'_>) -> ImageAnswer {
        self.answer_image(request)
    }

    /// Changes what is durable: applies a record and puts it out, ahead of whatever reveals it.
    fn commit(&mut self, record: Record, out: &mut ServerOutputs) {
        let stamp = self.stamp;
        self.ledger.apply(stamp, &record);
        self.set_deadline(stamp, &record);
        if !self.forgets(&record) {
            out.push(ServerOutput::Record { stamp, record });
        }
    }

    /// Says when and by what the changes that follow are made. Their time never goes back, whatever the machine's clock does.
    fn stamp(&mut self, now: SimTime, by: Prompt) {
        let at_ms = self.epoch_ms.saturating_add(now.as_nanos() / 1_000_000);
        self.stamp = Stamp {
            at_ms: at_ms.max(self.stamp.at_ms),
            by,
        };
    }
}
