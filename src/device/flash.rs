//! The flash of a device: two slots, the settings records, and the one stretch of work that is under way.
//!
//! A stretch is a list of operations that follow each other without a pause. It is advanced lazily: the operations done are a
//! function of the time elapsed, and the device is woken once, at its end. A power cut that is counted in operations wakes it earlier;
//! a cut first advances, then tears the operation under way. What becomes durable is observed as it does.

use std::time::Duration;

use super::behavior::Behaviors;
use super::config::Chip;
use super::defect::Defect;
use super::io::{DeviceOutput, FlashTrap, Outputs, Springs};
use super::piece::Piece;
use super::records::Records;
use super::slot::{Side, Slot, Trailer};
use super::stretch::{Bill, Op, Stretch};
use super::swap::Field;
use super::tear::Tear;
use super::traps::{Counted, Traps};
use super::wear::Wear;
use crate::mcuboot::SwapType;
use crate::memory;
use crate::model::{Observation, RecordKey, Share};
use crate::time::SimTime;

/// The flash.
#[derive(Debug)]
pub(super) struct Flash {
    /// The slot that runs.
    pub(super) primary: Slot,
    /// The slot that downloads are written to.
    pub(super) secondary: Slot,
    /// The settings store.
    pub(super) records: Records,
    work: Option<Box<Work>>,
    /// Of few devices there is any.
    rare: Option<Box<Rare>>,
    done: u32,
    erased: u32,
    /// The bootloader's security counter, which only rises.
    pub(super) floor: u32,
}

/// What is asked of the flash of few devices.
#[derive(Debug, Default)]
struct Rare {
    /// What is to go wrong.
    traps: Traps,
    /// Erases by page, where somebody asks for them.
    wear: Option<Wear>,
}

#[derive(Debug)]
struct Work {
    stretch: Stretch,
    /// What all of it comes to: operations, and erases among them.
    ops: u32,
    erases: u32,
    /// Operation under way.
    next: u32,
    /// When it began.
    began: SimTime,
    /// When the last one ends.
    ends: SimTime,
    /// A board has been asked to do it.
    asked: bool,
    /// Begins when this is over: worker and application each have at most one stretch.
    next_up: Option<Box<Stretch>>,
}

impl Work {
    fn begun(stretch: Stretch, now: SimTime, chip: &Chip) -> Work {
        let Bill { ops, erases, lasts } = stretch.bill(chip);
        Work {
            stretch,
            ops,
            erases,
            next: 0,
            began: now,
            ends: now + lasts,
            asked: false,
            next_up: None,
        }
    }

    /// Another stretch, which comes to the same, takes the place of the one that was done as a whole.
    fn repeat(&mut self, stretch: Stretch, now: SimTime) {
        let lasts = self.ends.since(self.began);
        self.stretch = stretch;
        (self.began, self.ends) = (now, now + lasts);
    }
}

/// How far the work has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is under way.
    Idle,
    /// Operations are left.
    Busy,
    /// This was completed, at that moment.
    Done(Stretch, SimTime),
    /// The counted operations are over: power fails.
    PowerFails(SimTime),
    /// An operation of this returned an error at that moment; with whether it is one that is not retried.
    Failed(Stretch, SimTime, bool),
}

impl Flash {
    /// Has the work under way ready, which soon goes on.
    pub(super) fn fetch_work(&self) {
        if let Some(work) = &self.work {
            memory::fetch(&**work);
        }
    }

    /// Flash with an image in the primary slot.
    pub(super) fn new(image: impl Into<Piece>) -> Flash {
        Flash {
            primary: Slot::holding(image),
            secondary: Slot::default(),
            records: Records::default(),
            work: None,
            rare: None,
            done: 0,
            erased: 0,
            floor: 0,
        }
    }

    /// Begins to count erases by page.
    pub(super) fn count_wear(&mut self) {
        self.rare.get_or_insert_default().wear = Some(Wear::default());
    }

    /// Erases of the most-erased page, where they are counted.
    pub(super) fn wear(&self) -> Option<u32> {
        self.rare.as_ref()?.wear.as_ref().map(Wear::most)
    }

    /// Begins a stretch, or lets it wait for the end of the one under way.
    pub(super) fn begin(&mut self, stretch: Stretch, now: SimTime, chip: &Chip) {
        if let Some(work) = &mut self.work {
            debug_assert!(work.next_up.is_none(), "{stretch:?} is a third stretch");
            work.next_up = Some(Box::new(stretch));
            return;
        }
        self.work = Some(Box::new(Work::begun(stretch, now, chip)));
    }

    /// True if a page is under way that is in flash at `now`, and nothing else is to be done then.
    pub(super) fn turns_page(&self, now: SimTime) -> bool {
        let turns = |work: &Work| {
            let page = matches!(work.stretch, Stretch::Page { .. });
            page && work.ends == now && work.next == 0 && work.next_up.is_none()
        };
        self.work.as_deref().is_some_and(turns) && self.counted().is_none()
    }

    /// The page under way is in flash, as [`Self::turns_page`] says, and the next one begins to be written, for which the slot is
    /// looked at: in one step, since a download has many pages.
    pub(super) fn turn_page(
        &mut self,
        now: SimTime,
        chip: &Chip,
        known: &Behaviors,
        out: &mut Outputs,
        next: impl FnOnce(&Slot) -> Stretch,
    ) {
        if let Some(mut work) = self.work.take() {
            self.do_whole(&mut work, chip, known, out);
            let next = next(&self.secondary);
            match next.takes_as_long_as(&work.stretch) {
                true => work.repeat(next, now),
                false => *work = Work::begun(next, now, chip),
            }
            self.work = Some(work);
        }
    }

    /// Work is over: gives its stretch, and begins the one that waits for that, if one does.
    fn leave(&mut self, work: Work, now: SimTime, chip: &Chip) -> Stretch {
        if let Some(next_up) = work.next_up {
            self.begin(*next_up, now, chip);
        }
        work.stretch
    }

    /// The stretch under way.
    pub(super) fn under_way(&self) -> Option<&Stretch> {
        self.work.as_ref().map(|work| &work.stretch)
    }

    /// The stretch under way, the first time that this is asked.
    pub(super) fn unasked(&mut self) -> Option<&Stretch> {
        let work = self.work.as_mut()?;
        (!std::mem::replace(&mut work.asked, true)).then_some(&work.stretch)
    }

    /// A board has done the stretch under way: it is over where nothing takes any time.
    pub(super) fn done_elsewhere(&mut self, now: SimTime) {
        if let Some(work) = &mut self.work {
            (work.began, work.ends) = (now, now);
        }
    }

    /// The stretch under way is not done; what waits behind it begins.
    pub(super) fn give_up(&mut self, now: SimTime, chip: &Chip) -> Option<Stretch> {
        let work = self.work.take()?;
        Some(self.leave(*work, now, chip))
    }

    /// Nothing is under way, and nothing waits.
    pub(super) fn forget_work(&mut self) {
        self.work = None;
    }

    /// Page erases, as a board counts them: operations like the others.
    pub(super) fn count_elsewhere(&mut self, erases: u32) {
        self.done = self.done.wrapping_add(erases).wrapping_sub(self.erased);
        self.erased = erases;
    }

    /// When the stretch under way is over.
    pub(super) fn ends(&self) -> Option<SimTime> {
        self.work.as_ref().map(|work| work.ends)
    }

    /// When the flash next wants [`Self::advance`]: at the end of the work, or where something goes wrong within it.
    pub(super) fn wakes(&self, chip: &Chip) -> Option<SimTime> {
        let work = self.work.as_ref()?;
        let Some(mut ahead) = self.counted() else {
            return Some(work.ends);
        };
        let mut at = work.began;
        for op in (work.next..).map_while(|n| work.stretch.op(n, chip)) {
            let erase = op.is_erase();
            if ahead.cuts(erase) {
                return Some(at);
            }
            at += op.duration(chip);
            if ahead.fails_at(&op).is_some() {
                return Some(at);
            }
            ahead.count(erase);
        }
        Some(work.ends)
    }

    /// Sets a trap; one of the same sort is replaced.
    pub(super) fn set(&mut self, trap: FlashTrap) {
        self.rare.get_or_insert_default().traps.set(trap);
    }

    /// Power fails once `ops` more operations are done.
    pub(super) fn cut_after(&mut self, ops: u32) {
        self.set(FlashTrap {
            erases: false,
            after: ops,
            springs: Springs::PowerFails { waits: false },
        });
    }

    /// Power has failed: no cut is due any more.
    pub(super) fn forget_cut(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.traps.forget_cut();
        }
    }

    /// The settings store has no room for another record, or has again.
    pub(super) fn fill(&mut self, full: bool) {
        self.rare.get_or_insert_default().traps.counted.full = full;
    }

    /// No trap is set any more.
    pub(super) fn forget_traps(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.traps = Traps::default();
        }
    }

    /// The next boot does not find this record.
    pub(super) fn doom(&mut self, record: RecordKey) {
        self.rare.get_or_insert_default().traps.doom(record);
    }

    /// Takes away the records that were not to be found, those that are there.
    pub(super) fn lose_records(&mut self) -> Vec<RecordKey> {
        let Some(rare) = &mut self.rare else {
            return Vec::new();
        };
        let doomed = rare.traps.take_doomed().into_iter();
        let lost: Vec<_> = doomed.filter(|record| self.records.holds(record)).collect();
        lost.iter().for_each(|record| self.records.delete(record));
        lost
    }

    /// Operations done so far.
    pub(super) fn ops(&self) -> u64 {
        u64::from(self.done)
    }

    /// Page erases done so far.
    pub(super) fn erases(&self) -> u64 {
        u64::from(self.erased)
    }

    /// Operations from here until this share of the pages of the swap under way has moved, and when that is; `None` where none is.
    pub(super) fn swap_reaches(&self, done: Share, chip: &Chip) -> Option<(u32, SimTime)> {
        let work = self.work.as_ref()?;
        let Stretch::Swap(swap) = &work.stretch else {
            return None;
        };
        let target = swap.op_at(done, chip).max(work.next);
        let lasts = |n| work.stretch.op(n, chip).map(|op| op.duration(chip));
        let until: Duration = (work.next..target).map_while(lasts).sum();
        Some((target - work.next, work.began + until))
    }

    /// Does what is over by `now`.
    pub(super) fn advance(&mut self, now: SimTime, chip: &Chip, known: &Behaviors, out: &mut Outputs) -> Progress {
        let Some(mut work) = self.work.take() else {
            return Progress::Idle;
        };
        if work.next == 0 && work.ends <= now && self.counted().is_none() {
            self.do_whole(&mut work, chip, known, out);
            let ends = work.ends;
            return Progress::Done(self.leave(*work, ends, chip), ends);
        }
        loop {
            let Some(op) = work.stretch.op(work.next, chip) else {
                let ended = work.began;
                return Progress::Done(self.leave(*work, ended, chip), ended);
            };
            let erase = op.is_erase();
            if work.began <= now && self.counted().is_some_and(|counted| counted.cuts(erase)) {
                let at = work.began;
                self.work = Some(work);
                return Progress::PowerFails(at);
            }
            let end = work.began + op.duration(chip);
            if end > now {
                self.work = Some(work);
                return Progress::Busy;
            }
            if let Some(permanent) = self.rare.as_mut().and_then(|rare| rare.traps.counted.fails_at(&op)) {
                return Progress::Failed(self.leave(*work, end, chip), end, permanent);
            }
            self.apply(&op, &work.stretch, chip, known, out);
            self.count(&op, chip);
            work.next += 1;
            work.began = end;
            // With the last one done there may be no operation to tear.
            if self.counted().is_some_and(|counted| counted.cuts_behind()) {
                self.work = Some(work);
                return Progress::PowerFails(end);
            }
        }
    }

    /// Power fails or the device is reset: the operation under way is torn, the work is forgotten. [`Self::advance`] to the present
    /// comes first.
    pub(super) fn interrupt(&mut self, tear: Tear, chip: &Chip, known: &Behaviors, out: &mut Outputs) {
        let Some(work) = self.work.take() else {
            return;
        };
        let Some(op) = work.stretch.op(work.next, chip) else {
            return;
        };
        match tear {
            Tear::Nothing => {}
            Tear::Part(bits) => self.apply_part(&op, bits, chip, known),
            Tear::All => {
                self.apply(&op, &work.stretch, chip, known, out);
                self.count(&op, chip);
            }
        }
    }

    /// True if an operation is under way that a cut would tear.
    pub(super) fn in_operation(&self, chip: &Chip) -> bool {
        self.work
            .as_ref()
            .is_some_and(|work| work.stretch.op(work.next, chip).is_some())
    }

    /// What is due after some more operations, if anything is.
    fn counted(&self) -> Option<Counted> {
        let counted = self.rare.as_ref().map(|rare| rare.traps.counted);
        counted.filter(Counted::is_any)
    }

    fn count(&mut self, op: &Op<'_>, chip: &Chip) {
        let erase = op.is_erase();
        self.done = self.done.wrapping_add(1);
        self.erased = self.erased.wrapping_add(u32::from(erase));
        if let Some(rare) = &mut self.rare {
            rare.traps.counted.count(erase);
            if let Some(wear) = &mut rare.wear {
                wear.take(op, chip);
            }
        }
    }

    pub(super) fn slot(&mut self, side: Side) -> &mut Slot {
        match side {
            Side::Primary => &mut self.primary,
            Side::Secondary => &mut self.secondary,
        }
    }

    fn apply(&mut self, op: &Op<'_>, stretch: &Stretch, chip: &Chip, known: &Behaviors, out: &mut Outputs) {
        let mut observe = |observation| out.push(DeviceOutput::Observed(observation));
        match *op {
            Op::Store(key, content) => {
                self.records.write(key, content);
                self.spare(key);
                observe(Observation::RecordWritten {
                    record: key.clone(),
                    content: content.clone(),
                });
            }
            Op::Delete(key) => {
                self.records.delete(key);
                self.spare(key);
                observe(Observation::RecordDeleted { record: key.clone() });
            }
            Op::ErasePage(..) if known.defect == Some(Defect::SkipErase) => {}
            Op::ErasePage(side, page) => self.slot(side).erase(page * chip.page_size..(page + 1) * chip.page_size),
            Op::EraseTrailer(side, true) => self.slot(side).trailer = Trailer::default(),
            Op::EraseTrailer(side, false) => self.slot(side).trailer.status = 0,
            Op::Write(at, ref bytes) => {
                if !at.is_multiple_of(chip.write_size.max(1)) {
                    observe(UNALIGNED);
                }
                if !self.secondary.write(at, bytes, known) {
                    observe(WRITTEN_TWICE);
                }
            }
            Op::Field(side, field) => {
                if !self.slot(side).trailer.set(field) {
                    observe(WRITTEN_TWICE);
                }
                match (stretch, field) {
                    (Stretch::Request, Field::Magic) => observe(Observation::UpgradeRequested),
                    (Stretch::Confirm, _) => observe(Observation::Confirmed),
                    (Stretch::Swap(swap), Field::CopyDone) if swap.kind() == SwapType::Revert => observe(Observation::RolledBack),
                    _ => {}
                }
            }
            Op::Copy { to, from, len } => {
                if !self.copy(to, from, len) {
                    observe(WRITTEN_TWICE);
                }
            }
            Op::Status if known.defect == Some(Defect::SkipStatusEntry) => {}
            Op::Status => self.primary.trailer.status += 1,
        }
    }

    /// A record that is rewritten, or deleted in good order, is not lost.
    fn spare(&mut self, record: &RecordKey) {
        if let Some(rare) = &mut self.rare {
            rare.traps.spare(record);
        }
    }

    pub(super) fn copy(&mut self, to: (Side, u32), from: (Side, u32), len: u32) -> bool {
        let pieces: Vec<_> = self.slot(from.0).pieces(from.1..from.1 + len).collect();
        let target = self.slot(to.0);
        let mut pieces = pieces.into_iter();
        pieces.all(|(distance, bytes)| target.put(to.1 + distance, bytes))
    }

    /// Carries out a stretch at once, what is long of it otherwise than operation by operation, with the same end.
    fn do_whole(&mut self, work: &mut Work, chip: &Chip, known: &Behaviors, out: &mut Outputs) {
        match &mut work.stretch {
            Stretch::Page { at, bytes, first } if known.defect != Some(Defect::SkipErase) => {
                if *first {
                    self.secondary.trailer = Trailer::default();
                }
                self.secondary.erase(*at..*at + chip.page_size);
                let written = self.secondary.write(*at, bytes, known);
                debug_assert!(written, "the page was erased");
            }
            Stretch::Swap(swap) if swap.is_whole() => self.exchange(swap, chip, out),
            // Nobody asks for the bytes of a record that is stored but who is told of it.
            Stretch::Store { key, content } => {
                self.records.write(key, content);
                self.spare(key);
                out.push(DeviceOutput::Observed(Observation::RecordWritten {
                    record: key.clone(),
                    content: std::mem::take(content),
                }));
            }
            Stretch::Page { .. }
            | Stretch::Swap(_)
            | Stretch::Delete { .. }
            | Stretch::Request
            | Stretch::Confirm
            | Stretch::Refuse { .. } => {
                let ops = (0..).map_while(|n| work.stretch.op(n, chip));
                ops.for_each(|op| self.apply(&op, &work.stretch, chip, known, out));
            }
        }
        self.done = self.done.wrapping_add(work.ops);
        self.erased = self.erased.wrapping_add(work.erases);
        if let Some(wear) = self.rare.as_mut().and_then(|rare| rare.wear.as_mut()) {
            let ops = (0..).map_while(|n| work.stretch.op(n, chip));
            ops.for_each(|op| wear.take(&op, chip));
        }
    }
}

const WRITTEN_TWICE: Observation = Observation::FlashMisused {
    what: "a write to flash that was not erased",
};

const UNALIGNED: Observation = Observation::FlashMisused {
    what: "a write that begins within a unit of writing",
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::super::slot::Mark;
    use super::super::swap::Swap;
    use super::*;
    use crate::device::{BootOutcome, Dealt, ImageBehavior, SwapMethod};
    use crate::model::Digest;

    fn chip() -> Chip {
        Chip {
            name: "test".into(),
            page_size: 1024,
            write_size: 4,
            page_erase: Duration::from_millis(22),
            kib_write: Duration::from_millis(12),
            slot_size: 32 * 1024,
            kib_hash: Duration::from_millis(1),
            verify: Duration::from_millis(1),
            boot: Duration::from_millis(1),
        }
    }

    fn content(len: usize, seed: u8) -> Bytes {
        (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
    }

    fn known(images: &[&Bytes]) -> Behaviors {
        let behavior = |image: &&Bytes| ImageBehavior {
            fits: Dealt::Same(true),
            counter: 0,
            firmware: Arc::new("app@1.0.0".parse().unwrap()),
            boot: Dealt::Same(BootOutcome::default()),
            image: (*image).clone().into(),
            build_id: None,
            own_build_id: None,
            sound: true,
        };
        let numbered = images.iter().zip(0u8..);
        Behaviors {
            images: numbered.map(|(image, n)| (Digest([n; 32]), behavior(image))).collect(),
            ..Behaviors::default()
        }
    }

    fn bytes(slot: &Slot) -> Vec<u8> {
        let mut bytes = vec![0; 30 * 1024];
        slot.read(0, &mut bytes);
        bytes
    }

    /// Does the stretch, as a whole or operation by operation; when it was over.
    fn finish(flash: &mut Flash, stretch: Stretch, stepwise: bool, known: &Behaviors) -> SimTime {
        let mut out = Outputs::new();
        if stepwise {
            flash.cut_after(u32::MAX);
        }
        flash.begin(stretch, SimTime::ZERO, &chip());
        let ends = flash.wakes(&chip()).unwrap();
        assert!(matches!(flash.advance(ends, &chip(), known, &mut out), Progress::Done(_, at) if at == ends));
        let misused = |output: &DeviceOutput| matches!(output, DeviceOutput::Observed(Observation::FlashMisused { .. }));
        assert!(!out.iter().any(misused));
        flash.forget_cut();
        ends
    }

    #[test]
    fn work_done_as_a_whole_leaves_what_its_operations_leave() {
        let lengths = [(5000, 5000), (9000, 2000), (2000, 9000), (1024, 1024), (100, 3000)];
        for (method, start) in [(SwapMethod::Offset, 1), (SwapMethod::Move, 0)] {
            lengths.iter().for_each(|lengths| whole_and_stepwise(method, start, *lengths));
        }
    }

    /// `start`: the page of the secondary slot at which a new image begins.
    fn whole_and_stepwise(method: SwapMethod, start: u32, (old_len, new_len): (usize, usize)) {
        let (old, new) = (content(old_len, 1), content(new_len, 2));
        let sizes = (old_len.div_ceil(1024) as u16, new_len.div_ceil(1024) as u16);
        for known in [known(&[&old, &new]), Behaviors::default()] {
            let mut pair = [false, true].map(|_| Flash::new(old.clone()));
            pair.iter_mut().for_each(Flash::count_wear);
            let mut both = |stretch: &dyn Fn(&Flash) -> Stretch| {
                let ends = [0, 1].map(|n| {
                    let stretch = stretch(&pair[n]);
                    finish(&mut pair[n], stretch, n == 1, &known)
                });
                assert_eq!(ends[0], ends[1], "the same time");
                assert_eq!(pair[0].ops(), pair[1].ops(), "as many operations");
                assert_eq!(pair[0].wear(), pair[1].wear(), "as worn");
                assert_eq!(bytes(&pair[0].primary), bytes(&pair[1].primary));
                assert_eq!(bytes(&pair[0].secondary), bytes(&pair[1].secondary));
                assert_eq!(pair[0].primary.trailer, pair[1].primary.trailer);
                assert_eq!(pair[0].secondary.trailer, pair[1].secondary.trailer);
                (pair[0].primary.clone(), pair[0].secondary.clone())
            };
            for (n, page) in new.chunks(1024).enumerate() {
                let page = new.slice_ref(page);
                both(&|_| Stretch::Page {
                    at: (n as u32 + start) * 1024,
                    bytes: page.clone(),
                    first: n == 0,
                });
            }
            both(&|_| Stretch::Request);
            let swapped = both(&|flash| Stretch::Swap(Swap::begin(method, SwapType::Test, sizes, &flash.secondary)));
            assert_eq!(bytes(&swapped.0)[..new_len], new[..]);
            assert_eq!(bytes(&swapped.1)[..old_len], old[..]);
            let back = (sizes.1, sizes.0);
            let reverted = both(&|flash| Stretch::Swap(Swap::begin(method, SwapType::Revert, back, &flash.secondary)));
            assert_eq!(bytes(&reverted.0)[..old_len], old[..]);
        }
    }

    #[test]
    fn time_and_numbers_of_operations_are_those_of_the_list() {
        let swaps = [SwapMethod::Offset, SwapMethod::Move].map(|method| {
            [SwapType::Test, SwapType::Revert].map(|kind| Stretch::Swap(Swap::begin(method, kind, (5, 3), &Slot::default())))
        });
        let page = Stretch::Page {
            at: 2048,
            bytes: content(1000, 3),
            first: true,
        };
        let key = RecordKey::Attempt;
        let delete = Stretch::Delete { key: key.clone() };
        let store = Stretch::Store {
            key,
            content: content(77, 4),
        };
        for stretch in swaps.into_iter().flatten().chain([
            page,
            store,
            delete,
            Stretch::Request,
            Stretch::Confirm,
            Stretch::Refuse { at: 1024 },
        ]) {
            let mut bill = Bill::default();
            for op in (0..).map_while(|n| stretch.op(n, &chip())) {
                bill.ops += 1;
                bill.erases += u32::from(op.is_erase());
                bill.lasts += op.duration(&chip());
            }
            assert_eq!(stretch.bill(&chip()), bill, "{stretch:?}");
        }
    }

    #[test]
    fn a_counted_cut_comes_with_the_operation_that_it_counts() {
        let known = Behaviors::default();
        let mut flash = Flash::new(content(3000, 1));
        let mut out = Outputs::new();
        flash.cut_after(3);
        let page = Stretch::Page {
            at: 1024,
            bytes: content(1024, 2),
            first: false,
        };
        flash.begin(page, SimTime::ZERO, &chip());
        // An erase and two writes.
        let due = SimTime::from_millis(22 + 12);
        assert_eq!(flash.wakes(&chip()), Some(due));
        assert_eq!(flash.advance(due, &chip(), &known, &mut out), Progress::PowerFails(due));
        assert!(!flash.in_operation(&chip()), "the page is complete");
        assert_eq!(flash.ops(), 3);
    }

    #[test]
    fn a_cut_that_waits_for_its_operation_tears_the_first_one_of_the_next_work() {
        let known = Behaviors::default();
        let mut flash = Flash::new(content(3000, 1));
        let mut out = Outputs::new();
        flash.set(FlashTrap {
            erases: false,
            after: 2,
            springs: Springs::PowerFails { waits: true },
        });
        flash.begin(Stretch::Request, SimTime::ZERO, &chip());
        let ends = flash.wakes(&chip()).unwrap();
        assert_eq!(
            flash.advance(ends, &chip(), &known, &mut out),
            Progress::Done(Stretch::Request, ends)
        );
        let later = ends + Duration::from_secs(5);
        flash.begin(Stretch::Confirm, later, &chip());
        assert_eq!(flash.wakes(&chip()), Some(later));
        assert_eq!(flash.advance(later, &chip(), &known, &mut out), Progress::PowerFails(later));
        flash.interrupt(Tear::Part(7), &chip(), &known, &mut out);
        assert_eq!((flash.primary.trailer.image_ok, flash.ops()), (Mark::Torn, 2));
    }
}
