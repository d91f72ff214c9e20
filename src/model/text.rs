//! Length-checked byte strings of the protocol: slug, version, URL, secret.
//!
//! The wire allows any bytes in its text fields (protocol 3.6: invalid UTF-8 is accepted and copied), so these types hold bytes;
//! what a person sees is a lossy rendering. Limits are bytes (protocol 3.1).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a value of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Zero bytes long.
    #[error("is empty")]
    Empty,
    /// More bytes than the protocol allows.
    #[error("is {len} bytes long, the limit is {max}")]
    TooLong {
        /// Length found, bytes.
        len: usize,
        /// Longest allowed, bytes.
        max: usize,
    },
    /// A slug with a `/`, which would become part of a storage key.
    #[error("contains `/`")]
    Slash,
}

macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $max:literal, slash: $slash:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<[u8]>);

        impl $name {
            /// Most bytes that the protocol allows.
            pub const MAX: usize = $max;

            /// Checks length and content.
            ///
            /// # Errors
            /// [`TextError`] if empty, too long, or of forbidden content.
            pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, TextError> {
                let bytes = bytes.as_ref();
                Self::check(bytes).map(|()| Self(bytes.into()))
            }

            /// Says whether bytes are a value, without making one of them.
            ///
            /// # Errors
            /// As [`Self::new`].
            pub fn check(bytes: &[u8]) -> Result<(), TextError> {
                match bytes.len() {
                    0 => Err(TextError::Empty),
                    len if len > Self::MAX => Err(TextError::TooLong { len, max: Self::MAX }),
                    _ if !$slash && bytes.contains(&b'/') => Err(TextError::Slash),
                    _ => Ok(()),
                }
            }

            /// The bytes as they stand on the wire.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::new(text)
            }
        }
    };
}

macro_rules! shown_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&String::from_utf8_lossy(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", String::from_utf8_lossy(&self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

bounded_text! {
    /// Short identifier of a firmware, 1 to 32 bytes without `/` (protocol 3.2).
    Slug, 32, slash: false
}
bounded_text! {
    /// Name of one build of a firmware, 1 to 64 bytes, compared byte by byte (protocol 3.2).
    Version, 64, slash: true
}
bounded_text! {
    /// Address of an artifact, 1 to 128 bytes (protocol 5.1).
    Url, 128, slash: true
}
bounded_text! {
    /// What authorizes the download of one artifact, 1 to 24 bytes (protocol 5.2). Never shown: no `Display`, and `Debug` hides it.
    Secret, 24, slash: true
}
shown_text!(Slug);
shown_text!(Version);
shown_text!(Url);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// One build of a firmware: `app@1.1.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FirmwareVersion {
    /// Which firmware.
    pub slug: Slug,
    /// Which build of it.
    pub version: Version,
}

impl fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.slug, self.version))
    }
}

impl FromStr for FirmwareVersion {
    type Err = TextError;

    /// Parses `SLUG@VERSION`; without `@` the version is empty and hence refused.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let (slug, version) = text.split_once('@').unwrap_or((text, ""));
        Ok(FirmwareVersion {
            slug: slug.parse()?,
            version: version.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bytes_and_inclusive() {
        assert!(Slug::new([b'a'; 32]).is_ok());
        assert_eq!(Slug::new([b'a'; 33]), Err(TextError::TooLong { len: 33, max: 32 }));
        assert_eq!(Slug::new("a/b"), Err(TextError::Slash));
        assert_eq!(Secret::new(""), Err(TextError::Empty));
        assert!(Version::new(b"\xff\xfe").is_ok());
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("q7Zk2mXw9RtB4nVc8LdY1pHs").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_firmware_version_prints_as_it_parses() {
        let version: FirmwareVersion = "app@1.1.0".parse().unwrap();
        assert_eq!(version.to_string(), "app@1.1.0");
        assert!("app".parse::<FirmwareVersion>().is_err());
    }
}
