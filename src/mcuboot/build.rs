//! Making images: MCUboot images of any size, with content that tells versions apart, signed, padded, flawed as asked.

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::build_id::{BUILD_ID_HEADER, DESCRIPTOR};
use super::flaw::Flaw;
use super::header::ImageHeader;
use super::image::{PROTECTED_TLV_INFO_MAGIC, TLV_HEAD, TLV_INFO_MAGIC};
use super::signature::SigningKey;
use super::slot::Slot;
use super::tlv::TlvKind;
use super::version::ImageVersion;

/// Where the payload begins: what Zephyr's builds take, so that a vector table behind it is aligned.
const HEADER_SIZE: u16 = 0x200;

/// Seed of the key that signs images with a wrong key.
const STRANGER: u64 = 0x5173_616e_6765_7221;

/// What an image is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// Which firmware: part of what the build id is derived from.
    pub slug: String,
    /// Its version, in the header and part of what the build id is derived from.
    pub version: ImageVersion,
    /// Bytes of the whole file, padding to a slot left out.
    pub size: u64,
    /// What fills the payload.
    pub pattern: Pattern,
    /// TLVs that the digest covers, in order; usually none.
    pub protected: Vec<(TlvKind, Vec<u8>)>,
    /// The key that signs it; without one it has a digest only.
    pub signed_by: Option<SigningKey>,
    /// The slot that it is padded to.
    pub slot: Option<Slot>,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
}

/// What fills the payload of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Bytes without order, the same for the same seed.
    Random {
        /// Chooses the bytes.
        seed: u64,
    },
    /// Zero bytes.
    Zeros,
    /// Little-endian words of 32 bits, each holding its own number: misplaced bytes show where they came from.
    Counter,
}

/// Why an image cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Header, build id and TLVs need more.
    #[error("an image of {size} bytes is too small, it needs {min}")]
    TooSmall {
        /// Bytes asked for.
        size: u64,
        /// The least that fits.
        min: u64,
    },
    /// The header counts the payload in 32 bits.
    #[error("an image of {size} bytes is too large, the format ends at 4 GiB")]
    TooLarge {
        /// Bytes asked for.
        size: u64,
    },
    /// A TLV area counts its bytes in 16 bits.
    #[error("{size} bytes of protected TLVs are too many, the format ends at 64 KiB")]
    Protected {
        /// Bytes of the area.
        size: u64,
    },
    /// The slot has no room for image and trailer.
    #[error("an image of {size} bytes and its trailer do not fit a slot of {slot}, which has room for {room}")]
    Slot {
        /// Bytes asked for.
        size: u64,
        /// Bytes of the slot.
        slot: u32,
        /// Bytes beside the trailer.
        room: u32,
    },
    /// Only an image that is to be signed can have this flaw.
    #[error("only an image that is to be signed can have a flaw in its signature")]
    NotSigned,
    /// An image can be too big only for a slot.
    #[error("an image is too big only for a slot of a given size")]
    NoSlot,
}

impl ImageSpec {
    /// A sound image without protected TLVs and signature.
    pub fn new(slug: impl Into<String>, version: ImageVersion, size: u64, pattern: Pattern) -> Self {
        ImageSpec {
            slug: slug.into(),
            version,
            size,
            pattern,
            protected: Vec::new(),
            signed_by: None,
            slot: None,
            flaw: None,
        }
    }

    fn protected_size(&self) -> Result<u16, SpecError> {
        if self.protected.is_empty() {
            return Ok(0);
        }
        let entries = self
            .protected
            .iter()
            .map(|(_, value)| u64::from(TLV_HEAD) + value.len() as u64);
        let size = u64::from(TLV_HEAD) + entries.sum::<u64>();
        u16::try_from(size).map_err(|_| SpecError::Protected { size })
    }

    /// Bytes of the unprotected area: digest, and key hash and signature if it is signed.
    fn unprotected_size(&self) -> u16 {
        let digest = 2 * TLV_HEAD + 32;
        let signature = |key: &SigningKey| 2 * TLV_HEAD + 32 + key.scheme().signature_len();
        digest + self.signer().as_ref().map_or(0, signature)
    }

    /// The key that signs the image: another than the one asked for, or none, where that is its flaw.
    fn signer(&self) -> Option<SigningKey> {
        match self.flaw {
            Some(Flaw::Unsigned) => None,
            Some(Flaw::WrongKey) => Some(SigningKey::from_seed(STRANGER)),
            _ => self.signed_by.clone(),
        }
    }

    /// Bytes of the image as it is made.
    fn made_size(&self) -> Result<u64, SpecError> {
        match (self.flaw, self.slot) {
            (Some(Flaw::TooBig), None) => Err(SpecError::NoSlot),
            (Some(Flaw::TooBig), Some(slot)) => Ok(self.size.max(u64::from(slot.size) + 1)),
            (Some(flaw), _) if flaw.is_of_signature() && self.signed_by.is_none() => Err(SpecError::NotSigned),
            (_, Some(slot)) if self.size > slot.room().unwrap_or(0).into() => Err(SpecError::Slot {
                size: self.size,
                slot: slot.size,
                room: slot.room().unwrap_or(0),
            }),
            _ => Ok(self.size),
        }
    }

    /// Bytes at the start of the payload that hold build id descriptors.
    fn descriptors(&self) -> usize {
        match self.flaw {
            Some(Flaw::NoBuildId) => 0,
            Some(Flaw::WrongBuildId) => 2 * DESCRIPTOR,
            _ => DESCRIPTOR,
        }
    }
}

/// Makes the image: header, payload that begins with the build id descriptor, protected TLVs, SHA-256, signature, padding.
///
/// The build id is the SHA-1 of slug, version and payload (its own bytes taken as zero), so that it is an image's own. The same spec
/// gives the same bytes. A truncated image or one that is too big is not padded.
///
/// # Errors
/// [`SpecError`] if the size does not fit the format or the slot, or the flaw not the image.
pub fn build_image(spec: &ImageSpec) -> Result<Bytes, SpecError> {
    let size = spec.made_size()?;
    let protected_tlv_size = spec.protected_size()?;
    let around = u64::from(HEADER_SIZE) + u64::from(protected_tlv_size) + u64::from(spec.unprotected_size());
    let min = around + spec.descriptors() as u64;
    if size < min {
        return Err(SpecError::TooSmall { size, min });
    }
    let image_size = u32::try_from(size - around).map_err(|_| SpecError::TooLarge { size })?;
    let header = ImageHeader {
        load_address: 0,
        header_size: HEADER_SIZE,
        protected_tlv_size,
        image_size,
        flags: 0,
        version: spec.version,
    };

    let mut image = Vec::with_capacity(size as usize + 8);
    image.extend_from_slice(&header.to_bytes());
    if spec.flaw == Some(Flaw::BadMagic) {
        image[..4].fill(0);
    }
    image.resize(usize::from(HEADER_SIZE), 0);
    push_payload(&mut image, image_size as usize, spec);
    if protected_tlv_size > 0 {
        push_words(&mut image, PROTECTED_TLV_INFO_MAGIC, protected_tlv_size);
        spec.protected
            .iter()
            .for_each(|(kind, value)| push_tlv(&mut image, *kind, value));
    }
    push_unprotected(&mut image, spec);
    match (spec.flaw, spec.slot) {
        (Some(Flaw::Truncated), _) => image.truncate(image.len() / 2),
        (Some(Flaw::TooBig), _) | (_, None) => {}
        (_, Some(slot)) => slot.pad(&mut image),
    }
    Ok(image.into())
}

fn push_payload(image: &mut Vec<u8>, size: usize, spec: &ImageSpec) {
    let start = image.len();
    let descriptors = spec.descriptors();
    for _ in 0..descriptors / DESCRIPTOR {
        image.extend_from_slice(&BUILD_ID_HEADER);
        image.resize(image.len() + DESCRIPTOR - BUILD_ID_HEADER.len(), 0);
    }
    fill(image, size - descriptors, spec.pattern);
    no_other_descriptor(&mut image[start + descriptors..]);
    if spec.flaw == Some(Flaw::ZeroBuildId) {
        return;
    }
    let id = build_id(spec, &image[start..]);
    let places = image[start..start + descriptors].chunks_mut(DESCRIPTOR).rev();
    for (number, place) in places.enumerate() {
        place[BUILD_ID_HEADER.len()..].copy_from_slice(&id);
        // The image's own id stands last; whatever stands before it must be another.
        place[BUILD_ID_HEADER.len()] ^= number as u8;
    }
}

/// Changes what looks like a descriptor's head by chance, so that an image holds none but those put there.
fn no_other_descriptor(filling: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = filling[at..]
        .windows(BUILD_ID_HEADER.len())
        .position(|bytes| bytes == BUILD_ID_HEADER)
    {
        at += found + BUILD_ID_HEADER.len();
        filling[at - 1] = 1;
    }
}

fn push_unprotected(image: &mut Vec<u8>, spec: &ImageSpec) {
    let digest: [u8; 32] = Sha256::digest(&*image).into();
    push_words(image, TLV_INFO_MAGIC, spec.unprotected_size());
    let mut claimed = digest;
    if spec.flaw == Some(Flaw::WrongDigest) {
        claimed[0] ^= 1;
    }
    push_tlv(image, TlvKind::SHA256, &claimed);
    if let Some(key) = spec.signer() {
        let mut signature = key.sign(&digest);
        if let (Some(Flaw::BadSignature), Some(last)) = (spec.flaw, signature.last_mut()) {
            *last ^= 1;
        }
        push_tlv(image, TlvKind::KEY_HASH, &key.verifying_key().hash());
        push_tlv(image, key.scheme().tlv(), &signature);
    }
}

fn fill(image: &mut Vec<u8>, count: usize, pattern: Pattern) {
    let end = image.len() + count;
    match pattern {
        Pattern::Random { seed } => {
            for number in 0..count.div_ceil(8) as u64 {
                image.extend_from_slice(&scramble(seed, number).to_le_bytes());
            }
        }
        Pattern::Zeros => {}
        Pattern::Counter => {
            for number in 0..count.div_ceil(4) as u32 {
                image.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
    image.resize(end, 0);
}

/// The `number`-th output of SplitMix64 from this seed (Steele, Lea, Flood 2014).
fn scramble(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn build_id(spec: &ImageSpec, payload: &[u8]) -> [u8; 20] {
    let named = Sha1::new()
        .chain_update((spec.slug.len() as u64).to_le_bytes())
        .chain_update(&spec.slug);
    named
        .chain_update(spec.version.to_string())
        .chain_update([0])
        .chain_update(payload)
        .finalize()
        .into()
}

fn push_tlv(image: &mut Vec<u8>, kind: TlvKind, value: &[u8]) {
    let len = u16::try_from(value.len()).expect("the area's size was checked, and an entry is smaller");
    push_words(image, kind.0, len);
    image.extend_from_slice(value);
}

fn push_words(image: &mut Vec<u8>, first: u16, second: u16) {
    image.extend_from_slice(&first.to_le_bytes());
    image.extend_from_slice(&second.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::{ImageInfo, find_build_id, slice_reader};
    use super::*;

    fn spec(size: u64, pattern: Pattern) -> ImageSpec {
        ImageSpec::new("app", "1.1.0".parse().unwrap(), size, pattern)
    }

    #[test]
    fn an_image_has_the_size_asked_for_and_verifies() {
        for pattern in [Pattern::Random { seed: 7 }, Pattern::Zeros, Pattern::Counter] {
            for size in [576, 577, 1023, 1600, 1601, 65_536] {
                let image = build_image(&spec(size, pattern)).unwrap();
                assert_eq!(image.len() as u64, size);
                let info = ImageInfo::read(slice_reader(&image)).unwrap();
                assert_eq!(info.verify(slice_reader(&image)), Ok(()));
                assert_eq!(info.len, size);
                assert_eq!(info.header.version.to_string(), "1.1.0");
                assert!(find_build_id(&info.header, slice_reader(&image)).is_some());
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_the_format_are_refused() {
        assert_eq!(
            build_image(&spec(575, Pattern::Zeros)),
            Err(SpecError::TooSmall { size: 575, min: 576 })
        );
        let size = (1 << 32) + 0x200 + 40;
        assert_eq!(build_image(&spec(size, Pattern::Zeros)), Err(SpecError::TooLarge { size }));
        let protected = vec![(TlvKind::BOOT_RECORD, vec![0; 65_528])];
        let too_many = ImageSpec {
            protected,
            ..spec(100_000, Pattern::Zeros)
        };
        assert_eq!(build_image(&too_many), Err(SpecError::Protected { size: 65_536 }));
    }

    #[test]
    fn protected_tlvs_are_covered_by_the_digest() {
        let protected = vec![(TlvKind::SECURITY_COUNTER, vec![5, 0, 0, 0])];
        let image = build_image(&ImageSpec {
            protected,
            ..spec(1024, Pattern::Counter)
        })
        .unwrap();
        assert_eq!(image.len(), 1024);
        let info = ImageInfo::read(slice_reader(&image)).unwrap();
        assert_eq!(info.header.protected_tlv_size, 12);
        let counter = *info.tlv(TlvKind::SECURITY_COUNTER).unwrap();
        assert!(counter.protected);
        let mut changed = image.to_vec();
        changed[counter.at as usize] = 4;
        let read_again = ImageInfo::read(slice_reader(&changed)).unwrap();
        assert!(read_again.verify(slice_reader(&changed)).is_err());
    }

    #[test]
    fn every_part_of_a_spec_changes_the_build_id() {
        let id = |spec: &ImageSpec| {
            let image = build_image(spec).unwrap();
            find_build_id(&ImageInfo::read(slice_reader(&image)).unwrap().header, slice_reader(&image)).unwrap()
        };
        let first = spec(1000, Pattern::Random { seed: 1 });
        let others = [
            ImageSpec {
                slug: "modem".into(),
                ..first.clone()
            },
            ImageSpec {
                version: "1.1.1".parse().unwrap(),
                ..first.clone()
            },
            ImageSpec {
                size: 1001,
                ..first.clone()
            },
            spec(1000, Pattern::Random { seed: 2 }),
            spec(1000, Pattern::Zeros),
        ];
        assert_eq!(id(&first), id(&first.clone()));
        others.iter().for_each(|other| assert_ne!(id(&first), id(other), "{other:?}"));
    }

    #[test]
    fn a_counter_holds_its_own_position() {
        let image = build_image(&spec(4096, Pattern::Counter)).unwrap();
        let words = &image[usize::from(HEADER_SIZE) + DESCRIPTOR..];
        assert_eq!(words[400..404], 100u32.to_le_bytes());
    }
}
