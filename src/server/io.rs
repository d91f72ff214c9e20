//! What goes into the server core and what comes out.

use crate::model::{AdminAction, ServerEvent};
use crate::wire::Packet;

use super::record::{Record, Stamp};

/// Names one connection; the driver's choice, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Names one management request; the driver's choice, repeated in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happens to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerInput {
    /// A transport connection is up; its CONNECT is awaited.
    Opened(ConnectionId),
    /// A connection is gone, orderly or not.
    Closed(ConnectionId),
    /// A packet arrived.
    Received {
        /// On which connection.
        from: ConnectionId,
        /// What.
        packet: Packet,
    },
    /// Somebody asks for a change.
    Admin {
        /// Repeated in the answer.
        request: RequestId,
        /// Which change.
        action: AdminAction,
    },
}

/// What the server wants done, in this order. A driver makes every `Record` durable before it carries out what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOutput {
    /// Append to the store.
    Record {
        /// When, and by what.
        stamp: Stamp,
        /// What changed.
        record: Record,
    },
    /// Send a packet.
    Transmit {
        /// On which connection.
        to: ConnectionId,
        /// What.
        packet: Packet,
    },
    /// Close a connection; answered by nothing (the driver sends no `Closed` for it).
    Close(ConnectionId),
    /// Answer a management request.
    Answer {
        /// Whose.
        request: RequestId,
        /// Done, or why not.
        result: Result<(), AdminError>,
    },
    /// Tell whoever listens.
    Observed(ServerEvent),
}

/// The queue that outputs go into; owned by the driver.
pub type ServerOutputs = Vec<ServerOutput>;

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Something named does not exist.
    #[error("unknown {noun} `{name}`")]
    Unknown {
        /// `firmware`, `version`, `device`, `cohort`, `deployment`, `attempt`.
        noun: &'static str,
        /// The name given.
        name: String,
    },
    /// Something of that name is there already.
    #[error("{noun} `{name}` exists already")]
    Exists {
        /// What kind of thing.
        noun: &'static str,
        /// The name given.
        name: String,
    },
    /// A value is not acceptable.
    #[error("{field}: {message}")]
    Invalid {
        /// The field of the action.
        field: &'static str,
        /// What is wrong with its value.
        message: String,
    },
    /// The change was to be made only if nobody made another before.
    #[error("it was changed meanwhile: read it again, and send its new ETag")]
    Changed,
    /// The change contradicts the present state.
    #[error("{message}")]
    Conflict {
        /// What stands against it.
        message: String,
    },
}
