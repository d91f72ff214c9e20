//! `[fleet.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::device::{Backoff, Defect, Quirks, RollbackLock, Sdk};
use crate::faults::{Absence, Cheat, LinkProfile, Sleep};
use crate::model::{FirmwareVersion, Pick, Share, closest, is_word, parse_duration, parse_share};

use super::super::arrival::Arrival;
use super::super::deal::taken;
use super::super::document::{Entry, Node, Place, Value, Words};
use super::super::error::Problems;
use super::super::fields::Need::{Optional, Required};
use super::super::fields::{ARRIVAL, Complaint, Fields, Keys, Written, as_text, cut, show, suggest};
use super::super::{links, presets};
use super::backoff::{SHORTEST_WAIT, constant, read_backoff};
use super::flash::FlashFile;
use super::general::read_defect;
use super::ids::IdPattern;
use super::link::LinkFile;
use super::packages::read_packages;
use super::quirks;
use super::shares::{Shares, one_of};
use super::{check_noun, nouns};

pub(super) const FLEET: Keys = &[
    ("count", Required),
    ("id", Optional),
    ("tags", Optional),
    ("runs", Required),
    ("arrive", Optional),
    ("link", Optional),
    ("reconnect", Optional),
    ("retry", Optional),
    ("connack_timeout", Optional),
    ("flash", Optional),
    ("trusts", Optional),
    ("power", Optional),
    ("sdk", Optional),
    ("quirks", Optional),
    ("defect", Optional),
    ("max_artifacts", Optional),
    ("heartbeat", Optional),
    ("cheats", Optional),
    ("checks_fit", Optional),
    ("rollback_lock", Optional),
    ("absence", Optional),
    ("engine", Optional),
];
/// Longest period of sleep.
const LONGEST_PERIOD: Duration = Duration::from_secs(365 * 86_400);
/// Most artifacts of a manifest that the newest device takes (protocol 3.1).
const USUAL_ARTIFACTS: u8 = 4;
/// How often a heartbeat may come (protocol 4.4).
const HEARTBEATS: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(3600);

/// Most devices of a fleet, and of a scenario.
pub(in super::super) const MOST_DEVICES: u64 = 10_000_000;

/// A fleet.
#[derive(Clone, Debug)]
pub(in super::super) struct FleetFile {
    pub name: String,
    pub at: Place,
    /// Zero where it is missing or wrong.
    pub count: u64,
    pub id: Written<IdPattern>,
    pub tags: BTreeMap<String, Shares<String>>,
    /// False where a tag is wrong, so that nothing can be said about what tags there are.
    pub tags_known: bool,
    /// The first is main.
    pub runs: Vec<Written<FirmwareVersion>>,
    pub arrive: Arrival,
    pub link: Arc<LinkProfile>,
    /// Where `link` stands, if it does.
    pub link_at: Option<Place>,
    pub reconnect: Backoff,
    pub retry: Backoff,
    pub connack_timeout: Duration,
    /// Where `connack_timeout` stands, if it does.
    pub connack_at: Option<Place>,
    pub flash: FlashFile,
    /// File with the public key that its bootloader trusts, relative to the scenario.
    pub trusts: Option<Words>,
    /// When its devices sleep; `None` is never.
    pub sleep: Option<Sleep>,
    /// Most artifacts of a manifest that it takes.
    pub max_artifacts: u8,
    /// Generation of the SDK; it decides what `retry` is where none is given.
    pub sdk: Sdk,
    pub quirks: Quirks,
    /// A bug planted in its devices.
    pub defect: Option<Written<Defect>>,
    pub heartbeat: Option<Duration>,
    /// Looks whether an image fits before it erases anything.
    pub checks_fit: bool,
    pub rollback_lock: RollbackLock,
    /// How its devices are away; `None` is never.
    pub absence: Option<Absence>,
    /// How many of its devices cheat, by kind, each once; together at most all of them.
    pub cheats: BTreeMap<Cheat, Pick>,
    /// Where it is written that its firmware is real and runs on boards.
    pub engine: Option<Place>,
}

/// `always`, or `awake T every T`.
fn parse_power(text: &str) -> Result<Option<Sleep>, Complaint> {
    const HINT: &str = "write \"always\", or for example \"awake 5m every 30m\"";
    let wrong = || Complaint::new(format!("`{}` is no `power`", cut(text)), HINT);
    if text.trim() == "always" {
        return Ok(None);
    }
    let rest = text.trim().strip_prefix("awake ").ok_or_else(wrong)?;
    let (awake, every) = rest.split_once(" every ").ok_or_else(wrong)?;
    let time = |text: &str| parse_duration(text.trim()).map_err(|error| Complaint::new(error.to_string(), HINT));
    let sleep = Sleep {
        awake: time(awake)?,
        every: time(every)?,
    };
    if sleep.awake.is_zero() || sleep.awake >= sleep.every || sleep.every > LONGEST_PERIOD {
        let message = format!("`{}` leaves no time awake, or none asleep", cut(text));
        return Err(Complaint::new(
            message,
            "the first time is above zero and less than the second, which is at most 365 days",
        ));
    }
    Ok(Some(sleep))
}

pub(super) fn read_all(entry: Option<&Entry>, start: Place, links: &[LinkFile], problems: &Problems) -> Vec<FleetFile> {
    let nouns = nouns(entry, problems);
    if nouns.is_empty() {
        let at = entry.map_or(start, |entry| entry.key_at);
        let hint = "write for example `fleet.demo = { count = 200, runs = \"app@1.0.0\" }`";
        problems.add(at, "the scenario has no fleet", hint);
    }
    let mut fleets: Vec<_> = nouns.iter().map(|entry| FleetFile::read(entry, links, problems)).collect();
    fleets.sort_by(|a, b| a.name.cmp(&b.name));
    fleets
}

impl FleetFile {
    fn read(entry: &Entry, links: &[LinkFile], problems: &Problems) -> FleetFile {
        let name = entry.key.clone();
        check_noun(&name, entry.key_at, "fleet", problems);
        let subject = format!("fleet `{}`", cut(&name));
        let mut fleet = FleetFile {
            at: entry.key_at,
            count: 0,
            id: Written {
                value: IdPattern::parse("{fleet}-{n:05}").ok().expect("the default pattern is one"),
                at: entry.key_at,
            },
            tags: BTreeMap::new(),
            tags_known: true,
            runs: Vec::new(),
            arrive: Arrival::AT_ONCE,
            link: links::link(links::DEFAULT).expect("the default link is a profile"),
            reconnect: constant(Duration::from_millis(500)),
            retry: Sdk::Newest.retry(),
            connack_timeout: Duration::from_millis(500),
            connack_at: None,
            link_at: None,
            flash: FlashFile::usual(),
            trusts: None,
            sleep: None,
            max_artifacts: USUAL_ARTIFACTS,
            sdk: Sdk::Newest,
            quirks: Quirks::default(),
            defect: None,
            heartbeat: None,
            checks_fit: false,
            rollback_lock: RollbackLock::Off,
            absence: None,
            cheats: BTreeMap::new(),
            engine: None,
            name,
        };
        if let Some(fields) = Fields::new(subject, entry.key_at, &entry.node, FLEET, problems) {
            fleet.read_fields(&fields, links);
        }
        fleet
    }

    fn read_fields(&mut self, fields: &Fields<'_>, own_links: &[LinkFile]) {
        if let Some(count) = fields.whole("count", 1..=MOST_DEVICES) {
            self.count = count.value;
        }
        if let Some(id) = fields.parsed("id", "\"{fleet}-{n:05}\"", IdPattern::parse) {
            self.id = id;
        }
        self.check_id(fields);
        self.read_tags(fields);
        self.runs = read_packages(fields, "runs");
        if let Some(words) = fields.with_unit("arrive", ARRIVAL) {
            let arrive = fields.read(words, |text| Arrival::parse(text, fields));
            self.arrive = arrive.map_or(Arrival::AT_ONCE, |arrive| arrive.value);
        }
        self.read_link(fields, own_links);
        self.read_sdk(fields);
        self.read_waits(fields);
        self.read_engine(fields);
        if let Some(flash) = FlashFile::read(fields) {
            self.check_board(&flash, fields);
            self.flash = flash;
        }
        self.trusts = fields.text("trusts", "\"signing.pub.pem\"").cloned();
        if let Some(sleep) = fields.parsed("power", "\"awake 5m every 30m\"", parse_power) {
            self.sleep = sleep.value;
        }
        if let Some(most) = fields.whole("max_artifacts", 1..=32) {
            self.max_artifacts = most.value as u8;
        }
        self.read_cheats(fields);
        if let Some(checks) = fields.boolean("checks_fit") {
            self.checks_fit = checks;
        }
        let lock = fields.parsed("rollback_lock", "\"confirm\"", |word| {
            let words: Vec<_> = RollbackLock::ALL.iter().map(|lock| lock.word()).collect();
            let known = one_of(word, &words, "rollback_lock", &fields.subject)?;
            Ok(RollbackLock::from_word(known).expect("it is one of them"))
        });
        self.rollback_lock = lock.map_or(RollbackLock::Off, |lock| lock.value);
        let absence = fields.parsed("absence", "\"4 %\"", |text| match presets::absence(text, &fields.subject) {
            Some(preset) => preset,
            None => Absence::parse(text).map_err(|hint| Complaint::new(format!("`{}` is no `absence`", cut(text)), hint)),
        });
        self.absence = absence.map(|absence| absence.value);
    }

    fn read_engine(&mut self, fields: &Fields<'_>) {
        let engine = fields.parsed("engine", "\"qemu\"", |word| {
            one_of(word, &["simulated", "qemu"], "engine", &fields.subject)
        });
        if let Some(engine) = engine.filter(|engine| engine.value == "qemu") {
            self.engine = Some(engine.at);
            self.flash = FlashFile::of_boards();
        }
    }

    /// Real firmware has the flash that it was linked for.
    fn check_board(&self, flash: &FlashFile, fields: &Fields<'_>) {
        if self.engine.is_some() && !flash.fits_boards() {
            let message = format!("`flash` of {} is not that of its boards", fields.subject);
            let hint = "boards are an nrf51822 that swaps by offset: leave it out";
            fields.problems.add(fields.key_at("flash"), message, hint);
        }
    }

    fn check_id(&self, fields: &Fields<'_>) {
        let id = &self.id;
        let longest = id
            .value
            .id(&self.name, u32::try_from(self.count.saturating_sub(1)).unwrap_or(u32::MAX));
        if !is_word(&longest) {
            let message = format!("ids of {} are too long", fields.subject);
            fields.problems.add(
                id.at,
                message,
                format!("`{}` has {} characters of at most 64", cut(&longest), longest.len()),
            );
        }
        if !id.value.has_number() && self.count > 1 {
            let message = format!("all devices of {} get the same id", fields.subject);
            fields.problems.add(id.at, message, "put {n} or {n:05} into the pattern");
        }
    }

    fn read_tags(&mut self, fields: &Fields<'_>) {
        let Some(node) = fields.node("tags") else { return };
        let Value::Table(table) = &node.value else {
            return fields.wrong("tags", node, "a table", "{ region = \"west\" }");
        };
        for entry in &table.0 {
            let subject = format!("tag `{}` of {}", cut(&entry.key), fields.subject);
            if !is_word(&entry.key) {
                fields
                    .problems
                    .add(entry.key_at, format!("{subject} is not a name for a tag"), TAG_FORM);
            }
            let parse = |words: &Words| tag_value(&words.text, &subject).map(|value| (value.clone(), value));
            match Shares::read(&entry.node, &subject, fields.problems, parse) {
                Some(shares) => drop(self.tags.insert(entry.key.clone(), shares)),
                None => self.tags_known = false,
            }
        }
    }

    fn read_cheats(&mut self, fields: &Fields<'_>) {
        let Some(node) = fields.node("cheats") else { return };
        let Value::Table(table) = &node.value else {
            return fields.wrong("cheats", node, "a table", "{ claim-success = \"5 %\", flood = 1 }");
        };
        for entry in &table.0 {
            let Some(cheat) = Cheat::from_word(&entry.key) else {
                let words = || Cheat::ALL.iter().map(|cheat| cheat.word());
                let hint = match closest(&entry.key, words()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("cheats are {}", words().collect::<Vec<_>>().join(", ")),
                };
                let message = format!("unknown cheat `{}` of {}", cut(&entry.key), fields.subject);
                fields.problems.add(entry.key_at, message, hint);
                continue;
            };
            match read_pick(&entry.node) {
                Some(pick) => drop(self.cheats.insert(cheat, pick)),
                None => {
                    let message = format!("cheat `{cheat}` of {} is no part of the fleet", fields.subject);
                    let hint = format!(
                        "found {}: write a count such as 3, or a share such as \"5 %\"",
                        show(&entry.node)
                    );
                    fields.problems.add(entry.node.at, message, hint);
                }
            }
        }
        let wanted: u64 = self.cheats.values().map(|pick| taken(Some(*pick), self.count)).sum();
        let by_count = |pick: &Pick| matches!(pick, Pick::Count(count) if *count > self.count);
        if wanted > self.count || self.cheats.values().any(by_count) {
            let message = format!("more devices of {} cheat than it has", fields.subject);
            let hint = format!("it has {}, and each cheats in one way: make the parts smaller", self.count);
            fields.problems.add(node.at, message, hint);
        }
    }

    fn read_link(&mut self, fields: &Fields<'_>, own: &[LinkFile]) {
        let link = fields.parsed("link", "\"wifi\"", |name| {
            named_link(name, own).ok_or_else(|| {
                Complaint::new(
                    format!("unknown link `{}` in {}", cut(name), fields.subject),
                    suggest(name, link_names(own), "links"),
                )
            })
        });
        if let Some(link) = link {
            self.link = link.value;
            self.link_at = Some(link.at);
        }
    }

    fn read_sdk(&mut self, fields: &Fields<'_>) {
        let words = Sdk::ALL.map(Sdk::word);
        let sdk = fields.parsed("sdk", "\"newest\"", |word| {
            let known = one_of(word, &words, "sdk", &fields.subject)?;
            Ok(Sdk::ALL.into_iter().find(|sdk| sdk.word() == known).unwrap_or_default())
        });
        if let Some(sdk) = sdk {
            self.sdk = sdk.value;
            self.retry = sdk.value.retry();
        }
        self.quirks = quirks::read(fields);
        self.defect = read_defect(fields, Defect::from_word, Defect::ALL.iter().map(|defect| defect.word()));
        self.heartbeat = read_heartbeat(fields);
    }

    fn read_waits(&mut self, fields: &Fields<'_>) {
        if let Some(reconnect) = read_backoff(fields, "reconnect") {
            self.reconnect = reconnect;
        }
        if let Some(retry) = read_backoff(fields, "retry") {
            self.retry = retry;
        }
        if let Some(timeout) = fields.time("connack_timeout") {
            if timeout.value < SHORTEST_WAIT {
                let message = format!("`connack_timeout` of {} is too short", fields.subject);
                fields.problems.add(timeout.at, message, "at least 1ms");
            }
            self.connack_timeout = timeout.value;
            self.connack_at = Some(timeout.at);
        }
    }
}

/// A count, or a share of the whole.
fn read_pick(node: &Node) -> Option<Pick> {
    match &node.value {
        Value::Integer(count) => u64::try_from(*count).ok().map(Pick::Count),
        Value::Text(words) => {
            let share = parse_share(&words.text).ok()?;
            (share <= Share::WHOLE).then_some(Pick::Share(share))
        }
        Value::Float(_) | Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => None,
    }
}

/// A time within the bounds of the SDK's build option, or `off`.
fn read_heartbeat(fields: &Fields<'_>) -> Option<Duration> {
    let node = fields.node("heartbeat")?;
    if as_text(node).is_some_and(|words| words.text == "off") {
        return None;
    }
    let every = fields.time("heartbeat")?;
    if !HEARTBEATS.contains(&every.value) {
        let message = format!("`heartbeat` of {} is out of range", fields.subject);
        fields.problems.add(every.at, message, "write 10s to 1h, or \"off\"");
    }
    Some(every.value)
}

/// A link of the scenario's own, or a profile.
pub(in super::super) fn named_link(name: &str, own: &[LinkFile]) -> Option<Arc<LinkProfile>> {
    let own = own.iter().find(|link| link.name == name);
    own.map(|link| Arc::clone(&link.profile)).or_else(|| links::link(name))
}

/// The links that there are: profiles, and the scenario's own.
pub(in super::super) fn link_names(own: &[LinkFile]) -> Vec<&str> {
    let mut names: Vec<&str> = links::names().collect();
    names.extend(own.iter().map(|link| link.name.as_str()));
    names
}

const TAG_FORM: &str = "tags and their values are 1 to 64 letters, digits, `.`, `_` and `-`";

/// The value of a tag, if it has the form of one.
pub(super) fn tag_value(text: &str, subject: &str) -> Result<String, Complaint> {
    match is_word(text) {
        true => Ok(text.to_owned()),
        false => Err(Complaint::new(
            format!("`{}` is not a value of {subject}", cut(text)),
            TAG_FORM,
        )),
    }
}
