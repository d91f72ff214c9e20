//! The key in each fleet's bootloader, which decides whose images it runs: one of the user's own, or that of the images made for the run.

use std::path::Path;

use crate::luck::Luck;
use crate::mcuboot::VerifyingKey;
use crate::model::Slug;

use super::document::Words;
use super::error::Problems;
use super::fields::cut;
use super::file::{FleetFile, ImageFile, ScenarioFile};
use super::images::{Image, signing_key};
use super::source::read_at_most;

/// Largest key file; an RSA key in PEM has less than 2 KiB.
const LARGEST: u64 = 64 << 10;

/// The keys in the order of the fleets; `None` for a bootloader that checks digests alone.
pub(super) fn trusted(
    file: &ScenarioFile,
    folder: &Path,
    images: &[Image],
    luck: Luck,
    problems: &Problems,
    warnings: &Problems,
) -> Vec<Option<VerifyingKey>> {
    let of = |fleet: &FleetFile| {
        let Some(words) = &fleet.trusts else {
            return all_generated(&fleet.runs.first()?.value.slug, file).then(|| signing_key(luck).verifying_key());
        };
        let key = read(words, fleet, folder, problems)?;
        hold(&key, fleet, images, problems, warnings);
        Some(key)
    };
    file.fleets.iter().map(of).collect()
}

/// Whose key signs a file is not known unless somebody says so.
fn all_generated(slug: &Slug, file: &ScenarioFile) -> bool {
    let mut versions = file.versions.iter().filter(|version| version.firmware.slug == *slug);
    versions.all(|version| matches!(version.image, ImageFile::Generated { .. }))
}

fn read(words: &Words, fleet: &FleetFile, folder: &Path, problems: &Problems) -> Option<VerifyingKey> {
    let subject = format!("`trusts` of fleet `{}`", fleet.name);
    let text = match read_at_most(&folder.join(&words.text), LARGEST) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            let message = format!("{subject} cannot be read: {}", cut(&error.to_string()));
            problems.add(words.inner, message, "paths are relative to the scenario file");
            return None;
        }
    };
    match VerifyingKey::from_pem(&text) {
        Ok(key) => Some(key),
        Err(error) => {
            let hint = "it takes the public half in PEM: `openssl pkey -in KEY -pubout -out PUBLIC`";
            problems.add(words.inner, format!("{subject}: the file {error}"), hint);
            None
        }
    }
}

/// What the fleet runs must be its key's; what it may be sent and refuses is worth a warning.
fn hold(key: &VerifyingKey, fleet: &FleetFile, images: &[Image], problems: &Problems, warnings: &Problems) {
    let Some(main) = fleet.runs.first() else { return };
    for image in images.iter().filter(|image| image.firmware.slug == main.value.slug) {
        let Err(why) = image.accepted(key) else { continue };
        let message = format!(
            "the bootloader of fleet `{}` does not accept `{}`: {why}",
            fleet.name, image.firmware
        );
        if image.firmware == main.value {
            problems.add(
                main.at,
                message,
                "a device cannot start with it: sign it, or trust another key",
            );
        } else {
            let at = fleet.trusts.as_ref().map_or(main.at, |words| words.inner);
            warnings.add(at, message, "its devices report an attempt with it as failed");
        }
    }
}
