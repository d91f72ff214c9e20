//! The printed schemas against what squall reads and writes.

use serde_json::Value;

use super::{squall, text};

fn schema(name: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let printed = squall(folder.path(), &["schema", name]);
    serde_json::from_slice(&printed.stdout).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What of `value` does not fit `part` of a schema; the words of JSON Schema that squall's own use.
fn misfit(root: &Value, part: &Value, value: &Value, place: &str) -> Option<String> {
    if let Some(reference) = part["$ref"].as_str() {
        let part = root.pointer(reference.trim_start_matches('#')).expect(reference);
        return misfit(root, part, value, place);
    }
    if let Some(choices) = part["oneOf"].as_array() {
        let misfits: Vec<_> = choices.iter().map(|choice| misfit(root, choice, value, place)).collect();
        let fits = misfits.iter().filter(|misfit| misfit.is_none()).count();
        return (fits != 1).then(|| format!("{place}: {fits} choices fit {value}: {misfits:?}"));
    }
    if let Some(words) = part["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("{place}: {value} is none of {words:?}"));
    }
    if part.get("const").is_some() {
        return (part["const"] != *value).then(|| format!("{place}: {value}"));
    }
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{place}: type {other}"),
    };
    let kinds = part["type"].as_array().cloned().unwrap_or_else(|| vec![part["type"].clone()]);
    if !kinds.iter().any(|kind| is(kind.as_str().expect("a type is a word"))) {
        return Some(format!("{place}: {value} is not {kinds:?}"));
    }
    let items = value.as_array().into_iter().flatten();
    let of_items = items
        .enumerate()
        .find_map(|(at, item)| misfit(root, &part["items"], item, &format!("{place}[{at}]")));
    let Some(fields) = value.as_object() else {
        return of_items;
    };
    let mut required = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.find(|key| !fields.contains_key(*key)) {
        return Some(format!("{place}: {missing} is missing"));
    }
    fields.iter().find_map(|(key, field)| {
        let place = format!("{place}.{key}");
        match part["properties"].get(key).or_else(|| part.get("additionalProperties")) {
            Some(Value::Bool(false)) => Some(format!("{place} is unknown")),
            Some(known) => misfit(root, known, field, &place),
            None => None,
        }
    })
}

#[test]
fn every_built_in_scenario_fits_the_printed_schema_and_a_slip_of_the_pen_does_not() {
    let schema = schema("scenario");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut fitted = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|suffix| suffix == "toml") {
            let scenario: Value = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(misfit(&schema, &schema, &scenario, &path.display().to_string()), None);
            fitted += 1;
        }
    }
    assert!(fitted >= 7, "{fitted}");
    let slip: Value = toml::from_str("scenario = { duration = \"9s\" }\nfleet.demo = { count = 2, rnus = \"a@1.0.0\" }").unwrap();
    assert!(misfit(&schema, &schema, &slip, "slip").is_some());
}

#[test]
fn every_line_of_a_trace_fits_the_printed_schema() {
    let schema = schema("trace");
    let folder = tempfile::tempdir().unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for name in ["multi-package", "power-cuts"] {
        let played = squall(folder.path(), &["sim", "-q", name, "-d", "40"]);
        assert!(
            [0, 99].contains(&played.status.code().unwrap()),
            "{name}: {}",
            text(&played.stdout)
        );
        let trace = std::fs::File::open(folder.path().join("runs/latest/trace.ndjson.zst")).unwrap();
        let trace = String::from_utf8(zstd::decode_all(trace).unwrap()).unwrap();
        for line in trace.lines() {
            let happened: Value = serde_json::from_str(line).unwrap();
            assert_eq!(misfit(&schema, &schema, &happened, "line"), None, "{line}");
            kinds.insert(happened["what"].to_string());
        }
    }
    assert!(kinds.len() >= 15, "{kinds:?}");
}
