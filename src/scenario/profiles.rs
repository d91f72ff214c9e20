//! The embedded profiles as they are written: every figure with its source; ready expectations with what they find.

use serde::{Deserialize, Serialize};

use super::presets::EXPECTATIONS;

const LINKS: &str = include_str!("../../profiles/links.toml");
const CHIPS: &str = include_str!("../../profiles/chips.toml");
const BACKOFFS: &str = include_str!("../../profiles/backoffs.toml");
const ABSENCES: &str = include_str!("../../profiles/absences.toml");
const OUTAGES: &str = include_str!("../../profiles/outages.toml");
const IMAGES: &str = include_str!("../../profiles/images.toml");

/// A link, a chip, the back-off of a client, how devices are away, outages of links, a size of images, or a ready expectation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// `link`, `chip`, `back-off`, `absence`, `outage`, `image` or `expectation`.
    pub kind: &'static str,
    /// Its name in a scenario.
    pub name: String,
    /// Its figures, by name.
    pub figures: Vec<ProfileFigure>,
}

/// One figure of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProfileFigure {
    /// What it is.
    pub name: String,
    /// With its unit.
    pub value: String,
    /// Where it is from; `estimate` where no source states it.
    pub source: String,
}

#[derive(Deserialize)]
struct Written {
    value: toml::Value,
    source: String,
}

/// Every profile, links first, expectations last.
pub fn profiles() -> Vec<Profile> {
    let read = |kind, text: &str| {
        let tables: toml::Table = text.parse().expect("profiles are TOML");
        let profile = move |(name, table): (String, toml::Value)| Profile {
            kind,
            name,
            figures: figures(table),
        };
        tables.into_iter().map(profile)
    };
    let kinds = [
        ("link", LINKS),
        ("chip", CHIPS),
        ("back-off", BACKOFFS),
        ("absence", ABSENCES),
        ("outage", OUTAGES),
        ("image", IMAGES),
    ];
    let measured = kinds.into_iter().flat_map(|(kind, text)| read(kind, text));
    measured.chain(EXPECTATIONS.iter().map(expectation)).collect()
}

fn expectation(&(name, measure): &(&str, &str)) -> Profile {
    let measure = ProfileFigure {
        name: "that".to_owned(),
        value: measure.to_owned(),
        source: "docs/detection.md".to_owned(),
    };
    Profile {
        kind: "expectation",
        name: name.to_owned(),
        figures: vec![measure],
    }
}

fn figures(table: toml::Value) -> Vec<ProfileFigure> {
    let figures: toml::Table = table.try_into().expect("a profile is a table");
    let figure = |(name, figure): (String, toml::Value)| {
        let written: Written = figure.try_into().expect("a figure has a value and a source");
        ProfileFigure {
            name,
            value: written
                .value
                .as_str()
                .map_or_else(|| written.value.to_string(), str::to_owned),
            source: written.source,
        }
    };
    figures.into_iter().map(figure).collect()
}
