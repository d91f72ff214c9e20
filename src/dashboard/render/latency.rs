//! How long things take, in seconds.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::show_count;
use crate::play::Picture;

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

const NAME: usize = 13;
const VALUE: usize = 6;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, picture: &Picture) {
    if area.height == 0 {
        return;
    }
    let title = state
        .cohort()
        .map_or_else(|| "Latency".to_owned(), |cohort| format!("Latency: cohort {cohort}"));
    let inner = framed(frame, area, state, Pane::Latency, &title);
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    let count = width.saturating_sub(NAME + 4 * (VALUE + 1)).clamp(4, 9);
    let heading = ["med", "p95", "p99", "max"]
        .map(|name| format!(" {}", text::right(name, VALUE)))
        .concat();
    let heading = text::left("seconds", NAME) + &text::right("n", count) + &heading;
    let mut shown = vec![Line::from(Span::styled(heading, state.style(Tint::Quiet)))];
    let room = height.saturating_sub(1);
    let first = state.scrolled(Pane::Latency).min(picture.latency.len().saturating_sub(room));
    for line in picture.latency.iter().skip(first).take(room) {
        let count = match count < 7 {
            true => text::right(&text::short(line.count), count),
            false => text::right(&show_count(line.count), count),
        };
        let spread = line
            .spread
            .map(|value| format!(" {}", text::right(&text::seconds(value), VALUE)))
            .concat();
        shown.push(Line::from(text::left(line.name, NAME) + &count + &spread));
    }
    lines(frame, inner, shown);
}
