//! `[link.NAME]`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::faults::{Drops, Latency, LinkProfile, Quota};
use crate::model::{Share, parse_data_rate, parse_duration, parse_size};

use super::super::document::{Entry, Place};
use super::super::error::Problems;
use super::super::fields::Need::Optional;
use super::super::fields::{Complaint, Fields, Keys, LATENCY, RATE, TIME, Units, cut, suggest};
use super::super::links;
use super::super::presets;
use super::super::text::{exact_data_rate, exact_size, exact_time, exact_times};
use super::{check_noun, nouns};

pub(super) const LINK: Keys = &[
    ("like", Optional),
    ("latency", Optional),
    ("down", Optional),
    ("up", Optional),
    ("loss", Optional),
    ("drops", Optional),
    ("quota", Optional),
    ("join", Optional),
];

/// Longest time of a link, so that sums of them stay far from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A link of the scenario's own.
#[derive(Clone, Debug)]
pub(in super::super) struct LinkFile {
    pub name: String,
    pub at: Place,
    pub profile: Arc<LinkProfile>,
    /// What is written out: the profile that it begins with, and each key that it changes, in canonical form.
    pub written: Vec<(&'static str, String)>,
}

pub(super) fn read_all(entry: Option<&Entry>, problems: &Problems) -> Vec<LinkFile> {
    let mut links: Vec<_> = nouns(entry, problems)
        .iter()
        .map(|entry| LinkFile::read(entry, problems))
        .collect();
    links.sort_by(|a, b| a.name.cmp(&b.name));
    links
}

impl LinkFile {
    fn read(entry: &Entry, problems: &Problems) -> LinkFile {
        let name = entry.key.clone();
        check_noun(&name, entry.key_at, "link", problems);
        if links::link(&name).is_some() {
            let hint = format!("write for example link.my-{name} = {{ like = \"{name}\", … }}");
            problems.add(entry.key_at, format!("link `{name}` is a profile already"), hint);
        }
        let base = links::link(links::DEFAULT).expect("the default link is a profile");
        let mut link = LinkFile {
            at: entry.key_at,
            profile: base,
            written: Vec::new(),
            name,
        };
        let subject = format!("link `{}`", cut(&link.name));
        if let Some(fields) = Fields::new(subject, entry.key_at, &entry.node, LINK, problems) {
            link.read_fields(&fields);
        }
        link
    }

    fn read_fields(&mut self, fields: &Fields<'_>) {
        let base = fields.parsed("like", "\"lte-m\"", |name| {
            links::link(name).ok_or_else(|| {
                let message = format!("unknown profile `{}` in `like` of {}", cut(name), fields.subject);
                Complaint::new(message, suggest(name, links::names(), "profiles"))
            })
        });
        if let Some(base) = base {
            self.profile = base.value;
        }
        let mut profile = LinkProfile::clone(&self.profile);
        self.written.push(("like", profile.name.clone()));
        profile.name.clone_from(&self.name);
        self.read_latency(fields, &mut profile);
        for (key, rate) in [("down", &mut profile.down), ("up", &mut profile.up)] {
            if let Some(given) = read_rate(fields, key) {
                *rate = Some(given);
                self.written.push((key, exact_data_rate(given)));
            }
        }
        if let Some(loss) = read_loss(fields) {
            profile.loss = loss;
            self.written.push(("loss", loss.to_string()));
        }
        if let Some(drops) = read_drops(fields) {
            let text = format!("every {} for {}", exact_time(drops.every), exact_times(&drops.lasting));
            self.written.push(("drops", text));
            profile.drops = Some(drops);
        }
        if let Some(quota) = read_quota(fields) {
            self.written
                .push(("quota", format!("{}/{}", exact_size(quota.bytes), exact_time(quota.per))));
            profile.quota = Some(quota);
        }
        if let Some(join) = read_times(fields, "join") {
            self.written.push(("join", exact_times(&join)));
            profile.join = join;
        }
        self.profile = Arc::new(profile);
    }

    fn read_latency(&mut self, fields: &Fields<'_>, profile: &mut LinkProfile) {
        let Some(words) = fields.with_unit("latency", LATENCY) else {
            return;
        };
        let read = fields.read(words, |text| {
            let time = |text: &str| parse_time(text, "latency", LATENCY, fields);
            if let Some((median, p99)) = text.split_once(" p99 ") {
                let (median, p99) = (time(median)?, time(p99)?);
                return match median <= p99 && !median.is_zero() {
                    true => Ok((
                        Latency::lognormal(median, p99),
                        format!("{} p99 {}", exact_time(median), exact_time(p99)),
                    )),
                    false => Err(Complaint::new(
                        format!("`latency` of {} has a p99 below its median", fields.subject),
                        "write the median first, above zero: \"50ms p99 400ms\"",
                    )),
                };
            }
            let range = parse_times(text, "latency", LATENCY, fields)?;
            let latency = match range.start() == range.end() {
                true => Latency::constant(*range.start()),
                false => Latency::even(*range.start(), *range.end()),
            };
            Ok((latency, exact_times(&range)))
        });
        if let Some(read) = read {
            profile.latency = read.value.0;
            self.written.push(("latency", read.value.1));
        }
    }
}

fn read_rate(fields: &Fields<'_>, key: &str) -> Option<u64> {
    let words = fields.with_unit(key, RATE)?;
    let rate = fields.read(words, |text| match parse_data_rate(text) {
        Ok(0) => Err(Complaint::new(
            format!("`{key}` of {} is a rate of zero", fields.subject),
            "write for example \"300 kbit/s\"; `drops` takes the link away for a while",
        )),
        Ok(rate) => Ok(rate),
        Err(error) => Err(fields.not_a_quantity(key, RATE, error)),
    })?;
    Some(rate.value)
}

fn read_loss(fields: &Fields<'_>) -> Option<Share> {
    let loss = fields.share("loss", |share| share < Share::WHOLE, "0 % to below 100 %")?;
    Some(loss.value)
}

fn read_drops(fields: &Fields<'_>) -> Option<Drops> {
    let drops = fields.parsed("drops", "\"every 3m for 5s..60s\"", |text| {
        if let Some(preset) = presets::outages(text, &format!("`drops` of {}", fields.subject)) {
            return preset;
        }
        let form = || {
            Complaint::new(
                format!("`drops` of {} is not `every T for T..T`", fields.subject),
                format!("found \"{}\": write for example \"every 3m for 5s..60s\"", cut(text)),
            )
        };
        let (every, lasting) = text
            .trim()
            .strip_prefix("every ")
            .and_then(|rest| rest.split_once(" for "))
            .ok_or_else(form)?;
        let drops = Drops {
            every: parse_time(every, "drops", TIME, fields)?,
            lasting: parse_times(lasting, "drops", TIME, fields)?,
        };
        match !drops.every.is_zero() && *drops.lasting.end() <= drops.every {
            true => Ok(drops),
            false => Err(Complaint::new(
                format!("`drops` of {} last longer than the time between them", fields.subject),
                "write for example \"every 3m for 5s..60s\"",
            )),
        }
    })?;
    Some(drops.value)
}

fn read_quota(fields: &Fields<'_>) -> Option<Quota> {
    let quota = fields.parsed("quota", "\"1 MiB/1h\"", |text| {
        let form = |found: String| {
            Complaint::new(
                format!("`quota` of {} is not `SIZE/T`", fields.subject),
                format!("{found}: write for example \"1 MiB/1h\""),
            )
        };
        let (bytes, per) = text.split_once('/').ok_or_else(|| form(format!("found \"{}\"", cut(text))))?;
        let quota = Quota {
            bytes: parse_size(bytes.trim()).map_err(|error| form(error.to_string()))?,
            per: parse_duration(per.trim()).map_err(|error| form(error.to_string()))?,
        };
        match quota.bytes > 0 && !quota.per.is_zero() && quota.per <= LONGEST {
            true => Ok(quota),
            false => Err(form("bytes and time are above zero, the time at most 365d".to_owned())),
        }
    })?;
    Some(quota.value)
}

/// A time or a range of times under `key`.
pub(super) fn read_times(fields: &Fields<'_>, key: &str) -> Option<RangeInclusive<Duration>> {
    let words = fields.with_unit(key, TIME)?;
    let times = fields.read(words, |text| parse_times(text, key, TIME, fields))?;
    Some(times.value)
}

fn parse_time(text: &str, key: &str, units: Units, fields: &Fields<'_>) -> Result<Duration, Complaint> {
    match parse_duration(text.trim()) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err(Complaint::new(
            format!("`{key}` of {} is too long", fields.subject),
            "at most 365d",
        )),
        Err(error) => Err(fields.not_a_quantity(key, units, error)),
    }
}

/// Reads `T` or `T..T`.
pub(super) fn parse_times(text: &str, key: &str, units: Units, fields: &Fields<'_>) -> Result<RangeInclusive<Duration>, Complaint> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let range = parse_time(low, key, units, fields)?..=parse_time(high, key, units, fields)?;
    match range.is_empty() {
        false => Ok(range),
        true => Err(Complaint::new(
            format!("`{key}` of {} is an empty range", fields.subject),
            "write the shorter time first",
        )),
    }
}
