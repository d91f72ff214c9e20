//! The server under test: a process of our own, or one that is there already and is left as it is.

use crate::faults::ServerCondition;
use crate::model::ServerEvent;
use crate::time::SimTime;

use super::changes::step_named;
use super::child::ChildServer;
use super::clock::Clock;

/// The server under test.
pub(crate) enum Server {
    /// Started for the run.
    Own(Box<ChildServer>),
    /// There already.
    Foreign,
}

impl Server {
    /// See [`ChildServer::stand`]; a foreign server is let be.
    pub async fn stand(&mut self, condition: ServerCondition) -> Result<(), String> {
        match self {
            Server::Own(server) => server.stand(condition).await,
            Server::Foreign => Ok(()),
        }
    }

    /// The process, if it is ours.
    pub fn id(&self) -> Option<u32> {
        match self {
            Server::Own(server) => server.id(),
            Server::Foreign => None,
        }
    }

    /// Waits until a server of ours has ended, and says how; for ever where it is not ours.
    pub async fn died(&mut self) -> String {
        match self {
            Server::Own(server) => server.died().await,
            Server::Foreign => std::future::pending().await,
        }
    }

    /// When something happened that the server stamped. A foreign one has a clock of its own: what it tells happened now.
    pub fn stamped(&self, clock: &Clock, at_ns: u64) -> SimTime {
        match self {
            Server::Own(server) => clock.stamped(server.epoch_monotonic_ns, at_ns),
            Server::Foreign => clock.now(),
        }
    }

    /// The event with deployments called as their steps are.
    pub fn named(&self, event: ServerEvent) -> ServerEvent {
        match self {
            Server::Own(_) => event,
            Server::Foreign => step_named(event),
        }
    }

    /// Ends a server of ours.
    pub async fn stop(self) {
        match self {
            Server::Own(server) => server.stop().await,
            Server::Foreign => {}
        }
    }
}
