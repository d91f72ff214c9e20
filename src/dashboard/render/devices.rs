//! The devices that have been open longest, and why they are not done.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::model::{Phase, UpdateState, Why, show_count};
use crate::play::{HeldBy, OpenDevice, Picture};

use super::super::state::{Pane, State};
use super::{Tint, framed, lines, text};

const PHASE: usize = 12;
const OPEN: usize = 8;
const DONE: usize = 6;
const GROUP: usize = 13;
/// From here on there is a column for the cohort, and from here on one for what is done.
const WIDE: usize = 100;
const MIDDLE: usize = 70;

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
    // Where there is little room, it belongs to the reason.
    let group = if width >= WIDE { GROUP } else { 0 };
    let part = if width >= MIDDLE { DONE } else { 0 };
    let why = width.saturating_sub(1 + id + group + 1 + PHASE + OPEN + part + 2);
    let row = |mark: &str, [device, cohort, phase, open, done, reason]: [&str; 6]| {
        format!(
            "{mark}{}{} {}{}{}  {}",
            text::left(device, id),
            text::right(&text::left(cohort, group.saturating_sub(1)), group),
            text::left(phase, PHASE),
            text::right(open, OPEN),
            text::right(done, part),
            text::fit(reason, why)
        )
    };
    let heading = row(" ", ["device", "cohort", "phase", "open", "done", "why"]);
    let mut shown = vec![Line::from(Span::styled(heading, state.style(Tint::Quiet)))];
    let chosen = picture.slowest.iter().position(|device| Some(device.index) == state.device);
    let first = chosen.map_or(0, |at| (at + 1).saturating_sub(room));
    for device in picture.slowest.iter().skip(first).take(room) {
        let mark = if Some(device.index) == state.device { ">" } else { " " };
        let open = device.open_for.map_or_else(|| "-".to_owned(), text::lasted);
        let (done, reason) = (done(device), why_within(device, why));
        let line = row(mark, [&device.id, &device.group, device.phase.word(), &open, &done, &reason]);
        let tint = if mark == ">" {
            state.style(Tint::Strong)
        } else {
            Default::default()
        };
        shown.push(Line::from(Span::styled(line, tint)));
    }
    if picture.slowest.is_empty() {
        let none = if picture.open == 0 {
            " none is open"
        } else {
            " none of them is let through by filter and cohort"
        };
        shown.push(Line::from(none));
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

/// The same where there is room for so much; a fault that is over is told only if it leaves room for the reason.
fn why_within(device: &OpenDevice, room: usize) -> String {
    let why = why_of(device);
    let over = matches!(&device.fault, Some(HeldBy { ago: Some(_), .. }));
    match over && text::width(&why) > room {
        true => explained(device),
        false => why,
    }
}

fn explained(device: &OpenDevice) -> String {
    match &device.why {
        Some(Why::AtRest) if device.state == UpdateState::Pending => "waits until the server offers it".to_owned(),
        Some(Why::AtRest) if device.open_for.is_some() && device.phase == Phase::Idle => {
            "its update is on the way to it".to_owned()
        }
        Some(Why::AtRest) if device.open_for.is_some() => "done; the server does not know yet".to_owned(),
        Some(Why::Downloading { received, total }) if device.rate.is_some() => {
            let rate = device.rate.unwrap_or_default();
            let left = total
                .map(|total| total.saturating_sub(*received))
                .zip(std::num::NonZeroU64::new(rate));
            let left = left.map(|(left, rate)| Duration::from_secs_f64(left as f64 / rate.get() as f64));
            let left = left.map_or_else(String::new, |left| format!(", {} left", text::lasted(left)));
            format!("{}{left}", text::rate(rate as f64, true))
        }
        Some(why) => why.to_string(),
        None => format!("session {}", device.session),
    }
}
