//! What can be wrong with an image on purpose.

use std::fmt;

/// A flaw that an image is made with, and that [`super::inspect`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// The signature is none of the key that the image names.
    BadSignature,
    /// Another key than the bootloader's has signed it.
    WrongKey,
    /// It has a digest, and no signature.
    Unsigned,
    /// No build id descriptor in the payload: a device refuses the image when it is downloaded.
    NoBuildId,
    /// The descriptor holds zeros, which count as no build id.
    ZeroBuildId,
    /// Another descriptor stands before the one of the running image: a device expects a build id that never reports.
    WrongBuildId,
    /// The digest is not that of the content.
    WrongDigest,
    /// No header.
    BadMagic,
    /// The file ends in the middle of the image.
    Truncated,
    /// The image does not fit its slot.
    TooBig,
}

impl Flaw {
    /// Every flaw.
    pub const ALL: [Flaw; 10] = [
        Flaw::BadSignature,
        Flaw::WrongKey,
        Flaw::Unsigned,
        Flaw::NoBuildId,
        Flaw::ZeroBuildId,
        Flaw::WrongBuildId,
        Flaw::WrongDigest,
        Flaw::BadMagic,
        Flaw::Truncated,
        Flaw::TooBig,
    ];

    /// Its word in scenarios and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Flaw::BadSignature => "bad-signature",
            Flaw::WrongKey => "wrong-key",
            Flaw::Unsigned => "unsigned",
            Flaw::NoBuildId => "no-build-id",
            Flaw::ZeroBuildId => "zero-build-id",
            Flaw::WrongBuildId => "wrong-build-id",
            Flaw::WrongDigest => "wrong-digest",
            Flaw::BadMagic => "bad-magic",
            Flaw::Truncated => "truncated",
            Flaw::TooBig => "too-big",
        }
    }

    /// True of what is wrong with a signature: only an image that is to be signed can have it.
    pub const fn is_of_signature(self) -> bool {
        matches!(self, Flaw::BadSignature | Flaw::WrongKey | Flaw::Unsigned)
    }

    /// The flaw that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flaw| flaw.word() == word)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
