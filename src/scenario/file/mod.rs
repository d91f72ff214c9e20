//! What was written: the scenario's tables, each value checked by itself and kept with its place. Nothing is resolved here.

mod backoff;
mod cohort;
mod expect;
mod fault;
mod firmware;
mod flash;
mod fleet;
mod general;
mod ids;
mod link;
mod packages;
mod qemu;
pub(super) mod quirks;
mod shares;
mod step;
mod target;

use std::time::Duration;

use crate::model::{GrammarError, Selector};
use crate::time::SimTime;

use super::document::{Entry, Node, Place, Table, Value, Words};
use super::error::{Problem, Problems};
use super::fields::{Complaint, Keys, cut, list, show};
use crate::model::closest;

pub(super) use cohort::{CohortFile, RuleFile};
pub(super) use expect::{ExpectFile, JudgedFile};
pub(super) use fault::FaultFile;
pub(super) use firmware::{ImageFile, VersionFile};
pub(super) use fleet::{FleetFile, MOST_DEVICES, link_names, named_link};
pub(super) use general::{General, ServerFile, TlsFile, Trace, is_literal};
pub(super) use link::LinkFile;
pub(super) use qemu::QemuFile;
pub(super) use shares::Shares;
pub(super) use step::{Asked, MainFile, RolloutVerb, StepFile, VerbFile};
pub(super) use target::{AdminFile, TargetFile};

/// A scenario as it is written.
#[derive(Debug)]
pub(super) struct ScenarioFile {
    pub general: General,
    pub server: ServerFile,
    pub qemu: QemuFile,
    /// In order of the file.
    pub versions: Vec<VersionFile>,
    /// By name.
    pub links: Vec<LinkFile>,
    /// By name.
    pub fleets: Vec<FleetFile>,
    /// By name.
    pub cohorts: Vec<CohortFile>,
    /// In order of the file.
    pub steps: Vec<StepFile>,
    /// In order of the file.
    pub faults: Vec<FaultFile>,
    /// In order of the file.
    pub expects: Vec<ExpectFile>,
}

/// Tables and lists of the language.
const ROOT: &[&str] = &[
    "scenario", "server", "firmware", "fleet", "cohort", "step", "expect", "fault", "link", "qemu",
];

/// Every table of the language with its keys, under the name that the schema gives it.
pub(super) const TABLES: [(&str, Keys); 14] = [
    ("scenario", general::GENERAL),
    ("server", general::SERVER),
    ("limits", general::LIMITS),
    ("tls", general::TLS),
    ("version", firmware::VERSION),
    ("fleet", fleet::FLEET),
    ("quirks", quirks::QUIRKS),
    ("flash", flash::FLASH),
    ("link", link::LINK),
    ("cohort", cohort::COHORT),
    ("step", step::STEP),
    ("fault", fault::FAULT),
    ("expect", expect::EXPECT),
    ("qemu", qemu::QEMU),
];

impl ScenarioFile {
    /// Reads the document; what is wrong goes to `problems`.
    pub fn read(root: &Node, problems: &Problems) -> ScenarioFile {
        let empty = Table::default();
        let table = match &root.value {
            Value::Table(table) => table,
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) => &empty,
        };
        let start = Place {
            end: root.at.start,
            ..root.at
        };
        for entry in &table.0 {
            if !ROOT.contains(&entry.key.as_str()) {
                unknown_table(&entry.key, entry, problems);
            }
        }
        let entry = |name: &'static str| table.entry(name).or_else(|| meant(table, name));
        let links = link::read_all(entry("link"), problems);
        let rows = |name| entry(name).map_or(&[] as &[Node], |entry| rows(entry, problems));
        ScenarioFile {
            general: General::read(entry("scenario"), start, problems),
            server: ServerFile::read(entry("server"), problems),
            qemu: QemuFile::read(entry("qemu"), problems),
            versions: firmware::read_all(entry("firmware"), problems),
            fleets: fleet::read_all(entry("fleet"), start, &links, problems),
            links,
            cohorts: cohort::read_all(entry("cohort"), problems),
            steps: step::read_all(rows("step"), problems),
            faults: fault::read_all(rows("fault"), problems),
            expects: rows("expect")
                .iter()
                .enumerate()
                .filter_map(|(position, node)| ExpectFile::read(position, node, problems))
                .collect(),
        }
    }
}

fn unknown_table(name: &str, entry: &Entry, problems: &Problems) {
    let hint = match closest(name, ROOT.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("a scenario has {}", list(ROOT.iter().copied())),
    };
    problems.add(entry.key_at, format!("unknown table `{name}`"), hint);
}

/// The table that was probably meant by a name that is none, so that one slip of the pen is one error.
fn meant<'t>(table: &'t Table, name: &str) -> Option<&'t Entry> {
    let slip = |entry: &&Entry| !ROOT.contains(&entry.key.as_str()) && closest(&entry.key, ROOT.iter().copied()) == Some(name);
    table.0.iter().find(slip)
}

/// The rows of a list of tables.
fn rows<'n>(entry: &'n Entry, problems: &Problems) -> &'n [Node] {
    match &entry.node.value {
        Value::Array(rows) => rows,
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Table(_) => {
            let name = &entry.key;
            let hint = format!("found {}: write `{name} = [{{ … }}, …]` or `[[{name}]]`", show(&entry.node));
            problems.add(entry.key_at, format!("`{name}` is not a list of rows"), hint);
            &[]
        }
    }
}

/// The entries of a table of nouns.
fn nouns<'n>(entry: Option<&'n Entry>, problems: &Problems) -> &'n [Entry] {
    match entry.map(|entry| (entry, &entry.node.value)) {
        None => &[],
        Some((_, Value::Table(table))) => &table.0,
        Some((
            entry,
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_),
        )) => {
            let name = &entry.key;
            let hint = format!(
                "found {}: write `{name}.NAME = {{ … }}` or `[{name}.NAME]`",
                show(&entry.node)
            );
            problems.add(entry.key_at, format!("`{name}` is not a table of names"), hint);
            &[]
        }
    }
}

/// Names that fleets and cohorts may not have, because they mean something else where names stand.
const RESERVED: &[&str] = &["all", "of", "server", "start", "end", "always"];

/// Whether a name has the form of one: `[a-z0-9-]{1,32}`.
fn check_name(name: &str, at: Place, noun: &str, problems: &Problems) {
    let form = (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !form {
        let message = format!("`{}` is not a name for a {noun}", cut(name));
        problems.add(at, message, "names are 1 to 32 of a to z, 0 to 9 and `-`");
    }
}

/// Like [`check_name`], for fleets and cohorts: reserved words are refused as well.
fn check_noun(name: &str, at: Place, noun: &str, problems: &Problems) {
    check_name(name, at, noun, problems);
    if RESERVED.contains(&name) || crate::model::Phase::from_word(name).is_some() {
        let message = format!("a {noun} may not be named `{name}`");
        problems.add(at, message, "the word means something else in selectors: choose another name");
    }
}

/// A selector with its text, so that parts of it can be pointed at.
#[derive(Clone, Debug)]
pub(super) struct WhoFile {
    pub selector: Selector,
    pub words: Words,
}

impl WhoFile {
    /// Where the term at `position` stands.
    pub fn term(&self, position: usize) -> Place {
        self.words.part(super::spans::selector_term(&self.words.text, position))
    }

    /// Where value `value` of the term at `position` stands.
    pub fn value(&self, position: usize, value: usize) -> Place {
        let term = super::spans::selector_term(&self.words.text, position);
        self.words.part(super::spans::value(&self.words.text, term, value))
    }

    fn read(words: &Words, subject: &str, problems: &Problems) -> Option<WhoFile> {
        if words.text.trim() == "server" {
            let message = format!("`server` is not a selection of devices in {subject}");
            problems.add(words.inner, message, "only faults are about the server");
            return None;
        }
        match Selector::parse(&words.text) {
            Ok(selector) => Some(WhoFile {
                selector,
                words: words.clone(),
            }),
            Err(error) => {
                grammar(words, subject, error, problems);
                None
            }
        }
    }
}

/// A grammar error, in the words of the file.
fn grammar(words: &Words, subject: &str, error: GrammarError, problems: &Problems) {
    let at = words.part(error.at);
    match (error.message.split_once(": "), error.hint) {
        (Some((what @ "needs a unit", found)), None) => problems.add(at, format!("{subject} {what}"), found),
        (_, hint) => problems.push(Problem::new(at, format!("{} in {subject}", error.message), hint)),
    }
}

/// A moment of a step or an expectation: a time, or a while after a step fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Time(SimTime),
    AfterStep { step: String, by: Duration },
}

impl Moment {
    /// Reads a time or `step:NAME+T`.
    fn parse(text: &str, key: &str, subject: &str) -> Result<Moment, Complaint> {
        let time = |from: &str| {
            crate::model::parse_duration(from).map_err(|error| {
                let start = from.as_ptr() as usize - text.as_ptr() as usize;
                Complaint {
                    at: Some(start..start + from.len()),
                    message: format!("`{key}` of {subject} is not a time"),
                    hint: Some(match error {
                        crate::model::QuantityError::NoUnit { found, .. } => format!("found {found}: write \"{found}s\""),
                        other => other.to_string(),
                    }),
                }
            })
        };
        if let Some(anchor) = text.trim().strip_prefix("step:") {
            let (step, by) = match anchor.split_once('+') {
                Some((step, by)) => (step.trim(), time(by)?),
                None => (anchor, Duration::ZERO),
            };
            return Ok(Moment::AfterStep {
                step: step.to_owned(),
                by,
            });
        }
        if text.contains("..") {
            return Err(Complaint::new(
                format!("not supported yet: a range for `{key}` of {subject}"),
                "write one time",
            ));
        }
        time(text).map(|time| Moment::Time(SimTime::from(time)))
    }
}
