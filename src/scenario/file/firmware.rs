//! `[firmware.SLUG."VERSION"]`.

use crate::device::{BootOutcome, InstallOutcome};
use crate::mcuboot::{Flaw, ImageVersion};
use crate::model::{FirmwareVersion, Key};

use super::super::document::{Entry, Node, Place, Value, Words};
use super::super::error::Problems;
use super::super::fields::Need::Optional;
use super::super::fields::{Fields, Keys, Written, as_text, cut, show};
use super::super::{outcome, presets};
use super::cohort::check_keys;
use super::shares::{Shares, one_of};
use super::{WhoFile, check_name, nouns};

pub(super) const VERSION: Keys = &[
    ("size", Optional),
    ("pattern", Optional),
    ("file", Optional),
    ("boot", Optional),
    ("install", Optional),
    ("flaw", Optional),
    ("fits", Optional),
    ("elsewhere", Optional),
    ("counter", Optional),
];

/// One version of a firmware.
#[derive(Clone, Debug)]
pub(in super::super) struct VersionFile {
    pub firmware: FirmwareVersion,
    pub version: ImageVersion,
    /// Where it is named.
    pub at: Place,
    pub image: ImageFile,
    pub boot: Shares<BootOutcome>,
    pub install: Shares<InstallOutcome>,
    /// What is wrong with a generated image.
    pub flaw: Option<Written<Flaw>>,
    /// Which hardware it is made for, by tags at the start; `None` is all.
    pub fits: Option<WhoFile>,
    /// What it does as main image on any other.
    pub elsewhere: BootOutcome,
    /// Its security counter.
    pub counter: u32,
}

/// The image of a version.
#[derive(Clone, Debug)]
pub(in super::super) enum ImageFile {
    /// Made for the run.
    Generated {
        size: u64,
        /// `random`, `zeros` or `counter`.
        pattern: &'static str,
        /// Where the size is given, or the version.
        at: Place,
    },
    /// A file, relative to the scenario.
    File(Words),
}

/// Size of a generated image that gives none: 64 KiB.
const DEFAULT_SIZE: u64 = 64 << 10;
/// Largest generated image: all of them stand in memory.
const LARGEST: u64 = 64 << 20;
const PATTERNS: &[&str] = &["random", "zeros", "counter"];

pub(super) fn read_all(entry: Option<&Entry>, problems: &Problems) -> Vec<VersionFile> {
    let mut versions = Vec::new();
    for firmware in nouns(entry, problems) {
        check_name(&firmware.key, firmware.key_at, "firmware", problems);
        match &firmware.node.value {
            Value::Table(table) => {
                for entry in &table.0 {
                    versions.extend(VersionFile::read(
                        &firmware.key,
                        &entry.key,
                        entry.key_at,
                        Some(&entry.node),
                        problems,
                    ));
                }
            }
            Value::Array(items) => {
                for item in items {
                    versions.extend(read_listed(&firmware.key, item, problems));
                }
            }
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime => {
                let hint = format!("found {}: write for example [\"1.0.0\", \"1.1.0\"]", show(&firmware.node));
                problems.add(
                    firmware.node.at,
                    format!("firmware `{}` is neither a table of versions nor a list", firmware.key),
                    hint,
                );
            }
        }
    }
    for (position, version) in versions.iter().enumerate() {
        if versions[..position]
            .iter()
            .any(|earlier| earlier.firmware == version.firmware)
        {
            problems.add(
                version.at,
                format!("`{}` is given twice", version.firmware),
                "leave one of them out",
            );
        }
    }
    versions
}

fn read_listed(slug: &str, item: &Node, problems: &Problems) -> Option<VersionFile> {
    let Some(words) = as_text(item) else {
        let hint = format!("found {}: write for example \"1.0.0\"", show(item));
        problems.add(item.at, format!("a version of firmware `{slug}` is not text"), hint);
        return None;
    };
    VersionFile::read(slug, &words.text, words.inner, None, problems)
}

impl VersionFile {
    /// `None` where the name is none, or its slug is not.
    fn read(slug: &str, name: &str, at: Place, node: Option<&Node>, problems: &Problems) -> Option<VersionFile> {
        let parsed = name
            .parse::<ImageVersion>()
            .ok()
            .filter(|version| version.to_string() == name && version.build == 0);
        let Some(version) = parsed else {
            let hint = "write MAJOR.MINOR.PATCH up to 255.255.65535, for example \"1.1.0\", in quotes";
            problems.add(at, format!("`{}` is not a version of firmware `{slug}`", cut(name)), hint);
            return None;
        };
        let firmware: FirmwareVersion = format!("{slug}@{name}").parse().ok()?;
        let subject = format!("firmware `{firmware}`");
        let mut read = VersionFile {
            version,
            at,
            image: ImageFile::Generated {
                size: DEFAULT_SIZE,
                pattern: PATTERNS[0],
                at,
            },
            boot: Shares::one(outcome::boot_text(&BootOutcome::default()), BootOutcome::default()),
            install: Shares::one(outcome::install_text(&InstallOutcome::default()), InstallOutcome::default()),
            flaw: None,
            fits: None,
            elsewhere: BootOutcome::Hang,
            counter: 0,
            firmware,
        };
        if let Some(fields) = node.and_then(|node| Fields::new(subject, at, node, VERSION, problems)) {
            read.read_fields(&fields);
        }
        Some(read)
    }

    fn read_fields(&mut self, fields: &Fields<'_>) {
        let subject = &fields.subject;
        if let Some(file) = fields.text("file", "\"app.bin\"") {
            for key in fields.present(&["size", "pattern", "flaw"]) {
                let message = format!("`{key}` of {subject} does not go with `file`");
                fields
                    .problems
                    .add(fields.key_at(key), message, "the file is the image: leave one of them out");
            }
            self.image = ImageFile::File(file.clone());
        } else {
            self.read_generated(fields);
        }
        if let Some(node) = fields.node("boot") {
            let key = format!("`boot` of {subject}");
            let parse = |words: &Words| outcome::boot(&words.text, &key).map(|boot| (outcome::boot_text(&boot), boot));
            self.boot = Shares::read(node, &key, fields.problems, parse).unwrap_or_else(|| self.boot.clone());
        }
        self.read_hardware(fields);
        if let Some(node) = fields.node("install") {
            let key = format!("`install` of {subject}");
            let parse =
                |words: &Words| outcome::install(&words.text, &key).map(|install| (outcome::install_text(&install), install));
            self.install = Shares::read(node, &key, fields.problems, parse).unwrap_or_else(|| self.install.clone());
        }
    }

    /// What hardware it is made for, what it does on other, and its security counter.
    fn read_hardware(&mut self, fields: &Fields<'_>) {
        let subject = &fields.subject;
        if let Some(words) = fields.text("fits", "\"tag.model:7i\"") {
            let name = format!("`fits` of {subject}");
            let fits = WhoFile::read(words, &name, fields.problems);
            let stays = |key: &Key| matches!(key, Key::Tag(_) | Key::Device | Key::Fleet);
            let hint = "hardware does not change: write tag.K, fleet or device";
            self.fits = fits.filter(|fits| check_keys(fits, &name, stays, hint, fields.problems));
            if let Some(fits) = self.fits.take_if(|fits| fits.selector.pick.is_some()) {
                let message = format!("{name} has a pick");
                fields
                    .problems
                    .add(fits.words.inner, message, "say by tags what it is made for");
            }
        }
        let elsewhere = fields.parsed("elsewhere", "\"hang\"", |text| {
            outcome::boot(text, &format!("`elsewhere` of {subject}"))
        });
        if let Some(elsewhere) = elsewhere {
            if fields.node("fits").is_none() {
                let message = format!("`elsewhere` of {subject} goes with `fits` alone");
                fields.problems.add(elsewhere.at, message, "add `fits`, or leave it out");
            }
            self.elsewhere = elsewhere.value;
        }
        if let Some(counter) = fields.whole("counter", 0..=u64::from(u32::MAX)) {
            self.counter = counter.value as u32;
        }
    }

    fn read_generated(&mut self, fields: &Fields<'_>) {
        let pattern = fields.parsed("pattern", "\"random\"", |word| {
            one_of(word, PATTERNS, "pattern", &fields.subject)
        });
        let size = read_size(fields);
        if let Some(size) = size.as_ref().filter(|size| size.value > LARGEST) {
            let message = format!("`size` of {} is too large", fields.subject);
            fields.problems.add(size.at, message, "a generated image has at most 64 MiB");
        }
        let flaws = Flaw::ALL.map(Flaw::word);
        self.flaw = fields.parsed("flaw", "\"bad-signature\"", |word| {
            let known = one_of(word, &flaws, "flaw", &fields.subject)?;
            Ok(Flaw::from_word(known).expect("it is one of them"))
        });
        self.image = ImageFile::Generated {
            at: size.as_ref().map_or(self.at, |size| size.at),
            size: size.map_or(DEFAULT_SIZE, |size| size.value),
            pattern: pattern.map_or(PATTERNS[0], |pattern| pattern.value),
        };
    }
}

/// A size, or `preset:NAME`.
fn read_size(fields: &Fields<'_>) -> Option<Written<u64>> {
    let node = fields.node("size")?;
    let preset = as_text(node).filter(|words| words.text.starts_with("preset:"));
    match preset {
        None => fields.size("size"),
        Some(words) => fields.read(words, |text| {
            presets::image_size(text, &format!("`size` of {}", fields.subject)).expect("the text begins with `preset:`")
        }),
    }
}
