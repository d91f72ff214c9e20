//! How often each page was erased, kept where somebody asks for the most-erased one.

use super::config::Chip;
use super::slot::Side;
use super::stretch::Op;

/// Erases by page. Settings records are not in it: where they stand is the store's affair.
#[derive(Debug, Default)]
pub(super) struct Wear {
    primary: Vec<u32>,
    secondary: Vec<u32>,
    most: u32,
}

impl Wear {
    /// Takes an operation that was done.
    pub(super) fn take(&mut self, op: &Op<'_>, chip: &Chip) {
        let (side, page) = match *op {
            Op::ErasePage(side, page) => (side, page),
            // Of a trailer that is longer than a page the last one has the fields; the others are erased with it.
            Op::EraseTrailer(side, true) => (side, chip.slot_size / chip.page_size - 1),
            Op::EraseTrailer(_, false)
            | Op::Store(..)
            | Op::Delete(_)
            | Op::Write(..)
            | Op::Field(..)
            | Op::Copy { .. }
            | Op::Status => return,
        };
        let pages = match side {
            Side::Primary => &mut self.primary,
            Side::Secondary => &mut self.secondary,
        };
        let page = page as usize;
        if pages.len() <= page {
            pages.resize(page + 1, 0);
        }
        pages[page] += 1;
        self.most = self.most.max(pages[page]);
    }

    /// Erases of the page that was erased most often.
    pub(super) const fn most(&self) -> u32 {
        self.most
    }
}
