//! `[cohort.NAME]`.

use crate::model::Key;

use super::super::document::{Entry, Place};
use super::super::error::Problems;
use super::super::fields::Need::Optional;
use super::super::fields::{Fields, Keys, cut};
use super::{WhoFile, check_noun, nouns};

pub(super) const COHORT: Keys = &[("members", Optional), ("where", Optional)];

/// A cohort.
#[derive(Clone, Debug)]
pub(in super::super) struct CohortFile {
    pub name: String,
    pub at: Place,
    /// `None` where it is missing or wrong.
    pub rule: Option<RuleFile>,
}

/// Who is in a cohort.
#[derive(Clone, Debug)]
pub(in super::super) enum RuleFile {
    /// Picked once, by hand.
    Members(WhoFile),
    /// By tags, always.
    Where(WhoFile),
}

pub(super) fn read_all(entry: Option<&Entry>, problems: &Problems) -> Vec<CohortFile> {
    let mut cohorts: Vec<_> = nouns(entry, problems)
        .iter()
        .map(|entry| {
            check_noun(&entry.key, entry.key_at, "cohort", problems);
            CohortFile {
                name: entry.key.clone(),
                at: entry.key_at,
                rule: read_rule(entry, problems),
            }
        })
        .collect();
    cohorts.sort_by(|a, b| a.name.cmp(&b.name));
    cohorts
}

fn read_rule(entry: &Entry, problems: &Problems) -> Option<RuleFile> {
    let subject = format!("cohort `{}`", cut(&entry.key));
    let fields = Fields::new(subject, entry.key_at, &entry.node, COHORT, problems)?;
    let subject = &fields.subject;
    let given: Vec<_> = fields.present(&["members", "where"]).collect();
    match given.as_slice() {
        [] if fields.is_empty() => {
            let hint = "write for example members = \"20 of all\", or where = \"tag.region:west\"";
            problems.add(entry.key_at, format!("{subject} needs `members` or `where`"), hint);
            return None;
        }
        [_, second, ..] => {
            let hint = "members are picked once, `where` follows tags: leave one of them out";
            problems.add(
                fields.key_at(second),
                format!("{subject} has both `members` and `where`"),
                hint,
            );
            return None;
        }
        _ => {}
    }
    if let Some(words) = fields.text("members", "\"20 of all\"") {
        let name = format!("`members` of {subject}");
        let who = WhoFile::read(words, &name, problems)?;
        let stays = check_keys(
            &who,
            &name,
            |key| !key.changes(),
            "cohorts are filled before the run: use fleet, cohort, device, tag.K",
            problems,
        );
        return stays.then_some(RuleFile::Members(who));
    }
    let words = fields.text("where", "\"tag.region:west\"")?;
    let name = format!("`where` of {subject}");
    let who = WhoFile::read(words, &name, problems)?;
    if who.selector.pick.is_some() {
        let hint = "a rule follows every device that it matches: use `members` to pick some";
        problems.add(words.inner, format!("{name} has a pick"), hint);
        return None;
    }
    let by_tag = |key: &Key| matches!(key, Key::Tag(_) | Key::Device);
    let known = check_keys(
        &who,
        &name,
        by_tag,
        "`where` knows tag.K and device; use `members` for the rest",
        problems,
    );
    known.then_some(RuleFile::Where(who))
}

/// Whether every key is allowed; those that are not are pointed at.
pub(super) fn check_keys(who: &WhoFile, subject: &str, allowed: impl Fn(&Key) -> bool, hint: &str, problems: &Problems) -> bool {
    let mut all = true;
    for (position, term) in who.selector.terms.iter().enumerate() {
        if let crate::model::Test::Key { key, .. } = &term.test
            && !allowed(key)
        {
            problems.add(who.term(position), format!("`{key}` is not allowed in {subject}"), hint);
            all = false;
        }
    }
    all
}
