//! The screen that a run is watched on: panes drawn from a [`Picture`], and keys that change what is looked at.
//!
//! The screen owns no numbers. What it wants to see goes out as an [`Ask`], pictures come in, wishes of the person at the keys
//! ([`Wish`]) go to whoever plays the run. [`Tty`] is the terminal: taken over once, given back on every way out.

mod input;
mod render;
mod state;
mod terminal;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyEvent;

use crate::play::{Ask, NoteLine, Picture};

pub use input::Wish;
pub use terminal::{Told, Tty, is_gone, restore};

use state::State;

/// How a run is watched; shown in the first line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Virtual seconds in a real one; `None` plays in real time.
    pub speed: Option<f64>,
    /// Nothing moves.
    pub paused: bool,
    /// How far in the past the picture is, in pictures; zero is the present.
    pub back: usize,
}

/// The screen.
#[derive(Debug)]
pub struct Screen {
    state: State,
}

impl Screen {
    /// A screen; `color` only decorates what glyphs say as well.
    pub fn new(color: bool) -> Screen {
        Screen {
            state: State::new(color),
        }
    }

    /// Sets what the first line says about the pace.
    pub fn set_pace(&mut self, pace: Pace) {
        self.state.pace = pace;
    }

    /// Says something in the last line until the next key, for example where a snapshot went.
    pub fn say(&mut self, text: String) {
        self.state.said = Some(text);
    }

    /// Takes a key; gives what only the player of the run can do.
    pub fn on_key(&mut self, key: KeyEvent) -> Option<Wish> {
        input::on_key(&mut self.state, key)
    }

    /// What the next picture should show.
    pub fn ask(&self) -> Ask {
        self.state.ask()
    }

    /// Draws a picture.
    pub fn draw(&mut self, frame: &mut Frame<'_>, picture: &Picture) {
        self.state.take(picture);
        render::draw(frame, &mut self.state, picture);
    }
}

/// A note of a run as one line: what `-v` tells.
pub fn note_line(note: &NoteLine) -> String {
    render::note_line(note)
}

/// What stands on a screen, as text.
pub fn text_of(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    buffer.content().chunks(width).map(line).collect()
}
