//! What goes into the Director and what comes out.

use serde::{Deserialize, Serialize};

use crate::device::DeviceInput;
use crate::faults::{Happening, Injection, ServerCondition};
use crate::model::{AdminAction, Carried, DeviceIndex, FlashCounts, Observation, ServerEvent};
use crate::time::SimTime;
use crate::wire::{DownloadRequest, ImageHead, Packet};

/// Which driver plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Real sockets, real time.
    Run,
    /// Modelled links, virtual time.
    Sim,
}

impl Mode {
    /// The verb of the command line, also used in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Run => "run",
            Mode::Sim => "sim",
        }
    }
}

/// One thing that a driver saw; it adds the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// A device showed something.
    Observed(DeviceIndex, Observation),
    /// A device handed this packet to its transport.
    Sent(DeviceIndex, Packet),
    /// A device was given this packet.
    Delivered(DeviceIndex, Packet),
    /// Something came of a fault at a device.
    Fault {
        /// Which device.
        device: DeviceIndex,
        /// Position of the fault in the plan.
        fault: u16,
        /// What.
        happening: Happening,
    },
    /// A device handed this image request to its transport.
    Requested(DeviceIndex, DownloadRequest),
    /// A device was given this head of an image answer.
    Headed(DeviceIndex, ImageHead),
    /// This crossed the path of a device since it was last told.
    Carried(DeviceIndex, Carried),
    /// A device has done so many flash operations, all boots together.
    Flash(DeviceIndex, FlashCounts),
    /// The server told something.
    Server(ServerEvent),
    /// An admin directive was answered.
    Answered {
        /// Number of the directive.
        request: u64,
        /// Done, or what the server said against it.
        result: Result<(), String>,
    },
    /// Something went wrong in the harness; the run goes on.
    Trouble {
        /// Whom it concerns, if one device.
        device: Option<DeviceIndex>,
        /// What.
        message: String,
    },
}

/// What the Director wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Ask the server for a change; answered by [`Sighting::Answered`].
    Admin {
        /// Number of this directive.
        request: u64,
        /// Which change.
        action: AdminAction,
    },
    /// Hand a device an input.
    Device(DeviceIndex, DeviceInput),
    /// Give a device's edge a fault.
    Inject(DeviceIndex, Box<Injection>),
    /// Bring the server's process to stand like this.
    Server(ServerCondition),
    /// Trouble is over: every edge ends its faults; answer with [`super::Director::trouble_ended`], naming the latest timer that any device has armed, keep-alive
    /// and heartbeat left out.
    EndTrouble,
    /// The run is over.
    Stop,
}

/// How a run came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEnd {
    /// Nothing was left to happen and no attempt was open.
    Settled,
    /// Its duration was over (`ends = "duration"`), or settling took too long.
    Duration,
    /// An expectation with `abort_on_fail` failed.
    Aborted,
    /// The user asked for it.
    Interrupted,
    /// The run could not go on: why.
    Failed(String),
}

/// What the progress line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When.
    pub at: SimTime,
    /// Devices subscribed to their OTA topic.
    pub online: u64,
    /// Devices with an open attempt.
    pub open: u64,
    /// Attempts that the server holds to have succeeded.
    pub ok: u64,
    /// Attempts that the server holds to have failed.
    pub failed: u64,
}

/// A moment and what was seen at it.
pub type Stamped = (SimTime, Sighting);
