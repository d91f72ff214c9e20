//! The image of each version: made for the run, or read from a file.

use std::path::Path;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::luck::{Luck, Purpose, text_key};
use crate::mcuboot::{
    Flaw, ImageHeader, ImageInfo, ImageSpec, Pattern, SignatureError, SigningKey, Slot, VerifyingKey, build_image, find_build_id,
    own_build_id, slice_reader,
};
use crate::model::{BuildId, Digest, FirmwareVersion, show_count};

use super::chips;
use super::document::Words;
use super::error::Problems;
use super::fields::cut;
use super::file::{ImageFile, ScenarioFile, VersionFile};
use super::source::read_at_most;

/// A version's image and what a bootloader would read in it.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub firmware: FirmwareVersion,
    pub bytes: Bytes,
    /// The SHA-256 that its TLVs claim; of the whole file where they cannot be read.
    pub digest: Digest,
    /// What a device finds in it once it is downloaded, and what it tells of itself when it runs.
    pub build_id: Option<BuildId>,
    pub own_build_id: Option<BuildId>,
    /// What its header and TLVs say, where they can be read.
    info: Option<ImageInfo>,
    /// It is what its digest says.
    whole: bool,
}

impl Image {
    /// Whether a bootloader runs it that holds this key, or checks digests alone.
    pub(super) fn is_sound(&self, key: Option<&VerifyingKey>) -> bool {
        self.whole && key.is_none_or(|key| self.accepted(key).is_ok())
    }

    /// Whether it bears a signature of this key.
    pub(super) fn accepted(&self, key: &VerifyingKey) -> Result<(), SignatureError> {
        let info = self.info.as_ref().ok_or(SignatureError::Unsigned)?;
        info.verify_signature(key, &info.digest, slice_reader(&self.bytes))
    }
}

/// Largest image file: all of them stand in memory.
const LARGEST: u64 = 256 << 20;

/// The images in order of the file, or what is wrong with them.
pub(super) fn images(file: &ScenarioFile, folder: &Path, luck: Luck, problems: &Problems) -> Vec<Image> {
    let key = signing_key(luck);
    let mut images: Vec<Image> = Vec::with_capacity(file.versions.len());
    for version in &file.versions {
        let image = match &version.image {
            ImageFile::Generated { size, pattern, at } => {
                let spec = ImageSpec {
                    signed_by: Some(key.clone()),
                    slot: slot_too_small(version, file),
                    flaw: version.flaw.as_ref().map(|flaw| flaw.value),
                    ..spec(version, *size, pattern, luck)
                };
                match build_image(&spec) {
                    Ok(bytes) => Some(generated(version, bytes)),
                    Err(error) => {
                        problems.add(
                            *at,
                            format!("`size` of firmware `{}`: {error}", version.firmware),
                            "write for example \"64 KiB\"",
                        );
                        None
                    }
                }
            }
            ImageFile::File(words) => from_file(version, words, file, folder, problems),
        };
        let Some(image) = image else { continue };
        if let Some(same) = images.iter().find(|earlier| earlier.digest == image.digest) {
            let message = format!("`{}` and `{}` are the same image", same.firmware, image.firmware);
            problems.add(
                version.at,
                message,
                "a device could not tell them apart: give them different files",
            );
        }
        images.push(image);
    }
    images
}

fn spec(version: &VersionFile, size: u64, pattern: &str, luck: Luck) -> ImageSpec {
    let pattern = match pattern {
        "zeros" => Pattern::Zeros,
        "counter" => Pattern::Counter,
        _ => Pattern::Random {
            seed: luck.draw(Purpose::ImageContent, text_key(&version.firmware.to_string()), 0),
        },
    };
    ImageSpec::new(version.firmware.slug.to_string(), version.version, size, pattern)
}

/// The key that signs generated images and that devices hold: of the seed, since it guards nothing but simulated flash.
pub(super) fn signing_key(luck: Luck) -> SigningKey {
    SigningKey::from_seed(luck.draw(Purpose::ImageContent, text_key("image key"), 0))
}

/// The largest slot that an image which is too big has to be too big for.
fn slot_too_small(version: &VersionFile, file: &ScenarioFile) -> Option<Slot> {
    version.flaw.as_ref().filter(|flaw| flaw.value == Flaw::TooBig)?;
    let fleets = file
        .fleets
        .iter()
        .filter(|fleet| super::check::runs_as_main(fleet, &version.firmware.slug));
    let largest = fleets.max_by_key(|fleet| fleet.flash.chip.slot_size)?;
    Some(Slot {
        size: largest.flash.chip.slot_size,
        align: largest.flash.chip.write_size,
        confirmed: false,
    })
}

/// What a device makes of a generated image, which may be flawed.
fn generated(version: &VersionFile, bytes: Bytes) -> Image {
    let read = || slice_reader(&bytes);
    let info = ImageInfo::read(read()).ok();
    let digest = info.as_ref().map(|info| info.digest);
    let header = bytes.first_chunk().and_then(|head| ImageHeader::from_bytes(head).ok());
    Image {
        firmware: version.firmware.clone(),
        digest: Digest(digest.unwrap_or_else(|| Sha256::digest(&bytes).into())),
        build_id: header.and_then(|header| find_build_id(&header, read())).map(BuildId),
        own_build_id: header.and_then(|header| own_build_id(&header, read())).map(BuildId),
        whole: info.as_ref().is_some_and(|info| info.verify(read()).is_ok()),
        info,
        bytes: bytes.clone(),
    }
}

fn read(version: &VersionFile, bytes: Bytes) -> Result<Image, String> {
    let info = ImageInfo::read(slice_reader(&bytes)).map_err(|error| error.to_string())?;
    info.verify(slice_reader(&bytes)).map_err(|error| error.to_string())?;
    let header = info.header.version;
    let same =
        (header.major, header.minor, header.revision) == (version.version.major, version.version.minor, version.version.revision);
    if !same {
        return Err(format!("its header says version {header}"));
    }
    Ok(Image {
        firmware: version.firmware.clone(),
        digest: Digest(info.digest),
        build_id: find_build_id(&info.header, slice_reader(&bytes)).map(BuildId),
        own_build_id: own_build_id(&info.header, slice_reader(&bytes)).map(BuildId),
        whole: true,
        info: Some(info),
        bytes,
    })
}

fn from_file(version: &VersionFile, words: &Words, file: &ScenarioFile, folder: &Path, problems: &Problems) -> Option<Image> {
    let path = folder.join(&words.text);
    let subject = format!("`file` of firmware `{}`", version.firmware);
    let content = read_at_most(&path, LARGEST);
    let bytes = match content {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) => {
            let message = format!("{subject} cannot be read: {}", cut(&error.to_string()));
            problems.add(words.inner, message, "paths are relative to the scenario file");
            return None;
        }
    };
    let image = match read(version, bytes) {
        Ok(image) => image,
        Err(error) => {
            let hint = format!("make it with imgtool, as version {}", version.version);
            problems.add(words.inner, format!("{subject} is not its image: {error}"), hint);
            return None;
        }
    };
    for fleet in file
        .fleets
        .iter()
        .filter(|fleet| super::check::runs_as_main(fleet, &version.firmware.slug))
    {
        let largest = chips::largest_image(&fleet.flash.chip);
        if image.bytes.len() as u64 > largest {
            let message = format!(
                "the image of `{}` does not fit the slot of an {}",
                version.firmware, fleet.flash.chip.name
            );
            let hint = format!(
                "it has {} B, fleet `{}` takes at most {} B",
                show_count(image.bytes.len() as u64),
                fleet.name,
                show_count(largest)
            );
            problems.add(words.inner, message, hint);
        }
    }
    Some(image)
}
