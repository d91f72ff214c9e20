//! What a device does (phase), why it changed (cause), which changes are legal, and what the server believes (state).
//!
//! The table of legal transitions is the contract's section 3: 55 pairs, where idle and the four ends count as one origin.

use std::fmt;

use super::words::word_enum;

word_enum! {
    /// Where a device stands in its update attempt (contract, section 3).
    Phase {
        /// No attempt since storage was erased.
        Idle = "idle",
        /// Restored an attempt at boot; needs its manifest again.
        Waiting = "waiting",
        /// Manifest in RAM, record durable, no handler running.
        Accepted = "accepted",
        /// Runs the handler of a non-main artifact.
        Installing = "installing",
        /// Secondary slot open, request running.
        Downloading = "downloading",
        /// Waits before the next request.
        Retrying = "retrying",
        /// Last byte written; reads the build id.
        Staged = "staged",
        /// Irreversible: stores probation, requests the upgrade.
        Committing = "committing",
        /// In the bootloader, exchanging images.
        Swapping = "swapping",
        /// Runs the new image unconfirmed.
        Probation = "probation",
        /// In the bootloader, swapping back.
        Reverting = "reverting",
        /// Ended: every artifact succeeded.
        Succeeded = "succeeded",
        /// Ended: an artifact failed, or the attempt has an error.
        Failed = "failed",
        /// Ended: an artifact was cancelled and none failed.
        Cancelled = "cancelled",
        /// Ended: the device refused the message.
        Rejected = "rejected",
    }
}

impl Phase {
    /// True for idle and the four ends: no attempt is open.
    pub const fn at_rest(self) -> bool {
        matches!(self, Phase::Idle) || self.ended()
    }

    /// True for succeeded, failed, cancelled and rejected.
    pub const fn ended(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed | Phase::Cancelled | Phase::Rejected)
    }
}

word_enum! {
    /// Why a device changed its phase.
    Cause {
        /// The ordinary course.
        Normal = "normal",
        /// Power was lost, or the device was reset.
        Power = "power",
        /// Something failed.
        Error = "error",
        /// Cancelled by the server, or superseded.
        Cancel = "cancel",
        /// The device refused a message.
        Reject = "reject",
    }
}

word_enum! {
    /// What the server believes of a device in a deployment (protocol, section 10).
    UpdateState {
        /// No deployment has reached the device.
        None = "none",
        /// An attempt is due, but no manifest was sent.
        Pending = "pending",
        /// The manifest was sent.
        InProgress = "in-progress",
        /// Every artifact succeeded.
        Succeeded = "succeeded",
        /// An artifact failed, or the attempt has an error.
        Failed = "failed",
        /// Cancelled, wholly or in part.
        Cancelled = "cancelled",
    }
}

impl UpdateState {
    /// True for succeeded, failed and cancelled, which are never left.
    pub const fn ended(self) -> bool {
        matches!(self, UpdateState::Succeeded | UpdateState::Failed | UpdateState::Cancelled)
    }
}

word_enum! {
    /// How a device stands to its server.
    Session {
        /// Without power.
        Off = "off",
        /// Powered, no connection, waiting to try again.
        Offline = "offline",
        /// Between wanting a connection and the OTA SUBACK.
        Connecting = "connecting",
        /// Subscribed to its OTA topic.
        Online = "online",
    }
}

/// The legal transitions: origin, destination, and the causes under which it is legal. `Idle` as origin stands for idle and the
/// four ends.
pub const LEGAL: &[(Phase, Phase, &[Cause])] = {
    use Cause::{Cancel, Error, Normal, Power, Reject};
    use Phase::{
        Accepted, Cancelled, Committing, Downloading, Failed, Idle, Installing, Probation, Rejected, Retrying, Reverting, Staged,
        Succeeded, Swapping, Waiting,
    };
    &[
        (Idle, Accepted, &[Normal, Cancel]),
        (Idle, Cancelled, &[Cancel]),
        (Idle, Rejected, &[Reject]),
        (Idle, Reverting, &[Power]),
        (Waiting, Accepted, &[Normal]),
        (Waiting, Waiting, &[Power]),
        (Waiting, Cancelled, &[Cancel]),
        (Waiting, Rejected, &[Reject]),
        (Accepted, Installing, &[Normal]),
        (Accepted, Downloading, &[Normal]),
        (Accepted, Succeeded, &[Normal]),
        (Accepted, Waiting, &[Power]),
        (Accepted, Cancelled, &[Cancel]),
        (Accepted, Rejected, &[Reject, Error]),
        (Installing, Accepted, &[Normal]),
        (Installing, Succeeded, &[Normal]),
        (Installing, Waiting, &[Power]),
        (Installing, Failed, &[Error]),
        (Installing, Cancelled, &[Cancel]),
        (Installing, Rejected, &[Reject, Error]),
        (Downloading, Retrying, &[Error]),
        (Downloading, Staged, &[Normal]),
        (Downloading, Waiting, &[Power]),
        (Downloading, Failed, &[Error]),
        (Downloading, Cancelled, &[Cancel]),
        (Downloading, Rejected, &[Reject, Error]),
        (Retrying, Downloading, &[Normal]),
        (Retrying, Waiting, &[Power]),
        (Retrying, Failed, &[Error]),
        (Retrying, Cancelled, &[Cancel]),
        (Retrying, Rejected, &[Reject, Error]),
        (Staged, Committing, &[Normal]),
        (Staged, Waiting, &[Power]),
        (Staged, Failed, &[Error]),
        (Staged, Cancelled, &[Cancel]),
        (Staged, Rejected, &[Reject, Error]),
        (Committing, Swapping, &[Normal, Power]),
        (Committing, Waiting, &[Power]),
        (Committing, Failed, &[Error, Power]),
        (Committing, Succeeded, &[Power]),
        (Committing, Rejected, &[Error]),
        (Swapping, Probation, &[Normal]),
        (Swapping, Swapping, &[Power]),
        (Swapping, Failed, &[Error]),
        (Swapping, Succeeded, &[Error]),
        (Probation, Succeeded, &[Normal, Power]),
        (Probation, Accepted, &[Normal]),
        (Probation, Waiting, &[Normal, Power]),
        (Probation, Reverting, &[Power]),
        (Probation, Cancelled, &[Cancel, Power]),
        (Probation, Rejected, &[Reject, Error]),
        (Reverting, Failed, &[Normal]),
        (Reverting, Reverting, &[Power]),
        (Reverting, Succeeded, &[Normal]),
        (Reverting, Rejected, &[Normal]),
    ]
};

/// One change of phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transition {
    /// Phase left.
    pub from: Phase,
    /// Phase entered.
    pub to: Phase,
    /// Why.
    pub cause: Cause,
}

impl Transition {
    /// Position of this pair in [`LEGAL`], or `None` where the contract knows no such transition or not with this cause.
    pub fn legal_index(self) -> Option<usize> {
        let origin = if self.from.at_rest() { Phase::Idle } else { self.from };
        LEGAL
            .iter()
            .position(|&(from, to, causes)| from == origin && to == self.to && causes.contains(&self.cause))
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{} ({})", self.from, self.to, self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_contract_knows_55_legal_pairs() {
        let pairs: BTreeSet<_> = LEGAL.iter().map(|&(from, to, _)| (from, to)).collect();
        assert_eq!((LEGAL.len(), pairs.len()), (55, 55));
    }

    #[test]
    fn the_four_ends_share_the_row_of_idle() {
        let again = Transition {
            from: Phase::Succeeded,
            to: Phase::Accepted,
            cause: Cause::Normal,
        };
        assert_eq!(again.legal_index(), Some(0));
        let never = Transition {
            from: Phase::Downloading,
            to: Phase::Succeeded,
            cause: Cause::Normal,
        };
        assert_eq!(never.legal_index(), None);
    }

    #[test]
    fn words_name_their_values() {
        assert!(Phase::ALL.iter().all(|&phase| Phase::from_word(phase.word()) == Some(phase)));
        assert_eq!(UpdateState::from_word("in-progress"), Some(UpdateState::InProgress));
    }
}
