//! What a trace keeps of one device: the happenings that a story is made of, small enough to keep millions of them.
//!
//! Names (versions, deployments, records) are numbers here, resolved by [`TraceNames`]; byte counts stop at 4 GiB.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    AttemptId, AttemptResult, BootReason, ConnectResult, FailureReason, Observation, RecordKey, RetryReason, ServerEvent, Session,
    StateReason, Transition, UpdateState, word_enum,
};
use crate::time::SimTime;

/// One thing that happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The phase changed.
    Transition {
        /// From, to, and why.
        transition: Transition,
        /// The attempt concerned.
        attempt: Option<AttemptId>,
        /// What went wrong, if something did.
        reason: Option<FailureReason>,
    },
    /// Power went.
    PowerLost,
    /// Power came, or the connection went.
    Offline,
    /// A try to connect ended.
    ConnectTried {
        /// How.
        result: ConnectResult,
        /// When a connection was first wanted since the last one.
        wanted_at: SimTime,
    },
    /// An image began to run.
    Booted {
        /// Which version it says it is.
        image: NameId,
        /// False on probation.
        confirmed: bool,
        /// What made the device boot.
        why: BootReason,
    },
    /// The running image was confirmed.
    Confirmed,
    /// The bootloader found no image to run.
    Unbootable,
    /// The bootloader has put the old image back.
    RolledBack,
    /// The bootloader was asked to test the new image.
    UpgradeRequested,
    /// A manifest came.
    Manifest {
        /// Of which attempt.
        attempt: AttemptId,
    },
    /// The handler of an artifact was called.
    Handler {
        /// Of which attempt.
        attempt: AttemptId,
        /// Position in the manifest.
        index: u8,
        /// Which version is to be installed.
        image: NameId,
    },
    /// An image request was sent.
    Request {
        /// First byte wanted.
        offset: u32,
    },
    /// An image request was answered.
    Answer {
        /// HTTP status.
        status: u16,
        /// Whether the request was ranged.
        ranged: bool,
        /// Bytes that the body will have, if the answer tells.
        length: Option<u32>,
    },
    /// A download waits before its next request.
    Retry {
        /// What went wrong.
        reason: RetryReason,
        /// When the next request is due.
        until: SimTime,
        /// Bytes that have come.
        received: u32,
    },
    /// RAM was lost, and with it how far a download had come.
    DownloadLost {
        /// Bytes that had come.
        received: u32,
        /// Bytes of the whole image, if that was known.
        total: Option<u32>,
    },
    /// A record was stored.
    Stored {
        /// Which record.
        record: StoredRecord,
        /// Its length.
        bytes: u16,
    },
    /// A record was deleted.
    Deleted {
        /// Which record.
        record: StoredRecord,
    },
    /// A version other than main is installed.
    Installed {
        /// Which one.
        image: NameId,
    },
    /// The outcome of an attempt is durable.
    Ended {
        /// Which attempt.
        attempt: AttemptId,
        /// How it ended.
        result: AttemptResult,
        /// Why it did not succeed.
        reason: Option<FailureReason>,
    },
    /// Results were handed to MQTT.
    Published {
        /// Of which attempt.
        attempt: AttemptId,
        /// True when nothing is pending in them.
        complete: bool,
    },
    /// Flash was used in a way that the chip does not allow.
    Misused {
        /// What was done.
        what: NameId,
    },
    /// Something came of a fault.
    Fault {
        /// Its name.
        name: NameId,
        /// Its kind.
        kind: NameId,
        /// What came of it.
        came: FaultCame,
        /// Why, where it says so.
        why: Option<NameId>,
    },
    /// The server changed the state of the device's attempt.
    State {
        /// Which attempt.
        attempt: AttemptId,
        /// The deployment that it carries out.
        deployment: NameId,
        /// State left.
        from: UpdateState,
        /// State entered.
        to: UpdateState,
        /// Why.
        reason: StateReason,
    },
    /// The server sent a manifest once more.
    OfferedAgain {
        /// Of which attempt.
        attempt: AttemptId,
    },
}

word_enum! {
    /// What came of a fault at a device.
    FaultCame {
        /// It is on from here.
        Began = "began",
        /// It has struck.
        Done = "done",
        /// It cannot strike any more.
        Missed = "missed",
        /// It is over.
        Ended = "ended",
    }
}

/// A record of a device's settings store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredRecord {
    /// Of the attempt.
    Attempt,
    /// Of the image on probation.
    Probation,
    /// Of the installed version of a firmware, named by its slug.
    Version(NameId),
}

/// The number of a name in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameId(u16);

/// Names and their numbers, in the order of their appearance.
#[derive(Clone, Debug, Default)]
pub struct TraceNames {
    texts: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, u16>,
}

impl TraceNames {
    /// The number of a name, given to it if it has none. Past 65,535 names all further ones share a number without a text.
    pub fn intern(&mut self, name: &str) -> NameId {
        if let Some(&number) = self.numbers.get(name) {
            return NameId(number);
        }
        let number = u16::try_from(self.texts.len()).unwrap_or(u16::MAX);
        if number < u16::MAX {
            let text: Arc<str> = name.into();
            self.texts.push(Arc::clone(&text));
            self.numbers.insert(text, number);
        }
        NameId(number)
    }

    /// The name with this number.
    pub fn text(&self, name: NameId) -> &str {
        self.texts.get(usize::from(name.0)).map_or("?", |text| text)
    }
}

impl Happening {
    /// What of an observation a trace keeps.
    pub(super) fn seen(observation: &Observation, names: &mut TraceNames) -> Option<Happening> {
        Some(match observation {
            Observation::Transition {
                transition,
                attempt,
                reason,
            } => Happening::Transition {
                transition: *transition,
                attempt: *attempt,
                reason: *reason,
            },
            Observation::Session(Session::Off) => Happening::PowerLost,
            Observation::Session(Session::Offline) => Happening::Offline,
            // The tries tell of these two.
            Observation::Session(Session::Connecting | Session::Online) => return None,
            // What follows from them is kept.
            Observation::HandlerReturned { .. } | Observation::Downloaded { .. } => return None,
            Observation::ConnectTried { result, wanted_at, .. } => Happening::ConnectTried {
                result: *result,
                wanted_at: *wanted_at,
            },
            Observation::ManifestReceived { attempt } => Happening::Manifest { attempt: *attempt },
            Observation::AttemptEnded { attempt, result, reason } => Happening::Ended {
                attempt: *attempt,
                result: *result,
                reason: *reason,
            },
            Observation::ResultPublished { attempt, complete } => Happening::Published {
                attempt: *attempt,
                complete: *complete,
            },
            Observation::Booted {
                firmware,
                confirmed,
                why,
                build_id: _,
            } => Happening::Booted {
                image: names.intern(&firmware.to_string()),
                confirmed: *confirmed,
                why: *why,
            },
            Observation::Confirmed => Happening::Confirmed,
            Observation::Unbootable => Happening::Unbootable,
            Observation::RolledBack => Happening::RolledBack,
            Observation::Installed { firmware } => Happening::Installed {
                image: names.intern(&firmware.to_string()),
            },
            Observation::HandlerCalled {
                attempt,
                index,
                firmware,
            } => Happening::Handler {
                attempt: *attempt,
                index: u8::try_from(*index).unwrap_or(u8::MAX),
                image: names.intern(&firmware.to_string()),
            },
            Observation::RecordWritten { record, content } => Happening::Stored {
                record: StoredRecord::of(record, names),
                bytes: u16::try_from(content.len()).unwrap_or(u16::MAX),
            },
            Observation::RecordDeleted { record } => Happening::Deleted {
                record: StoredRecord::of(record, names),
            },
            // The fault that did it is in the trace.
            Observation::RecordLost { .. } | Observation::FlashFailed { .. } => return None,
            Observation::UpgradeRequested => Happening::UpgradeRequested,
            Observation::Requested { offset, .. } => Happening::Request { offset: narrow(*offset) },
            Observation::Answered { status, ranged, length } => Happening::Answer {
                status: *status,
                ranged: *ranged,
                length: length.map(narrow),
            },
            Observation::RetryScheduled { reason, until, received } => Happening::Retry {
                reason: *reason,
                until: *until,
                received: narrow(*received),
            },
            Observation::DownloadLost { received, total } => Happening::DownloadLost {
                received: narrow(*received),
                total: total.map(narrow),
            },
            Observation::FlashMisused { what } => Happening::Misused {
                what: names.intern(what),
            },
        })
    }

    /// What of an event of the server a trace keeps.
    pub(super) fn told(event: &ServerEvent, names: &mut TraceNames) -> Option<Happening> {
        match event {
            ServerEvent::StateChanged {
                deployment,
                attempt,
                from,
                to,
                reason,
                device: _,
            } => Some(Happening::State {
                attempt: *attempt,
                deployment: names.intern(deployment.as_str()),
                from: *from,
                to: *to,
                reason: *reason,
            }),
            ServerEvent::ManifestSent {
                attempt, repeat: true, ..
            } => Some(Happening::OfferedAgain { attempt: *attempt }),
            // The state that it changes tells of a first manifest.
            ServerEvent::ManifestSent { repeat: false, .. }
            | ServerEvent::DeviceRegistered { .. }
            | ServerEvent::DeviceConnected { .. }
            | ServerEvent::DeviceDisconnected { .. }
            | ServerEvent::CohortJoined { .. }
            | ServerEvent::CohortLeft { .. }
            | ServerEvent::RuleBroken { .. } => None,
        }
    }
}

impl StoredRecord {
    fn of(key: &RecordKey, names: &mut TraceNames) -> StoredRecord {
        match key {
            RecordKey::Attempt => StoredRecord::Attempt,
            RecordKey::Probation => StoredRecord::Probation,
            RecordKey::Version(slug) => StoredRecord::Version(names.intern(&slug.to_string())),
        }
    }
}

fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
