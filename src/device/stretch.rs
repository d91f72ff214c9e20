//! Stretches of flash work as lists of operations, and what an operation takes.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::config::Chip;
use super::slot::Side;
use super::swap::{Field, Swap, SwapOp, WRITE_LIMIT};
use crate::mcuboot::SwapType;
use crate::model::RecordKey;

/// Bytes that the store writes to delete a record.
const DELETE_BYTES: u32 = 8;
/// Bytes of the trailer's magic.
const MAGIC_BYTES: u32 = 16;
/// Bytes of any other field of the trailer, and of an entry of its status: the smallest write.
const FLAG_BYTES: u32 = 1;

/// Work that goes on without a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// Stores a record.
    Store {
        /// Which.
        key: RecordKey,
        /// Its bytes.
        content: Bytes,
    },
    /// Deletes a record.
    Delete {
        /// Which.
        key: RecordKey,
    },
    /// Writes a page of a downloaded image to the secondary slot.
    Page {
        /// Where in the slot.
        at: u32,
        /// The bytes, at most a page.
        bytes: Bytes,
        /// The first page of an image: the slot's trailer is erased before it.
        first: bool,
    },
    /// Asks MCUboot to test the image in the secondary slot.
    Request,
    /// Confirms the image in the primary slot.
    Confirm,
    /// Makes an image in the secondary slot that was found bad unusable.
    Refuse {
        /// Where in the slot it begins.
        at: u32,
    },
    /// Exchanges the images.
    Swap(Swap),
}

/// One operation: an erase, a write of at most 512 bytes, or the atomic write or deletion of a record.
pub(super) enum Op<'a> {
    Store(&'a RecordKey, &'a Bytes),
    Delete(&'a RecordKey),
    ErasePage(Side, u32),
    EraseTrailer(Side, bool),
    Write(u32, Bytes),
    Field(Side, Field),
    Copy { to: (Side, u32), from: (Side, u32), len: u32 },
    Status,
}

/// What flash work comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bill {
    /// Operations.
    pub(super) ops: u32,
    /// Erases among them.
    pub(super) erases: u32,
    /// Time from the first operation's start to the last one's end.
    pub(super) lasts: Duration,
}

impl Bill {
    /// A page of an image, without its operations being looked at one by one: a download has many.
    fn of_page(bytes: u32, first: bool, chip: &Chip) -> Bill {
        let erases = 1 + if first { chip.trailer_pages() } else { 0 };
        let (whole, rest) = (bytes / WRITE_LIMIT, bytes % WRITE_LIMIT);
        Bill {
            ops: erases + whole + u32::from(rest > 0),
            erases,
            lasts: chip.page_erase * erases + write_time(WRITE_LIMIT, chip) * whole + write_time(rest, chip),
        }
    }

    /// One write.
    fn of_write(bytes: u32, chip: &Chip) -> Bill {
        Bill {
            ops: 1,
            erases: 0,
            lasts: write_time(bytes, chip),
        }
    }

    /// A move of a page within a swap: erased, written, noted.
    fn of_move(chip: &Chip) -> Bill {
        let page = Bill::of_page(chip.page_size, false, chip);
        Bill {
            ops: page.ops + 1,
            lasts: page.lasts + write_time(FLAG_BYTES, chip),
            ..page
        }
    }

    fn add(&mut self, other: Bill, times: u32) {
        self.ops += other.ops * times;
        self.erases += other.erases * times;
        self.lasts += other.lasts * times;
    }
}

impl Stretch {
    /// What all of it comes to.
    pub(super) fn bill(&self, chip: &Chip) -> Bill {
        match self {
            Stretch::Page { bytes, first, .. } => Bill::of_page(bytes.len() as u32, *first, chip),
            // All but the moves is short.
            Stretch::Swap(swap) => {
                let (moves, count) = swap.moves(chip);
                let mut bill = self.list(0..moves.start, chip);
                bill.add(Bill::of_move(chip), count);
                bill.add(self.list(moves.end..u32::MAX, chip), 1);
                bill
            }
            Stretch::Store { content, .. } => Bill::of_write(content.len() as u32, chip),
            Stretch::Delete { .. } => Bill::of_write(DELETE_BYTES, chip),
            Stretch::Confirm => Bill::of_write(FLAG_BYTES, chip),
            Stretch::Request | Stretch::Refuse { .. } => self.list(0..u32::MAX, chip),
        }
    }

    /// True for two pages that come to the same, without that being worked out.
    pub(super) fn takes_as_long_as(&self, other: &Stretch) -> bool {
        let page = |stretch: &Stretch| match stretch {
            Stretch::Page { bytes, first: false, .. } => Some(bytes.len()),
            _ => None,
        };
        page(self).is_some() && page(self) == page(other)
    }

    /// What these operations come to, as far as there are so many.
    fn list(&self, range: Range<u32>, chip: &Chip) -> Bill {
        let mut bill = Bill::default();
        for op in range.map_while(|n| self.op(n, chip)) {
            bill.ops += 1;
            bill.erases += u32::from(op.is_erase());
            bill.lasts += op.duration(chip);
        }
        bill
    }

    /// The `n`-th operation, from zero; `None` behind the last.
    pub(super) fn op(&self, n: u32, chip: &Chip) -> Option<Op<'_>> {
        match self {
            Stretch::Store { key, content } => (n == 0).then_some(Op::Store(key, content)),
            Stretch::Delete { key } => (n == 0).then_some(Op::Delete(key)),
            Stretch::Page { at, bytes, first } => {
                let trailer = if *first { chip.trailer_pages() } else { 0 };
                if n < trailer {
                    return Some(Op::EraseTrailer(Side::Secondary, n + 1 == trailer));
                }
                match n - trailer {
                    0 => Some(Op::ErasePage(Side::Secondary, at / chip.page_size)),
                    write => {
                        let start = (write - 1) * WRITE_LIMIT;
                        let end = (start + WRITE_LIMIT).min(bytes.len() as u32);
                        (start < end).then(|| Op::Write(at + start, bytes.slice(start as usize..end as usize)))
                    }
                }
            }
            Stretch::Request => match n {
                0 => Some(Op::Field(Side::Secondary, Field::Magic)),
                1 => Some(Op::Field(Side::Secondary, Field::Swap(SwapType::Test))),
                _ => None,
            },
            Stretch::Confirm => (n == 0).then_some(Op::Field(Side::Primary, Field::ImageOk)),
            Stretch::Refuse { at } => {
                let trailer = chip.trailer_pages();
                if n < trailer {
                    return Some(Op::EraseTrailer(Side::Secondary, n + 1 == trailer));
                }
                (n == trailer).then(|| Op::ErasePage(Side::Secondary, at / chip.page_size))
            }
            Stretch::Swap(swap) => swap.op(n, chip).map(|op| Op::of_swap(op, chip)),
        }
    }
}

impl Op<'_> {
    fn of_swap(op: SwapOp, chip: &Chip) -> Self {
        match op {
            SwapOp::EraseTrailer { side, fields } => Op::EraseTrailer(side, fields),
            SwapOp::Field(side, field) => Op::Field(side, field),
            SwapOp::ErasePage { side, page } => Op::ErasePage(side, page),
            SwapOp::Copy { to, from, at, len } => Op::Copy {
                to: (to.0, to.1 * chip.page_size + at),
                from: (from.0, from.1 * chip.page_size + at),
                len,
            },
            SwapOp::Status => Op::Status,
        }
    }

    /// True for an erase.
    pub(super) fn is_erase(&self) -> bool {
        matches!(self, Op::ErasePage(..) | Op::EraseTrailer(..))
    }

    /// Time that it takes.
    pub(super) fn duration(&self, chip: &Chip) -> Duration {
        let write = |bytes: u32| write_time(bytes, chip);
        match self {
            Op::ErasePage(..) | Op::EraseTrailer(..) => chip.page_erase,
            Op::Store(_, content) => write(content.len() as u32),
            Op::Delete(_) => write(DELETE_BYTES),
            Op::Write(_, bytes) => write(bytes.len() as u32),
            Op::Field(_, Field::Magic) => write(MAGIC_BYTES),
            Op::Field(..) | Op::Status => write(FLAG_BYTES),
            Op::Copy { len, .. } => write(*len),
        }
    }
}

/// Time of one write.
fn write_time(bytes: u32, chip: &Chip) -> Duration {
    let whole = bytes.next_multiple_of(chip.write_size.max(1));
    Duration::from_nanos(chip.kib_write.as_nanos() as u64 * u64::from(whole) / 1024)
}
