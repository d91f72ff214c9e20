//! The build id descriptor in an image's payload (protocol 6.1).

use super::image::ImageInfo;

/// Head of the descriptor: tag 0x5f0 with type bytes, then a length of 20.
pub const BUILD_ID_HEADER: [u8; 4] = [0xf0, 0x25, 0x14, 0x00];

/// Bytes of the descriptor with its head.
pub(super) const DESCRIPTOR: usize = BUILD_ID_HEADER.len() + 20;

/// Bytes looked at together; each window but the first begins with the end of the one before.
const WINDOW: usize = 1024;

/// Looks for the build id in the payload of an image. The first descriptor counts; without one, with one that is all zero, and where
/// the storage cannot be read there is no build id.
pub fn find_build_id(image: &ImageInfo, mut read: impl FnMut(u64, &mut [u8]) -> bool) -> Option<[u8; 20]> {
    let end = image.header.payload_end();
    let mut at = u64::from(image.header.header_size);
    let mut window = [0; WINDOW];
    while end - at >= DESCRIPTOR as u64 {
        let len = (end - at).min(WINDOW as u64) as usize;
        let bytes = &mut window[..len];
        if !read(at, bytes) {
            return None;
        }
        let found = bytes.windows(DESCRIPTOR).find(|window| window.starts_with(&BUILD_ID_HEADER));
        if let Some(descriptor) = found {
            let id: [u8; 20] = descriptor[BUILD_ID_HEADER.len()..]
                .try_into()
                .expect("a descriptor ends with 20 bytes");
            return (id != [0; 20]).then_some(id);
        }
        at += (len - DESCRIPTOR + 1) as u64;
    }
    None
}
