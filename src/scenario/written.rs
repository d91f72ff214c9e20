//! The scenario written out again, every default and the seed included, in an order of its own; and the hash of what is played.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::faults::Sleep;
use crate::mcuboot::{Hex, VerifyingKey};
use crate::measure::Measure;
use crate::verdict::Modes;

use super::fault;
use super::file::quirks;
use super::file::{
    AdminFile, ExpectFile, FaultFile, FleetFile, General, ImageFile, JudgedFile, LinkFile, MainFile, Moment, RuleFile,
    ScenarioFile, ServerFile, Shares, StepFile, TargetFile, TlsFile, Trace, VerbFile, VersionFile,
};
use super::images::Image;
use super::outcome;
use super::plan::{Ends, Settle};
use super::text::{backoff, exact_data_rate, exact_rate, exact_size, exact_time, exact_times, quoted};
use crate::device::RollbackLock;
use crate::model::{AttemptId, EventRate, Pick, Share};
use crate::server::ServiceTime;

/// The scenario as TOML that reads back as the same.
pub(super) fn resolved(file: &ScenarioFile, name: &str) -> String {
    let mut out = Writer::default();
    out.table("scenario");
    out.text("name", name);
    if let Some(description) = &file.general.description {
        out.text("description", description);
    }
    out.raw("seed", file.general.seed);
    out.raw("language", 1);
    out.text(
        "trace",
        match file.general.trace {
            Trace::Auto => "auto",
            Trace::On => "on",
            Trace::Off => "off",
        },
    );
    out.played(&file.general);
    out.table("server");
    match &file.server.target {
        Some(target) => out.target(target, file.server.chase),
        None => {
            out.text("target", "embedded");
            out.text("listen", &file.server.listen.to_string());
            out.server(&file.server);
        }
    }
    out.qemu(file, true);
    for version in sorted_versions(file) {
        out.version(version, None);
    }
    file.links.iter().for_each(|link| out.link(link));
    file.fleets.iter().for_each(|fleet| out.fleet(fleet, None));
    out.cohorts(file);
    file.steps.iter().for_each(|step| out.step(step));
    file.faults.iter().for_each(|row| out.fault(row));
    file.expects.iter().for_each(|expect| out.expect(expect));
    out.text
}

/// 16 hex digits over what is played: steps, nouns, and what bounds them; not the scenario's name and description, the seed,
/// expectations or the target. Files of images and keys count by their content.
pub(super) fn hash(file: &ScenarioFile, images: &[Image], trusted: &[Option<VerifyingKey>]) -> String {
    let mut out = Writer::default();
    out.table("scenario");
    out.played(&file.general);
    out.table("server");
    out.server(&file.server);
    out.qemu(file, false);
    for version in sorted_versions(file) {
        out.version(version, images.iter().find(|image| image.firmware == version.firmware));
    }
    file.links.iter().for_each(|link| out.link(link));
    for (fleet, key) in file.fleets.iter().zip(trusted) {
        out.fleet(fleet, key.as_ref());
    }
    out.cohorts(file);
    file.steps.iter().for_each(|step| out.step(step));
    file.faults.iter().for_each(|row| out.fault(row));
    let digest = Sha256::digest(out.text.as_bytes());
    Hex(&digest[..8]).to_string()
}

/// Files that the resolved scenario names, to be kept beside it: how it calls each, and where it is. A key of a certificate is a secret and
/// stays where it is.
pub(super) fn kept_files(file: &ScenarioFile, folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let images = file.versions.iter().filter_map(|version| match &version.image {
        ImageFile::File(words) => Some(words),
        ImageFile::Generated { .. } => None,
    });
    let trusted = file.fleets.iter().filter_map(|fleet| fleet.trusts.as_ref());
    let all = images.chain(trusted).chain(&file.qemu.bootloader);
    let relative = all.filter(|words| !Path::new(&words.text).is_absolute());
    relative
        .map(|words| (PathBuf::from(kept_name(&words.text)), folder.join(&words.text)))
        .collect()
}

/// A path as the resolved scenario has it: nothing outside of its own folder.
fn kept_name(written: &str) -> String {
    let path = Path::new(written);
    if path.is_absolute() {
        return written.to_owned();
    }
    let below = path.components().filter(|part| matches!(part, Component::Normal(_)));
    below.collect::<PathBuf>().to_string_lossy().into_owned()
}

fn sorted_versions(file: &ScenarioFile) -> Vec<&VersionFile> {
    let mut versions: Vec<_> = file.versions.iter().collect();
    versions.sort_by_key(|version| (version.firmware.slug.clone(), version.version));
    versions
}

#[derive(Default)]
struct Writer {
    text: String,
}

impl Writer {
    fn table(&mut self, name: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.line(&format!("{gap}[{name}]"));
    }

    fn row(&mut self, name: &str) {
        self.line(&format!("\n[[{name}]]"));
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("writing to a string cannot fail");
    }

    fn raw(&mut self, key: &str, value: impl std::fmt::Display) {
        self.line(&format!("{key} = {value}"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, quoted(value));
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        self.raw(key, inline_list(values));
    }

    /// What of `[scenario]` decides what is played.
    fn played(&mut self, general: &General) {
        if let Some(duration) = &general.duration {
            self.text("duration", &exact_time(duration.value));
        }
        match general.settle {
            Settle::Auto => self.text("settle", "auto"),
            Settle::For(time) => self.text("settle", &exact_time(time)),
            Settle::Off => self.text("settle", "off"),
        }
        match general.ends {
            Ends::Settled => self.text("ends", "settled"),
            Ends::Duration => self.text("ends", "duration"),
        }
        self.text("warmup", &exact_time(general.warmup));
    }

    /// An external server: credentials by where they are held.
    fn target(&mut self, target: &TargetFile, chase: Duration) {
        self.text("target", &target.address.value.to_string());
        let (cert, cert_key) = target.identity.as_ref().map(|(cert, key)| (cert, key)).unzip();
        let held = [
            ("key", target.key.as_ref()),
            ("ca", target.ca.as_ref()),
            ("cert", cert),
            ("cert_key", cert_key),
        ];
        for (key, held) in held.into_iter().filter_map(|(key, held)| Some((key, held?))) {
            self.text(key, &held.to_string());
        }
        self.raw("insecure", target.insecure);
        let admin = match &target.admin {
            AdminFile::Nobody => "none".to_owned(),
            AdminFile::Program(program) => format!("exec {program}"),
            AdminFile::Api(address) => address.to_string(),
        };
        self.text("admin", &admin);
        self.text("chase", &exact_time(chase));
    }

    fn server(&mut self, server: &ServerFile) {
        match &server.tls {
            TlsFile::Auto => self.text("tls", "auto"),
            TlsFile::Off => self.text("tls", "off"),
            TlsFile::Files { cert, key } => {
                self.raw(
                    "tls",
                    format!("{{ cert = {}, key = {} }}", quoted(&cert.text), quoted(&key.text)),
                );
            }
        }
        self.text("store", if server.on_disk { "disk" } else { "memory" });
        self.text("chase", &exact_time(server.chase));
        self.raw("delay", service_time(&server.delay));
        self.text("deadline", &server.deadline.map_or_else(|| "off".to_owned(), exact_time));
        if server.first_attempt != AttemptId::FIRST {
            self.raw("first_attempt", server.first_attempt.number());
        }
        if let Some(defect) = &server.defect {
            self.text("defect", defect.value.word());
        }
        let limits = &server.limits;
        let written = [
            ("connections", limits.connections.map(|count| count.to_string())),
            ("connects", limits.connects.map(|rate| quoted(&exact_rate(rate)))),
            ("downloads", limits.downloads.map(|count| count.to_string())),
            ("egress", limits.egress.map(|bits| quoted(&exact_data_rate(bits)))),
            ("offers", limits.offers.map(|rate| quoted(&exact_rate(rate)))),
        ];
        let written = written
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key} = {}", value?)));
        let written = written.collect::<Vec<_>>().join(", ");
        if !written.is_empty() {
            self.raw("limits", format!("{{ {written} }}"));
        }
    }

    /// The bench, where a fleet needs one; which program emulates it changes nothing that is played.
    fn qemu(&mut self, file: &ScenarioFile, whole: bool) {
        let qemu = &file.qemu;
        if file.fleets.iter().all(|fleet| fleet.engine.is_none()) {
            return;
        }
        self.table("qemu");
        if whole {
            self.text("binary", &qemu.binary);
            self.raw("parallel", qemu.parallel);
        }
        self.text("machine", qemu.machine);
        if let Some(bootloader) = &qemu.bootloader {
            self.text("bootloader", &kept_name(&bootloader.text));
        }
        self.text("boot_timeout", &exact_time(qemu.boot_timeout));
    }

    fn version(&mut self, version: &VersionFile, image: Option<&Image>) {
        let (slug, name) = (&version.firmware.slug, version.firmware.version.to_string());
        self.table(&format!("firmware.{slug}.{}", quoted(&name)));
        match (&version.image, image) {
            (ImageFile::Generated { size, pattern, .. }, _) => {
                self.text("size", &exact_size(*size));
                self.text("pattern", pattern);
            }
            (ImageFile::File(_), Some(image)) => self.text("file", &format!("{} {}", image.digest, image.bytes.len())),
            (ImageFile::File(words), None) => self.text("file", &kept_name(&words.text)),
        }
        if let Some(flaw) = &version.flaw {
            self.text("flaw", flaw.value.word());
        }
        self.raw("boot", shares(&version.boot));
        if let Some(fits) = &version.fits {
            self.text("fits", &fits.selector.to_string());
            self.text("elsewhere", &outcome::boot_text(&version.elsewhere));
        }
        if version.counter > 0 {
            self.raw("counter", version.counter);
        }
        self.raw("install", shares(&version.install));
    }

    fn link(&mut self, link: &LinkFile) {
        self.table(&format!("link.{}", link.name));
        link.written.iter().for_each(|(key, value)| self.text(key, value));
    }

    fn fleet(&mut self, fleet: &FleetFile, key: Option<&VerifyingKey>) {
        self.table(&format!("fleet.{}", fleet.name));
        self.raw("count", fleet.count);
        self.text("id", &fleet.id.value.text);
        if !fleet.tags.is_empty() {
            let tags: Vec<_> = fleet
                .tags
                .iter()
                .map(|(key, values)| format!("{} = {}", quoted(key), shares(values)))
                .collect();
            self.raw("tags", format!("{{ {} }}", tags.join(", ")));
        }
        self.list("runs", fleet.runs.iter().map(|version| version.value.to_string()));
        self.text("arrive", &fleet.arrive.to_string());
        self.text("link", &fleet.link.name);
        self.text("reconnect", &backoff(fleet.reconnect));
        self.text("retry", &backoff(fleet.retry));
        self.text("connack_timeout", &exact_time(fleet.connack_timeout));
        self.raw("flash", &fleet.flash.written);
        match (&fleet.trusts, key) {
            (None, _) => {}
            (Some(words), None) => self.text("trusts", &kept_name(&words.text)),
            (Some(_), Some(key)) => self.text("trusts", &Hex(&key.hash()).to_string()),
        }
        match fleet.sleep {
            None => self.text("power", "always"),
            Some(Sleep { awake, every }) => self.text("power", &format!("awake {} every {}", exact_time(awake), exact_time(every))),
        }
        self.text("sdk", fleet.sdk.word());
        self.raw("quirks", quirks::written(fleet.quirks));
        if let Some(defect) = &fleet.defect {
            self.text("defect", defect.value.word());
        }
        self.raw("max_artifacts", fleet.max_artifacts);
        if fleet.checks_fit {
            self.raw("checks_fit", true);
        }
        if fleet.rollback_lock != RollbackLock::Off {
            self.text("rollback_lock", fleet.rollback_lock.word());
        }
        if let Some(absence) = &fleet.absence {
            self.text("absence", &absence.to_string());
        }
        if !fleet.cheats.is_empty() {
            let cheats = fleet.cheats.iter().map(|(cheat, pick)| match pick {
                Pick::Count(count) => format!("{cheat} = {count}"),
                Pick::Share(share) => format!("{cheat} = {}", quoted(&share.to_string())),
            });
            let cheats: Vec<_> = cheats.collect();
            self.raw("cheats", format!("{{ {} }}", cheats.join(", ")));
        }
        self.text("heartbeat", &fleet.heartbeat.map_or_else(|| "off".to_owned(), exact_time));
        self.text("engine", if fleet.engine.is_some() { "qemu" } else { "simulated" });
    }

    fn cohorts(&mut self, file: &ScenarioFile) {
        for cohort in &file.cohorts {
            self.table(&format!("cohort.{}", cohort.name));
            match &cohort.rule {
                Some(RuleFile::Members(who)) => self.text("members", &who.selector.to_string()),
                Some(RuleFile::Where(who)) => self.text("where", &who.selector.to_string()),
                None => {}
            }
        }
    }

    fn step(&mut self, step: &StepFile) {
        self.row("step");
        self.text("name", &step.name);
        let at = step.not_before.as_ref().map(|moment| &moment.value);
        self.text("at", &at.map_or_else(|| "0s".to_owned(), moment));
        if let Some(when) = &step.when {
            self.text("when", &asked(&when.measure, &when.words.text));
            self.text("for", &exact_time(step.held_for));
            if !step.late.is_zero() {
                self.text("late", &exact_time(step.late));
            }
            self.raw("min_count", step.min_count);
        }
        match &step.verb {
            None => {}
            Some(VerbFile::Deploy { packages, cohort, main }) => {
                self.list("deploy", packages.iter().map(|package| package.value.to_string()));
                self.text("to", &cohort.value);
                match main {
                    MainFile::ByFleet => {}
                    MainFile::None => self.raw("main", false),
                    MainFile::Slug(slug) => self.text("main", &slug.value),
                }
            }
            Some(VerbFile::Rollout(verb, names)) => {
                let names: Vec<_> = names.iter().map(|name| name.value.as_str()).collect();
                self.text(verb.word(), &names.join("|"));
            }
            Some(VerbFile::Join { who, cohort }) => {
                self.text("join", &who.selector.to_string());
                self.text("to", &cohort.value);
            }
            Some(VerbFile::Leave { who, cohort }) => {
                self.text("leave", &who.selector.to_string());
                self.text("from", &cohort.value);
            }
            Some(VerbFile::Tag { who, tags }) => {
                let tags: Vec<_> = tags
                    .iter()
                    .map(|(key, value)| format!("{} = {}", quoted(key), quoted(value)))
                    .collect();
                self.raw("tag", format!("{{ {} }}", tags.join(", ")));
                self.text("who", &who.selector.to_string());
            }
            Some(VerbFile::Untag { who, keys }) => {
                self.list("untag", keys.iter().map(|key| key.value.clone()));
                self.text("who", &who.selector.to_string());
            }
        }
    }

    fn fault(&mut self, row: &FaultFile) {
        self.row("fault");
        self.text("name", &row.name);
        if let Some(kind) = &row.kind {
            self.text("inject", &fault::kind(&kind.value));
        }
        if let Some(kind) = &row.server {
            self.text("inject", &fault::server_kind(kind.value));
            self.text("who", "server");
        }
        if let Some(who) = &row.who {
            self.text("who", &who.selector.to_string());
        }
        self.text("at", &fault::moment(&row.moment));
        let own = row
            .kind
            .as_ref()
            .and_then(|kind| kind.value.lasts())
            .or(row.server.as_ref().and_then(|kind| kind.value.lasts()))
            .filter(|own| !own.is_zero());
        if let Some(lasting) = row
            .lasting
            .as_ref()
            .map(|lasting| lasting.value.clone())
            .or(own.map(|own| own..=own))
        {
            self.text("for", &exact_times(&lasting));
        }
        if let Some(every) = &row.every {
            self.text("every", &exact_time(every.value));
        }
        if let Some(times) = row
            .times
            .as_ref()
            .map(|times| times.value)
            .or(row.every.is_none().then_some(1))
        {
            self.raw("times", times);
        }
        if let Some(chance) = &row.chance {
            self.text("chance", &chance.value.to_string());
        }
        if !row.only.is_empty() {
            self.list("only", row.only.iter().map(|only| only.value.to_string()));
        }
    }

    fn expect(&mut self, expect: &ExpectFile) {
        self.row("expect");
        if let Some(that) = &expect.that {
            self.text("that", &asked(&that.measure, &that.words.text));
        }
        if let Some(name) = &expect.name {
            self.text("name", name);
        }
        match &expect.judged {
            JudgedFile::End => self.text("at", "end"),
            JudgedFile::Always => self.text("at", "always"),
            JudgedFile::At(at) => self.text("at", &moment(&at.value)),
        }
        self.raw("abort_on_fail", expect.abort_on_fail);
        if expect.abort_on_fail {
            self.text("after", &exact_time(expect.after));
        }
        match expect.modes {
            Modes::Both => self.text("mode", "both"),
            Modes::Run => self.text("mode", "run"),
            Modes::Sim => self.text("mode", "sim"),
        }
    }
}

/// A measure in canonical form, where that reads back as the same; else as it is written.
fn asked(measure: &Measure, written: &str) -> String {
    let canonical = measure.to_string();
    match Measure::parse(&canonical) {
        Ok(read) if read == *measure => canonical,
        Ok(_) | Err(_) => written.trim().to_owned(),
    }
}

fn moment(moment: &Moment) -> String {
    match moment {
        Moment::Time(at) => exact_time(at.since(crate::time::SimTime::ZERO)),
        Moment::AfterStep { step, by } => format!("step:{step}+{}", exact_time(*by)),
    }
}

fn inline_list(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| quoted(&value)).collect();
    format!("[{}]", values.join(", "))
}

fn shares<T>(shares: &Shares<T>) -> String {
    match shares.parts.as_slice() {
        [(text, _, _)] => quoted(text),
        parts if shares.weighted => {
            let parts: Vec<_> = parts
                .iter()
                .map(|(text, _, weight)| format!("{} = {}", quoted(text), quoted(&Share(*weight).to_string())))
                .collect();
            format!("{{ {} }}", parts.join(", "))
        }
        parts => inline_list(parts.iter().map(|(text, _, _)| text.clone())),
    }
}

/// A service time: one, or one for each load.
fn service_time(times: &ServiceTime) -> String {
    match times.steps() {
        [] => quoted("0ms"),
        [(_, time)] => quoted(&exact_time(*time)),
        steps => {
            let step =
                |(rate, time): &(EventRate, Duration)| format!("{} = {}", quoted(&exact_rate(*rate)), quoted(&exact_time(*time)));
            format!("{{ {} }}", steps.iter().map(step).collect::<Vec<_>>().join(", "))
        }
    }
}
