//! The flash of a board: 256 KiB, as the fixtures divide it.

use thiserror::Error;

use crate::mcuboot::{FLAG_SET, ImageInfo, MAGIC, TrailerLayout, slice_reader};

/// Bytes of the whole flash.
pub const FLASH_SIZE: usize = 256 * 1024;
/// Bytes of an erasable page.
pub const PAGE_SIZE: usize = 1024;
/// Where the primary slot begins.
pub const PRIMARY: usize = 0x4000;
/// Where the secondary slot begins.
pub const SECONDARY: usize = PRIMARY + SLOT_SIZE;
/// Bytes of either slot, trailer included.
pub const SLOT_SIZE: usize = 0x18000;
/// Value of a byte that was erased and not written.
pub const ERASED: u8 = 0xff;

/// Unit of writing, in bytes.
const WRITE_SIZE: u32 = 4;

/// Why firmware does not fit a board.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlashError {
    /// The bootloader runs into the primary slot.
    #[error("the bootloader has {size} bytes, and there are {PRIMARY} for it")]
    BootloaderTooLong {
        /// Its bytes.
        size: usize,
    },
    /// The image leaves no room for the trailer and the page by which a swap moves it.
    #[error("the image has {size} bytes, and a slot holds {limit} beside its trailer and one page more")]
    ImageTooLong {
        /// Its bytes.
        size: usize,
        /// The most that fit.
        limit: usize,
    },
}

/// Where the image in the primary slot stands, as the trailers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was swapped in whole, and the next boot swaps it back.
    OnTrial,
    /// It stays.
    Settled,
    /// A swap is under way, or asked for.
    Moving,
}

/// The content of a board's flash.
#[derive(Clone, PartialEq, Eq)]
pub struct Flash(Box<[u8]>);

impl std::fmt::Debug for Flash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let written = self.0.iter().filter(|byte| **byte != ERASED).count();
        write!(f, "Flash({written} of {} bytes written)", self.0.len())
    }
}

impl Flash {
    /// A board as it leaves the factory: bootloader, and an image in the primary slot that was never swapped in.
    pub fn of(bootloader: &[u8], image: &[u8]) -> Result<Flash, FlashError> {
        if bootloader.len() > PRIMARY {
            return Err(FlashError::BootloaderTooLong { size: bootloader.len() });
        }
        let limit = image_limit();
        if image.len() > limit {
            return Err(FlashError::ImageTooLong {
                size: image.len(),
                limit,
            });
        }
        let mut bytes = vec![ERASED; FLASH_SIZE].into_boxed_slice();
        bytes[..bootloader.len()].copy_from_slice(bootloader);
        bytes[PRIMARY..PRIMARY + image.len()].copy_from_slice(image);
        Ok(Flash(bytes))
    }

    /// Flash as it was read from a board; `None` if that is not [`FLASH_SIZE`] bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Flash> {
        (bytes.len() == FLASH_SIZE).then(|| Flash(bytes.into_boxed_slice()))
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The primary slot.
    pub fn primary(&self) -> &[u8] {
        &self.0[PRIMARY..SECONDARY]
    }

    /// The secondary slot.
    pub fn secondary(&self) -> &[u8] {
        &self.0[SECONDARY..SECONDARY + SLOT_SIZE]
    }

    /// Where the image in the primary slot stands.
    pub fn standing(&self) -> Standing {
        let layout = layout();
        let is_set = |flag: u32| self.primary()[flag as usize] == FLAG_SET;
        let swapped = self.primary().ends_with(&MAGIC);
        if self.secondary().ends_with(&MAGIC) || (swapped && !is_set(layout.copy_done())) {
            Standing::Moving
        } else if swapped && !is_set(layout.image_ok()) {
            Standing::OnTrial
        } else {
            Standing::Settled
        }
    }

    /// What the image in the primary slot claims as its SHA-256, if one stands there.
    pub fn digest(&self) -> Option<[u8; 32]> {
        ImageInfo::read(slice_reader(self.primary())).ok().map(|info| info.digest)
    }

    /// Whether the image in the primary slot would be swapped back at the next boot.
    pub fn on_trial(&self) -> bool {
        let layout = layout();
        let swapped = self.primary().ends_with(&MAGIC);
        swapped && self.primary()[layout.image_ok() as usize] != FLAG_SET
    }

    /// This flash with the one page that differs from `before` half erased: what `before` had where `draw` says so, bit by bit.
    pub(super) fn with_mixed_page(mut self, before: &Flash, mut draw: u64) -> Flash {
        let pages = self.0.chunks(PAGE_SIZE).zip(before.0.chunks(PAGE_SIZE));
        let Some(page) = pages.into_iter().position(|(now, then)| now != then) else {
            return self;
        };
        let at = page * PAGE_SIZE;
        for (now, then) in self.0[at..at + PAGE_SIZE].iter_mut().zip(&before.0[at..at + PAGE_SIZE]) {
            // A multiplicative congruence is enough to pick bits: a page has no structure that it could miss.
            draw = draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *now = then | (draw >> 56) as u8;
        }
        self
    }
}

/// Bytes of the largest image: both slots leave their trailer alone, and the new image stands one page higher.
fn image_limit() -> usize {
    let trailer = (layout().size() as usize).div_ceil(PAGE_SIZE) * PAGE_SIZE;
    SLOT_SIZE - trailer - PAGE_SIZE
}

fn layout() -> TrailerLayout {
    TrailerLayout::new(SLOT_SIZE as u32, WRITE_SIZE).expect("the slot is larger than its trailer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_board_holds_bootloader_and_image_and_is_not_on_trial() {
        let flash = Flash::of(&[1; 100], &[2; 5000]).unwrap();
        assert_eq!(flash.bytes().len(), FLASH_SIZE);
        assert_eq!(&flash.bytes()[..101], [&[1; 100][..], &[ERASED]].concat());
        assert_eq!(&flash.primary()[4999..5001], &[2, ERASED]);
        assert!(!flash.on_trial());
        assert!(flash.secondary().iter().all(|byte| *byte == ERASED));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = Flash::of(&[0; PRIMARY + 1], &[]).unwrap_err();
        assert_eq!(long, FlashError::BootloaderTooLong { size: PRIMARY + 1 });
        let limit = image_limit();
        assert_eq!(limit, 93 * 1024);
        assert!(Flash::of(&[], &vec![0; limit]).is_ok());
        let size = limit + 1;
        assert_eq!(Flash::of(&[], &vec![0; size]), Err(FlashError::ImageTooLong { size, limit }));
    }

    #[test]
    fn a_page_half_erased_has_bits_of_both() {
        let before = Flash::of(&[], &[0x0f; 3000]).unwrap();
        let mut after = before.clone();
        after.0[PRIMARY + PAGE_SIZE..PRIMARY + 2 * PAGE_SIZE].fill(ERASED);
        let mixed = after.clone().with_mixed_page(&before, 7);
        let page = &mixed.0[PRIMARY + PAGE_SIZE..PRIMARY + 2 * PAGE_SIZE];
        assert!(page.iter().all(|byte| byte & 0x0f == 0x0f), "an erase only sets bits");
        assert!(page.contains(&0x0f) || page.iter().any(|byte| *byte != ERASED));
        assert!(page.iter().any(|byte| *byte != 0x0f));
        assert_eq!(mixed.0[..PRIMARY + PAGE_SIZE], after.0[..PRIMARY + PAGE_SIZE]);
        assert_eq!(mixed.0[PRIMARY + 2 * PAGE_SIZE..], after.0[PRIMARY + 2 * PAGE_SIZE..]);
    }
}
