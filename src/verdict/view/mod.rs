//! What is known of one device from outside: its flash as it was seen written, its boots, its session, the attempt under way.
//!
//! A [`View`] follows what the device shows, sends and is given, and judges nothing; rules look at it as it stood before each event.
//! It takes some 200 bytes of an idle device and as much again for an open attempt, whatever the length of the run.

mod attempt;
mod record;

use crate::model::{ArtifactResult, AttemptError, AttemptId, BuildId, Few, Manifest, RecordKey, Session, Slug, Version};
use crate::time::SimTime;
use crate::wire::ota::{CloudMessage, DecodeError, UpdateResults};
use crate::wire::session::SessionMetadata;
use crate::wire::{DownloadRequest, ImageHead};

pub(super) use attempt::{Answer, CalledOff, Fetch, Offer, Open};
pub(super) use record::{Body, Marks, ProbationRecord, Stored, read_attempt, read_probation, read_version};

use super::build::Numbers;

/// A message from the cloud as the device must read it.
pub(super) type Heard = Result<CloudMessage, DecodeError>;

/// One device.
#[derive(Debug)]
pub(super) struct View {
    /// Which of the referee's builds it is.
    pub(super) build: u16,
    /// Invariants that it is not held to.
    pub(super) lifted: Numbers,
    /// The attempt record.
    pub(super) stored: Option<Stored>,
    /// The last probation record.
    pub(super) trial: Option<Trial>,
    /// Version records: slug and version, folded and narrowed.
    pub(super) versions: Few<(u32, u32)>,
    /// Its images.
    pub(super) images: Images,
    /// The boot under way.
    pub(super) boot: Boot,
    /// The connection.
    pub(super) line: Line,
    /// The attempt in RAM.
    pub(super) current: Option<AttemptId>,
    /// More of it, until it has ended.
    pub(super) open: Option<Box<Open>>,
    /// The latest offer of another attempt.
    pub(super) offer: Option<Box<Offer>>,
    /// The last attempt that a malformed message ended; one whose malformed message waits is an [`Offer`].
    pub(super) refused: Option<Box<Refused>>,
    /// The last report.
    pub(super) said: Option<Said>,
    /// Reasons to report that no report has followed.
    pub(super) causes: u8,
    /// A message without effect is being handled.
    pub(super) void: Option<Box<Void>>,
}

/// A probation record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    /// Which attempt.
    pub(super) attempt: AttemptId,
    /// The image on trial, by its folded build id.
    pub(super) image: u32,
    /// Position of main.
    pub(super) index: u8,
    /// The record has not been deleted.
    pub(super) kept: bool,
}

impl Trial {
    /// True if this artifact is, or was, on trial.
    pub(super) fn is_of(&self, attempt: AttemptId, index: usize) -> bool {
        self.attempt == attempt && usize::from(self.index) == index
    }
}

/// Images, by their folded build ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Images {
    /// The one that runs; `None` before the first boot.
    pub(super) running: Option<u32>,
    /// The last one that was confirmed.
    pub(super) good: Option<u32>,
    /// The running image is confirmed.
    pub(super) confirmed: bool,
    /// The image on trial was put back.
    pub(super) fell_back: bool,
}

/// What names a boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Boot {
    /// Its run id, and the one before it: each holds once it was told.
    run: u64,
    run_before: u64,
    is_told: bool,
    is_before_told: bool,
    /// The last attempt id told.
    pub(super) last_attempt: Option<AttemptId>,
}

impl Boot {
    /// Its run id, once it was told.
    pub(super) fn run(&self) -> Option<u64> {
        self.is_told.then_some(self.run)
    }

    /// The one before it.
    pub(super) fn run_before(&self) -> Option<u64> {
        self.is_before_told.then_some(self.run_before)
    }

    /// Another boot, of which nothing is known yet.
    fn begin(&mut self) {
        if let Some(run) = self.run().or(self.run_before()) {
            (self.run_before, self.is_before_told) = (run, true);
        }
        self.is_told = false;
        self.last_attempt = None;
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// What was sent on it.
    pub(super) stage: LineStage,
    /// Subscribed to the OTA topic.
    pub(super) online: bool,
}

/// What was sent on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LineStage {
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

/// An attempt named by malformed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Which attempt.
    pub(super) attempt: AttemptId,
    /// What was wrong, a bit each.
    pub(super) errors: u8,
    /// No error report has followed.
    pub(super) owed: bool,
}

impl Refused {
    fn new(attempt: AttemptId, error: AttemptError) -> Refused {
        Refused {
            attempt,
            errors: 1 << error.number(),
            owed: true,
        }
    }
}

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Of which attempt.
    pub(super) attempt: AttemptId,
    /// Results; `None` for an error.
    pub(super) marks: Option<Marks>,
}

/// A message that must have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Void {
    /// When it came.
    pub(super) at: SimTime,
    /// Why it must have none.
    pub(super) why: Harmless,
}

/// Why a message must have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harmless {
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
    /// A device before its first boot.
    pub(super) fn new(build: u16, lifted: Numbers) -> View {
        View {
            build,
            lifted,
            stored: None,
            trial: None,
            versions: Few::None,
            images: Images::default(),
            boot: Boot::default(),
            line: Line::default(),
            current: None,
            open: None,
            offer: None,
            refused: None,
            said: None,
            causes: 0,
            void: None,
        }
    }

    /// The record of this attempt.
    pub(super) fn stored_of(&self, attempt: AttemptId) -> Option<&Stored> {
        self.stored.as_ref().filter(|stored| stored.attempt == attempt)
    }

    /// The results in the record of this attempt.
    pub(super) fn marks_of(&self, attempt: AttemptId) -> Option<&Marks> {
        self.stored_of(attempt)?.marks()
    }

    /// More of this attempt, while it is under way.
    pub(super) fn open_of(&self, attempt: AttemptId) -> Option<&Open> {
        self.open.as_deref().filter(|open| open.attempt == attempt)
    }

    /// The kept probation record of this attempt.
    pub(super) fn trial_of(&self, attempt: AttemptId) -> Option<&Trial> {
        self.trial.as_ref().filter(|trial| trial.kept && trial.attempt == attempt)
    }

    /// True if the version record of this slug says this version, both folded.
    pub(super) fn has_version(&self, slug: u64, version: u64) -> bool {
        self.versions.contains(&(narrow(slug), narrow(version)))
    }

    /// True if the device heard of this attempt, as far as it can still know.
    pub(super) fn knows(&self, attempt: AttemptId) -> bool {
        let ids = [
            self.current,
            self.stored.map(|stored| stored.attempt),
            self.offer.as_ref().map(|offer| offer.attempt),
            self.refused.as_ref().map(|refused| refused.attempt),
        ];
        let overtaken = self.open.as_ref().is_some_and(|open| open.overtaken.contains(&attempt));
        ids.contains(&Some(attempt)) || overtaken
    }

    /// True if the image on trial in this record runs, confirmed.
    pub(super) fn runs_confirmed(&self, trial: &Trial) -> bool {
        self.images.running == Some(trial.image) && self.images.confirmed
    }

    /// True if the current attempt is not over, so that another one has to wait.
    fn is_busy(&self) -> bool {
        self.current.is_some_and(|current| {
            let over = self.stored_of(current).is_some_and(Stored::is_terminal);
            !over || self.trial_of(current).is_some()
        })
    }

    /// A message on the OTA topic is being handed to the device; `duplicates_cancel` as in [`super::Build`].
    pub(super) fn hear(&mut self, at: SimTime, heard: &Heard, duplicates_cancel: bool) {
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

    fn hear_again(&mut self, manifest: &Manifest, duplicates_cancel: bool) -> Option<Harmless> {
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
    pub(super) fn close_void(&mut self) {
        self.void = None;
    }

    /// A manifest was accepted into RAM.
    pub(super) fn accept(&mut self, attempt: AttemptId) {
        if self.stored.is_some_and(|stored| stored.attempt != attempt) {
            self.said.take_if(|said| said.attempt == attempt);
        }
        self.refused.take_if(|refused| refused.attempt == attempt);
        let offer = self.offer.take().filter(|offer| offer.attempt == attempt);
        let (items, canceled) = offer.map_or_else(Default::default, |offer| (offer.items, offer.canceled));
        let mut open = Open::new(attempt, items);
        if canceled {
            open.cancel(CalledOff::FromTheStart, true);
        }
        self.current = Some(attempt);
        self.open = Some(Box::new(open));
    }

    /// A handler was called.
    pub(super) fn call(&mut self, attempt: AttemptId, index: usize) {
        if self.open_of(attempt).is_none() {
            self.open = Some(Box::new(Open::new(attempt, Box::default())));
        }
        if let Some(open) = &mut self.open {
            open.call(index);
        }
    }

    /// The attempt record was written.
    pub(super) fn store(&mut self, stored: Option<Stored>) {
        if stored != self.stored {
            self.note_cause();
        }
        let Some(stored) = stored else {
            self.stored = None;
            return;
        };
        // The record of an attempt that is over may be written once more although the next one has been accepted.
        let begins = self.stored_of(stored.attempt).is_none();
        if begins && self.current != Some(stored.attempt) {
            self.current = Some(stored.attempt);
            self.open = None;
            let offer = self.offer.take_if(|offer| offer.attempt == stored.attempt);
            if let Some(error) = offer.and_then(|offer| offer.error) {
                self.refused = Some(Box::new(Refused::new(stored.attempt, error)));
            }
        }
        let before = self.marks_of(stored.attempt).map_or(0, |marks| marks.succeeded);
        let after = stored.marks().map_or(0, |marks| marks.succeeded);
        if after & !before != 0
            && let Some(open) = &mut self.open
        {
            open.cancel_asked = false;
            open.called_off = None;
        }
        self.stored = Some(stored);
    }

    pub(super) fn store_version(&mut self, slug: u64, version: u64) {
        let (slug, version) = (narrow(slug), narrow(version));
        match self.versions.iter_mut().find(|(known, _)| *known == slug) {
            Some((_, stored)) => *stored = version,
            None => {
                self.versions.push((slug, version));
            }
        }
    }

    pub(super) fn store_probation(&mut self, record: Option<&ProbationRecord>) {
        self.trial = record.map(|record| Trial {
            attempt: record.attempt,
            image: fold_build(Some(&BuildId(record.build_id))),
            index: record.index,
            kept: true,
        });
        self.images.fell_back = false;
    }

    pub(super) fn delete_probation(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.kept = false;
        }
    }

    /// A record will be found damaged at the next boot.
    pub(super) fn lose(&mut self, record: &RecordKey) {
        if let Some(open) = &mut self.open {
            open.damaged = true;
        }
        match record {
            RecordKey::Attempt => {
                self.stored = None;
                self.said = None;
                // Rebuilt from its probation, if it has one (protocol 7.4, C2); else another may start at once (C1).
                self.current = self.current.filter(|current| self.trial_of(*current).is_some());
            }
            RecordKey::Probation => {
                self.trial = None;
                // Both records at once leave nothing of the attempt.
                self.current = self.current.filter(|_| self.stored.is_some());
            }
            RecordKey::Version(slug) => {
                let slug = narrow(fold_slug(slug));
                self.versions.retain(|(known, _)| *known != slug);
            }
        }
    }

    /// An image begins to run: RAM is new.
    pub(super) fn start(&mut self, build_id: Option<&BuildId>, confirmed: bool) {
        let image = fold_build(build_id);
        let images = &mut self.images;
        let went_back = images.running.is_some_and(|running| running != image) && !images.confirmed;
        images.fell_back |= went_back;
        images.running = Some(image);
        images.confirmed = confirmed;
        if confirmed || images.good.is_none() {
            images.good = Some(image);
        }
        self.forget();
        let rebuilt = self.trial.filter(|trial| trial.kept).map(|trial| trial.attempt);
        self.current = self.stored.map(|stored| stored.attempt).or(rebuilt);
        self.boot.begin();
    }

    pub(super) fn confirm(&mut self) {
        self.images.confirmed = true;
        self.images.good = self.images.running;
    }

    pub(super) fn show_session(&mut self, session: Session) {
        match session {
            Session::Online => self.line.online = true,
            Session::Offline | Session::Connecting => self.line.online = false,
            Session::Off => self.forget(),
        }
    }

    /// RAM is lost.
    fn forget(&mut self) {
        self.line = Line::default();
        self.offer = None;
        self.void = None;
        self.causes = 0;
        if let Some(refused) = &mut self.refused {
            refused.owed = false;
        }
        if let Some(open) = &mut self.open {
            open.forget();
        }
    }

    /// The attempt under way is over.
    pub(super) fn end(&mut self, attempt: AttemptId) {
        self.open.take_if(|open| open.attempt == attempt);
    }

    pub(super) fn introduce(&mut self, metadata: &SessionMetadata) {
        (self.boot.run, self.boot.is_told) = (metadata.run_id, true);
        self.boot.last_attempt = metadata.last_attempt;
    }

    pub(super) fn report(&mut self, results: &UpdateResults) {
        // What was asked for while a report was prepared causes exactly one more.
        self.causes = self.causes.saturating_sub(1).min(1);
        let marks = Marks::reported(&results.report);
        if let (None, Some(refused)) = (marks, &mut self.refused) {
            refused.owed &= refused.attempt != results.attempt;
        }
        self.said = Some(Said {
            attempt: results.attempt,
            marks,
        });
    }

    pub(super) fn ask(&mut self, at: SimTime, request: &DownloadRequest) {
        if let Some(open) = &mut self.open {
            open.fetch = Some(Fetch::asked(open.fetch, at, request));
        }
    }

    pub(super) fn head(&mut self, head: &ImageHead) {
        if let Some(fetch) = self.open.as_mut().and_then(|open| open.fetch.as_mut()) {
            fetch.headed(head);
        }
    }

    pub(super) fn wait(&mut self, until: SimTime) {
        if let Some(fetch) = self.open.as_mut().and_then(|open| open.fetch.as_mut()) {
            fetch.waits += 1;
            fetch.retry_at = Some(until);
        }
    }

    /// The upgrade commit has begun.
    pub(super) fn commit(&mut self) {
        if let Some(open) = &mut self.open {
            open.committing = true;
        }
    }

    /// A handler came to an end.
    pub(super) fn returned(&mut self, attempt: AttemptId, index: usize, result: ArtifactResult) {
        if let Some(open) = self.open.as_mut().filter(|open| open.attempt == attempt) {
            open.returned(index, result);
        }
    }

    fn note_cause(&mut self) {
        self.causes = self.causes.saturating_add(1);
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

/// Folds bytes to 64 bits (FNV-1a): texts that differ are told apart without being kept.
pub(super) fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Folds a slug.
pub(super) fn fold_slug(slug: &Slug) -> u64 {
    fold(slug.as_bytes())
}

/// Folds a version.
pub(super) fn fold_version(version: &Version) -> u64 {
    fold(version.as_bytes())
}

/// Folds a build id; an image without one has one of its own.
pub(super) fn fold_build(build_id: Option<&BuildId>) -> u32 {
    narrow(build_id.map_or(0, |build_id| fold(&build_id.0)))
}

/// Half of a folded text: enough to tell the few from each other that one device sees.
fn narrow(sum: u64) -> u32 {
    (sum ^ sum >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_device_is_small() {
        assert!(size_of::<View>() <= 192, "{}", size_of::<View>());
    }
}
