//! Reading an image: header, TLVs, digest.

use sha2::{Digest as _, Sha256};

use super::header::ImageHeader;
use super::hex::Hex;
use super::signature::{SignatureScheme, VerifyingKey};
use super::tlv::{Tlv, TlvKind};

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

/// Why an image does not bear a key's signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature of a scheme in use.
    #[error("the image is not signed")]
    Unsigned,
    /// Only signatures of other schemes.
    #[error("the image is signed by {scheme}, the key is for another scheme")]
    OtherScheme {
        /// Of the last signature.
        scheme: SignatureScheme,
    },
    /// A signature without word of whose it is.
    #[error("no key hash stands before the signature")]
    NoKeyHash,
    /// The signature is said to be another key's.
    #[error("the image is signed by key {}", Hex(named))]
    OtherKey {
        /// Hash of that key.
        named: Vec<u8>,
    },
    /// The image names the key, but the signature is none of the content by it.
    #[error("the signature does not fit content and key")]
    Wrong,
    /// The storage could not be read.
    #[error("cannot read the signature at {at}")]
    Unreadable {
        /// Position of the TLV's value.
        at: u64,
    },
}

impl SignatureError {
    /// How near the image comes to bearing the signature.
    fn nearness(&self) -> u8 {
        match self {
            SignatureError::Unreadable { .. } | SignatureError::Unsigned => 0,
            SignatureError::OtherScheme { .. } => 1,
            SignatureError::NoKeyHash => 2,
            SignatureError::OtherKey { .. } => 3,
            SignatureError::Wrong => 4,
        }
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
    pub fn verify(&self, read: impl FnMut(u64, &mut [u8]) -> bool) -> Result<(), ImageError> {
        let found = self.content_digest(read)?;
        if found == self.digest {
            Ok(())
        } else {
            Err(ImageError::WrongDigest {
                claimed: self.digest,
                found,
            })
        }
    }

    /// Computes the SHA-256 of header, payload and protected TLVs.
    ///
    /// # Errors
    /// [`ImageError::Unreadable`].
    pub fn content_digest(&self, mut read: impl FnMut(u64, &mut [u8]) -> bool) -> Result<[u8; 32], ImageError> {
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
        Ok(hash.finalize().into())
    }

    /// Checks that a signature of this content digest by this key is there, as a bootloader that holds the key does: each signature
    /// counts for the key whose hash stands before it.
    ///
    /// # Errors
    /// [`SignatureError`] says how near the image comes.
    pub fn verify_signature(
        &self,
        key: &VerifyingKey,
        digest: &[u8; 32],
        mut read: impl FnMut(u64, &mut [u8]) -> bool,
    ) -> Result<(), SignatureError> {
        let own = key.hash();
        let mut named = None;
        let mut nearest = SignatureError::Unsigned;
        for tlv in self.tlvs.iter().filter(|tlv| !tlv.protected) {
            if tlv.kind == TlvKind::KEY_HASH {
                named = Some(value(&mut read, tlv)?);
            }
            let Some(scheme) = SignatureScheme::of_tlv(tlv.kind) else {
                continue;
            };
            let short = match &named {
                _ if scheme != key.scheme() => SignatureError::OtherScheme { scheme },
                None => SignatureError::NoKeyHash,
                Some(hash) if hash[..] != own => SignatureError::OtherKey { named: hash.clone() },
                Some(_) if key.verifies(digest, &value(&mut read, tlv)?) => return Ok(()),
                Some(_) => SignatureError::Wrong,
            };
            if short.nearness() > nearest.nearness() {
                nearest = short;
            }
        }
        Err(nearest)
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

fn value(read: &mut impl FnMut(u64, &mut [u8]) -> bool, tlv: &Tlv) -> Result<Vec<u8>, SignatureError> {
    let mut bytes = vec![0; usize::from(tlv.len)];
    let whole = read(tlv.at, &mut bytes);
    whole.then_some(bytes).ok_or(SignatureError::Unreadable { at: tlv.at })
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
