//! The job of the worker that is under way, and the step of it that takes time.

use super::again::Again;
use super::fetch::Fetch;
use super::records::RecordBody;
use super::settle::Settle;
use crate::model::ArtifactResult;
use crate::time::SimTime;

/// What the worker is doing, and for which incarnation of the attempt.
#[derive(Debug)]
pub(super) struct Work {
    /// Of the attempt when the job began.
    pub(super) generation: u32,
    /// The handler was asked to stop, and what it is to return.
    pub(super) stopping: Option<Stopped>,
    /// The application has paused it.
    pub(super) paused: bool,
    /// Its record could not be stored.
    pub(super) again: Option<Again>,
    /// The step under way.
    pub(super) step: Step,
}

/// Why a handler stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The server cancelled the attempt, or superseded it.
    Canceled,
    /// The application aborted it.
    Aborted,
}

/// A step that takes time.
#[derive(Debug)]
pub(super) enum Step {
    /// Stores the record of a new attempt.
    First,
    /// Stores results or an error that no artifact's transaction stores.
    Final,
    /// Stores the record once more, to report this.
    Report(RecordBody),
    /// Deletes a probation record that is left over.
    DropProbation,
    /// A handler downloads.
    Fetch(Fetch),
    /// The downloaded main image is searched for its build id.
    Scan {
        /// Position in the manifest.
        index: u8,
        /// Until then.
        until: SimTime,
    },
    /// Stores the probation record.
    Probation,
    /// Asks for the upgrade.
    Upgrade,
    /// An install handler has its download, and works.
    Install {
        /// Position in the manifest.
        index: u8,
        /// Until then; `None` for ever.
        until: Option<SimTime>,
        /// What it returns.
        result: ArtifactResult,
        /// It does not listen to cancellations.
        deaf: bool,
    },
    /// An artifact has its result, which is being stored.
    Settle(Box<Settle>),
}
