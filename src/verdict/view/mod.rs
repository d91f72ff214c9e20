//! What is known of one device from outside: its flash as it was seen written, its boots, its session, the attempt under way.
//!
//! A [`View`] follows what the device shows, sends and is given, and judges nothing; rules look at it as it stood before each event.
//! It takes some 200 bytes of an idle device and as much again for an open attempt, whatever the length of the run.

mod attempt;
mod fold;
mod heard;
mod images;
mod record;
mod session;

use crate::model::{ArtifactResult, AttemptId, BuildId, Few, RecordKey, Session};
use crate::time::SimTime;
use crate::wire::ota::UpdateResults;
use crate::wire::session::SessionMetadata;
use crate::wire::{DownloadRequest, ImageHead};

pub(super) use attempt::{Answer, CalledOff, Fetch, Offer, Open};
pub(super) use fold::{fold, fold_build, fold_slug, fold_version};
pub(super) use heard::{Harmless, Refused, Void, effect, heard};
pub(super) use images::{Images, Trial};
pub(super) use record::{Body, Marks, ProbationRecord, Stored, read_attempt, read_probation, read_version};
pub(super) use session::{Boot, Line, LineStage};

use super::build::Numbers;
use fold::narrow;

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

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Of which attempt.
    pub(super) attempt: AttemptId,
    /// Results; `None` for an error.
    pub(super) marks: Option<Marks>,
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
        self.boot.introduce(metadata);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_device_is_small() {
        assert!(size_of::<View>() <= 192, "{}", size_of::<View>());
    }
}
