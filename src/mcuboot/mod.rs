//! MCUboot's image format and trailer: what a version's bytes are, and what a bootloader reads in a slot.
//!
//! Generated images come from [`build_image`]; any image, generated or made by imgtool, is read with [`ImageInfo::read`] through a
//! closure, because a slot's bytes need not lie in one piece. The offsets of the trailer are pure functions of slot size and write
//! alignment. Nothing here knows of flash: who erases, writes and swaps is the device's affair.

mod build;
mod build_id;
mod header;
mod image;
mod trailer;
mod version;

pub use build::{ImageSpec, Pattern, SpecError, build_image};
pub use build_id::{BUILD_ID_HEADER, find_build_id};
pub use header::ImageHeader;
pub use image::{ImageError, ImageInfo, Tlv, TlvKind, slice_reader};
pub use trailer::{FLAG_SET, MAGIC, SwapType, TrailerLayout};
pub use version::{ImageVersion, ImageVersionError};
