//! Shares: one outcome, several in equal parts, or each with its part of the whole.

use crate::model::{Share, closest, parse_share};

use super::super::document::{Node, Place, Value, Words};
use super::super::error::Problems;
use super::super::fields::{Complaint, as_text, show};

/// Outcomes with their weights, in order of their texts, so that the order in the file means nothing.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Shares<T> {
    /// Text, outcome, weight; at least one, every weight above zero.
    pub parts: Vec<(String, T, u64)>,
    /// Whether the weights are parts per million of the whole; else each outcome weighs one.
    pub weighted: bool,
}

/// Most outcomes of one table of shares: what a device is dealt is kept in a byte.
const MOST: usize = 255;

impl<T: Clone> Shares<T> {
    /// The one outcome of all.
    pub fn one(text: impl Into<String>, outcome: T) -> Self {
        Shares {
            parts: vec![(text.into(), outcome, 1)],
            weighted: false,
        }
    }

    /// Reads a text, a list of texts, or a table text = share; `parse` reads one outcome and gives its canonical text.
    pub fn read(
        node: &Node,
        subject: &str,
        problems: &Problems,
        parse: impl Fn(&Words) -> Result<(String, T), Complaint>,
    ) -> Option<Self> {
        let one = |words: &Words| {
            parse(words)
                .map_err(|complaint| {
                    let at = complaint.at.map_or(words.inner, |range| words.part(range));
                    problems.add(at, complaint.message, complaint.hint.unwrap_or_default());
                })
                .ok()
        };
        let (mut parts, weighted) = match &node.value {
            Value::Text(words) => return one(words).map(|(text, outcome)| Shares::one(text, outcome)),
            Value::Array(items) => {
                let parts: Vec<_> = items
                    .iter()
                    .map(|item| match as_text(item) {
                        Some(words) => one(words).map(|(text, outcome)| (text, outcome, 1)),
                        None => {
                            problems.add(
                                item.at,
                                format!("{subject} is not a list of texts"),
                                format!("found {}", show(item)),
                            );
                            None
                        }
                    })
                    .collect();
                (parts, false)
            }
            Value::Table(table) => {
                let parts: Vec<_> = table
                    .0
                    .iter()
                    .map(|entry| {
                        let outcome = one(&key_words(&entry.key, entry.key_at));
                        let share = read_share(&entry.node, subject, problems);
                        outcome.zip(share).map(|((text, outcome), share)| (text, outcome, share.0))
                    })
                    .collect();
                (parts, true)
            }
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime => {
                let hint = format!("found {}: write a text, a list, or a table text = share", show(node));
                problems.add(node.at, format!("{subject} is neither one value nor shares"), hint);
                return None;
            }
        };
        if parts.is_empty() || parts.len() > MOST {
            let hint = format!("write 1 to {MOST} of them");
            problems.add(node.at, format!("{subject} has {} outcomes", parts.len()), hint);
            return None;
        }
        let written: Option<Vec<_>> = parts.drain(..).collect();
        let mut parts = written?;
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        let sum: u64 = parts.iter().map(|(_, _, weight)| weight).sum();
        if weighted && sum != Share::WHOLE.0 {
            let hint = "shares add up to 100 %; write a list for equal shares";
            problems.add(node.at, format!("the shares of {subject} add up to {}", Share(sum)), hint);
            return None;
        }
        parts.retain(|(_, _, weight)| *weight > 0);
        Some(Shares { parts, weighted })
    }
}

fn read_share(node: &Node, subject: &str, problems: &Problems) -> Option<Share> {
    let complain = |hint: String| {
        problems.add(node.at, format!("a share of {subject} is not a part of the whole"), hint);
    };
    match &node.value {
        Value::Text(words) => match parse_share(&words.text) {
            Ok(share) if share <= Share::WHOLE => return Some(share),
            Ok(share) => complain(format!("found {share}: write 0 % to 100 %")),
            Err(_) => complain(format!("found {}: write for example \"5 %\"", show(node))),
        },
        Value::Integer(_) | Value::Float(_) => complain(format!("found {}: write \"{} %\"", show(node), show(node))),
        Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => {
            complain(format!("found {}: write for example \"5 %\"", show(node)));
        }
    }
    None
}

/// A key as a text value; a quoted one is pointed at without its quotes.
fn key_words(key: &str, at: Place) -> Words {
    let quoted = at.end - at.start == key.len() + 2;
    let inner = if quoted {
        Place {
            start: at.start + 1,
            end: at.end - 1,
            ..at
        }
    } else {
        at
    };
    Words {
        text: key.to_owned(),
        inner,
        plain: inner.end - inner.start == key.len(),
    }
}

/// The word among `known` that `word` is, or what was probably meant.
pub(super) fn one_of<'k>(word: &str, known: &'k [&'k str], noun: &str, subject: &str) -> Result<&'k str, Complaint> {
    known.iter().copied().find(|candidate| *candidate == word).ok_or_else(|| {
        let hint = match closest(word, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write one of {}", known.join(", ")),
        };
        Complaint::new(
            format!("unknown {noun} `{}` in {subject}", super::super::fields::cut(word)),
            hint,
        )
    })
}
