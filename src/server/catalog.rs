//! The catalog: firmwares, their versions, and the images behind them, each image once.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::mcuboot::{ImageInfo, find_build_id, slice_reader};
use crate::model::{BuildId, Digest, FirmwareVersion, Slug, Version};

/// Firmwares, versions, images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    firmwares: BTreeMap<Slug, Vec<(Version, Digest)>>,
    images: BTreeMap<Digest, Image>,
}

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub bytes: Bytes,
    pub build_id: Option<BuildId>,
}

impl Catalog {
    pub fn add_firmware(&mut self, slug: Slug) {
        self.firmwares.entry(slug).or_default();
    }

    pub fn add_image(&mut self, digest: Digest, image: Image) {
        self.images.insert(digest, image);
    }

    pub fn add_version(&mut self, firmware: FirmwareVersion, digest: Digest) {
        self.firmwares
            .entry(firmware.slug)
            .or_default()
            .push((firmware.version, digest));
    }

    /// Takes a version away, and its image with it if that was its last use.
    pub fn remove_version(&mut self, firmware: &FirmwareVersion) {
        let Some(versions) = self.firmwares.get_mut(&firmware.slug) else {
            return;
        };
        let Some(at) = versions.iter().position(|(version, _)| *version == firmware.version) else {
            return;
        };
        let (_, digest) = versions.remove(at);
        let mut used = self.firmwares.values().flatten().map(|(_, digest)| digest);
        if !used.any(|other| *other == digest) {
            self.images.remove(&digest);
        }
    }

    /// Firmwares by slug, versions in order of creation.
    pub fn firmwares(&self) -> impl Iterator<Item = (&Slug, &[(Version, Digest)])> {
        self.firmwares.iter().map(|(slug, versions)| (slug, versions.as_slice()))
    }

    /// Firmwares by slug, from the one behind `after`, which has to be there.
    pub fn firmwares_behind(&self, after: Option<&Slug>) -> Option<impl Iterator<Item = (&Slug, &[(Version, Digest)])>> {
        let start = match after {
            None => Bound::Unbounded,
            Some(after) => Bound::Excluded(self.firmwares.get_key_value(after)?.0),
        };
        let rest = self.firmwares.range::<Slug, _>((start, Bound::Unbounded));
        Some(rest.map(|(slug, versions)| (slug, versions.as_slice())))
    }

    pub fn versions(&self, slug: &Slug) -> Option<&[(Version, Digest)]> {
        self.firmwares.get(slug).map(Vec::as_slice)
    }

    /// The digest of a version's image.
    pub fn version(&self, firmware: &FirmwareVersion) -> Option<Digest> {
        let versions = self.firmwares.get(&firmware.slug)?;
        let (_, digest) = versions.iter().find(|(version, _)| *version == firmware.version)?;
        Some(*digest)
    }

    /// Versions whose image has this build id.
    pub fn built_as(&self, id: &BuildId) -> Vec<FirmwareVersion> {
        let named = self
            .firmwares
            .iter()
            .flat_map(|(slug, versions)| versions.iter().map(move |version| (slug, version)));
        let built = named.filter(|(_, (_, digest))| self.image(digest).is_some_and(|image| image.build_id.as_ref() == Some(id)));
        let version = |(slug, (version, _)): (&Slug, &(Version, Digest))| FirmwareVersion {
            slug: slug.clone(),
            version: version.clone(),
        };
        built.map(version).collect()
    }

    pub fn image(&self, digest: &Digest) -> Option<&Image> {
        self.images.get(digest)
    }
}

impl Image {
    /// An image with what can be read from it; a file that is no MCUboot image has no build id.
    pub fn examine(bytes: Bytes) -> Image {
        let info = ImageInfo::read(slice_reader(&bytes)).ok();
        let build_id = info
            .and_then(|info| find_build_id(&info.header, slice_reader(&bytes)))
            .map(BuildId);
        Image { bytes, build_id }
    }
}
