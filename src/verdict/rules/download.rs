//! Downloads: where secrets go, which bytes are taken, what is tried again and when (protocol, section 5).

use std::collections::BTreeMap;

use crate::model::{ArtifactResult, AttemptId, FirmwareVersion, RetryReason};
use crate::time::SimTime;
use crate::wire::{DownloadRequest, ImagePrint};

use super::{Rule, Scene, Tally, contains};
use crate::verdict::view::{Answer, Fetch, fold_slug, fold_version};

pub(in crate::verdict) const SECRETS_STAY: Rule = Rule {
    name: "secrets-stay",
    statement: "a secret goes into the request for its own artifact and nowhere else",
    protocol: &[51],
};
const NO_OTHER_HOST: Rule = Rule {
    name: "no-other-host",
    statement: "requests go where the manifest says; redirects are not followed",
    protocol: &[52],
};
const BYTES_ONCE_IN_ORDER: Rule = Rule {
    name: "bytes-once-in-order",
    statement: "the bytes handed to flash or application are exactly the image, each once, in order",
    protocol: &[53],
};
const ONLY_THE_RANGE_ASKED_FOR: Rule = Rule {
    name: "only-the-range-asked-for",
    statement: "a download does not go on after an answer with the wrong status, offset or total",
    protocol: &[54],
};
const WAITS_IN_BOUNDS: Rule = Rule {
    name: "waits-in-bounds",
    statement: "waits before a retry lie between half and all of a doubling ceiling, are waited out, and end with a cancellation",
    protocol: &[55],
};
const ONLY_SERVER_ERRORS_ARE_RETRIED: Rule = Rule {
    name: "only-server-errors-are-retried",
    statement: "a status of 500 or above is tried again, another wrong one is not",
    protocol: &[56],
};

/// How far the end of a request's own time limit may be told late in real time.
const LATENESS: std::time::Duration = std::time::Duration::from_secs(1);

/// Watches downloads.
#[derive(Debug)]
pub(in crate::verdict) struct Download {
    secrets: Tally,
    host: Tally,
    bytes: Tally,
    range: Tally,
    waits: Tally,
    retries: Tally,
    /// Prints of the run's images, by folded slug and version.
    images: BTreeMap<(u64, u64), ImagePrint>,
}

impl Download {
    /// Knows these images; of others only the length is held.
    pub(in crate::verdict) fn new(images: &[(FirmwareVersion, ImagePrint)]) -> Self {
        let folded = |firmware: &FirmwareVersion| (fold_slug(&firmware.slug), fold_version(&firmware.version));
        Download {
            secrets: Tally::new(&SECRETS_STAY),
            host: Tally::new(&NO_OTHER_HOST),
            bytes: Tally::new(&BYTES_ONCE_IN_ORDER),
            range: Tally::new(&ONLY_THE_RANGE_ASKED_FOR),
            waits: Tally::new(&WAITS_IN_BOUNDS),
            retries: Tally::new(&ONLY_SERVER_ERRORS_ARE_RETRIED),
            images: images.iter().map(|(firmware, print)| (folded(firmware), *print)).collect(),
        }
    }

    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 6] {
        [
            &self.secrets,
            &self.host,
            &self.bytes,
            &self.range,
            &self.waits,
            &self.retries,
        ]
    }

    /// A payload went out.
    pub(in crate::verdict) fn published(&mut self, scene: &Scene<'_>, topic: &str, payload: &[u8]) {
        let Some(open) = &scene.view.open else {
            return;
        };
        let told = open.items.iter().position(|item| contains(payload, item.secret()));
        self.secrets.hold(scene, told.is_none(), || {
            format!("the secret of artifact {} was published to {topic}", told.unwrap_or_default())
        });
    }

    /// An image request went out.
    pub(in crate::verdict) fn requested(&mut self, scene: &Scene<'_>, request: &DownloadRequest) {
        let Some(open) = &scene.view.open else {
            return;
        };
        if let Some(item) = open.item() {
            self.secrets.hold(scene, item.secret() == request.secret.as_bytes(), || {
                "a request carried another secret than that of its artifact".to_owned()
            });
            self.host.hold(scene, item.is_at(&request.target), || {
                format!(
                    "a request went to {}:{}, which the manifest does not name",
                    request.target.host, request.target.port
                )
            });
        }
        let offset = request.offset;
        match &open.fetch {
            None => self
                .bytes
                .hold(scene, offset == 0, || format!("a download began at byte {offset}")),
            Some(fetch) => self.requested_again(scene, fetch, offset),
        }
    }

    fn requested_again(&mut self, scene: &Scene<'_>, fetch: &Fetch, offset: u64) {
        self.bytes.hold(scene, offset >= fetch.offset, || {
            format!("a download went back from byte {} to byte {offset}", fetch.offset)
        });
        self.goes_on(scene, fetch);
        self.retries.hold(scene, !matches!(fetch.answer, Answer::Wrong(_)), || {
            format!("a request followed upon status {}", status(fetch.answer))
        });
        if let Some(due) = fetch.retry_at {
            self.waits
                .hold(scene, scene.at >= due && !fetch.stopped, || match fetch.stopped {
                    true => "a request followed upon a wait that a cancellation should have ended".to_owned(),
                    false => format!("a request was sent {} ms early", due.since(scene.at).as_millis()),
                });
        }
    }

    /// Every byte was handed over.
    pub(in crate::verdict) fn downloaded(&mut self, scene: &Scene<'_>, print: ImagePrint) {
        let Some(open) = &scene.view.open else {
            return;
        };
        let Some(fetch) = &open.fetch else {
            return;
        };
        self.goes_on(scene, fetch);
        let image = open.item().and_then(|item| self.images.get(&(item.slug, item.version)));
        // An answer that ended before its head is an empty download (protocol 5.3).
        let empty = fetch.answer == Answer::Awaited && fetch.offset == 0 && print.bytes == 0;
        let right = match (image, fetch.total) {
            (Some(image), _) => *image == print,
            (None, Some(total)) => total == print.bytes,
            (None, None) => true,
        };
        self.bytes.hold(scene, right || empty, || match image {
            Some(image) => format!(
                "{} bytes were handed over, which are not the image of {}",
                print.bytes, image.bytes
            ),
            None => format!(
                "{} bytes were handed over of an image of {}",
                print.bytes,
                fetch.total.unwrap_or_default()
            ),
        });
    }

    /// A wait before the next request began.
    pub(in crate::verdict) fn waits(&mut self, scene: &Scene<'_>, reason: RetryReason, until: SimTime) {
        let Some(fetch) = scene.view.open.as_ref().and_then(|open| open.fetch.as_ref()) else {
            return;
        };
        let failures = fetch.waits + 1;
        let (least, most) = scene.build.retry.bounds(failures);
        let wait = until.since(scene.at);
        let slack = if reason == RetryReason::Timeout {
            LATENESS
        } else {
            std::time::Duration::ZERO
        };
        self.waits.hold(scene, wait <= most && wait + slack >= least, || {
            format!(
                "wait {failures} was {} ms, not within {} and {}",
                wait.as_millis(),
                least.as_millis(),
                most.as_millis()
            )
        });
        self.retries.hold(scene, !matches!(fetch.answer, Answer::Wrong(_)), || {
            format!("status {} was tried again", status(fetch.answer))
        });
    }

    /// A handler came to an end.
    pub(in crate::verdict) fn returned(&mut self, scene: &Scene<'_>, attempt: AttemptId, result: ArtifactResult) {
        let Some(open) = scene.view.open_of(attempt) else {
            return;
        };
        let Some(fetch) = open.fetch.filter(|fetch| matches!(fetch.answer, Answer::Busy(_))) else {
            return;
        };
        let stopped = open.cancel_asked || open.superseded || open.replaced || result != ArtifactResult::Failed;
        self.retries.hold(scene, fetch.retry_at.is_some() || stopped, || {
            format!(
                "attempt {attempt} failed at status {} without another try",
                status(fetch.answer)
            )
        });
    }

    /// A download goes on after its last answer.
    fn goes_on(&mut self, scene: &Scene<'_>, fetch: &Fetch) {
        let ranged = fetch.offset > 0;
        let wrong = match fetch.answer {
            Answer::WrongRange => true,
            Answer::Wrong(_) => ranged,
            Answer::Awaited | Answer::Right | Answer::Busy(_) => false,
        };
        self.range.hold(scene, !wrong, || match fetch.answer {
            Answer::WrongRange => format!(
                "a download went on after an answer to byte {} with another range",
                fetch.offset
            ),
            answer => format!(
                "a download went on after an answer to byte {} with status {}",
                fetch.offset,
                status(answer)
            ),
        });
    }
}

const fn status(answer: Answer) -> u16 {
    match answer {
        Answer::Busy(status) | Answer::Wrong(status) => status,
        Answer::WrongRange => 206,
        Answer::Awaited | Answer::Right => 200,
    }
}
