//! Environment and flags, laid over the document before it is read; and secrets, taken out of it before anything can show them.

use std::collections::BTreeMap;

use super::deal::quotas;
use super::document::{self, Node, Place, Texts, Value};
use super::error::{Problems, ScenarioErrors};
use super::file::{MOST_DEVICES, ScenarioFile, is_literal};
use super::source::Overrides;

/// Lays environment and flags over the document, each over the one before; gives what was changed, by dotted key.
pub(super) fn apply(root: &mut Node, texts: &mut Texts, overrides: &Overrides, problems: &Problems) -> BTreeMap<String, String> {
    let mut changed = BTreeMap::new();
    if let Some(seed) = &overrides.environment_seed {
        let number = texts.add("environment", format!("SQUALL_SEED={seed}"), false);
        document::put(root, texts, number, &["scenario", "seed"], "SQUALL_SEED=".len(), problems);
        changed.insert("scenario.seed".to_owned(), seed.clone());
    }
    for set in &overrides.set {
        let number = texts.add("--set", set.as_str(), false);
        if let Some((key, value)) = document::set(root, texts, number, problems) {
            let shown = if is_secret(&key) { "***".to_owned() } else { value };
            changed.insert(key.join("."), shown);
        }
    }
    if let Some(seed) = overrides.seed {
        let number = texts.add("--seed", seed.to_string(), false);
        document::put(root, texts, number, &["scenario", "seed"], 0, problems);
        changed.insert("scenario.seed".to_owned(), seed.to_string());
    }
    if let Some(duration) = &overrides.duration {
        let number = texts.add("--duration", duration.as_str(), false);
        document::put(root, texts, number, &["scenario", "duration"], 0, problems);
        changed.insert("scenario.duration".to_owned(), duration.clone());
    }
    if let Some(devices) = overrides.devices {
        changed.insert("devices".to_owned(), devices.to_string());
    }
    changed
}

/// Makes the fleets `devices` in all, in their proportions, each with one at least.
pub(super) fn scale(file: &mut ScenarioFile, devices: u64) -> Result<(), ScenarioErrors> {
    let fleets = file.fleets.len() as u64;
    if devices < fleets.max(1) || devices > MOST_DEVICES {
        let hint = format!(
            "write {} to {}: every fleet keeps a device",
            fleets.max(1),
            crate::model::show_count(MOST_DEVICES)
        );
        return Err(ScenarioErrors::whole(
            &format!("-d {devices}"),
            "the number of devices is out of range",
            Some(hint),
        ));
    }
    let counts: Vec<u64> = file.fleets.iter().map(|fleet| fleet.count).collect();
    let mut scaled = quotas(&counts, devices);
    while let Some(empty) = scaled.iter().position(|&count| count == 0) {
        let largest = (0..scaled.len()).max_by_key(|&position| scaled[position]).unwrap_or(empty);
        if scaled[largest] < 2 {
            break;
        }
        scaled[largest] -= 1;
        scaled[empty] += 1;
    }
    for (fleet, count) in file.fleets.iter_mut().zip(scaled) {
        fleet.count = count;
    }
    Ok(())
}

/// Replaces the values of keys that hold secrets, and has their places masked wherever the text is shown.
pub(super) fn mask(node: &mut Node, path: &mut Vec<String>, texts: &mut Texts) {
    match &mut node.value {
        Value::Text(words) if is_secret(path) && !words.text.starts_with("env:") => {
            let Place { text, .. } = words.inner;
            texts.0[text].masked.push(words.inner.start..words.inner.end);
            // The server's `key` may be a path, which is followed and still not shown: nobody knows what people write there.
            if path.as_slice() != ["server", "key"] || is_literal(&words.text) {
                words.text = "***".to_owned();
                words.plain = false;
            }
        }
        Value::Table(table) => {
            for entry in &mut table.0 {
                path.push(entry.key.clone());
                mask(&mut entry.node, path, texts);
                path.pop();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, path, texts)),
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime => {}
    }
}

/// Keys whose values are secrets, by whatever name people give them; the key of a certificate is a file.
fn is_secret(path: &[String]) -> bool {
    const SECRETS: &[&str] = &[
        "key",
        "password",
        "passwd",
        "secret",
        "token",
        "ingest_key",
        "api_key",
        "apikey",
    ];
    let in_tls = path.iter().any(|key| key == "tls");
    let within_tags = path.iter().any(|key| key == "tags" || key == "tag");
    path.last().is_some_and(|key| SECRETS.contains(&key.to_lowercase().as_str())) && !in_tls && !within_tags
}
