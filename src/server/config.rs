//! What a server is started with.

use std::fmt;
use std::time::Duration;

use crate::model::{AttemptId, KeyHash};

use super::limits::Limits;

/// Settings of a server; secrets among them are not printed.
#[derive(Clone)]
pub struct ServerConfig {
    /// Hashes of the passwords that devices may authenticate with.
    pub ingest_keys: Vec<KeyHash>,
    /// The key under which artifact secrets are made; the same after a restart, or secrets handed out before it stop working.
    pub artifact_key: [u8; 32],
    /// What stands in front of `/a/{attempt}/{index}`: scheme, host and port, without a slash at its end. At most
    /// [`ServerConfig::IMAGE_BASE_MAX`] bytes.
    pub image_base: String,
    /// Missing results are asked for after this long, and again each time as long; zero never asks.
    pub chase: Duration,
    /// Id of the first attempt; later ones count upwards.
    pub first_attempt: AttemptId,
    /// What a connection may cost. The counts among them are [`super::Admission`]'s.
    pub limits: Limits,
    /// An attempt without an end this long after it was made is closed as Failed; `None` waits for ever.
    pub deadline: Option<Duration>,
    /// What time zero of this process is, in milliseconds since the Unix epoch; zero where no clock hangs on the wall.
    pub epoch_ms: u64,
    /// Keep what happened to every attempt and device, when and why, to be shown.
    pub keep_history: bool,
}

impl ServerConfig {
    /// Longest image base, bytes: a URL has at most 128 (protocol 5.1), of which `/a/`, 20 digits, `/` and two digits are the path.
    pub const IMAGE_BASE_MAX: usize = 128 - (3 + 20 + 1 + 2);
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("ingest_keys", &self.ingest_keys.len())
            .field("image_base", &self.image_base)
            .field("chase", &self.chase)
            .field("first_attempt", &self.first_attempt)
            .field("limits", &self.limits)
            .field("deadline", &self.deadline)
            .field("epoch_ms", &self.epoch_ms)
            .field("keep_history", &self.keep_history)
            .finish_non_exhaustive()
    }
}
