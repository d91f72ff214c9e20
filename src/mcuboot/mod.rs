//! MCUboot's image format and trailer: what a version's bytes are, and what a bootloader reads in a slot.
//!
//! Generated images come from [`build_image`], signed with a [`SigningKey`] and flawed with a [`Flaw`] if asked; any image, generated
//! or made by imgtool, is read with [`ImageInfo::read`] through a closure, because a slot's bytes need not lie in one piece.
//! [`inspect`] judges a file in one piece and says what is wrong with it. The offsets of the trailer are pure functions of slot size
//! and write alignment. Nothing here knows of flash or files: who erases, writes and swaps is the device's affair, and keys come as
//! the text of their PEM.

mod build;
mod build_id;
mod flaw;
mod header;
mod hex;
mod image;
mod inspect;
mod key;
mod signature;
mod slot;
mod tlv;
mod trailer;
mod version;

pub use build::{ImageSpec, Pattern, SpecError, build_image};
pub use build_id::{BUILD_ID_HEADER, find_build_id, own_build_id};
pub use flaw::Flaw;
pub use header::ImageHeader;
pub use hex::Hex;
pub use image::{ImageError, ImageInfo, SignatureError, slice_reader};
pub use inspect::{Defect, Inspection, SignatureVerdict, inspect};
pub use key::KeyError;
pub use signature::{SignatureScheme, SigningKey, VerifyingKey};
pub use slot::{Flag, Slot, Trailer};
pub use tlv::{Dependency, Tlv, TlvKind, security_counter};
pub use trailer::{FLAG_SET, MAGIC, SwapType, TrailerLayout};
pub use version::{ImageVersion, ImageVersionError};
