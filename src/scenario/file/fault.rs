//! `[[fault]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::faults::{FaultKind, Moment, Narrowing, ServerFaultKind};
use crate::model::{Share, closest};

use super::super::document::{Node, Place, Value, Words};
use super::super::error::Problems;
use super::super::fields::Need::{Optional, Required};
use super::super::fields::{Complaint, Fields, Keys, TIME, Written, as_text, cut, list};
use super::link::parse_times;
use super::{WhoFile, check_name, grammar};

pub(super) const FAULT: Keys = &[
    ("inject", Required),
    ("who", Required),
    ("name", Optional),
    ("at", Optional),
    ("for", Optional),
    ("every", Optional),
    ("times", Optional),
    ("chance", Optional),
    ("only", Optional),
];
/// Kinds that strike the server alone.
const SERVER_ONLY: &[&str] = &["crash", "outage", "disk-full"];
/// Kinds that need an argument, with an example of each.
const WITH_ARGUMENT: &[(&str, &str)] = &[
    ("flash-flip", "flash-flip 3"),
    ("lose-record", "lose-record attempt"),
    ("link", "link nb-iot"),
    ("delay", "delay 500ms"),
    ("http", "http 503"),
    ("corrupt", "corrupt 4"),
    ("slow", "slow 64 kbit/s"),
    ("wrong-clock", "wrong-clock 20d behind"),
    ("wrong-image", "wrong-image app@1.1.0"),
    ("bad-data", "bad-data crash after 5s"),
];
/// Name of a fault that has none, and whose kind is not known.
const UNKNOWN: &str = "fault";
/// Most repetitions that can be counted on a device.
const MOST_TIMES: u64 = 1_000_000;

/// A fault of devices, links or downloads, or of the server.
#[derive(Clone, Debug)]
pub(in super::super) struct FaultFile {
    /// Given, or the kind's first word.
    pub name: String,
    /// How errors call it.
    pub subject: String,
    /// Where it is named, or begins.
    pub at: Place,
    /// Whether it is about the server.
    pub about_server: bool,
    /// What befalls the server; `None` where it is missing or wrong, or devices are concerned.
    pub server: Option<Written<ServerFaultKind>>,
    /// `None` where it is missing or wrong, or the server is concerned.
    pub kind: Option<Written<FaultKind>>,
    /// `None` where it is missing or wrong.
    pub who: Option<WhoFile>,
    pub moment: Moment,
    /// Where the moment stands, if it does.
    pub moment_at: Option<Words>,
    pub lasting: Option<Written<RangeInclusive<Duration>>>,
    pub every: Option<Written<Duration>>,
    pub times: Option<Written<u32>>,
    pub chance: Option<Written<Share>>,
    pub only: Vec<Written<Narrowing>>,
}

pub(super) fn read_all(rows: &[Node], problems: &Problems) -> Vec<FaultFile> {
    let faults: Vec<FaultFile> = rows
        .iter()
        .enumerate()
        .filter_map(|(position, node)| FaultFile::read(position, node, problems))
        .collect();
    let is_named = |fault: &&FaultFile| fault.kind.is_some() || fault.server.is_some() || fault.name != UNKNOWN;
    for (position, fault) in faults.iter().enumerate().filter(|(_, fault)| is_named(fault)) {
        if faults[..position].iter().any(|earlier| earlier.name == fault.name) {
            let message = format!("two faults are named `{}`", fault.name);
            let hint = "give one of them another `name`: reports count by it, and it decides what is drawn";
            problems.add(fault.at, message, hint);
        }
    }
    faults
}

impl FaultFile {
    fn read(position: usize, node: &Node, problems: &Problems) -> Option<FaultFile> {
        let start = Place {
            end: node.at.start + 1,
            ..node.at
        };
        let given = match &node.value {
            Value::Table(table) => table.entry("name").and_then(|entry| as_text(&entry.node)),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) => None,
        };
        let subject = match given {
            Some(name) => format!("fault `{}`", cut(&name.text)),
            None => format!("fault {}", position + 1),
        };
        let fields = Fields::new(subject, start, node, FAULT, problems)?;
        let name = fields.text("name", "\"cut\"");
        if let Some(name) = name {
            check_name(&name.text, name.inner, "fault", problems);
        }
        let about_server = is_about_server(&fields);
        let kind = if about_server { None } else { read_kind(&fields) };
        let server = if about_server { read_server_kind(&fields) } else { None };
        let word = kind.as_ref().map(|kind| kind.value.to_string());
        let word = word.or_else(|| server.as_ref().map(|kind| kind.value.to_string()));
        let kind_at = kind.as_ref().map(|kind| kind.at).or(server.as_ref().map(|kind| kind.at));
        let word = word.as_deref().and_then(|text| text.split(' ').next()).unwrap_or(UNKNOWN);
        let (moment, moment_at) = read_moment(&fields);
        Some(FaultFile {
            name: name.map_or_else(|| word.to_owned(), |name| name.text.clone()),
            at: name.map_or_else(|| kind_at.unwrap_or(start), |name| name.inner),
            subject: fields.subject.clone(),
            about_server,
            server,
            kind,
            who: if about_server { None } else { read_who(&fields) },
            moment,
            moment_at,
            lasting: read_lasting(&fields),
            every: fields.time("every"),
            times: fields.whole("times", 1..=MOST_TIMES).map(|times| Written {
                value: times.value as u32,
                at: times.at,
            }),
            chance: fields.share(
                "chance",
                |share| share > Share(0) && share <= Share::WHOLE,
                "above 0 % to 100 %",
            ),
            only: read_only(&fields),
        })
    }

    /// When it strikes.
    pub fn is_timed(&self) -> bool {
        match self.moment {
            Moment::Time(_) | Moment::Step { .. } => true,
            Moment::Start | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => false,
        }
    }
}

/// Whether *who* is the server.
fn is_about_server(fields: &Fields<'_>) -> bool {
    fields
        .node("who")
        .and_then(as_text)
        .is_some_and(|who| who.text.trim() == "server")
}

fn read_server_kind(fields: &Fields<'_>) -> Option<Written<ServerFaultKind>> {
    fields.parsed("inject", "\"outage\"", |text| {
        ServerFaultKind::parse(text).map_err(|hint| {
            let word = cut(text.split_whitespace().next().unwrap_or_default());
            let message = format!("`{word}` is no fault of the server, in {}", fields.subject);
            Complaint::new(message, hint)
        })
    })
}

fn read_kind(fields: &Fields<'_>) -> Option<Written<FaultKind>> {
    fields.parsed("inject", "\"power-cut\"", |text| {
        let word = text.split_whitespace().next().unwrap_or_default();
        if SERVER_ONLY.contains(&word) {
            return Err(Complaint::new(
                format!("`{word}` is a fault of the server, in {}", fields.subject),
                "write who = \"server\"",
            ));
        }
        if let Some((_, example)) = WITH_ARGUMENT.iter().find(|(known, _)| *known == text.trim()) {
            return Err(Complaint::new(
                format!("`{word}` alone does not say enough in {}", fields.subject),
                format!("write for example \"{example}\""),
            ));
        }
        FaultKind::parse(text).map_err(|error| {
            if FaultKind::WORDS.contains(&word) {
                return Complaint::new(format!("wrong `inject` of {}", fields.subject), error);
            }
            let kinds = || FaultKind::WORDS.iter().chain(SERVER_ONLY).copied();
            let hint = match closest(word, kinds()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("kinds are {}", list(FaultKind::WORDS.iter().copied())),
            };
            Complaint::new(format!("unknown fault kind `{}` in {}", cut(word), fields.subject), hint)
        })
    })
}

fn read_who(fields: &Fields<'_>) -> Option<WhoFile> {
    let words = fields.text("who", "\"20 of all\"")?;
    WhoFile::read(words, &format!("`who` of {}", fields.subject), fields.problems)
}

fn read_moment(fields: &Fields<'_>) -> (Moment, Option<Words>) {
    let Some(words) = fields.with_unit("at", TIME) else {
        return (Moment::Start, None);
    };
    let subject = format!("`at` of {}", fields.subject);
    let text = words.text.trim();
    if text == "end" || text == "always" {
        let hint = "expectations alone are judged then: write a time, a phase, `step:NAME`, or leave it out";
        fields
            .problems
            .add(words.inner, format!("`{text}` is no moment for a fault in {subject}"), hint);
        return (Moment::Start, None);
    }
    match Moment::parse(&words.text) {
        Ok(moment) => (moment, Some(words.clone())),
        Err(error) if text == "flash" || text == "flash erase" => {
            let message = format!("which flash operation is missing in {subject}");
            fields.problems.add(words.inner, message, error.message);
            (Moment::Start, None)
        }
        Err(error) => {
            grammar(words, &subject, error, fields.problems);
            (Moment::Start, None)
        }
    }
}

fn read_lasting(fields: &Fields<'_>) -> Option<Written<RangeInclusive<Duration>>> {
    let words = fields.with_unit("for", TIME)?;
    fields.read(words, |text| {
        let times = parse_times(text, "for", TIME, fields)?;
        match times.start().is_zero() {
            false => Ok(times),
            true => Err(Complaint::new(
                format!("`for` of {} is zero", fields.subject),
                "write for example \"2s\", or \"1s..5s\"",
            )),
        }
    })
}

/// One word, or a list of them.
fn read_only(fields: &Fields<'_>) -> Vec<Written<Narrowing>> {
    let Some(node) = fields.node("only") else { return Vec::new() };
    let items: &[Node] = match &node.value {
        Value::Array(items) => items,
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Table(_) => {
            std::slice::from_ref(node)
        }
    };
    if items.is_empty() {
        fields.wrong("only", node, "a type of message or a version", "\"results\"");
    }
    let mut only = Vec::new();
    for item in items {
        let Some(words) = as_text(item) else {
            fields.wrong("only", item, "a type of message or a version", "\"results\"");
            continue;
        };
        only.extend(fields.read(words, |text| {
            Narrowing::parse(text.trim()).map_err(|error| Complaint::new(format!("wrong `only` of {}", fields.subject), error))
        }));
    }
    only
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_kinds_are_kinds() {
        for (word, example) in WITH_ARGUMENT {
            assert!(FaultKind::parse(word).is_err(), "{word}");
            assert!(example.starts_with(word) && FaultKind::parse(example).is_ok(), "{example}");
        }
    }
}
