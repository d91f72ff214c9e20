//! An image in a file as large as its slot, with the trailer that tells a bootloader what to do with it.

use super::trailer::{FLAG_SET, MAGIC, SwapType, TrailerLayout};

/// Value of flash that was erased and not written.
const ERASED: u8 = 0xff;

/// The slot that an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its bytes.
    pub size: u32,
    /// Unit of writing to flash in bytes: a power of two up to 32.
    pub align: u32,
    /// Whether the trailer confirms the image, so that it is not swapped back.
    pub confirmed: bool,
}

impl Slot {
    /// Bytes that an image may have beside the trailer; `None` if not even the trailer fits.
    pub fn room(&self) -> Option<u32> {
        TrailerLayout::new(self.size, self.align).map(TrailerLayout::start)
    }

    /// Fills up an image to the slot's size: erased flash, then the trailer. The image must fit [`Self::room`].
    pub(super) fn pad(&self, image: &mut Vec<u8>) {
        let layout = TrailerLayout::new(self.size, self.align).expect("the caller saw that there is room");
        image.resize(self.size as usize, ERASED);
        if self.confirmed {
            image[layout.image_ok() as usize] = FLAG_SET;
        }
        image[layout.magic() as usize..].copy_from_slice(&layout.magic_bytes());
    }
}

/// What the trailer at the end of a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where its fields stand.
    pub layout: TrailerLayout,
    /// Whether the image is confirmed.
    pub image_ok: Flag,
    /// Whether a swap has ended.
    pub copy_done: Flag,
    /// The swap under way, if one is.
    pub swap: Option<SwapType>,
}

/// One byte of a trailer that is set or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It has its value.
    Set,
    /// Erased.
    Unset,
    /// Neither: a bootloader takes it for unset.
    Torn(u8),
}

impl Flag {
    fn of(byte: u8) -> Flag {
        match byte {
            FLAG_SET => Flag::Set,
            ERASED => Flag::Unset,
            other => Flag::Torn(other),
        }
    }
}

impl Trailer {
    /// Reads the trailer of a whole slot, written in units of `align` bytes; `None` if its last bytes are no trailer's magic.
    pub fn read(slot: &[u8], align: u32) -> Option<Trailer> {
        let (_, magic) = slot.split_last_chunk::<{ MAGIC.len() }>()?;
        let layout = TrailerLayout::told_by(magic, u32::try_from(slot.len()).ok()?, align)?;
        let byte = |at: u32| slot[at as usize];
        Some(Trailer {
            layout,
            image_ok: Flag::of(byte(layout.image_ok())),
            copy_done: Flag::of(byte(layout.copy_done())),
            swap: SwapType::from_byte(byte(layout.swap_info())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(align: u32, confirmed: bool) -> Slot {
        Slot {
            size: 0x8000,
            align,
            confirmed,
        }
    }

    #[test]
    fn a_padded_image_has_the_trailer_that_was_asked_for() {
        for align in [1, 2, 4, 8, 16, 32] {
            for confirmed in [false, true] {
                let mut image = vec![0; 100];
                slot(align, confirmed).pad(&mut image);
                assert_eq!(image.len(), 0x8000);
                let trailer = Trailer::read(&image, align).unwrap();
                assert_eq!(trailer.layout, TrailerLayout::new(0x8000, align).unwrap());
                assert_eq!(trailer.image_ok, if confirmed { Flag::Set } else { Flag::Unset });
                assert_eq!((trailer.copy_done, trailer.swap), (Flag::Unset, None));
            }
        }
    }

    #[test]
    fn other_ends_are_no_trailers() {
        let mut image = vec![0; 100];
        slot(4, false).pad(&mut image);
        assert_eq!(Trailer::read(&image[..0x7fff], 4), None);
        assert_eq!(Trailer::read(&image[0x8000 - 100..], 4), None);
        assert_eq!(Trailer::read(&[], 4), None);
    }

    #[test]
    fn a_byte_between_set_and_unset_is_torn() {
        let mut image = vec![];
        slot(4, false).pad(&mut image);
        let at = TrailerLayout::new(0x8000, 4).unwrap().image_ok();
        image[at as usize] = 0x81;
        assert_eq!(Trailer::read(&image, 4).unwrap().image_ok, Flag::Torn(0x81));
    }
}
