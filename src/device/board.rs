//! A device whose firmware runs on a board outside: what is asked of the board, and what it has told.
//!
//! The SDK's half stays here: session, attempt, download, records. Slots and bootloader are the board's. What the device keeps of its
//! slots is a picture, drawn by the board's answers: work in a slot becomes an order and is over when the board says so; a boot ends
//! when the board answers, and which image runs, and whether it stays, is what its own image list says.

use std::sync::Arc;

use bytes::Bytes;

use super::Device;
use super::behavior::BootOutcome;
use super::boot::{BootStage, Power};
use super::io::{DeviceOutput, FlashTrap, Outputs, Springs};
use super::piece::Piece;
use super::slot::{Found, Mark, Slot, Trailer};
use super::step::Step;
use super::stretch::Stretch;
use super::swap::{self, Wanted};
use crate::mcuboot::SwapType;
use crate::model::{BootReason, Cause, Digest, FirmwareVersion, Observation, Phase, Version};
use crate::time::SimTime;

/// What a board is to do. Orders are carried out one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardOrder {
    /// Power comes; answered by [`BoardNews::Up`].
    PowerOn,
    /// The processor stands still from here on, wherever it is: power fails, or a reset is held.
    Halt,
    /// The reset that was held is released; answered by [`BoardNews::Up`].
    Release,
    /// A part of the new image goes into the secondary slot; answered by [`BoardNews::Done`].
    Upload {
        /// Where in the image.
        offset: u32,
        /// Bytes of the whole image.
        total: u32,
        /// The part.
        bytes: Bytes,
    },
    /// The uploaded image is to be tried at the next boot; answered by [`BoardNews::Done`].
    Test,
    /// The running image is to stay; answered by [`BoardNews::Done`].
    Confirm,
    /// The board starts anew; answered by [`BoardNews::Up`].
    Reset,
    /// Power is to fail at the page erase that follows this many, all boots together; `None` at none.
    CutAtErase(Option<u32>),
    /// Bytes that mean nothing, drawn from this, come over its serial line.
    Disturb(u64),
}

/// What a board tells, or those who watch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardNews {
    /// The order is carried out.
    Done,
    /// The firmware refuses the order.
    Refused,
    /// The firmware answers, for the first time since the board started.
    Up(Slots),
    /// The image that runs has confirmed itself.
    Confirmed,
    /// The board has started anew, and nobody had asked it to.
    Restarted {
        /// What for.
        why: BootReason,
        /// What its flash held before.
        flash: BoardFlash,
    },
    /// What the flash held when the processor was halted.
    Kept(BoardFlash),
    /// Power failed at the erase that was asked for.
    PowerFailed(BoardFlash),
    /// Page erases so far, all boots together; told before the news that they belong to.
    Erased(u32),
}

/// The image list of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Digest of the image that runs.
    pub digest: Digest,
    /// Its version, as its header says.
    pub version: String,
    /// It stays.
    pub confirmed: bool,
    /// The image in the other slot is to be tried at the next boot.
    pub pending: bool,
}

/// What a board's flash says of the image in its primary slot, which has this digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardFlash {
    /// It was swapped in whole, and is not confirmed: the next boot swaps back.
    OnTrial(Digest),
    /// It stays.
    Settled(Digest),
    /// A swap is under way, or asked for; or nobody has looked.
    Moving,
}

impl Device {
    /// Tells the board, if there is one.
    pub(super) fn order(&self, order: BoardOrder, out: &mut Outputs) {
        if self.config.on_board {
            out.push(DeviceOutput::Board(order));
        }
    }

    /// Whether the flash work under way is the board's: the settings store is kept here.
    pub(super) fn waits_for_board(&self) -> bool {
        self.config.on_board && self.flash.under_way().is_some_and(is_boards)
    }

    /// Asks the board for the flash work under way, once.
    pub(super) fn ask_board(&mut self, out: &mut Outputs) {
        if !self.waits_for_board() {
            return;
        }
        let image_at = self.config.image_at();
        let total = self.image_bytes();
        let order = match self.flash.unasked() {
            Some(Stretch::Page { at, bytes, .. }) => BoardOrder::Upload {
                offset: at - image_at,
                total: total.unwrap_or(0),
                bytes: bytes.clone(),
            },
            Some(Stretch::Request) => BoardOrder::Test,
            Some(Stretch::Confirm) => BoardOrder::Confirm,
            Some(Stretch::Store { .. } | Stretch::Delete { .. } | Stretch::Refuse { .. } | Stretch::Swap(_)) | None => return,
        };
        out.push(DeviceOutput::Board(order));
    }

    /// Bytes of the image that is being downloaded, as its answer announced them.
    fn image_bytes(&self) -> Option<u32> {
        match &self.memory.work.as_ref()?.step {
            Step::Fetch(fetch) => u32::try_from(fetch.download.progress().1?).ok(),
            Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Scan { .. }
            | Step::Probation
            | Step::Upgrade
            | Step::Install { .. }
            | Step::Settle(_) => None,
        }
    }

    /// Power is to fail at an erase of the board; nothing else can be made to fail there.
    pub(super) fn trap_board(&mut self, trap: FlashTrap, out: &mut Outputs) {
        if matches!(trap.springs, Springs::PowerFails { .. }) && (trap.erases || trap.after == u32::MAX) {
            let done = u32::try_from(self.flash.erases()).unwrap_or(u32::MAX);
            self.order(BoardOrder::CutAtErase(done.checked_add(trap.after)), out);
        }
    }

    /// The board starts: what its bootloader is about to do follows from what was asked of it.
    pub(super) fn boot_elsewhere(&mut self, why: BootReason, out: &mut Outputs) {
        if let Some(Wanted::Begin(kind) | Wanted::Resume(kind)) = swap::wanted(&self.flash.primary, &self.flash.secondary) {
            self.show_swap(kind, why, out);
        }
        let stage = BootStage::OnBoard;
        self.power = Power::Boot { why, stage };
    }

    pub(super) fn on_board(&mut self, news: BoardNews, now: SimTime, out: &mut Outputs) {
        match news {
            BoardNews::Done => self.on_order_done(now, out),
            BoardNews::Refused => {
                if self.waits_for_board()
                    && let Some(stretch) = self.flash.give_up(now, &self.config.chip)
                {
                    self.on_flash_failed(stretch, true, now, out);
                }
            }
            BoardNews::Up(slots) => self.on_board_up(&slots, now, out),
            BoardNews::Confirmed => self.on_board_confirmed(now, out),
            BoardNews::Restarted { why, flash } => {
                if !matches!(self.power, Power::Off) {
                    self.learn(flash, out);
                    self.start_anew(why, now, out);
                }
            }
            BoardNews::Kept(flash) => self.learn(flash, out),
            BoardNews::PowerFailed(flash) => {
                if !matches!(self.power, Power::Off) {
                    self.lose_power(out);
                }
                self.learn(flash, out);
            }
            BoardNews::Erased(erases) => self.flash.count_elsewhere(erases),
        }
    }

    fn on_order_done(&mut self, now: SimTime, out: &mut Outputs) {
        if self.waits_for_board() {
            let erases = self.flash.erases();
            self.flash.done_elsewhere(now);
            self.on_timer(super::Timer::Flash, now, out);
            self.flash.count_elsewhere(u32::try_from(erases).unwrap_or(u32::MAX));
        }
    }

    /// The board has confirmed its image by itself.
    fn on_board_confirmed(&mut self, now: SimTime, out: &mut Outputs) {
        let asked = self.flash.under_way() == Some(&Stretch::Confirm);
        if matches!(self.power, Power::On(_)) && !asked && !self.flash.primary.is_confirmed() {
            self.keep_image(out);
            self.on_confirmed(now, out);
        }
    }

    fn keep_image(&mut self, out: &mut Outputs) {
        self.flash.primary.trailer.image_ok = Mark::Set;
        out.push(DeviceOutput::Observed(Observation::Confirmed));
    }

    /// Takes over what the board's flash was found to hold: the image may have moved on since it was last asked.
    fn learn(&mut self, flash: BoardFlash, out: &mut Outputs) {
        let asked = self.flash.secondary.trailer.magic == Mark::Set;
        match flash {
            BoardFlash::OnTrial(digest) if asked && self.holds(&self.flash.secondary, self.config.image_at(), digest) => {
                let image = Bytes::clone(&self.behaviors.images[&digest].image);
                self.flash.primary = in_slot(self.behaviors.piece(&image), false);
                self.flash.secondary = Slot::default();
            }
            BoardFlash::Settled(digest) if !self.flash.primary.is_confirmed() && self.holds(&self.flash.primary, 0, digest) => {
                self.keep_image(out);
            }
            BoardFlash::OnTrial(_) | BoardFlash::Settled(_) | BoardFlash::Moving => {}
        }
    }

    /// Whether the image with this digest stands in a slot.
    fn holds(&self, slot: &Slot, at: u32, digest: Digest) -> bool {
        let known = self.behaviors.images.get(&digest);
        match slot.image(at, &self.behaviors) {
            Some(Found::Known(image)) => known == Some(image),
            Some(Found::Other(_)) | None => false,
        }
    }

    /// The board answers: its image list says which image runs.
    fn on_board_up(&mut self, slots: &Slots, now: SimTime, out: &mut Outputs) {
        let Power::Boot {
            why,
            stage: BootStage::OnBoard,
        } = self.power
        else {
            return;
        };
        let known = self.behaviors.images.get(&slots.digest).cloned();
        let stood = match self.flash.primary.image(0, &self.behaviors) {
            Some(Found::Known(image)) => Some(&image.image),
            Some(Found::Other(_)) | None => None,
        };
        let swapped = stood != known.as_ref().map(|image| &image.image);
        let wanted = swap::wanted(&self.flash.primary, &self.flash.secondary);
        let bytes = known.as_ref().map_or(Bytes::new(), |image| Bytes::clone(&image.image));
        self.flash.primary = in_slot(self.behaviors.piece(&bytes), slots.confirmed);
        self.flash.secondary = Slot::default();
        if slots.pending {
            self.flash.secondary.trailer = asked_for_a_trial();
        }
        if swapped && wanted == Some(Wanted::Begin(SwapType::Revert)) {
            out.push(DeviceOutput::Observed(Observation::RolledBack));
        } else if swapped && self.shown.phase == Phase::Swapping && self.is_the_expected_one() {
            self.enter(Phase::Probation, Cause::Normal, None, out);
        }
        let (firmware, build_id, outcome) = match known {
            Some(image) => (image.firmware, image.own_build_id, *image.boot.of(self.identity.number)),
            None => (Arc::new(self.stranger(&slots.version)), None, BootOutcome::Unconfirmed),
        };
        // What the firmware does by itself it does on the board: nothing of it is played here.
        let outcome = match outcome {
            BootOutcome::ConfirmOnConnect { .. } => outcome,
            BootOutcome::ConfirmAfter(_)
            | BootOutcome::CrashAfter(_)
            | BootOutcome::ConfirmThenCrash { .. }
            | BootOutcome::ConfirmThenMute { .. }
            | BootOutcome::Hang
            | BootOutcome::HangWatchdog(_)
            | BootOutcome::Unconfirmed
            | BootOutcome::MuteAfter(_) => BootOutcome::Unconfirmed,
        };
        self.run_image(why, firmware, build_id, outcome, now, out);
    }

    /// An image that is none of the run's, by what its header says.
    fn stranger(&self, version: &str) -> FirmwareVersion {
        let version = version.chars().filter(char::is_ascii_graphic).take(64).collect::<String>();
        FirmwareVersion {
            slug: self.config.main.clone(),
            version: Version::new(version).unwrap_or_else(|_| self.shown.running.version.clone()),
        }
    }
}

/// Whether work in flash is in a slot.
fn is_boards(stretch: &Stretch) -> bool {
    match stretch {
        Stretch::Page { .. } | Stretch::Request | Stretch::Confirm | Stretch::Refuse { .. } | Stretch::Swap(_) => true,
        Stretch::Store { .. } | Stretch::Delete { .. } => false,
    }
}

/// A slot with an image that stays, or that was swapped in to be tried.
fn in_slot(image: Piece, confirmed: bool) -> Slot {
    let mut slot = match image.is_empty() {
        true => Slot::default(),
        false => Slot::holding(image),
    };
    if !confirmed {
        slot.trailer = Trailer {
            magic: Mark::Set,
            copy_done: Mark::Set,
            ..Trailer::default()
        };
    }
    slot
}

fn asked_for_a_trial() -> Trailer {
    Trailer {
        magic: Mark::Set,
        swap: Some(SwapType::Test),
        ..Trailer::default()
    }
}
