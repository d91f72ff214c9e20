//! What is known of one device from the server's side.

use crate::model::{AttemptId, BuildId, FirmwareVersion, Manifest, Slug, Version};
use crate::time::SimTime;

use crate::verdict::view::{LineStage, Marks};

/// Offers remembered of one device, newest last.
const OFFERS_MAX: usize = 4;

/// One device.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The connection.
    pub(super) stage: LineStage,
    /// The last session metadata.
    pub(super) session: Option<Session>,
    /// Attempts whose manifest was sent.
    offers: Vec<Offered>,
    /// Attempts up to this one may have been named to it, and are remembered no longer.
    pub(super) unseen: Option<AttemptId>,
    /// The newest attempt of which it fetched an image, and when it first did.
    pub(super) started: Option<(AttemptId, SimTime)>,
    /// Versions that it reported as installed, by firmware.
    pub(super) installed: Vec<(Slug, Version)>,
    /// The main image that it reported as installed last.
    pub(super) proven: Option<Proven>,
    /// The largest attempt of which it reported results.
    pub(super) reported: Option<AttemptId>,
}

/// What session metadata said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) run_id: u64,
    pub(super) build_id: Option<BuildId>,
    pub(super) last_attempt: Option<AttemptId>,
}

/// A main image that succeeded, as the device said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proven {
    pub(super) attempt: AttemptId,
    pub(super) image: BuildId,
    /// What ran when the manifest was sent.
    pub(super) before: Option<BuildId>,
}

/// An attempt whose manifest was sent.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) attempt: AttemptId,
    pub(super) items: Vec<Item>,
    /// Its first manifest said that it was cancelled.
    pub(super) canceled: bool,
    /// The image that ran when it was sent first.
    pub(super) before: Option<BuildId>,
    /// What was reported of it last; `None` inside for an error.
    pub(super) said: Option<Option<Marks>>,
    /// Artifacts of which bytes were sent, a bit each.
    pub(super) fetched: u32,
}

/// An artifact of it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) firmware: FirmwareVersion,
    pub(super) main: bool,
    pub(super) secret: Box<[u8]>,
}

impl Seen {
    pub(super) fn offered(&self, attempt: AttemptId) -> Option<&Offered> {
        self.offers.iter().find(|offered| offered.attempt == attempt)
    }

    pub(super) fn offered_mut(&mut self, attempt: AttemptId) -> Option<&mut Offered> {
        self.offers.iter_mut().find(|offered| offered.attempt == attempt)
    }

    /// Attempts that are remembered, oldest first.
    pub(super) fn offers(&self) -> impl Iterator<Item = &Offered> {
        self.offers.iter()
    }

    /// True if the device can have heard of this attempt.
    pub(super) fn was_named(&self, attempt: AttemptId) -> bool {
        self.offered(attempt).is_some() || self.unseen.is_some_and(|unseen| attempt <= unseen)
    }

    /// A manifest was sent.
    pub(super) fn offer(&mut self, attempt: AttemptId, manifest: &Manifest) {
        if self.offered(attempt).is_some() {
            return;
        }
        if self.offers.len() == OFFERS_MAX {
            let oldest = self.offers.remove(0);
            self.unseen = self.unseen.max(Some(oldest.attempt));
        }
        self.offers.push(Offered {
            attempt,
            items: manifest
                .artifacts
                .iter()
                .map(|artifact| Item {
                    firmware: artifact.firmware(),
                    main: artifact.main,
                    secret: artifact.secret.as_bytes().into(),
                })
                .collect(),
            canceled: manifest.canceled,
            before: self.session.and_then(|session| session.build_id),
            said: None,
            fetched: 0,
        });
    }
}

impl Offered {
    /// Every artifact has a result, as the device said.
    pub(super) fn is_over(&self) -> bool {
        match self.said {
            Some(Some(marks)) => self.items.len() <= 32 && marks.ended().count_ones() as usize == self.items.len(),
            Some(None) => true,
            None => false,
        }
    }
}
