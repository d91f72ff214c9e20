//! *Who*: which devices something is about (contract, sections 1 and 8).
//!
//! A selector is text in scenarios and in the server's API alike; this module reads and prints it. What a key means for a device is
//! the business of whoever evaluates it.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::quantity::{Share, parse_share};

/// Why a text is not a selector or a measure: where in the text, what is wrong, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GrammarError {
    /// Byte range within the text.
    pub at: Range<usize>,
    /// What is wrong, as a fragment.
    pub message: String,
    /// The way out, if there is one to suggest.
    pub hint: Option<String>,
}

impl GrammarError {
    /// An error over `at`.
    pub fn new(at: Range<usize>, message: impl Into<String>, hint: Option<String>) -> Self {
        GrammarError {
            at,
            message: message.into(),
            hint,
        }
    }

    /// The same error, its range shifted right by `offset` bytes.
    #[must_use]
    pub fn shifted(mut self, offset: usize) -> Self {
        self.at = self.at.start + offset..self.at.end + offset;
        self
    }
}

/// Whom a step, a fault or a cohort is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The server under test.
    Server,
    /// A selection of devices.
    Devices(Selector),
}

/// A selection of devices: all terms hold, and of those a pick.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selector {
    /// How many of the matches; `None` takes them all.
    pub pick: Option<Pick>,
    /// Conditions, all of which must hold.
    pub terms: Vec<Term>,
}

/// How many of the matching devices are taken, by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This many.
    Count(u64),
    /// This part, rounded half up.
    Share(Share),
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Turned round by `!`.
    pub negated: bool,
    /// What is asked.
    pub test: Test,
}

/// What a term asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// True for every device.
    All,
    /// True when the device's value under `key` is one of `values`.
    Key {
        /// Which property.
        key: Key,
        /// Values joined by `|`.
        values: Vec<String>,
    },
}

/// A property that devices are selected by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Name of the fleet.
    Fleet,
    /// Name of a cohort that the device is in.
    Cohort,
    /// The device's id.
    Device,
    /// Value of the tag with this key.
    Tag(String),
    /// `SLUG@VERSION` that the device runs.
    Runs,
    /// Session word.
    Session,
    /// Phase word.
    Phase,
    /// State word in the newest deployment that reached the device, or in the one named by `step`.
    State,
    /// Name of a deployment that reached the device.
    Step,
}

impl Key {
    /// The keys without `tag.K`, for suggestions.
    pub const WORDS: &'static [&'static str] = &["fleet", "cohort", "device", "runs", "session", "phase", "state", "step"];

    /// The key that `word` names.
    pub fn from_word(word: &str) -> Option<Key> {
        Some(match word {
            "fleet" => Key::Fleet,
            "cohort" => Key::Cohort,
            "device" => Key::Device,
            "runs" => Key::Runs,
            "session" => Key::Session,
            "phase" => Key::Phase,
            "state" => Key::State,
            "step" => Key::Step,
            _ => Key::Tag(word.strip_prefix("tag.").filter(|name| is_word(name))?.to_owned()),
        })
    }

    /// True for what changes during a run: session, phase, state, runs, step.
    pub const fn changes(&self) -> bool {
        matches!(self, Key::Runs | Key::Session | Key::Phase | Key::State | Key::Step)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Fleet => "fleet",
            Key::Cohort => "cohort",
            Key::Device => "device",
            Key::Tag(name) => return write!(f, "tag.{name}"),
            Key::Runs => "runs",
            Key::Session => "session",
            Key::Phase => "phase",
            Key::State => "state",
            Key::Step => "step",
        })
    }
}

/// True for the contract's `word`: 1 to 64 of letters, digits, dot, underscore, hyphen.
pub fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl Who {
    /// Reads *who*, `server` included.
    ///
    /// # Errors
    /// [`GrammarError`] with the place in `text`.
    pub fn parse(text: &str) -> Result<Who, GrammarError> {
        if text.trim() == "server" {
            Ok(Who::Server)
        } else {
            Selector::parse(text).map(Who::Devices)
        }
    }
}

impl Selector {
    /// Every device.
    pub fn all() -> Self {
        Selector {
            pick: None,
            terms: vec![Term {
                negated: false,
                test: Test::All,
            }],
        }
    }

    /// Reads a selection of devices: `20 of cohort:west`, `5 % of tag.rev:a,!cohort:canary|early`.
    ///
    /// # Errors
    /// [`GrammarError`] with the place in `text`.
    pub fn parse(text: &str) -> Result<Selector, GrammarError> {
        let (pick, start) = match text.find(" of ") {
            Some(of) => (Some(parse_pick(text, of)?), of + 4),
            None => (None, 0),
        };
        let mut terms = Vec::new();
        let mut offset = start;
        for piece in text[start..].split(',') {
            terms.push(parse_term(piece).map_err(|error| error.shifted(offset))?);
            offset += piece.len() + 1;
        }
        Ok(Selector { pick, terms })
    }

    /// The keys that are asked for.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.terms.iter().filter_map(|term| match &term.test {
            Test::All => None,
            Test::Key { key, .. } => Some(key),
        })
    }

    /// True when every term holds, where `has(key, value)` says whether the device has `value` under `key`. The pick is not looked at.
    pub fn matches(&self, mut has: impl FnMut(&Key, &str) -> bool) -> bool {
        self.terms.iter().all(|term| {
            term.negated
                != match &term.test {
                    Test::All => true,
                    Test::Key { key, values } => values.iter().any(|value| has(key, value)),
                }
        })
    }
}

fn parse_pick(text: &str, of: usize) -> Result<Pick, GrammarError> {
    let written = text[..of].trim();
    let place = 0..of;
    if written.ends_with('%') {
        return match parse_share(written) {
            Ok(share) if share <= Share::WHOLE => Ok(Pick::Share(share)),
            Ok(_) => Err(GrammarError::new(place, format!("`{written}` is more than the whole"), None)),
            Err(error) => Err(GrammarError::new(place, error.to_string(), None)),
        };
    }
    written.parse().map(Pick::Count).map_err(|_| {
        GrammarError::new(
            place,
            format!("`{written}` is not a number of devices"),
            Some("write `20 of ...` or `5 % of ...`".into()),
        )
    })
}

fn parse_term(piece: &str) -> Result<Term, GrammarError> {
    let lead = piece.len() - piece.trim_start().len();
    let trimmed = piece.trim();
    let whole = lead..lead + trimmed.len().max(1);
    let (negated, body) = trimmed.strip_prefix('!').map_or((false, trimmed), |body| (true, body));
    if body == "all" {
        return Ok(Term {
            negated,
            test: Test::All,
        });
    }
    let Some((word, values)) = body.split_once(':') else {
        let hint =
            "write `all`, or `key:value` with one of the keys fleet, cohort, device, tag.K, runs, session, phase, state, step";
        return Err(GrammarError::new(
            whole,
            format!("`{body}` is not a condition"),
            Some(hint.into()),
        ));
    };
    let key_at = whole.start + usize::from(negated)..whole.start + usize::from(negated) + word.len();
    let key = Key::from_word(word).ok_or_else(|| {
        let hint = closest(word, Key::WORDS.iter().copied()).map(|key| format!("did you mean `{key}`?"));
        GrammarError::new(key_at.clone(), format!("unknown key `{word}`"), hint)
    })?;
    let mut offset = key_at.end + 1;
    for value in values.split('|') {
        let word_form = value
            .split_once('@')
            .map_or(is_word(value), |(slug, version)| is_word(slug) && is_word(version));
        if !word_form {
            let message = format!("`{value}` is not a value of `{key}`");
            let hint = Some("values are letters, digits, `.`, `_` and `-`".to_owned());
            return Err(GrammarError::new(offset..offset + value.len().max(1), message, hint));
        }
        offset += value.len() + 1;
    }
    Ok(Term {
        negated,
        test: Test::Key {
            key,
            values: values.split('|').map(str::to_owned).collect(),
        },
    })
}

/// The candidate that is most like `word`, if one is close enough to be meant: an edit distance of at most a third of its length.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbors.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let best = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Selector::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pick {
            Some(Pick::Count(count)) => write!(f, "{count} of ")?,
            Some(Pick::Share(share)) => write!(f, "{share} of ")?,
            None => {}
        }
        for (position, term) in self.terms.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            let not = if term.negated { "!" } else { "" };
            match &term.test {
                Test::All => write!(f, "{comma}{not}all")?,
                Test::Key { key, values } => write!(f, "{comma}{not}{key}:{}", values.join("|"))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Server => f.write_str("server"),
            Who::Devices(selector) => selector.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_the_contracts_examples() {
        for text in [
            "all",
            "20 of cohort:west",
            "5 % of tag.rev:a,!cohort:canary|early",
            "all,!cohort:canary|early",
            "runs:app@1.1.0",
        ] {
            assert_eq!(Who::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Who::parse("server").unwrap(), Who::Server);
    }

    #[test]
    fn a_term_joins_values_and_a_list_joins_terms() {
        let selector = Selector::parse("tag.rev:a|b,!cohort:early").unwrap();
        let device = |rev: &'static str, cohort: &'static str| {
            selector.matches(|key, value| match key {
                Key::Tag(_) => value == rev,
                _ => value == cohort,
            })
        };
        assert!(device("a", "late") && device("b", "late"));
        assert!(!device("c", "late") && !device("a", "early"));
    }

    #[test]
    fn points_at_the_word_that_is_wrong() {
        let error = Who::parse("10 of cohrot:west").unwrap_err();
        assert_eq!((error.at, error.hint.as_deref()), (6..12, Some("did you mean `cohort`?")));
        assert_eq!(Who::parse("x of all").unwrap_err().at, 0..1);
        assert_eq!(Who::parse("cohort:a,fleet:b!").unwrap_err().at, 15..17);
        assert!(Who::parse("").is_err());
        assert!(Who::parse("120 % of all").is_err());
    }

    #[test]
    fn suggests_only_what_is_close() {
        assert_eq!(closest("cout", ["count", "cohort", "link"]), Some("count"));
        assert_eq!(closest("regoin", ["region"]), Some("region"));
        assert_eq!(closest("zzz", ["count", "cohort"]), None);
    }
}
