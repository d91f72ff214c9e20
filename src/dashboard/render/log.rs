//! What happened that a person wants to read, the last below.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::measure::Noted;
use crate::model::Phase;
use crate::play::{NoteLine, Picture, came_word};
use crate::story::{breaking, failing};

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State, picture: &Picture) {
    if area.height == 0 {
        return;
    }
    let inner = framed(frame, area, state, Pane::Log, "Log");
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    state.room.notes = height;
    let scrolled = state.scrolled(Pane::Log).min(picture.notes.len().saturating_sub(height));
    let picked: Vec<_> = picture.notes.iter().skip(scrolled).take(height).collect();
    let longest = picked.iter().map(|note| text::width(&note.device)).max().unwrap_or(0);
    let device = longest.clamp(0, width / 4);
    let shown = picked
        .into_iter()
        .rev()
        .map(|note| line(note, device, width, state))
        .collect();
    lines(frame, inner, shown);
}

fn line(note: &NoteLine, device: usize, width: usize, state: &State) -> Line<'static> {
    let (what, why, tint) = said(&note.what);
    let head = format!(
        "{}  {}",
        text::right(&text::stamp(note.at), 7),
        text::left(&note.device, device)
    );
    let gap = if device == 0 { "" } else { "  " };
    let room = width.saturating_sub(text::width(&head) + gap.len());
    let body = match why.is_empty() {
        true => what,
        false => format!("{}  {why}", text::left(&what, 26.min(room))),
    };
    Line::from(vec![
        Span::raw(head + gap),
        Span::styled(text::fit(&body, room), state.style(tint)),
    ])
}

/// A note as one line without a screen.
pub(in crate::dashboard) fn told(note: &NoteLine) -> String {
    let (what, why, _) = said(&note.what);
    let parts = [text::stamp(note.at), note.device.clone(), what, why];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    text::clean(&parts.collect::<Vec<_>>().join("  "))
}

/// What happened, why, and how bad it is.
fn said(what: &Noted) -> (String, String, Tint) {
    match what {
        Noted::Transition(transition, reason) => {
            let why = reason.map_or_else(|| transition.cause.word().to_owned(), failing);
            let tint = match transition.to {
                Phase::Failed | Phase::Rejected | Phase::Reverting => Tint::Bad,
                Phase::Idle
                | Phase::Waiting
                | Phase::Accepted
                | Phase::Installing
                | Phase::Downloading
                | Phase::Retrying
                | Phase::Staged
                | Phase::Committing
                | Phase::Swapping
                | Phase::Probation
                | Phase::Succeeded
                | Phase::Cancelled => Tint::Plain,
            };
            let normal = why == "normal";
            let why = if normal { String::new() } else { why };
            (format!("{} -> {}", transition.from, transition.to), why, tint)
        }
        Noted::Retry(reason, received) => {
            let why = format!("{}, {} B had come", breaking(*reason), crate::model::show_count(*received));
            ("download interrupted".to_owned(), why, Tint::Open)
        }
        Noted::RolledBack => ("rolled back".to_owned(), "the old image is back".to_owned(), Tint::Bad),
        Noted::Unbootable => ("no image boots".to_owned(), "the bootloader gave up".to_owned(), Tint::Bad),
        Noted::Fault(name, came) => (format!("fault `{name}`"), came_word(*came).to_owned(), Tint::Open),
        Noted::Run(text) => (text.clone(), String::new(), Tint::Strong),
    }
}
