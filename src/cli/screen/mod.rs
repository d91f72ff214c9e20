//! The screen of `run` and `sim --watch`: the terminal, the keys, the signals that take the terminal away, snapshots on request.

mod live;
mod watch;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGQUIT, SIGTSTP};

use crate::dashboard::{Screen, Told, Tty, Wish, is_gone, restore};
use crate::live::defect_on_order;
use crate::play::Picture;

use super::OutputFlags;

pub(super) use live::{LiveScreen, open};
pub(super) use watch::{Speed, watched};

/// Whether a screen can be shown at all: standard output is a terminal that can do more than lines, and nobody asked for silence.
pub(super) fn is_possible(output: &OutputFlags) -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stdout().is_terminal() && !dumb && !output.quiet && !output.json
}

/// How long a key may wait.
const LOOKED_EVERY: Duration = Duration::from_millis(20);
/// How often a suspended screen looks whether it goes on.
const RESUMED_EVERY: Duration = Duration::from_millis(10);

/// A shown screen.
struct Show {
    tty: Tty,
    screen: Screen,
    signals: Signals,
    /// The terminal is gone, or its person: the run is ending.
    left: bool,
    /// Where snapshots go, and how many there are.
    folder: PathBuf,
    saved: u32,
}

/// Signals that came; each is looked at once.
struct Signals {
    suspend: Arc<AtomicBool>,
    resumed: Arc<AtomicBool>,
    hang_up: Arc<AtomicBool>,
    quit: Arc<AtomicBool>,
}

impl Show {
    /// Takes the terminal over.
    fn open(folder: PathBuf, color: bool) -> io::Result<Show> {
        Ok(Show {
            signals: Signals::listen()?,
            tty: Tty::open()?,
            screen: Screen::new(color),
            left: false,
            folder,
            saved: 0,
        })
    }

    fn draw(&mut self, picture: &Picture) -> io::Result<()> {
        let drawn = self.tty.draw(&mut self.screen, picture, false);
        // A terminal may go between a look at it and the next picture.
        if drawn.is_err() && is_gone(io::stdout()) {
            self.hang_up();
            return Ok(());
        }
        drawn?;
        defect_on_order("screen", picture.at);
        Ok(())
    }

    /// Attends to keys and signals for as long as `wait`, and draws `picture` again after each; gives the first wish that is not the
    /// screen's own to fulfil.
    fn attend(&mut self, picture: &Picture, wait: Duration) -> io::Result<Option<Wish>> {
        if Signals::came(&self.signals.hang_up) {
            self.hang_up();
        }
        if self.left {
            std::thread::park_timeout(wait);
            return Ok(None);
        }
        self.heed_signals(picture)?;
        let Some(told) = self.await_told(wait)? else {
            return Ok(None);
        };
        let wish = match told {
            Told::Key(key) => self.screen.on_key(key),
            Told::Resized | Told::Nothing => None,
            Told::Gone => {
                self.hang_up();
                return Ok(None);
            }
        };
        match wish {
            Some(Wish::Suspend) => self.suspend(picture)?,
            Some(Wish::Save) => self.save(picture)?,
            Some(_) => return Ok(wish),
            None => self.draw(picture)?,
        }
        Ok(None)
    }

    fn heed_signals(&mut self, picture: &Picture) -> io::Result<()> {
        if Signals::came(&self.signals.suspend) {
            self.suspend(picture)?;
        }
        if Signals::came(&self.signals.resumed) {
            self.tty.reopen()?;
            self.draw(picture)?;
        }
        if Signals::came(&self.signals.quit) {
            restore();
            signal_hook::low_level::emulate_default_handler(SIGQUIT)?;
        }
        Ok(())
    }

    /// Waits at most this long for the terminal to tell something.
    fn await_told(&self, wait: Duration) -> io::Result<Option<Told>> {
        let mut left = wait;
        loop {
            let told = self.tty.told()?;
            if told.is_some() || left.is_zero() {
                return Ok(told);
            }
            let nap = left.min(LOOKED_EVERY);
            std::thread::park_timeout(nap);
            left -= nap;
        }
    }

    /// Ends the run in good order: nobody watches any more. A second signal would end it at once.
    fn hang_up(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            restore();
            forget_gone();
            raise(Signal::TERM);
        }
    }

    /// Gives the terminal to the shell and stops; goes on from here when the job is continued.
    fn suspend(&mut self, picture: &Picture) -> io::Result<()> {
        restore();
        raise(Signal::STOP);
        // Other threads may be stopped first: nothing is drawn before the process is continued.
        while !Signals::came(&self.signals.resumed) {
            std::thread::park_timeout(RESUMED_EVERY);
        }
        // Whoever closes a terminal continues what was stopped in it.
        if is_gone(io::stdout()) {
            self.hang_up();
            return Ok(());
        }
        self.tty.reopen()?;
        self.draw(picture)
    }

    /// Writes what stands on the screen into the run's folder.
    fn save(&mut self, picture: &Picture) -> io::Result<()> {
        let Some(text) = self.tty.draw(&mut self.screen, picture, true)? else {
            return Ok(());
        };
        self.saved += 1;
        let path = self.folder.join(format!("screen-{}.txt", self.saved));
        self.screen.say(match std::fs::write(&path, text) {
            Ok(()) => format!("saved {}", path.display()),
            Err(error) => format!("{} cannot be written: {error}", path.display()),
        });
        self.draw(picture)
    }
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let flag = |signal| {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&flag)).map(|_| flag)
        };
        Ok(Signals {
            suspend: flag(SIGTSTP)?,
            resumed: flag(SIGCONT)?,
            hang_up: flag(SIGHUP)?,
            quit: flag(SIGQUIT)?,
        })
    }

    fn came(flag: &AtomicBool) -> bool {
        flag.swap(false, Ordering::Relaxed)
    }
}

/// Lets what is written to a terminal that is gone go nowhere, so that the end of a run comes about without a reader.
fn forget_gone() {
    let Ok(nowhere) = File::options().write(true).open("/dev/null") else {
        return;
    };
    // Where this fails, the end of the run says so in its own way.
    if is_gone(io::stdout()) {
        let _ = dup2_stdout(&nowhere);
    }
    if is_gone(io::stderr()) {
        let _ = dup2_stderr(&nowhere);
    }
}

/// Sends this process a signal.
fn raise(signal: Signal) {
    // A process may always signal itself.
    let _ = kill_process(getpid(), signal);
}
