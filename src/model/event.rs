//! What a server tells about itself: the event stream that harness, dashboards and CI read.

use serde::{Deserialize, Serialize};

use super::ids::{AttemptId, CohortName, DeploymentName, DeviceId};
use super::phase::UpdateState;
use super::words::word_enum;

/// One event. In JSON an object with the field `event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum ServerEvent {
    /// A device became known, by registration or by its first connection.
    DeviceRegistered {
        /// Which device.
        device: DeviceId,
    },
    /// A device authenticated.
    DeviceConnected {
        /// Which device.
        device: DeviceId,
    },
    /// A device's connection ended.
    DeviceDisconnected {
        /// Which device.
        device: DeviceId,
    },
    /// A device entered a cohort.
    CohortJoined {
        /// Which device.
        device: DeviceId,
        /// Which cohort.
        cohort: CohortName,
    },
    /// A device left a cohort.
    CohortLeft {
        /// Which device.
        device: DeviceId,
        /// Which cohort.
        cohort: CohortName,
    },
    /// The state of an attempt changed; from `none` when it was created.
    StateChanged {
        /// Which device.
        device: DeviceId,
        /// The deployment that the attempt carries out.
        deployment: DeploymentName,
        /// Which attempt.
        attempt: AttemptId,
        /// State left.
        from: UpdateState,
        /// State entered.
        to: UpdateState,
        /// Why.
        reason: StateReason,
    },
    /// A manifest was sent.
    ManifestSent {
        /// Which device.
        device: DeviceId,
        /// Which attempt.
        attempt: AttemptId,
        /// True from the second time on.
        repeat: bool,
    },
    /// A judge beside the server saw a rule broken: one of its own, or one of a device.
    RuleBroken {
        /// Its name: `manifest-within-limits`.
        rule: String,
        /// Whom it concerns, if one device.
        device: Option<DeviceId>,
        /// What was seen, in words.
        evidence: String,
    },
}

impl ServerEvent {
    /// The device whose attempt it is about.
    pub const fn device_of_attempt(&self) -> Option<&DeviceId> {
        match self {
            ServerEvent::StateChanged { device, .. } | ServerEvent::ManifestSent { device, .. } => Some(device),
            ServerEvent::DeviceRegistered { .. }
            | ServerEvent::DeviceConnected { .. }
            | ServerEvent::DeviceDisconnected { .. }
            | ServerEvent::CohortJoined { .. }
            | ServerEvent::CohortLeft { .. }
            | ServerEvent::RuleBroken { .. } => None,
        }
    }
}

word_enum! {
    /// Why the state of an attempt changed at the server.
    StateReason {
        /// A deployment reached the device.
        Deployed = "deployed",
        /// A person or a step asked for another attempt after one that failed.
        Retried = "retried",
        /// The manifest was sent.
        Offered = "offered",
        /// Complete results came.
        Results = "results",
        /// The device reported an attempt error.
        AttemptError = "attempt-error",
        /// Cancelled by a person or a step.
        Cancelled = "cancelled",
        /// A newer deployment took its place.
        Superseded = "superseded",
        /// The device left the cohort.
        Left = "left",
        /// No end came by the deadline.
        Deadline = "deadline",
    }
}

word_enum! {
    /// What the server was handling when it made a change.
    Prompt {
        /// A request of the management API, or a step.
        Management = "management",
        /// CONNECT.
        Connect = "connect",
        /// SUBSCRIBE or UNSUBSCRIBE.
        Subscribe = "subscribe",
        /// PUBLISH with session metadata, or with telemetry.
        Ingest = "ingest",
        /// PUBLISH with UPDATE_RESULTS.
        Results = "update-results",
        /// Another packet.
        Packet = "packet",
        /// A connection that began or ended.
        Connection = "connection",
        /// The passing of time.
        Time = "time",
    }
}
