//! A line of `trace.ndjson` as a JSON Schema.

use serde_json::{Map, Value, json};

use crate::model::{AttemptResult, BootReason, Cause, ConnectResult, Phase, RetryReason, StateReason, UpdateState};

use super::happening::FaultCame;

/// Identifies the schema.
const TRACE_SCHEMA: &str = "squall.trace/1";

/// Every kind of line with the fields it has beside `t`, `device` and `what`; a transition has no `what`.
const KINDS: &[(&str, &[&str])] = &[
    ("", &["from", "to", "cause", "attempt", "reason"]),
    ("power-lost", &[]),
    ("offline", &[]),
    ("connect", &["result", "wanted_at"]),
    ("boot", &["image", "confirmed", "why"]),
    ("confirmed", &[]),
    ("unbootable", &[]),
    ("rolled-back", &[]),
    ("upgrade-requested", &[]),
    ("manifest", &["attempt"]),
    ("handler", &["attempt", "index", "image"]),
    ("request", &["offset"]),
    ("answer", &["status", "ranged", "length"]),
    ("retry", &["why", "until", "received"]),
    ("download-lost", &["received", "total"]),
    ("stored", &["record", "bytes"]),
    ("deleted", &["record"]),
    ("installed", &["image"]),
    ("ended", &["attempt", "result", "reason"]),
    ("published", &["attempt", "complete"]),
    ("misused", &["how"]),
    ("fault", &["fault", "kind", "came", "how"]),
    ("state", &["attempt", "deployment", "was", "is", "why"]),
    ("offered-again", &["attempt"]),
];

/// The JSON Schema of a line of a trace, for `squall schema trace`.
pub fn trace_schema() -> String {
    let kinds: Vec<_> = KINDS.iter().map(|(what, fields)| kind(what, fields)).collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": TRACE_SCHEMA,
        "title": "A line of trace.ndjson",
        "oneOf": kinds,
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

fn kind(what: &str, fields: &[&str]) -> Value {
    let mut properties = Map::new();
    properties.insert("t".to_owned(), seconds("moment, seconds"));
    properties.insert("device".to_owned(), json!({ "type": "string" }));
    let mut required = vec!["t", "device"];
    if !what.is_empty() {
        properties.insert("what".to_owned(), json!({ "const": what }));
        required.push("what");
    }
    for field in fields {
        properties.insert((*field).to_owned(), form(what, field));
        required.push(field);
    }
    if fields.contains(&"reason") {
        let status = json!({ "type": "integer", "description": "HTTP status, where the reason is one" });
        properties.insert("status".to_owned(), status);
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn form(what: &str, field: &str) -> Value {
    let words = |words: Vec<&str>| json!({ "enum": words });
    match (what, field) {
        (_, "from" | "to") => words(Phase::ALL.iter().map(|phase| phase.word()).collect()),
        (_, "cause") => words(Cause::ALL.iter().map(|cause| cause.word()).collect()),
        ("", "attempt") | (_, "reason" | "how") if what != "misused" => json!({ "type": ["string", "null"] }),
        ("connect", "result") => words(ConnectResult::ALL.iter().map(|result| result.word()).collect()),
        ("ended", "result") => words(AttemptResult::ALL.iter().map(|result| result.word()).collect()),
        ("boot", "why") => words(BootReason::ALL.iter().map(|why| why.word()).collect()),
        ("retry", "why") => words(RetryReason::ALL.iter().map(|why| why.word()).collect()),
        ("state", "why") => words(StateReason::ALL.iter().map(|why| why.word()).collect()),
        (_, "was" | "is") => words(UpdateState::ALL.iter().map(|state| state.word()).collect()),
        (_, "came") => words(FaultCame::ALL.iter().map(|came| came.word()).collect()),
        (_, "wanted_at" | "until") => seconds("moment, seconds"),
        (_, "confirmed" | "ranged" | "complete") => json!({ "type": "boolean" }),
        (_, "length" | "total") => json!({ "type": ["integer", "null"], "minimum": 0 }),
        (_, "index" | "offset" | "status" | "received" | "bytes") => json!({ "type": "integer", "minimum": 0 }),
        _ => json!({ "type": "string" }),
    }
}

fn seconds(description: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "description": description })
}
