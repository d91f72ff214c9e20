//! The build id descriptor in an image's payload (protocol 6.1).

use std::ops::ControlFlow;

use super::header::ImageHeader;

/// Head of the descriptor: tag 0x5f0 with type bytes, then a length of 20.
pub const BUILD_ID_HEADER: [u8; 4] = [0xf0, 0x25, 0x14, 0x00];

/// Bytes of the descriptor with its head.
pub(super) const DESCRIPTOR: usize = BUILD_ID_HEADER.len() + 20;

/// Bytes looked at together; each window but the first begins with the end of the one before.
const WINDOW: usize = 1024;

/// Looks for the build id in the payload of an image, by its header alone: digest and TLVs are the bootloader's. The first descriptor counts; without one, with one that is all zero, and where
/// the storage cannot be read there is no build id.
pub fn find_build_id(image: &ImageHeader, read: impl FnMut(u64, &mut [u8]) -> bool) -> Option<[u8; 20]> {
    let mut first = None;
    each_descriptor(image, read, |_, id| {
        first = Some(id);
        ControlFlow::Break(())
    });
    first.filter(|id| *id != [0; 20])
}

/// The build id that an image reports of itself once it runs: its last descriptor's. An image whose own descriptor is not the first
/// in its payload reports another build id than [`find_build_id`] makes expect.
pub fn own_build_id(image: &ImageHeader, read: impl FnMut(u64, &mut [u8]) -> bool) -> Option<[u8; 20]> {
    let mut last = None;
    each_descriptor(image, read, |_, id| {
        last = Some(id);
        ControlFlow::Continue(())
    });
    last.filter(|id| *id != [0; 20])
}

/// Tells position and id of every descriptor in the payload, in order and until `found` breaks. Ends early where the storage cannot
/// be read.
pub(super) fn each_descriptor(
    image: &ImageHeader,
    mut read: impl FnMut(u64, &mut [u8]) -> bool,
    mut found: impl FnMut(u64, [u8; 20]) -> ControlFlow<()>,
) {
    let end = image.payload_end();
    let mut at = u64::from(image.header_size);
    let mut window = [0; WINDOW];
    while end - at >= DESCRIPTOR as u64 {
        let len = (end - at).min(WINDOW as u64) as usize;
        let bytes = &mut window[..len];
        if !read(at, bytes) {
            return;
        }
        let place = bytes
            .windows(DESCRIPTOR)
            .position(|window| window.starts_with(&BUILD_ID_HEADER));
        let Some(place) = place else {
            at += (len - DESCRIPTOR + 1) as u64;
            continue;
        };
        let id = bytes[place + BUILD_ID_HEADER.len()..place + DESCRIPTOR]
            .try_into()
            .expect("a descriptor ends with 20 bytes");
        if found(at + place as u64, id).is_break() {
            return;
        }
        at += (place + DESCRIPTOR) as u64;
    }
}
