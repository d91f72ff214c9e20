//! MCUboot's swaps as lists of flash operations that can be resumed after any of them.
//!
//! **By offset**, the new image stands one page higher in the secondary slot than it will run. A swap goes up through the pages: the
//! old page moves out to the page below the new one, then the new page moves in; the way back goes down. **By move**, both images
//! stand at the start of their slots: every page of the primary slot first moves up by one, from the last to the first, then page by
//! page the new one comes in and the old one goes out; the way back is the same.
//!
//! Each page moved ends with an entry in the primary trailer's status, so that an interrupted swap repeats at most one page. Before a
//! revert the secondary trailer announces it, because the primary trailer must be erased before it can be written again.

use super::config::{Chip, SwapMethod};
use super::slot::{Mark, Side, Slot};
use crate::mcuboot::{SwapType, TrailerLayout};
use crate::model::Share;

/// Most bytes that one write operation takes.
pub(super) const WRITE_LIMIT: u32 = 512;

/// What the bootloader finds to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A swap that has not begun: check the image in the secondary slot, then swap.
    Begin(SwapType),
    /// A swap that was interrupted.
    Resume(SwapType),
}

/// A swap as far as it still has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Swap {
    method: SwapMethod,
    kind: SwapType,
    /// Pages of the images in the primary and the secondary slot when the swap began.
    sizes: (u16, u16),
    /// A revert that is not announced yet: erase the secondary trailer first if it is not blank.
    announce: Option<bool>,
    /// The primary trailer has to be made new.
    fresh: bool,
    /// The secondary trailer has to be erased.
    clear: bool,
    /// Moves already done.
    first: u16,
    /// The image must be confirmed at the end.
    confirm: bool,
}

/// One operation of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SwapOp {
    /// Erases one page of a trailer; the last one has its fields.
    EraseTrailer {
        /// Whose.
        side: Side,
        /// True for the page with the fields.
        fields: bool,
    },
    /// Writes one field of a trailer.
    Field(Side, Field),
    /// Erases a page.
    ErasePage {
        /// In which slot.
        side: Side,
        /// Its number.
        page: u32,
    },
    /// Copies a part of a page.
    Copy {
        /// Slot and page written.
        to: (Side, u32),
        /// Slot and page read.
        from: (Side, u32),
        /// Where in the page.
        at: u32,
        /// Bytes.
        len: u32,
    },
    /// Notes that another page has moved.
    Status,
}

/// A field of a trailer, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Magic,
    Swap(SwapType),
    Sizes(u16, u16),
    ImageOk,
    CopyDone,
}

impl Chip {
    /// Pages that a slot's trailer takes.
    pub(super) fn trailer_pages(&self) -> u32 {
        TrailerLayout::new(self.slot_size, self.write_size).map_or(1, |layout| layout.size().div_ceil(self.page_size))
    }

    /// Bytes of the largest image: one page is left to the swap, whichever way it goes, and the trailer is left alone.
    pub(crate) fn image_limit(&self) -> u32 {
        self.slot_size.saturating_sub((self.trailer_pages() + 1) * self.page_size)
    }

    fn writes_a_page(&self) -> u32 {
        self.page_size.div_ceil(WRITE_LIMIT)
    }
}

/// What the trailers of both slots ask for.
pub(super) fn wanted(primary: &Slot, secondary: &Slot) -> Option<Wanted> {
    let (first, second) = (&primary.trailer, &secondary.trailer);
    if first.magic == Mark::Set && first.copy_done != Mark::Set {
        return Some(Wanted::Resume(first.swap.unwrap_or(SwapType::Test)));
    }
    if second.magic == Mark::Set {
        return Some(Wanted::Begin(second.swap.unwrap_or(SwapType::Test)));
    }
    let unconfirmed = first.magic == Mark::Set && first.image_ok != Mark::Set;
    unconfirmed.then_some(Wanted::Begin(SwapType::Revert))
}

impl Swap {
    /// A swap from its beginning, for images of these sizes in pages.
    pub(super) fn begin(method: SwapMethod, kind: SwapType, sizes: (u16, u16), secondary: &Slot) -> Swap {
        let announced = kind != SwapType::Revert || secondary.trailer.magic == Mark::Set;
        Swap {
            method,
            kind,
            sizes,
            announce: (!announced).then(|| !secondary.trailer.is_blank()),
            fresh: true,
            clear: true,
            first: 0,
            confirm: kind != SwapType::Test,
        }
    }

    /// The rest of an interrupted swap.
    pub(super) fn resume(method: SwapMethod, kind: SwapType, primary: &Slot, secondary: &Slot) -> Swap {
        let trailer = &primary.trailer;
        Swap {
            method,
            kind,
            sizes: trailer.sizes.unwrap_or_default(),
            announce: None,
            fresh: false,
            clear: !secondary.trailer.is_blank(),
            first: trailer.status,
            confirm: kind != SwapType::Test && trailer.image_ok != Mark::Set,
        }
    }

    /// How it is done.
    pub(super) fn method(&self) -> SwapMethod {
        self.method
    }

    /// What the swap is for.
    pub(super) fn kind(&self) -> SwapType {
        self.kind
    }

    /// True if it begins at the first page: then it may be carried out as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.fresh
    }

    /// Sizes in pages of the images in the primary and the secondary slot before the swap.
    pub(super) fn sizes(&self) -> (u16, u16) {
        self.sizes
    }

    /// The operations that move pages, by number: as many moves, one as long as the other, as the second value says.
    pub(super) fn moves(&self, chip: &Chip) -> (std::ops::Range<u32>, u32) {
        let trailer = chip.trailer_pages();
        let announced = self.announce.map_or(0, |dirty| 2 + if dirty { trailer } else { 0 });
        let start = announced + if self.fresh { trailer + 3 } else { 0 } + if self.clear { trailer } else { 0 };
        let moves = u32::from(self.pages_moved().saturating_sub(self.first));
        (start..start + moves * (chip.writes_a_page() + 2), moves)
    }

    /// The operation at which this share of all pages has moved, those moved before an interruption included.
    pub(super) fn op_at(&self, done: Share, chip: &Chip) -> u32 {
        let (moves, _) = self.moves(chip);
        let one = chip.writes_a_page() + 2;
        let all = u64::from(u32::from(self.pages_moved()) * one);
        let target = u128::from(all) * u128::from(done.0.min(Share::WHOLE.0)) / u128::from(Share::WHOLE.0);
        let before = u32::from(self.first) * one;
        (moves.start + (target as u32).saturating_sub(before)).min(moves.end)
    }

    /// The `n`-th operation, from zero; `None` behind the last.
    pub(super) fn op(&self, n: u32, chip: &Chip) -> Option<SwapOp> {
        let mut left = n;
        let mut stage = |ops: u32| {
            let here = left < ops;
            let index = left;
            left = left.saturating_sub(ops);
            here.then_some(index)
        };
        let trailer = chip.trailer_pages();
        let erase = |side, page| SwapOp::EraseTrailer {
            side,
            fields: page + 1 == trailer,
        };
        if let Some(dirty) = self.announce {
            if let Some(page) = stage(if dirty { trailer } else { 0 }) {
                return Some(erase(Side::Secondary, page));
            }
            if let Some(field) = stage(2) {
                let field = [Field::Swap(self.kind), Field::Magic][field as usize];
                return Some(SwapOp::Field(Side::Secondary, field));
            }
        }
        if let Some(page) = stage(if self.fresh { trailer } else { 0 }) {
            return Some(erase(Side::Primary, page));
        }
        if let Some(field) = stage(if self.fresh { 3 } else { 0 }) {
            let sizes = Field::Sizes(self.sizes.0, self.sizes.1);
            let field = [Field::Swap(self.kind), sizes, Field::Magic][field as usize];
            return Some(SwapOp::Field(Side::Primary, field));
        }
        if let Some(page) = stage(if self.clear { trailer } else { 0 }) {
            return Some(erase(Side::Secondary, page));
        }
        let ops_a_move = chip.writes_a_page() + 2;
        if let Some(op) = stage(u32::from(self.pages_moved().saturating_sub(self.first)) * ops_a_move) {
            let number = self.first + (op / ops_a_move) as u16;
            return Some(self.move_op(number, op % ops_a_move, chip));
        }
        if stage(u32::from(self.confirm)).is_some() {
            return Some(SwapOp::Field(Side::Primary, Field::ImageOk));
        }
        stage(1).map(|_| SwapOp::Field(Side::Primary, Field::CopyDone))
    }

    /// Moves in all. By offset every page of either image moves once; by move every page of the longer image moves up, in and out.
    pub(super) fn pages_moved(&self) -> u16 {
        let (old, new) = self.sizes;
        match self.method {
            SwapMethod::Offset => old + new,
            SwapMethod::Move => 3 * old.max(new),
        }
    }

    fn move_op(&self, number: u16, op: u32, chip: &Chip) -> SwapOp {
        let (to, from) = match self.method {
            SwapMethod::Offset => self.move_by_offset(number),
            SwapMethod::Move => self.move_by_move(number),
        };
        if op == 0 {
            return SwapOp::ErasePage { side: to.0, page: to.1 };
        }
        let at = (op - 1) * WRITE_LIMIT;
        if at >= chip.page_size {
            return SwapOp::Status;
        }
        let len = WRITE_LIMIT.min(chip.page_size - at);
        SwapOp::Copy { to, from, at, len }
    }

    /// The page that the `n`-th move writes, and the one that it reads. Where one image is longer, each of its pages beyond the other
    /// has one move.
    fn move_by_offset(&self, n: u16) -> ((Side, u32), (Side, u32)) {
        let (old, new) = self.sizes;
        let (short, long) = (old.min(new), old.max(new));
        let (page, inward) = match self.kind {
            SwapType::Test | SwapType::Permanent if n < 2 * short => (n / 2, n % 2 == 1),
            SwapType::Test | SwapType::Permanent => (n - short, new > old),
            SwapType::Revert if n < long - short => (long - 1 - n, new > old),
            SwapType::Revert => {
                let step = n - (long - short);
                (short - 1 - step / 2, step % 2 == 1)
            }
        };
        let page = u32::from(page);
        match (self.kind, inward) {
            (SwapType::Test | SwapType::Permanent, false) => ((Side::Secondary, page), (Side::Primary, page)),
            (SwapType::Test | SwapType::Permanent, true) => ((Side::Primary, page), (Side::Secondary, page + 1)),
            (SwapType::Revert, false) => ((Side::Secondary, page + 1), (Side::Primary, page)),
            (SwapType::Revert, true) => ((Side::Primary, page), (Side::Secondary, page)),
        }
    }

    /// As [`Self::move_by_offset`]; the same in both directions.
    fn move_by_move(&self, n: u16) -> ((Side, u32), (Side, u32)) {
        let (n, long) = (u32::from(n), u32::from(self.sizes.0.max(self.sizes.1)));
        match n.checked_sub(long) {
            None => ((Side::Primary, long - n), (Side::Primary, long - n - 1)),
            Some(step) if step % 2 == 0 => ((Side::Primary, step / 2), (Side::Secondary, step / 2)),
            Some(step) => ((Side::Secondary, step / 2), (Side::Primary, step / 2 + 1)),
        }
    }
}
