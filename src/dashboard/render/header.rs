//! The first line: what is played, where it stands, how the harness fares.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::{Session, show_count};
use crate::play::Picture;
use crate::time::SimTime;

use super::super::state::State;
use super::{Tint, text};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, picture: &Picture) {
    let room = usize::from(area.width);
    let mut shown = String::new();
    for part in parts(state, picture) {
        let gap = if shown.is_empty() { " " } else { "  " };
        if text::width(&shown) + gap.len() + text::width(&part) > room {
            continue;
        }
        shown.push_str(gap);
        shown.push_str(&part);
    }
    frame.render_widget(Line::from(Span::styled(shown, state.style(Tint::Strong))), area);
}

/// The most important first; what does not fit is left out.
fn parts(state: &State, picture: &Picture) -> Vec<String> {
    let name = text::fit(&picture.name, 32);
    let mut parts = vec![format!("squall {} {name}", picture.mode.word())];
    if state.pace.back == 1 {
        parts.push("1 picture back".to_owned());
    } else if state.pace.back > 1 {
        parts.push(format!("{} pictures back", state.pace.back));
    } else if state.pace.paused {
        parts.push("PAUSED".to_owned());
    } else if let Some(speed) = state.pace.speed {
        parts.push(format!("{speed}x"));
    }
    let duration = text::clock(SimTime::ZERO + picture.duration);
    parts.push(match picture.stage {
        "trouble" => format!("{} of {duration}", text::clock(picture.at)),
        stage => format!("{} {stage}", text::clock(picture.at)),
    });
    parts.push(format!(
        "{} devices, {} online",
        show_count(picture.devices),
        show_count(picture.in_session(Session::Online))
    ));
    if let Some(late) = picture.late_p99 {
        parts.push(format!("late {:.1} ms", late.as_secs_f64() * 1e3));
    }
    parts.push(format!("{} open", show_count(picture.open)));
    parts.push(format!("server {}", picture.server));
    parts.push(format!("seed {}", picture.seed));
    if let Some(cohort) = state.cohort() {
        parts.insert(3, format!("cohort {}", text::fit(cohort.as_str(), 20)));
    }
    if !state.filter.is_empty() {
        parts.insert(3, format!("filter {}", text::fit(&state.filter, 20)));
    }
    parts
}
