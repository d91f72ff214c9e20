//! `[[step]]`.

use std::time::Duration;

use crate::measure::Measure;
use crate::model::{FirmwareVersion, Tags, is_word, word_enum};

use super::super::document::{Node, Place, Value, Words};
use super::super::error::{Problem, Problems};
use super::super::fields::Need::Optional;
use super::super::fields::{Complaint, Fields, Keys, Written, as_text, cut, show};
use super::super::presets;
use super::fleet::tag_value;
use super::packages::read_packages;
use super::{Moment, WhoFile, check_name, grammar};

pub(super) const STEP: Keys = &[
    ("name", Optional),
    ("at", Optional),
    ("when", Optional),
    ("for", Optional),
    ("late", Optional),
    ("min_count", Optional),
    ("deploy", Optional),
    ("to", Optional),
    ("main", Optional),
    ("cancel", Optional),
    ("pause", Optional),
    ("resume", Optional),
    ("retry", Optional),
    ("join", Optional),
    ("leave", Optional),
    ("from", Optional),
    ("tag", Optional),
    ("untag", Optional),
    ("who", Optional),
];
const VERBS: &[&str] = &[
    "deploy", "cancel", "pause", "resume", "retry", "join", "leave", "tag", "untag",
];

/// A step.
#[derive(Clone, Debug)]
pub(in super::super) struct StepFile {
    /// Given, or made of verb and position.
    pub name: String,
    /// How errors call it.
    pub subject: String,
    /// Where it is named, or begins.
    pub at: Place,
    /// Not before this.
    pub not_before: Option<Written<Moment>>,
    pub when: Option<Asked>,
    pub held_for: Duration,
    pub late: Duration,
    pub min_count: u64,
    /// `None` where it is missing or wrong.
    pub verb: Option<VerbFile>,
}

/// A measure with its text, so that parts of it can be pointed at.
#[derive(Clone, Debug)]
pub(in super::super) struct Asked {
    pub measure: Measure,
    pub words: Words,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(in super::super) enum VerbFile {
    Deploy {
        packages: Vec<Written<FirmwareVersion>>,
        cohort: Written<String>,
        main: MainFile,
    },
    /// Of deployments that other steps made.
    Rollout(RolloutVerb, Vec<Written<String>>),
    Join {
        who: WhoFile,
        cohort: Written<String>,
    },
    Leave {
        who: WhoFile,
        cohort: Written<String>,
    },
    Tag {
        who: WhoFile,
        tags: Tags,
    },
    Untag {
        who: WhoFile,
        keys: Vec<Written<String>>,
    },
}

word_enum! {
    /// What is done to a deployment that stands.
    RolloutVerb {
        /// It is withdrawn.
        Cancel = "cancel",
        /// It makes no new offers.
        Pause = "pause",
        /// It makes offers again.
        Resume = "resume",
        /// Its failed attempts are made anew.
        Retry = "retry",
    }
}

/// Which package is main.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum MainFile {
    /// Decided by what fleets run.
    ByFleet,
    /// None of them.
    None,
    /// This one.
    Slug(Written<String>),
}

pub(super) fn read_all(rows: &[Node], problems: &Problems) -> Vec<StepFile> {
    let steps: Vec<StepFile> = rows
        .iter()
        .enumerate()
        .filter_map(|(position, node)| StepFile::read(position, node, problems))
        .collect();
    for (position, step) in steps.iter().enumerate() {
        if steps[..position].iter().any(|earlier| earlier.name == step.name) {
            problems.add(
                step.at,
                format!("two steps are named `{}`", step.name),
                "give one of them another name",
            );
        }
    }
    steps
}

impl StepFile {
    fn read(position: usize, node: &Node, problems: &Problems) -> Option<StepFile> {
        let start = Place {
            end: node.at.start + 1,
            ..node.at
        };
        let given = match &node.value {
            Value::Table(table) => table.entry("name").and_then(|entry| as_text(&entry.node)),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) => None,
        };
        let subject = match given {
            Some(name) => format!("step `{}`", cut(&name.text)),
            None => format!("step {}", position + 1),
        };
        let fields = Fields::new(subject, start, node, STEP, problems)?;
        let name = fields.text("name", "\"canary\"");
        if let Some(name) = name {
            check_name(&name.text, name.inner, "step", problems);
        }
        let verb = which_verb(&fields);
        let word = verb.unwrap_or("step");
        let step = StepFile {
            name: name.map_or_else(|| format!("{word}-{}", position + 1), |name| name.text.clone()),
            at: name.map_or(start, |name| name.inner),
            subject: fields.subject.clone(),
            not_before: fields.parsed("at", "\"5s\"", |text| Moment::parse(text, "at", &fields.subject)),
            when: Asked::read(&fields, "when"),
            held_for: fields.time("for").map_or(Duration::ZERO, |held| held.value),
            late: fields.time("late").map_or(Duration::ZERO, |late| late.value),
            min_count: fields.whole("min_count", 1..=u64::MAX).map_or(1, |count| count.value),
            verb: verb.and_then(|verb| read_verb(verb, &fields)),
        };
        check_conditions(&fields);
        Some(step)
    }
}

/// The one verb of a step.
fn which_verb(fields: &Fields<'_>) -> Option<&'static str> {
    let mut present = fields.present(VERBS);
    let verb = present.next();
    match (verb, present.next()) {
        (None, _) => {
            let hint = "write for example deploy = \"app@1.1.0\", to = \"all\"; verbs are deploy, cancel, pause, resume, retry, join, leave, tag, untag";
            fields
                .problems
                .add(fields.at, format!("{} has no verb", fields.subject), hint);
            None
        }
        (Some(verb), Some(second)) => {
            let message = format!("{} has two verbs, `{verb}` and `{second}`", fields.subject);
            fields.problems.add(fields.key_at(second), message, "write one step for each");
            None
        }
        (Some(verb), None) => {
            let belonging: &[&str] = match verb {
                "deploy" => &["to", "main"],
                "join" => &["to"],
                "leave" => &["from"],
                "tag" | "untag" => &["who"],
                _ => &[],
            };
            for key in fields.present(&["to", "main", "from", "who"]) {
                if !belonging.contains(&key) {
                    let message = format!("`{key}` of {} does not go with `{verb}`", fields.subject);
                    let hint = match belonging {
                        [] => "leave it out".to_owned(),
                        keys => format!("with `{verb}` goes `{}`", keys.join("` and `")),
                    };
                    fields.problems.add(fields.key_at(key), message, hint);
                }
            }
            VERBS.iter().copied().find(|known| *known == verb)
        }
    }
}

fn check_conditions(fields: &Fields<'_>) {
    let timed = fields.present(&["at", "when"]).count();
    if timed == 0 {
        let hint = "write for example at = \"5s\", or when = \"devices{state:succeeded} share >= 90 %\"";
        fields
            .problems
            .add(fields.at, format!("{} needs `at` or `when`", fields.subject), hint);
    }
    if fields.node("when").is_none() {
        for key in fields.present(&["for", "late", "min_count"]) {
            let message = format!("`{key}` of {} goes with `when` alone", fields.subject);
            fields
                .problems
                .add(fields.key_at(key), message, "add `when`, or leave it out");
        }
    }
}

impl Asked {
    /// The measure under `key`, which must be compared with a limit.
    pub(super) fn read(fields: &Fields<'_>, key: &str) -> Option<Asked> {
        let words = fields.text(key, "\"devices{state:succeeded} share == 100 %\"")?;
        Asked::of(words, &format!("`{key}` of {}", fields.subject), fields.problems)
    }

    /// The measure that `words` ask for, which must be compared with a limit.
    pub(super) fn of(words: &Words, subject: &str, problems: &Problems) -> Option<Asked> {
        if let Some(preset) = presets::expectation(&words.text, subject) {
            let text = match preset {
                Ok(measure) => measure.to_owned(),
                Err(complaint) => {
                    problems.push(Problem::new(words.inner, complaint.message, complaint.hint));
                    return None;
                }
            };
            let words = Words { text, ..words.clone() };
            let measure = Measure::parse(&words.text).expect("presets are measures with a limit");
            return Some(Asked { measure, words });
        }
        match Measure::parse(&words.text) {
            Ok(measure) if measure.comparison.is_some() => Some(Asked {
                measure,
                words: words.clone(),
            }),
            Ok(_) => {
                let hint = "end it with an operator and a limit, for example `count == 100`";
                problems.add(words.inner, format!("{subject} compares nothing"), hint);
                None
            }
            Err(error) => {
                grammar(words, subject, error, problems);
                None
            }
        }
    }
}

fn read_verb(verb: &str, fields: &Fields<'_>) -> Option<VerbFile> {
    let who = |key: &str| {
        let words = fields.text(key, "\"20 of all\"")?;
        WhoFile::read(words, &format!("`{key}` of {}", fields.subject), fields.problems)
    };
    let cohort = |key: &str, for_what: &str| {
        if fields.node(key).is_none() {
            let hint = format!("write for example {key} = \"all\"");
            fields.problems.add(
                fields.key_at(verb),
                format!("{} needs `{key}`, {for_what}", fields.subject),
                hint,
            );
        }
        let words = fields.text(key, "\"west\"")?;
        Some(Written {
            value: words.text.clone(),
            at: words.inner,
        })
    };
    let whom = || {
        if fields.node("who").is_none() {
            let hint = "write for example who = \"20 of tag.region:north\"";
            fields
                .problems
                .add(fields.key_at(verb), format!("{} needs `who`", fields.subject), hint);
        }
        who("who")
    };
    match verb {
        "deploy" => {
            let packages = read_packages(fields, "deploy");
            let cohort = cohort("to", "a cohort");
            let main = read_main(fields, &packages);
            Some(VerbFile::Deploy {
                packages,
                cohort: cohort?,
                main: main?,
            })
        }
        "join" => {
            let (who, cohort) = (who("join"), cohort("to", "a cohort"));
            Some(VerbFile::Join {
                who: who?,
                cohort: cohort?,
            })
        }
        "leave" => {
            let (who, cohort) = (who("leave"), cohort("from", "a cohort"));
            Some(VerbFile::Leave {
                who: who?,
                cohort: cohort?,
            })
        }
        "tag" => {
            let (who, tags) = (whom(), read_new_tags(fields));
            Some(VerbFile::Tag { who: who?, tags: tags? })
        }
        "untag" => {
            let (who, keys) = (whom(), read_keys(fields));
            Some(VerbFile::Untag { who: who?, keys: keys? })
        }
        _ => {
            let verb = RolloutVerb::from_word(verb)?;
            read_names(fields, verb.word()).map(|names| VerbFile::Rollout(verb, names))
        }
    }
}

fn read_main(fields: &Fields<'_>, packages: &[Written<FirmwareVersion>]) -> Option<MainFile> {
    let slugs = || {
        packages
            .iter()
            .map(|package| package.value.slug.to_string())
            .collect::<Vec<_>>()
    };
    let Some(node) = fields.node("main") else {
        if packages.len() > 1 {
            let hint = format!("write main = \"{}\", or main = false", slugs().join("\" or \""));
            let message = format!("{} deploys several packages and needs `main`", fields.subject);
            fields.problems.add(fields.key_at("deploy"), message, hint);
            return None;
        }
        return Some(MainFile::ByFleet);
    };
    match &node.value {
        Value::Boolean(false) => Some(MainFile::None),
        Value::Text(words) if packages.is_empty() || slugs().contains(&words.text) => Some(MainFile::Slug(Written {
            value: words.text.clone(),
            at: words.inner,
        })),
        Value::Text(words) => {
            let message = format!("`main` of {} is not one of its packages", fields.subject);
            let hint = format!("found \"{}\": packages are {}", cut(&words.text), slugs().join(", "));
            fields.problems.add(words.inner, message, hint);
            None
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(true) | Value::Datetime | Value::Array(_) | Value::Table(_) => {
            fields.wrong("main", node, "a firmware or false", "\"app\"");
            None
        }
    }
}

/// Names joined by `|`.
fn read_names(fields: &Fields<'_>, key: &str) -> Option<Vec<Written<String>>> {
    let words = fields.text(key, "\"canary|early\"")?;
    let mut offset = 0;
    let mut names = Vec::new();
    for piece in words.text.split('|') {
        let name = piece.trim();
        let start = offset + (piece.len() - piece.trim_start().len());
        names.push(Written {
            value: name.to_owned(),
            at: words.part(start..start + name.len().max(1)),
        });
        offset += piece.len() + 1;
    }
    Some(names)
}

fn read_new_tags(fields: &Fields<'_>) -> Option<Tags> {
    let node = fields.node("tag")?;
    let Value::Table(table) = &node.value else {
        fields.wrong("tag", node, "a table of tags", "{ region = \"west\" }");
        return None;
    };
    if table.0.is_empty() {
        fields.wrong("tag", node, "a table of tags", "{ region = \"west\" }");
        return None;
    }
    let mut tags = Tags::new();
    for entry in &table.0 {
        let subject = format!("tag `{}` of {}", cut(&entry.key), fields.subject);
        if !is_word(&entry.key) {
            let hint = "tags are 1 to 64 letters, digits, `.`, `_` and `-`";
            fields
                .problems
                .add(entry.key_at, format!("{subject} is not a name for a tag"), hint);
        }
        let Some(words) = as_text(&entry.node) else {
            let hint = format!("found {}: write for example \"west\"", show(&entry.node));
            fields.problems.add(entry.node.at, format!("{subject} is not text"), hint);
            continue;
        };
        if let Some(value) = fields.read(words, |text| tag_value(text, &subject)) {
            tags.insert(entry.key.clone(), value.value);
        }
    }
    Some(tags)
}

/// One tag key, or a list of them.
fn read_keys(fields: &Fields<'_>) -> Option<Vec<Written<String>>> {
    let node = fields.node("untag")?;
    let items: &[Node] = match &node.value {
        Value::Array(items) if !items.is_empty() => items,
        Value::Array(_)
        | Value::Text(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime
        | Value::Table(_) => std::slice::from_ref(node),
    };
    let mut keys = Vec::new();
    for item in items {
        let Some(words) = as_text(item) else {
            fields.wrong("untag", item, "a key of tags", "\"region\"");
            continue;
        };
        keys.extend(fields.read(words, |text| match is_word(text) {
            true => Ok(text.to_owned()),
            false => Err(Complaint::new(
                format!("`{}` is not a key of tags in {}", cut(text), fields.subject),
                "write for example \"region\"",
            )),
        }));
    }
    Some(keys)
}
