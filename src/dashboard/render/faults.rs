//! Faults: what was planned, what came of it, and in which phases.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::{Share, show_count};
use crate::play::{FaultLine, Picture};

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

/// Below this, missed ones are left out.
const NARROW: usize = 46;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, picture: &Picture) {
    if area.height == 0 {
        return;
    }
    let inner = framed(frame, area, state, Pane::Faults, "Faults");
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    if picture.faults.is_empty() {
        return lines(frame, inner, vec![Line::from("the scenario has none")]);
    }
    let narrow = width < NARROW;
    let widths: [usize; 4] = if narrow { [8, 6, 0, 5] } else { [10, 8, 8, 8] };
    let words = width.saturating_sub(widths.iter().sum());
    let name = words * 2 / 5;
    let numbers = |columns: [String; 4]| -> String {
        columns
            .iter()
            .zip(widths)
            .map(|(column, width)| text::right(column, width))
            .collect()
    };
    let heading = text::left("", name) + &text::left("inject", words - name);
    let heading = heading + &numbers(["planned", "done", "missed", "now"].map(str::to_owned));
    let mut shown = vec![Line::from(Span::styled(heading, state.style(Tint::Quiet)))];
    let room = height.saturating_sub(2).max(1);
    let first = state.scrolled(Pane::Faults).min(picture.faults.len().saturating_sub(room));
    for fault in picture.faults.iter().skip(first).take(room) {
        // What strikes by chance misses nothing, and holds nobody: it is on, or it is not.
        let (planned, missed, now) = match fault.planned {
            Some(planned) => (show_count(planned), show_count(fault.missed), show_count(fault.now)),
            None => {
                let now = if fault.now > 0 { "on" } else { "-" };
                (chance(fault), "-".to_owned(), now.to_owned())
            }
        };
        let columns = [planned, show_count(fault.done), missed, now];
        let line = text::left(&fault.name, name.saturating_sub(1)) + " " + &text::left(&fault.kind, words - name);
        shown.push(Line::from(line + &numbers(columns)));
    }
    if let Some(phases) = struck(&picture.faults, width) {
        shown.push(Line::from(phases));
    }
    lines(frame, inner, shown);
}

/// What is planned of a fault that strikes single messages, requests or operations.
fn chance(fault: &FaultLine) -> String {
    match fault.chance {
        Some(share) if share < Share::WHOLE => share.to_string(),
        Some(_) | None => "each".to_owned(),
    }
}

/// Phases that faults struck in, the most struck first, as many as `room` has.
fn struck(faults: &[FaultLine], room: usize) -> Option<String> {
    let mut phases: Vec<(&str, u64)> = Vec::new();
    for &(phase, count) in faults.iter().flat_map(|fault| &fault.phases) {
        match phases.iter_mut().find(|(word, _)| *word == phase.word()) {
            Some((_, sum)) => *sum += count,
            None => phases.push((phase.word(), count)),
        }
    }
    phases.sort_by_key(|(word, count)| (u64::MAX - count, *word));
    let mut words = phases.iter().map(|(word, count)| format!("{word} {}", show_count(*count)));
    let mut struck = format!("struck in {}", words.next()?);
    for word in words {
        if text::width(&struck) + 2 + text::width(&word) > room {
            break;
        }
        struck = format!("{struck}, {word}");
    }
    Some(text::fit(&struck, room))
}
