//! Firmware versions, as fleets and steps name them.

use crate::model::{FirmwareVersion, is_word};

use super::super::document::{Node, Value};
use super::super::fields::{Complaint, Fields, Written, as_text, show};

/// `SLUG@VERSION` or a list of them; a slug may stand once.
pub(super) fn read_packages(fields: &Fields<'_>, key: &str) -> Vec<Written<FirmwareVersion>> {
    let Some(node) = fields.node(key) else { return Vec::new() };
    let items: &[Node] = match &node.value {
        Value::Array(items) => items,
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Table(_) => {
            std::slice::from_ref(node)
        }
    };
    if items.is_empty() {
        let message = format!("`{key}` of {} is empty", fields.subject);
        fields.problems.add(node.at, message, "write for example \"app@1.0.0\"");
    }
    let mut packages: Vec<Written<FirmwareVersion>> = Vec::new();
    for item in items {
        let Some(words) = as_text(item) else {
            fields.wrong(key, item, "a firmware version", "\"app@1.0.0\"");
            continue;
        };
        let version = fields.read(words, |text| {
            let form = text
                .split_once('@')
                .is_some_and(|(slug, version)| is_word(slug) && is_word(version));
            text.parse::<FirmwareVersion>().ok().filter(|_| form).ok_or_else(|| {
                Complaint::new(
                    format!("`{key}` of {} is not a firmware version", fields.subject),
                    format!("found {}: write SLUG@VERSION, for example \"app@1.0.0\"", show(item)),
                )
            })
        });
        let Some(version) = version else { continue };
        if packages.iter().any(|earlier| earlier.value.slug == version.value.slug) {
            let message = format!(
                "firmware `{}` stands twice in `{key}` of {}",
                version.value.slug, fields.subject
            );
            fields
                .problems
                .add(version.at, message, "one version of each: leave one of them out");
        }
        packages.push(version);
    }
    packages
}
