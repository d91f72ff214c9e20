//! What firmware does on a device: outcomes of boots and installs, as data. A device draws nothing here; the plan has dealt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::defect::Defect;
use super::piece::Piece;
use crate::model::{Artifact, BuildId, Digest, FirmwareVersion, Slug};

/// What the versions of a run do on the devices of one fleet.
#[derive(Clone, Debug, Default)]
pub struct Behaviors {
    /// Main images by the digest in their TLVs (SHA-256 over header, payload and protected TLVs); by that of the file where its TLVs
    /// cannot be read.
    pub images: BTreeMap<Digest, ImageBehavior>,
    /// Install handlers by the version requested.
    pub installs: BTreeMap<FirmwareVersion, Dealt<InstallOutcome>>,
    /// A defect planted to see a rule broken.
    pub defect: Option<Defect>,
}

impl Behaviors {
    /// Images that tell another build id when they run than is found in them: the one found, and the one told.
    pub fn disguised(&self) -> impl Iterator<Item = (BuildId, BuildId)> + '_ {
        let pairs = self
            .images
            .values()
            .filter_map(|image| image.build_id.zip(image.own_build_id.as_deref().copied()));
        pairs.filter(|(found, told)| found != told)
    }

    /// The bytes as flash keeps them: as a part of the image that they are a slice of.
    pub(super) fn piece(&self, bytes: &Bytes) -> Piece {
        let part = self.images.values().find_map(|behavior| {
            let start = position(&behavior.image, bytes)?;
            Some(Piece::of(&behavior.image, start..start + bytes.len()))
        });
        part.unwrap_or_else(|| bytes.clone().into())
    }

    /// The fleet's copy of a slug that the fleet knows.
    pub(super) fn share_slug(&self, slug: &mut Slug) {
        let mut known = self.images.values().map(|image| &image.firmware.slug);
        if let Some(same) = known.find(|known| *known == slug) {
            slug.clone_from(same);
        }
    }

    /// The image that begins with `head`.
    pub(super) fn beginning_with(&self, head: &[u8]) -> Option<&ImageBehavior> {
        self.images.values().find(|behavior| behavior.image.starts_with(head))
    }

    /// Puts the fleet's copies in the place of names that the fleet knows: an installed version is remembered for life.
    pub(super) fn share_names(&self, artifact: &mut Artifact) {
        for ImageBehavior { firmware, .. } in self.images.values() {
            if firmware.slug == artifact.slug {
                artifact.slug = firmware.slug.clone();
            }
            if firmware.version == artifact.version {
                artifact.version = firmware.version.clone();
            }
        }
    }

    /// `bytes` as a slice of a known image that has the same at `offset`; of several, the one that `before` is a slice of.
    pub(super) fn shared(&self, offset: u64, bytes: &Bytes, before: Option<&[u8]>) -> Option<Bytes> {
        let start = usize::try_from(offset).ok()?;
        let mut found = None;
        for behavior in self.images.values() {
            let Some(same) = behavior.image.get(start..start + bytes.len()) else {
                continue;
            };
            if same.as_ptr() != bytes.as_ptr() && same != bytes {
                continue;
            }
            let slice = behavior.image.slice_ref(same);
            if before.is_none_or(|before| position(&behavior.image, before).is_some()) {
                return Some(slice);
            }
            found = found.or(Some(slice));
        }
        found
    }
}

/// Where in `image` the slice `part` begins, if it is one.
fn position(image: &[u8], part: &[u8]) -> Option<usize> {
    let start = (part.as_ptr() as usize).checked_sub(image.as_ptr() as usize)?;
    (start + part.len() <= image.len()).then_some(start)
}

/// What a main image is and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageBehavior {
    /// Which version it is; a device that runs it shares the name.
    pub firmware: Arc<FirmwareVersion>,
    /// What happens when it runs.
    pub boot: Dealt<BootOutcome>,
    /// Whether the device's hardware is what it is made for.
    pub fits: Dealt<bool>,
    /// Its security counter: a bootloader that has seen a higher one does not start it.
    pub counter: u32,
    /// The image file. Flash pages that equal it are kept as slices of it, so that a fleet shares one copy and hashes it once.
    pub image: Arc<Bytes>,
    /// The build id that is found in the image once it is downloaded, if it has a usable one (protocol 6.1).
    pub build_id: Option<BuildId>,
    /// The build id that it tells of itself when it runs: the same, unless the image is flawed.
    pub own_build_id: Option<Arc<BuildId>>,
    /// Digest and signature hold. A whole copy of such an image in flash is not hashed again; any other is checked byte by byte, as a
    /// bootloader does.
    pub sound: bool,
}

/// An outcome for each device of a fleet: dealt exactly, by rank, when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dealt<T> {
    /// The same for all.
    Same(T),
    /// One of several.
    Each {
        /// The outcomes.
        outcomes: Vec<T>,
        /// Index into `outcomes`, by the device's number in its fleet.
        by_number: Vec<u8>,
    },
}

impl<T: Clone> Dealt<T> {
    /// The same deal, with `other` for those whom `holds` does not hold for.
    #[must_use]
    pub fn unless(self, holds: &Dealt<bool>, other: T) -> Dealt<T> {
        let Dealt::Each { by_number: held, .. } = holds else {
            return self;
        };
        let (mut outcomes, mut by_number) = match self {
            Dealt::Same(outcome) => (vec![outcome], vec![0; held.len()]),
            Dealt::Each { outcomes, by_number } => (outcomes, by_number),
        };
        let odd = u8::try_from(outcomes.len()).expect("at most 255 outcomes are dealt");
        outcomes.push(other);
        for (number, dealt) in (0..).zip(&mut by_number) {
            if !holds.of(number) {
                *dealt = odd;
            }
        }
        Dealt::Each { outcomes, by_number }
    }
}

impl<T> Dealt<T> {
    /// Every outcome that a device may be dealt.
    pub fn outcomes(&self) -> &[T] {
        match self {
            Dealt::Same(outcome) => std::slice::from_ref(outcome),
            Dealt::Each { outcomes, .. } => outcomes,
        }
    }

    /// The outcome of the device with this number in its fleet.
    pub fn of(&self, number: u32) -> &T {
        match self {
            Dealt::Same(outcome) => outcome,
            Dealt::Each { outcomes, by_number } => &outcomes[usize::from(by_number[number as usize])],
        }
    }
}

/// What a main image does once it runs; times count from the start of the image (contract, section 1, `boot`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootOutcome {
    /// Confirms itself after this long.
    ConfirmAfter(Duration),
    /// Confirms at the first OTA SUBACK; resets if that has not come `within`.
    ConfirmOnConnect {
        /// Limit, if there is one.
        within: Option<Duration>,
    },
    /// Resets after this long, unconfirmed.
    CrashAfter(Duration),
    /// Confirms, and resets later, again and again.
    ConfirmThenCrash {
        /// From start to confirmation.
        confirm: Duration,
        /// From start to each crash.
        crash: Duration,
    },
    /// Confirms, and falls silent later: a fault that sleeps.
    ConfirmThenMute {
        /// From start to confirmation.
        confirm: Duration,
        /// From start to silence; what is still to be reported then is reported before.
        mute: Duration,
    },
    /// Silent from the start, until power returns.
    Hang,
    /// Silent from the start, until the watchdog resets it.
    HangWatchdog(Duration),
    /// Online, and never confirms.
    Unconfirmed,
    /// Confirms and reports after this long, then falls silent.
    MuteAfter(Duration),
}

impl Default for BootOutcome {
    /// The contract's default: `confirm after 1s`.
    fn default() -> Self {
        BootOutcome::ConfirmAfter(Duration::from_secs(1))
    }
}

/// What the install handler of a non-main version does (contract, section 1, `install`); times count from the end of its download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallOutcome {
    /// Downloads, then succeeds after this long.
    SucceedAfter {
        /// From the last byte.
        after: Duration,
        /// Does not listen to cancellations.
        deaf: bool,
    },
    /// Downloads, then fails after this long.
    FailAfter {
        /// From the last byte.
        after: Duration,
        /// Does not listen to cancellations.
        deaf: bool,
    },
    /// Downloads, then returns CANCELED after this long.
    CancelAfter {
        /// From the last byte.
        after: Duration,
        /// Does not listen to cancellations.
        deaf: bool,
    },
    /// Downloads and never returns, unless it listens to a cancellation.
    Never {
        /// Does not listen to cancellations.
        deaf: bool,
    },
    /// There is no handler: FAILED at once.
    Unhandled,
}

impl Default for InstallOutcome {
    /// The contract's default: `succeed after 1s`.
    fn default() -> Self {
        InstallOutcome::SucceedAfter {
            after: Duration::from_secs(1),
            deaf: false,
        }
    }
}
