//! Our server on real sockets: an MQTT endpoint, images over HTTP, the management API, the event stream.
//!
//! Owns sockets, TLS, framing, threads and the run's folder; what is answered is the server core's decision. Connections live on
//! shards (a thread with its own runtime each), the one core on a thread of its own, the management API on the caller's thread.
//! Packets and requests reach the core through one bounded channel; a batch of them is a group commit, after which the core's outputs
//! go to the connections' outboxes, the waiting requests and the event log.

mod api;
mod child;
mod clock;
mod codec;
mod connection;
mod core_thread;
mod credentials;
mod doors;
mod events;
mod gate;
mod home;
mod http;
mod images;
mod judge;
mod listen;
mod mapped;
mod outbox;
mod pressure;
mod ready;
mod run;
mod shard;
mod spool;
mod store;
mod times;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::AttemptId;
use crate::server::Limits;
use crate::server::ServiceTime;

pub use run::serve;
pub use store::StoreError;

/// What `squall serve` was asked for.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where devices connect by MQTT.
    pub listen: SocketAddr,
    /// Where images are downloaded; the address becomes part of their URLs.
    pub images: SocketAddr,
    /// Where the management API listens: loopback, or anywhere with TLS.
    pub admin: SocketAddr,
    /// Certificate of the listeners.
    pub tls: TlsChoice,
    /// Folder that everything is kept in; without one it goes with the process.
    pub store: Option<PathBuf>,
    /// How long results may be missing before they are asked for.
    pub chase: Duration,
    /// An attempt without an end this long after it was made is closed; `None` waits for ever.
    pub deadline: Option<Duration>,
    /// Service time of each message of a device, beside what it costs.
    pub delay: ServiceTime,
    /// Id of the first attempt.
    pub first_attempt: AttemptId,
    /// What it refuses beyond.
    pub limits: Limits,
    /// Holds devices against the invariants that can be seen from here.
    pub judge: bool,
    /// Started by another process of ours: takes [`crate::wire::api::ChildOrders`] and ends with its standard input.
    pub child: bool,
}

/// Which certificate a server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsChoice {
    /// One of its own, ECDSA P-256, signed by an authority of this run.
    Auto {
        /// An RSA-2048 one beside it, for clients that know nothing else.
        rsa: bool,
    },
    /// None: everything is plain text.
    Off,
    /// Certificate chain and key from PEM files.
    Files {
        /// Chain, the server's own first.
        chain: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// Why a server ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// SIGTERM.
    Terminated,
    /// SIGINT.
    Interrupted,
    /// The standard input of a child ended.
    ParentGone,
}

/// What a server came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Why it ended.
    pub ended: Ended,
    /// The judge's verdict, if there was one.
    pub verdict: Option<Verdict>,
}

/// What the judge found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One line of JSON.
    pub line: String,
    /// A rule broke.
    pub broken: bool,
}

/// Why a server could not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A listener could not be opened.
    #[error("cannot listen on {address} ({flag}): {cause}")]
    Listen {
        /// Flag that named the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why, in words.
        cause: String,
    },
    /// An address that may not be served so.
    #[error("{flag} {address}: {reason}")]
    Address {
        /// Flag that named the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What speaks against it.
        reason: &'static str,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`: {cause}", path.display())]
    File {
        /// `create`, `read`, `write`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The store cannot be used.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A certificate or key does not serve.
    #[error("--tls: {0}")]
    Certificate(String),
    /// The limit of open files is too low to start.
    #[error("the limit of open files is {limit}, a server needs at least {needed}: raise it with `ulimit -n`")]
    Descriptors {
        /// Hard limit found.
        limit: u64,
        /// Least that serves.
        needed: u64,
    },
    /// The parent gave no usable orders.
    #[error("orders on standard input: {0}")]
    Orders(String),
    /// The system refused something else.
    #[error("{what}: {cause}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// A thread of ours panicked.
    #[error("{0} ended unexpectedly: this is a defect of squall")]
    Defect(&'static str),
}
