//! What it means: names resolved, shares and picks dealt, boot times planned. The file has been checked.

mod fleets;
mod members;

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;

use crate::faults::{PlannedFault, PlannedServerFault};
use crate::luck::Luck;
use crate::model::{CohortName, FirmwareVersion, Key, Slug};
use crate::time::SimTime;
use crate::verdict::{Expectation, JudgedAt};

use super::document::{Place, Texts};
use super::error::Problems;
use super::fault;
use super::fields::cut;
use super::file::{
    AdminFile, ExpectFile, FaultFile, JudgedFile, MainFile, Moment, RolloutVerb, ScenarioFile, StepFile, TargetFile, TlsFile,
    Trace, VerbFile,
};
use super::names::Names;
use super::plan::{BenchPlan, PlannedStep, ServerPlan, StepTime, StepVerb, TlsPlan};
use super::source::read_at_most;
use super::start::AtStart;
use super::target::{AdminPlan, Held, TargetPlan};

/// Devices up to which `trace = "auto"` writes traces.
const TRACED_DEVICES: usize = 10_000;
/// Largest bootloader that is read; what a board has room for is said where it is started.
const LARGEST_BOOTLOADER: u64 = 256 << 10;

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
