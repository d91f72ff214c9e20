//! Faults: described by the language, refused kind by kind until they are played.

use crate::model::closest;

use super::super::document::{Node, Value};
use super::super::error::Problems;
use super::super::fields::{as_text, cut, list, show};

/// Kinds of the contract; behind some stand arguments.
const KINDS: &[&str] = &[
    "power-cut",
    "reset",
    "freeze",
    "app-abort",
    "flash-fail",
    "flash-flip",
    "lose-record",
    "link-down",
    "link",
    "lose",
    "duplicate",
    "delay",
    "http",
    "corrupt",
    "truncate",
    "stall",
    "slow",
    "wrong-range",
    "redirect",
    "bad-tls",
    "crash",
    "outage",
    "disk-full",
];

/// Refuses every fault, naming its kind.
pub(super) fn refuse(node: &Node, problems: &Problems) {
    let Value::Array(rows) = &node.value else {
        let hint = format!("found {}: write `fault = [{{ … }}, …]` or `[[fault]]`", show(node));
        return problems.add(node.at, "`fault` is not a list of rows", hint);
    };
    for (position, row) in rows.iter().enumerate() {
        let inject = match &row.value {
            Value::Table(table) => table.entry("inject"),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) => None,
        };
        let Some(words) = inject.and_then(|entry| as_text(&entry.node)) else {
            let at = inject.map_or(row.at, |entry| entry.node.at);
            problems.add(
                at,
                format!("fault {} needs `inject`", position + 1),
                "write for example inject = \"power-cut\"",
            );
            continue;
        };
        let kind = words.text.split_whitespace().next().unwrap_or_default();
        if KINDS.contains(&kind) {
            problems.add(
                words.inner,
                format!("not supported yet: fault kind `{kind}`"),
                "leave the fault out",
            );
            continue;
        }
        let hint = match closest(kind, KINDS.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("kinds are {}", list(KINDS.iter().copied())),
        };
        problems.add(words.inner, format!("unknown fault kind `{}`", cut(kind)), hint);
    }
}
