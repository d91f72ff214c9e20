//! What OTA messages look like, and what malformed ones lead to.

use std::collections::BTreeSet;

use crate::model::{AttemptError, AttemptId};
use crate::wire::CborError;
use crate::wire::cbor::Reader;
use crate::wire::ota::{Report, UpdateResults};

use super::{Rule, Scene, Tally};
use crate::verdict::view::Body;

pub(in crate::verdict) const ONE_MAP: Rule = Rule {
    name: "results-are-one-map",
    statement: "UPDATE_RESULTS is one CBOR map with unsigned integer keys and an attempt id above zero",
    protocol: &[1],
};
pub(in crate::verdict) const KEYS_OF_THE_TABLE: Rule = Rule {
    name: "keys-of-the-table",
    statement: "UPDATE_RESULTS has only keys that the message knows, each once",
    protocol: &[2],
};
pub(in crate::verdict) const WELL_FORMED_RESULTS: Rule = Rule {
    name: "well-formed-results",
    statement: "UPDATE_RESULTS has lists or an error, lists are not empty, ascending, disjoint and within the manifest",
    protocol: &[3],
};
pub(in crate::verdict) const NO_UNKNOWN_ATTEMPT: Rule = Rule {
    name: "no-unknown-attempt",
    statement: "a device accepts, stores and reports only attempts that the cloud has named to it",
    protocol: &[4],
};
const UNREADABLE_CHANGES_NOTHING: Rule = Rule {
    name: "unreadable-changes-nothing",
    statement: "a message without a trustworthy id changes nothing, and no report goes out that nothing asked for",
    protocol: &[5],
};
const MALFORMED_IS_ANSWERED: Rule = Rule {
    name: "malformed-is-answered",
    statement: "a malformed message with a trustworthy id is answered with an error, unless it is superseded or power fails",
    protocol: &[6],
};
pub(in crate::verdict) const RIGHT_ATTEMPT_ERROR: Rule = Rule {
    name: "right-attempt-error",
    statement: "the error reported is the one that the message earned: 1 too many artifacts, 2 unknown type, 3 anything else",
    protocol: &[7],
};

/// Keys of UPDATE_RESULTS (protocol 3.5): type, attempt, three lists, error.
const KEYS: [u64; 6] = [0, 32, 42, 43, 44, 45];
const TYPE: u64 = 0;
const ATTEMPT: u64 = 32;
const ERROR: u64 = 45;
/// The message type of UPDATE_RESULTS.
const UPDATE_RESULTS: u64 = 9;

/// Watches the form of messages.
#[derive(Debug)]
pub(in crate::verdict) struct Messages {
    map: Tally,
    keys: Tally,
    form: Tally,
    unknown: Tally,
    unreadable: Tally,
    answered: Tally,
    error: Tally,
}

impl Default for Messages {
    fn default() -> Self {
        Messages {
            map: Tally::new(&ONE_MAP),
            keys: Tally::new(&KEYS_OF_THE_TABLE),
            form: Tally::new(&WELL_FORMED_RESULTS),
            unknown: Tally::new(&NO_UNKNOWN_ATTEMPT),
            unreadable: Tally::new(&UNREADABLE_CHANGES_NOTHING),
            answered: Tally::new(&MALFORMED_IS_ANSWERED),
            error: Tally::new(&RIGHT_ATTEMPT_ERROR),
        }
    }
}

/// What is wrong with the form of a payload, by the rule that it breaks.
#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    Map(String),
    Key(String),
    Form(String),
}

impl Messages {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 7] {
        [
            &self.map,
            &self.keys,
            &self.form,
            &self.unknown,
            &self.unreadable,
            &self.answered,
            &self.error,
        ]
    }

    /// A payload went out on the topic of results.
    pub(in crate::verdict) fn sent(&mut self, scene: &Scene<'_>, payload: &[u8]) {
        let tallies = [&mut self.map, &mut self.keys, &mut self.form];
        for (tally, (_, text)) in tallies.into_iter().zip(flaws(payload)) {
            tally.hold(scene, text.is_none(), || text.unwrap_or_default());
        }
    }

    /// What the payload says.
    pub(in crate::verdict) fn reported(&mut self, scene: &Scene<'_>, results: &UpdateResults) {
        let attempt = results.attempt;
        self.named(scene, attempt, "reported");
        self.unreadable.hold(scene, scene.view.causes > 0, || {
            format!("attempt {attempt} was reported, though nothing had changed and nobody had asked")
        });
        match &results.report {
            Report::Results {
                succeeded,
                failed,
                canceled,
            } => {
                let count = count(scene, attempt);
                let beyond = [succeeded, failed, canceled]
                    .into_iter()
                    .flatten()
                    .find(|index| **index >= count);
                self.form.hold(scene, beyond.is_none(), || {
                    let index = beyond.copied().unwrap_or_default();
                    format!("attempt {attempt} has {count} artifacts, and artifact {index} was reported")
                });
            }
            // It was judged when it was stored; rule 13 finds a report of what is not.
            Report::Error(_) => {}
        }
    }

    /// The device accepted or stored an attempt.
    pub(in crate::verdict) fn named(&mut self, scene: &Scene<'_>, attempt: AttemptId, what: &str) {
        self.unknown.hold(scene, scene.view.knows(attempt), || {
            format!("attempt {attempt} was {what}, which the cloud had not named")
        });
    }

    /// Something happened while a message without a trustworthy id was handled.
    pub(in crate::verdict) fn unreadable_took_effect(&mut self, scene: &Scene<'_>, what: &str) {
        self.unreadable
            .hold(scene, false, || format!("{what} upon a message without a trustworthy id"));
    }

    /// The run has settled.
    pub(in crate::verdict) fn settled(&mut self, scene: &Scene<'_>) {
        let view = scene.view;
        if !view.line.online {
            return;
        }
        let waits = view.offer.as_ref().filter(|offer| offer.error.is_some());
        let waits = waits.map(|offer| (offer.attempt, true));
        let ended = view.refused.as_ref().map(|refused| (refused.attempt, refused.owed));
        for (attempt, owed) in waits.into_iter().chain(ended) {
            self.answered.hold(scene, !owed, || {
                format!("attempt {attempt} came malformed and was never refused")
            });
        }
    }

    /// An attempt record in error form was written.
    pub(in crate::verdict) fn error_written(&mut self, scene: &Scene<'_>, attempt: AttemptId, error: AttemptError) {
        let number = error.number();
        let waiting = scene.view.offer.as_ref().filter(|offer| offer.attempt == attempt);
        let ended = scene.view.refused.as_deref().filter(|refused| refused.attempt == attempt);
        let right = match (ended, waiting) {
            // An error of an attempt that nobody got wrong is the storage's (protocol 6.3).
            (None, None) => {
                let before = scene.view.stored_of(attempt).map(|stored| stored.body);
                number == 0 || before == Some(Body::Error(error))
            }
            (ended, waiting) => {
                let waits = waiting.is_some_and(|offer| offer.error == Some(error));
                waits || ended.is_some_and(|refused| refused.errors >> number & 1 == 1)
            }
        };
        self.error.hold(scene, right, || {
            format!("attempt {attempt} was refused with error {number}, which its message had not earned")
        });
    }
}

/// Number of artifacts of an attempt; more than any manifest has where it is not known.
fn count(scene: &Scene<'_>, attempt: AttemptId) -> u64 {
    let stored = scene.view.marks_of(attempt).map_or(0, |marks| u64::from(marks.count));
    let items = scene.view.open_of(attempt).map_or(0, |open| open.items.len() as u64);
    match stored.max(items) {
        0 => u64::MAX,
        count => count,
    }
}

/// The rules on the form of a payload, each with what is wrong by it.
pub(in crate::verdict) fn flaws(payload: &[u8]) -> [(&'static Rule, Option<String>); 3] {
    let (map, keys, form) = match scan(payload) {
        Ok(()) => (None, None, None),
        Err(Flaw::Map(text)) => (Some(text), None, None),
        Err(Flaw::Key(text)) => (None, Some(text), None),
        Err(Flaw::Form(text)) => (None, None, Some(text)),
    };
    [(&ONE_MAP, map), (&KEYS_OF_THE_TABLE, keys), (&WELL_FORMED_RESULTS, form)]
}

/// Reads a payload strictly, with the tolerance of no receiver.
fn scan(payload: &[u8]) -> Result<(), Flaw> {
    let map = |error: CborError| Flaw::Map(error.to_string());
    let mut reader = Reader::new(payload);
    let mut pairs = reader.map().map_err(map)?;
    let mut seen = [false; KEYS.len()];
    let mut positions = BTreeSet::new();
    while reader.more(&mut pairs).map_err(map)? {
        let key = reader.key().map_err(map)?;
        let key = key.ok_or_else(|| Flaw::Map("a key is no unsigned integer".to_owned()))?;
        let place = KEYS.iter().position(|known| *known == key);
        if place.is_none_or(|place| std::mem::replace(&mut seen[place], true)) {
            return Err(Flaw::Key(format!("key {key} is foreign or stands twice")));
        }
        match key {
            TYPE => {
                if reader.uint().map_err(map)? != UPDATE_RESULTS {
                    return Err(Flaw::Map("the message type is not 9".to_owned()));
                }
            }
            ATTEMPT => {
                if reader.uint().map_err(map)? == 0 {
                    return Err(Flaw::Map("the attempt id is zero".to_owned()));
                }
            }
            ERROR => {
                reader.uint().map_err(map)?;
            }
            _ => scan_list(&mut reader, key, &mut positions)?,
        }
    }
    if !reader.at_end() {
        return Err(Flaw::Map("bytes follow the map".to_owned()));
    }
    let [kind, attempt, lists @ .., error] = seen;
    if !(kind && attempt) {
        return Err(Flaw::Map("type or attempt id are missing".to_owned()));
    }
    if lists.contains(&true) && error {
        return Err(Flaw::Form("results stand beside an error".to_owned()));
    }
    Ok(())
}

fn scan_list(reader: &mut Reader<'_>, key: u64, positions: &mut BTreeSet<u64>) -> Result<(), Flaw> {
    let map = |error: CborError| Flaw::Map(error.to_string());
    let mut list = reader.array().map_err(map)?;
    let mut last = None;
    while reader.more(&mut list).map_err(map)? {
        let position = reader.uint().map_err(map)?;
        if last.is_some_and(|last| last >= position) || !positions.insert(position) {
            return Err(Flaw::Form(format!(
                "position {position} of list {key} stands out of order or twice"
            )));
        }
        last = Some(position);
    }
    match last {
        Some(_) => Ok(()),
        None => Err(Flaw::Form(format!("list {key} is empty"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn the_messages_of_the_protocol_are_sound() {
        for sound in [
            "bf000918201903e9182a9f00ffff",
            "bf000918201903ed182a9f00ff182b9f01ff182c9f02ffff",
            "bf000918201903ee182d01ff",
            "bf000918201903efff",
            "a5000918201903ed182a8100182b8101182c8102",
        ] {
            assert_eq!(scan(&hex(sound)), Ok(()), "{sound}");
        }
    }

    #[test]
    fn each_flaw_breaks_its_rule() {
        for broken in [
            "81bf00091820 01ff",
            "bf0009182001ff00",
            "bf0009182000ff",
            "bf0009ff",
            "bf00091820",
            "bf6109ff",
            "ff",
        ] {
            let found = scan(&hex(&broken.replace(' ', "")));
            assert!(matches!(found, Err(Flaw::Map(_))), "{broken}: {found:?}");
        }
        for broken in [
            "bf0009182001182e00ff",
            "bf00091820010009ff",
            "bf0009182001182a9f00ff182a9f01ffff",
        ] {
            assert!(matches!(scan(&hex(broken)), Err(Flaw::Key(_))), "{broken}");
        }
        for broken in [
            "bf0009182001182a9fffff",
            "bf0009182001182a9f0100ffff",
            "bf0009182001182a9f00ff182b9f00ffff",
            "bf0009182001182a9f00ff182d01ff",
        ] {
            assert!(matches!(scan(&hex(broken)), Err(Flaw::Form(_))), "{broken}");
        }
    }
}
