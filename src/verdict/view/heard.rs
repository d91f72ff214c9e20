//! Messages from the cloud: what a device makes of each, and which must have no effect.

use crate::model::{AttemptError, AttemptId, Observation};
use crate::time::SimTime;
use crate::wire::ota::{CloudMessage, DecodeError, ReadManifest, Unreadable, read_cloud};
use crate::wire::{Publish, receive_limit};

use super::{CalledOff, Offer, Open, Stored, View};

/// A message from the cloud as the device must read it.
pub(in crate::verdict) type Heard<'b> = Result<CloudMessage<ReadManifest<'b>>, DecodeError>;

/// An attempt named by malformed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Refused {
    /// Which attempt.
    pub(in crate::verdict) attempt: AttemptId,
    /// What was wrong, a bit each.
    pub(in crate::verdict) errors: u8,
    /// No error report has followed.
    pub(in crate::verdict) owed: bool,
}

impl Refused {
    pub(super) fn new(attempt: AttemptId, error: AttemptError) -> Refused {
        Refused {
            attempt,
            errors: 1 << error.number(),
            owed: true,
        }
    }
}

/// A message that must have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Void {
    /// When it came.
    pub(in crate::verdict) at: SimTime,
    /// Why it must have none.
    pub(in crate::verdict) why: Harmless,
}

/// Why a message must have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) enum Harmless {
    /// It has no trustworthy id.
    Unreadable,
    /// It cancels another attempt than the current one.
    OtherAttempt(AttemptId),
    /// It cancels an attempt of which something has succeeded, or that is over.
    TooLate(AttemptId),
    /// It cancels an attempt whose upgrade is being committed.
    Committing(AttemptId),
}

impl View {
    /// True if the current attempt is not over, so that another one has to wait.
    fn is_busy(&self) -> bool {
        self.current.is_some_and(|current| {
            let over = self.stored_of(current).is_some_and(Stored::is_terminal);
            !over || self.trial_of(current).is_some()
        })
    }

    /// A message on the OTA topic is being handed to the device; `duplicates_cancel` as in [`super::Build`].
    pub(in crate::verdict) fn hear(&mut self, at: SimTime, heard: &Heard<'_>, duplicates_cancel: bool) {
        let harmless = match heard {
            Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) if self.current == Some(*attempt) => {
                self.note_cause();
                self.hear_again(manifest, duplicates_cancel)
            }
            Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) => {
                self.make_way(*attempt, Offer::new(*attempt, manifest));
                None
            }
            Ok(CloudMessage::CancelUpdate { attempt }) => self.hear_cancel(*attempt),
            Ok(CloudMessage::ReportResults { attempt }) => {
                if self.current == Some(*attempt) {
                    self.note_cause();
                }
                None
            }
            Err(DecodeError::Reject { attempt, error }) => {
                self.hear_malformed(*attempt, *error);
                None
            }
            Err(DecodeError::Drop { .. }) => None,
            Err(DecodeError::Ignore(_)) => Some(Harmless::Unreadable),
        };
        self.void = harmless.map(|why| Box::new(Void { at, why }));
    }

    /// Another attempt than the current one is offered: it waits, or takes the place of one that is over.
    fn make_way(&mut self, attempt: AttemptId, offer: Offer) {
        // Whatever came before is superseded.
        if let Some(refused) = &mut self.refused {
            refused.owed = false;
        }
        let busy = self.is_busy();
        if let Some(open) = &mut self.open {
            if let Some(before) = self.offer.take().filter(|before| before.attempt != attempt) {
                open.overtake(before.attempt);
            }
            open.superseded |= busy && !open.committing;
        }
        self.offer = Some(Box::new(offer));
    }

    fn hear_again(&mut self, manifest: &ReadManifest<'_>, duplicates_cancel: bool) -> Option<Harmless> {
        let current = self.current?;
        let (terminal, fits) = match self.marks_of(current) {
            Some(marks) => (marks.pending() == 0, usize::from(marks.count) == manifest.artifacts.len()),
            None => (self.stored_of(current).is_some(), true),
        };
        if terminal {
            return None;
        }
        let (untouched, succeeded) = self.progress(current);
        let damaged = self.trial_of(current).is_some();
        let open = self.open.get_or_insert_with(|| Box::new(Open::waiting(current)));
        if !fits && !damaged {
            return None;
        }
        let rehydrated = open.rehydrate(manifest);
        if rehydrated && manifest.canceled && !succeeded {
            open.cancel(CalledOff::Late, untouched);
        }
        match manifest.canceled && !rehydrated && duplicates_cancel {
            true => self.hear_cancel(current),
            false => None,
        }
    }

    /// Whether nothing of an attempt has a result, and whether something of it has succeeded.
    fn progress(&self, attempt: AttemptId) -> (bool, bool) {
        let marks = self.marks_of(attempt);
        let untouched = marks.is_none_or(|marks| marks.ended() == 0) && self.trial_of(attempt).is_none();
        (untouched, marks.is_some_and(|marks| marks.succeeded != 0))
    }

    fn hear_cancel(&mut self, attempt: AttemptId) -> Option<Harmless> {
        if self.current != Some(attempt) {
            return Some(Harmless::OtherAttempt(attempt));
        }
        // A refused attempt has nothing left to cancel, stored or not.
        if self.refused.as_ref().is_some_and(|refused| refused.attempt == attempt) {
            return None;
        }
        let (untouched, succeeded) = self.progress(attempt);
        let over = self.stored_of(attempt).is_some_and(Stored::is_terminal);
        let returned = self.open_of(attempt).and_then(|open| open.returned);
        // What a handler came to is being stored (protocol 6.6).
        let settling = returned.is_some_and(|(index, _)| self.marks_of(attempt).is_none_or(|marks| marks.of(index).is_none()));
        let open = self.open.get_or_insert_with(|| Box::new(Open::waiting(attempt)));
        if open.committing {
            Some(Harmless::Committing(attempt))
        } else if succeeded || over || settling {
            open.late_cancel = true;
            Some(Harmless::TooLate(attempt))
        } else {
            open.cancel(CalledOff::Late, untouched);
            None
        }
    }

    fn hear_malformed(&mut self, attempt: AttemptId, error: AttemptError) {
        let before = self.refused.as_deref().copied().filter(|refused| refused.attempt == attempt);
        self.note_cause();
        // An attempt that waits already takes the place of this one before it is told.
        let superseded = self.current == Some(attempt) && self.offer.as_ref().is_some_and(|offer| offer.attempt != attempt);
        if self.current == Some(attempt) {
            if let Some(open) = &mut self.open {
                open.replaced = true;
                open.called_off = None;
            }
        } else if self.is_busy() {
            self.make_way(attempt, Offer::malformed(attempt, error));
            return;
        } else {
            self.current = Some(attempt);
            self.open = None;
            self.offer = None;
        }
        let refused = Refused::new(attempt, error);
        self.refused = Some(Box::new(Refused {
            errors: refused.errors | before.map_or(0, |refused| refused.errors),
            owed: !superseded,
            ..refused
        }));
    }

    /// The message has been acknowledged, or time has passed.
    pub(in crate::verdict) fn close_void(&mut self) {
        self.void = None;
    }
}

impl Open {
    /// A restored attempt that waits for its manifest.
    fn waiting(attempt: AttemptId) -> Open {
        let mut open = Open::new(attempt, Box::default());
        open.forget();
        open
    }
}

/// A message on the OTA topic as a device with this limit must read it; what is too long is not read at all (protocol 2.4).
pub(in crate::verdict) fn heard(publish: &Publish, max_artifacts: u8) -> Heard<'_> {
    if publish.payload.len() > receive_limit(max_artifacts) {
        return Err(DecodeError::Ignore(Unreadable::Broken));
    }
    read_cloud(&publish.payload, max_artifacts)
}

/// In words, what changed; `None` for what may follow a message that has no effect.
pub(in crate::verdict) fn effect(observation: &Observation) -> Option<String> {
    Some(match observation {
        Observation::Transition { transition, .. } => format!("the device went {transition}"),
        Observation::ManifestReceived { attempt } => format!("attempt {attempt} was accepted"),
        Observation::AttemptEnded { attempt, result, .. } => format!("attempt {attempt} ended {result}"),
        Observation::HandlerCalled { attempt, index, .. } => format!("handler {index} of attempt {attempt} was called"),
        Observation::HandlerReturned { attempt, index, result } => {
            format!("handler {index} of attempt {attempt} returned {result}")
        }
        Observation::RecordWritten { .. } | Observation::RecordDeleted { .. } => "storage changed".to_owned(),
        Observation::UpgradeRequested => "an upgrade was requested".to_owned(),
        Observation::RetryScheduled { .. } | Observation::Requested { .. } => "a download was touched".to_owned(),
        Observation::Session(_)
        | Observation::ConnectTried { .. }
        | Observation::ResultPublished { .. }
        | Observation::Booted { .. }
        | Observation::Confirmed
        | Observation::Unbootable
        | Observation::RolledBack
        | Observation::Installed { .. }
        | Observation::Downloaded { .. }
        | Observation::Answered { .. }
        | Observation::DownloadLost { .. }
        | Observation::RecordLost { .. }
        | Observation::FlashFailed { .. }
        | Observation::FlashMisused { .. } => return None,
    })
}
