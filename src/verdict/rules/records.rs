//! What is written to storage: sound, in the order that recovery relies on, grounded, and nothing that must stay out of it.

use crate::model::{ArtifactResult, AttemptId, RecordKey, Slug};
use crate::wire::CborError;

use super::{Rule, Scene, Tally, contains};
use crate::verdict::view::{Marks, ProbationRecord, Stored, fold, fold_slug, read_attempt, read_probation, read_version};

pub(in crate::verdict) const FAILURE_ENDS_ALL: Rule = Rule {
    name: "failure-ends-the-rest",
    statement: "once an artifact is stored as failed or canceled, none behind it is pending in the same record",
    protocol: &[18],
};
const VERSION_FIRST: Rule = Rule {
    name: "version-before-success",
    statement: "when an artifact is stored as succeeded, the version record says what was requested",
    protocol: &[21],
};
const SUCCESS_HAS_GROUNDS: Rule = Rule {
    name: "success-has-grounds",
    statement: "a version is stored only where a handler has installed it, or main was tried and confirmed",
    protocol: &[29],
};
const SOUND_RECORDS: Rule = Rule {
    name: "sound-records",
    statement: "every record written can be read back: right in every detail, and at most 192 bytes",
    protocol: &[58],
};
const NOTHING_SECRET_STORED: Rule = Rule {
    name: "nothing-secret-stored",
    statement: "no record holds a URL or a secret, and none is of an attempt that waits",
    protocol: &[60],
};

/// Longest value that is read back (protocol 7.1), bytes.
const VALUE_LIMIT: usize = 192;

/// What a record was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::verdict) enum Written {
    /// `attempt`.
    Attempt(Option<Stored>),
    /// `probation`.
    Probation(Option<ProbationRecord>),
    /// `version/SLUG`: slug and version, folded.
    Version(u64, Option<u64>),
}

/// Watches storage.
#[derive(Debug)]
pub(in crate::verdict) struct Records {
    rest: Tally,
    version: Tally,
    grounds: Tally,
    sound: Tally,
    secret: Tally,
}

impl Default for Records {
    fn default() -> Self {
        Records {
            rest: Tally::new(&FAILURE_ENDS_ALL),
            version: Tally::new(&VERSION_FIRST),
            grounds: Tally::new(&SUCCESS_HAS_GROUNDS),
            sound: Tally::new(&SOUND_RECORDS),
            secret: Tally::new(&NOTHING_SECRET_STORED),
        }
    }
}

impl Records {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 5] {
        [&self.rest, &self.version, &self.grounds, &self.sound, &self.secret]
    }

    /// Reads what was written; the other rules go by it.
    pub(in crate::verdict) fn written(&mut self, scene: &Scene<'_>, key: &RecordKey, content: &[u8]) -> Written {
        let limit = scene.build.max_artifacts;
        let readable = |read: Result<(), CborError>| match read {
            _ if content.len() > VALUE_LIMIT => Err(format!("it is {} bytes long", content.len())),
            read => read.map_err(|error| error.to_string()),
        };
        let (written, read) = match key {
            RecordKey::Attempt => {
                let read = read_attempt(content, limit);
                (Written::Attempt(read.ok()), read.map(drop))
            }
            RecordKey::Probation => {
                let read = read_probation(content, limit);
                (Written::Probation(read.as_ref().ok().cloned()), read.map(drop))
            }
            RecordKey::Version(slug) => {
                let read = read_version(content);
                (
                    Written::Version(fold_slug(slug), read.map(fold)),
                    read.map(drop).ok_or(CborError::Type),
                )
            }
        };
        let flaw = readable(read).err();
        self.sound.hold(scene, flaw.is_none(), || {
            format!("record {} cannot be read back: {}", name(key), flaw.unwrap_or_default())
        });
        self.look_for_secrets(scene, key, content);
        if let (RecordKey::Version(slug), Written::Version(_, Some(version))) = (key, &written) {
            self.version_written(scene, slug, *version);
        }
        written
    }

    /// The attempt record was written; `fresh` are the results that it did not have before.
    pub(in crate::verdict) fn attempt_written(&mut self, scene: &Scene<'_>, attempt: AttemptId, marks: &Marks, fresh: &Marks) {
        let stopped = marks.failed | marks.canceled;
        let behind = u32::MAX.checked_shl(stopped.trailing_zeros()).unwrap_or(0);
        let left = marks.pending() & behind;
        self.rest.hold(scene, left == 0, || {
            format!(
                "attempt {attempt}: artifact {} is pending behind artifact {}, which did not succeed",
                left.trailing_zeros(),
                stopped.trailing_zeros()
            )
        });
        let Some(open) = scene.view.open_of(attempt) else {
            return;
        };
        for (index, item) in open.items.iter().enumerate() {
            if fresh.of(index) == Some(ArtifactResult::Succeeded) {
                let stored = scene.view.has_version(item.slug, item.version);
                self.version.hold(scene, stored, || {
                    format!("attempt {attempt}: artifact {index} was stored as succeeded before its version was")
                });
            }
        }
    }

    fn version_written(&mut self, scene: &Scene<'_>, slug: &Slug, version: u64) {
        let view = scene.view;
        let Some(open) = view.open.as_deref().filter(|open| !open.items.is_empty()) else {
            return;
        };
        let folded = fold_slug(slug);
        let asked = open
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.slug == folded && item.version == version);
        let grounded = asked.into_iter().any(|(index, _)| {
            let installed = open.returned == Some((index, ArtifactResult::Succeeded));
            let tried = view
                .trial_of(open.attempt)
                .is_some_and(|trial| trial.is_of(open.attempt, index));
            // What is stored already may be stored again: a version skip writes its record like any success.
            installed || tried || view.has_version(folded, version)
        });
        self.grounds.hold(scene, grounded, || {
            format!(
                "a version of {slug} was stored as installed, though no handler of attempt {} had installed it",
                open.attempt
            )
        });
    }

    fn look_for_secrets(&mut self, scene: &Scene<'_>, key: &RecordKey, content: &[u8]) {
        let view = scene.view;
        let open = view.open.iter().flat_map(|open| open.items.iter());
        let offer = view.offer.iter().flat_map(|offer| offer.items.iter());
        let secret = open.chain(offer).any(|item| contains(content, item.secret()));
        let url = matches!(key, RecordKey::Attempt | RecordKey::Probation) && holds_url(content);
        self.secret.hold(scene, !secret && !url, || {
            let what = if secret { "a secret" } else { "a URL" };
            format!("record {} holds {what}", name(key))
        });
    }
}

/// Whether an image's URL (protocol 5.1) is among these bytes. The scheme is looked for whole: digests and ids are any bytes.
fn holds_url(content: &[u8]) -> bool {
    let ends = |before: &[u8], scheme: &[u8]| {
        let start = before.len().checked_sub(scheme.len());
        start.is_some_and(|start| before[start..].eq_ignore_ascii_case(scheme))
    };
    let mut marks = content.windows(3).enumerate().filter(|(_, part)| part == b"://");
    marks.any(|(at, _)| ends(&content[..at], b"http") || ends(&content[..at], b"https"))
}

fn name(key: &RecordKey) -> String {
    match key {
        RecordKey::Attempt => "attempt".to_owned(),
        RecordKey::Probation => "probation".to_owned(),
        RecordKey::Version(slug) => format!("version/{slug}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of five million devices of one simulation five stored these three bytes by chance.
    #[test]
    fn bytes_that_are_like_a_part_of_a_url_by_chance_are_none() {
        assert!(!holds_url(b"\xa1\x02\x58\x20\x9c://\xf7\x3b"));
        for url in [
            "http://10.0.0.1/a/1/0",
            "https://images.example/a/1/0",
            "HTTPS://images.example",
        ] {
            assert!(holds_url(format!("\u{1}{url}\u{2}").as_bytes()), "{url}");
        }
    }
}
