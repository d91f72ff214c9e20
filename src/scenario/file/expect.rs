//! `[[expect]]`.

use std::time::Duration;

use crate::verdict::Modes;

use super::super::document::{Node, Place, Value};
use super::super::error::Problems;
use super::super::fields::Need::{Optional, Required};
use super::super::fields::{Fields, Keys, Written};
use super::shares::one_of;
use super::step::Asked;
use super::{Moment, check_name};

pub(super) const EXPECT: Keys = &[
    ("that", Required),
    ("at", Optional),
    ("name", Optional),
    ("abort_on_fail", Optional),
    ("after", Optional),
    ("mode", Optional),
];

/// An expectation; a bare text is its `that`.
#[derive(Clone, Debug)]
pub(in super::super) struct ExpectFile {
    pub name: Option<String>,
    /// `None` where it is missing or wrong.
    pub that: Option<Asked>,
    pub judged: JudgedFile,
    pub abort_on_fail: bool,
    pub after: Duration,
    pub modes: Modes,
}

/// When an expectation is judged.
#[derive(Clone, Debug)]
pub(in super::super) enum JudgedFile {
    End,
    Always,
    At(Written<Moment>),
}

impl ExpectFile {
    pub(super) fn read(position: usize, node: &Node, problems: &Problems) -> Option<ExpectFile> {
        let subject = format!("expectation {}", position + 1);
        let mut expect = ExpectFile {
            name: None,
            that: None,
            judged: JudgedFile::End,
            abort_on_fail: false,
            after: Duration::ZERO,
            modes: Modes::Both,
        };
        if let Value::Text(words) = &node.value {
            expect.that = Asked::of(words, &subject, problems);
            return Some(expect);
        }
        let start = Place {
            end: node.at.start + 1,
            ..node.at
        };
        let fields = Fields::new(subject, start, node, EXPECT, problems)?;
        expect.read_fields(&fields);
        Some(expect)
    }

    fn read_fields(&mut self, fields: &Fields<'_>) {
        self.that = Asked::read(fields, "that");
        if let Some(name) = fields.text("name", "\"quick-enough\"") {
            check_name(&name.text, name.inner, "expectation", fields.problems);
            self.name = Some(name.text.clone());
        }
        match fields.text("at", "\"end\"").map(|words| (words, words.text.as_str())) {
            None | Some((_, "end")) => {}
            Some((_, "always")) => self.judged = JudgedFile::Always,
            Some((words, _)) => {
                let moment = fields.read(words, |text| Moment::parse(text, "at", &fields.subject));
                self.judged = moment.map_or(JudgedFile::End, JudgedFile::At);
            }
        }
        self.abort_on_fail = fields.boolean("abort_on_fail").unwrap_or(false);
        self.after = fields.time("after").map_or(Duration::ZERO, |after| after.value);
        if fields.node("after").is_some() && !self.abort_on_fail {
            let message = format!("`after` of {} goes with `abort_on_fail` alone", fields.subject);
            fields
                .problems
                .add(fields.key_at("after"), message, "add abort_on_fail = true, or leave it out");
        }
        let mode = fields.parsed("mode", "\"both\"", |word| {
            one_of(word, &["both", "run", "sim"], "mode", &fields.subject)
        });
        self.modes = match mode.map(|mode| mode.value) {
            Some("run") => Modes::Run,
            Some("sim") => Modes::Sim,
            _ => Modes::Both,
        };
    }
}
