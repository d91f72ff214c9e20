//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{Overlay, Pane, State};

/// Longest filter.
const FILTER_MAX: usize = 64;
/// Lines that a page key moves by.
const PAGE: usize = 10;

/// What only the player of the run can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// End the run, as Ctrl-C does.
    Stop,
    /// Give the terminal back to the shell until the job is continued.
    Suspend,
    /// Save what stands on the screen.
    Save,
    /// Stop the clock, or let it go on; with `--watch` alone.
    Pause,
    /// Show an earlier moment; with `--watch` alone.
    Back,
    /// Show a later moment; with `--watch` alone.
    Forward,
    /// Play at half the speed; with `--watch` alone.
    Slower,
    /// Play at twice the speed; with `--watch` alone.
    Faster,
}

pub(super) fn on_key(state: &mut State, key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    state.said = None;
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Wish::Stop),
            KeyCode::Char('z') => Some(Wish::Suspend),
            _ => None,
        };
    }
    match state.overlay.take() {
        Some(Overlay::Filter { before }) => type_filter(state, key, before),
        Some(Overlay::Story { device, top }) if !closes(key) => {
            let top = scroll_story(top, key, state.room.story);
            state.overlay = Some(Overlay::Story { device, top });
            anywhere(key)
        }
        Some(Overlay::Help | Overlay::Story { .. }) => {
            anywhere(key).filter(|wish| *wish == Wish::Stop && key.code != KeyCode::Char('q'))
        }
        None => on_panes(state, key),
    }
}

fn on_panes(state: &mut State, key: KeyEvent) -> Option<Wish> {
    match key.code {
        KeyCode::Tab => state.next_pane(false),
        KeyCode::BackTab => state.next_pane(true),
        KeyCode::Down | KeyCode::Char('j') => state.step(true, 1),
        KeyCode::Up | KeyCode::Char('k') => state.step(false, 1),
        KeyCode::PageDown => state.step(true, PAGE),
        KeyCode::PageUp => state.step(false, PAGE),
        KeyCode::Enter => state.open_story(),
        KeyCode::Esc => {
            state.filter.clear();
            state.pane = None;
            state.scroll = 0;
        }
        KeyCode::Char('/') => {
            let before = std::mem::take(&mut state.filter);
            state.overlay = Some(Overlay::Filter { before });
        }
        KeyCode::Char('c') => state.next_cohort(),
        KeyCode::Char('f') => state.choose(Pane::Faults),
        KeyCode::Char('r') => state.totals = !state.totals,
        KeyCode::Char('+' | '=') => state.scale(true),
        KeyCode::Char('-') => state.scale(false),
        KeyCode::Char('?' | 'h') => state.overlay = Some(Overlay::Help),
        _ => return anywhere(key),
    }
    None
}

/// Keys that mean the same whatever lies over the panes.
fn anywhere(key: KeyEvent) -> Option<Wish> {
    match key.code {
        KeyCode::Char('q') => Some(Wish::Stop),
        KeyCode::Char('s') => Some(Wish::Save),
        KeyCode::Char(' ') => Some(Wish::Pause),
        KeyCode::Left => Some(Wish::Back),
        KeyCode::Right => Some(Wish::Forward),
        KeyCode::Char('<') => Some(Wish::Slower),
        KeyCode::Char('>') => Some(Wish::Faster),
        _ => None,
    }
}

/// Keys that close a story.
fn closes(key: KeyEvent) -> bool {
    matches!(
        key.code,
        KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace | KeyCode::Char('q')
    )
}

fn type_filter(state: &mut State, key: KeyEvent, before: String) -> Option<Wish> {
    match key.code {
        KeyCode::Enter => return None,
        KeyCode::Esc => {
            state.filter = before;
            return None;
        }
        KeyCode::Backspace => {
            state.filter.pop();
        }
        KeyCode::Char(c) if state.filter.len() < FILTER_MAX && !c.is_control() => state.filter.push(c),
        _ => {}
    }
    state.overlay = Some(Overlay::Filter { before });
    None
}

/// A story follows its end until it is scrolled; the drawing keeps the number in bounds.
fn scroll_story(top: Option<usize>, key: KeyEvent, room: usize) -> Option<usize> {
    let page = room.saturating_sub(1).max(1);
    match key.code {
        KeyCode::Up | KeyCode::Char('k') => Some(top.unwrap_or(usize::MAX).saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => top.map(|top| top.saturating_add(1)),
        KeyCode::PageUp => Some(top.unwrap_or(usize::MAX).saturating_sub(page)),
        KeyCode::PageDown => top.map(|top| top.saturating_add(page)),
        KeyCode::Home => Some(0),
        KeyCode::End => None,
        _ => top,
    }
}
