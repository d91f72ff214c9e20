//! Texts folded to numbers, so that they are told apart without being kept.

use crate::model::{BuildId, Slug, Version};

/// Folds bytes to 64 bits (FNV-1a): texts that differ are told apart without being kept.
pub(in crate::verdict) fn fold(bytes: &[u8]) -> u64 {
    fold_on(0xcbf2_9ce4_8422_2325, bytes)
}

/// Folds what stands behind bytes that have been folded to `sum`.
pub(super) fn fold_on(sum: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Folds a slug.
pub(in crate::verdict) fn fold_slug(slug: &Slug) -> u64 {
    fold(slug.as_bytes())
}

/// Folds a version.
pub(in crate::verdict) fn fold_version(version: &Version) -> u64 {
    fold(version.as_bytes())
}

/// Folds a build id; an image without one has one of its own.
pub(in crate::verdict) fn fold_build(build_id: Option<&BuildId>) -> u32 {
    narrow(build_id.map_or(0, |build_id| fold(&build_id.0)))
}

/// Half of a folded text: enough to tell the few from each other that one device sees.
pub(super) fn narrow(sum: u64) -> u32 {
    (sum ^ sum >> 32) as u32
}
