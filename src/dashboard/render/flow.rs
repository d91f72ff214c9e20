//! The flow: how often each change of phase was seen, and which legal ones were not.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::{LEGAL, Phase};
use crate::play::Picture;

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

const NAME: usize = 12;
/// Columns that numbers fit in.
const COLUMN: usize = 4;
/// Origins: idle stands for the four ends too.
const ROWS: [Phase; 11] = [
    Phase::Idle,
    Phase::Waiting,
    Phase::Accepted,
    Phase::Installing,
    Phase::Downloading,
    Phase::Retrying,
    Phase::Staged,
    Phase::Committing,
    Phase::Swapping,
    Phase::Probation,
    Phase::Reverting,
];
const COLUMNS: [(Phase, &str); 14] = [
    (Phase::Accepted, "ac"),
    (Phase::Installing, "in"),
    (Phase::Downloading, "dl"),
    (Phase::Retrying, "re"),
    (Phase::Staged, "st"),
    (Phase::Committing, "co"),
    (Phase::Swapping, "sw"),
    (Phase::Probation, "pr"),
    (Phase::Reverting, "rv"),
    (Phase::Waiting, "wa"),
    (Phase::Succeeded, "su"),
    (Phase::Failed, "fa"),
    (Phase::Cancelled, "ca"),
    (Phase::Rejected, "rj"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, picture: &Picture) {
    if area.height == 0 {
        return;
    }
    let title = format!(
        "Flow: {} of {} legal pairs seen, {} illegal",
        picture.legal_seen,
        LEGAL.len(),
        picture.illegal
    );
    let inner = framed(frame, area, state, Pane::Flow, &title);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let name = if width < NAME + COLUMN * COLUMNS.len() { 2 } else { NAME };
    let column = (width.saturating_sub(name) / COLUMNS.len()).clamp(COLUMN, 6);
    let heading = COLUMNS.map(|(_, name)| text::right(name, column)).concat();
    let heading = text::left(if name < NAME { "" } else { "from" }, name) + &heading;
    let mut shown = vec![Line::from(Span::styled(heading, state.style(Tint::Quiet)))];
    let legend = usize::from(height > ROWS.len() + 1);
    let room = height.saturating_sub(1 + legend);
    let first = state.scrolled(Pane::Flow).min(ROWS.len().saturating_sub(room));
    shown.extend(
        ROWS.iter()
            .skip(first)
            .take(room)
            .map(|from| row(*from, (name, column), picture, state)),
    );
    if legend == 1 {
        let text = "(number: seen  -: legal, not seen  blank: illegal  !: illegal, seen)";
        shown.push(Line::from(Span::styled(text::fit(text, width), state.style(Tint::Quiet))));
    }
    lines(frame, inner, shown);
}

fn row(from: Phase, (name, column): (usize, usize), picture: &Picture, state: &State) -> Line<'static> {
    let code = COLUMNS
        .iter()
        .find(|(phase, _)| *phase == from)
        .map_or("id", |(_, code)| *code);
    let word = if from == Phase::Idle { "idle, ended" } else { from.word() };
    let mut spans = vec![Span::raw(text::left(if name < NAME { code } else { word }, name))];
    for (to, _) in COLUMNS {
        let origins = Phase::ALL
            .iter()
            .filter(|phase| **phase == from || (from == Phase::Idle && phase.ended()));
        let seen: u64 = origins.map(|origin| picture.flow[*origin as usize][to as usize]).sum();
        let legal = LEGAL.iter().any(|&(origin, end, _)| origin == from && end == to);
        let (text, tint) = match (seen, legal) {
            (0, true) => ("-".to_owned(), Tint::Quiet),
            (0, false) => (String::new(), Tint::Quiet),
            (seen, true) => (text::short(seen), Tint::Strong),
            (seen, false) => (format!("{}!", text::short(seen)), Tint::Bad),
        };
        spans.push(Span::styled(text::right(&text, column), state.style(tint)));
    }
    Line::from(spans)
}
