//! The trailer at the end of a slot, in which application and bootloader leave each other word.
//!
//! From the slot's end downwards: magic, image_ok, copy_done, swap_info, swap_size, each in a cell of its own so that one can be
//! written without touching the other; below them the status of a swap under way.

/// Last 16 bytes of a slot whose trailer holds, where flash is written in units of at most eight bytes.
pub const MAGIC: [u8; 16] = [
    0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80,
];

/// What follows the unit, two bytes little endian, in the magic where flash is written in larger units.
const WIDE_MAGIC: [u8; 14] = [
    0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a,
];

/// Value of image_ok and copy_done once set; an erased byte means unset, and so does any other.
pub const FLAG_SET: u8 = 1;

/// Sectors that MCUboot keeps status for unless it was built for more.
const MAX_SECTORS: u32 = 128;
/// Status entries of one sector.
const STATES: u32 = 3;
/// Least distance of the fields.
const MIN_CELL: u32 = 8;
/// Largest unit of writing that MCUboot knows.
const MAX_ALIGN: u32 = 32;

/// What a swap is for; with the image's number it makes the byte at swap_info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapType {
    /// To be swapped back at the next boot unless confirmed.
    Test = 2,
    /// For good.
    Permanent = 3,
    /// Back to the image before.
    Revert = 4,
}

impl SwapType {
    /// The byte at swap_info for the first image.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The type in a byte at swap_info, whichever image it is for; `None` for no swap, erased flash included.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte & 0x0f {
            2 => Some(SwapType::Test),
            3 => Some(SwapType::Permanent),
            4 => Some(SwapType::Revert),
            _ => None,
        }
    }
}

/// Where the fields of a slot's trailer stand: positions are bytes from the slot's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailerLayout {
    slot_size: u32,
    align: u32,
}

impl TrailerLayout {
    /// The layout for a slot of `slot_size` bytes on flash that is written in units of `align` bytes (a power of two).
    ///
    /// `None` if the slot is too small to hold a trailer.
    pub fn new(slot_size: u32, align: u32) -> Option<Self> {
        let layout = TrailerLayout { slot_size, align };
        let fields = u64::from(layout.magic_cell()) + 4 * u64::from(layout.cell());
        let len = fields + u64::from(MAX_SECTORS * STATES) * u64::from(align);
        (len <= u64::from(slot_size)).then_some(layout)
    }

    /// The layout that a slot's last 16 bytes tell of; `None` if they are no magic. The magic does not tell units of up to eight
    /// bytes apart, so the start of such a layout is that for the unit given.
    pub(super) fn told_by(last: &[u8; 16], slot_size: u32, align: u32) -> Option<Self> {
        let narrow = || Self::new(slot_size, align.min(MIN_CELL));
        if *last == MAGIC {
            return narrow();
        }
        let told = u32::from(u16::from_le_bytes([last[0], last[1]]));
        let known = told > MIN_CELL && told <= MAX_ALIGN && told.is_power_of_two();
        let wide = || Self::new(slot_size, told);
        (known && last[2..] == WIDE_MAGIC).then(wide).flatten()
    }

    /// The 16 bytes at [`Self::magic`] of a trailer that holds.
    pub fn magic_bytes(self) -> [u8; 16] {
        if self.align <= MIN_CELL {
            return MAGIC;
        }
        let mut magic = [0; 16];
        magic[..2].copy_from_slice(&(self.align as u16).to_le_bytes());
        magic[2..].copy_from_slice(&WIDE_MAGIC);
        magic
    }

    /// Bytes of the slot.
    pub fn slot_size(self) -> u32 {
        self.slot_size
    }

    /// Position of the 16-byte magic.
    pub fn magic(self) -> u32 {
        self.slot_size - MAGIC.len() as u32
    }

    /// Position of the byte that confirms the image.
    pub fn image_ok(self) -> u32 {
        self.field(1)
    }

    /// Position of the byte that ends a swap.
    pub fn copy_done(self) -> u32 {
        self.field(2)
    }

    /// Position of the byte that asks for a swap.
    pub fn swap_info(self) -> u32 {
        self.field(3)
    }

    /// Position of the four bytes that tell how much of the slot a swap exchanges.
    pub fn swap_size(self) -> u32 {
        self.field(4)
    }

    /// Position of the first status entry, and of the whole trailer.
    pub fn start(self) -> u32 {
        self.swap_size() - self.status_len()
    }

    /// Bytes of the status of a swap: three entries a sector.
    pub fn status_len(self) -> u32 {
        MAX_SECTORS * STATES * self.align
    }

    /// Bytes of the whole trailer.
    pub fn size(self) -> u32 {
        self.slot_size - self.start()
    }

    fn field(self, number: u32) -> u32 {
        self.slot_size - self.magic_cell() - number * self.cell()
    }

    fn cell(self) -> u32 {
        self.align.max(MIN_CELL)
    }

    fn magic_cell(self) -> u32 {
        (MAGIC.len() as u32).next_multiple_of(self.cell())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_eight_byte_steps_below_the_magic() {
        let layout = TrailerLayout::new(0x1b000, 4).unwrap();
        let from_end = |at: u32| 0x1b000 - at;
        assert_eq!(from_end(layout.magic()), 16);
        assert_eq!(from_end(layout.image_ok()), 24);
        assert_eq!(from_end(layout.copy_done()), 32);
        assert_eq!(from_end(layout.swap_info()), 40);
        assert_eq!(from_end(layout.swap_size()), 48);
        assert_eq!(layout.status_len(), 1536);
        assert_eq!(layout.size(), 1584);
    }

    #[test]
    fn wide_writes_get_cells_of_their_own() {
        let layout = TrailerLayout::new(0x20000, 16).unwrap();
        assert_eq!(0x20000 - layout.magic(), 16);
        assert_eq!(0x20000 - layout.image_ok(), 32);
        assert_eq!(0x20000 - layout.copy_done(), 48);
        assert_eq!(layout.size(), 16 + 4 * 16 + 384 * 16);
        let layout = TrailerLayout::new(0x20000, 32).unwrap();
        assert_eq!(0x20000 - layout.magic(), 16);
        assert_eq!(0x20000 - layout.image_ok(), 64);
    }

    #[test]
    fn a_slot_smaller_than_its_trailer_has_none() {
        assert_eq!(TrailerLayout::new(1583, 4), None);
        assert!(TrailerLayout::new(1584, 4).is_some());
        assert_eq!(TrailerLayout::new(u32::MAX, 1 << 31), None);
    }

    #[test]
    fn erased_flash_asks_for_no_swap() {
        assert_eq!(SwapType::from_byte(0xff), None);
        for swap in [SwapType::Test, SwapType::Permanent, SwapType::Revert] {
            assert_eq!(SwapType::from_byte(swap.byte()), Some(swap));
        }
    }
}
