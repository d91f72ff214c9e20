//! `[scenario]` and `[server]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::document::{Entry, Node, Place, Value, Words};
use super::super::error::Problems;
use super::super::fields::Need::{Optional, Required};
use super::super::fields::{Complaint, Fields, Keys, TIME, Written, as_text, cut, show, suggest};
use super::super::plan::{Ends, Settle};
use super::shares::one_of;
use super::target::{self, TargetFile};
use crate::model::{AttemptId, parse_duration, parse_event_rate};
use crate::server::{Defect, Limits, ServiceTime};

pub(super) const GENERAL: Keys = &[
    ("name", Optional),
    ("description", Optional),
    ("seed", Optional),
    ("duration", Required),
    ("settle", Optional),
    ("language", Optional),
    ("trace", Optional),
    ("ends", Optional),
    ("warmup", Optional),
];

/// `[scenario]`.
#[derive(Clone, Debug)]
pub(in super::super) struct General {
    pub name: Option<String>,
    pub description: Option<String>,
    pub seed: u64,
    pub duration: Option<Written<Duration>>,
    pub settle: Settle,
    pub trace: Trace,
    pub ends: Ends,
    pub warmup: Duration,
}

/// Whether transitions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Trace {
    Auto,
    On,
    Off,
}

impl General {
    pub(super) fn read(entry: Option<&Entry>, start: Place, problems: &Problems) -> General {
        let mut general = General {
            name: None,
            description: None,
            seed: 1,
            duration: None,
            settle: Settle::Auto,
            trace: Trace::Auto,
            ends: Ends::Settled,
            warmup: Duration::ZERO,
        };
        let Some(entry) = entry else {
            problems.add(
                start,
                "the scenario needs `duration`",
                "write for example `scenario = { duration = \"60s\" }`",
            );
            return general;
        };
        let Some(fields) = Fields::new("the scenario".into(), entry.key_at, &entry.node, GENERAL, problems) else {
            return general;
        };
        general.read_fields(&fields);
        general
    }

    fn read_fields(&mut self, fields: &Fields<'_>) {
        self.name = fields.text("name", "\"nightly\"").map(|words| words.text.clone());
        self.description = fields.text("description", "\"one update\"").map(|words| words.text.clone());
        self.duration = fields.time("duration");
        if let Some(duration) = self.duration.as_ref().filter(|duration| duration.value.is_zero()) {
            let hint = "steps and faults happen within it: write for example \"60s\"";
            fields.problems.add(duration.at, "`duration` of the scenario is zero", hint);
        }
        if let Some(seed) = fields.whole("seed", 0..=u64::MAX) {
            self.seed = seed.value;
        }
        if let Some(language) = fields.whole("language", 0..=u64::MAX).filter(|language| language.value != 1) {
            let message = format!("unknown language {}", language.value);
            fields.problems.add(language.at, message, "this version speaks language 1");
        }
        let settle = |text: &str| match text {
            "auto" => Ok(Settle::Auto),
            "off" => Ok(Settle::Off),
            _ => parse_duration(text).map(Settle::For).map_err(|error| {
                let complaint = fields.not_a_quantity("settle", TIME, error);
                Complaint {
                    hint: complaint.hint.map(|hint| format!("{hint}; or `auto`, or `off`")),
                    ..complaint
                }
            }),
        };
        if let Some(words) = fields.with_unit("settle", TIME) {
            self.settle = fields.read(words, settle).map_or(Settle::Auto, |settle| settle.value);
        }
        let trace = fields.parsed("trace", "\"on\"", |word| {
            one_of(word, &["auto", "on", "off"], "value", "`trace` of the scenario")
        });
        self.trace = match trace.map(|trace| trace.value) {
            Some("on") => Trace::On,
            Some("off") => Trace::Off,
            _ => Trace::Auto,
        };
        let ends = fields.parsed("ends", "\"settled\"", |word| {
            one_of(word, &["settled", "duration"], "value", "`ends` of the scenario")
        });
        self.ends = match ends.map(|ends| ends.value) {
            Some("duration") => Ends::Duration,
            _ => Ends::Settled,
        };
        self.warmup = fields.time("warmup").map_or(Duration::ZERO, |warmup| warmup.value);
    }
}

pub(super) const SERVER: Keys = &[
    ("target", Optional),
    ("key", Optional),
    ("ca", Optional),
    ("cert", Optional),
    ("cert_key", Optional),
    ("insecure", Optional),
    ("admin", Optional),
    ("listen", Optional),
    ("tls", Optional),
    ("store", Optional),
    ("chase", Optional),
    ("delay", Optional),
    ("deadline", Optional),
    ("limits", Optional),
    ("first_attempt", Optional),
    ("defect", Optional),
];

/// `[server]`.
#[derive(Clone, Debug)]
pub(in super::super) struct ServerFile {
    /// The server that is there already; the rest is the embedded one's.
    pub target: Option<TargetFile>,
    pub listen: SocketAddr,
    pub tls: TlsFile,
    pub chase: Duration,
    pub limits: Limits,
    pub on_disk: bool,
    pub delay: ServiceTime,
    pub deadline: Option<Duration>,
    /// Id of the first attempt.
    pub first_attempt: AttemptId,
    /// A bug planted in the embedded server.
    pub defect: Option<Written<Defect>>,
}

/// `tls` of `[server]`: files as they are written, relative to the scenario.
#[derive(Clone, Debug)]
pub(in super::super) enum TlsFile {
    Auto,
    Off,
    Files { cert: Words, key: Words },
}

impl ServerFile {
    pub(super) fn read(entry: Option<&Entry>, problems: &Problems) -> ServerFile {
        let mut server = ServerFile {
            target: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: TlsFile::Auto,
            chase: Duration::from_secs(30),
            limits: Limits::open(),
            on_disk: false,
            delay: ServiceTime::default(),
            deadline: None,
            first_attempt: AttemptId::FIRST,
            defect: None,
        };
        let Some(entry) = entry else { return server };
        let Some(fields) = Fields::new("the server".into(), entry.key_at, &entry.node, SERVER, problems) else {
            return server;
        };
        server.target = target::read(&fields, problems);
        let store = fields.parsed("store", "\"memory\"", |store| {
            one_of(store, &["memory", "disk"], "store", "the server")
        });
        server.on_disk = store.is_some_and(|store| store.value == "disk");
        let listen = fields.parsed("listen", "\"127.0.0.1:0\"", |text| {
            text.parse::<SocketAddr>().map_err(|_| {
                let hint = "write address and port, for example \"127.0.0.1:0\"; port 0 takes a free one";
                Complaint::new("`listen` of the server is not an address", hint)
            })
        });
        if let Some(listen) = listen {
            server.listen = listen.value;
        }
        if let Some(chase) = fields.time("chase") {
            server.chase = chase.value;
        }
        if let Some(delay) = read_delay(&fields) {
            server.delay = delay;
        }
        let first = fields.whole("first_attempt", 1..=u64::MAX);
        if let Some(first) = first.and_then(|first| AttemptId::new(first.value)) {
            server.first_attempt = first;
        }
        server.deadline = read_deadline(&fields);
        server.defect = read_defect(&fields, Defect::from_word, Defect::ALL.iter().map(|defect| defect.word()));
        if let Some(limits) = fields.node("limits") {
            server.limits = read_limits(limits, &fields);
        }
        if let Some(tls) = fields.node("tls").and_then(|node| read_tls(node, &fields)) {
            server.tls = tls;
        }
        if let Some(target) = &server.target {
            server.heed(target.address.value.scheme == "mqtts");
        }
        server
    }
}

impl ServerFile {
    /// An external server has its own settings: what the embedded one would be told goes back to its defaults, but for whether the
    /// connections of devices are encrypted.
    fn heed(&mut self, encrypted: bool) {
        self.tls = if encrypted { TlsFile::Auto } else { TlsFile::Off };
        self.limits = Limits::open();
        (self.on_disk, self.delay, self.deadline) = (false, ServiceTime::default(), None);
        self.defect = None;
    }
}

/// A time, or a table of times by the messages that come in a second.
fn read_delay(fields: &Fields<'_>) -> Option<ServiceTime> {
    let node = fields.node("delay")?;
    let Value::Table(table) = &node.value else {
        return fields.time("delay").map(|delay| ServiceTime::constant(delay.value));
    };
    let mut steps = Vec::new();
    for entry in &table.0 {
        let rate = parse_event_rate(&entry.key);
        let time = as_text(&entry.node).and_then(|words| parse_duration(&words.text).ok());
        if let (Ok(rate), Some(time)) = (&rate, time) {
            steps.push((*rate, time));
            continue;
        }
        let message = format!(
            "`{}` of `delay` of the server is no load with its service time",
            cut(&entry.key)
        );
        let at = if rate.is_err() { entry.key_at } else { entry.node.at };
        fields.problems.add(at, message, "write for example \"200/s\" = \"20ms\"");
    }
    let complete = steps.len() == table.0.len();
    match ServiceTime::curve(steps) {
        Ok(curve) => Some(curve),
        Err(hint) if complete => {
            fields
                .problems
                .add(node.at, "`delay` of the server does not say what an idle server takes", hint);
            None
        }
        Err(_) => None,
    }
}

/// A time, or `off`.
fn read_deadline(fields: &Fields<'_>) -> Option<Duration> {
    let words = fields.with_unit("deadline", TIME)?;
    let read = |text: &str| match text {
        "off" => Ok(None),
        _ => match parse_duration(text) {
            Ok(time) if time.is_zero() => Err(Complaint::new(
                "`deadline` of the server is zero",
                "write for example \"10m\", or \"off\"",
            )),
            Ok(time) => Ok(Some(time)),
            Err(error) => {
                let complaint = fields.not_a_quantity("deadline", TIME, error);
                Err(Complaint {
                    hint: complaint.hint.map(|hint| format!("{hint}; or `off`")),
                    ..complaint
                })
            }
        },
    };
    fields.read(words, read).and_then(|deadline| deadline.value)
}

/// A bug by its name, or `none`; of `words` one is meant where there is no such name.
pub(super) fn read_defect<'w, D>(
    fields: &Fields<'_>,
    of: impl Fn(&str) -> Option<D>,
    words: impl Iterator<Item = &'w str> + Clone,
) -> Option<Written<D>> {
    let example = words.clone().next().unwrap_or_default();
    let read = fields.parsed("defect", &format!("\"{example}\""), |word| match of(word) {
        Some(defect) => Ok(Some(defect)),
        None if word == "none" => Ok(None),
        None => Err(Complaint::new(
            format!("unknown defect `{}` of {}", cut(word), fields.subject),
            suggest(word, words.clone(), "defects"),
        )),
    })?;
    Some(Written {
        value: read.value?,
        at: read.at,
    })
}

pub(super) const LIMITS: Keys = &[
    ("connections", Optional),
    ("connects", Optional),
    ("downloads", Optional),
    ("egress", Optional),
    ("offers", Optional),
];

/// `limits` of `[server]`.
fn read_limits(node: &Node, fields: &Fields<'_>) -> Limits {
    let mut limits = Limits::open();
    let subject = "`limits` of the server".to_owned();
    let Some(fields) = Fields::new(subject, fields.key_at("limits"), node, LIMITS, fields.problems) else {
        return limits;
    };
    let whole = |key| fields.whole(key, 1..=u64::from(u32::MAX)).map(|count| count.value);
    limits.connections = whole("connections");
    limits.downloads = whole("downloads");
    limits.connects = fields.event_rate("connects").map(|rate| rate.value);
    limits.offers = fields.event_rate("offers").map(|rate| rate.value);
    limits.egress = fields.data_rate("egress").map(|bits| bits.value);
    limits
}

pub(super) const TLS: Keys = &[("cert", Required), ("key", Required)];

fn read_tls(node: &Node, fields: &Fields<'_>) -> Option<TlsFile> {
    match &node.value {
        Value::Text(words) => match words.text.as_str() {
            "auto" => Some(TlsFile::Auto),
            "off" => Some(TlsFile::Off),
            _ => {
                fields.read(words, |word| one_of(word, &["auto", "off"], "value", "`tls` of the server"));
                None
            }
        },
        Value::Table(_) => {
            let files = Fields::new("`tls` of the server".into(), fields.key_at("tls"), node, TLS, fields.problems)?;
            Some(TlsFile::Files {
                cert: files.text("cert", "\"cert.pem\"")?.clone(),
                key: files.text("key", "\"key.pem\"")?.clone(),
            })
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) => {
            let hint = format!(
                "found {}: write \"auto\", \"off\" or {{ cert = \"…\", key = \"…\" }}",
                show(node)
            );
            fields
                .problems
                .add(node.at, "`tls` of the server is not a way to encrypt", hint);
            None
        }
    }
}

/// A secret that stands in the file itself: neither `env:NAME` nor a path, which begins or ends like one.
pub(in super::super) fn is_literal(value: &str) -> bool {
    let begins = ["env:", "/", "./", "../"].iter().any(|start| value.starts_with(start));
    !begins && ![".key", ".txt", ".json"].iter().any(|end| value.ends_with(end))
}
