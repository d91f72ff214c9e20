//! The language as a JSON Schema, for editors that complete and check TOML. It knows keys, forms of values and words; whether names fit
//! together is said by `squall check`.

use serde_json::{Map, Value, json};

use super::fields::{Keys, Need};
use super::file::TABLES;

/// Identifies the schema.
const SCENARIO_SCHEMA: &str = "squall.scenario/1";

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Count,
    Factor,
    Bool,
    /// A number with a unit: `30s`, `64 KiB`, `5 %`.
    Quantity,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One text, or a list of them.
    Texts,
    /// One outcome, or a table of outcomes with their shares.
    Shares,
    /// A table of tags; each has a value, or shares of values.
    Tags,
    /// A table with these keys.
    Table(&'static str),
    /// A text, or a table with these keys.
    TextOr(&'static str),
    /// `false`, or a text.
    FalseOr,
    /// A table of shares or counts by kind.
    Kinds,
    /// A time, or a table of times by rate.
    ByRate,
}

use Form::{Bool, ByRate, Count, Factor, FalseOr, Kinds, Quantity, Shares, Table, Tags, Text, TextOr, Texts, Word};

/// A key, its form and its meaning.
type Meaning = (&'static str, Form, &'static str);

/// Each key of each table.
const MEANINGS: &[(&str, &[Meaning])] = &[
    (
        "scenario",
        &[
            ("name", Text, "shown everywhere; by default the file's name"),
            ("description", Text, "what it is for"),
            ("seed", Count, "source of all luck; 1 by default"),
            ("duration", Quantity, "steps and faults happen within it"),
            (
                "settle",
                Text,
                "how long the fleet may take to come to rest: auto, off or a time",
            ),
            ("language", Count, "version of the language: 1"),
            (
                "trace",
                Word(&["auto", "on", "off"]),
                "whether a trace is written; auto: up to 10,000 devices",
            ),
            ("ends", Word(&["settled", "duration"]), "when the run ends"),
            ("warmup", Quantity, "times leave out what happens before"),
        ],
    ),
    (
        "server",
        &[
            ("target", Text, "the server under test: embedded, or mqtts://host:port"),
            ("key", Text, "password of an external server: env:NAME or a file"),
            ("ca", Text, "authority of an external server: env:NAME or a file"),
            ("cert", Text, "client certificate: env:NAME or a file"),
            ("cert_key", Text, "its key: env:NAME or a file"),
            ("insecure", Bool, "believes any certificate"),
            ("admin", Text, "who carries out steps on an external server"),
            ("listen", Text, "address of the embedded server"),
            ("tls", TextOr("tls"), "auto, off, or files"),
            (
                "store",
                Word(&["memory", "disk"]),
                "where the embedded server keeps its state",
            ),
            ("chase", Quantity, "missing results are asked for after this long"),
            (
                "delay",
                ByRate,
                "service time of a message, or one for each load: { \"0/s\" = \"1ms\", \"200/s\" = \"20ms\" }",
            ),
            (
                "deadline",
                Text,
                "an attempt without an end by then is closed: a time, or off",
            ),
            ("limits", Table("limits"), "what the embedded server refuses beyond"),
            ("first_attempt", Count, "id of the first attempt; 1 by default"),
            (
                "defect",
                Text,
                "a bug planted in the embedded server, to see it found, or none",
            ),
        ],
    ),
    (
        "limits",
        &[
            ("connections", Count, "connections at once"),
            ("connects", Text, "new connections: 500/s"),
            ("downloads", Count, "downloads at once"),
            ("egress", Text, "bytes of images: 100 Mbit/s"),
            ("offers", Text, "new attempts: 6/s"),
        ],
    ),
    (
        "tls",
        &[("cert", Text, "certificate chain, PEM"), ("key", Text, "its key, PEM")],
    ),
    (
        "version",
        &[
            ("size", Text, "size of a generated image, 64 KiB by default, or preset:NAME"),
            ("pattern", Word(&["random", "zeros", "counter"]), "what fills it"),
            ("file", Text, "a real MCUboot image instead"),
            (
                "boot",
                Shares,
                "what it does on a device, as main image: confirm after T, crash after T, hang, …",
            ),
            (
                "install",
                Shares,
                "what its handler does, as another package: succeed after T, fail after T, …",
            ),
            ("flaw", Text, "what is wrong with the image"),
            ("fits", Text, "which hardware it is made for: tag.model:7i; all by default"),
            ("elsewhere", Text, "what it does on other hardware; hang by default"),
            ("counter", Count, "its security counter; 0 by default"),
        ],
    ),
    (
        "fleet",
        &[
            ("count", Count, "how many devices"),
            ("id", Text, "pattern of their ids: {fleet}-{n:05}"),
            ("tags", Tags, "tags, each with a value or shares of values"),
            ("runs", Texts, "what is installed at the start; the first is the main image"),
            (
                "arrive",
                Text,
                "when they first get power: at once, 200/s, over 30s, poisson 20/s, diurnal over 24h peak 18h, … from T",
            ),
            ("link", Text, "profile, or a link of this file"),
            (
                "reconnect",
                Text,
                "back-off of the connection: T, T..T with half, full or fixed, or preset:NAME",
            ),
            ("retry", Text, "back-off of a download, as of the connection"),
            ("connack_timeout", Quantity, "how long a connection may take"),
            ("flash", TextOr("flash"), "chip, or its geometry"),
            (
                "trusts",
                Text,
                "public key, PEM, that its bootloader trusts; by default that of the images made for the run",
            ),
            ("power", Text, "always, or awake T every T"),
            ("sdk", Word(&["newest", "0.9.0", "fota"]), "generation of the device SDK"),
            ("quirks", Table("quirks"), "what the device SDK does otherwise than it says"),
            ("defect", Text, "a bug planted in its devices, to see it found, or none"),
            ("max_artifacts", Count, "most artifacts of a manifest, 1 to 32"),
            ("heartbeat", Text, "how often it tells its uptime, or off"),
            ("cheats", Kinds, "devices that lie, by kind"),
            ("checks_fit", Bool, "looks whether an image fits it before it erases anything"),
            (
                "rollback_lock",
                Word(&["off", "confirm", "start"]),
                "when the security counter rises, below which no image is started",
            ),
            (
                "absence",
                Text,
                "how much devices are away, when, and for good: 4 %, 4 % office, preset:NAME, each with `, lost 0.3 %`",
            ),
            (
                "engine",
                Word(&["simulated", "qemu"]),
                "simulated devices, or real images on emulated boards",
            ),
        ],
    ),
    (
        "quirks",
        &[
            (
                "close_is_success",
                Bool,
                "takes a clean close before the first byte for success",
            ),
            (
                "ignores_canceled_duplicate",
                Bool,
                "leaves a second manifest of a canceled attempt without an answer",
            ),
            (
                "forgets_packages_behind_main",
                Bool,
                "does not go on with packages that stand behind the main image",
            ),
        ],
    ),
    (
        "flash",
        &[
            ("like", Text, "chip to begin with"),
            ("size", Quantity, "size of the flash"),
            ("slot", Quantity, "size of a slot"),
            ("page", Quantity, "size of a page"),
            ("write", Quantity, "smallest write"),
            (
                "swap",
                Word(&["offset", "move", "scratch"]),
                "how MCUboot exchanges the images",
            ),
            ("time_scale", Factor, "factor of all times of the device"),
        ],
    ),
    (
        "link",
        &[
            ("like", Text, "profile to begin with"),
            ("latency", Text, "one way: T, T..T, or T p99 T"),
            ("down", Text, "bit rate to the device"),
            ("up", Text, "bit rate from it"),
            ("loss", Quantity, "share of packets"),
            ("drops", Text, "outages: every T for T..T, preset:NAME"),
            ("quota", Text, "SIZE/T"),
            ("join", Text, "time from power to network"),
        ],
    ),
    (
        "cohort",
        &[
            ("members", Text, "who is in it from the start, by hand"),
            ("where", Text, "who is in it, by tags, always followed"),
        ],
    ),
    (
        "step",
        &[
            ("name", Text, "its name"),
            ("at", Text, "when: a time, or step:NAME+T"),
            ("when", Text, "once a measure holds"),
            ("for", Quantity, "how long it must have held"),
            ("late", Quantity, "how long after that it happens"),
            ("min_count", Count, "fewest devices that a share counts over"),
            ("deploy", Texts, "SLUG@VERSION, or several in the order of the manifest"),
            ("to", Text, "cohort"),
            ("main", FalseOr, "which package is the main image, or false"),
            ("cancel", Text, "steps to withdraw"),
            ("pause", Text, "steps that offer no new attempts"),
            ("resume", Text, "steps that offer again"),
            ("retry", Text, "steps whose failed devices get a new attempt"),
            ("join", Text, "who joins a cohort"),
            ("leave", Text, "who leaves a cohort"),
            ("from", Text, "cohort that is left"),
            ("tag", Tags, "tags that are set"),
            ("untag", Texts, "tags that are removed"),
            ("who", Text, "who is concerned"),
        ],
    ),
    (
        "fault",
        &[
            ("inject", Text, "kind: power-cut, reset, link-down, http 503, lose, …"),
            ("who", Text, "whom it strikes"),
            ("name", Text, "its name"),
            ("at", Text, "moment: a time, a phase, downloading P %, flash N, flash any, …"),
            ("for", Text, "how long: a time or a range"),
            ("every", Quantity, "comes again after this long"),
            ("times", Count, "how often"),
            ("chance", Quantity, "probability for a message, request or flash operation"),
            ("only", Text, "one type of message, SLUG@VERSION, or message N"),
        ],
    ),
    (
        "expect",
        &[
            ("that", Text, "measure with a limit, or preset:NAME"),
            ("at", Text, "when it is judged: end, always, a time, step:NAME+T"),
            ("name", Text, "its name"),
            ("abort_on_fail", Bool, "ends the run at the first failure"),
            ("after", Quantity, "not before"),
            ("mode", Word(&["both", "run", "sim"]), "where it is judged"),
        ],
    ),
    (
        "qemu",
        &[
            ("binary", Text, "program; qemu-system-arm by default"),
            ("machine", Text, "board; microbit by default"),
            ("bootloader", Text, "file; built in by default"),
            ("parallel", Count, "boards that may be starting at once"),
            ("boot_timeout", Quantity, "a board that has not started by then has failed"),
        ],
    ),
];

/// The JSON Schema of a scenario file, for `squall schema scenario`.
pub fn scenario_schema() -> String {
    let definitions: Map<String, Value> = TABLES
        .iter()
        .map(|(name, keys)| ((*name).to_owned(), table(name, keys)))
        .collect();
    let noun = |name: &str| json!({ "type": "object", "additionalProperties": reference(name) });
    let rows = |row: Value| json!({ "type": "array", "items": row });
    let versions = json!({ "oneOf": [texts(), { "type": "object", "additionalProperties": reference("version") }] });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCENARIO_SCHEMA,
        "title": "A scenario of Squall",
        "type": "object",
        "additionalProperties": false,
        "required": ["scenario", "fleet"],
        "properties": {
            "scenario": reference("scenario"),
            "server": reference("server"),
            "firmware": { "type": "object", "additionalProperties": versions },
            "fleet": noun("fleet"),
            "link": noun("link"),
            "cohort": noun("cohort"),
            "step": rows(reference("step")),
            "fault": rows(reference("fault")),
            "expect": rows(json!({ "oneOf": [{ "type": "string" }, reference("expect")] })),
            "qemu": reference("qemu"),
        },
        "$defs": definitions,
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn table(name: &str, keys: Keys) -> Value {
    let meanings = MEANINGS
        .iter()
        .find(|(table, _)| *table == name)
        .map_or(&[][..], |(_, meanings)| meanings);
    let property = |(key, _): &(&str, Need)| {
        let (_, form, meaning) = meanings.iter().find(|(other, _, _)| other == key)?;
        let mut schema = schema_of(*form);
        schema["description"] = (*meaning).into();
        Some(((*key).to_owned(), schema))
    };
    let properties: Map<String, Value> = keys.iter().filter_map(property).collect();
    let required: Vec<_> = keys
        .iter()
        .filter(|(_, need)| *need == Need::Required)
        .map(|(key, _)| *key)
        .collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn schema_of(form: Form) -> Value {
    let text = || json!({ "type": "string" });
    let shares = || {
        let parts = json!({ "type": "object", "additionalProperties": text() });
        json!({ "oneOf": [text(), texts(), parts] })
    };
    match form {
        Text => text(),
        Count => json!({ "type": "integer", "minimum": 0 }),
        Factor => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Bool => json!({ "type": "boolean" }),
        Quantity => json!({ "type": "string", "pattern": "^[0-9]" }),
        Word(words) => json!({ "enum": words }),
        Texts => json!({ "oneOf": [text(), texts()] }),
        Shares => shares(),
        Tags => json!({ "type": "object", "additionalProperties": shares() }),
        Table(name) => reference(name),
        TextOr(name) => json!({ "oneOf": [text(), reference(name)] }),
        FalseOr => json!({ "oneOf": [text(), { "const": false }] }),
        ByRate => json!({ "oneOf": [text(), { "type": "object", "additionalProperties": text() }] }),
        Kinds => json!({ "type": "object", "additionalProperties": { "type": ["string", "integer"] } }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_of_the_language_has_a_form_and_a_meaning() {
        for (name, keys) in TABLES {
            let (_, meanings) = MEANINGS.iter().find(|(table, _)| *table == name).expect(name);
            let known: BTreeSet<_> = keys.iter().map(|(key, _)| *key).collect();
            let described: BTreeSet<_> = meanings.iter().map(|(key, _, _)| *key).collect();
            assert_eq!(known, described, "table `{name}`");
        }
    }
}
