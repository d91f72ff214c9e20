//! The version in an image's header.

use std::fmt;
use std::str::FromStr;

/// Four numbers: `major.minor.revision+build`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageVersion {
    /// First number.
    pub major: u8,
    /// Second number.
    pub minor: u8,
    /// Third number.
    pub revision: u16,
    /// Number behind `+`; zero when left out.
    pub build: u32,
}

impl ImageVersion {
    /// The version as it stands in headers and dependencies, little endian.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [self.major, self.minor, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&self.revision.to_le_bytes());
        bytes[4..].copy_from_slice(&self.build.to_le_bytes());
        bytes
    }

    /// Reads such bytes; every eight are a version.
    pub(super) fn from_bytes([major, minor, r0, r1, b0, b1, b2, b3]: [u8; 8]) -> Self {
        ImageVersion {
            major,
            minor,
            revision: u16::from_le_bytes([r0, r1]),
            build: u32::from_le_bytes([b0, b1, b2, b3]),
        }
    }
}

/// A text is no image version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image version: MAJOR.MINOR.REVISION up to 255.255.65535, optionally with +BUILD")]
pub struct ImageVersionError {
    /// What was given.
    pub text: String,
}

impl fmt::Display for ImageVersion {
    /// Leaves out a build number of zero, as a version without one reads back the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageVersion {
            major,
            minor,
            revision,
            build,
        } = self;
        match build {
            0 => write!(f, "{major}.{minor}.{revision}"),
            _ => write!(f, "{major}.{minor}.{revision}+{build}"),
        }
    }
}

impl FromStr for ImageVersion {
    type Err = ImageVersionError;

    fn from_str(text: &str) -> Result<Self, ImageVersionError> {
        parse(text).ok_or_else(|| ImageVersionError { text: text.into() })
    }
}

fn parse(text: &str) -> Option<ImageVersion> {
    let (triple, build) = text.split_once('+').unwrap_or((text, "0"));
    let mut numbers = triple.split('.');
    let version = ImageVersion {
        major: number(numbers.next()?)?,
        minor: number(numbers.next()?)?,
        revision: number(numbers.next()?)?,
        build: number(build)?,
    };
    numbers.next().is_none().then_some(version)
}

/// Digits only: the standard parser would take a sign.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_prints_as_it_parses() {
        for text in ["0.0.0", "1.4.0", "255.255.65535", "2.0.1+77", "1.0.0+4294967295"] {
            assert_eq!(text.parse::<ImageVersion>().unwrap().to_string(), text);
        }
        assert_eq!("1.2.3+0".parse::<ImageVersion>().unwrap().to_string(), "1.2.3");
    }

    #[test]
    fn numbers_out_of_range_and_other_texts_are_refused() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "256.0.0",
            "1.2.65536",
            "+1.2.3",
            "1.-2.3",
            "1.2.3+",
            "1.2.3+4294967296",
            "1.2.3-rc1",
            " 1.2.3",
        ] {
            assert_eq!(text.parse::<ImageVersion>(), Err(ImageVersionError { text: text.into() }));
        }
    }
}
