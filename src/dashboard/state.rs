//! What the person at the keys looks at: pane, device, cohort, filter, scales. No figure of the run.

use crate::model::{CohortName, DeviceIndex};
use crate::play::{Ask, Picture};

use super::Pace;

/// Seconds that a bar of throughput may stand for.
const SCALES: [u64; 7] = [1, 2, 5, 10, 30, 60, 300];

/// A part of the screen that can be chosen with Tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Fleet,
    Throughput,
    Latency,
    Flow,
    Faults,
    Devices,
    Log,
}

impl Pane {
    const ORDER: [Pane; 7] = [
        Pane::Devices,
        Pane::Log,
        Pane::Fleet,
        Pane::Throughput,
        Pane::Latency,
        Pane::Flow,
        Pane::Faults,
    ];
}

/// What lies over the panes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Overlay {
    Help,
    /// A device's story, with the first line shown; `None` follows the end.
    Story {
        device: DeviceIndex,
        top: Option<usize>,
    },
    /// A filter is being typed; the one before comes back with Esc.
    Filter {
        before: String,
    },
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) color: bool,
    pub(super) pace: Pace,
    /// The chosen pane; `None` until Tab chooses one.
    pub(super) pane: Option<Pane>,
    pub(super) overlay: Option<Overlay>,
    pub(super) device: Option<DeviceIndex>,
    pub(super) filter: String,
    cohort: Option<CohortName>,
    /// Shown as totals, not as rates.
    pub(super) totals: bool,
    scale: usize,
    /// First line shown of the pane that scrolls.
    pub(super) scroll: usize,
    /// Said in the last line.
    pub(super) said: Option<String>,
    /// Room in the panes that were drawn last.
    pub(super) room: Room,
    /// Devices and cohorts of the last picture, in its order.
    devices: Vec<DeviceIndex>,
    cohorts: Vec<CohortName>,
}

/// How much fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) devices: usize,
    pub(super) notes: usize,
    pub(super) bars: usize,
    /// Lines of a story.
    pub(super) story: usize,
}

impl State {
    pub(super) fn new(color: bool) -> State {
        State {
            color,
            pace: Pace::default(),
            pane: None,
            overlay: None,
            device: None,
            filter: String::new(),
            cohort: None,
            totals: false,
            scale: 0,
            scroll: 0,
            said: None,
            room: Room {
                devices: 10,
                notes: 10,
                bars: 40,
                story: 10,
            },
            devices: Vec::new(),
            cohorts: Vec::new(),
        }
    }

    /// Takes over what of a picture can be chosen.
    pub(super) fn take(&mut self, picture: &Picture) {
        self.devices = picture.slowest.iter().map(|device| device.index).collect();
        self.cohorts = picture
            .cohorts
            .split_last()
            .map(|(_, named)| named.iter().map(|line| line.name.clone()).collect())
            .unwrap_or_default();
    }

    pub(super) fn ask(&self) -> Ask {
        Ask {
            cohort: self.cohort.clone(),
            filter: self.filter.clone(),
            devices: self.room.devices,
            notes: self.room.notes + self.scrolled(Pane::Log),
            bars: self.room.bars,
            seconds_a_bar: SCALES[self.scale],
            life: match self.overlay {
                Some(Overlay::Story { device, .. }) => Some(device),
                Some(Overlay::Help | Overlay::Filter { .. }) | None => None,
            },
        }
    }

    /// The cohort that is looked at; `None` is all devices.
    pub(super) fn cohort(&self) -> Option<&CohortName> {
        self.cohort.as_ref()
    }

    /// How far a pane is scrolled.
    pub(super) fn scrolled(&self, pane: Pane) -> usize {
        if self.pane == Some(pane) { self.scroll } else { 0 }
    }

    pub(super) fn next_pane(&mut self, back: bool) {
        let count = Pane::ORDER.len();
        let at = self.pane.and_then(|pane| Pane::ORDER.iter().position(|other| *other == pane));
        let next = match (at, back) {
            (None, false) => 0,
            (None, true) => count - 1,
            (Some(at), false) => (at + 1) % count,
            (Some(at), true) => (at + count - 1) % count,
        };
        self.choose(Pane::ORDER[next]);
    }

    pub(super) fn choose(&mut self, pane: Pane) {
        self.pane = Some(pane);
        self.scroll = 0;
    }

    /// Moves to the next or the last device, or scrolls the chosen pane.
    pub(super) fn step(&mut self, down: bool, lines: usize) {
        match self.pane {
            None | Some(Pane::Devices) => self.step_device(down, lines),
            Some(Pane::Fleet | Pane::Throughput | Pane::Latency | Pane::Flow | Pane::Faults | Pane::Log) => {
                self.scroll = match down {
                    true => self.scroll.saturating_add(lines).min(10_000),
                    false => self.scroll.saturating_sub(lines),
                };
            }
        }
    }

    fn step_device(&mut self, down: bool, lines: usize) {
        let Some(last) = self.devices.len().checked_sub(1) else {
            return;
        };
        let at = self
            .device
            .and_then(|device| self.devices.iter().position(|other| *other == device));
        let at = match (at, down) {
            (None, true) => 0,
            (None, false) => last,
            (Some(at), true) => (at + lines).min(last),
            (Some(at), false) => at.saturating_sub(lines),
        };
        self.device = Some(self.devices[at]);
    }

    /// Opens the story of the chosen device, or of the first.
    pub(super) fn open_story(&mut self) {
        let chosen = self.device.filter(|device| self.devices.contains(device));
        match chosen.or_else(|| self.devices.first().copied()) {
            Some(device) => {
                self.device = Some(device);
                self.overlay = Some(Overlay::Story { device, top: None });
            }
            None => self.said = Some("no open device to tell of".to_owned()),
        }
    }

    pub(super) fn next_cohort(&mut self) {
        let at = self
            .cohort
            .as_ref()
            .and_then(|cohort| self.cohorts.iter().position(|other| other == cohort));
        let next = at.map_or(0, |at| at + 1);
        self.cohort = self.cohorts.get(next).cloned();
        self.device = None;
    }

    pub(super) fn scale(&mut self, longer: bool) {
        self.scale = match longer {
            true => (self.scale + 1).min(SCALES.len() - 1),
            false => self.scale.saturating_sub(1),
        };
    }
}
