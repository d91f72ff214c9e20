//! Where records go. In memory nothing outlives the process, so a commit has nothing to wait for; what stands behind it waits all the
//! same, which is the shape that a store on disk needs.

use crate::server::{Record, Stamp};

/// Accepts records and forgets them.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    uncommitted: u64,
    committed: u64,
}

impl MemoryStore {
    /// Adds a record to the batch.
    pub(crate) fn append(&mut self, stamp: Stamp, record: &Record) {
        let _forgotten = (stamp, record);
        self.uncommitted += 1;
    }

    /// Makes the batch durable; what the records reveal may be told from here on.
    pub(crate) fn commit(&mut self) {
        self.committed += std::mem::take(&mut self.uncommitted);
    }
}
