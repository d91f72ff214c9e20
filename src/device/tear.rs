//! What a flash operation leaves when power fails in it.

use super::behavior::Behaviors;
use super::config::Chip;
use super::flash::Flash;
use super::slot::Mark;
use super::stretch::Op;
use super::swap::Field;

/// How an operation ends when power fails during it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tear {
    /// It has changed nothing yet.
    Nothing,
    /// It is half done, and where it stopped bits are mixed as these are. Records and status entries are atomic: nothing.
    Part(u64),
    /// It was just complete.
    All,
}

impl Tear {
    /// In how many ways an operation can end.
    pub(super) const WAYS: u64 = 3;

    /// The way with this number, with bits to be mixed.
    pub(super) const fn drawn(way: u64, bits: u64) -> Tear {
        match way {
            0 => Tear::Nothing,
            1 => Tear::Part(bits),
            _ => Tear::All,
        }
    }
}

/// Bytes at the place where an erase stopped that read neither as before nor as erased.
const HALF_ERASED: u32 = 16;

impl Flash {
    /// What an operation leaves that power failed in.
    pub(super) fn apply_part(&mut self, op: &Op<'_>, bits: u64, chip: &Chip, known: &Behaviors) {
        let unit = chip.write_size.max(1);
        let half = |len: u32| (len / 2).next_multiple_of(unit).min(len);
        match *op {
            Op::Store(..) | Op::Delete(_) | Op::Status | Op::EraseTrailer(_, false) => {}
            Op::ErasePage(side, page) => {
                let (start, half) = (page * chip.page_size, chip.page_size / 2);
                let slot = self.slot(side);
                slot.erase(start..start + half);
                slot.set_bits(start + half..start + half + HALF_ERASED.min(half), bits, known);
            }
            Op::EraseTrailer(side, true) => {
                let trailer = &mut self.slot(side).trailer;
                if trailer.magic == Mark::Set {
                    trailer.magic = Mark::Torn;
                }
            }
            // A misuse is observed where the operation is complete; torn, it changes nothing.
            Op::Write(at, ref bytes) => {
                let len = half(bytes.len() as u32);
                if self.secondary.write(at, &bytes.slice(..len as usize), known) {
                    self.secondary
                        .set_bits((at + len).saturating_sub(unit)..at + len, bits, known);
                }
            }
            Op::Copy { to, from, len } => {
                let len = half(len);
                if self.copy(to, from, len) {
                    self.slot(to.0)
                        .set_bits((to.1 + len).saturating_sub(unit)..to.1 + len, bits, known);
                }
            }
            Op::Field(side, field) => {
                let trailer = &mut self.slot(side).trailer;
                match field {
                    Field::Magic => trailer.magic = Mark::Torn,
                    Field::ImageOk => trailer.image_ok = Mark::Torn,
                    Field::CopyDone => trailer.copy_done = Mark::Torn,
                    Field::Swap(_) | Field::Sizes(..) => {}
                }
            }
        }
    }
}
