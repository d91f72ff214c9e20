//! What a device lets its surroundings see. Metrics, checkers, stories and the trace are made of these; nothing flows back.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{AttemptId, BuildId};
use super::manifest::{ArtifactResult, AttemptError};
use super::phase::{Session, Transition};
use super::text::{FirmwareVersion, Slug};
use super::words::word_enum;
use crate::time::SimTime;

/// One thing seen of one device. The driver adds the time and the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The phase changed.
    Transition {
        /// From, to, and why.
        transition: Transition,
        /// The attempt concerned; of a device going back to rest, the attempt that ended.
        attempt: Option<AttemptId>,
        /// Where the new phase is an end without success, or retrying: why.
        reason: Option<FailureReason>,
    },
    /// The session changed.
    Session(Session),
    /// One try to connect ended: at the OTA SUBACK, or by failing.
    ConnectTried {
        /// How it ended.
        result: ConnectResult,
        /// When a connection was first wanted since the last one: latency counts from here.
        wanted_at: SimTime,
        /// When this try began (the `_raw` twin counts from here).
        tried_at: SimTime,
    },
    /// A manifest of an attempt that was not open before was accepted into RAM.
    ManifestReceived {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The outcome of an attempt became durable.
    AttemptEnded {
        /// Which attempt.
        attempt: AttemptId,
        /// How it ended.
        result: AttemptResult,
        /// Why it did not succeed.
        reason: Option<FailureReason>,
    },
    /// UPDATE_RESULTS was handed to MQTT.
    ResultPublished {
        /// Which attempt.
        attempt: AttemptId,
        /// True when no artifact is pending in it, or it is the error form.
        complete: bool,
    },
    /// An image began to run.
    Booted {
        /// Which image, by its build id; `None` when it has none.
        build_id: Option<BuildId>,
        /// The main version that this image is, as far as its header tells.
        firmware: FirmwareVersion,
        /// False on probation.
        confirmed: bool,
        /// What made the device boot.
        why: BootReason,
    },
    /// The running image was confirmed.
    Confirmed,
    /// The bootloader found no image to run.
    Unbootable,
    /// The bootloader has put the old image back after a test boot without confirmation.
    RolledBack,
    /// A version record was stored: this version of a non-main firmware is installed.
    Installed {
        /// What is installed.
        firmware: FirmwareVersion,
    },
    /// The handler of an artifact was called (main: the download began).
    HandlerCalled {
        /// Which attempt.
        attempt: AttemptId,
        /// Position in the manifest.
        index: usize,
        /// Version requested.
        firmware: FirmwareVersion,
    },
    /// A handler returned: what it came to. One of main that commits its image does not return; the reset ends it.
    HandlerReturned {
        /// Which attempt.
        attempt: AttemptId,
        /// Position in the manifest.
        index: usize,
        /// What it returned.
        result: ArtifactResult,
    },
    /// Every byte of an artifact was handed to its consumer: flash, or the application.
    Downloaded {
        /// Bytes handed over.
        bytes: u64,
        /// Samples of them, each with its place (`wire::ImagePrint`).
        print: u64,
    },
    /// A record was stored, atomically.
    RecordWritten {
        /// Which record.
        record: RecordKey,
        /// Its bytes.
        content: Bytes,
    },
    /// A record was deleted, atomically.
    RecordDeleted {
        /// Which record.
        record: RecordKey,
    },
    /// A record was lost: from here on it reads as absent. Storage damage, not the device's doing.
    RecordLost {
        /// Which record.
        record: RecordKey,
    },
    /// A flash operation returned an error. Not the device's doing.
    FlashFailed {
        /// An error that is not retried.
        permanent: bool,
    },
    /// MCUboot was asked to test the image in the secondary slot.
    UpgradeRequested,
    /// An image request was sent.
    Requested {
        /// First byte wanted; above zero the request is ranged.
        offset: u64,
        /// When it was due: the end of the wait before it. Times count from here, their `_raw` twins from the request itself.
        due: SimTime,
    },
    /// The status line of an image answer arrived.
    Answered {
        /// HTTP status.
        status: u16,
        /// Whether the request was ranged.
        ranged: bool,
        /// Bytes that the body will have, if the answer tells.
        length: Option<u64>,
    },
    /// A download waits before its next request.
    RetryScheduled {
        /// What went wrong.
        reason: RetryReason,
        /// When the next request is due.
        until: SimTime,
        /// Bytes of the image that have come so far, which the next request will not ask for.
        received: u64,
    },
    /// RAM was lost, and with it how far a download had come.
    DownloadLost {
        /// Bytes of the image that had come.
        received: u64,
        /// Bytes of the whole image, if that was known.
        total: Option<u64>,
    },
    /// Flash was used in a way that the chip does not allow: a defect of the device model.
    FlashMisused {
        /// What was done.
        what: &'static str,
    },
}

word_enum! {
    /// How one try to connect ended.
    ConnectResult {
        /// Subscribed.
        Ok = "ok",
        /// TCP reset at connecting, or CONNACK 1 to 3.
        Refused = "refused",
        /// No CONNACK, or no SUBACK, in time.
        Timeout = "timeout",
        /// The connection broke before the SUBACK.
        Reset = "reset",
        /// The TLS handshake failed.
        Tls = "tls",
        /// CONNACK 4 or 5.
        Auth = "auth",
    }
}

word_enum! {
    /// How an attempt ended, seen at the device.
    AttemptResult {
        /// Every artifact succeeded.
        Succeeded = "succeeded",
        /// An artifact failed.
        Failed = "failed",
        /// An artifact was cancelled and none failed.
        Cancelled = "cancelled",
        /// The device refused the message.
        Rejected = "rejected",
        /// A newer attempt took its place; its results are stored, not reported.
        Superseded = "superseded",
    }
}

word_enum! {
    /// What made a device boot.
    BootReason {
        /// Power came (back).
        PowerOn = "power-on",
        /// The software asked for it: an upgrade, or a reset fault.
        Software = "software",
        /// The watchdog fired.
        Watchdog = "watchdog",
        /// The image crashed.
        Crash = "crash",
    }
}

word_enum! {
    /// What makes a download wait before its next request (protocol 5.4).
    RetryReason {
        /// HTTP status 500 or above.
        Status = "status",
        /// No connection: refused, unreachable.
        Connect = "connect",
        /// Reset, or the body ended early.
        Reset = "reset",
        /// The request's budget of 120 s was used up.
        Timeout = "timeout",
        /// Malformed or aborted after at least one byte.
        Aborted = "aborted",
    }
}

/// Why an attempt did not succeed, as the device knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureReason {
    /// The new image was reset before it was confirmed, and MCUboot put the old one back.
    ResetBeforeConfirm,
    /// The bootloader refused or never ran the image.
    NotSwapped,
    /// The bootloader ran the image, which tells another build id than the one found in it.
    WrongBuildId,
    /// The downloaded image has no usable build id.
    NoBuildId,
    /// The image does not fit the slot.
    TooBig,
    /// The image is made for other hardware: the device has seen that before it erased anything.
    WrongHardware,
    /// The secondary slot could not be opened: the running image is unconfirmed (protocol 6.5).
    SlotRefused,
    /// A permanent HTTP status.
    Status(u16),
    /// A permanent download error that is no status: bad URL, TLS, wrong Content-Range.
    Download,
    /// A flash or storage operation failed for good.
    Storage,
    /// The install handler returned FAILED.
    InstallFailed,
    /// No install handler is there (protocol 6.4).
    Unhandled,
    /// The application aborted the download.
    AppAbort,
    /// The install handler returned CANCELED by itself.
    InstallCanceled,
    /// The server cancelled the attempt.
    ServerCancel,
    /// A newer attempt replaced it.
    Superseded,
    /// The device refused the message.
    Rejected(AttemptError),
}

impl FailureReason {
    /// The word for it in labels and reports.
    pub const fn word(self) -> &'static str {
        match self {
            FailureReason::ResetBeforeConfirm => "reset-before-confirm",
            FailureReason::NotSwapped => "not-swapped",
            FailureReason::WrongBuildId => "wrong-build-id",
            FailureReason::NoBuildId => "no-build-id",
            FailureReason::TooBig => "too-big",
            FailureReason::WrongHardware => "wrong-hardware",
            FailureReason::SlotRefused => "slot-refused",
            FailureReason::Status(_) => "http-status",
            FailureReason::Download => "download",
            FailureReason::Storage => "storage",
            FailureReason::InstallFailed => "install-failed",
            FailureReason::Unhandled => "unhandled",
            FailureReason::AppAbort => "app-abort",
            FailureReason::InstallCanceled => "install-canceled",
            FailureReason::ServerCancel => "server-cancel",
            FailureReason::Superseded => "superseded",
            FailureReason::Rejected(error) => error.word(),
        }
    }
}

impl FailureReason {
    /// The reasons that have no further field.
    const PLAIN: &'static [FailureReason] = &[
        FailureReason::ResetBeforeConfirm,
        FailureReason::NotSwapped,
        FailureReason::WrongBuildId,
        FailureReason::NoBuildId,
        FailureReason::TooBig,
        FailureReason::WrongHardware,
        FailureReason::SlotRefused,
        FailureReason::Download,
        FailureReason::Storage,
        FailureReason::InstallFailed,
        FailureReason::Unhandled,
        FailureReason::AppAbort,
        FailureReason::InstallCanceled,
        FailureReason::ServerCancel,
        FailureReason::Superseded,
    ];

    /// The reason that `word` names; `status` is the HTTP status, where one was written beside it.
    pub fn from_word(word: &str, status: Option<u16>) -> Option<FailureReason> {
        let rejected = AttemptError::ALL.iter().copied().map(FailureReason::Rejected);
        let with_field = [FailureReason::Status(status.unwrap_or(0))].into_iter().chain(rejected);
        let mut all = Self::PLAIN.iter().copied().chain(with_field);
        all.find(|reason| reason.word() == word)
    }
}

/// Names a record in a device's settings store (protocol 7.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// `attempt`.
    Attempt,
    /// `probation`.
    Probation,
    /// `version/SLUG`.
    Version(Slug),
}
