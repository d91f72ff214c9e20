//! Reading a table of the language: which keys it has, what their values must be, and what is said when they are not.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::{EventRate, GrammarError, QuantityError, Share, closest, parse_data_rate, parse_duration, parse_event_rate};
use crate::model::{parse_share, parse_size, show_count};

use super::document::{Entry, Node, Place, Table, Value, Words};
use super::error::{Problem, Problems};

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written<T> {
    pub value: T,
    pub at: Place,
}

/// What the language says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Must be there.
    Required,
    /// Has a default.
    Optional,
}

/// Keys of a table.
pub(super) type Keys = &'static [(&'static str, Need)];

/// Why a text value is not what it should be.
pub(super) struct Complaint {
    /// Bytes of the text that are meant; all of it if `None`.
    pub at: Option<std::ops::Range<usize>>,
    pub message: String,
    pub hint: Option<String>,
}

impl Complaint {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Complaint {
            at: None,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

impl From<GrammarError> for Complaint {
    fn from(error: GrammarError) -> Self {
        Complaint {
            at: Some(error.at),
            message: error.message,
            hint: error.hint,
        }
    }
}

/// A table of the language with what it is about.
pub(super) struct Fields<'a> {
    /// How errors call it: fleet `demo`.
    pub subject: String,
    /// Where it is named.
    pub at: Place,
    pub problems: &'a Problems,
    table: &'a Table,
}

impl<'a> Fields<'a> {
    /// The table in `node`, its keys checked against `keys`; nothing but an error if there is no table.
    pub fn new(subject: String, at: Place, node: &'a Node, keys: Keys, problems: &'a Problems) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            let names = keys.iter().map(|(name, _)| *name).take(3).collect::<Vec<_>>().join(", ");
            problems.add(
                node.at,
                format!("{subject} is not a table"),
                format!("found {}: write {{ … }} with keys such as {names}", show(node)),
            );
            return None;
        };
        let fields = Fields {
            subject,
            at,
            problems,
            table,
        };
        fields.check_keys(keys);
        Some(fields)
    }

    fn check_keys(&self, keys: Keys) {
        let known = |word: &str| keys.iter().find(|(name, _)| *name == word);
        let mut meant = Vec::new();
        for entry in &self.table.0 {
            match known(&entry.key) {
                Some((_, Need::Required | Need::Optional)) => {}
                None => meant.extend(self.unknown_key(entry, keys)),
            }
        }
        for (name, need) in keys {
            if *need == Need::Required && self.table.entry(name).is_none() && !meant.contains(name) {
                self.problems
                    .add(self.at, format!("{} needs `{name}`", self.subject), example_of(name));
            }
        }
    }

    /// Complains, and gives the key that was probably meant.
    fn unknown_key(&self, entry: &Entry, keys: Keys) -> Option<&'static str> {
        let meant = closest(&entry.key, keys.iter().map(|(name, _)| *name));
        let way_out = match meant {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("keys are {}", list(keys.iter().map(|(name, _)| *name))),
        };
        self.problems.add(
            entry.key_at,
            format!("unknown key `{}` in {}", entry.key, self.subject),
            format!("value {}: {way_out}", show(&entry.node)),
        );
        meant.and_then(|meant| keys.iter().map(|(name, _)| *name).find(|name| *name == meant))
    }

    /// The value under `key`, if it is there.
    pub fn node(&self, key: &str) -> Option<&'a Node> {
        self.table.entry(key).map(|entry| &entry.node)
    }

    /// Where `key` stands, or the table if it does not.
    pub fn key_at(&self, key: &str) -> Place {
        self.table.entry(key).map_or(self.at, |entry| entry.key_at)
    }

    /// Whether there are no keys at all.
    pub fn is_empty(&self) -> bool {
        self.table.0.is_empty()
    }

    /// The keys that are there.
    pub fn present<'k>(&self, keys: &'k [&'k str]) -> impl Iterator<Item = &'k str> {
        keys.iter().copied().filter(|key| self.table.entry(key).is_some())
    }

    /// Says that the value under `key` is not what it should be.
    pub fn wrong(&self, key: &str, node: &Node, what: &str, example: &str) {
        self.problems.add(
            node.at,
            format!("`{key}` of {} is not {what}", self.subject),
            format!("found {}: write for example {example}", show(node)),
        );
    }

    /// The text under `key`.
    pub fn text(&self, key: &str, example: &str) -> Option<&'a Words> {
        let node = self.node(key)?;
        let words = as_text(node);
        if words.is_none() {
            self.wrong(key, node, "text", example);
        }
        words
    }

    /// The text under `key`, read by `parse`.
    pub fn parsed<T>(&self, key: &str, example: &str, parse: impl FnOnce(&str) -> Result<T, Complaint>) -> Option<Written<T>> {
        let words = self.text(key, example)?;
        self.read(words, parse)
    }

    /// A text read by `parse`, or its complaint.
    pub fn read<T>(&self, words: &Words, parse: impl FnOnce(&str) -> Result<T, Complaint>) -> Option<Written<T>> {
        match parse(&words.text) {
            Ok(value) => Some(Written { value, at: words.inner }),
            Err(complaint) => {
                let at = complaint.at.map_or(words.inner, |range| words.part(range));
                self.problems.push(Problem::new(at, complaint.message, complaint.hint));
                None
            }
        }
    }

    /// A whole number in `range` under `key`.
    pub fn whole(&self, key: &str, range: RangeInclusive<u64>) -> Option<Written<u64>> {
        let node = self.node(key)?;
        let Value::Integer(integer) = node.value else {
            self.wrong(key, node, "a whole number", "200");
            return None;
        };
        match u64::try_from(integer).ok().filter(|value| range.contains(value)) {
            Some(value) => Some(Written { value, at: node.at }),
            None => {
                let hint = format!(
                    "found {integer}: write {} to {}",
                    show_count(*range.start()),
                    show_count(*range.end())
                );
                self.problems
                    .add(node.at, format!("`{key}` of {} is out of range", self.subject), hint);
                None
            }
        }
    }

    /// `true` or `false` under `key`.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        match node.value {
            Value::Boolean(boolean) => Some(boolean),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => {
                self.wrong(key, node, "true or false", "true");
                None
            }
        }
    }

    /// A time under `key`.
    pub fn time(&self, key: &str) -> Option<Written<Duration>> {
        self.quantity(key, TIME, parse_duration)
    }

    /// A size under `key`, bytes.
    pub fn size(&self, key: &str) -> Option<Written<u64>> {
        self.quantity(key, SIZE, parse_size)
    }

    /// A rate of events above zero under `key`.
    pub fn event_rate(&self, key: &str) -> Option<Written<EventRate>> {
        let rate = self.quantity(key, EVENTS, parse_event_rate)?;
        self.above_zero(key, rate.value.0 > 0, &rate)?;
        Some(rate)
    }

    /// A data rate above zero under `key`, bits a second.
    pub fn data_rate(&self, key: &str) -> Option<Written<u64>> {
        let rate = self.quantity(key, RATE, parse_data_rate)?;
        self.above_zero(key, rate.value > 0, &rate)?;
        Some(rate)
    }

    fn above_zero<T>(&self, key: &str, above: bool, written: &Written<T>) -> Option<()> {
        if !above {
            let message = format!("`{key}` of {} is a rate of zero", self.subject);
            self.problems.add(written.at, message, "leave it out: there is no limit then");
        }
        above.then_some(())
    }

    /// A share under `key` that is `good`; `range` says which are.
    pub fn share(&self, key: &str, good: impl FnOnce(Share) -> bool, range: &str) -> Option<Written<Share>> {
        let words = self.with_unit(key, SHARE)?;
        self.read(words, |text| match parse_share(text) {
            Ok(share) if good(share) => Ok(share),
            Ok(share) => Err(Complaint::new(
                format!("`{key}` of {} is out of range", self.subject),
                format!("found {share}: write {range}"),
            )),
            Err(error) => Err(self.not_a_quantity(key, SHARE, error)),
        })
    }

    fn quantity<T>(&self, key: &str, units: Units, parse: impl FnOnce(&str) -> Result<T, QuantityError>) -> Option<Written<T>> {
        let words = self.with_unit(key, units)?;
        self.read(words, |text| {
            parse(text).map_err(|error| self.not_a_quantity(key, units, error))
        })
    }

    /// The text under `key`; a bare number is told its unit.
    pub fn with_unit(&self, key: &str, units: Units) -> Option<&'a Words> {
        let node = self.node(key)?;
        match &node.value {
            Value::Text(words) => Some(words),
            Value::Integer(_) | Value::Float(_) => {
                let number = show(node);
                let message = format!("`{key}` of {} needs a unit", self.subject);
                self.problems.add(
                    node.at,
                    message,
                    format!("found {number}: write {}", (units.example)(&number)),
                );
                None
            }
            Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => {
                self.wrong(key, node, units.article, &(units.example)("500"));
                None
            }
        }
    }

    /// A quantity's error as a complaint about `key`.
    pub fn not_a_quantity(&self, key: &str, units: Units, error: QuantityError) -> Complaint {
        let subject = &self.subject;
        match error {
            QuantityError::NoUnit { found, .. } => Complaint::new(
                format!("`{key}` of {subject} needs a unit"),
                format!("found {found}: write {}", (units.example)(found.trim())),
            ),
            QuantityError::UnknownUnit { unit, kind, units } => Complaint::new(
                format!("unknown unit `{unit}` in `{key}` of {subject}"),
                match unit_meant(&unit, units) {
                    Some(meant) => format!("did you mean `{meant}`? A {kind} is given in {units}"),
                    None => format!("a {kind} is given in {units}"),
                },
            ),
            QuantityError::NotANumber { found, .. } => Complaint::new(
                format!("`{key}` of {subject} is not {}", units.article),
                format!("found \"{}\": write for example {}", cut(&found), (units.example)("500")),
            ),
            QuantityError::TooLarge { found } => {
                Complaint::new(format!("`{key}` of {subject} is too large"), format!("found {}", cut(&found)))
            }
        }
    }
}

/// How a kind of quantity is spoken of.
#[derive(Clone, Copy)]
pub(super) struct Units {
    article: &'static str,
    /// What to write for a number.
    example: fn(&str) -> String,
}

pub(super) const TIME: Units = Units {
    article: "a time",
    example: |number| format!("\"{number}ms\" or \"{number}s\""),
};
const SIZE: Units = Units {
    article: "a size",
    example: |number| format!("\"{number} KiB\""),
};
const SHARE: Units = Units {
    article: "a share",
    example: |number| format!("\"{number} %\""),
};
const EVENTS: Units = Units {
    article: "a rate",
    example: |number| format!("\"{number}/s\" or \"{number}/m\""),
};
pub(super) const RATE: Units = Units {
    article: "a rate",
    example: |number| format!("\"{number} kbit/s\""),
};
pub(super) const LATENCY: Units = Units {
    article: "a latency",
    example: |number| format!("\"{number}ms\", or \"{number}ms p99 2s\" for a long tail"),
};
pub(super) const BACKOFF: Units = Units {
    article: "a back-off",
    example: |number| format!("\"{number}ms\", or \"{number}ms..30s full\" for a jittered back-off"),
};
pub(super) const ARRIVAL: Units = Units {
    article: "an arrival",
    example: |number| format!("\"{number}/s\", or \"over {number}s\""),
};

/// The unit that `word` stands for where another spelling is common, or is close.
fn unit_meant<'u>(word: &str, units: &'u str) -> Option<&'u str> {
    let lower = word.to_lowercase();
    let usual = match lower.as_str() {
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        "msec" | "millis" => "ms",
        "k" | "kb" | "kib" => "KiB",
        "mb" | "mib" => "MiB",
        "gb" | "gib" => "GiB",
        "b" | "byte" | "bytes" => "B",
        "/sec" | "/second" => "/s",
        "/min" | "/minute" => "/m",
        "percent" => "%",
        other => other,
    };
    units.split(", ").find(|unit| *unit == usual || unit.to_lowercase() == lower)
}

/// The text of a node, if it is one.
pub(super) fn as_text(node: &Node) -> Option<&Words> {
    match &node.value {
        Value::Text(words) => Some(words),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => None,
    }
}

/// A value in a message: short, on one line.
pub(super) fn show(node: &Node) -> String {
    match &node.value {
        Value::Text(words) => format!("\"{}\"", cut(&words.text)),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => float.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Datetime => "a date".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Table(table) => match table.0.as_slice() {
            [] => "{}".to_owned(),
            [first, ..] => format!("{{ {} … }}", cut(&first.key)),
        },
    }
}

/// A text for a message, cut where it is long.
pub(super) fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Names with commas between; of many the first few.
pub(super) fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() > SHOWN {
        true => format!("{shown}, … ({} in all)", names.len()),
        false => shown,
    }
}

/// `did you mean …?`, or what there is.
pub(super) fn suggest<'n>(word: &str, names: impl IntoIterator<Item = &'n str> + Clone, noun: &str) -> String {
    match closest(word, names.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => match list(names) {
            names if names.is_empty() => format!("there are no {noun}"),
            names => format!("{noun} are {names}"),
        },
    }
}

/// How a required key is written.
fn example_of(key: &str) -> &'static str {
    match key {
        "duration" => "write for example duration = \"60s\"",
        "count" => "write for example count = 200",
        "runs" => "write for example runs = \"app@1.0.0\"",
        "that" => "write for example that = \"devices{state:succeeded} share == 100 %\"",
        "inject" => "write for example inject = \"power-cut\"",
        "who" => "write for example who = \"20 of all\"",
        _ => "it has no default",
    }
}
