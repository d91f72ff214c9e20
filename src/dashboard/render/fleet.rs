//! Fleet by cohort: what the server believes, as bars; the next step.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::{UpdateState, show_count};
use crate::play::{CohortLine, Picture, WaitsFor};

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

/// Column of device counts, and of those that are done.
const COUNT: usize = 8;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, picture: &Picture) {
    let inner = framed(frame, area, state, Pane::Fleet, "Fleet: server state");
    let (width, height) = (usize::from(inner.width), usize::from(inner.height));
    if height == 0 {
        return;
    }
    let longest = picture
        .cohorts
        .iter()
        .map(|line| text::width(line.name.as_str()))
        .max()
        .unwrap_or(0);
    let name = longest.clamp(6, 14);
    let bar = width.saturating_sub(name + 2 * COUNT + 1);
    let legend = if bar < 23 {
        "█ok ▒open ×bad"
    } else {
        "█ok ▒open ×failed ·none"
    };
    let heading = format!(
        "{}{} {}{}",
        text::left("cohort", name),
        text::right("devices", COUNT),
        text::left(legend, bar),
        text::right("ok", COUNT)
    );
    let mut shown = vec![Line::from(Span::styled(heading, state.style(Tint::Quiet)))];
    let footer = footer(picture, width, height.saturating_sub(2));
    let room = height.saturating_sub(1 + footer.len()).max(1);
    shown.extend(picked(&picture.cohorts, state, room).map(|line| cohort(line, state, name, bar)));
    shown.extend(footer.into_iter().map(Line::from));
    lines(frame, inner, shown);
}

/// As many cohorts as fit, the one that is looked at among them, `all` always last.
fn picked<'a>(cohorts: &'a [CohortLine], state: &State, room: usize) -> impl Iterator<Item = &'a CohortLine> {
    let (all, named) = cohorts
        .split_last()
        .map_or((None, cohorts), |(all, named)| (Some(all), named));
    let room = room.saturating_sub(1);
    let chosen = named.iter().position(|line| state.cohort() == Some(&line.name));
    let first = state
        .scrolled(Pane::Fleet)
        .max(chosen.map_or(0, |at| (at + 1).saturating_sub(room)))
        .min(named.len().saturating_sub(room));
    named.iter().skip(first).take(room).chain(all)
}

fn cohort(line: &CohortLine, state: &State, name: usize, bar: usize) -> Line<'static> {
    let chosen = state.cohort() == Some(&line.name);
    let ok = line.of(UpdateState::Succeeded);
    let open = line.of(UpdateState::Pending) + line.of(UpdateState::InProgress);
    let failed = line.of(UpdateState::Failed) + line.of(UpdateState::Cancelled);
    let [ok_cells, open_cells, failed_cells] = cells([ok, open, failed], line.devices(), bar);
    let none = bar - ok_cells - open_cells - failed_cells;
    let label = text::left(line.name.as_str(), name);
    let strong = if chosen { Tint::Strong } else { Tint::Quiet };
    Line::from(vec![
        Span::styled(label, if chosen { state.style(strong) } else { Default::default() }),
        Span::raw(text::right(&show_count(line.devices()), COUNT)),
        Span::raw(if chosen { ">" } else { " " }),
        Span::styled("█".repeat(ok_cells), state.style(Tint::Good)),
        Span::styled("▒".repeat(open_cells), state.style(Tint::Open)),
        Span::styled("×".repeat(failed_cells), state.style(Tint::Bad)),
        Span::styled("·".repeat(none), state.style(Tint::Quiet)),
        Span::raw(text::right(&show_count(ok), COUNT)),
    ])
}

/// Cells of a bar: what there is at all gets at least one, and nothing is full before it is.
fn cells(parts: [u64; 3], whole: u64, room: usize) -> [usize; 3] {
    if whole == 0 || room < 4 {
        return [0; 3];
    }
    let mut cells = parts.map(|part| match part {
        0 => 0,
        part => ((part as f64 / whole as f64 * room as f64) as usize).max(1),
    });
    if parts.iter().sum::<u64>() == whole {
        let largest = (0..3).max_by_key(|at| cells[*at]).expect("there are three");
        let others = cells.iter().sum::<usize>() - cells[largest];
        cells[largest] = room.saturating_sub(others);
    }
    while cells.iter().sum::<usize>() > room {
        let largest = (0..3).max_by_key(|at| cells[*at]).expect("there are three");
        cells[largest] -= 1;
    }
    cells
}

fn footer(picture: &Picture, width: usize, room: usize) -> Vec<String> {
    let Some(all) = picture.all() else {
        return Vec::new();
    };
    let states = states(all, width);
    let next = picture.next.as_ref().map(|next| {
        let waits = match &next.waits {
            WaitsFor::Until(at) => format!("in {}", text::lasted(at.since(picture.at))),
            WaitsFor::Step(step) => format!("after `{step}`"),
            WaitsFor::Measure { text, value, unit } => {
                let now = format!(", now {}", text::measured(*value, unit));
                let taken = text::width(&next.name) + text::width(&now) + 9;
                text::fit(text, width.saturating_sub(taken)) + &now
            }
        };
        format!("next `{}`: {waits}", next.name)
    });
    let mut footer: Vec<_> = [Some(states), next]
        .into_iter()
        .flatten()
        .map(|line| text::fit(&line, width))
        .collect();
    footer.truncate(room.saturating_sub(picture.cohorts.len().min(3)).max(1));
    footer
}

/// Counts of the states that the bars do not tell apart: all four, or those that there are, or those in few characters.
fn states(all: &CohortLine, width: usize) -> String {
    let named = [
        ("pending", UpdateState::Pending),
        ("in progress", UpdateState::InProgress),
        ("failed", UpdateState::Failed),
        ("cancelled", UpdateState::Cancelled),
    ];
    let told = |least: u64, show: &dyn Fn(u64) -> String| {
        let counted = named.iter().map(|(name, state)| (name, all.of(*state)));
        let words = counted.filter(|(_, count)| *count >= least);
        words
            .map(|(name, count)| format!("{name} {}", show(count)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let forms = [told(0, &show_count), told(1, &show_count), told(1, &text::short)];
    let fits = forms.iter().position(|form| text::width(form) <= width);
    forms[fits.unwrap_or(forms.len() - 1)].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_cut_where_it_can_be_shortened() {
        let line = CohortLine {
            name: crate::model::CohortName::all(),
            states: [0, 1_689, 22, 280, 9, 0],
        };
        assert_eq!(states(&line, 60), "pending 1,689 in progress 22 failed 9 cancelled 0");
        assert_eq!(states(&line, 38), "pending 1,689 in progress 22 failed 9");
        assert_eq!(states(&line, 36), "pending 1.7k in progress 22 failed 9");
    }

    #[test]
    fn a_bar_shows_what_there_is_and_is_full_only_when_all_is_over() {
        assert_eq!(cells([1, 0, 1], 100_000, 20), [1, 0, 1]);
        assert_eq!(cells([99_999, 1, 0], 100_000, 20), [19, 1, 0]);
        assert_eq!(cells([99_999, 0, 0], 100_000, 20), [19, 0, 0]);
        assert_eq!(cells([5, 5, 5], 15, 20).iter().sum::<usize>(), 20);
        assert_eq!(cells([200, 0, 0], 200, 20), [20, 0, 0]);
        assert_eq!(cells([0, 0, 0], 0, 20), [0, 0, 0]);
    }
}
