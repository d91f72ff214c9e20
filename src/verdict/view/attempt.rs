//! The attempt under way as it is seen from outside: its manifest, its handlers, its download, and who wanted it to stop.

use crate::model::{ArtifactResult, AttemptError, AttemptId};
use crate::time::SimTime;
use crate::wire::ota::{ReadArtifact, ReadManifest};
use crate::wire::{DownloadRequest, ImageHead, ImageUrl, UrlParts};

use super::fold::{fold, fold_on};

/// Most overtaken attempts remembered.
const OVERTAKEN_MAX: usize = 8;

/// One artifact, as far as rules need it. Texts are folded, but for the secret, which is looked for in what the device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Item {
    /// Its slug.
    pub(in crate::verdict) slug: u64,
    /// Its version.
    pub(in crate::verdict) version: u64,
    /// Where it is downloaded; `None` where no request can be made of the URL.
    target: Option<u64>,
    secret: [u8; 24],
    secret_len: u8,
    /// The image that contains the SDK.
    pub(in crate::verdict) main: bool,
}

impl Item {
    fn new(artifact: &ReadArtifact<'_>) -> Item {
        let mut secret = [0; 24];
        secret[..artifact.secret.len()].copy_from_slice(artifact.secret);
        Item {
            slug: fold(artifact.slug),
            version: fold(artifact.version),
            target: UrlParts::of(artifact.url, false).ok().map(place),
            secret,
            secret_len: artifact.secret.len() as u8,
            main: artifact.main,
        }
    }

    /// What authorizes its download.
    pub(in crate::verdict) fn secret(&self) -> &[u8] {
        &self.secret[..usize::from(self.secret_len)]
    }

    /// True if the request goes where the manifest says.
    pub(in crate::verdict) fn is_at(&self, target: &ImageUrl) -> bool {
        let parts = UrlParts {
            tls: target.tls,
            host: &target.host,
            port: target.port,
            slash: "",
            target: &target.path,
        };
        self.target == Some(place(parts))
    }
}

fn place(url: UrlParts<'_>) -> u64 {
    let [high, low] = url.port.to_be_bytes();
    let parts = [url.host.as_bytes(), b"/", url.slash.as_bytes(), url.target.as_bytes()];
    let begin = fold(&[u8::from(url.tls), high, low]);
    parts.into_iter().fold(begin, fold_on)
}

/// A manifest, or a refusal, of another attempt than the current one: the latest that came.
#[derive(Debug)]
pub(in crate::verdict) struct Offer {
    /// Which attempt.
    pub(in crate::verdict) attempt: AttemptId,
    /// The server had cancelled it.
    pub(in crate::verdict) canceled: bool,
    /// Its artifacts; none where the message was malformed.
    pub(in crate::verdict) items: Box<[Item]>,
    /// What was wrong with the message, if it was malformed.
    pub(in crate::verdict) error: Option<AttemptError>,
}

impl Offer {
    pub(super) fn new(attempt: AttemptId, manifest: &ReadManifest<'_>) -> Offer {
        Offer {
            attempt,
            canceled: manifest.canceled,
            items: items(manifest),
            error: None,
        }
    }

    pub(super) fn malformed(attempt: AttemptId, error: AttemptError) -> Offer {
        Offer {
            attempt,
            canceled: false,
            items: Box::default(),
            error: Some(error),
        }
    }
}

pub(super) fn items(manifest: &ReadManifest<'_>) -> Box<[Item]> {
    manifest.artifacts.iter().map(Item::new).collect()
}

/// Who called an attempt off before anything of it had started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) enum CalledOff {
    /// CANCEL_UPDATE, or the manifest that a restored attempt waited for.
    Late,
    /// The manifest with which it came.
    FromTheStart,
}

/// The attempt under way.
#[derive(Debug)]
pub(in crate::verdict) struct Open {
    /// Which one.
    pub(in crate::verdict) attempt: AttemptId,
    /// Its artifacts, as the manifest that is in RAM says.
    pub(in crate::verdict) items: Box<[Item]>,
    /// The device has its manifest in RAM.
    hydrated: bool,
    /// Handlers called in this boot, a bit each, and in any boot.
    pub(in crate::verdict) called: u32,
    pub(in crate::verdict) ever_called: u32,
    /// The handler called last in this boot.
    pub(in crate::verdict) last: Option<usize>,
    /// The handler that runs.
    pub(in crate::verdict) running: Option<usize>,
    /// What the handler that ran last in this boot came to.
    pub(in crate::verdict) returned: Option<(usize, ArtifactResult)>,
    /// The upgrade commit has begun in this boot.
    pub(in crate::verdict) committing: bool,
    /// A newer attempt came while it could still be stopped.
    pub(in crate::verdict) superseded: bool,
    /// A cancellation came that could have an effect.
    pub(in crate::verdict) cancel_asked: bool,
    /// One came when it could have none any more.
    pub(in crate::verdict) late_cancel: bool,
    /// It was called off before anything had started.
    pub(in crate::verdict) called_off: Option<CalledOff>,
    /// A message of the same id was malformed: another incarnation has taken its place.
    pub(in crate::verdict) replaced: bool,
    /// A handler of the replaced incarnation has returned.
    pub(in crate::verdict) stale: bool,
    /// A record that it relied on was damaged.
    pub(in crate::verdict) damaged: bool,
    /// Attempts that were offered and then overtaken by others.
    pub(in crate::verdict) overtaken: Vec<AttemptId>,
    /// The download under way.
    pub(in crate::verdict) fetch: Option<Fetch>,
}

impl Open {
    pub(super) fn new(attempt: AttemptId, items: Box<[Item]>) -> Open {
        Open {
            attempt,
            items,
            hydrated: true,
            called: 0,
            ever_called: 0,
            last: None,
            running: None,
            returned: None,
            committing: false,
            superseded: false,
            cancel_asked: false,
            late_cancel: false,
            called_off: None,
            replaced: false,
            stale: false,
            damaged: false,
            overtaken: Vec::new(),
            fetch: None,
        }
    }

    /// The position of main.
    pub(in crate::verdict) fn main(&self) -> Option<usize> {
        self.items.iter().position(|item| item.main)
    }

    /// The artifact whose handler runs.
    pub(in crate::verdict) fn item(&self) -> Option<&Item> {
        self.items.get(self.running?)
    }

    /// A repeated manifest; true if the device took its descriptions.
    pub(super) fn rehydrate(&mut self, manifest: &ReadManifest<'_>) -> bool {
        if self.hydrated || self.replaced {
            return false;
        }
        self.hydrated = true;
        self.items = items(manifest);
        true
    }

    pub(super) fn call(&mut self, index: usize) {
        let bit = 1_u32.checked_shl(index as u32).unwrap_or(0);
        self.called |= bit;
        self.ever_called |= bit;
        self.last = Some(index);
        self.running = Some(index);
        self.returned = None;
        self.fetch = None;
    }

    pub(super) fn returned(&mut self, index: usize, result: ArtifactResult) {
        self.running = None;
        self.returned = Some((index, result));
        self.stale |= self.replaced;
        self.fetch = None;
    }

    /// A cancellation came that can have an effect.
    pub(super) fn cancel(&mut self, kind: CalledOff, untouched: bool) {
        self.cancel_asked = true;
        if untouched && self.ever_called == 0 {
            self.called_off = Some(kind);
        }
        // A handler for packages may be deaf; that of main listens.
        let main = self.item().is_some_and(|item| item.main);
        if let Some(fetch) = self.fetch.as_mut().filter(|fetch| main && fetch.retry_at.is_some()) {
            fetch.stopped = true;
        }
    }

    /// An offer has been overtaken by another.
    pub(super) fn overtake(&mut self, attempt: AttemptId) {
        if self.overtaken.len() >= OVERTAKEN_MAX {
            self.overtaken.remove(0);
        }
        self.overtaken.push(attempt);
    }

    /// RAM is lost.
    pub(super) fn forget(&mut self) {
        self.hydrated = false;
        self.called = 0;
        self.last = None;
        self.running = None;
        self.returned = None;
        self.committing = false;
        self.superseded = false;
        self.cancel_asked = false;
        self.late_cancel = false;
        self.called_off = None;
        self.replaced = false;
        self.stale = false;
        self.overtaken = Vec::new();
        self.fetch = None;
    }
}

/// What the answer to a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) enum Answer {
    /// None yet.
    Awaited,
    /// The one that was asked for.
    Right,
    /// Status 500 or above.
    Busy(u16),
    /// Another status than the one required.
    Wrong(u16),
    /// The right status with a range that was not asked for.
    WrongRange,
}

/// A download, from the call of its handler on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Fetch {
    /// First byte of the request under way.
    pub(in crate::verdict) offset: u64,
    /// The answer to it.
    pub(in crate::verdict) answer: Answer,
    /// When it was sent.
    pub(in crate::verdict) asked_at: SimTime,
    /// Size of the image, once an answer has told.
    pub(in crate::verdict) total: Option<u64>,
    /// Waits so far.
    pub(in crate::verdict) waits: u32,
    /// When the next request is due.
    pub(in crate::verdict) retry_at: Option<SimTime>,
    /// Something ended the wait.
    pub(in crate::verdict) stopped: bool,
}

impl Fetch {
    /// The request that begins a download, or goes on with one.
    pub(super) fn asked(before: Option<Fetch>, at: SimTime, request: &DownloadRequest) -> Fetch {
        Fetch {
            offset: request.offset,
            answer: Answer::Awaited,
            asked_at: at,
            total: before.and_then(|fetch| fetch.total),
            waits: before.map_or(0, |fetch| fetch.waits),
            retry_at: None,
            stopped: false,
        }
    }

    pub(super) fn headed(&mut self, head: &ImageHead) {
        self.answer = self.judge(head);
        if self.answer == Answer::Right {
            self.total = head.content_range.map(|range| range.total).or(head.content_length);
        }
    }

    fn judge(&self, head: &ImageHead) -> Answer {
        match (head.status, self.offset) {
            (500.., _) => Answer::Busy(head.status),
            (200, 0) => Answer::Right,
            (206, 1..) => {
                let fits = head.content_range.is_some_and(|range| {
                    let whole = range.total > 0 && range.last == range.total - 1;
                    whole && range.first == self.offset && self.total.is_none_or(|total| total == range.total)
                });
                if fits { Answer::Right } else { Answer::WrongRange }
            }
            (status, _) => Answer::Wrong(status),
        }
    }
}
