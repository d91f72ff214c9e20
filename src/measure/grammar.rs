//! Reading and printing measures (contract, section 8).

use std::fmt;
use std::ops::Range;

use crate::model::{
    AttemptError, AttemptResult, BootReason, Cause, ConnectResult, FailureReason, GrammarError, Key, Phase, Prompt, RetryReason,
    Session, UpdateState, closest, is_word, parse_data_rate, parse_duration, parse_event_rate, parse_share, parse_size,
};

use super::disagreement::DISAGREEMENTS;
use super::fetching::{BYTE_KINDS, POWER};
use super::metric::{FLASH_OPS, Kind, MESSAGE_TYPES};
use super::query::{Aggregate, Comparison, Label, LabelKey, Measure, Metric, Op, OwnKey};

const AGGREGATES: &[&str] = &["count", "rate", "share", "sum", "min", "avg", "med", "max", "p(95)"];
const OPS: &[(&str, Op)] = &[
    ("<=", Op::AtMost),
    (">=", Op::AtLeast),
    ("==", Op::Equal),
    ("!=", Op::Unequal),
    ("<", Op::Less),
    (">", Op::More),
];

impl Measure {
    /// Reads a measure such as `update_time{cohort:west} p(95) < 30s`.
    ///
    /// # Errors
    /// [`GrammarError`] with the place in `text`, also for what the contract describes and this version does not measure.
    pub fn parse(text: &str) -> Result<Measure, GrammarError> {
        let lead = text.len() - text.trim_start().len();
        let metric_end = text[lead..]
            .find(|c: char| c == '{' || c.is_whitespace())
            .map_or(text.len(), |at| lead + at);
        let metric = parse_metric(text, lead..metric_end)?;
        let (labels, rest) = parse_labels(text, metric_end, metric)?;
        let (op_at, comparison_start) = find_op(text, rest);
        let aggregate = parse_aggregate(text, rest..op_at, metric)?;
        let comparison = match comparison_start {
            None => None,
            Some((op, limit_at)) => Some(Comparison {
                op,
                limit: parse_limit(text, limit_at, metric, aggregate)?,
            }),
        };
        Ok(Measure {
            metric,
            labels,
            aggregate,
            comparison,
        })
    }
}

fn parse_metric(text: &str, at: Range<usize>) -> Result<Metric, GrammarError> {
    let word = &text[at.clone()];
    if word.is_empty() {
        let hint = "write for example `devices{state:succeeded} share == 100 %`".to_owned();
        return Err(GrammarError::new(at.start..at.start + 1, "no measure is given", Some(hint)));
    }
    Metric::from_word(word).ok_or_else(|| {
        let hint = closest(word, Metric::ALL.iter().map(|metric| metric.word()))
            .map_or_else(metrics_hint, |metric| format!("did you mean `{metric}`?"));
        GrammarError::new(at, format!("unknown metric `{word}`"), Some(hint))
    })
}

fn metrics_hint() -> String {
    let words: Vec<_> = Metric::ALL.iter().map(|metric| metric.word()).collect();
    format!("metrics are {}", words.join(", "))
}

/// The labels that begin at `start`, and where the rest of the measure begins.
fn parse_labels(text: &str, start: usize, metric: Metric) -> Result<(Vec<Label>, usize), GrammarError> {
    let open = start + (text[start..].len() - text[start..].trim_start().len());
    if !text[open..].starts_with('{') {
        return Ok((Vec::new(), start));
    }
    let Some(len) = text[open..].find('}') else {
        return Err(GrammarError::new(open..open + 1, "`{` is never closed", None));
    };
    let mut labels = Vec::new();
    let mut offset = open + 1;
    for piece in text[open + 1..open + len].split(',') {
        labels.push(parse_label(piece, metric).map_err(|error| error.shifted(offset))?);
        offset += piece.len() + 1;
    }
    Ok((labels, open + len + 1))
}

fn parse_label(piece: &str, metric: Metric) -> Result<Label, GrammarError> {
    let lead = piece.len() - piece.trim_start().len();
    let trimmed = piece.trim();
    let (negated, body) = trimmed.strip_prefix('!').map_or((false, trimmed), |body| (true, body));
    let start = lead + usize::from(negated);
    let Some((word, written)) = body.split_once(':') else {
        let hint = Some("labels are `key:value`, several values joined by `|`".to_owned());
        let place = lead..lead + trimmed.len().max(1);
        return Err(GrammarError::new(place, format!("`{trimmed}` is not a label"), hint));
    };
    let key = parse_label_key(word, start..start + word.len(), metric)?;
    let mut offset = start + word.len() + 1;
    let mut values = Vec::new();
    for value in written.split('|') {
        check_value(&key, value, metric, offset..offset + value.len().max(1))?;
        values.push(value.to_owned());
        offset += value.len() + 1;
    }
    Ok(Label { negated, key, values })
}

fn parse_label_key(word: &str, at: Range<usize>, metric: Metric) -> Result<LabelKey, GrammarError> {
    let own = metric.own_keys();
    if let Some(key) = Key::from_word(word) {
        if metric.is_whole() {
            let hint = Some("it is about the whole run".to_owned());
            return Err(GrammarError::new(at, format!("`{metric}` has no label `{word}`"), hint));
        }
        return Ok(LabelKey::Who(key));
    }
    let of_metric: Vec<_> = own.iter().map(|key| key.word()).collect();
    if let Some(key) = OwnKey::from_word(word) {
        if own.contains(&key) {
            return Ok(LabelKey::Own(key));
        }
        let hint = match of_metric.is_empty() {
            true => format!("`{metric}` takes the keys {}, tag.K", Key::WORDS.join(", ")),
            false => format!("its own labels are {}", of_metric.join(", ")),
        };
        return Err(GrammarError::new(at, format!("`{metric}` has no label `{word}`"), Some(hint)));
    }
    let candidates = Key::WORDS.iter().copied().chain(of_metric.iter().copied());
    let hint = closest(word, candidates).map_or_else(
        || {
            format!(
                "labels of `{metric}` are {}, tag.K",
                [Key::WORDS, &of_metric].concat().join(", ")
            )
        },
        |key| format!("did you mean `{key}`?"),
    );
    Err(GrammarError::new(at, format!("unknown label `{word}`"), Some(hint)))
}

/// Holds a value against the words that its key knows; names of fleets, cohorts, steps and tags are the scenario's to check.
fn check_value(key: &LabelKey, value: &str, metric: Metric, at: Range<usize>) -> Result<(), GrammarError> {
    let known: Vec<&'static str> = match key {
        LabelKey::Who(Key::Session) => Session::ALL.iter().map(|word| word.word()).collect(),
        LabelKey::Who(Key::State) => UpdateState::ALL.iter().map(|word| word.word()).collect(),
        LabelKey::Who(Key::Phase) | LabelKey::Own(OwnKey::From | OwnKey::To) => Phase::ALL.iter().map(|word| word.word()).collect(),
        LabelKey::Own(OwnKey::Cause) => Cause::ALL.iter().map(|word| word.word()).collect(),
        LabelKey::Own(OwnKey::Reason) if matches!(metric, Metric::Retries | Metric::Resumes | Metric::Restarts) => {
            RetryReason::ALL.iter().map(|word| word.word()).chain([POWER]).collect()
        }
        LabelKey::Own(OwnKey::Reason) => reason_words().collect(),
        LabelKey::Own(OwnKey::Ranged | OwnKey::Repeat) => vec!["yes", "no"],
        LabelKey::Own(OwnKey::Dir) => vec!["up", "down"],
        LabelKey::Own(OwnKey::Kind) if metric != Metric::Faults => BYTE_KINDS.to_vec(),
        LabelKey::Own(OwnKey::Why) if metric == Metric::Boots => BootReason::ALL.iter().map(|word| word.word()).collect(),
        LabelKey::Own(OwnKey::Why) => DISAGREEMENTS.to_vec(),
        LabelKey::Own(OwnKey::Type) => MESSAGE_TYPES.to_vec(),
        LabelKey::Own(OwnKey::Op) if metric == Metric::ServerTime => Prompt::ALL.iter().map(|word| word.word()).collect(),
        LabelKey::Own(OwnKey::Op) => FLASH_OPS.to_vec(),
        LabelKey::Own(OwnKey::Code) => return check_code(value, at),
        LabelKey::Own(OwnKey::Rule) => return check_word(key, value, at),
        LabelKey::Own(OwnKey::Result) if matches!(metric, Metric::Connects | Metric::ConnectTime | Metric::ConnectTimeRaw) => {
            ConnectResult::ALL.iter().map(|word| word.word()).collect()
        }
        LabelKey::Own(OwnKey::Result) => AttemptResult::ALL.iter().map(|word| word.word()).collect(),
        LabelKey::Own(OwnKey::Done) => vec!["yes", "no"],
        LabelKey::Own(OwnKey::Fault | OwnKey::Kind) => return check_word(key, value, at),
        LabelKey::Who(Key::Runs) => return check_version(value, at),
        LabelKey::Who(Key::Fleet | Key::Cohort | Key::Device | Key::Step | Key::Tag(_)) => return check_word(key, value, at),
    };
    if known.contains(&value) {
        return Ok(());
    }
    let hint = closest(value, known.iter().copied()).map_or_else(
        || format!("values are {}", known.join(", ")),
        |word| format!("did you mean `{word}`?"),
    );
    Err(GrammarError::new(at, format!("unknown {key} `{value}`"), Some(hint)))
}

fn check_word(key: &LabelKey, value: &str, at: Range<usize>) -> Result<(), GrammarError> {
    if is_word(value) {
        return Ok(());
    }
    let hint = Some("values are letters, digits, `.`, `_` and `-`".to_owned());
    Err(GrammarError::new(at, format!("`{value}` is not a value of `{key}`"), hint))
}

fn check_code(value: &str, at: Range<usize>) -> Result<(), GrammarError> {
    if value == "none" || value.parse::<u16>().is_ok_and(|code| (100..1000).contains(&code)) {
        return Ok(());
    }
    let hint = Some("write an HTTP status such as 503, or `none` where there was no answer".to_owned());
    Err(GrammarError::new(at, format!("`{value}` is not a code"), hint))
}

fn check_version(value: &str, at: Range<usize>) -> Result<(), GrammarError> {
    if value
        .split_once('@')
        .is_some_and(|(slug, version)| is_word(slug) && is_word(version))
    {
        return Ok(());
    }
    let hint = Some("write SLUG@VERSION, for example `app@1.1.0`".to_owned());
    Err(GrammarError::new(at, format!("`{value}` is not a firmware version"), hint))
}

/// Every word that `reason` may have.
fn reason_words() -> impl Iterator<Item = &'static str> {
    use FailureReason::{
        AppAbort, Download, InstallCanceled, InstallFailed, NoBuildId, NotSwapped, Rejected, ResetBeforeConfirm, ServerCancel,
        SlotRefused, Status, Storage, Superseded, TooBig, Unhandled, WrongBuildId, WrongHardware,
    };
    let plain = [
        ResetBeforeConfirm,
        NotSwapped,
        WrongBuildId,
        NoBuildId,
        TooBig,
        WrongHardware,
        SlotRefused,
        Status(0),
        Download,
        Storage,
        InstallFailed,
        Unhandled,
        AppAbort,
        InstallCanceled,
        ServerCancel,
        Superseded,
    ];
    let rejected = AttemptError::ALL.iter().map(|&error| Rejected(error));
    plain.into_iter().chain(rejected).map(|reason| reason.word())
}

/// Where the operator stands (the end of the text if there is none), and the operator with the place of its limit.
fn find_op(text: &str, start: usize) -> (usize, Option<(Op, usize)>) {
    let Some(at) = text[start..].find(['<', '>', '=', '!']).map(|at| start + at) else {
        return (text.len(), None);
    };
    match OPS.iter().find(|(written, _)| text[at..].starts_with(written)) {
        Some(&(written, op)) => (at, Some((op, at + written.len()))),
        None => (text.len(), None),
    }
}

fn parse_aggregate(text: &str, at: Range<usize>, metric: Metric) -> Result<Aggregate, GrammarError> {
    let (word, place) = trimmed(text, at);
    let hint = || Some(format!("aggregates of `{metric}` are {}", metric.aggregates()));
    if word.is_empty() {
        return Err(GrammarError::new(place, format!("`{metric}` needs an aggregate"), hint()));
    }
    let aggregate = match word {
        "count" => Aggregate::Count,
        "rate" => Aggregate::Rate,
        "share" => Aggregate::Share,
        "sum" => Aggregate::Sum,
        "min" => Aggregate::Min,
        "avg" => Aggregate::Avg,
        "med" => Aggregate::Med,
        "max" => Aggregate::Max,
        _ => match word.strip_prefix("p(").and_then(|number| number.strip_suffix(')')) {
            Some(number) => parse_percentile(number.trim(), place.clone())?,
            None => {
                let known = closest(word, AGGREGATES.iter().copied()).map(|word| format!("did you mean `{word}`?"));
                let message = format!("unknown aggregate `{word}`");
                return Err(GrammarError::new(place, message, known.or_else(hint)));
            }
        },
    };
    if metric.allows(aggregate) {
        return Ok(aggregate);
    }
    let message = format!("`{metric}` is a {}, which has no `{word}`", metric.kind().word());
    Err(GrammarError::new(place, message, hint()))
}

fn parse_percentile(number: &str, at: Range<usize>) -> Result<Aggregate, GrammarError> {
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Aggregate::Percentile(percent)),
        Ok(_) | Err(_) => {
            let hint = Some("write a number from 0 to 100, as in `p(95)`".to_owned());
            Err(GrammarError::new(at, format!("`{number}` is not a percentile"), hint))
        }
    }
}

fn parse_limit(text: &str, start: usize, metric: Metric, aggregate: Aggregate) -> Result<f64, GrammarError> {
    let (written, place) = trimmed(text, start..text.len());
    if written.is_empty() {
        let hint = Some(format!("write for example `{}`", example_limit(metric, aggregate)));
        return Err(GrammarError::new(place, "a limit is missing", hint));
    }
    if metric.unit() == "B" && !matches!(aggregate, Aggregate::Count | Aggregate::Share) {
        let bytes = match aggregate {
            Aggregate::Rate => parse_data_rate(written).map(|bits| bits as f64 / 8.0),
            _ => parse_size(written).map(|bytes| bytes as f64),
        };
        return bytes.map_err(|error| GrammarError::new(place, error.to_string(), None));
    }
    if metric.unit() == "B/s" && !matches!(aggregate, Aggregate::Count) {
        let rate = parse_data_rate(written).map(|bits| bits as f64 / 8.0);
        return rate.map_err(|error| GrammarError::new(place, error.to_string(), None));
    }
    if metric.unit() == "%" && matches!(aggregate, Aggregate::Avg) {
        let share = parse_share(written).map(|share| share.0 as f64 / 1e6);
        return share.map_err(|error| GrammarError::new(place, error.to_string(), None));
    }
    let counted = match aggregate {
        Aggregate::Count => true,
        Aggregate::Sum => metric.kind() == Kind::Counter,
        _ => metric == Metric::Wear,
    };
    if counted {
        return written.parse::<u64>().map(|count| count as f64).map_err(|_| {
            let hint = Some("a count is compared with a whole number, as in `count == 100`".to_owned());
            GrammarError::new(place, format!("`{written}` is not a count"), hint)
        });
    }
    let limit = match aggregate {
        Aggregate::Share => parse_share(written).map(|share| share.0 as f64 / 1e6),
        Aggregate::Rate => parse_event_rate(written).map(|rate| rate.per_second()),
        Aggregate::Count
        | Aggregate::Sum
        | Aggregate::Min
        | Aggregate::Avg
        | Aggregate::Med
        | Aggregate::Max
        | Aggregate::Percentile(_) => parse_duration(written).map(|time| time.as_secs_f64()),
    };
    limit.map_err(|error| GrammarError::new(place, error.to_string(), None))
}

fn example_limit(metric: Metric, aggregate: Aggregate) -> &'static str {
    match (aggregate, metric.kind()) {
        (Aggregate::Sum, _) if metric.unit() == "B" => "< 600 KiB",
        (Aggregate::Count, _) | (Aggregate::Sum, Kind::Gauge | Kind::Counter) => "== 100",
        (Aggregate::Share, _) => ">= 95 %",
        (Aggregate::Rate, _) if metric.unit() == "B" => "< 2 MiB/s",
        (_, _) if metric.unit() == "B" => "< 600 KiB",
        (_, _) if metric.unit() == "B/s" => "> 1 MiB/s",
        (_, _) if metric.unit() == "%" => "< 80 %",
        (_, _) if metric == Metric::Wear => "<= 10",
        (Aggregate::Rate, _) => "< 200/s",
        (
            Aggregate::Sum | Aggregate::Min | Aggregate::Avg | Aggregate::Med | Aggregate::Max | Aggregate::Percentile(_),
            Kind::Gauge | Kind::Counter | Kind::Trend,
        ) => "< 30s",
    }
}

/// The text in `at` without surrounding blanks, and where that stands; at least one byte wide, so that an error can be underlined.
fn trimmed(text: &str, at: Range<usize>) -> (&str, Range<usize>) {
    let raw = &text[at.clone()];
    let word = raw.trim();
    let start = match word.is_empty() {
        true => at.start.min(text.len()),
        false => at.start + (raw.len() - raw.trim_start().len()),
    };
    (word, start..start + word.len().max(1))
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabelKey::Who(key) => key.fmt(f),
            LabelKey::Own(key) => key.fmt(f),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "!" } else { "" };
        write!(f, "{not}{}:{}", self.key, self.values.join("|"))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aggregate::Count => "count",
            Aggregate::Rate => "rate",
            Aggregate::Share => "share",
            Aggregate::Sum => "sum",
            Aggregate::Min => "min",
            Aggregate::Avg => "avg",
            Aggregate::Med => "med",
            Aggregate::Max => "max",
            Aggregate::Percentile(percent) => return write!(f, "p({percent})"),
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Less => "<",
            Op::AtMost => "<=",
            Op::More => ">",
            Op::AtLeast => ">=",
            Op::Equal => "==",
            Op::Unequal => "!=",
        })
    }
}

impl fmt::Display for Measure {
    /// Prints what [`Measure::parse`] reads again, limits in the smallest set of units: `%`, `/s`, `s`, or none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.metric)?;
        if !self.labels.is_empty() {
            let labels: Vec<_> = self.labels.iter().map(Label::to_string).collect();
            write!(f, "{{{}}}", labels.join(","))?;
        }
        write!(f, " {}", self.aggregate)?;
        let Some(Comparison { op, limit }) = self.comparison else {
            return Ok(());
        };
        match self.unit() {
            "%" => write!(f, " {op} {} %", (limit * 1e6).round() / 1e4),
            "1/s" => write!(f, " {op} {limit}/s"),
            unit @ ("B" | "B/s") => write!(f, " {op} {limit} {unit}"),
            "s" => write!(f, " {op} {limit}s"),
            _ => write!(f, " {op} {limit}"),
        }
    }
}

impl Measure {
    /// The unit of its value: `s`, `%` (the value itself is a share of 1), `1/s`, or `1` for counts.
    pub fn unit(&self) -> &'static str {
        match (self.aggregate, self.metric.kind()) {
            (Aggregate::Share, _) => "%",
            (Aggregate::Rate, _) if self.metric.unit() == "B" => "B/s",
            (Aggregate::Count, _) => "1",
            _ if matches!(self.metric.unit(), "B" | "B/s") => self.metric.unit(),
            _ if self.metric.unit() == "%" => "%",
            (Aggregate::Rate, _) => "1/s",
            (_, Kind::Gauge | Kind::Counter) => "1",
            (_, Kind::Trend) => "s",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_the_contracts_examples() {
        for text in [
            "update_time{cohort:west} p(95) < 30s",
            "devices{state:succeeded} share == 100 %",
            "attempts{result:failed} share > 5 %",
            "devices{runs:app@1.1.0,runs:modem@2.0.0} count == 0",
            "transitions{from:swapping,to:swapping} count > 0",
            "connects{fleet:jitter,result:refused} count < 40000",
            "rollbacks{step:bad} count == 100",
            "devices{tag.region:north|west,!cohort:early} count",
            "connect_time p(99.9) <= 0.25s",
            "attempts rate >= 0.5/s",
            "phase_time{phase:downloading} med != 7s",
            "faults{fault:any,done:yes} count >= 1000",
            "requests{code:503,ranged:yes} share < 5 %",
            "data_used p(99) < 614400 B",
            "bytes{dir:down,kind:image} rate < 2048 B/s",
            "throughput med >= 1048576 B/s",
            "messages{type:results,dir:up} count < 100",
            "flash_ops{op:erase} sum > 0",
            "cpu avg < 80 %",
            "memory max < 1048576 B",
            "lateness p(99) < 0.05s",
        ] {
            assert_eq!(Measure::parse(text).unwrap().to_string(), text);
        }
        let spaced = Measure::parse("  update_time { cohort:a , !fleet:b } p( 95 )<1m30s ").unwrap();
        assert_eq!(spaced.to_string(), "update_time{cohort:a,!fleet:b} p(95) < 90s");
    }

    #[test]
    fn limits_are_in_natural_units() {
        let limit = |text: &str| Measure::parse(text).unwrap().comparison.unwrap().limit;
        assert_eq!(limit("devices share >= 97.5 %"), 0.975);
        assert_eq!(limit("update_time max < 1m30s"), 90.0);
        assert_eq!(limit("connects rate < 30/m"), 0.5);
        assert_eq!(limit("attempts sum == 3"), 3.0);
        assert_eq!(limit("data_used p(99) < 600 KiB"), 614_400.0);
        assert_eq!(limit("bytes rate < 1 Mbit/s"), 125_000.0);
    }

    #[test]
    fn points_at_what_is_wrong_and_says_the_way_out() {
        let said = |text: &str| {
            let error = Measure::parse(text).unwrap_err();
            (
                text[error.at.start.min(text.len())..error.at.end.min(text.len())].to_owned(),
                error.to_string(),
                error.hint.unwrap_or_default(),
            )
        };
        let expect = |text: &str, place: &str, message: &str, hint: &str| {
            let (at, found, way_out) = said(text);
            assert_eq!((at.as_str(), found.as_str()), (place, message), "{text}");
            assert!(way_out.contains(hint), "{text}: {way_out}");
        };
        expect("devises count", "devises", "unknown metric `devises`", "`devices`");
        expect("wear max < 5s", "5s", "`5s` is not a count", "whole number");
        expect("devices{stat:succeeded} count", "stat", "unknown label `stat`", "`state`");
        expect("connects{op:x} count", "op", "`connects` has no label `op`", "result");
        expect("cpu max < 5 %", "max", "`cpu` is a gauge, which has no `max`", "avg");
        expect(
            "throughput{fleet:a} med > 1 MiB/s",
            "fleet",
            "`throughput` has no label `fleet`",
            "the whole run",
        );
        expect(
            "devices{result:failed} count",
            "result",
            "`devices` has no label `result`",
            "state",
        );
        expect(
            "devices{state:suceeded} count",
            "suceeded",
            "unknown state `suceeded`",
            "`succeeded`",
        );
        expect("attempts{!result:ok} count", "ok", "unknown result `ok`", "rejected");
        expect(
            "transitions{from:idle,to:strange} count",
            "strange",
            "unknown to `strange`",
            "",
        );
        expect(
            "devices{runs:1.1.0} count",
            "1.1.0",
            "`1.1.0` is not a firmware version",
            "app@1.1.0",
        );
        expect("devices{all} count", "all", "`all` is not a label", "key:value");
        expect("devices{state:succeeded count", "{", "`{` is never closed", "");
        expect("devices shar > 5 %", "shar", "unknown aggregate `shar`", "`share`");
        expect(
            "devices p(95) > 5s",
            "p(95)",
            "`devices` is a gauge, which has no `p(95)`",
            "count, share",
        );
        expect("update_time p(101) < 5s", "p(101)", "`101` is not a percentile", "p(95)");
        expect("update_time", "", "`update_time` needs an aggregate", "p(N)");
        expect("devices count ==", "", "a limit is missing", "== 100");
        expect("devices count < 5 %", "5 %", "`5 %` is not a count", "whole number");
        expect(
            "update_time p(95) < 30",
            "30",
            "needs a unit: found 30, write for example \"500ms\" or \"1h30m\"",
            "",
        );
        expect(
            "devices share > 5",
            "5",
            "needs a unit: found 5, write for example \"5 %\"",
            "",
        );
        expect("", "", "no measure is given", "devices");
    }

    #[test]
    fn a_stray_sign_is_not_an_operator() {
        assert!(Measure::parse("devices count = 5").is_err());
        assert!(Measure::parse("devices count ! 5").is_err());
    }
}
