//! A device ahead of the others: whose turn it is goes on alone, as far as nothing and nobody else can come between.
//!
//! Between two looks of the Director a device, its connection and its download concern nobody else: the server answers each by itself,
//! figures do not ask in which order devices come, and rules are held for one device each. So what happens to a device up to then happens
//! at once, each thing at its own moment, and not through the queue: what is at hand of a device is used while it is. A run is the same
//! as one in which all devices take turns, but that nobody can watch it as it happens: where a trace is kept they do.

use crate::model::DeviceIndex;
use crate::scenario::Plan;
use crate::time::SimTime;

use super::super::link::connection_id;
use super::{CROWD, Engine, Event, Scheduled};

/// The device that is ahead, and what happens to it before others have their turn.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Who goes ahead, and up to when.
    turn: Option<(DeviceIndex, SimTime)>,
    agenda: Vec<Scheduled>,
    /// When the server speaks to it of its own accord, if it does: known once that was asked.
    spoken_to_at: Option<Option<SimTime>>,
}

impl Ahead {
    /// True if this happens within the turn.
    pub(super) fn has(&self, device: DeviceIndex, at: SimTime) -> bool {
        self.turn.is_some_and(|(ahead, until)| device == ahead && at < until)
    }

    /// True for the device that goes ahead.
    pub(super) fn is(&self, device: DeviceIndex) -> bool {
        self.turn.is_some_and(|(ahead, _)| device == ahead)
    }

    pub(super) fn add(&mut self, scheduled: Scheduled) {
        self.agenda.push(scheduled);
    }

    /// The server has been given something: what it does of its own accord may have changed.
    pub(super) fn server_moves(&mut self) {
        self.spoken_to_at = None;
    }

    /// Takes out what comes first.
    fn next(&mut self) -> Option<Scheduled> {
        let order = |scheduled: &Scheduled| (scheduled.at, scheduled.sequence);
        let first = (0..self.agenda.len()).min_by_key(|place| order(&self.agenda[*place]))?;
        Some(self.agenda.swap_remove(first))
    }
}

/// Whether what a server does for one device leaves every other alone, but for the management's orders and its own timers.
pub(super) fn serves_each_alone(plan: &Plan) -> bool {
    let server = &plan.server;
    plan.cheats.is_empty() && server.deadline.is_none() && server.defect.is_none() && !server.limits.are_shared()
}

impl Engine {
    /// What is first in the queue happens, and what follows from it as far as the device goes ahead.
    pub(super) fn take_turn(&mut self, first: Scheduled) {
        let (device, now) = (first.device, self.now);
        self.current = Some(device);
        self.ahead.server_moves();
        let own = u32::from(!matches!(first.event, Event::Wake { .. }));
        if self.ports[device.at()].under_way == own {
            self.ahead.turn = self.goes_ahead_until(&first).map(|until| (device, until));
        }
        let mut next = Some(first);
        while let Some(scheduled) = next {
            self.play(scheduled);
            next = self.next_ahead();
        }
        if self.ahead.turn.take().is_some() {
            self.tell_carried(device);
        }
        self.now = now;
    }

    fn play(&mut self, scheduled: Scheduled) {
        let Scheduled { at, device, event, .. } = scheduled;
        self.crowd = if at <= self.now { self.crowd + 1 } else { 0 };
        assert!(self.crowd < CROWD, "a device keeps itself busy without time passing");
        self.now = at.max(self.now);
        if !matches!(event, Event::Wake { .. }) {
            self.ports[device.at()].under_way -= 1;
        }
        self.events += 1;
        self.happen(device, event);
    }

    /// Up to when a device may go ahead of which nothing else is under way: the Director's next look, or its own next wake, which waits in
    /// the queue.
    fn goes_ahead_until(&self, first: &Scheduled) -> Option<SimTime> {
        if !self.in_any_order || !self.process.is_prompt() {
            return None;
        }
        let port = &self.ports[first.device.at()];
        let wake = match first.event {
            Event::Wake { generation } if generation == port.generation => None,
            _ => port.wake,
        };
        let look = self.director.next_timeout()?;
        Some(wake.map_or(look, |wake| wake.min(look)))
    }

    /// When the server speaks to a device of its own accord, on whatever connection it believes in.
    pub(super) fn spoken_to_at(&self, device: DeviceIndex) -> Option<SimTime> {
        let connections = self.ports[device.at()].at_server();
        let speaks = connections.filter_map(|connection| self.server.speaks_at(connection_id(device, connection)));
        speaks.min()
    }

    /// What happens next to the device that is ahead. Once the server may speak first, everything left waits for its turn.
    fn next_ahead(&mut self) -> Option<Scheduled> {
        let next = self.ahead.next()?;
        let speaks = match self.ahead.spoken_to_at {
            Some(known) => known,
            None => self.spoken_to_at(next.device),
        };
        self.ahead.spoken_to_at = Some(speaks);
        if speaks.is_none_or(|speaks| next.at < speaks) {
            return Some(next);
        }
        self.queue.push(next);
        self.ahead.agenda.drain(..).for_each(|later| self.queue.push(later));
        None
    }
}
