//! An image file with the digest that names it.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::ids::Digest;

/// The bytes of an image, and their SHA-256, which whoever received them may know already.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageFile {
    digest: Digest,
    bytes: Bytes,
}

impl ImageFile {
    /// An image whose digest was taken while it came.
    pub fn hashed(digest: Digest, bytes: Bytes) -> ImageFile {
        ImageFile { digest, bytes }
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<B: Into<Bytes>> From<B> for ImageFile {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        ImageFile::hashed(Digest(Sha256::digest(&bytes).into()), bytes)
    }
}

impl fmt::Debug for ImageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} B)", self.digest, self.bytes.len())
    }
}
