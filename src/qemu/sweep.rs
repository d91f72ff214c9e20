//! A power cut at every page erase of an update, with real firmware: where each leaves the board.
//!
//! An uncut update tells how many erases there are and where the board ends. Then, for every erase and every way to tear it, a board of
//! its own is cut there, switched on again, and held to the same end: by itself once the swap was asked for, after another upload if
//! the cut came before.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use super::deadline::{Deadline, pause};
use super::flash::{Flash, FlashError};
use super::guest::{Cut, Guest, GuestError};
use super::machine::Qemu;
use super::smp::{SlotState, SmpError};

/// How long a board may take to come to rest after an update, trial included.
const SETTLE: Duration = Duration::from_secs(20);
/// Silence after which the bench does what a watchdog would.
const WATCHDOG: Duration = Duration::from_secs(3);
/// Pause between two looks at a board on trial.
const GLANCE: Duration = Duration::from_millis(50);
/// More erases than this are no update.
const ERASES_MAX: u32 = 10_000;

/// What is swept.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// How guests are started.
    pub qemu: Qemu,
    /// What stands at the start of flash.
    pub bootloader: Vec<u8>,
    /// The image that runs at first.
    pub image: Vec<u8>,
    /// The image that it is updated to.
    pub update: Vec<u8>,
    /// How each erase is torn: a board for each.
    pub tears: Vec<Tear>,
    /// Boards at once.
    pub parallel: usize,
    /// Picks the bits of half-erased pages.
    pub seed: u64,
}

/// The ways in which an erase is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tear {
    /// Power goes right before it.
    Before,
    /// In the middle.
    Middle,
    /// Right after it.
    After,
}

impl Tear {
    /// Every one.
    pub const ALL: [Tear; 3] = [Tear::Before, Tear::Middle, Tear::After];
}

/// What the board was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum During {
    /// The image was coming in.
    Upload,
    /// The bootloader exchanged the images.
    Swap,
    /// The new image had run, and the old one was put back.
    Revert,
}

impl During {
    /// As tables say it.
    pub const fn word(self) -> &'static str {
        match self {
            During::Upload => "upload",
            During::Swap => "swap",
            During::Revert => "revert",
        }
    }
}

/// Where a cut led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// To the same end as without a cut, by itself.
    Resumed,
    /// The old image ran, and another update led to the same end.
    BegunAgain,
    /// Elsewhere: how, and the flash after the cut.
    Broken {
        /// In words.
        how: String,
        /// What the board was switched on with.
        flash: Box<Flash>,
    },
}

/// One cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Which erase of the update, from one.
    pub erase: u32,
    /// How it was torn.
    pub tear: Tear,
    /// When it came.
    pub during: During,
    /// What became of the board.
    pub ended: Ended,
}

/// Why there was no sweep.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The firmware does not fit.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// Not even the uncut update works.
    #[error("the update does not work without a cut: {0}")]
    Uncut(String),
    /// The caller wanted it to stop.
    #[error("given up")]
    GivenUp,
}

/// An uncut update, as what all others are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    erases: u32,
    /// Digest of the image that runs in the end.
    end: Vec<u8>,
}

/// How far an update has come.
struct Progress(During);

impl Sweep {
    /// Sweeps; `tell` is told how many of how many cuts are done, `stop` ends it.
    pub fn run(&self, tell: &(dyn Fn(usize, usize) + Sync), stop: &AtomicBool) -> Result<Vec<Point>, SweepError> {
        let board = Flash::of(&self.bootloader, &self.image)?;
        let reference = self.uncut(&board)?;
        let cuts: Vec<(u32, Tear)> = (1..=reference.erases)
            .flat_map(|erase| self.tears.iter().map(move |tear| (erase, *tear)))
            .collect();
        let next = AtomicUsize::new(0);
        let points = Mutex::new(Vec::new());
        let work = || {
            while let Some(&(erase, tear)) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let point = self.point(&board, &reference, erase, tear);
                let mut points = points.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                points.push(point);
                tell(points.len(), cuts.len());
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.parallel.clamp(1, cuts.len().max(1)) {
                scope.spawn(work);
            }
        });
        if stop.load(Ordering::Acquire) {
            return Err(SweepError::GivenUp);
        }
        let mut points = points.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        points.sort_by_key(|point| (point.erase, point.tear));
        Ok(points)
    }

    fn uncut(&self, board: &Flash) -> Result<Reference, SweepError> {
        let failed = |error: GuestError| SweepError::Uncut(error.to_string());
        let mut guest = Guest::new(self.qemu.clone(), board.clone());
        guest.power_on(Some(ERASES_MAX)).map_err(failed)?;
        let mut progress = Progress(During::Upload);
        self.update(&mut guest, &mut progress).map_err(failed)?;
        let end = self.come_to_rest(&mut guest, &mut progress).map_err(failed)?;
        let erases = guest.erases().map_err(failed)?;
        Ok(Reference { erases, end })
    }

    fn point(&self, board: &Flash, reference: &Reference, erase: u32, tear: Tear) -> Point {
        let mut guest = Guest::new(self.qemu.clone(), board.clone());
        let mut progress = Progress(During::Upload);
        let cut = self.cut(&mut guest, &mut progress, erase, tear);
        let during = progress.0;
        let broken = |how: String, flash: Flash| Ended::Broken {
            how,
            flash: Box::new(flash),
        };
        let flash = guest.flash().clone();
        let ended = match cut {
            Err(error) => broken(format!("the cut did not come about: {error}"), flash),
            Ok(()) => match self.recover(&mut guest, during) {
                Ok((end, again)) if end == reference.end && again => Ended::BegunAgain,
                Ok((end, _)) if end == reference.end => Ended::Resumed,
                Ok(_) => broken("another image runs than without the cut".to_owned(), flash),
                Err(error) => broken(error.to_string(), flash),
            },
        };
        Point {
            erase,
            tear,
            during,
            ended,
        }
    }

    /// Updates a new board until the erase, and cuts it there.
    fn cut(&self, guest: &mut Guest, progress: &mut Progress, erase: u32, tear: Tear) -> Result<(), GuestError> {
        guest.power_on(Some(erase))?;
        let mut run = || {
            self.update(guest, progress)?;
            self.come_to_rest(guest, progress).map(drop)
        };
        let ran = run();
        if !guest.at_cut() {
            return Err(ran.err().unwrap_or(GuestError::Off));
        }
        guest.cut(match tear {
            Tear::Before => Cut::Before,
            Tear::Middle => Cut::Middle(self.seed.wrapping_add(u64::from(erase))),
            Tear::After => Cut::After,
        })
    }

    /// Switches a board on again, and leads it to an end; whether that took another update.
    fn recover(&self, guest: &mut Guest, during: During) -> Result<(Vec<u8>, bool), GuestError> {
        guest.power_on(None)?;
        let mut progress = Progress(During::Upload);
        let end = self.come_to_rest(guest, &mut progress)?;
        if during != During::Upload {
            return Ok((end, false));
        }
        self.update(guest, &mut progress)?;
        Ok((self.come_to_rest(guest, &mut progress)?, true))
    }

    /// Uploads, asks for a trial, resets.
    fn update(&self, guest: &mut Guest, progress: &mut Progress) -> Result<(), GuestError> {
        guest.wait_until_up()?;
        let (smp, patience) = guest.smp()?;
        smp.upload(&self.update, patience, &mut |_| {})?;
        let images = smp.images(patience)?;
        let uploaded = images.iter().find(|image| image.slot == 1);
        let hash = uploaded.map(|image| image.hash.clone()).ok_or_else(|| SmpError::Garbled {
            what: "no sound image stands in the secondary slot after the upload".to_owned(),
        })?;
        smp.test(&hash, patience)?;
        // The board may stand at an erase of the swap before its answer is read.
        progress.0 = During::Swap;
        smp.reset(patience)?;
        Ok(())
    }

    /// Waits until the image that runs stays, and says which one it is.
    fn come_to_rest(&self, guest: &mut Guest, progress: &mut Progress) -> Result<Vec<u8>, GuestError> {
        let until = Deadline::after(SETTLE);
        let mut watchdog = Deadline::after(WATCHDOG);
        loop {
            match self.running(guest) {
                Ok((running, pending)) => {
                    watchdog = Deadline::after(WATCHDOG);
                    if running.confirmed && !pending {
                        return Ok(running.hash);
                    }
                    if !running.confirmed && progress.0 == During::Swap {
                        progress.0 = During::Revert;
                    }
                }
                Err(GuestError::Firmware(SmpError::Silent | SmpError::Garbled { .. })) if !until.is_over() => {
                    if watchdog.is_over() {
                        guest.reset()?;
                        watchdog = Deadline::after(WATCHDOG);
                    }
                }
                Err(error) => return Err(error),
            }
            if until.is_over() {
                return Err(SmpError::Silent.into());
            }
            pause(GLANCE);
        }
    }

    fn running(&self, guest: &mut Guest) -> Result<(SlotState, bool), GuestError> {
        guest.nudge()?;
        let (smp, _) = guest.smp()?;
        let images = smp.images(Duration::from_millis(500))?;
        let pending = images.iter().any(|image| image.pending);
        let running = images.into_iter().find(|image| image.active);
        let none = || SmpError::Garbled {
            what: "no image is active".to_owned(),
        };
        Ok((running.ok_or_else(none)?, pending))
    }
}
