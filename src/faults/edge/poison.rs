//! Bad data that comes beside all deployments: a device takes it when it is connected, and every image that reads it at its start is
//! reset. It lies outside the slots, so going back to the old image helps nothing; only the server can take it back, from a device that
//! reaches it, or the device can set it aside.

use std::time::Duration;

use crate::device::DeviceInput;
use crate::model::Session;
use crate::time::SimTime;

use super::super::kind::FaultKind;
use super::super::plan::Happening;
use super::{Edge, EdgeOutputs};

/// Data that a device has, or is to get.
#[derive(Debug)]
pub(super) struct Poison {
    /// From the start of an application to the reset.
    after: Duration,
    /// Resets that are left before the device sets the data aside; `None` is without end.
    left: Option<u32>,
    /// The device has it.
    taken: bool,
    /// The server has taken it back.
    withdrawn: bool,
    /// When it resets the device next.
    pub(super) resets_at: Option<SimTime>,
}

impl Poison {
    /// Data that stands on the server from now on.
    pub(super) fn new(kind: &FaultKind) -> Option<Poison> {
        let FaultKind::BadData { after, aside } = *kind else {
            return None;
        };
        Some(Poison {
            after,
            left: aside,
            taken: false,
            withdrawn: false,
            resets_at: None,
        })
    }

    /// The application reads it, unless it was set aside.
    fn is_read(&mut self, now: SimTime) {
        if self.taken && self.left != Some(0) {
            self.resets_at = Some(now + self.after);
        }
    }
}

impl Edge {
    /// The server offers bad data, or takes it back.
    pub(super) fn offer_data(&mut self, index: usize, withdrawn: bool, now: SimTime, out: &mut EdgeOutputs) {
        let armed = &mut self.trouble().armed[index];
        match armed.poison.as_mut().filter(|_| withdrawn) {
            Some(poison) => poison.withdrawn = true,
            None if withdrawn => return,
            None => {
                armed.poison = Poison::new(&armed.injection.kind);
                armed.pending = true;
            }
        }
        if self.device.session() == Session::Online {
            self.fetch_data(now, out);
        }
    }

    /// The device is connected: it takes what the server offers, and lets go what the server has taken back.
    pub(super) fn fetch_data(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        for armed in &mut self.trouble().armed {
            armed.poison.take_if(|poison| poison.withdrawn);
            let Some(poison) = armed.poison.as_mut().filter(|poison| !poison.taken) else {
                continue;
            };
            poison.taken = true;
            poison.is_read(now);
            armed.pending = false;
            out.fault(armed.injection.fault, Happening::Done);
        }
    }

    /// An application starts.
    pub(super) fn read_data(&mut self, now: SimTime) {
        let poisons = self.trouble().armed.iter_mut().filter_map(|armed| armed.poison.as_mut());
        poisons.for_each(|poison| poison.is_read(now));
    }

    /// The device has stopped by itself: it reads the data at its next start.
    pub(super) fn stop_reading(&mut self) {
        let armed = self.trouble.iter_mut().flat_map(|trouble| &mut trouble.armed);
        armed
            .filter_map(|armed| armed.poison.as_mut())
            .for_each(|poison| poison.resets_at = None);
    }

    /// What was read has its effect.
    pub(super) fn reset_by_data(&mut self, index: usize, now: SimTime) {
        let poison = self.trouble().armed[index].poison.as_mut();
        let Some(poison) = poison.filter(|poison| poison.resets_at.is_some_and(|at| at <= now)) else {
            return;
        };
        poison.resets_at = None;
        poison.left = poison.left.map(|left| left.saturating_sub(1));
        if self.device.session() != Session::Off {
            let reset = [DeviceInput::PowerCut { after_flash_ops: 0 }, DeviceInput::ResetReleased];
            self.trouble().reactions.extend(reset);
        }
    }
}
