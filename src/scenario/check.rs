//! What a scenario must hold to beyond the form of its single values: names that exist, times that lie within, things that fit.

use std::collections::BTreeSet;

use crate::faults::FaultKind;
use crate::measure::LabelKey;
use crate::model::{FirmwareVersion, Key, Slug, Test, show_count};
use crate::verdict::Modes;

use super::chips;
use super::error::Problems;
use super::external;
use super::fault;
use super::fields::{Written, cut, suggest};
use super::file::{
    Asked, ExpectFile, FleetFile, ImageFile, JudgedFile, MOST_DEVICES, MainFile, Moment, RuleFile, ScenarioFile, StepFile,
    VerbFile, VersionFile, WhoFile,
};
use super::names::{Asking, Names};
use super::text::exact_time;

/// Messages that a device sends until it is online: CONNECT, its subscriptions, what it says of itself.
const MESSAGES_TO_CONNECT: u64 = 5;

/// Most packages that the protocol knows (protocol 3.1).
const MOST_PACKAGES: usize = 32;

/// Checks the whole file; what may be meant goes to `warnings`.
pub(super) fn check(file: &ScenarioFile, problems: &Problems, warnings: &Problems) {
    let names = Names::new(file);
    let check = Check {
        file,
        names: &names,
        problems,
    };
    check.cohorts();
    file.fleets.iter().for_each(|fleet| check.fleet(fleet));
    check.flaws();
    check.hardware();
    check.total();
    file.steps.iter().for_each(|step| check.step(step));
    check.step_cycles();
    file.faults.iter().for_each(|row| fault::check(row, file, &names, problems));
    file.expects
        .iter()
        .enumerate()
        .for_each(|(position, expect)| check.expect(position, expect));
    external::check(file, problems, warnings);
    check.warn(warnings);
}

struct Check<'c> {
    file: &'c ScenarioFile,
    names: &'c Names<'c>,
    problems: &'c Problems,
}

impl Check<'_> {
    fn cohorts(&self) {
        for cohort in &self.file.cohorts {
            match &cohort.rule {
                Some(RuleFile::Where(who)) => {
                    let subject = format!("`where` of cohort `{}`", cohort.name);
                    if self.names.check_matches(who, Asking::Ever, &subject, self.problems) {
                        self.names.check_who(who, &subject, self.problems);
                    }
                }
                Some(RuleFile::Members(who)) => {
                    let subject = format!("`members` of cohort `{}`", cohort.name);
                    if self.names.check_matches(who, Asking::AtStart, &subject, self.problems) {
                        self.names.check_who(who, &subject, self.problems);
                    }
                }
                None => {}
            }
        }
        for cohort in &self.file.cohorts {
            let mut seen = BTreeSet::new();
            if self.made_of(&cohort.name, &cohort.name, &mut seen) {
                let hint = "a cohort is made before those that name it";
                self.problems
                    .add(cohort.at, format!("cohort `{}` is made of itself", cohort.name), hint);
            }
        }
    }

    /// Whether the members of `cohort` depend on those of `target`.
    fn made_of(&self, cohort: &str, target: &str, seen: &mut BTreeSet<String>) -> bool {
        let rule = self.names.cohort(cohort).and_then(|cohort| cohort.rule.as_ref());
        let Some(RuleFile::Members(who)) = rule else { return false };
        cohorts_in(who).any(|other| other == target || (seen.insert(other.to_owned()) && self.made_of(other, target, seen)))
    }

    fn fleet(&self, fleet: &FleetFile) {
        let subject = format!("`runs` of fleet `{}`", fleet.name);
        for runs in &fleet.runs {
            self.version(runs, &subject);
        }
        self.board_images(fleet);
        self.trusts(fleet);
        let chip = &fleet.flash.chip;
        let Some(main) = fleet.runs.first() else { return };
        let versions = &self.file.versions;
        let installed = versions.iter().find(|version| version.firmware == main.value);
        if let Some(flaw) = installed.and_then(|version| version.flaw.as_ref()) {
            let message = format!("fleet `{}` runs `{}`, whose image is flawed", fleet.name, main.value);
            let hint = format!(
                "an image with `flaw = \"{}\"` is there to be deployed: run another",
                flaw.value
            );
            self.problems.add(main.at, message, hint);
        }
        let largest = chips::largest_image(chip);
        for version in self
            .file
            .versions
            .iter()
            .filter(|version| version.firmware.slug == main.value.slug)
        {
            if let ImageFile::Generated { size, at, .. } = &version.image
                && *size > largest
            {
                let message = format!(
                    "the image of `{}` does not fit the slot of an {}",
                    version.firmware, chip.name
                );
                let hint = format!(
                    "fleet `{}` takes at most {} B ({} KiB)",
                    fleet.name,
                    show_count(largest),
                    largest >> 10
                );
                self.problems.add(*at, message, hint);
            }
        }
    }

    /// What an image fits is said by what devices have.
    fn hardware(&self) {
        for version in &self.file.versions {
            let Some(fits) = &version.fits else { continue };
            let subject = format!("`fits` of firmware `{}`", version.firmware);
            self.names.check_who(fits, &subject, self.problems);
        }
    }

    /// A key of the user's own is for images of his own; a board's stands in its bootloader.
    fn trusts(&self, fleet: &FleetFile) {
        let (Some(words), Some(main)) = (&fleet.trusts, fleet.runs.first()) else {
            return;
        };
        if fleet.engine.is_some() {
            let message = format!("`trusts` of fleet `{}` cannot be had by its boards", fleet.name);
            let hint = "a board trusts the key that was built into its bootloader: leave it out";
            self.problems.add(words.inner, message, hint);
        }
        let of_main = |version: &&VersionFile| version.firmware.slug == main.value.slug;
        for version in self.file.versions.iter().filter(of_main) {
            if let ImageFile::Generated { at, .. } = version.image {
                let message = format!(
                    "the image of `{}` is generated, and fleet `{}` trusts a key of your own",
                    version.firmware, fleet.name
                );
                let hint = "name a signed image, for example file = \"app.signed.bin\", or leave `trusts` out";
                self.problems.add(at, message, hint);
            }
        }
    }

    /// Boards run real images, which nobody can generate.
    fn board_images(&self, fleet: &FleetFile) {
        let (Some(_), Some(main)) = (fleet.engine, fleet.runs.first()) else {
            return;
        };
        let of_main = |version: &&VersionFile| version.firmware.slug == main.value.slug;
        for version in self.file.versions.iter().filter(of_main) {
            if let ImageFile::Generated { at, .. } = version.image {
                let message = format!(
                    "the image of `{}` is generated, and fleet `{}` is on boards",
                    version.firmware, fleet.name
                );
                let hint = "name one that runs on them, for example file = \"firmware-fixtures/app-1.0.0.bin\"";
                self.problems.add(at, message, hint);
            }
        }
    }

    /// A flaw is for devices that run the firmware as main.
    fn flaws(&self) {
        for version in &self.file.versions {
            let as_main = self
                .file
                .fleets
                .iter()
                .any(|fleet| runs_as_main(fleet, &version.firmware.slug));
            if let Some(flaw) = version.flaw.as_ref().filter(|_| !as_main) {
                let message = format!(
                    "nobody could notice the flaw of `{}`: no fleet runs it as main",
                    version.firmware
                );
                let hint = "a package ends as its `install` says: leave `flaw` out";
                self.problems.add(flaw.at, message, hint);
            }
        }
    }

    fn total(&self) {
        let total: u64 = self.file.fleets.iter().map(|fleet| fleet.count).sum();
        if let Some(last) = self.file.fleets.last().filter(|_| total > MOST_DEVICES) {
            let message = format!("the fleets have {} devices in all", show_count(total));
            self.problems
                .add(last.at, message, format!("at most {}", show_count(MOST_DEVICES)));
        }
    }

    fn version(&self, version: &Written<FirmwareVersion>, subject: &str) {
        if !self.file.versions.iter().any(|known| known.firmware == version.value) {
            self.names
                .unknown_version(&version.value.to_string(), version.at, subject, self.problems);
        }
    }

    fn step(&self, step: &StepFile) {
        let subject = step.subject.as_str();
        if let Some(moment) = &step.not_before {
            self.moment(moment, "at", subject);
        }
        if let Some(when) = &step.when {
            self.names.check_measure(when, &format!("`when` of {subject}"), self.problems);
            let metric = when.measure.metric;
            if metric.is_of_harness() {
                let message = format!("`when` of {subject} waits for `{metric}`, which is known at the end alone");
                let hint = "ask for it in an expectation with mode = \"run\"";
                self.problems.add(when.words.inner, message, hint);
            }
        }
        match &step.verb {
            None => {}
            Some(VerbFile::Deploy { packages, cohort, main }) => {
                for package in packages {
                    self.version(package, &format!("`deploy` of {subject}"));
                }
                self.names
                    .check_cohort(&cohort.value, cohort.at, &format!("`to` of {subject}"), self.problems);
                if *main == MainFile::ByFleet
                    && let [package] = packages.as_slice()
                {
                    self.one_main(package, &cohort.value, subject);
                }
                if packages.len() > MOST_PACKAGES {
                    let message = format!("{subject} deploys {} packages", packages.len());
                    self.problems
                        .add(packages[MOST_PACKAGES].at, message, format!("at most {MOST_PACKAGES}"));
                }
            }
            Some(VerbFile::Rollout(verb, names)) => {
                for name in names {
                    self.names
                        .check_deployment(&name.value, name.at, &format!("`{verb}` of {subject}"), self.problems);
                }
            }
            Some(VerbFile::Join { who, cohort }) => {
                self.names.check_who(who, &format!("`join` of {subject}"), self.problems);
                self.by_hand(cohort, &format!("`to` of {subject}"));
            }
            Some(VerbFile::Leave { who, cohort }) => {
                self.names.check_who(who, &format!("`leave` of {subject}"), self.problems);
                self.by_hand(cohort, &format!("`from` of {subject}"));
            }
            Some(VerbFile::Tag { who, .. } | VerbFile::Untag { who, .. }) => {
                self.names.check_who(who, &format!("`who` of {subject}"), self.problems);
            }
        }
    }

    /// A package without `main` is main for all fleets that it may reach, or for none.
    fn one_main(&self, package: &Written<FirmwareVersion>, cohort: &str, subject: &str) {
        let slug = &package.value.slug;
        let (mains, others): (Vec<_>, Vec<_>) = self
            .names
            .reached(cohort)
            .into_iter()
            .filter(|fleet| !fleet.runs.is_empty())
            .partition(|fleet| runs_as_main(fleet, slug));
        if let (Some(main), Some(other)) = (mains.first(), others.first()) {
            let message = format!(
                "{subject} needs `main`: `{slug}` is main for fleet `{}`, not for fleet `{}`",
                main.name, other.name
            );
            let hint = format!("write main = \"{slug}\" or main = false, or one step for each fleet");
            self.problems.add(package.at, message, hint);
        }
    }

    /// Only cohorts by hand are joined and left.
    fn by_hand(&self, cohort: &Written<String>, subject: &str) {
        self.names.check_cohort(&cohort.value, cohort.at, subject, self.problems);
        let rule = self.names.cohort(&cohort.value).map(|cohort| &cohort.rule);
        if cohort.value == "all" {
            let hint = "every device is in it, always";
            self.problems
                .add(cohort.at, format!("cohort `all` in {subject} is not filled by hand"), hint);
        } else if matches!(rule, Some(Some(RuleFile::Where(_)))) {
            let message = format!("cohort `{}` in {subject} is not filled by hand", cohort.value);
            self.problems.add(cohort.at, message, "it follows tags: use `tag` or `untag`");
        }
    }

    fn moment(&self, moment: &Written<Moment>, key: &str, subject: &str) {
        match &moment.value {
            Moment::Time(time) => {
                let Some(duration) = &self.file.general.duration else { return };
                let at = time.since(crate::time::SimTime::ZERO);
                if at > duration.value {
                    let message = format!("`{key}` of {subject} lies after the end of the scenario");
                    let hint = format!("`duration` is {}", exact_time(duration.value));
                    self.problems.add(moment.at, message, hint);
                }
            }
            Moment::AfterStep { step, .. } => {
                if !self.names.step_names().any(|known| known == step) {
                    let message = format!("unknown step `{}` in `{key}` of {subject}", cut(step));
                    self.problems
                        .add(moment.at, message, suggest(step, self.names.step_names(), "steps"));
                }
            }
        }
    }

    /// Steps that wait for one another by `at` never fire.
    fn step_cycles(&self) {
        let waits_for = |name: &str| {
            let step = self.file.steps.iter().find(|step| step.name == name)?;
            match &step.not_before.as_ref()?.value {
                Moment::AfterStep { step, .. } => Some(step.as_str()),
                Moment::Time(_) => None,
            }
        };
        for step in &self.file.steps {
            let mut next = waits_for(&step.name);
            for _ in 0..self.file.steps.len() {
                if next == Some(step.name.as_str()) {
                    let at = step.not_before.as_ref().map_or(step.at, |moment| moment.at);
                    let hint = "it would never fire: give one of the steps a time";
                    self.problems.add(at, format!("{} waits for itself", step.subject), hint);
                    break;
                }
                next = next.and_then(waits_for);
            }
        }
    }

    fn expect(&self, position: usize, expect: &ExpectFile) {
        let subject = match &expect.name {
            Some(name) => format!("expectation `{}`", cut(name)),
            None => format!("expectation {}", position + 1),
        };
        if let Some(that) = &expect.that {
            self.names.check_measure(that, &subject, self.problems);
            let metric = that.measure.metric;
            let at_end = matches!(expect.judged, JudgedFile::End) && !expect.abort_on_fail;
            if metric.is_of_harness() && (expect.modes != Modes::Run || !at_end) {
                let message = format!("{subject} asks for `{metric}`, which only `run` knows, at its end");
                let hint = "write { that = \"...\", mode = \"run\" }, judged at the end";
                self.problems.add(that.words.inner, message, hint);
            }
        }
        if let JudgedFile::At(moment) = &expect.judged {
            self.moment(moment, "at", &subject);
        }
    }

    fn warn(&self, warnings: &Problems) {
        let used = self.used_versions();
        for version in self.file.versions.iter().filter(|version| !used.contains(&version.firmware)) {
            let hint = "no fleet runs it and no step deploys it";
            warnings.add(version.at, format!("firmware `{}` is never used", version.firmware), hint);
        }
        if let Some(at) = self
            .file
            .qemu
            .at
            .filter(|_| self.file.fleets.iter().all(|fleet| fleet.engine.is_none()))
        {
            warnings.add(at, "`qemu` is never used", "no fleet has engine = \"qemu\"");
        }
        let used = self.used_cohorts();
        for cohort in self.file.cohorts.iter().filter(|cohort| !used.contains(cohort.name.as_str())) {
            let hint = "no step, expectation or other cohort names it";
            warnings.add(cohort.at, format!("cohort `{}` is never used", cohort.name), hint);
        }
        let used = self.used_links();
        for link in self.file.links.iter().filter(|link| !used.contains(link.name.as_str())) {
            let hint = "no fleet and no fault names it";
            warnings.add(link.at, format!("link `{}` is never used", link.name), hint);
        }
        if let Some(defect) = &self.file.server.defect {
            let message = format!("the server has a bug planted in it: {}", defect.value);
            warnings.add(defect.at, message, "what it breaks says nothing of a sound server");
        }
        for fleet in &self.file.fleets {
            if let Some(defect) = &fleet.defect {
                let message = format!("fleet `{}` has a bug planted in it: {}", fleet.name, defect.value);
                warnings.add(defect.at, message, "what it breaks says nothing of sound devices");
            }
            let p99 = fleet.link.latency.p99() * 2;
            if fleet.connack_timeout < p99 {
                let message = format!(
                    "`connack_timeout` of fleet `{}` is shorter than a slow round trip",
                    fleet.name
                );
                let given = match fleet.connack_at {
                    Some(_) => String::new(),
                    None => format!("its default is {}, and ", exact_time(fleet.connack_timeout)),
                };
                let hint = format!(
                    "{given}p99 of link `{}` is {}: many connections will time out",
                    fleet.link.name,
                    exact_time(p99)
                );
                warnings.add(fleet.connack_at.or(fleet.link_at).unwrap_or(fleet.at), message, hint);
            }
        }
        self.warn_of_herds(warnings);
        for step in &self.file.steps {
            let Some(VerbFile::Deploy { packages, cohort, .. }) = &step.verb else {
                continue;
            };
            let reached = self.names.reached(&cohort.value);
            let least = reached.iter().min_by_key(|fleet| fleet.max_artifacts);
            if let Some(fleet) = least.filter(|fleet| packages.len() > usize::from(fleet.max_artifacts)) {
                let most = fleet.max_artifacts;
                let message = format!("{} deploys {} packages", step.subject, packages.len());
                let hint = format!(
                    "devices of fleet `{}` take {most}, and reject more: see `max_artifacts`",
                    fleet.name
                );
                warnings.add(packages[usize::from(most)].at, message, hint);
            }
        }
    }

    /// Fleets that ask more of a slow server than it can do before they give up: what they left behind is still in its queue when they
    /// come again, and the queue may never end.
    fn warn_of_herds(&self, warnings: &Problems) {
        let each = self.file.server.delay.idle();
        for fleet in &self.file.fleets {
            let times = u32::try_from(fleet.count.saturating_mul(MESSAGES_TO_CONNECT)).unwrap_or(u32::MAX);
            let (work, within) = (each.saturating_mul(times), fleet.arrive.takes(fleet.count));
            let wait = work.saturating_sub(within);
            if wait > fleet.connack_timeout {
                let message = format!("fleet `{}` comes faster than its server can take it", fleet.name);
                let hint = format!(
                    "{} devices send some {MESSAGES_TO_CONNECT} messages each to connect; with `server.delay` {} that is {} of work. Who \
                     waits longer than `connack_timeout` {} gives up and comes again, perhaps for ever",
                    fleet.count,
                    exact_time(each),
                    exact_time(work),
                    exact_time(fleet.connack_timeout)
                );
                warnings.add(fleet.at, message, hint);
            }
        }
    }

    fn used_versions(&self) -> BTreeSet<&FirmwareVersion> {
        let deployed = self.file.steps.iter().filter_map(|step| match &step.verb {
            Some(VerbFile::Deploy { packages, .. }) => Some(packages),
            Some(
                VerbFile::Rollout(..)
                | VerbFile::Join { .. }
                | VerbFile::Leave { .. }
                | VerbFile::Tag { .. }
                | VerbFile::Untag { .. },
            )
            | None => None,
        });
        let run = self.file.fleets.iter().map(|fleet| &fleet.runs);
        let kinds = self.file.faults.iter().filter_map(|fault| fault.kind.as_ref());
        let sent = kinds.filter_map(|kind| kind.value.image());
        let named = deployed.chain(run).flatten().map(|version| &version.value);
        named.chain(sent).collect()
    }

    fn used_links(&self) -> BTreeSet<&str> {
        let fleets = self.file.fleets.iter().map(|fleet| fleet.link.name.as_str());
        let kinds = self.file.faults.iter().filter_map(|fault| fault.kind.as_ref());
        let faults = kinds.filter_map(|kind| {
            let FaultKind::Link { profile } = &kind.value else {
                return None;
            };
            Some(profile.as_str())
        });
        fleets.chain(faults).collect()
    }

    fn used_cohorts(&self) -> BTreeSet<&str> {
        let mut used = BTreeSet::new();
        for cohort in &self.file.cohorts {
            if let Some(RuleFile::Members(who)) = &cohort.rule {
                used.extend(cohorts_in(who));
            }
        }
        for step in &self.file.steps {
            used.extend(step.when.iter().flat_map(cohorts_asked));
            match &step.verb {
                Some(VerbFile::Deploy { cohort, .. }) => {
                    used.insert(&cohort.value);
                }
                Some(VerbFile::Join { who, cohort } | VerbFile::Leave { who, cohort }) => {
                    used.insert(&cohort.value);
                    used.extend(cohorts_in(who));
                }
                Some(VerbFile::Tag { who, .. } | VerbFile::Untag { who, .. }) => used.extend(cohorts_in(who)),
                Some(VerbFile::Rollout(..)) | None => {}
            }
        }
        used.extend(
            self.file
                .faults
                .iter()
                .filter_map(|fault| fault.who.as_ref())
                .flat_map(cohorts_in),
        );
        used.extend(
            self.file
                .expects
                .iter()
                .filter_map(|expect| expect.that.as_ref())
                .flat_map(cohorts_asked),
        );
        used
    }
}

/// Whether the fleet's main firmware is this one.
pub(super) fn runs_as_main(fleet: &FleetFile, slug: &Slug) -> bool {
    fleet.runs.first().is_some_and(|main| main.value.slug == *slug)
}

/// The cohorts that a selector names.
pub(super) fn cohorts_in(who: &WhoFile) -> impl Iterator<Item = &str> {
    who.selector
        .terms
        .iter()
        .flat_map(|term| match &term.test {
            Test::Key {
                key: Key::Cohort,
                values,
            } => values.as_slice(),
            Test::All | Test::Key { .. } => &[],
        })
        .map(String::as_str)
}

fn cohorts_asked(asked: &Asked) -> impl Iterator<Item = &str> {
    let labels = asked.measure.labels.iter();
    labels
        .filter(|label| label.key == LabelKey::Who(Key::Cohort))
        .flat_map(|label| label.values.iter().map(String::as_str))
}
