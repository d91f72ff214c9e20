//! What a scenario's names stand for, and which of them a selector or a measure may use.

use std::collections::{BTreeMap, BTreeSet};

use crate::measure::{LabelKey, OwnKey};
use crate::model::{Key, Phase, Session, Tags, Term, Test, UpdateState, closest, is_word};

use super::document::Place;
use super::error::Problems;
use super::fields::{cut, list, suggest};
use super::file::{Asked, CohortFile, FleetFile, RuleFile, ScenarioFile, StepFile, VerbFile, WhoFile};
use super::plan::cheat_row;
use super::spans;

/// Every name of a scenario.
pub(super) struct Names<'f> {
    file: &'f ScenarioFile,
    /// Values of each tag that a device may have, at the start or after a step.
    tags: BTreeMap<&'f str, BTreeSet<&'f str>>,
    /// Tags as steps set them.
    set_later: Vec<&'f Tags>,
    /// Tags that steps remove.
    removed_later: BTreeSet<&'f str>,
}

/// When a condition is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Before the first step.
    AtStart,
    /// At the start or after any step.
    Ever,
}

impl<'f> Names<'f> {
    pub fn new(file: &'f ScenarioFile) -> Self {
        let verbs = || file.steps.iter().filter_map(|step| step.verb.as_ref());
        let set_later: Vec<&Tags> = verbs()
            .filter_map(|verb| match verb {
                VerbFile::Tag { tags, .. } => Some(tags),
                VerbFile::Deploy { .. }
                | VerbFile::Rollout(..)
                | VerbFile::Join { .. }
                | VerbFile::Leave { .. }
                | VerbFile::Untag { .. } => None,
            })
            .collect();
        let removed_later = verbs()
            .filter_map(|verb| match verb {
                VerbFile::Untag { keys, .. } => Some(keys.iter().map(|key| key.value.as_str())),
                VerbFile::Deploy { .. }
                | VerbFile::Rollout(..)
                | VerbFile::Join { .. }
                | VerbFile::Leave { .. }
                | VerbFile::Tag { .. } => None,
            })
            .flatten()
            .collect();
        let mut tags: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (key, shares) in file.fleets.iter().flat_map(|fleet| &fleet.tags) {
            let values = shares.parts.iter().map(|(value, _, _)| value.as_str());
            tags.entry(key).or_default().extend(values);
        }
        for (key, value) in set_later.iter().copied().flatten() {
            tags.entry(key).or_default().insert(value);
        }
        Names {
            file,
            tags,
            set_later,
            removed_later,
        }
    }

    fn tags_known(&self) -> bool {
        self.file.fleets.iter().all(|fleet| fleet.tags_known)
    }

    pub fn fleet_names(&self) -> impl Iterator<Item = &'f str> + Clone {
        self.file.fleets.iter().map(|fleet| fleet.name.as_str())
    }

    /// Cohorts, `all` among them.
    pub fn cohort_names(&self) -> impl Iterator<Item = &'f str> + Clone {
        std::iter::once("all").chain(self.file.cohorts.iter().map(|cohort| cohort.name.as_str()))
    }

    pub fn cohort(&self, name: &str) -> Option<&'f CohortFile> {
        self.file.cohorts.iter().find(|cohort| cohort.name == name)
    }

    pub fn step_names(&self) -> impl Iterator<Item = &'f str> + Clone {
        self.file.steps.iter().map(|step| step.name.as_str())
    }

    /// Names of the steps that make a deployment.
    pub fn deployments(&self) -> impl Iterator<Item = &'f str> + Clone {
        let deploys = |step: &&StepFile| matches!(step.verb, Some(VerbFile::Deploy { .. }) | None);
        self.file.steps.iter().filter(deploys).map(|step| step.name.as_str())
    }

    pub fn versions(&self) -> Vec<String> {
        self.file
            .versions
            .iter()
            .map(|version| version.firmware.to_string())
            .collect()
    }

    /// Says that a version is not known.
    pub fn unknown_version(&self, version: &str, at: Place, subject: &str, problems: &Problems) {
        let versions = self.versions();
        let slug = version.split_once('@').map_or(version, |(slug, _)| slug);
        let of_slug: Vec<&str> = versions
            .iter()
            .filter_map(|known| known.split_once('@'))
            .filter(|(known, _)| *known == slug)
            .map(|(_, version)| version)
            .collect();
        let hint = match of_slug.as_slice() {
            [] => suggest(version, versions.iter().map(String::as_str), "versions"),
            known => format!("versions of `{slug}` are {}", list(known.iter().copied())),
        };
        problems.add(at, format!("unknown firmware version `{}` in {subject}", cut(version)), hint);
    }

    /// Says that a step is not known, or makes no deployment.
    pub fn check_deployment(&self, name: &str, at: Place, subject: &str, problems: &Problems) {
        if self.deployments().any(|known| known == name) {
            return;
        }
        if self.step_names().any(|known| known == name) {
            let hint = suggest(name, self.deployments(), "deployments");
            return problems.add(at, format!("step `{name}` in {subject} makes no deployment"), hint);
        }
        let hint = suggest(name, self.deployments(), "deployments");
        problems.add(at, format!("unknown step `{}` in {subject}", cut(name)), hint);
    }

    /// Says that a cohort is not known; who selects devices in its place is shown how a cohort is made of them.
    pub fn check_cohort(&self, name: &str, at: Place, subject: &str, problems: &Problems) {
        if !self.cohort_names().any(|known| known == name) {
            let fleet = self.fleet_names().any(|known| known == name);
            let hint = match name.split_once(':') {
                None if fleet => format!("a fleet is made a cohort by `cohort.{name}.members = \"fleet:{name}\"`"),
                Some((_, chosen)) if is_word(chosen) => {
                    let name = cut(name);
                    format!("make them a cohort, `cohort.{chosen}.members = \"{name}\"`, and write `{chosen}` here")
                }
                None | Some(_) => suggest(name, self.cohort_names(), "cohorts"),
            };
            problems.add(at, format!("unknown cohort `{}` in {subject}", cut(name)), hint);
        }
    }

    /// Checks the names that a selector uses.
    pub fn check_who(&self, who: &WhoFile, subject: &str, problems: &Problems) {
        for (position, term) in who.selector.terms.iter().enumerate() {
            if let Test::Key { key, values } = &term.test {
                for (number, value) in values.iter().enumerate() {
                    let places = (who.term(position), who.value(position, number));
                    self.check_value(key, value, places, subject, problems);
                }
            }
        }
    }

    /// Checks the names that a measure uses.
    pub fn check_measure(&self, asked: &Asked, subject: &str, problems: &Problems) {
        for (position, label) in asked.measure.labels.iter().enumerate() {
            let term = spans::label(&asked.words.text, position);
            for (number, value) in label.values.iter().enumerate() {
                let at = asked.words.part(spans::value(&asked.words.text, term.clone(), number));
                let places = (asked.words.part(term.clone()), at);
                match &label.key {
                    LabelKey::Who(key) => self.check_value(key, value, places, subject, problems),
                    LabelKey::Own(OwnKey::Fault) => self.check_fault(value, at, subject, problems),
                    LabelKey::Own(_) => {}
                }
            }
        }
    }

    fn check_fault(&self, name: &str, at: Place, subject: &str, problems: &Problems) {
        let faults = self.file.faults.iter().map(|fault| fault.name.clone());
        let cheats = self.file.fleets.iter().flat_map(|fleet| {
            let kinds = fleet.cheats.keys();
            kinds.map(|cheat| cheat_row(&fleet.name, *cheat))
        });
        let names: Vec<String> = faults.chain(cheats).collect();
        if !names.iter().any(|known| known == name) {
            let hint = suggest(name, names.iter().map(String::as_str), "faults");
            problems.add(at, format!("unknown fault `{}` in {subject}", cut(name)), hint);
        }
    }

    /// Checks one value; `places` are those of its term and of itself.
    fn check_value(&self, key: &Key, value: &str, places: (Place, Place), subject: &str, problems: &Problems) {
        let (term, at) = places;
        let one_of = |words: Vec<&'static str>| {
            if !words.contains(&value) {
                let hint = suggest(value, words.iter().copied(), "values");
                problems.add(at, format!("unknown {key} `{}` in {subject}", cut(value)), hint);
            }
        };
        match key {
            Key::Fleet => {
                if !self.fleet_names().any(|known| known == value) {
                    let hint = suggest(value, self.fleet_names(), "fleets");
                    problems.add(at, format!("unknown fleet `{}` in {subject}", cut(value)), hint);
                }
            }
            Key::Cohort => self.check_cohort(value, at, subject, problems),
            Key::Step => self.check_deployment(value, at, subject, problems),
            Key::Runs => {
                if !self.versions().iter().any(|known| known == value) {
                    self.unknown_version(value, at, subject, problems);
                }
            }
            Key::Device => {
                if !self.file.fleets.iter().any(|fleet| has_device(fleet, value)) {
                    problems.add(at, format!("no device is called `{}` in {subject}", cut(value)), self.ids());
                }
            }
            Key::Tag(tag) if self.tags_known() => {
                let known = self.tags.get(tag.as_str());
                if !known.is_some_and(|values| values.contains(value)) {
                    let at = if known.is_some() { at } else { term };
                    let message = format!("no device is ever `{key}:{}` in {subject}", cut(value));
                    problems.add(at, message, self.tag_hint(tag, value));
                }
            }
            Key::Tag(_) => {}
            Key::State => one_of(UpdateState::ALL.iter().map(|state| state.word()).collect()),
            Key::Phase => one_of(Phase::ALL.iter().map(|phase| phase.word()).collect()),
            Key::Session => one_of(Session::ALL.iter().map(|session| session.word()).collect()),
        }
    }

    fn ids(&self) -> String {
        let fleets = self.file.fleets.iter().filter(|fleet| fleet.count > 0).map(|fleet| {
            let id = |number: u64| fleet.id.value.id(&fleet.name, number as u32);
            format!("{} to {}", id(0), id(fleet.count - 1))
        });
        format!("ids are {}", fleets.take(5).collect::<Vec<_>>().join(", "))
    }

    fn tag_hint(&self, tag: &str, value: &str) -> String {
        let values = |tag: &str| {
            let values = self.tags.get(tag).into_iter().flatten().copied();
            list(values)
        };
        if let Some(known) = self.tags.get(tag) {
            // A word of one or two letters is close to everything.
            return match closest(value, known.iter().copied()).filter(|_| value.len() > 2) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("values of `{tag}` are {}", values(tag)),
            };
        }
        match closest(tag, self.tags.keys().copied()) {
            Some(meant) => format!("no device has tag `{tag}`: did you mean `{meant}` ({})?", values(meant)),
            None if self.tags.is_empty() => format!("no device has tag `{tag}`: there are no tags"),
            None => format!("no device has tag `{tag}`: tags are {}", list(self.tags.keys().copied())),
        }
    }

    /// Says that a cohort's selector matches no device, pointing at the first term that fails everywhere; false if it does.
    pub fn check_matches(&self, who: &WhoFile, asking: Asking, subject: &str, problems: &Problems) -> bool {
        let fleets = &self.file.fleets;
        if fleets.iter().any(|fleet| self.may_match(fleet, who, asking)) {
            return true;
        }
        let message = match asking {
            Asking::AtStart => format!("{subject} matches no device"),
            Asking::Ever => format!("{subject} matches no device, at the start or after any step"),
        };
        let alone = |term: &Term| fleets.iter().any(|fleet| self.may_hold(fleet, term, asking));
        let failing = who.selector.terms.iter().position(|term| !alone(term));
        let Some(position) = failing else {
            problems.add(who.words.inner, message, "no device meets all of the conditions at once");
            return false;
        };
        let hint = match &who.selector.terms[position].test {
            Test::Key {
                key: Key::Tag(tag),
                values,
            } => self.tag_hint(tag, &values[0]),
            Test::Key { key: Key::Fleet, values } => suggest(&values[0], self.fleet_names(), "fleets"),
            Test::Key { key: Key::Device, .. } => self.ids(),
            Test::All | Test::Key { .. } => "every device is excluded".to_owned(),
        };
        problems.add(who.term(position), message, hint);
        false
    }

    /// Whether a device of the fleet may match. Membership of other cohorts is taken as possible either way.
    pub fn may_match(&self, fleet: &FleetFile, who: &WhoFile, asking: Asking) -> bool {
        who.selector.terms.iter().all(|term| self.may_hold(fleet, term, asking))
    }

    fn may_hold(&self, fleet: &FleetFile, term: &Term, asking: Asking) -> bool {
        let Test::Key { key, values } = &term.test else {
            return !term.negated;
        };
        match key {
            Key::Fleet => values.contains(&fleet.name) != term.negated,
            Key::Device => term.negated || values.iter().any(|value| has_device(fleet, value)),
            Key::Tag(tag) if self.tags_known() => {
                let later = asking == Asking::Ever;
                let at_start = fleet.tags.get(tag);
                let start_values = at_start
                    .into_iter()
                    .flat_map(|shares| &shares.parts)
                    .map(|(value, _, _)| value);
                let later_values = self.set_later.iter().filter(|_| later).filter_map(|tags| tags.get(tag));
                let mut possible = start_values.chain(later_values);
                let may_lack = at_start.is_none() || (later && self.removed_later.contains(tag.as_str()));
                match term.negated {
                    false => possible.any(|value| values.contains(value)),
                    true => may_lack || possible.any(|value| !values.contains(value)),
                }
            }
            Key::Tag(_) | Key::Cohort | Key::Runs | Key::Session | Key::Phase | Key::State | Key::Step => true,
        }
    }

    /// The fleets that a deployment to this cohort may reach.
    pub fn reached(&self, cohort: &str) -> Vec<&'f FleetFile> {
        let Some(rule) = self.cohort(cohort).and_then(|cohort| cohort.rule.as_ref()) else {
            return self.file.fleets.iter().collect();
        };
        let joins = || {
            self.file.steps.iter().filter_map(|step| match &step.verb {
                Some(VerbFile::Join { who, cohort: joined }) if joined.value == cohort => Some(who),
                Some(
                    VerbFile::Deploy { .. }
                    | VerbFile::Rollout(..)
                    | VerbFile::Join { .. }
                    | VerbFile::Leave { .. }
                    | VerbFile::Tag { .. }
                    | VerbFile::Untag { .. },
                )
                | None => None,
            })
        };
        let reaches = |fleet: &&FleetFile| match rule {
            RuleFile::Where(who) => self.may_match(fleet, who, Asking::Ever),
            RuleFile::Members(who) => {
                self.may_match(fleet, who, Asking::AtStart) || joins().any(|who| self.may_match(fleet, who, Asking::Ever))
            }
        };
        self.file.fleets.iter().filter(reaches).collect()
    }
}

fn has_device(fleet: &FleetFile, id: &str) -> bool {
    (0..fleet.count as u32).any(|number| fleet.id.value.id(&fleet.name, number) == id)
}
