//! A device at rest: nothing comes to it by time but keep-alives, each of which leaves it as it was but for the moment of the last.

use super::Device;
use super::timers::Timer;
use crate::model::Session;
use crate::time::SimTime;

impl Device {
    /// When the next keep-alive of a device at rest is due, and when anything else is; `None` if it is online and idle no longer, or if
    /// something else comes first.
    #[must_use]
    pub fn rests(&self) -> Option<(SimTime, Option<SimTime>)> {
        if self.shown.session != Session::Online || !self.shown.phase.at_rest() {
            return None;
        }
        let (mut ping, mut other) = (None, None);
        self.each_timer(|due, timer| match timer {
            Timer::KeepAlive => ping = Some(due),
            _ => other = Some(other.map_or(due, |before: SimTime| before.min(due))),
        });
        ping.filter(|ping| other.is_none_or(|other| *ping < other))
            .map(|ping| (ping, other))
    }

    /// When the next keep-alive is due.
    #[must_use]
    pub fn ping_due(&self) -> Option<SimTime> {
        self.memory.line.ping_due(self.config.keep_alive)
    }

    /// A keep-alive was sent at `at`, when it was due, as [`Device::handle_timeout`] sends it.
    pub fn pinged(&mut self, at: SimTime) {
        let keep_alive = self.config.keep_alive;
        self.memory.line.pinged(at, keep_alive);
    }

    /// It was answered, as [`Device::handle_input`] takes the answer.
    pub fn ponged(&mut self) {
        self.memory.line.ponged();
    }
}
