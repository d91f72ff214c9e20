//! What lies over the panes: the keys, and one device's story.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Wrap};

use crate::play::{Life, Picture};
use crate::story::{Moment, Story};

use super::super::state::{Overlay, State};
use super::{devices, text};

/// What each does fits the smallest screen; `docs/dashboard.md` says more.
const KEYS: [(&str, &str); 17] = [
    ("q, Ctrl-C", "end the run; every file is written"),
    ("Tab, Shift-Tab", "choose a pane; a small screen shows it"),
    ("↑ ↓ PgUp PgDn", "choose a device, or scroll the pane"),
    ("Enter", "the device's story so far; Esc closes it"),
    ("/", "show by id, or by cohort or phase"),
    ("c", "one cohort after the other, then all"),
    ("f", "choose the faults"),
    ("r", "rates, or totals since the start"),
    ("+ -", "seconds in a bar of throughput"),
    ("s", "save this screen in the run's folder"),
    ("Esc", "no filter, no chosen pane"),
    ("Ctrl-Z", "back to the shell; fg continues"),
    ("space", "stop the clock, or start (sim --watch)"),
    ("← →", "earlier, later pictures (sim --watch)"),
    ("< >", "half or twice the speed (sim --watch)"),
    ("█ ▒ × ·", "succeeded, open, failed, not reached"),
    ("?", "this"),
];

pub(super) fn help(frame: &mut Frame<'_>, area: Rect, _state: &State) {
    let inner = over(frame, area, "Keys");
    let room = usize::from(inner.width).saturating_sub(17);
    let lines = KEYS.map(|(key, does)| Line::from(format!("{} {}", text::left(key, 16), text::fit(does, room))));
    frame.render_widget(Paragraph::new(lines.to_vec()), inner);
}

pub(super) fn story(frame: &mut Frame<'_>, area: Rect, state: &mut State, picture: &Picture) {
    let Some(Overlay::Story { device, top }) = state.overlay.clone() else {
        return;
    };
    let life = picture.life.as_ref().filter(|life| life.device.index == device);
    let title = life.map_or_else(|| "Story".to_owned(), |life| format!("Story of {}", life.device.id));
    let inner = over(frame, area, &title);
    let Some(life) = life else {
        return;
    };
    let width = usize::from(inner.width);
    let facts = wrapped(&facts(life), width, 0);
    let told: Vec<String> = told(life, picture)
        .iter()
        .flat_map(|line| wrapped(line, width, INDENT))
        .collect();
    let room = usize::from(inner.height).saturating_sub(facts.len() + 1);
    state.room.story = room;
    let last = told.len().saturating_sub(room);
    let top = top.map(|top| top.min(last)).filter(|top| *top < last || last == 0);
    state.overlay = Some(Overlay::Story { device, top });
    let mut lines: Vec<_> = facts.into_iter().map(Line::from).collect();
    lines.push(Line::default());
    lines.extend(told.into_iter().skip(top.unwrap_or(last)).take(room).map(Line::from));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), inner);
}

fn facts(life: &Life) -> String {
    let device = &life.device;
    format!(
        "{}, {}, state {}, session {}: {}",
        device.group,
        device.phase,
        device.state,
        device.session,
        devices::why_of(device)
    )
}

fn told(life: &Life, picture: &Picture) -> Vec<String> {
    let Some(happened) = &life.happened else {
        let text =
            "The run keeps no trace, so there is no story to tell. Traces are kept of up to 10,000 devices, or of any number";
        return vec![text.to_owned(), "with `--set scenario.trace=on`.".to_owned()];
    };
    let moments: Vec<_> = happened.iter().map(|&(at, happening)| Moment { at, happening }).collect();
    let story = Story::so_far(&moments, &life.names, picture.at);
    story.to_string().lines().map(str::to_owned).collect()
}

/// Where the sentences of a story begin.
const INDENT: usize = 15;

/// Lines of at most `width` cells; what follows the first is indented.
fn wrapped(line: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in text::clean(line).split_inclusive(' ') {
        if text::width(&current) + text::width(word.trim_end()) > width && !current.trim().is_empty() {
            lines.push(std::mem::replace(&mut current, " ".repeat(indent.min(width / 3))));
        }
        current.push_str(word);
    }
    lines.push(current);
    lines
}

fn over(frame: &mut Frame<'_>, area: Rect, title: &str) -> Rect {
    let block = Block::bordered()
        .border_type(BorderType::Thick)
        .title(Line::from(format!(" {} ", text::clean(title))));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    inner
}
