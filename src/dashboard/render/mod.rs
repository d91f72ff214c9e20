//! Lays the panes out for the room there is, and draws them.

mod devices;
mod faults;
mod fleet;
mod flow;
mod header;
mod latency;
mod log;
mod overlay;
mod text;
mod throughput;

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

use crate::play::Picture;

use super::state::{Overlay, Pane, State};

pub(super) use log::told as note_line;

/// The least that panes can be drawn in.
const LEAST: (u16, u16) = (60, 20);

/// The panes' places.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    fleet: Rect,
    throughput: Rect,
    latency: Rect,
    flow: Rect,
    faults: Rect,
    devices: Rect,
    log: Rect,
}

pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, picture: &Picture) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return too_small(frame, area);
    }
    let (top, rest) = split_top(area, 1);
    header::draw(frame, top, state, picture);
    let places = places(rest, state, picture);
    fleet::draw(frame, places.fleet, state, picture);
    throughput::draw(frame, places.throughput, state, picture);
    latency::draw(frame, places.latency, state, picture);
    flow::draw(frame, places.flow, state, picture);
    faults::draw(frame, places.faults, state, picture);
    devices::draw(frame, places.devices, state, picture);
    log::draw(frame, places.log, state, picture);
    match state.overlay {
        Some(Overlay::Help) => overlay::help(frame, rest, state),
        Some(Overlay::Story { .. }) => overlay::story(frame, rest, state, picture),
        Some(Overlay::Filter { .. }) | None => {}
    }
    keys(frame, area, state);
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let text = format!(
        "{} x {} cells are too few: {} x {} are needed. The run goes on; q ends it.",
        area.width, area.height, LEAST.0, LEAST.1
    );
    frame.render_widget(Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true }), area);
}

/// Large: every pane. Middle: all but the flow. Small: fleet, throughput, and the chosen pane or the log.
fn places(area: Rect, state: &State, picture: &Picture) -> Places {
    if area.width >= 110 && area.height >= 34 {
        large(area, picture)
    } else if area.width >= 80 && area.height >= 23 {
        middle(area, state)
    } else {
        small(area, state)
    }
}

fn large(area: Rect, picture: &Picture) -> Places {
    let spare = area.height - 34;
    let lines = picture.cohorts.len().max(picture.expectations.len() + 3) as u16;
    let (head, rest) = split_top(area, 9 + lines.saturating_sub(4).min(spare / 3));
    let flow_width = (area.width - 50).min(100);
    let (fleet, throughput) = split_left(head, area.width - flow_width);
    let timed = picture.latency.len() as u16;
    let struck = picture.faults.len() as u16;
    let (body, rest) = split_top(rest, 15 + (timed + struck).saturating_sub(9).min(spare / 3));
    let (left, flow) = split_left(body, area.width - flow_width);
    let (latency, faults) = split_top(left, left.height - (struck + 4).clamp(5, left.height / 2));
    let (devices, log) = split_top(rest, rest.height * 6 / 10);
    Places {
        fleet,
        throughput,
        latency,
        flow,
        faults,
        devices,
        log,
    }
}

fn middle(area: Rect, state: &State) -> Places {
    let spare = area.height - 23;
    let (head, rest) = split_top(area, 7 + spare / 4);
    let (fleet, throughput) = split_left(head, head.width / 2);
    let shown = Places {
        fleet,
        throughput,
        ..Places::default()
    };
    if state.pane == Some(Pane::Flow) {
        return Places { flow: rest, ..shown };
    }
    let (body, rest) = split_top(rest, 7 + spare / 4);
    let (latency, faults) = split_left(body, body.width / 2);
    let (devices, log) = split_top(rest, rest.height * 5 / 9);
    Places {
        latency,
        faults,
        devices,
        log,
        ..shown
    }
}

fn small(area: Rect, state: &State) -> Places {
    let (fleet, rest) = split_top(area, 6 + (area.height - 19) / 3);
    if state.pane == Some(Pane::Flow) {
        return Places {
            fleet,
            flow: rest,
            ..Places::default()
        };
    }
    let (throughput, rest) = split_top(rest, 6);
    let mut shown = Places {
        fleet,
        throughput,
        ..Places::default()
    };
    match state.pane {
        Some(Pane::Devices) => shown.devices = rest,
        Some(Pane::Latency) => shown.latency = rest,
        Some(Pane::Faults) => shown.faults = rest,
        Some(Pane::Flow | Pane::Fleet | Pane::Throughput | Pane::Log) | None => shown.log = rest,
    }
    shown
}

fn split_top(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let top = Rect { height, ..area };
    let rest = Rect {
        y: area.y + height,
        height: area.height - height,
        ..area
    };
    (top, rest)
}

fn split_left(area: Rect, width: u16) -> (Rect, Rect) {
    let width = width.min(area.width);
    let left = Rect { width, ..area };
    let rest = Rect {
        x: area.x + width,
        width: area.width - width,
        ..area
    };
    (left, rest)
}

/// Draws a pane's border, heavy where it is the chosen one, and gives the room within.
fn framed(frame: &mut Frame<'_>, area: Rect, state: &State, pane: Pane, title: &str) -> Rect {
    let chosen = state.pane == Some(pane);
    let mut block = Block::bordered().title(Line::from(format!(" {} ", text::clean(title))));
    if chosen {
        block = block.border_type(BorderType::Thick);
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// Draws lines from the top of `area`; what does not fit is left out.
fn lines(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'_>>) {
    frame.render_widget(Paragraph::new(lines), area);
}

/// The last line of the screen: the keys, what is being typed, or what was said.
fn keys(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let line = Rect {
        x: area.x + 1,
        y: area.y + area.height - 1,
        width: area.width - 2,
        height: 1,
    };
    let room = usize::from(line.width);
    let filter = &state.filter;
    let text = match (&state.overlay, &state.said) {
        (Some(Overlay::Filter { .. }), _) => first_fitting(
            [
                format!(" filter by id, cohort or phase: {filter}_   Enter keeps it, Esc does not "),
                format!(" filter: {filter}_   Enter keeps it, Esc does not "),
                format!(" {filter}_ "),
            ],
            room,
        ),
        (_, Some(said)) => format!(" {said} "),
        (Some(Overlay::Help), None) => " any key closes ".to_owned(),
        (Some(Overlay::Story { .. }), None) => first_fitting(
            [
                " ↑↓ PgUp PgDn scroll  Home start  End follow  Esc close  s snapshot ",
                " ↑↓ scroll  Home start  End follow  Esc close  s save ",
            ]
            .map(str::to_owned),
            room,
        ),
        (None, None) => key_list(state, room),
    };
    let text = text::fit(&text, room);
    frame.render_widget(
        Clear,
        Rect {
            width: text::width(&text) as u16,
            ..line
        },
    );
    frame.render_widget(Paragraph::new(text).alignment(Alignment::Left), line);
}

/// The first form that fits; the last where none does.
fn first_fitting<const N: usize>(forms: [String; N], room: usize) -> String {
    let fits = forms.iter().position(|form| text::width(form) <= room);
    forms.into_iter().nth(fits.unwrap_or(N - 1)).unwrap_or_default()
}

/// As many keys as fit; `? help` is always there.
fn key_list(state: &State, room: usize) -> String {
    let watch = [("space", "pause"), ("←→", "time"), ("<>", "speed")];
    let always = [
        ("q", "stop"),
        ("Tab", "pane"),
        ("↑↓", "device"),
        ("Enter", "story"),
        ("/", "filter"),
        ("c", "cohort"),
        ("f", "faults"),
        ("r", "rate"),
        ("+-", "scale"),
        ("s", "snapshot"),
    ];
    let paced = watch.iter().filter(|_| state.pace.speed.is_some());
    let mut list = String::new();
    for (key, does) in always[..1].iter().chain(paced).chain(&always[1..]) {
        let next = format!(" {key} {does} ");
        if text::width(&list) + text::width(&next) + 8 > room {
            break;
        }
        list.push_str(&next);
    }
    list + " ? help "
}

/// What colors say; glyphs say the same. Red and magenta can be read on black and on white; green is for glyphs alone, since on white it
/// is faint, and yellow cannot be seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tint {
    Good,
    Open,
    Bad,
    Plain,
    Quiet,
    Strong,
}

impl State {
    fn style(&self, tint: Tint) -> Style {
        if !self.color {
            return Style::default();
        }
        match tint {
            Tint::Good => Style::default().fg(Color::Green),
            Tint::Open => Style::default().fg(Color::Magenta),
            Tint::Bad => Style::default().fg(Color::Red),
            Tint::Plain => Style::default(),
            Tint::Quiet => Style::default().add_modifier(Modifier::DIM),
            Tint::Strong => Style::default().add_modifier(Modifier::BOLD),
        }
    }
}
