//! Power, bootloader and application: from power-on through MCUboot to a running image, and what that image then does.
//!
//! Only flash survives a reset. The bootloader decides by the trailers, checks the image before it swaps and again before it starts
//! it; the application restores its records, reconciles a test boot and connects. What an image does is data
//! ([`super::BootOutcome`]).

use std::sync::Arc;
use std::time::Duration;

use super::again::STORAGE_RETRY_FIRST;
use super::behavior::BootOutcome;
use super::board::BoardOrder;
use super::config::RollbackLock;
use super::defect::Defect;
use super::flash::Progress;
use super::io::{DeviceOutput, Outputs};
use super::slot::{Found, Mark, Slot};
use super::stretch::Stretch;
use super::swap::{self, Swap, Wanted};
use super::tear::Tear;
use super::{Device, Memory};
use crate::luck::Purpose;
use crate::mcuboot::SwapType;
use crate::model::{BootReason, BuildId, Cause, FirmwareVersion, Observation, Phase, Session, Version};
use crate::time::SimTime;

/// What the device is doing as a whole.
#[derive(Debug)]
pub(super) enum Power {
    /// Without power.
    Off,
    /// In the bootloader.
    Boot {
        /// What made it boot.
        why: BootReason,
        /// How far it is.
        stage: BootStage,
    },
    /// An image runs.
    On(App),
}

/// How far the bootloader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BootStage {
    /// Hashes and verifies the image in the secondary slot.
    Checking {
        /// Which swap is wanted.
        kind: SwapType,
        /// Until then.
        until: SimTime,
    },
    /// Works in flash.
    Flashing,
    /// Hashes and verifies the image in the primary slot, and starts it.
    Starting {
        /// Until then.
        until: SimTime,
    },
    /// A board starts, and has not answered yet.
    OnBoard,
    /// Found no image to run.
    Dead,
}

/// The running image.
#[derive(Debug)]
pub(super) struct App {
    /// What made the device boot.
    pub(super) why: BootReason,
    /// When the image started.
    pub(super) started_at: SimTime,
    /// Names this boot.
    pub(super) run_id: u64,
    /// Its build id.
    pub(super) build_id: Option<Arc<BuildId>>,
    /// It confirms itself on its first connection, or never.
    confirms_online: bool,
    pub(super) never_confirms: bool,
    /// `boot_reset` was sent.
    pub(super) announced: bool,
    /// A heartbeat waits for a connection.
    pub(super) beat_owed: bool,
    /// Heartbeats that were due in this boot, and log records sent.
    pub(super) beats: u32,
    pub(super) logs: u32,
    /// Its confirmation is being written.
    confirming: bool,
    /// It does nothing any more.
    pub(super) silent: bool,
    /// When it confirms itself.
    pub(super) confirms_at: Option<SimTime>,
    /// What becomes of it.
    fate: Option<Fate>,
    /// It falls silent once its result is published.
    pub(super) muting: bool,
}

/// What becomes of an image that does not simply go on.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It resets itself, or is reset, then and for that.
    Reset(SimTime, BootReason),
    /// It wants to fall silent then.
    Mute(SimTime),
}

impl App {
    /// When it resets itself, or is reset, and what for.
    pub(super) fn resets_at(&self) -> Option<(SimTime, BootReason)> {
        match self.fate {
            Some(Fate::Reset(at, why)) => Some((at, why)),
            Some(Fate::Mute(_)) | None => None,
        }
    }

    /// When it wants to fall silent.
    pub(super) fn mutes_at(&self) -> Option<SimTime> {
        match self.fate {
            Some(Fate::Mute(at)) => Some(at),
            Some(Fate::Reset(..)) | None => None,
        }
    }

    fn forget_muting(&mut self) {
        self.fate.take_if(|fate| matches!(fate, Fate::Mute(_)));
    }

    /// An image that starts.
    fn starting(
        why: BootReason,
        now: SimTime,
        run_id: u64,
        build_id: Option<Arc<BuildId>>,
        outcome: BootOutcome,
        confirmed: bool,
    ) -> App {
        let mut app = App {
            why,
            started_at: now,
            run_id,
            build_id,
            confirms_online: matches!(outcome, BootOutcome::ConfirmOnConnect { .. }),
            never_confirms: outcome == BootOutcome::Unconfirmed,
            announced: false,
            beat_owed: false,
            beats: 0,
            logs: 0,
            confirming: false,
            silent: false,
            confirms_at: None,
            fate: None,
            muting: false,
        };
        let crash = |after| Some(Fate::Reset(now + after, BootReason::Crash));
        match outcome {
            BootOutcome::ConfirmAfter(after) => app.confirms_at = Some(now + after),
            BootOutcome::ConfirmOnConnect { within } if !confirmed => {
                app.fate = within.map(|within| Fate::Reset(now + within, BootReason::Software));
            }
            BootOutcome::ConfirmOnConnect { .. } | BootOutcome::Unconfirmed => {}
            BootOutcome::CrashAfter(after) => app.fate = crash(after),
            BootOutcome::ConfirmThenCrash { confirm, crash: after } => {
                app.confirms_at = Some(now + confirm);
                app.fate = crash(after);
            }
            BootOutcome::ConfirmThenMute { confirm, mute } => {
                app.confirms_at = Some(now + confirm);
                app.fate = Some(Fate::Mute(now + mute));
            }
            BootOutcome::Hang => app.silent = true,
            BootOutcome::HangWatchdog(after) => {
                app.silent = true;
                app.fate = Some(Fate::Reset(now + after, BootReason::Watchdog));
            }
            BootOutcome::MuteAfter(after) => app.fate = Some(Fate::Mute(now + after)),
        }
        if confirmed {
            app.confirms_at = None;
        }
        app
    }
}

/// The security counter of an image; one of unknown make has none.
fn counter_of(found: &Found<'_>) -> u32 {
    match found {
        Found::Known(image) => image.counter,
        Found::Other(_) => 0,
    }
}

impl Device {
    pub(super) fn on_power(&mut self, now: SimTime, out: &mut Outputs) {
        if matches!(self.power, Power::Off) {
            self.show_session(Session::Offline, out);
            self.order(BoardOrder::PowerOn, out);
            self.boot(BootReason::PowerOn, now, out);
        }
    }

    pub(super) fn on_reset_released(&mut self, now: SimTime, out: &mut Outputs) {
        if matches!(self.power, Power::Off) {
            self.show_session(Session::Offline, out);
            self.order(BoardOrder::Release, out);
            self.boot(BootReason::Software, now, out);
        }
    }

    pub(super) fn on_power_cut(&mut self, after_flash_ops: u32, now: SimTime, out: &mut Outputs) {
        self.handle_timeout(now, out);
        if matches!(self.power, Power::Off) {
            return;
        }
        if self.config.on_board {
            self.order(BoardOrder::Halt, out);
            self.lose_power(out);
            return;
        }
        let progress = self.flash.advance(now, &self.config.chip, &self.behaviors, out);
        debug_assert!(matches!(progress, Progress::Idle | Progress::Busy), "{progress:?} was due");
        if after_flash_ops == 0 {
            self.lose_power(out);
        } else {
            self.flash.cut_after(after_flash_ops);
        }
    }

    /// Power is gone; the flash has been advanced to this moment.
    pub(super) fn lose_power(&mut self, out: &mut Outputs) {
        self.tear_flash(out);
        self.flash.forget_cut();
        out.push(DeviceOutput::FallSilent);
        self.show_download_lost(out);
        self.memory = Memory::cleared();
        self.power = Power::Off;
        self.show_session(Session::Off, out);
    }

    /// The processor starts anew.
    pub(super) fn reset(&mut self, why: BootReason, now: SimTime, out: &mut Outputs) {
        self.order(BoardOrder::Reset, out);
        self.start_anew(why, now, out);
    }

    /// The processor has started anew.
    pub(super) fn start_anew(&mut self, why: BootReason, now: SimTime, out: &mut Outputs) {
        self.tear_flash(out);
        out.push(DeviceOutput::FallSilent);
        self.show_download_lost(out);
        self.memory = Memory::cleared();
        self.show_session(Session::Offline, out);
        self.boot(why, now, out);
    }

    fn tear_flash(&mut self, out: &mut Outputs) {
        if self.waits_for_board() {
            self.flash.forget_work();
        }
        if !self.flash.in_operation(&self.config.chip) {
            return;
        }
        let ordinal = self.ordinals.tears;
        self.ordinals.tears = ordinal.wrapping_add(1);
        let (key, ordinal) = (self.identity.key, u64::from(ordinal));
        let way = self.luck.below(Purpose::TornOperation, key, ordinal, Tear::WAYS);
        let bits = self.luck.draw(Purpose::TornBits, key, ordinal);
        self.flash
            .interrupt(Tear::drawn(way, bits), &self.config.chip, &self.behaviors, out);
    }

    /// The image stops doing anything, its connection is neither served nor closed.
    pub(super) fn fall_silent(&mut self, out: &mut Outputs) {
        if let Power::On(app) = &mut self.power {
            app.silent = true;
            app.confirms_at = None;
            app.forget_muting();
        }
        out.push(DeviceOutput::FallSilent);
        self.show_download_lost(out);
        self.memory = Memory::cleared();
        self.show_session(Session::Offline, out);
    }

    fn boot(&mut self, why: BootReason, now: SimTime, out: &mut Outputs) {
        if self.config.on_board {
            return self.boot_elsewhere(why, out);
        }
        match self.wanted() {
            None => self.start_image(why, now),
            Some(Wanted::Resume(_)) if self.has(Defect::ForgetSwap) => self.start_image(why, now),
            Some(Wanted::Resume(kind)) => {
                self.show_swap(kind, why, out);
                let swap = Swap::resume(self.config.swap, kind, &self.flash.primary, &self.flash.secondary);
                self.flash_in_boot(why, Stretch::Swap(swap), now);
            }
            Some(Wanted::Begin(kind)) => {
                self.show_swap(kind, why, out);
                let until = now + self.check_time(&self.flash.secondary, self.incoming_at(kind));
                let stage = BootStage::Checking { kind, until };
                self.power = Power::Boot { why, stage };
            }
        }
    }

    /// What the trailers ask for.
    fn wanted(&self) -> Option<Wanted> {
        let wanted = swap::wanted(&self.flash.primary, &self.flash.secondary)?;
        let confirmed = match self.flash.primary.trailer.image_ok {
            Mark::Set => true,
            Mark::Torn => self.has(Defect::CountTornConfirmation),
            Mark::Unset => self.has(Defect::ConfirmEarly),
        };
        (wanted != Wanted::Begin(SwapType::Revert) || !confirmed).then_some(wanted)
    }

    /// Where the image that a swap brings in stands in the secondary slot.
    fn incoming_at(&self, kind: SwapType) -> u32 {
        match kind {
            SwapType::Test | SwapType::Permanent => self.config.image_at(),
            SwapType::Revert => 0,
        }
    }

    fn check_time(&self, slot: &Slot, at: u32) -> Duration {
        let bytes = slot.image(at, &self.behaviors).map_or(0, |found| found.len());
        self.config.chip.hash(bytes) + self.config.chip.verify
    }

    /// The incoming image has been hashed and verified.
    pub(super) fn on_checked(&mut self, now: SimTime) {
        let Power::Boot {
            why,
            stage: BootStage::Checking { kind, .. },
        } = self.power
        else {
            return;
        };
        let at = self.incoming_at(kind);
        let chip = &self.config.chip;
        let pages = |slot: &Slot, at| {
            let found = slot.image(at, &self.behaviors)?;
            let pages = u32::try_from(found.len()).ok()?.div_ceil(chip.page_size);
            let fits = pages * chip.page_size <= chip.image_limit()
                && self.is_allowed(&found)
                && (slot.is_sound(at, &found, self.config.key.as_ref()) || self.has(Defect::SkipImageCheck));
            fits.then_some(pages as u16)
        };
        let incoming = pages(&self.flash.secondary, at);
        let outgoing = pages(&self.flash.primary, 0).unwrap_or(0);
        match (incoming, kind) {
            (Some(incoming), _) => {
                let swap = Swap::begin(self.config.swap, kind, (outgoing, incoming), &self.flash.secondary);
                self.flash_in_boot(why, Stretch::Swap(swap), now);
            }
            (None, SwapType::Test | SwapType::Permanent) => self.flash_in_boot(why, Stretch::Refuse { at }, now),
            (None, SwapType::Revert) => self.start_image(why, now),
        }
    }

    fn flash_in_boot(&mut self, why: BootReason, stretch: Stretch, now: SimTime) {
        self.power = Power::Boot {
            why,
            stage: BootStage::Flashing,
        };
        self.flash.begin(stretch, now, &self.config.chip);
    }

    /// The bootloader's work in flash is over.
    pub(super) fn on_boot_flashed(&mut self, stretch: &Stretch, now: SimTime, out: &mut Outputs) {
        let Power::Boot { why, .. } = self.power else {
            return;
        };
        if let Stretch::Swap(swap) = stretch
            && swap.kind() != SwapType::Revert
            && self.shown.phase == Phase::Swapping
            && self.is_the_expected_one()
        {
            self.enter(Phase::Probation, Cause::Normal, None, out);
        }
        self.start_image(why, now);
    }

    /// False where the probation record names another image than the one that was swapped in.
    pub(super) fn is_the_expected_one(&self) -> bool {
        let slot = &self.flash.primary;
        let found = slot.image(0, &self.behaviors);
        let own = found.and_then(|found| slot.own_build_id(0, &found));
        let record = self.flash.records.probation(self.probation_limit());
        record.is_none_or(|record| Some(record.build_id) == own.as_deref().copied())
    }

    fn start_image(&mut self, why: BootReason, now: SimTime) {
        let until = now + self.check_time(&self.flash.primary, 0) + self.config.chip.boot;
        let stage = BootStage::Starting { until };
        self.power = Power::Boot { why, stage };
    }

    /// The image in the primary slot has been hashed and verified.
    pub(super) fn on_started(&mut self, now: SimTime, out: &mut Outputs) {
        let Power::Boot { why, .. } = self.power else {
            return;
        };
        let found = self.flash.primary.image(0, &self.behaviors);
        let key = self.config.key.as_ref();
        let sound = |found: &Found<'_>| self.is_allowed(found) && self.flash.primary.is_sound(0, found, key);
        let Some(found) = found.filter(sound) else {
            self.power = Power::Boot {
                why,
                stage: BootStage::Dead,
            };
            out.push(DeviceOutput::Observed(Observation::Unbootable));
            return;
        };
        let build_id = self.flash.primary.own_build_id(0, &found);
        let (firmware, outcome) = self.identify(&found);
        let counter = counter_of(&found);
        self.raise_floor(counter, self.config.rollback_lock == RollbackLock::Start);
        self.run_image(why, firmware, build_id, outcome, now, out);
    }

    /// Whether the security counter lets this image run.
    fn is_allowed(&self, found: &Found<'_>) -> bool {
        counter_of(found) >= self.flash.floor
    }

    /// The security counter rises to that of the image that runs: at its start, or once it is confirmed.
    fn raise_floor(&mut self, counter: u32, at_once: bool) {
        let confirmed = self.config.rollback_lock == RollbackLock::Confirm && self.flash.primary.is_confirmed();
        if at_once || confirmed {
            self.flash.floor = self.flash.floor.max(counter);
        }
    }

    /// An image runs from here on.
    pub(super) fn run_image(
        &mut self,
        why: BootReason,
        firmware: Arc<FirmwareVersion>,
        build_id: Option<Arc<BuildId>>,
        outcome: BootOutcome,
        now: SimTime,
        out: &mut Outputs,
    ) {
        let confirmed = self.flash.primary.is_confirmed();
        let boot = self.ordinals.boots;
        self.ordinals.boots = boot.wrapping_add(1);
        let run_id = {
            let boot = if self.has(Defect::RunIdConstant) { 0 } else { boot };
            self.luck.draw(Purpose::DeviceRunId, self.identity.key, boot.into())
        };
        self.shown.running = Arc::clone(&firmware);
        out.push(DeviceOutput::Observed(Observation::Booted {
            build_id: build_id.as_deref().copied(),
            firmware: firmware.as_ref().clone(),
            confirmed,
            why,
        }));
        for record in self.flash.lose_records() {
            out.push(DeviceOutput::Observed(Observation::RecordLost { record }));
        }
        let app = App::starting(why, now, run_id, build_id, outcome, confirmed);
        let silent = app.silent;
        self.power = Power::On(app);
        if !silent {
            self.restore(out);
            self.want_connection(now, out);
            self.work_on(now, out);
        }
    }

    /// Which version an image is, as far as it tells, and what it does on this device.
    pub(super) fn identify(&self, found: &Found<'_>) -> (Arc<FirmwareVersion>, BootOutcome) {
        match found {
            Found::Known(image) => (Arc::clone(&image.firmware), *image.boot.of(self.identity.number)),
            Found::Other(info) => {
                let version = Version::new(info.header.version.to_string()).expect("four numbers are at most 64 bytes");
                let slug = self.config.main.clone();
                (Arc::new(FirmwareVersion { slug, version }), BootOutcome::default())
            }
        }
    }

    /// The first OTA SUBACK of a connection has come.
    pub(super) fn on_online(&mut self, now: SimTime, out: &mut Outputs) {
        if let Power::On(app) = &mut self.power
            && app.confirms_online
        {
            app.fate = None;
            self.confirm(now);
        }
        self.work_on(now, out);
    }

    /// The application confirms its image: one write, unless that was done before.
    pub(super) fn confirm(&mut self, now: SimTime) {
        let Power::On(app) = &mut self.power else {
            return;
        };
        app.confirms_at = None;
        if !self.flash.primary.is_confirmed() && !std::mem::replace(&mut app.confirming, true) {
            self.flash.begin(Stretch::Confirm, now, &self.config.chip);
        }
    }

    /// The application wants to fall silent, and has nothing left to say before.
    pub(super) fn mute(&mut self, now: SimTime, out: &mut Outputs) {
        let confirmed = self.flash.primary.is_confirmed();
        if let Power::On(app) = &mut self.power {
            app.forget_muting();
            app.muting = true;
        }
        if !confirmed {
            self.confirm(now);
        } else if !self.has_report_to_come() {
            self.fall_silent(out);
        }
    }

    /// The confirmation is not in flash: it is written again soon, or an application that cannot be confirmed starts the old one.
    fn on_confirm_failed(&mut self, permanent: bool, now: SimTime, out: &mut Outputs) {
        if permanent {
            self.reset(BootReason::Software, now, out);
        } else if let Power::On(app) = &mut self.power {
            app.confirming = false;
            app.confirms_at = Some(now + STORAGE_RETRY_FIRST);
        }
    }

    /// A flash operation returned an error: what was to be done is not done.
    pub(super) fn on_flash_failed(&mut self, stretch: Stretch, permanent: bool, now: SimTime, out: &mut Outputs) {
        out.push(DeviceOutput::Observed(Observation::FlashFailed { permanent }));
        match (&self.power, stretch) {
            (Power::Off, _) => {}
            // MCUboot stops where it is, until the watchdog starts it anew.
            (Power::Boot { .. }, _) => self.reset(BootReason::Watchdog, now, out),
            (Power::On(_), Stretch::Confirm) => self.on_confirm_failed(permanent, now, out),
            (Power::On(_), stretch) => self.on_store_failed(stretch, permanent, now, out),
        }
    }

    /// The confirmation is in flash.
    pub(super) fn on_confirmed(&mut self, now: SimTime, out: &mut Outputs) {
        self.reconcile_confirmed();
        let counter = self
            .flash
            .primary
            .image(0, &self.behaviors)
            .map_or(0, |found| counter_of(&found));
        self.raise_floor(counter, false);
        self.work_on(now, out);
        let muting = matches!(&self.power, Power::On(app) if app.muting);
        if muting && !self.has_report_to_come() {
            self.fall_silent(out);
        }
    }

    /// A report was handed to MQTT.
    pub(super) fn on_published(&mut self, out: &mut Outputs) {
        if let Power::On(app) = &self.power
            && app.muting
            && self.flash.primary.is_confirmed()
        {
            self.fall_silent(out);
        }
    }
}
