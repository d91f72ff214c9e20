//! What stands behind an image's payload: entries of a type, a length and a value.

use super::version::ImageVersion;

/// Where a TLV stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv {
    /// What it holds.
    pub kind: TlvKind,
    /// Covered by the digest.
    pub protected: bool,
    /// Position of its value in the image.
    pub at: u64,
    /// Bytes of its value.
    pub len: u16,
}

/// What a TLV holds; numbers beyond the constants are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlvKind(pub u16);

impl TlvKind {
    /// SHA-256 of the public key that signed.
    pub const KEY_HASH: TlvKind = TlvKind(0x01);
    /// SHA-256 of header, payload and protected TLVs.
    pub const SHA256: TlvKind = TlvKind(0x10);
    /// RSA-2048 PSS signature of the digest.
    pub const RSA2048: TlvKind = TlvKind(0x20);
    /// ECDSA signature of the digest, DER.
    pub const ECDSA: TlvKind = TlvKind(0x22);
    /// Ed25519 signature of the digest.
    pub const ED25519: TlvKind = TlvKind(0x24);
    /// Images that this one needs.
    pub const DEPENDENCY: TlvKind = TlvKind(0x40);
    /// Security counter against downgrades.
    pub const SECURITY_COUNTER: TlvKind = TlvKind(0x50);
    /// Measured-boot record.
    pub const BOOT_RECORD: TlvKind = TlvKind(0x60);

    /// What it is called; several kinds that Squall only passes over have names too.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x01 => "key-hash",
            0x02 => "public-key",
            0x10 => "sha256",
            0x11 => "sha384",
            0x12 => "sha512",
            0x20 => "rsa-2048",
            0x22 => "ecdsa",
            0x23 => "rsa-3072",
            0x24 => "ed25519",
            0x25 => "pure-signature",
            0x30..=0x34 => "encrypted-key",
            0x40 => "dependency",
            0x50 => "security-counter",
            0x60 => "boot-record",
            0x70..=0x73 => "compression",
            0x74 => "vendor-id",
            0x75 => "class-id",
            0xa0..=0xfffe => "custom",
            _ => "unknown",
        }
    }
}

/// The value of a [`TlvKind::SECURITY_COUNTER`].
pub fn security_counter(counter: u32) -> Vec<u8> {
    counter.to_le_bytes().to_vec()
}

/// Another image of the device that must be there, at this version at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Number of the image, as the bootloader counts its slots' pairs.
    pub image: u8,
    /// The least version.
    pub version: ImageVersion,
}

impl Dependency {
    /// Bytes of the value.
    const LEN: usize = 12;

    /// The value of a [`TlvKind::DEPENDENCY`]: number, three bytes of padding, version.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.image, 0, 0, 0];
        bytes.extend_from_slice(&self.version.to_bytes());
        bytes
    }

    /// Reads such a value; `None` if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (image, version) = (bytes[0], bytes[4..].try_into().ok()?);
        Some(Dependency {
            image,
            version: ImageVersion::from_bytes(version),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_read_as_it_is_written() {
        let dependency = Dependency {
            image: 1,
            version: "2.3.1027+5".parse().unwrap(),
        };
        let bytes = dependency.to_bytes();
        assert_eq!(bytes, [1, 0, 0, 0, 2, 3, 3, 4, 5, 0, 0, 0]);
        assert_eq!(Dependency::from_bytes(&bytes), Some(dependency));
        assert_eq!(Dependency::from_bytes(&bytes[1..]), None);
    }

    #[test]
    fn kinds_that_are_made_here_have_names_of_their_own() {
        let kinds = [
            TlvKind::KEY_HASH,
            TlvKind::SHA256,
            TlvKind::RSA2048,
            TlvKind::ECDSA,
            TlvKind::ED25519,
            TlvKind::DEPENDENCY,
            TlvKind::SECURITY_COUNTER,
            TlvKind::BOOT_RECORD,
        ];
        let mut names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kinds.len());
        assert!(!names.contains(&"unknown"));
        assert_eq!(TlvKind(0xffff).name(), "unknown");
    }
}
