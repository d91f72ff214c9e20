//! Reading an image: header, TLVs, digest.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::header::ImageHeader;

/// Marks an area of unprotected TLVs.
pub(super) const TLV_INFO_MAGIC: u16 = 0x6907;
/// Marks an area of protected TLVs, which the digest covers.
pub(super) const PROTECTED_TLV_INFO_MAGIC: u16 = 0x6908;
/// Bytes of an area's info and of an entry's head alike.
pub(super) const TLV_HEAD: u16 = 4;

/// Bytes read at once where much is read.
const CHUNK: usize = 1024;

/// What an image is, as far as a bootloader asks before it starts one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its header.
    pub header: ImageHeader,
    /// SHA-256 over header, payload and protected TLVs, as its TLV claims; [`Self::verify`] tells whether that is so.
    pub digest: [u8; 32],
    /// Every TLV in order, protected ones first.
    pub tlvs: Vec<Tlv>,
    /// Bytes from the header's first to the last TLV's last.
    pub len: u64,
}

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
}

/// Why bytes are no image that may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The storage ends within the image, or could not be read.
    #[error("cannot read {len} bytes at {at}")]
    Unreadable {
        /// Position in the image.
        at: u64,
        /// Bytes wanted.
        len: u64,
    },
    /// No image begins here.
    #[error("the header's magic is {found:#010x}, not 0x96f3b83d")]
    HeaderMagic {
        /// Instead of the magic.
        found: u32,
    },
    /// A header shorter than its own fields.
    #[error("the header claims to be {found} bytes long, fewer than 32")]
    HeaderSize {
        /// What it claims.
        found: u16,
    },
    /// No TLV area where one has to begin.
    #[error("the TLV area at {at} has the magic {found:#06x}")]
    TlvMagic {
        /// Position in the image.
        at: u64,
        /// Instead of the magic.
        found: u16,
    },
    /// The header and the protected area disagree about its size.
    #[error("the header says {header} bytes of protected TLVs, the area {area}")]
    ProtectedSize {
        /// According to the header.
        header: u16,
        /// According to the area's info; zero if there is none.
        area: u16,
    },
    /// An area shorter than its info, or an entry that reaches beyond its area.
    #[error("the TLV at {at} does not fit its area")]
    TlvSize {
        /// Position of the area's info or the entry's head.
        at: u64,
    },
    /// No unprotected SHA-256 TLV of 32 bytes.
    #[error("the image has no SHA-256 digest")]
    NoDigest,
    /// The content is not what the digest TLV says.
    #[error("the digest is {}, the image says {}", Hex(found), Hex(claimed))]
    WrongDigest {
        /// According to the TLV.
        claimed: [u8; 32],
        /// Of the content.
        found: [u8; 32],
    },
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads from bytes in one piece, for [`ImageInfo::read`] and its kin.
pub fn slice_reader(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> bool {
    move |at, into| {
        let source = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..into.len()));
        source.is_some_and(|source| {
            into.copy_from_slice(source);
            true
        })
    }
}

impl ImageInfo {
    /// Reads header and TLVs of the image at position zero. `read` fills its buffer with what stands at a position, or answers false
    /// if the storage does not reach that far.
    ///
    /// # Errors
    /// [`ImageError`] names the first thing that is wrong. The digest is not checked.
    pub fn read(mut read: impl FnMut(u64, &mut [u8]) -> bool) -> Result<Self, ImageError> {
        let header = ImageHeader::from_bytes(&take(&mut read, 0)?)?;
        let mut tlvs = Vec::new();
        let protected = read_area(&mut read, header.payload_end(), PROTECTED_TLV_INFO_MAGIC, &mut tlvs)?;
        if protected.unwrap_or(0) != header.protected_tlv_size {
            return Err(ImageError::ProtectedSize {
                header: header.protected_tlv_size,
                area: protected.unwrap_or(0),
            });
        }
        let at = header.hashed_len();
        let Some(unprotected) = read_area(&mut read, at, TLV_INFO_MAGIC, &mut tlvs)? else {
            let [low, high, ..] = take::<4>(&mut read, at)?;
            return Err(ImageError::TlvMagic {
                at,
                found: u16::from_le_bytes([low, high]),
            });
        };
        // No value but the digest is read here, so a missing end would go unnoticed.
        let len = at + u64::from(unprotected);
        take::<1>(&mut read, len - 1)?;
        let digest = tlvs
            .iter()
            .find(|tlv| tlv.kind == TlvKind::SHA256 && !tlv.protected && tlv.len == 32);
        let digest = take(&mut read, digest.ok_or(ImageError::NoDigest)?.at)?;
        Ok(ImageInfo {
            header,
            digest,
            tlvs,
            len,
        })
    }

    /// Computes the digest of the content and compares it with the one claimed, as a bootloader does before it starts the image.
    ///
    /// # Errors
    /// [`ImageError::WrongDigest`], or [`ImageError::Unreadable`].
    pub fn verify(&self, mut read: impl FnMut(u64, &mut [u8]) -> bool) -> Result<(), ImageError> {
        let mut hash = Sha256::new();
        let mut chunk = [0; CHUNK];
        let mut at = 0;
        while at < self.header.hashed_len() {
            let len = (self.header.hashed_len() - at).min(CHUNK as u64);
            let piece = &mut chunk[..len as usize];
            if !read(at, piece) {
                return Err(ImageError::Unreadable { at, len });
            }
            hash.update(piece);
            at += len;
        }
        let found: [u8; 32] = hash.finalize().into();
        if found == self.digest {
            Ok(())
        } else {
            Err(ImageError::WrongDigest {
                claimed: self.digest,
                found,
            })
        }
    }

    /// The first TLV of a kind.
    pub fn tlv(&self, kind: TlvKind) -> Option<&Tlv> {
        self.tlvs.iter().find(|tlv| tlv.kind == kind)
    }
}

/// Reads the TLV area at `at` if it has this magic, and answers its size with its info; `None` if another thing stands there.
fn read_area(
    read: &mut impl FnMut(u64, &mut [u8]) -> bool,
    at: u64,
    magic: u16,
    tlvs: &mut Vec<Tlv>,
) -> Result<Option<u16>, ImageError> {
    let (found, size) = two_words(take(read, at)?);
    if found != magic {
        return Ok(None);
    }
    let end = at + u64::from(size);
    let mut head = at + u64::from(TLV_HEAD);
    if end < head {
        return Err(ImageError::TlvSize { at });
    }
    while head < end {
        if end - head < u64::from(TLV_HEAD) {
            return Err(ImageError::TlvSize { at: head });
        }
        let (kind, len) = two_words(take(read, head)?);
        let tlv = Tlv {
            kind: TlvKind(kind),
            protected: magic == PROTECTED_TLV_INFO_MAGIC,
            at: head + u64::from(TLV_HEAD),
            len,
        };
        if tlv.at + u64::from(len) > end {
            return Err(ImageError::TlvSize { at: head });
        }
        head = tlv.at + u64::from(len);
        tlvs.push(tlv);
    }
    Ok(Some(size))
}

fn two_words([a, b, c, d]: [u8; 4]) -> (u16, u16) {
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

fn take<const N: usize>(read: &mut impl FnMut(u64, &mut [u8]) -> bool, at: u64) -> Result<[u8; N], ImageError> {
    let mut bytes = [0; N];
    if read(at, &mut bytes) {
        Ok(bytes)
    } else {
        Err(ImageError::Unreadable { at, len: N as u64 })
    }
}
