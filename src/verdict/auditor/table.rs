//! The server's rules by name, with the invariants of protocol section 9 that they hold.

use crate::verdict::rules::Rule;

/// The server's rules, in the order of findings.
pub static SERVER_RULES: [Rule; 10] = [
    rule(
        9,
        "results-in-any-encoding",
        "a report of the open attempt leads to the state of section 10, however it is encoded",
    ),
    rule(
        10,
        "manifest-within-limits",
        "a manifest has 1 to 32 artifacts, at most one main, and fits what a device can receive",
    ),
    rule(
        11,
        "slugs-name-one-artifact",
        "the slugs of a manifest are unique, not empty, and hold no `/`",
    ),
    rule(
        44,
        "subscribe-brings-the-manifest",
        "a subscription is answered with the manifest of the open attempt; with none open, by nothing",
    ),
    rule(
        45,
        "subscribe-again-alike",
        "a repeated subscription on one connection is answered like the first",
    ),
    rule(46, "own-messages-only", "a device is sent messages of its own attempts alone"),
    rule(
        47,
        "missing-results-are-asked-for",
        "while results of an online device are missing, the server does not fall silent",
    ),
    rule(
        48,
        "late-results-change-nothing",
        "results that are late, repeated, unknown or contradictory change no state",
    ),
    rule(
        49,
        "one-attempt-at-a-time",
        "a device has one attempt in progress, with ids that grow and are never used again",
    ),
    rule(
        50,
        "early-only-for-cause",
        "an open attempt is superseded only if its deployment holds no longer for the device, and is closed first",
    ),
];

/// Invariant 57, which is about answers to image requests.
pub static SECRETS_OPEN_IMAGES: Rule = rule(
    57,
    "secrets-open-images",
    "the right secret gives the image, the same each time; a wrong one or none gives 401 or 403",
);

const fn rule(number: u8, name: &'static str, statement: &'static str) -> Rule {
    let protocol: &'static [u8] = match number {
        9 => &[9],
        10 => &[10],
        11 => &[11],
        44 => &[44],
        45 => &[45],
        46 => &[46],
        47 => &[47],
        48 => &[48],
        49 => &[49],
        50 => &[50],
        _ => &[57],
    };
    Rule {
        name,
        statement,
        protocol,
    }
}

/// All of them, in the order of findings.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    SERVER_RULES.iter().chain([&SECRETS_OPEN_IMAGES])
}

/// The server's rule of this name.
pub fn server_rule(name: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.name == name)
}
