//! A whole swap at once, for devices that nothing disturbs: pages change hands by range, and the status is that of the end.

use super::config::{Chip, SwapMethod};
use super::flash::Flash;
use super::io::{DeviceOutput, Outputs};
use super::piece::Piece;
use super::slot::{Mark, Slot, Trailer};
use super::swap::Swap;
use crate::mcuboot::SwapType;
use crate::model::Observation;

impl Flash {
    /// Carries out a whole swap at once: what is left is what its operations leave one by one.
    pub(super) fn exchange(&mut self, swap: &Swap, chip: &Chip, out: &mut Outputs) {
        let sizes = swap.sizes();
        match swap.method() {
            SwapMethod::Offset => self.exchange_by_offset(swap, chip.page_size),
            SwapMethod::Move => self.exchange_by_move(swap, chip.page_size),
        }
        self.secondary.trailer = Trailer::default();
        self.primary.trailer = Trailer {
            magic: Mark::Set,
            swap: Some(swap.kind()),
            sizes: Some(sizes),
            image_ok: if swap.kind() == SwapType::Test {
                Mark::Unset
            } else {
                Mark::Set
            },
            copy_done: Mark::Set,
            status: swap.pages_moved(),
        };
        if swap.kind() == SwapType::Revert {
            out.push(DeviceOutput::Observed(Observation::RolledBack));
        }
    }

    fn exchange_by_offset(&mut self, swap: &Swap, page: u32) {
        let sizes = swap.sizes();
        let (outward, inward) = (u32::from(sizes.0) * page, u32::from(sizes.1) * page);
        let (low, high) = match swap.kind() {
            SwapType::Test | SwapType::Permanent => (0, page),
            SwapType::Revert => (page, 0),
        };
        let leaving: Vec<_> = self.primary.pieces(0..outward).collect();
        let coming: Vec<_> = self.secondary.pieces(high..high + inward).collect();
        self.primary.erase(0..inward);
        self.secondary.erase(low..low + outward);
        write_all(&mut self.primary, 0, coming);
        write_all(&mut self.secondary, low, leaving);
    }

    fn exchange_by_move(&mut self, swap: &Swap, page: u32) {
        let long = u32::from(swap.sizes().0.max(swap.sizes().1)) * page;
        let leaving: Vec<_> = self.primary.pieces(0..long).collect();
        let coming: Vec<_> = self.secondary.pieces(0..long).collect();
        // What was the last page of the old image stays where it was moved to.
        let last: Vec<_> = self.primary.pieces(long - page..long).collect();
        self.primary.erase(0..long + page);
        self.secondary.erase(0..long);
        write_all(&mut self.primary, 0, coming);
        write_all(&mut self.primary, long, last);
        write_all(&mut self.secondary, 0, leaving);
    }
}

/// Writes to flash that has just been erased.
fn write_all(slot: &mut Slot, start: u32, pieces: Vec<(u32, Piece)>) {
    for (at, bytes) in pieces {
        let written = slot.put(start + at, bytes);
        debug_assert!(written, "the range was erased");
    }
}
