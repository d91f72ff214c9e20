//! The devices that have been open longest, and why they are not done.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::{Why, show_count};
use crate::play::{HeldBy, OpenDevice, Picture};

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

const PHASE: usize = 12;
const OPEN: usize = 8;
const DONE: usize = 6;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State, picture: &Picture) {
    if area.height == 0 {
        return;
    }
    let room = usize::from(area.height).saturating_sub(3);
    let title = format!(
        "Slowest open devices and why ({} of {})",
        picture.slowest.len().min(room),
        show_count(picture.open)
    );
    let inner = framed(frame, area, state, Pane::Devices, &title);
    let width = usize::from(inner.width);
    state.room.devices = room.max(3) * 2;
    let longest = picture
        .slowest
        .iter()
        .map(|device| text::width(&device.id))
        .max()
        .unwrap_or(0);
    let id = longest.clamp(8, width / 4);
    let group = if width >= 100 { 12 } else { 8 };
    let why = width.saturating_sub(1 + id + group + PHASE + OPEN + DONE + 3);
    let heading = format!(
        " {} {} {}{}{}  {}",
        text::left("device", id),
        text::left("cohort", group),
        text::left("phase", PHASE),
        text::right("open", OPEN),
        text::right("done", DONE),
        text::left("why", why)
    );
    let mut shown = vec![Line::from(Span::styled(heading, state.style(Tint::Quiet)))];
    let chosen = picture.slowest.iter().position(|device| Some(device.index) == state.device);
    let first = chosen.map_or(0, |at| (at + 1).saturating_sub(room));
    for device in picture.slowest.iter().skip(first).take(room) {
        let mark = if Some(device.index) == state.device { ">" } else { " " };
        let line = format!(
            "{mark}{} {} {}{}{}  {}",
            text::left(&device.id, id),
            text::left(&device.group, group),
            text::left(device.phase.word(), PHASE),
            text::right(&device.open_for.map_or_else(|| "-".to_owned(), text::lasted), OPEN),
            text::right(&done(device), DONE),
            text::fit(&why_of(device), why)
        );
        let tint = if mark == ">" {
            state.style(Tint::Strong)
        } else {
            Default::default()
        };
        shown.push(Line::from(Span::styled(line, tint)));
    }
    if picture.slowest.is_empty() {
        shown.push(Line::from(" none is open"));
    }
    lines(frame, inner, shown);
}

/// How much of its image a downloading device has.
fn done(device: &OpenDevice) -> String {
    match &device.why {
        Some(Why::Downloading {
            received,
            total: Some(total),
        }) if *total > 0 => format!("{} %", received * 100 / total),
        _ => "-".to_owned(),
    }
}

/// Why a device is where it is; the fault that holds it comes first, since long lines are cut.
pub(super) fn why_of(device: &OpenDevice) -> String {
    let why = explained(device);
    match &device.fault {
        Some(HeldBy { name, ago: None }) => format!("fault {name}: {why}"),
        Some(HeldBy { name, ago: Some(ago) }) => format!("fault {name} {} ago: {why}", text::lasted(*ago)),
        None => why,
    }
}

fn explained(device: &OpenDevice) -> String {
    match &device.why {
        Some(Why::AtRest) if device.open_for.is_some() => "done; the server does not know yet".to_owned(),
        Some(why) => why.to_string(),
        None => format!("session {}", device.session),
    }
}
