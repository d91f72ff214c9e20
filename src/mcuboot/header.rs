//! The header of an image: 32 bytes, little endian.

use super::image::ImageError;
use super::version::ImageVersion;

/// What an image says about itself in its first 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// Where the image is copied before it runs; zero for one that runs in its slot.
    pub load_address: u32,
    /// Bytes from the start of the image to its payload, padding included.
    pub header_size: u16,
    /// Bytes of the protected TLV area with its 4-byte info; zero without one.
    pub protected_tlv_size: u16,
    /// Bytes of the payload.
    pub image_size: u32,
    /// Bits such as "encrypted" or "not bootable".
    pub flags: u32,
    /// The version.
    pub version: ImageVersion,
}

impl ImageHeader {
    /// Bytes of the header without padding.
    pub const LEN: usize = 32;

    const MAGIC: u32 = 0x96f3_b83d;

    /// The header as it stands in an image.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0..4].copy_from_slice(&Self::MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.load_address.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.header_size.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.protected_tlv_size.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.image_size.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.flags.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.version.to_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`ImageError::HeaderMagic`] or [`ImageError::HeaderSize`].
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, ImageError> {
        let byte4 = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let byte2 = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if byte4(0) != Self::MAGIC {
            return Err(ImageError::HeaderMagic { found: byte4(0) });
        }
        let header = ImageHeader {
            load_address: byte4(4),
            header_size: byte2(8),
            protected_tlv_size: byte2(10),
            image_size: byte4(12),
            flags: byte4(16),
            version: ImageVersion::from_bytes(bytes[20..28].try_into().expect("eight of 32 bytes")),
        };
        if usize::from(header.header_size) < Self::LEN {
            return Err(ImageError::HeaderSize {
                found: header.header_size,
            });
        }
        Ok(header)
    }

    /// Bytes that the image's digest covers: header, payload and protected TLVs.
    pub fn hashed_len(&self) -> u64 {
        self.payload_end() + u64::from(self.protected_tlv_size)
    }

    /// Position behind the payload, where the TLVs begin.
    pub fn payload_end(&self) -> u64 {
        u64::from(self.header_size) + u64::from(self.image_size)
    }
}
