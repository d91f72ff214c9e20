//! A device at rest behind its edge: only keep-alives cross the path, and nothing can come of one but the next.
//!
//! Who plays many devices leaves one at rest alone, and plays its keep-alives together once it has to look at it. They concern nobody
//! else: what was drawn, counted and shown is then what it would have been.

use std::time::Duration;

use crate::time::SimTime;
use crate::wire::Packet;

use super::super::link::Way;
use super::trouble::Trouble;
use super::{Connection, Edge};

/// What is known of a rest beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// When something else comes by time alone.
    pub until: Option<SimTime>,
    /// The longest that the server hears nothing meanwhile.
    pub silence: Duration,
}

/// Up to where a rest is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestEnd {
    /// The moment.
    pub at: SimTime,
    /// What happens at that moment has happened, too.
    pub included: bool,
}

impl RestEnd {
    fn is_behind(self, at: SimTime) -> bool {
        at < self.at || at == self.at && self.included
    }
}

/// What came of a rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptAlive {
    /// When the last keep-alive that was heard reached the server.
    pub heard_at: Option<SimTime>,
    /// The last one is still under way, or its answer is, and arrives then.
    pub under_way: Option<(Way, SimTime)>,
    /// Wakes, and packets that arrived.
    pub events: u64,
}

impl Edge {
    /// The rest that begins now; `None` if more than keep-alives is to come, or if one of them may fail. Nothing may be under way
    /// between device and server.
    #[must_use]
    pub fn rests(&self) -> Option<Rest> {
        let transport = &self.transport;
        let quiet = transport.connection == Connection::Up && !transport.downloading && transport.failing.is_none();
        let trouble = self.trouble.as_deref();
        if !quiet || self.link_down || trouble.is_some_and(|trouble| !trouble.waits()) {
            return None;
        }
        let (ping, device) = self.device.rests()?;
        let others = [device, self.link_changes, trouble.and_then(Trouble::next_due)];
        let until = others.into_iter().flatten().min();
        if until.is_some_and(|until| until <= ping) {
            return None;
        }
        let longest = self.path.longest_ping(ping)?;
        let keep_alive = self.device.config().keep_alive;
        // The answer is there long before it is missed.
        (longest < keep_alive / 2).then(|| Rest {
            until,
            silence: keep_alive + longest,
        })
    }

    /// Plays the keep-alives of a rest, as far as they are past by `end`: as [`Edge::handle_timeout`] and [`Edge::packet_arrives`] would
    /// one by one.
    ///
    /// Of those that are over before another follows nothing is left but their number: draws are without state, no link remembers more
    /// than its last packet, and all of them are equally long. So only the last two are played as such.
    pub fn keep_alive(&mut self, end: RestEnd) -> KeptAlive {
        let draws = self.draws();
        let mut kept = self.fold(end);
        while let Some(at) = self.device.ping_due().filter(|at| end.is_behind(*at)) {
            self.device.pinged(at);
            kept.events += 1;
            let heard_at = self.path.packet(Way::Up, &Packet::PingRequest, at, draws);
            if !end.is_behind(heard_at) {
                kept.under_way = Some((Way::Up, heard_at));
                break;
            }
            kept.heard_at = Some(heard_at);
            kept.events += 1;
            let answered_at = self.path.packet(Way::Down, &Packet::PingResponse, heard_at, draws);
            if !end.is_behind(answered_at) {
                kept.under_way = Some((Way::Down, answered_at));
                break;
            }
            self.device.ponged();
            kept.events += 1;
        }
        self.next = self.next_wake();
        kept
    }

    /// Counts all keep-alives but the last two.
    fn fold(&mut self, end: RestEnd) -> KeptAlive {
        let keep_alive = self.device.config().keep_alive;
        let Some(first) = self.device.ping_due().filter(|first| end.at > *first) else {
            return KeptAlive::default();
        };
        let further = end.at.since(first).as_nanos() / keep_alive.as_nanos();
        let folded = u32::try_from(further).unwrap_or(u32::MAX).saturating_sub(2);
        if folded > 0 {
            self.path.pings(folded);
            self.device.pinged(first + keep_alive * (folded - 1));
            self.device.ponged();
        }
        KeptAlive {
            events: 3 * u64::from(folded),
            ..KeptAlive::default()
        }
    }
}
