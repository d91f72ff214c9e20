//! What it means: names resolved, shares and picks dealt, boot times planned. The file has been checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::device::{Behaviors, Dealt, DeviceConfig, ImageBehavior};
use crate::faults::{PlannedFault, PlannedServerFault};
use crate::luck::{Luck, Purpose, device_key, text_key};
use crate::mcuboot::VerifyingKey;
use crate::measure::Metric;
use crate::model::{CohortName, CohortRule, DeviceId, DeviceIndex, FirmwareVersion, IngestKey, Key, Selector, Slug, Tags};
use crate::time::SimTime;
use crate::verdict::{Expectation, JudgedAt};

use super::check::cohorts_in;
use super::deal::{deal, positions, taken};
use super::document::{Place, Texts};
use super::error::Problems;
use super::fault;
use super::fields::cut;
use super::file::{
    AdminFile, CohortFile, ExpectFile, FaultFile, FleetFile, JudgedFile, MainFile, Moment, RolloutVerb, RuleFile, ScenarioFile,
    StepFile, TargetFile, TlsFile, Trace, VerbFile, VersionFile, WhoFile,
};
use super::images::Image;
use super::names::Names;
use super::plan::{
    BenchPlan, PlannedCheat, PlannedCohort, PlannedDevice, PlannedFleet, PlannedStep, ServerPlan, StepTime, StepVerb, TlsPlan,
    cheat_row,
};
use super::source::read_at_most;
use super::start::AtStart;
use super::target::{AdminPlan, Held, TargetPlan};

/// Devices up to which `trace = "auto"` writes traces.
const TRACED_DEVICES: usize = 10_000;
/// Largest bootloader that is read; what a board has room for is said where it is started.
const LARGEST_BOOTLOADER: u64 = 256 << 10;
/// MQTT keep-alive of the devices (protocol 2.1).
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Makes the parts of a plan.
pub(super) struct Resolver<'f> {
    pub file: &'f ScenarioFile,
    pub names: Names<'f>,
    pub texts: &'f Texts,
    pub luck: Luck,
    pub problems: &'f Problems,
    pub warnings: &'f Problems,
}

/// An external server, its files relative to `folder`. A program without a folder in its name is looked for where programs are.
fn planned_target(target: &TargetFile, folder: &Path) -> TargetPlan {
    let held = |held: &Held| held.within(folder);
    TargetPlan {
        address: target.address.value.clone(),
        key: target.key.as_ref().map(held),
        ca: target.ca.as_ref().map(held),
        identity: target.identity.as_ref().map(|(cert, key)| (held(cert), held(key))),
        insecure: target.insecure,
        admin: match &target.admin {
            AdminFile::Nobody => AdminPlan::Nobody,
            AdminFile::Program(program) if program.contains('/') => AdminPlan::Program(folder.join(program)),
            AdminFile::Program(program) => AdminPlan::Program(program.into()),
            AdminFile::Api(address) => AdminPlan::Api(address.clone()),
        },
    }
}

impl Resolver<'_> {
    /// The server under test; certificate files of the embedded one must be readable.
    pub fn server(&self, folder: &Path) -> ServerPlan {
        let server = &self.file.server;
        let tls = match &server.tls {
            TlsFile::Auto => TlsPlan::Auto,
            TlsFile::Off => TlsPlan::Off,
            TlsFile::Files { cert, key } => {
                let [cert, key] = [(cert, "cert"), (key, "key")].map(|(words, name)| {
                    let path = folder.join(&words.text);
                    if let Err(error) = std::fs::File::open(&path) {
                        let message = format!("`{name}` of `tls` of the server cannot be read: {error}");
                        self.problems
                            .add(words.inner, message, "paths are relative to the scenario file");
                    }
                    path
                });
                TlsPlan::Files { cert, key }
            }
        };
        ServerPlan {
            target: server.target.as_ref().map(|target| planned_target(target, folder)),
            listen: server.listen,
            tls,
            chase: server.chase,
            limits: server.limits.clone(),
            on_disk: server.on_disk,
            delay: server.delay.clone(),
            deadline: server.deadline,
            first_attempt: server.first_attempt,
            defect: server.defect.as_ref().map(|defect| defect.value),
        }
    }

    /// Where real firmware runs, if any fleet has it; a bootloader of the user's own must be readable.
    pub fn bench(&self, folder: &Path) -> Option<BenchPlan> {
        let qemu = &self.file.qemu;
        let bootloader = qemu.bootloader.as_ref().and_then(|words| {
            let read = read_at_most(&folder.join(&words.text), LARGEST_BOOTLOADER);
            let unreadable = |error: std::io::Error| {
                let message = format!("`bootloader` of `qemu` cannot be read: {}", cut(&error.to_string()));
                self.problems
                    .add(words.inner, message, "paths are relative to the scenario file");
            };
            read.map_err(unreadable).ok().map(Bytes::from)
        });
        self.file
            .fleets
            .iter()
            .any(|fleet| fleet.engine.is_some())
            .then(|| BenchPlan {
                binary: qemu.binary.clone(),
                machine: qemu.machine.to_owned(),
                bootloader,
                parallel: qemu.parallel,
                boot_timeout: qemu.boot_timeout,
            })
    }

    /// Whether transitions are written.
    pub fn trace(&self, devices: usize) -> bool {
        match self.file.general.trace {
            Trace::Auto => devices <= TRACED_DEVICES,
            Trace::On => true,
            Trace::Off => false,
        }
    }

    /// Fleets and their devices, with the key that each fleet's bootloader trusts.
    pub fn fleets(&self, images: &[Image], trusted: &[Option<VerifyingKey>]) -> (Vec<PlannedFleet>, Vec<PlannedDevice>) {
        let mut fleets = Vec::with_capacity(self.file.fleets.len());
        let mut devices = Vec::new();
        for (position, fleet) in self.file.fleets.iter().enumerate() {
            let first = DeviceIndex(devices.len() as u32);
            let keys: Vec<u64> = (0..fleet.count as u32)
                .map(|number| device_key(&fleet.name, number))
                .collect();
            devices.extend(self.devices(fleet, position as u16, &keys));
            let own = &devices[first.at()..];
            fleets.push(self.fleet(fleet, first, own, &keys, images, trusted[position].as_ref()));
        }
        self.check_ids(&devices);
        (fleets, devices)
    }

    fn fleet(
        &self,
        fleet: &FleetFile,
        first: DeviceIndex,
        devices: &[PlannedDevice],
        keys: &[u64],
        images: &[Image],
        trusted: Option<&VerifyingKey>,
    ) -> PlannedFleet {
        let main = &fleet.runs[0].value;
        let config = DeviceConfig {
            main: main.slug.clone(),
            ingest_key: self.ingest_key(),
            chip: Arc::clone(&fleet.flash.chip),
            swap: fleet.flash.swap,
            key: trusted.cloned(),
            reconnect: fleet.reconnect,
            retry: fleet.retry,
            connack_timeout: fleet.connack_timeout,
            keep_alive: KEEP_ALIVE,
            max_artifacts: fleet.max_artifacts,
            tls: !matches!(self.file.server.tls, TlsFile::Off),
            sdk: fleet.sdk,
            quirks: fleet.quirks,
            heartbeat: fleet.heartbeat,
            checks_fit: fleet.checks_fit,
            rollback_lock: fleet.rollback_lock,
            counts_wear: self.asks(Metric::Wear),
            on_board: false,
        };
        let image = images.iter().find(|image| image.firmware == *main);
        PlannedFleet {
            name: fleet.name.clone(),
            link: Arc::clone(&fleet.link),
            sleep: fleet.sleep,
            absence: fleet.absence,
            on_boards: fleet.engine.is_some(),
            config: Arc::new(config),
            behaviors: Arc::new(Behaviors {
                defect: fleet.defect.as_ref().map(|defect| defect.value),
                ..self.behaviors(fleet, devices, keys, images, trusted)
            }),
            runs: fleet.runs.iter().map(|version| version.value.clone()).collect(),
            image: image.map(|image| image.bytes.clone()).unwrap_or_default(),
            first,
            count: fleet.count as u32,
        }
    }

    /// True where a step or an expectation asks for a metric.
    fn asks(&self, metric: Metric) -> bool {
        let steps = self.file.steps.iter().filter_map(|step| step.when.as_ref());
        let expects = self.file.expects.iter().filter_map(|expect| expect.that.as_ref());
        steps.chain(expects).any(|asked| asked.measure.metric == metric)
    }

    /// The devices' password: of the seed, since it guards nothing but the run's own server.
    fn ingest_key(&self) -> IngestKey {
        let part = |ordinal| self.luck.draw(Purpose::ArtifactKey, text_key("ingest key"), ordinal);
        IngestKey::new(format!("{:016x}{:016x}", part(0), part(1)))
    }

    /// Which devices of a fleet an image is made for: judged once, since hardware does not change.
    fn fits(&self, version: &VersionFile, fleet: &FleetFile, devices: &[PlannedDevice]) -> Dealt<bool> {
        let Some(fits) = &version.fits else {
            return Dealt::Same(true);
        };
        let fitting = |device: &PlannedDevice| {
            fits.selector.matches(|key, value| match key {
                Key::Fleet => fleet.name == value,
                Key::Device => device.id.as_str() == value,
                Key::Tag(tag) => device.tags.get(tag).is_some_and(|found| found == value),
                Key::Cohort | Key::Runs | Key::Session | Key::Phase | Key::State | Key::Step => false,
            })
        };
        Dealt::Each {
            outcomes: vec![false, true],
            by_number: devices.iter().map(|device| u8::from(fitting(device))).collect(),
        }
    }

    fn behaviors(
        &self,
        fleet: &FleetFile,
        devices: &[PlannedDevice],
        keys: &[u64],
        images: &[Image],
        trusted: Option<&VerifyingKey>,
    ) -> Behaviors {
        let mut behaviors = Behaviors::default();
        for (version, image) in self.file.versions.iter().zip(images) {
            let ordinal = text_key(&version.firmware.to_string());
            let fits = self.fits(version, fleet, devices);
            let boot = deal(&version.boot, self.luck, Purpose::BootOutcome, ordinal, keys);
            let behavior = ImageBehavior {
                firmware: Arc::new(version.firmware.clone()),
                boot: boot.unless(&fits, version.elsewhere),
                fits,
                counter: version.counter,
                image: image.bytes.clone().into(),
                build_id: image.build_id,
                own_build_id: image.own_build_id.map(Arc::new),
                sound: image.is_sound(trusted),
            };
            behaviors.images.insert(image.digest, behavior);
            let install = deal(&version.install, self.luck, Purpose::InstallOutcome, ordinal, keys);
            behaviors.installs.insert(version.firmware.clone(), install);
        }
        behaviors
    }

    fn devices(&self, fleet: &FleetFile, position: u16, keys: &[u64]) -> Vec<PlannedDevice> {
        let moments = fleet.arrive.moments(self.luck, &fleet.name, fleet.count as u32);
        let late = self.file.general.duration.as_ref().map_or(0, |duration| {
            let end = SimTime::from(duration.value);
            moments.iter().filter(|moment| **moment > end).count()
        });
        if late > 0 {
            let message = format!(
                "{late} devices of fleet `{}` arrive after the end of the scenario",
                fleet.name
            );
            self.warnings
                .add(fleet.at, message, "make `duration` longer, or `arrive` faster");
        }
        let dealt: Vec<Vec<u8>> = fleet
            .tags
            .iter()
            .map(|(key, shares)| positions(shares, self.luck, Purpose::TagShare, text_key(key), keys))
            .collect();
        let mut combinations: BTreeMap<Vec<u8>, Arc<Tags>> = BTreeMap::new();
        moments
            .into_iter()
            .zip(keys)
            .enumerate()
            .map(|(number, (boot_at, &key))| {
                let chosen: Vec<u8> = dealt.iter().map(|positions| positions[number]).collect();
                let tags = combinations.entry(chosen).or_insert_with_key(|chosen| {
                    let values = fleet
                        .tags
                        .iter()
                        .zip(chosen)
                        .map(|((key, shares), &position)| (key.clone(), shares.parts[usize::from(position)].1.clone()));
                    Arc::new(values.collect())
                });
                PlannedDevice {
                    id: DeviceId::new(fleet.id.value.id(&fleet.name, number as u32)),
                    fleet: position,
                    number: number as u32,
                    key,
                    boot_at,
                    tags: tags.clone(),
                }
            })
            .collect()
    }

    /// Ids of one fleet differ by their numbers; those of several fleets may meet.
    fn check_ids(&self, devices: &[PlannedDevice]) {
        if self.file.fleets.len() < 2 {
            return;
        }
        let mut sorted: Vec<&PlannedDevice> = devices.iter().collect();
        sorted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let Some(pair) = sorted.windows(2).find(|pair| pair[0].id == pair[1].id) else {
            return;
        };
        let [a, b] = [pair[0], pair[1]].map(|device| &self.file.fleets[usize::from(device.fleet)]);
        let (first, second) = if a.name < b.name { (a, b) } else { (b, a) };
        let message = format!(
            "fleets `{}` and `{}` both have a device `{}`",
            first.name, second.name, pair[0].id
        );
        self.problems.add(second.id.at, message, "put {fleet} into the pattern");
    }

    /// Who cheats: each fleet is ranked once, and dealt to its kinds in their order, so that nobody cheats in two ways.
    pub fn cheats(&self) -> Vec<PlannedCheat> {
        let mut rows = Vec::new();
        let mut first = 0;
        for fleet in &self.file.fleets {
            let rank = |number: u32| self.luck.draw(Purpose::Cheat, device_key(&fleet.name, number), u64::MAX);
            let mut ranked: Vec<(u64, u32)> = Vec::new();
            if !fleet.cheats.is_empty() {
                ranked.extend((0..fleet.count as u32).map(|number| (rank(number), number)));
                ranked.sort_unstable();
            }
            let mut left = ranked.into_iter();
            for (cheat, pick) in &fleet.cheats {
                let wanted = taken(Some(*pick), fleet.count) as usize;
                let mut devices: Vec<_> = left
                    .by_ref()
                    .take(wanted)
                    .map(|(_, number)| DeviceIndex(first + number))
                    .collect();
                devices.sort_unstable();
                rows.push(PlannedCheat {
                    name: cheat_row(&fleet.name, *cheat),
                    cheat: *cheat,
                    devices,
                });
            }
            first += fleet.count as u32;
        }
        rows
    }

    /// Cohorts with the members that they have by hand.
    pub fn cohorts(&self, fleets: &[PlannedFleet], devices: &[PlannedDevice]) -> Vec<PlannedCohort> {
        let mut members: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        while members.len() < self.file.cohorts.len() {
            let ready = self.file.cohorts.iter().find(|cohort| {
                let known = |name: &str| name == "all" || members.contains_key(name);
                let waits = matches!(&cohort.rule, Some(RuleFile::Members(who)) if !cohorts_in(who).all(known));
                !members.contains_key(cohort.name.as_str()) && !waits
            });
            let cohort = ready.expect("checking found no cohort that is made of itself");
            let of = self.members(cohort, &members, fleets, devices);
            members.insert(&cohort.name, of);
        }
        let planned = |cohort: &CohortFile| {
            let chosen = || {
                let of = members[cohort.name.as_str()].iter().enumerate();
                of.filter(|(_, member)| **member)
                    .map(|(index, _)| DeviceIndex(index as u32))
                    .collect()
            };
            let (rule, who, members) = match &cohort.rule {
                Some(RuleFile::Where(who)) => (CohortRule::Where(who.selector.clone()), who.selector.clone(), Vec::new()),
                Some(RuleFile::Members(who)) => (CohortRule::ByHand, who.selector.clone(), chosen()),
                None => (CohortRule::ByHand, Selector::default(), chosen()),
            };
            PlannedCohort {
                name: CohortName::new(cohort.name.as_str()),
                rule,
                who,
                members,
            }
        };
        self.file.cohorts.iter().map(planned).collect()
    }

    /// Who is in a cohort at the start, by device.
    fn members(
        &self,
        cohort: &CohortFile,
        known: &BTreeMap<&str, Vec<bool>>,
        fleets: &[PlannedFleet],
        devices: &[PlannedDevice],
    ) -> Vec<bool> {
        let (who, by_hand) = match &cohort.rule {
            Some(RuleFile::Members(who)) => (who, true),
            Some(RuleFile::Where(who)) => (who, false),
            None => return vec![false; devices.len()],
        };
        let matches: Vec<bool> = devices
            .iter()
            .enumerate()
            .map(|(index, device)| {
                who.selector.matches(|key, value| match key {
                    Key::Fleet => fleets[usize::from(device.fleet)].name == value,
                    Key::Cohort => value == "all" || known.get(value).is_some_and(|members| members[index]),
                    Key::Device => device.id.as_str() == value,
                    Key::Tag(tag) => device.tags.get(tag).is_some_and(|found| found == value),
                    Key::Runs | Key::Session | Key::Phase | Key::State | Key::Step => false,
                })
            })
            .collect();
        let found = matches.iter().filter(|matched| **matched).count() as u64;
        if !by_hand {
            return matches;
        }
        self.check_found(&format!("`members` of cohort `{}`", cohort.name), who, found);
        self.pick(&who.selector, matches, found, devices)
    }

    /// What there is to say where a selection finds `found` devices.
    fn check_found(&self, subject: &str, who: &WhoFile, found: u64) {
        let wanted = who.selector.pick;
        if found == 0 {
            self.problems.add(
                who.words.inner,
                format!("{subject} matches no device"),
                "no device meets all of the conditions at once",
            );
        } else if taken(wanted, found) == 0 {
            let hint = format!("{found} devices match, and the pick takes none of them");
            self.warnings.add(who.words.inner, format!("{subject} is empty"), hint);
        } else if let Some(crate::model::Pick::Count(count)) = wanted.filter(|_| taken(wanted, u64::MAX) > found) {
            let hint = format!("{found} devices match: all of them are taken");
            self.warnings
                .add(who.words.inner, format!("{subject} wants {count} devices"), hint);
        }
    }

    /// The devices of lowest rank among the matches. All cohorts rank alike, so that 20 % contains 10 %.
    fn pick(&self, selector: &Selector, matches: Vec<bool>, found: u64, devices: &[PlannedDevice]) -> Vec<bool> {
        if selector.pick.is_none() {
            return matches;
        }
        let mut ranked: Vec<(u64, usize)> = matches
            .iter()
            .enumerate()
            .filter(|(_, matched)| **matched)
            .map(|(index, _)| (self.luck.draw(Purpose::CohortPick, devices[index].key, 0), index))
            .collect();
        ranked.sort_unstable();
        let mut picked = vec![false; matches.len()];
        for &(_, index) in ranked.iter().take(taken(selector.pick, found) as usize) {
            picked[index] = true;
        }
        picked
    }

    /// Steps in order of the file.
    pub fn steps(&self) -> Vec<PlannedStep> {
        self.file.steps.iter().filter_map(|step| self.step(step)).collect()
    }

    fn step(&self, step: &StepFile) -> Option<PlannedStep> {
        Some(PlannedStep {
            name: step.name.clone(),
            line: self.line(step.at),
            at: match step.not_before.as_ref().map(|moment| &moment.value) {
                None => StepTime::At(SimTime::ZERO),
                Some(Moment::Time(at)) => StepTime::At(*at),
                Some(Moment::AfterStep { step, by }) => StepTime::After {
                    step: step.clone(),
                    by: *by,
                },
            },
            when: step.when.as_ref().map(|asked| asked.measure.clone()),
            held_for: step.held_for,
            late: step.late,
            min_count: step.min_count,
            verb: self.verb(step.verb.as_ref()?),
        })
    }

    fn verb(&self, verb: &VerbFile) -> StepVerb {
        let cohort = |name: &str| CohortName::new(name);
        match verb {
            VerbFile::Deploy {
                packages,
                cohort: to,
                main,
            } => {
                let packages: Vec<FirmwareVersion> = packages.iter().map(|package| package.value.clone()).collect();
                StepVerb::Deploy {
                    main: self.main(&packages, &to.value, main),
                    packages,
                    cohort: cohort(&to.value),
                }
            }
            VerbFile::Rollout(verb, names) => {
                let steps = names.iter().map(|name| name.value.clone()).collect();
                match verb {
                    RolloutVerb::Cancel => StepVerb::Cancel { steps },
                    RolloutVerb::Pause => StepVerb::Pause { steps },
                    RolloutVerb::Resume => StepVerb::Resume { steps },
                    RolloutVerb::Retry => StepVerb::Retry { steps },
                }
            }
            VerbFile::Join { who, cohort: to } => StepVerb::Join {
                who: who.selector.clone(),
                cohort: cohort(&to.value),
            },
            VerbFile::Leave { who, cohort: from } => StepVerb::Leave {
                who: who.selector.clone(),
                cohort: cohort(&from.value),
            },
            VerbFile::Tag { who, tags } => StepVerb::Tag {
                who: who.selector.clone(),
                tags: tags.clone(),
            },
            VerbFile::Untag { who, keys } => StepVerb::Untag {
                who: who.selector.clone(),
                keys: keys
                    .iter()
                    .map(|key| key.value.clone())
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
            },
        }
    }

    /// The main package: the one named, or the one that the fleets reached have in their primary slots.
    fn main(&self, packages: &[FirmwareVersion], cohort: &str, main: &MainFile) -> Option<Slug> {
        match main {
            MainFile::None => None,
            MainFile::Slug(slug) => packages
                .iter()
                .map(|package| &package.slug)
                .find(|known| known.to_string() == slug.value)
                .cloned(),
            MainFile::ByFleet => {
                let slug = &packages.first()?.slug;
                let reached = self.names.reached(cohort);
                reached
                    .iter()
                    .any(|fleet| super::check::runs_as_main(fleet, slug))
                    .then(|| slug.clone())
            }
        }
    }

    /// Faults of the server in order of the file.
    pub fn server_faults(&self) -> Vec<PlannedServerFault> {
        let plan = |row: &FaultFile| fault::planned_of_server(row, self.line(row.at));
        self.file.faults.iter().filter_map(plan).collect()
    }

    /// Faults of devices in order of the file.
    pub fn faults(&self, start: AtStart<'_>) -> Vec<PlannedFault> {
        let plan = |row: &FaultFile| {
            if let Some(who) = row.who.as_ref().filter(|who| !who.selector.keys().any(Key::changes)) {
                let found = start.matching(&who.selector);
                self.check_found(&format!("`who` of {}", row.subject), who, found);
            }
            fault::check_boards(row, start, self.problems);
            fault::planned(row, self.line(row.at))
        };
        self.file.faults.iter().filter_map(plan).collect()
    }

    /// Expectations in order of the file.
    pub fn expectations(&self) -> Vec<Expectation> {
        self.file
            .expects
            .iter()
            .filter_map(|expect| self.expectation(expect))
            .collect()
    }

    fn expectation(&self, expect: &ExpectFile) -> Option<Expectation> {
        let that = expect.that.as_ref()?;
        Some(Expectation {
            text: that.words.text.clone(),
            name: expect.name.clone(),
            line: self.line(that.words.inner),
            measure: that.measure.clone(),
            at: match &expect.judged {
                JudgedFile::End => JudgedAt::End,
                JudgedFile::Always => JudgedAt::Always,
                JudgedFile::At(moment) => match &moment.value {
                    Moment::Time(at) => JudgedAt::Time(*at),
                    Moment::AfterStep { step, by } => JudgedAt::AfterStep {
                        step: step.clone(),
                        by: *by,
                    },
                },
            },
            abort_on_fail: expect.abort_on_fail,
            after: expect.after,
            mode: expect.modes,
        })
    }

    fn line(&self, at: Place) -> u32 {
        let text = &self.texts.0[at.text].text;
        text.as_bytes()[..at.start.min(text.len())]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count() as u32
            + 1
    }
}
