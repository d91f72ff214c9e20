//! The simulated device: decides what the real device SDK and MCUboot would, does no I/O.
//!
//! [`Device`] owns one device whole: its flash with both image slots and the settings records, the bootloader, the MQTT session,
//! the update attempt with its worker, the download. Time and inputs are arguments, outputs go into a queue that the caller owns
//! and shares among its devices, in the order in which they happen. It draws nothing but waits, names and torn operations, all by
//! [`Luck`] from its own key and its own ordinals, and leaves transports, links, faults on the way and the server to others.

mod again;
mod attempt;
mod behavior;
mod board;
mod boot;
mod clean;
mod config;
mod content;
mod defect;
mod download;
mod exchange;
mod explain;
mod fetch;
mod flash;
mod inbox;
mod io;
mod outbox;
mod pages;
mod piece;
mod records;
mod rest;
mod restore;
mod sdk;
mod session;
mod settle;
mod shown;
mod slot;
mod step;
mod stretch;
mod swap;
mod tear;
mod telling;
mod timers;
mod traps;
mod wear;
mod worker;

use std::sync::Arc;

use bytes::Bytes;

pub use behavior::{Behaviors, BootOutcome, Dealt, ImageBehavior, InstallOutcome};
pub use board::{BoardFlash, BoardNews, BoardOrder, Slots};
pub use clean::{clean_duration, clean_erases, clean_ops, download_ops};
pub use config::{Backoff, Chip, DeviceConfig, DeviceIdentity, Jitter, RollbackLock, SwapMethod};
pub use defect::Defect;
pub use io::{DeviceInput, DeviceOutput, FlashTrap, LinkLoss, Outputs, Springs};
#[cfg(fuzzing)]
pub use records::records_hold;
pub use sdk::{Quirks, Sdk};
pub use timers::Timer;

use attempt::{Attempt, Pending};
use boot::Power;
use flash::Flash;
use outbox::Outbox;
use restore::Verdict;
use session::Line;
use shown::Shown;
use step::Work;

use crate::luck::Luck;
use crate::memory;
use crate::model::{AttemptId, FirmwareVersion, Phase, Session, Share, Version};
use crate::time::SimTime;
use crate::wire::Packet;
use crate::wire::config::Severity;

/// One simulated device.
///
/// - **Input**: [`handle_input`](Self::handle_input) and [`handle_timeout`](Self::handle_timeout), which append to the outputs.
/// - **Schedule**: after either, [`next_timeout`](Self::next_timeout) says when the device wants to be woken.
/// - **Views**: phase, session, attempt, version and [`explain`](Self::explain) change only by input.
///
/// What is late is made up for: each timer is handled as if at its own moment, so that a slow harness does not slow the fleet.
#[derive(Debug)]
pub struct Device {
    identity: DeviceIdentity,
    config: Arc<DeviceConfig>,
    behaviors: Arc<Behaviors>,
    luck: Luck,
    power: Power,
    flash: Flash,
    memory: Memory,
    /// The threshold of its log, in the settings store; its writes are not counted among the flash operations.
    severity: Severity,
    shown: Shown,
    ordinals: Ordinals,
}

/// What a reset clears.
#[derive(Debug)]
struct Memory {
    line: Line,
    attempt: Option<Attempt>,
    pending: Option<Box<Pending>>,
    work: Option<Box<Work>>,
    verdict: Option<Box<Verdict>>,
    /// A probation record is left over.
    drop_probation: bool,
    report_wanted: bool,
    outbox: Outbox,
    /// The largest attempt id received since boot.
    largest: Option<AttemptId>,
}

impl Memory {
    const fn cleared() -> Memory {
        Memory {
            line: Line::down(),
            attempt: None,
            pending: None,
            work: None,
            verdict: None,
            drop_probation: false,
            report_wanted: false,
            outbox: Outbox::empty(),
            largest: None,
        }
    }
}

/// How often the device has drawn for a purpose, over all its boots: the ordinals of its luck.
#[derive(Debug, Default)]
struct Ordinals {
    boots: u32,
    retries: u32,
    reconnects: u32,
    packets: u32,
    tears: u32,
    /// Incarnations of attempts; draws nothing.
    generations: u32,
}

impl Device {
    /// A device without power, with `image` in its primary slot, confirmed, and no records.
    pub fn new(identity: DeviceIdentity, config: Arc<DeviceConfig>, behaviors: Arc<Behaviors>, luck: Luck, image: Bytes) -> Device {
        let image = behaviors.shared(0, &image, None).unwrap_or(image);
        let image = behaviors.piece(&image);
        let running = FirmwareVersion {
            slug: config.main.clone(),
            version: Version::new("0.0.0").expect("five bytes are within the limit"),
        };
        let mut device = Device {
            identity,
            config,
            behaviors,
            luck,
            power: Power::Off,
            flash: Flash::new(image),
            memory: Memory::cleared(),
            severity: Severity::INFO,
            shown: Shown {
                phase: Phase::Idle,
                attempt: None,
                reason: None,
                ended: None,
                session: Session::Off,
                running: Arc::new(running),
            },
            ordinals: Ordinals::default(),
        };
        if device.config.counts_wear && !device.config.on_board {
            device.flash.count_wear();
        }
        if let Some(found) = device.flash.primary.image(0, &device.behaviors) {
            device.shown.running = device.identify(&found).0;
        }
        device
    }

    /// Something soon happens to this device, which is at hand: has ready what it keeps elsewhere.
    pub fn fetch_more(&self) {
        if let Some(work) = &self.memory.work {
            memory::fetch(&**work);
        }
        self.flash.fetch_work();
    }

    /// Takes one input.
    pub fn handle_input(&mut self, input: DeviceInput, now: SimTime, out: &mut Outputs) {
        match input {
            DeviceInput::PowerOn => self.on_power(now, out),
            DeviceInput::PowerCut { after_flash_ops } => self.on_power_cut(after_flash_ops, now, out),
            DeviceInput::ResetReleased => self.on_reset_released(now, out),
            DeviceInput::FlashTrap(trap) if self.config.on_board => self.trap_board(trap, out),
            DeviceInput::FlashTrap(trap) => self.flash.set(trap),
            DeviceInput::FlashFull(full) => self.flash.fill(full),
            DeviceInput::ForgetTraps => self.flash.forget_traps(),
            DeviceInput::FlipBits { bits, draw } => self.flash.secondary.flip(self.config.image_at(), bits, draw, &self.behaviors),
            DeviceInput::LoseRecord(record) => self.flash.doom(record),
            DeviceInput::AppAbort => self.abort_download(now, out),
            DeviceInput::AppPause => self.pause_update(out),
            DeviceInput::AppResume => self.resume_update(now, out),
            DeviceInput::Connected => self.on_connected(now, out),
            DeviceInput::Disconnected(loss) => self.on_disconnected(loss, now, out),
            DeviceInput::Received(packet) => self.on_packet(&packet, now, out),
            DeviceInput::Download(event) => self.on_download(event, now, out),
            DeviceInput::Board(news) => self.on_board(news, now, out),
        }
        self.ask_board(out);
    }

    /// Takes a packet, which stays with the caller: the same as an input of it.
    pub fn receive(&mut self, packet: &Packet, now: SimTime, out: &mut Outputs) {
        self.on_packet(packet, now, out);
        self.ask_board(out);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: SimTime, out: &mut Outputs) {
        if let Some((due, timer)) = self.next_timeout().filter(|&(due, _)| due <= now) {
            self.handle_timer(timer, due, now, out);
        } else {
            self.ask_board(out);
        }
    }

    /// The same for who knows what is due first, and when. Gives [`next_timeout`](Self::next_timeout), which is then known, too.
    pub fn handle_timer(&mut self, timer: Timer, due: SimTime, now: SimTime, out: &mut Outputs) -> Option<(SimTime, Timer)> {
        debug_assert_eq!(self.next_timeout(), Some((due, timer)), "it is known wrongly");
        let mut next = Some((due, timer));
        while let Some((due, timer)) = next.filter(|&(due, _)| due <= now) {
            self.on_timer(timer, due, out);
            next = self.next_timeout();
        }
        self.ask_board(out);
        next
    }

    /// Does what became due by `until`, when the processor was not scheduled: each once, and as of the present.
    pub fn catch_up(&mut self, until: SimTime, now: SimTime, out: &mut Outputs) {
        while let Some((_, timer)) = self.next_timeout().filter(|&(due, _)| due <= until) {
            self.on_timer(timer, now, out);
        }
        self.ask_board(out);
    }

    /// Its settings.
    pub fn config(&self) -> &DeviceConfig {
        &self.config
    }

    /// The luck that it draws with, and its key.
    pub fn luck(&self) -> (Luck, u64) {
        (self.luck, self.identity.key)
    }

    /// Bytes of a main image that its fleet knows.
    pub fn image_size(&self, firmware: &FirmwareVersion) -> Option<u64> {
        let mut images = self.behaviors.images.values();
        images
            .find(|image| *image.firmware == *firmware)
            .map(|image| image.image.len() as u64)
    }

    /// Where it stands in its attempt.
    pub fn phase(&self) -> Phase {
        self.shown.phase
    }

    /// How it stands to its server.
    pub fn session(&self) -> Session {
        self.shown.session
    }

    /// The main version that runs, or ran last.
    pub fn running(&self) -> &FirmwareVersion {
        &self.shown.running
    }

    /// The attempt that it works on or last finished.
    pub fn attempt(&self) -> Option<AttemptId> {
        let current = self.memory.attempt.as_ref().map(|attempt| attempt.id);
        current.or(self.shown.attempt)
    }

    /// Flash operations that have been done, all boots together: erases, writes of at most 512 bytes, atomic record writes and
    /// deletions.
    pub fn flash_ops(&self) -> u64 {
        self.flash.ops()
    }

    /// Page erases that have been done, all boots together.
    pub fn flash_erases(&self) -> u64 {
        self.flash.erases()
    }

    /// Erases of its most-erased page, all boots together; `None` where they are not counted by page, as on a board.
    pub fn wear(&self) -> Option<u32> {
        self.flash.wear()
    }

    /// Flash operations from here until this share of the pages of the swap under way has moved, and when that is; `None` where no
    /// swap is under way.
    pub fn swap_reaches(&self, done: Share) -> Option<(u32, SimTime)> {
        self.flash.swap_reaches(done, &self.config.chip)
    }

    fn next_generation(&mut self) -> u32 {
        self.ordinals.generations = self.ordinals.generations.wrapping_add(1);
        self.ordinals.generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_device_is_small() {
        assert!(size_of::<Device>() <= 568, "{}", size_of::<Device>());
    }
}
