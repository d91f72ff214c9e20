//! Ready values that a scenario names `preset:NAME`: back-offs of known clients, sizes of images, absences and outages, whose figures
//! stand in the embedded profiles with their sources, and expectations of the detection catalogue (`docs/detection.md`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::device::{Backoff, Jitter};
use crate::faults::{Absence, Drops};
use crate::model::parse_size;

use super::chips::Figure;
use super::fields::{Complaint, cut, suggest};
use super::links::drops;

/// Ready expectations: name, and the measure that it stands for.
pub(super) const EXPECTATIONS: [(&str, &str); 8] = [
    ("all-online", "devices{session:online} share == 100 %"),
    ("all-reachable", "devices{session:online} share >= 99 %"),
    ("all-succeeded", "devices{state:succeeded} share == 100 %"),
    ("few-failures", "attempts{result:failed} share <= 5 %"),
    ("in-agreement", "disagreements count == 0"),
    ("little-wear", "wear max <= 10"),
    ("no-herd", "connects{!result:ok} share <= 5 %"),
    ("nothing-open", "devices{state:in-progress} count == 0"),
];

/// The words for where below its ceiling a wait is drawn.
pub(super) const JITTERS: [(&str, Jitter); 3] = [("half", Jitter::Half), ("full", Jitter::Full), ("fixed", Jitter::Fixed)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackoffFigures {
    first: Figure,
    most: Figure,
    jitter: Figure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageFigures {
    typical: Figure,
    #[serde(rename = "p10")]
    _p10: Figure,
    #[serde(rename = "p90")]
    _p90: Figure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageFigures {
    drops: Figure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AbsenceFigures {
    share: Figure,
    hours: Option<Figure>,
    lost: Option<Figure>,
    #[serde(rename = "spells")]
    _spells: Option<Figure>,
}

static BACKOFFS: LazyLock<BTreeMap<String, Backoff>> = LazyLock::new(|| {
    let profiles: BTreeMap<String, BackoffFigures> =
        toml::from_str(include_str!("../../profiles/backoffs.toml")).expect("the embedded profiles are valid");
    let backoff = |figures: &BackoffFigures| Backoff {
        first: figures.first.time(),
        max: figures.most.time(),
        jitter: jitter(figures.jitter.text()).expect("profiles name a jitter"),
    };
    profiles
        .iter()
        .map(|(name, figures)| (name.clone(), backoff(figures)))
        .collect()
});

static IMAGES: LazyLock<BTreeMap<String, u64>> = LazyLock::new(|| {
    let profiles: BTreeMap<String, ImageFigures> =
        toml::from_str(include_str!("../../profiles/images.toml")).expect("the embedded profiles are valid");
    let bytes = |figures: &ImageFigures| parse_size(figures.typical.text()).expect("profiles hold sizes with units");
    profiles
        .iter()
        .map(|(name, figures)| (name.clone(), bytes(figures)))
        .collect()
});

static ABSENCES: LazyLock<BTreeMap<String, Absence>> = LazyLock::new(|| {
    let profiles: BTreeMap<String, AbsenceFigures> =
        toml::from_str(include_str!("../../profiles/absences.toml")).expect("the embedded profiles are valid");
    let absence = |figures: &AbsenceFigures| {
        let hours = figures.hours.as_ref().map_or("", Figure::text);
        let away = Absence::parse(&format!("{} {hours}", figures.share.text())).expect("profiles hold absences");
        let losing = |lost: &Figure| away.losing(&format!("lost {}", lost.text())).expect("profiles hold shares");
        figures.lost.as_ref().map_or(away, losing)
    };
    profiles
        .iter()
        .map(|(name, figures)| (name.clone(), absence(figures)))
        .collect()
});

static OUTAGES: LazyLock<BTreeMap<String, Drops>> = LazyLock::new(|| {
    let profiles: BTreeMap<String, OutageFigures> =
        toml::from_str(include_str!("../../profiles/outages.toml")).expect("the embedded profiles are valid");
    let drops = |figures: &OutageFigures| drops(figures.drops.text()).expect("profiles hold drops");
    profiles
        .iter()
        .map(|(name, figures)| (name.clone(), drops(figures)))
        .collect()
});

fn jitter(word: &str) -> Option<Jitter> {
    JITTERS.iter().find(|(known, _)| *known == word).map(|&(_, jitter)| jitter)
}

/// The back-off that `text` names, if it begins with `preset:`.
pub(super) fn backoff(text: &str, subject: &str) -> Option<Result<Backoff, Complaint>> {
    named(text, &BACKOFFS, "back-off", subject)
}

/// The size in bytes that `text` names, if it begins with `preset:`.
pub(super) fn image_size(text: &str, subject: &str) -> Option<Result<u64, Complaint>> {
    named(text, &IMAGES, "image size", subject)
}

/// How devices are away that `text` names, if it begins with `preset:`; who is lost may follow a comma.
pub(super) fn absence(text: &str, subject: &str) -> Option<Result<Absence, Complaint>> {
    let (name, lost) = text.split_once(',').map_or((text, None), |(name, lost)| (name, Some(lost)));
    let found = named(name, &ABSENCES, "absence", subject)?;
    let losing = |absence: Absence| match lost {
        Some(lost) => absence
            .losing(lost)
            .map_err(|hint| Complaint::new(format!("`{}` is no `absence`", cut(text)), hint)),
        None => Ok(absence),
    };
    Some(found.and_then(losing))
}

/// The outages that `text` names, if it begins with `preset:`.
pub(super) fn outages(text: &str, subject: &str) -> Option<Result<Drops, Complaint>> {
    named(text, &OUTAGES, "outage", subject)
}

/// The measure that `text` names, if it begins with `preset:`.
pub(super) fn expectation(text: &str, subject: &str) -> Option<Result<&'static str, Complaint>> {
    let known = EXPECTATIONS.map(|(name, measure)| (name.to_owned(), measure));
    named(text, &BTreeMap::from(known), "expectation", subject)
}

fn named<T: Clone>(text: &str, known: &BTreeMap<String, T>, what: &str, subject: &str) -> Option<Result<T, Complaint>> {
    let name = text.strip_prefix("preset:")?.trim();
    Some(known.get(name).cloned().ok_or_else(|| {
        Complaint::new(
            format!("unknown {what} preset `{}` in {subject}", cut(name)),
            suggest(name, known.keys().map(String::as_str), "presets"),
        )
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn presets_are_what_the_clients_document() {
        let named = |name| backoff(name, "x").unwrap().ok().unwrap();
        let azure = named("preset:azure");
        assert_eq!(
            (azure.first, azure.max),
            (Duration::from_millis(100), Duration::from_secs(10))
        );
        let spotflow = named("preset:spotflow-download");
        assert_eq!((spotflow, crate::device::Sdk::Newest.retry()), (spotflow, spotflow));
        assert!(BACKOFFS.values().all(|backoff| backoff.first <= backoff.max));
        assert_eq!(image_size("preset:cellular-sensor", "x").unwrap().ok(), Some(250 * 1024));
        assert!(backoff("1s..5s", "x").is_none());
    }

    #[test]
    fn ready_expectations_are_measures_with_a_limit_and_stand_in_the_catalogue() {
        let catalogue = include_str!("../../docs/detection.md");
        for (name, measure) in EXPECTATIONS {
            assert!(crate::measure::Measure::parse(measure).is_ok_and(|measure| measure.comparison.is_some()));
            let row = format!("`preset:{name}`, which is `{measure}`");
            assert!(catalogue.contains(&row), "docs/detection.md lacks {row}");
        }
    }

    #[test]
    fn an_unknown_preset_is_told_what_is_close() {
        let complaint = backoff("preset:azur", "`reconnect`").unwrap().err().unwrap();
        assert_eq!(complaint.message, "unknown back-off preset `azur` in `reconnect`");
        assert_eq!(complaint.hint.as_deref(), Some("did you mean `azure`?"));
    }
}
