//! The images of a device, and the record of the one on trial.

use crate::model::AttemptId;

/// Images, by their folded build ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verdict) struct Images {
    /// The one that runs; `None` before the first boot.
    pub(in crate::verdict) running: Option<u32>,
    /// The last one that was confirmed.
    pub(in crate::verdict) good: Option<u32>,
    /// The running image is confirmed.
    pub(in crate::verdict) confirmed: bool,
    /// The image on trial was put back.
    pub(in crate::verdict) fell_back: bool,
}

/// A probation record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Trial {
    /// Which attempt.
    pub(in crate::verdict) attempt: AttemptId,
    /// The image on trial, by its folded build id.
    pub(in crate::verdict) image: u32,
    /// Position of main.
    pub(in crate::verdict) index: u8,
    /// The record has not been deleted.
    pub(in crate::verdict) kept: bool,
}

impl Trial {
    /// True if this artifact is, or was, on trial.
    pub(in crate::verdict) fn is_of(&self, attempt: AttemptId, index: usize) -> bool {
        self.attempt == attempt && usize::from(self.index) == index
    }
}
