//! The gateway of a guest: carries out what a device asks of its board, by SMP on the serial line, and tells what the board says.
//!
//! Each board has a thread of its own, its keeper, because everything about a guest blocks. Orders go to it and are carried out one
//! after the other; news comes back to the device's station. The keeper plays what a bench has and the firmware has not: the power
//! switch, the watchdog, and somebody who looks at the image list every now and then.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::device::{BoardFlash, BoardNews, BoardOrder, Slots};
use crate::faults::Moment;
use crate::luck::{Luck, Purpose};
use crate::model::{BootReason, Digest};
use crate::qemu::{BOOTLOADER, Cut, Flash, Guest, GuestError, Hurry, Qemu, QemuError, SlotState, SmpError, Standing};
use crate::scenario::{BenchPlan, Plan};

use super::clock::Stopwatch;

/// Between two looks at a board that starts.
const STARTING: Duration = Duration::from_millis(5);
/// Between two looks at an image that is on trial.
const ON_TRIAL: Duration = Duration::from_millis(100);
/// Between two looks at a board that has nothing to do.
const AT_REST: Duration = Duration::from_secs(1);
/// How long a board may take to answer a look.
const ANSWER: Duration = Duration::from_millis(400);
/// Bytes of a disturbance on the serial line.
const DISTURBANCE: usize = 48;

/// Why there are no boards.
#[derive(Debug, thiserror::Error)]
pub enum NoBoards {
    /// No machine to run them on.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// The firmware does not fit.
    #[error("fleet `{fleet}` cannot be put on boards: {problem}")]
    Flash {
        /// Which fleet.
        fleet: String,
        /// Why.
        problem: crate::qemu::FlashError,
    },
}

/// Whether the boards of a plan can be started here; a plan without any needs nothing.
///
/// # Errors
/// QEMU is missing or too old, or firmware does not fit a board.
pub fn find_boards(plan: &Plan) -> Result<(), NoBoards> {
    let Some(bench) = &plan.bench else { return Ok(()) };
    found(bench)?;
    for fleet in plan.fleets.iter().filter(|fleet| fleet.on_boards) {
        flash(bench, &fleet.image).map_err(|problem| NoBoards::Flash {
            fleet: fleet.name.clone(),
            problem,
        })?;
    }
    Ok(())
}

/// The QEMU of a bench, as it is here.
fn found(bench: &BenchPlan) -> Result<Qemu, QemuError> {
    let wanted = Qemu {
        binary: bench.binary.clone(),
        machine: bench.machine.clone(),
        boot_timeout: bench.boot_timeout,
        ..Qemu::default()
    };
    wanted.found()
}

fn flash(bench: &BenchPlan, image: &[u8]) -> Result<Flash, crate::qemu::FlashError> {
    Flash::of(bench.bootloader.as_deref().unwrap_or(BOOTLOADER), image)
}

/// What the boards of a run share.
#[derive(Debug)]
pub(crate) struct Bench {
    plan: BenchPlan,
    qemu: Qemu,
    luck: Luck,
    /// Erases are counted: a fault wants to strike at one.
    counts_erases: bool,
    starting: Mutex<u32>,
    started: Condvar,
}

impl Bench {
    /// The bench of a plan, if it has one.
    pub fn of(plan: &Plan) -> Result<Option<Arc<Bench>>, QemuError> {
        let Some(bench) = &plan.bench else { return Ok(None) };
        Ok(Some(Arc::new(Bench {
            plan: bench.clone(),
            qemu: found(bench)?,
            luck: plan.luck(),
            counts_erases: plan
                .faults
                .iter()
                .any(|fault| matches!(fault.at, Moment::Flash { erase: true, .. })),
            starting: Mutex::default(),
            started: Condvar::default(),
        })))
    }

    /// Starts a guest, as soon as few enough others are starting.
    fn start(&self, guest: &mut Guest, cut_at: Option<u32>) -> Result<(), GuestError> {
        let few = |starting: &mut u32| *starting >= self.plan.parallel;
        let mut starting = self
            .started
            .wait_while(self.starting(), few)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *starting += 1;
        drop(starting);
        let started = guest.power_on(cut_at);
        *self.starting() -= 1;
        self.started.notify_one();
        started
    }

    fn starting(&self) -> MutexGuard<'_, u32> {
        self.starting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A board, as its station sees it. It is switched off for good when this goes.
#[derive(Debug)]
pub(crate) struct Board {
    tasks: Sender<Task>,
    words: UnboundedReceiver<Word>,
    hurry: Hurry,
    held: bool,
}

#[derive(Debug)]
enum Task {
    Order(BoardOrder),
    /// The processor stands still, or goes on.
    Hold(bool),
}

/// What a keeper says.
#[derive(Debug)]
pub(crate) enum Word {
    /// To the device.
    News(BoardNews),
    /// The bench itself is broken: a row for the report's errors.
    Broken(String),
}

impl Board {
    /// A board without power, with `image` in its primary slot; `key` is the key under which it draws.
    pub fn new(bench: Arc<Bench>, image: &[u8], key: u64) -> io::Result<Board> {
        let flash = flash(&bench.plan, image).map_err(io::Error::other)?;
        let guest = Guest::new(bench.qemu.clone(), flash);
        let hurry = guest.hurry();
        let ((tasks, asked), (told, words)) = (mpsc::channel(), unbounded_channel());
        let keeper = Keeper {
            bench,
            guest,
            told,
            key,
            state: State::Off,
            expected_resets: 0,
            erases_before: 0,
            cut_at: None,
            cuts: 0,
            held: false,
        };
        std::thread::Builder::new()
            .name("board".to_owned())
            .spawn(move || keeper.keep(&asked))?;
        Ok(Board {
            tasks,
            words,
            hurry,
            held: false,
        })
    }

    /// Gives an order.
    pub fn order(&self, order: BoardOrder) {
        if order == BoardOrder::Halt {
            self.hurry.begin();
        }
        // A keeper that has ended has said why.
        let _ = self.tasks.send(Task::Order(order));
    }

    /// The processor is not scheduled, or is again.
    pub fn hold(&mut self, held: bool) {
        if std::mem::replace(&mut self.held, held) != held {
            let _ = self.tasks.send(Task::Hold(held));
        }
    }

    /// The next word of the keeper.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Option<Word> {
        match self.words.poll_recv(cx) {
            Poll::Ready(word) => word,
            Poll::Pending => None,
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.hurry.begin();
    }
}

/// Who keeps a board.
#[derive(Debug)]
struct Keeper {
    bench: Arc<Bench>,
    guest: Guest,
    told: UnboundedSender<Word>,
    key: u64,
    state: State,
    /// Resets that the firmware was asked for since power came.
    expected_resets: u32,
    /// Page erases before power came last.
    erases_before: u32,
    /// Power is to fail at the erase that follows this many.
    cut_at: Option<u32>,
    /// Erases that were cut: the ordinal of a draw.
    cuts: u32,
    held: bool,
}

#[derive(Debug)]
enum State {
    Off,
    /// It has been started, and has not answered since.
    Starting {
        silent: Stopwatch,
    },
    /// It answers; when it last did, which image runs, and whether it stays.
    Up {
        silent: Stopwatch,
        digest: Digest,
        confirmed: bool,
    },
}

impl Keeper {
    /// Carries out what is asked and looks at the board in between, until nobody asks any more.
    fn keep(mut self, tasks: &Receiver<Task>) {
        loop {
            let done = match tasks.recv_timeout(self.rest()) {
                Ok(Task::Order(order)) => self.carry_out(order),
                Ok(Task::Hold(held)) => self.hold(held),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // What goes wrong with a board is seen by looking at it: it stands where power is to be cut, or has reset itself.
            let done = done.or_else(|error| match self.excuses(&error) {
                true => self.look(),
                false => Err(error),
            });
            if let Err(error) = done
                && !self.excuses(&error)
            {
                self.say(Word::Broken(format!("board: {error}")));
                self.state = State::Off;
            }
        }
    }

    /// How long nothing is to be seen.
    fn rest(&self) -> Duration {
        match &self.state {
            State::Off => Duration::from_secs(3600),
            State::Starting { .. } => STARTING,
            State::Up { confirmed: false, .. } => ON_TRIAL,
            State::Up { confirmed: true, .. } => AT_REST,
        }
    }

    /// Whether a look at the board explains it.
    fn excuses(&self, error: &GuestError) -> bool {
        match error {
            GuestError::Firmware(SmpError::GivenUp | SmpError::Silent | SmpError::Garbled { .. } | SmpError::Refused { .. }) => {
                true
            }
            GuestError::Off | GuestError::Machine(QemuError::Gone { .. }) | GuestError::Firmware(SmpError::Line(_)) => {
                !matches!(self.state, State::Off)
            }
            GuestError::Machine(QemuError::Missing { .. } | QemuError::TooOld { .. } | QemuError::NotStarted { .. }) => false,
        }
    }

    fn carry_out(&mut self, order: BoardOrder) -> Result<(), GuestError> {
        match order {
            BoardOrder::PowerOn | BoardOrder::Release => self.start(),
            BoardOrder::Halt => {
                self.guest.hurry().end();
                self.halt()
            }
            BoardOrder::CutAtErase(number) => {
                self.cut_at = number;
                match self.state {
                    State::Off => Ok(()),
                    State::Starting { .. } | State::Up { .. } => self.guest.cut_at(self.next_cut()),
                }
            }
            BoardOrder::Disturb(draw) => {
                let (smp, _) = self.guest.smp()?;
                Ok(smp.disturb(&noise(draw))?)
            }
            BoardOrder::Upload { offset, total, bytes } => self.asked(|keeper| {
                let patience = keeper.bench.plan.boot_timeout;
                let (smp, _) = keeper.guest.smp()?;
                Ok(smp.upload_part(offset as usize, total as usize, &bytes, patience, &mut |_| {})?)
            }),
            BoardOrder::Test => self.asked(Keeper::test),
            BoardOrder::Confirm => self.asked(|keeper| {
                let patience = keeper.bench.plan.boot_timeout;
                Ok(keeper.guest.smp()?.0.confirm(patience)?)
            }),
            BoardOrder::Reset => self.reset(),
        }
    }

    fn start(&mut self) -> Result<(), GuestError> {
        let counted = self.bench.counts_erases.then(|| self.next_cut());
        self.expected_resets = 0;
        self.state = State::Starting {
            silent: Stopwatch::start(),
        };
        let bench = Arc::clone(&self.bench);
        bench.start(&mut self.guest, counted)
    }

    /// The erase to be cut at, counted from when power came; zero is none.
    fn next_cut(&self) -> u32 {
        let next = self
            .cut_at
            .map(|done| done.saturating_add(1).saturating_sub(self.erases_before));
        next.map_or(0, |number| number.max(1))
    }

    fn halt(&mut self) -> Result<(), GuestError> {
        if matches!(self.state, State::Off) {
            return Ok(());
        }
        self.state = State::Off;
        self.erases_before += self.guest.erases_seen();
        if self.guest.is_on() {
            self.guest.power_off()?;
        }
        self.tell_erases(self.erases_before);
        self.tell(BoardNews::Kept(of(self.guest.flash())));
        Ok(())
    }

    /// Asks the firmware for something that it may refuse. What comes between (a reset, a cut) is told by the next look.
    fn asked(&mut self, what: impl FnOnce(&mut Keeper) -> Result<(), GuestError>) -> Result<(), GuestError> {
        if !matches!(self.state, State::Up { .. }) {
            return Ok(());
        }
        match what(self) {
            Ok(()) => {
                self.answered();
                self.tell_erases(self.erases_before + self.guest.erases_seen());
                self.tell(BoardNews::Done);
                Ok(())
            }
            Err(GuestError::Firmware(SmpError::Refused { .. })) => {
                self.tell(BoardNews::Refused);
                Ok(())
            }
            Err(GuestError::Firmware(SmpError::Silent)) if !self.guest.at_cut() => self.bite(),
            Err(GuestError::Firmware(SmpError::Garbled { .. })) => {
                self.look()?;
                if matches!(self.state, State::Up { .. }) {
                    self.tell(BoardNews::Refused);
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Marks the image in the secondary slot for a trial, if the firmware finds one there.
    fn test(&mut self) -> Result<(), GuestError> {
        let patience = self.bench.plan.boot_timeout;
        let (smp, _) = self.guest.smp()?;
        let images = smp.images(patience)?;
        let uploaded = images.into_iter().find(|image| image.slot == 1);
        let hash = uploaded.ok_or(SmpError::Refused { code: 5 })?.hash;
        Ok(smp.test(&hash, patience)?)
    }

    fn reset(&mut self) -> Result<(), GuestError> {
        let patience = self.bench.plan.boot_timeout;
        if matches!(self.state, State::Off) {
            return Ok(());
        }
        self.state = State::Starting {
            silent: Stopwatch::start(),
        };
        self.expected_resets += 1;
        match self.guest.smp()?.0.reset(patience) {
            Err(SmpError::Silent) if !self.guest.at_cut() => {
                self.expected_resets -= 1;
                self.guest.reset()
            }
            answered => Ok(answered?),
        }
    }

    fn hold(&mut self, held: bool) -> Result<(), GuestError> {
        self.held = held;
        match self.state {
            State::Off => Ok(()),
            State::Starting { .. } | State::Up { .. } if held => self.guest.halt(),
            State::Starting { .. } | State::Up { .. } => {
                self.answered();
                self.guest.go_on()
            }
        }
    }

    /// Looks at the board.
    fn look(&mut self) -> Result<(), GuestError> {
        if self.held || matches!(self.state, State::Off) {
            return Ok(());
        }
        if self.guest.at_cut() {
            self.guest.nudge()?;
            self.notice_reset();
            return self.cut();
        }
        let (seen, outlives) = (self.guest.erases_seen(), self.guest.flash_outlives());
        if !self.guest.is_on() {
            // A fault in a fault handler ends the process: a board that loses its power. Where its flash went with it, nothing was erased.
            self.erases_before += if outlives { seen } else { 0 };
            let flash = of(self.guest.flash());
            self.start()?;
            self.restarted(BootReason::PowerOn, flash);
            return Ok(());
        }
        self.guest.nudge()?;
        self.notice_reset();
        match self.guest.smp()?.0.images(ANSWER) {
            Ok(images) => self.see(&images),
            Err(SmpError::Silent | SmpError::Garbled { .. }) if self.is_silent() && !self.guest.at_cut() => return self.bite(),
            Err(SmpError::Silent | SmpError::Garbled { .. } | SmpError::GivenUp) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The firmware has reset the board by itself: what runs next is told when it answers.
    fn notice_reset(&mut self) {
        let resets = self.guest.resets_seen();
        if resets > self.expected_resets {
            self.expected_resets = resets;
            self.restarted(BootReason::Crash, BoardFlash::Moving);
        }
    }

    /// The image list of a board that answers.
    fn see(&mut self, images: &[SlotState]) {
        let Some(active) = images.iter().find(|image| image.active) else {
            return;
        };
        let confirmed = active.confirmed;
        let digest = Digest(<[u8; 32]>::try_from(active.hash.as_slice()).unwrap_or_default());
        if matches!(self.state, State::Up { digest: before, .. } if before != digest) {
            // It has reset itself since the monitor was asked.
            self.expected_resets += 1;
            self.restarted(BootReason::Crash, BoardFlash::Moving);
        }
        let now = State::Up {
            silent: Stopwatch::start(),
            digest,
            confirmed,
        };
        match std::mem::replace(&mut self.state, now) {
            State::Starting { .. } | State::Off => {
                self.tell_erases(self.erases_before + self.guest.erases_seen());
                self.tell(BoardNews::Up(Slots {
                    digest,
                    version: active.version.clone(),
                    confirmed,
                    pending: images.iter().any(|image| image.pending),
                }));
            }
            State::Up { confirmed: false, .. } if confirmed => self.tell(BoardNews::Confirmed),
            State::Up { .. } => {}
        }
    }

    fn answered(&mut self) {
        match &mut self.state {
            State::Starting { silent } | State::Up { silent, .. } => *silent = Stopwatch::start(),
            State::Off => {}
        }
    }

    fn is_silent(&self) -> bool {
        match &self.state {
            State::Starting { silent } | State::Up { silent, .. } => silent.elapsed() >= self.bench.plan.boot_timeout,
            State::Off => false,
        }
    }

    /// The watchdog of the bench.
    fn bite(&mut self) -> Result<(), GuestError> {
        let flash = self.guest.bite()?;
        self.restarted(BootReason::Watchdog, of(&flash));
        Ok(())
    }

    fn restarted(&mut self, why: BootReason, flash: BoardFlash) {
        self.state = State::Starting {
            silent: Stopwatch::start(),
        };
        self.tell(BoardNews::Restarted { why, flash });
    }

    /// The processor stands before the erase at which power fails; how the erase is torn is drawn.
    fn cut(&mut self) -> Result<(), GuestError> {
        let (luck, ordinal) = (self.bench.luck, u64::from(self.cuts));
        self.cuts += 1;
        let cut = match luck.below(Purpose::TornOperation, self.key, ordinal, 3) {
            0 => Cut::Before,
            1 => Cut::Middle(luck.draw(Purpose::TornBits, self.key, ordinal)),
            _ => Cut::After,
        };
        let done = self.guest.erases_seen() - u32::from(cut != Cut::After);
        self.state = State::Off;
        self.cut_at = None;
        self.erases_before += done;
        self.guest.cut(cut)?;
        self.tell_erases(self.erases_before);
        self.tell(BoardNews::PowerFailed(of(self.guest.flash())));
        Ok(())
    }

    fn tell_erases(&self, erases: u32) {
        if self.bench.counts_erases {
            self.tell(BoardNews::Erased(erases));
        }
    }

    fn tell(&self, news: BoardNews) {
        self.say(Word::News(news));
    }

    fn say(&self, word: Word) {
        // Nobody listens once the run is over.
        let _ = self.told.send(word);
    }
}

/// What a flash that can be looked at says.
fn of(flash: &Flash) -> BoardFlash {
    match (flash.standing(), flash.digest().map(Digest)) {
        (Standing::OnTrial, Some(digest)) => BoardFlash::OnTrial(digest),
        (Standing::Settled, Some(digest)) => BoardFlash::Settled(digest),
        (Standing::Moving, _) | (_, None) => BoardFlash::Moving,
    }
}

/// Bytes that mean nothing.
fn noise(mut draw: u64) -> [u8; DISTURBANCE] {
    let mut bytes = [0; DISTURBANCE];
    for byte in &mut bytes {
        // A multiplicative congruence is noise enough for a serial line.
        draw = draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *byte = (draw >> 56) as u8;
    }
    bytes
}
