//! The terminal: taken over at the first picture, given back on every way out.

use std::io::{self, Stdout, Write as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyEvent};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use rustix::io::Errno;
use rustix::termios::tcgetattr;

use crate::play::Picture;

use super::{Screen, text_of};

/// Whether the terminal is ours at present. Whoever writes to it holds this, so that nothing is drawn behind a restored prompt.
static OURS: Mutex<bool> = Mutex::new(false);

/// What came from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A key.
    Key(KeyEvent),
    /// Its size has changed: draw again.
    Resized,
    /// Nothing that matters.
    Nothing,
    /// It is gone: nobody is at the keys, nobody reads.
    Gone,
}

/// The terminal while it shows a screen.
#[derive(Debug)]
pub struct Tty {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Tty {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When standard output or input is not a terminal that can be.
    pub fn open() -> io::Result<Tty> {
        take().inspect_err(|_| restore())?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| restore())?;
        Ok(Tty { terminal })
    }

    /// Draws a picture; gives the screen as text where it is wanted. Draws nothing once the terminal was given back.
    ///
    /// # Errors
    /// What the terminal says.
    pub fn draw(&mut self, screen: &mut Screen, picture: &Picture, wants_text: bool) -> io::Result<Option<String>> {
        let ours = ours();
        if !*ours {
            return Ok(None);
        }
        let drawn = self.terminal.draw(|frame| screen.draw(frame, picture))?;
        Ok(wants_text.then(|| text_of(drawn.buffer)))
    }

    /// What the terminal has to tell, if anything.
    ///
    /// # Errors
    /// What the terminal says.
    pub fn told(&self) -> io::Result<Option<Told>> {
        // Whoever reads from a terminal that is gone never comes back: the library below takes its end for more to come.
        if is_gone(io::stdout()) {
            return Ok(Some(Told::Gone));
        }
        match event::poll(Duration::ZERO)? {
            true => event::read().map(|event| Some(told(&event))),
            false => Ok(None),
        }
    }

    /// Takes the terminal over again after [`restore`], and draws everything anew.
    ///
    /// # Errors
    /// What the terminal says.
    pub fn reopen(&mut self) -> io::Result<()> {
        take()?;
        // Without a question to the terminal about its cursor, which not every one answers.
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }
}

fn told(event: &Event) -> Told {
    match event {
        Event::Key(key) => Told::Key(*key),
        Event::Resize(..) => Told::Resized,
        Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => Told::Nothing,
    }
}

/// Whether this is a terminal whose other end was closed.
pub fn is_gone(stream: impl AsFd) -> bool {
    matches!(tcgetattr(stream), Err(Errno::IO))
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was, if it is ours; may be called from any thread, at any time, more than once.
pub fn restore() {
    let mut ours = ours();
    if std::mem::replace(&mut *ours, false) {
        // Where the terminal is gone, nobody is left to tell.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
        let _ = io::stdout().flush();
    }
}

fn take() -> io::Result<()> {
    let mut ours = ours();
    enable_raw_mode()?;
    *ours = true;
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

fn ours() -> MutexGuard<'static, bool> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}
