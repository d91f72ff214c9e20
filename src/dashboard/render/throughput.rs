//! Throughput: a bar a few seconds, the present and the peak; expectations as they stand.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::{show_count, show_size};
use crate::play::{Expected, Picture, Stands, ThroughputRow};

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

const NAME: usize = 9;
const VALUE: usize = 11;
/// Rows that are shown before any expectation is.
const LEAST: usize = 4;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State, picture: &Picture) {
    let inner = framed(frame, area, state, Pane::Throughput, "Throughput");
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    if height == 0 {
        return;
    }
    let values = if width >= 56 && !state.totals { 2 } else { 1 };
    let bars = width.saturating_sub(NAME + values * VALUE + values);
    state.room.bars = bars;
    let throughput = &picture.throughput;
    let columns = match (state.totals, values) {
        (true, _) => format!(" {}", text::right("in all", VALUE)),
        (false, 1) => format!(" {}", text::right("now", VALUE)),
        (false, _) => format!(" {} {}", text::right("now", VALUE), text::right("peak", VALUE)),
    };
    let heading = text::left(&format!("{} s a bar", throughput.seconds_a_bar), NAME + bars) + &columns;
    let mut shown = vec![Line::from(Span::styled(heading, state.style(Tint::Quiet)))];
    // Refusals have a claim to room once there are any.
    let refused = throughput.rows.iter().position(|row| row.name == "refusals" && row.total > 0);
    let room = height.saturating_sub(1 + refused.map_or(LEAST, |at| at + 1));
    let expected = picture.expectations.len().min(room).min(height / 3);
    let rows = height.saturating_sub(1 + expected);
    let first = state
        .scrolled(Pane::Throughput)
        .min(throughput.rows.len().saturating_sub(rows));
    let picked = throughput.rows.iter().skip(first).take(rows);
    shown.extend(picked.map(|row| Line::from(line(row, bars, values, state))));
    // Where not all fit, those that fail come first.
    let mut urgent: Vec<_> = picture.expectations.iter().collect();
    if urgent.len() > expected {
        urgent.sort_by_key(|one| match one.stands {
            Stands::Fails => 0,
            Stands::NotYet => 1,
            Stands::Holds => 2,
        });
    }
    let urgent = urgent.into_iter().take(expected);
    shown.extend(urgent.map(|one| expectation(one, width, state)));
    lines(frame, inner, shown);
}

fn line(row: &ThroughputRow, bars: usize, values: usize, state: &State) -> Vec<Span<'static>> {
    let value = match (state.totals, row.bytes) {
        (true, true) => show_size(row.total as f64),
        (true, false) => show_count(row.total),
        (false, bytes) => text::rate(row.now, bytes),
    };
    let mut spans = vec![
        Span::raw(text::left(row.name, NAME)),
        Span::styled(sparks(&row.bars, bars), state.style(Tint::Good)),
        Span::raw(format!(" {}", text::right(&value, VALUE))),
    ];
    if values == 2 {
        spans.push(Span::raw(format!(
            " {}",
            text::right(&text::rate(row.peak, row.bytes), VALUE)
        )));
    }
    spans
}

/// The last `room` bars; the highest of them is the scale, and only zero is the lowest.
fn sparks(bars: &[f64], room: usize) -> String {
    let bars = &bars[bars.len().saturating_sub(room)..];
    let most = bars.iter().copied().fold(0.0, f64::max);
    let spark = |bar: &f64| match *bar > 0.0 {
        true => BARS[((bar / most * 7.0).ceil() as usize).clamp(1, 7)],
        false => BARS[0],
    };
    let drawn: String = bars.iter().map(spark).collect();
    " ".repeat(room - bars.len()) + &drawn
}

fn expectation(expected: &Expected, width: usize, state: &State) -> Line<'static> {
    let (mark, tint) = match expected.stands {
        Stands::Holds => ("✓", Tint::Good),
        Stands::Fails => ("✗", Tint::Bad),
        Stands::NotYet => ("·", Tint::Quiet),
    };
    let now = format!(": now {}", text::measured(expected.value, expected.unit));
    let that = text::fit(&expected.text, width.saturating_sub(2 + text::width(&now)));
    Line::from(vec![
        Span::styled(format!("{mark} "), state.style(tint)),
        Span::raw(text::fit(&(that + &now), width - 2)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_is_full_and_only_nothing_is_lowest() {
        assert_eq!(sparks(&[0.0, 0.1, 50.0, 100.0], 5), " ▁▂▅█");
        assert_eq!(sparks(&[0.0, 0.0, 3.0], 2), "▁█");
        assert_eq!(sparks(&[0.0; 3], 3), "▁▁▁");
    }
}
