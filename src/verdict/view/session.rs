//! What names a boot, and how far its connection has come.

use crate::model::AttemptId;
use crate::wire::session::SessionMetadata;

/// What names a boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verdict) struct Boot {
    /// Its run id, and the one before it: each holds once it was told.
    run: u64,
    run_before: u64,
    is_told: bool,
    is_before_told: bool,
    /// The last attempt id told.
    pub(in crate::verdict) last_attempt: Option<AttemptId>,
}

impl Boot {
    /// Its run id, once it was told.
    pub(in crate::verdict) fn run(&self) -> Option<u64> {
        self.is_told.then_some(self.run)
    }

    /// The one before it.
    pub(in crate::verdict) fn run_before(&self) -> Option<u64> {
        self.is_before_told.then_some(self.run_before)
    }

    /// Another boot, of which nothing is known yet.
    pub(super) fn begin(&mut self) {
        if let Some(run) = self.run().or(self.run_before()) {
            (self.run_before, self.is_before_told) = (run, true);
        }
        self.is_told = false;
        self.last_attempt = None;
    }

    /// A session tells its run id, and the last attempt that it knows.
    pub(super) fn introduce(&mut self, metadata: &SessionMetadata) {
        (self.run, self.is_told) = (metadata.run_id, true);
        self.last_attempt = metadata.last_attempt;
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verdict) struct Line {
    /// What was sent on it.
    pub(in crate::verdict) stage: LineStage,
    /// Subscribed to the OTA topic.
    pub(in crate::verdict) online: bool,
}

/// What was sent on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verdict) enum LineStage {
    /// Nothing but CONNECT.
    #[default]
    Greeted,
    /// Session metadata.
    Introduced,
    /// The subscription to the configuration.
    HalfSubscribed,
    /// Both subscriptions.
    Subscribed,
}
