//! Identities: what names a device, an attempt, a cohort, a deployment, an image.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Position of a device in a run: devices stand in the order (fleet name, number in the fleet), which is also the order in which
/// simultaneous events are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceIndex(pub u32);

impl DeviceIndex {
    /// The position as an index into a `Vec`.
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name; its owner has checked its form.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
    };
}

name_type! {
    /// Name of a set of devices that deployments target. `all` always exists.
    CohortName
}
name_type! {
    /// Name of a deployment, unique on its server; in a scenario the name of its step.
    DeploymentName
}

/// What a device calls itself: its MQTT user name (protocol 2.1).
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceId(Id);

/// Short ids stand in place: a million devices have one each, and everybody who keeps something of them has a copy.
#[derive(Clone, PartialEq, Eq)]
enum Id {
    /// So many of these bytes, the rest zero.
    Short(u8, [u8; DeviceId::IN_PLACE]),
    Long(Arc<Box<str>>),
}

impl DeviceId {
    /// Most bytes that stand in place.
    const IN_PLACE: usize = 14;

    /// The id; its owner has checked its form.
    pub fn new(id: impl AsRef<str>) -> Self {
        let id = id.as_ref();
        let mut place = [0; Self::IN_PLACE];
        DeviceId(match place.get_mut(..id.len()) {
            Some(part) => {
                part.copy_from_slice(id.as_bytes());
                Id::Short(id.len() as u8, place)
            }
            None => Id::Long(Arc::new(id.into())),
        })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Id::Short(len, bytes) => str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default(),
            Id::Long(id) => id,
        }
    }

    /// The bytes of the text, without the price of looking that they are one.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Id::Short(len, bytes) => &bytes[..usize::from(*len)],
            Id::Long(id) => id.as_bytes(),
        }
    }
}

impl PartialOrd for DeviceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DeviceId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for DeviceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceId").field(&self.as_str()).finish()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for DeviceId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl CohortName {
    /// The cohort that every device is in.
    pub fn all() -> Self {
        CohortName::new("all")
    }
}

/// Names one update attempt of one device: nonzero, growing, never reused (protocol O3, O4). A string in JSON, since JSON numbers
/// are not exact above 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(NonZeroU64);

impl AttemptId {
    /// The first one of a server that has made none.
    pub const FIRST: AttemptId = AttemptId(NonZeroU64::MIN);

    /// The attempt with this number; `None` for zero, which names no attempt.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(AttemptId(number)),
            None => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for AttemptId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .ok()
            .and_then(AttemptId::new)
            .ok_or_else(|| serde::de::Error::custom("attempt ids are 1 to 2^64-1, as text"))
    }
}

/// A text is not a hash of its length, in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not {digits} hexadecimal digits")]
pub struct HashError {
    /// How many there must be.
    pub digits: usize,
}

fn unhex(text: &str, bytes: &mut [u8]) -> Result<(), HashError> {
    let error = HashError { digits: 2 * bytes.len() };
    if text.len() != error.digits || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(error);
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| error)?;
    }
    Ok(())
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = HashError;

            /// Reads hexadecimal digits, as it prints.
            fn from_str(text: &str) -> Result<Self, HashError> {
                let mut bytes = [0; $len];
                unhex(text, &mut bytes).map(|()| $name(bytes))
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

hash_type! {
    /// The identity that a running image reports: 20 bytes (protocol 6.1).
    BuildId, 20
}
hash_type! {
    /// SHA-256 of an image file.
    Digest, 32
}

hash_type! {
    /// SHA-256 of a secret: enough to recognize it by, and not to be turned back where the secret is random.
    KeyHash, 32
}

impl KeyHash {
    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        KeyHash(Sha256::digest(secret).into())
    }

    /// True for that secret alone; takes the same time for every other one.
    pub fn knows(&self, secret: &str) -> bool {
        let given = KeyHash::of(secret);
        let differing = self
            .0
            .iter()
            .zip(given.0)
            .fold(0, |seen, (ours, theirs)| seen | (ours ^ theirs));
        std::hint::black_box(differing) == 0
    }
}

/// The password with which devices authenticate (protocol 2.1). Never shown: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct IngestKey(Arc<str>);

impl IngestKey {
    /// Wraps the key.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        IngestKey(key.into())
    }

    /// The key, for the CONNECT packet and for comparing; not for display.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl IngestKey {
    /// What a server keeps of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

impl fmt::Debug for IngestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IngestKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_its_text_whether_it_is_short_or_long() {
        let texts = ["", "meter-00001", "fourteen-bytes", "fifteen-bytes-x", "z\u{e9}", "m"];
        for one in texts {
            assert_eq!(DeviceId::new(one).as_str(), one);
            for other in texts {
                let (left, right) = (DeviceId::new(one), DeviceId::new(other));
                assert_eq!((left == right, left.cmp(&right)), (one == other, one.cmp(other)));
            }
        }
        assert_eq!(size_of::<Option<DeviceId>>(), 16);
    }

    #[test]
    fn attempt_ids_are_text_in_json_and_never_zero() {
        let id = AttemptId::new(u64::MAX).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"18446744073709551615\"");
        assert_eq!(
            serde_json::from_str::<AttemptId>("\"7\"").unwrap(),
            AttemptId::new(7).unwrap()
        );
        assert!(serde_json::from_str::<AttemptId>("\"0\"").is_err());
        assert!(AttemptId::new(0).is_none());
    }

    #[test]
    fn a_hash_reads_as_it_prints() {
        let digest = Digest(std::array::from_fn(|at| at as u8 * 8));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let error = HashError { digits: 40 };
        assert_eq!("00".parse::<BuildId>(), Err(error));
        assert_eq!("+0".repeat(20).parse::<BuildId>(), Err(error));
    }

    #[test]
    fn a_secret_is_known_whole_or_not_at_all() {
        let hash = KeyHash::of("topsecret");
        assert!(hash.knows("topsecret") && !hash.knows("topsecre") && !hash.knows(""));
    }

    #[test]
    fn an_ingest_key_is_not_printed() {
        assert_eq!(format!("{:?}", IngestKey::new("topsecret")), "IngestKey(..)");
    }
}
