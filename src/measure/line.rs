//! One line of `trace.ndjson`: written from a happening, read back into one.
//!
//! Every line has `t` (seconds) and `device`. A transition has `from`, `to`, `cause`, `attempt` and `reason`; every other line says in
//! `what` which kind it is. Ids are text.

use std::borrow::Cow;
use std::fmt::{Display, Write};

use serde::Deserialize;

use crate::model::{
    AttemptId, AttemptResult, BootReason, Cause, ConnectResult, FailureReason, Phase, RetryReason, StateReason, Transition,
    UpdateState,
};
use crate::time::SimTime;

use super::happening::{FaultCame, Happening, NameId, StoredRecord, TraceNames};

/// A line that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceLine {
    /// When.
    pub at: SimTime,
    /// Which device.
    pub device: String,
    /// What.
    pub happening: Happening,
}

/// Why a line of a trace makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is not the JSON object that it should be.
    #[error("not a line of a trace: {0}")]
    Json(String),
    /// A field that its kind needs is missing or says nothing that is known.
    #[error("`{0}` is missing or unknown")]
    Field(&'static str),
}

impl TraceLine {
    /// Reads a line, its names into `names`; `None` is a kind that is not known here, which a later version may have added.
    ///
    /// # Errors
    /// [`LineError`] if it is no such line.
    pub fn read(line: &str, names: &mut TraceNames) -> Result<Option<TraceLine>, LineError> {
        let fields: Fields = serde_json::from_str(line).map_err(|error| LineError::Json(error.to_string()))?;
        let at = moment(fields.t).ok_or(LineError::Field("t"))?;
        let happening = fields.happening(names)?;
        Ok(happening.map(|happening| TraceLine {
            at,
            device: fields.device.into_owned(),
            happening,
        }))
    }
}

/// Appends a happening as one line.
pub(super) fn write(at: SimTime, device: &str, happening: &Happening, names: &TraceNames, text: &mut String) {
    let _ = write!(text, "{{\"t\":{at}");
    let mut line = Line { text, names };
    line.json("device", device);
    line.happening(happening);
    text.push_str("}\n");
}

struct Line<'a> {
    text: &'a mut String,
    names: &'a TraceNames,
}

impl Line<'_> {
    fn happening(&mut self, happening: &Happening) {
        match *happening {
            Happening::Transition {
                transition,
                attempt,
                reason,
            } => {
                self.word("from", transition.from);
                self.word("to", transition.to);
                self.word("cause", transition.cause);
                match attempt {
                    Some(attempt) => self.word("attempt", attempt),
                    None => self.raw("attempt", "null"),
                }
                self.reason(reason);
            }
            Happening::PowerLost => self.what("power-lost"),
            Happening::Offline => self.what("offline"),
            Happening::ConnectTried { result, wanted_at } => {
                self.what("connect");
                self.word("result", result);
                self.raw("wanted_at", wanted_at);
            }
            Happening::Booted { image, confirmed, why } => {
                self.what("boot");
                self.name("image", image);
                self.raw("confirmed", confirmed);
                self.word("why", why);
            }
            Happening::Confirmed => self.what("confirmed"),
            Happening::Unbootable => self.what("unbootable"),
            Happening::RolledBack => self.what("rolled-back"),
            Happening::UpgradeRequested => self.what("upgrade-requested"),
            Happening::Manifest { attempt } => self.of_attempt("manifest", attempt),
            Happening::Handler { attempt, index, image } => {
                self.of_attempt("handler", attempt);
                self.raw("index", index);
                self.name("image", image);
            }
            Happening::Request { offset } => {
                self.what("request");
                self.raw("offset", offset);
            }
            Happening::Answer { status, ranged, length } => {
                self.what("answer");
                self.raw("status", status);
                self.raw("ranged", ranged);
                self.number("length", length);
            }
            Happening::Retry { reason, until, received } => {
                self.what("retry");
                self.word("why", reason);
                self.raw("until", until);
                self.raw("received", received);
            }
            Happening::DownloadLost { received, total } => {
                self.what("download-lost");
                self.raw("received", received);
                self.number("total", total);
            }
            Happening::Stored { record, bytes } => {
                self.what("stored");
                self.record(record);
                self.raw("bytes", bytes);
            }
            Happening::Deleted { record } => {
                self.what("deleted");
                self.record(record);
            }
            Happening::Installed { image } => {
                self.what("installed");
                self.name("image", image);
            }
            Happening::Ended { attempt, result, reason } => {
                self.of_attempt("ended", attempt);
                self.word("result", result);
                self.reason(reason);
            }
            Happening::Published { attempt, complete } => {
                self.of_attempt("published", attempt);
                self.raw("complete", complete);
            }
            Happening::Misused { what } => {
                self.what("misused");
                self.name("how", what);
            }
            Happening::Fault { name, kind, came, why } => {
                self.what("fault");
                self.name("fault", name);
                self.name("kind", kind);
                self.word("came", came);
                match why {
                    Some(why) => self.name("how", why),
                    None => self.raw("how", "null"),
                }
            }
            Happening::State {
                attempt,
                deployment,
                from,
                to,
                reason,
            } => {
                self.of_attempt("state", attempt);
                self.name("deployment", deployment);
                self.word("was", from);
                self.word("is", to);
                self.word("why", reason);
            }
            Happening::OfferedAgain { attempt } => self.of_attempt("offered-again", attempt),
        }
    }

    fn what(&mut self, what: &str) {
        self.word("what", what);
    }

    fn of_attempt(&mut self, what: &str, attempt: AttemptId) {
        self.what(what);
        self.word("attempt", attempt);
    }

    fn raw(&mut self, key: &str, value: impl Display) {
        let _ = write!(self.text, ",\"{key}\":{value}");
    }

    fn number(&mut self, key: &str, value: Option<u32>) {
        match value {
            Some(value) => self.raw(key, value),
            None => self.raw(key, "null"),
        }
    }

    /// A value that needs no escapes.
    fn word(&mut self, key: &str, value: impl Display) {
        let _ = write!(self.text, ",\"{key}\":\"{value}\"");
    }

    fn json(&mut self, key: &str, value: &str) {
        self.raw(key, serde_json::Value::from(value));
    }

    fn name(&mut self, key: &str, name: NameId) {
        self.json(key, self.names.text(name));
    }

    fn record(&mut self, record: StoredRecord) {
        match record {
            StoredRecord::Attempt => self.word("record", "attempt"),
            StoredRecord::Probation => self.word("record", "probation"),
            StoredRecord::Version(slug) => self.json("record", &format!("{VERSION_RECORD}{}", self.names.text(slug))),
        }
    }

    fn reason(&mut self, reason: Option<FailureReason>) {
        match reason {
            Some(reason) => self.word("reason", reason.word()),
            None => self.raw("reason", "null"),
        }
        if let Some(FailureReason::Status(status)) = reason {
            self.raw("status", status);
        }
    }
}

/// What the name of a version record begins with.
const VERSION_RECORD: &str = "version/";

/// Every field that a line may have.
#[derive(Deserialize)]
struct Fields<'a> {
    t: f64,
    #[serde(borrow)]
    device: Cow<'a, str>,
    #[serde(borrow)]
    what: Option<Cow<'a, str>>,
    #[serde(borrow)]
    from: Option<Cow<'a, str>>,
    #[serde(borrow)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cause: Option<Cow<'a, str>>,
    attempt: Option<AttemptId>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    status: Option<u16>,
    #[serde(borrow)]
    result: Option<Cow<'a, str>>,
    wanted_at: Option<f64>,
    #[serde(borrow)]
    image: Option<Cow<'a, str>>,
    confirmed: Option<bool>,
    #[serde(borrow)]
    why: Option<Cow<'a, str>>,
    index: Option<u8>,
    offset: Option<u32>,
    ranged: Option<bool>,
    length: Option<u32>,
    until: Option<f64>,
    received: Option<u32>,
    total: Option<u32>,
    #[serde(borrow)]
    record: Option<Cow<'a, str>>,
    bytes: Option<u16>,
    complete: Option<bool>,
    #[serde(borrow)]
    how: Option<Cow<'a, str>>,
    #[serde(borrow)]
    fault: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    came: Option<Cow<'a, str>>,
    #[serde(borrow)]
    deployment: Option<Cow<'a, str>>,
    #[serde(borrow)]
    was: Option<Cow<'a, str>>,
    #[serde(borrow)]
    is: Option<Cow<'a, str>>,
}

impl Fields<'_> {
    fn happening(&self, names: &mut TraceNames) -> Result<Option<Happening>, LineError> {
        let Some(what) = self.what.as_deref() else {
            return self.transition().map(Some);
        };
        let attempt = || needed("attempt", self.attempt);
        Ok(Some(match what {
            "power-lost" => Happening::PowerLost,
            "offline" => Happening::Offline,
            "connect" => Happening::ConnectTried {
                result: known("result", &self.result, ConnectResult::from_word)?,
                wanted_at: needed("wanted_at", self.wanted_at.and_then(moment))?,
            },
            "boot" => Happening::Booted {
                image: name("image", &self.image, names)?,
                confirmed: needed("confirmed", self.confirmed)?,
                why: known("why", &self.why, BootReason::from_word)?,
            },
            "confirmed" => Happening::Confirmed,
            "unbootable" => Happening::Unbootable,
            "rolled-back" => Happening::RolledBack,
            "upgrade-requested" => Happening::UpgradeRequested,
            "manifest" => Happening::Manifest { attempt: attempt()? },
            "handler" => Happening::Handler {
                attempt: attempt()?,
                index: needed("index", self.index)?,
                image: name("image", &self.image, names)?,
            },
            "request" => Happening::Request {
                offset: needed("offset", self.offset)?,
            },
            "answer" => Happening::Answer {
                status: needed("status", self.status)?,
                ranged: needed("ranged", self.ranged)?,
                length: self.length,
            },
            "retry" => Happening::Retry {
                reason: known("why", &self.why, RetryReason::from_word)?,
                until: needed("until", self.until.and_then(moment))?,
                received: needed("received", self.received)?,
            },
            "download-lost" => Happening::DownloadLost {
                received: needed("received", self.received)?,
                total: self.total,
            },
            "stored" => Happening::Stored {
                record: self.record(names)?,
                bytes: needed("bytes", self.bytes)?,
            },
            "deleted" => Happening::Deleted {
                record: self.record(names)?,
            },
            "installed" => Happening::Installed {
                image: name("image", &self.image, names)?,
            },
            "ended" => Happening::Ended {
                attempt: attempt()?,
                result: known("result", &self.result, AttemptResult::from_word)?,
                reason: self.reason()?,
            },
            "published" => Happening::Published {
                attempt: attempt()?,
                complete: needed("complete", self.complete)?,
            },
            "misused" => Happening::Misused {
                what: name("how", &self.how, names)?,
            },
            "fault" => Happening::Fault {
                name: name("fault", &self.fault, names)?,
                kind: name("kind", &self.kind, names)?,
                came: known("came", &self.came, FaultCame::from_word)?,
                why: self.how.as_deref().map(|why| names.intern(why)),
            },
            "state" => Happening::State {
                attempt: attempt()?,
                deployment: name("deployment", &self.deployment, names)?,
                from: known("was", &self.was, UpdateState::from_word)?,
                to: known("is", &self.is, UpdateState::from_word)?,
                reason: known("why", &self.why, StateReason::from_word)?,
            },
            "offered-again" => Happening::OfferedAgain { attempt: attempt()? },
            _ => return Ok(None),
        }))
    }

    fn transition(&self) -> Result<Happening, LineError> {
        Ok(Happening::Transition {
            transition: Transition {
                from: known("from", &self.from, Phase::from_word)?,
                to: known("to", &self.to, Phase::from_word)?,
                cause: known("cause", &self.cause, Cause::from_word)?,
            },
            attempt: self.attempt,
            reason: self.reason()?,
        })
    }

    fn reason(&self) -> Result<Option<FailureReason>, LineError> {
        let Some(word) = self.reason.as_deref() else {
            return Ok(None);
        };
        needed("reason", FailureReason::from_word(word, self.status)).map(Some)
    }

    fn record(&self, names: &mut TraceNames) -> Result<StoredRecord, LineError> {
        known("record", &self.record, |word| match word {
            "attempt" => Some(StoredRecord::Attempt),
            "probation" => Some(StoredRecord::Probation),
            _ => {
                let slug = word.strip_prefix(VERSION_RECORD)?;
                Some(StoredRecord::Version(names.intern(slug)))
            }
        })
    }
}

fn needed<T>(field: &'static str, value: Option<T>) -> Result<T, LineError> {
    value.ok_or(LineError::Field(field))
}

fn known<T>(field: &'static str, word: &Option<Cow<'_, str>>, value: impl FnOnce(&str) -> Option<T>) -> Result<T, LineError> {
    needed(field, word.as_deref().and_then(value))
}

fn name(field: &'static str, text: &Option<Cow<'_, str>>, names: &mut TraceNames) -> Result<NameId, LineError> {
    known(field, text, |text| Some(names.intern(text)))
}

/// Seconds as they were written, to the microsecond.
fn moment(seconds: f64) -> Option<SimTime> {
    let micros = (seconds * 1e6).round();
    let in_range = (0.0..1e16).contains(&micros);
    in_range.then(|| SimTime::from_nanos((micros as u64).saturating_mul(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AttemptError;

    fn attempt() -> AttemptId {
        AttemptId::new(7).unwrap()
    }

    fn line_of(happening: Happening, names: &TraceNames) -> String {
        let mut text = String::new();
        write(SimTime::from_nanos(12_345_678_901), "demo-\"1", &happening, names, &mut text);
        text
    }

    #[test]
    fn a_transition_is_json_with_ids_as_text() {
        let accepted = Happening::Transition {
            transition: Transition {
                from: Phase::Idle,
                to: Phase::Accepted,
                cause: Cause::Normal,
            },
            attempt: Some(attempt()),
            reason: None,
        };
        assert_eq!(
            line_of(accepted, &TraceNames::default()),
            "{\"t\":12.345678,\"device\":\"demo-\\\"1\",\"from\":\"idle\",\"to\":\"accepted\",\"cause\":\"normal\",\
             \"attempt\":\"7\",\"reason\":null}\n"
        );
    }

    #[test]
    fn every_happening_reads_back_as_it_was() {
        let mut names = TraceNames::default();
        let at = SimTime::from_millis(12_001);
        let image = names.intern("app@1.1.0");
        let ended = |reason| Happening::Ended {
            attempt: attempt(),
            result: AttemptResult::Failed,
            reason: Some(reason),
        };
        let all = [
            Happening::Transition {
                transition: Transition {
                    from: Phase::Downloading,
                    to: Phase::Failed,
                    cause: Cause::Error,
                },
                attempt: None,
                reason: Some(FailureReason::Status(404)),
            },
            Happening::PowerLost,
            Happening::Offline,
            Happening::ConnectTried {
                result: ConnectResult::Refused,
                wanted_at: at,
            },
            Happening::Booted {
                image,
                confirmed: false,
                why: BootReason::Crash,
            },
            Happening::Confirmed,
            Happening::Unbootable,
            Happening::RolledBack,
            Happening::UpgradeRequested,
            Happening::Manifest { attempt: attempt() },
            Happening::Handler {
                attempt: attempt(),
                index: 2,
                image,
            },
            Happening::Request { offset: 187_392 },
            Happening::Answer {
                status: 206,
                ranged: true,
                length: Some(9),
            },
            Happening::Answer {
                status: 503,
                ranged: false,
                length: None,
            },
            Happening::Retry {
                reason: RetryReason::Reset,
                until: at,
                received: 187_392,
            },
            Happening::DownloadLost {
                received: 1,
                total: Some(2),
            },
            Happening::DownloadLost {
                received: 0,
                total: None,
            },
            Happening::Stored {
                record: StoredRecord::Attempt,
                bytes: 34,
            },
            Happening::Stored {
                record: StoredRecord::Version(names.intern("mod\"em")),
                bytes: 12,
            },
            Happening::Deleted {
                record: StoredRecord::Probation,
            },
            Happening::Installed { image },
            ended(FailureReason::ResetBeforeConfirm),
            ended(FailureReason::Status(410)),
            ended(FailureReason::Rejected(AttemptError::CannotParseMessage)),
            Happening::Published {
                attempt: attempt(),
                complete: true,
            },
            Happening::Misused {
                what: names.intern("a page written twice"),
            },
            Happening::Fault {
                name: names.intern("cut"),
                kind: names.intern("power-cut"),
                came: FaultCame::Missed,
                why: Some(names.intern("the download was over")),
            },
            Happening::Fault {
                name: names.intern("busy"),
                kind: names.intern("http 503"),
                came: FaultCame::Done,
                why: None,
            },
            Happening::State {
                attempt: attempt(),
                deployment: names.intern("everyone"),
                from: UpdateState::None,
                to: UpdateState::Pending,
                reason: StateReason::Deployed,
            },
            Happening::OfferedAgain { attempt: attempt() },
        ];
        for happening in all {
            let line = line_of(happening, &names);
            let read = TraceLine::read(&line, &mut names).unwrap_or_else(|error| panic!("{line}: {error}"));
            let expected = TraceLine {
                at: SimTime::from_nanos(12_345_678_000),
                device: "demo-\"1".to_owned(),
                happening,
            };
            assert_eq!(read, Some(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_says_why_and_an_unknown_kind_is_passed_over() {
        let read = |line: &str| TraceLine::read(line, &mut TraceNames::default());
        assert!(matches!(read("{\"t\":1"), Err(LineError::Json(_))));
        assert!(matches!(read("[1]"), Err(LineError::Json(_))));
        assert_eq!(
            read(r#"{"t":1,"device":"a","from":"idle","to":"moon"}"#),
            Err(LineError::Field("to"))
        );
        assert_eq!(read(r#"{"t":-1,"device":"a","what":"offline"}"#), Err(LineError::Field("t")));
        assert_eq!(
            read(r#"{"t":1,"device":"a","what":"manifest"}"#),
            Err(LineError::Field("attempt"))
        );
        assert_eq!(read(r#"{"t":1,"device":"a","what":"sang","song":"blue"}"#), Ok(None));
    }
}
