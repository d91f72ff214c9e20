//! `quirks` of a fleet: what the device SDK is known to do otherwise than it says, each on unless it is turned off.

use crate::device::Quirks;

use super::super::fields::Need::Optional;
use super::super::fields::{Fields, Keys};

const CLOSE: &str = "close_is_success";
const DUPLICATE: &str = "ignores_canceled_duplicate";
const BEHIND_MAIN: &str = "forgets_packages_behind_main";
pub(super) const QUIRKS: Keys = &[(CLOSE, Optional), (DUPLICATE, Optional), (BEHIND_MAIN, Optional)];

/// The quirks of the fleet that `fields` is of.
pub(super) fn read(fields: &Fields<'_>) -> Quirks {
    let usual = Quirks::default();
    let subject = format!("`quirks` of {}", fields.subject);
    let table = fields.node("quirks").and_then(|node| {
        let at = fields.key_at("quirks");
        Fields::new(subject, at, node, QUIRKS, fields.problems)
    });
    table.map_or(usual, |table| Quirks {
        close_is_success: table.boolean(CLOSE).unwrap_or(usual.close_is_success),
        ignores_canceled_duplicate: table.boolean(DUPLICATE).unwrap_or(usual.ignores_canceled_duplicate),
        forgets_packages_behind_main: table.boolean(BEHIND_MAIN).unwrap_or(usual.forgets_packages_behind_main),
    })
}

/// They as they stand in a file.
pub(in super::super) fn written(quirks: Quirks) -> String {
    let Quirks {
        close_is_success,
        ignores_canceled_duplicate,
        forgets_packages_behind_main,
    } = quirks;
    format!(
        "{{ {CLOSE} = {close_is_success}, {DUPLICATE} = {ignores_canceled_duplicate}, \
         {BEHIND_MAIN} = {forgets_packages_behind_main} }}"
    )
}
