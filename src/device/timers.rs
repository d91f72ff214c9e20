//! The moments at which a device wants to be woken. None is stored twice: each is read from the state that it belongs to.

use super::Device;
use super::boot::{BootStage, Power};
use super::defect::Defect;
use super::flash::Progress;
use super::io::Outputs;
use super::session::{Line, Link};
use super::step::Step;
use crate::model::{BootReason, ConnectResult};
use crate::time::SimTime;

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The bootloader has hashed and verified.
    Boot,
    /// A stretch of flash work is over, or power fails within it.
    Flash,
    /// MQTT connects again.
    Reconnect,
    /// No CONNACK has come.
    ConnAck,
    /// No SUBACK has come.
    SubAck,
    /// A PINGREQ is due.
    KeepAlive,
    /// No PINGRESP has come.
    PingResponse,
    /// A download is tried again.
    Retry,
    /// The budget of a request is used up (protocol 5.5).
    RequestBudget,
    /// The downloaded image has been searched for its build id.
    Scan,
    /// An install handler returns.
    Install,
    /// A record is stored again after an error (protocol 6.3).
    Storage,
    /// The application confirms its image.
    Confirm,
    /// The application crashes or resets itself.
    Crash,
    /// The watchdog resets a silent application.
    Watchdog,
    /// The application falls silent.
    Mute,
    /// The device tells its uptime.
    Heartbeat,
}

impl Timer {
    /// True for what goes on for ever in a device that has nothing to do (keep-alive, heartbeat), and hence holds up no end of a run.
    pub const fn is_housekeeping(self) -> bool {
        matches!(self, Timer::KeepAlive | Timer::PingResponse | Timer::Heartbeat)
    }
}

impl Device {
    /// When the device next wants [`handle_timeout`](Self::handle_timeout), and what for; `None` means never.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(SimTime, Timer)> {
        let mut first = None;
        self.each_timer(|due, timer| {
            // Of several at one moment the first is done first.
            if first.is_none_or(|(before, _)| due < before) {
                first = Some((due, timer));
            }
        });
        first
    }

    /// The latest timer armed, housekeeping left out: by then a correct device has moved on by itself.
    #[must_use]
    pub fn latest_timeout(&self) -> Option<SimTime> {
        let mut latest = None;
        self.each_timer(|due, timer| {
            if !timer.is_housekeeping() {
                latest = latest.max(Some(due));
            }
        });
        latest
    }

    /// Shows every timer that is armed, in the order of [`Timer`].
    #[inline]
    pub(super) fn each_timer(&self, mut see: impl FnMut(SimTime, Timer)) {
        let mut see = |due: Option<SimTime>, timer| {
            if let Some(due) = due {
                see(due, timer);
            }
        };
        let line: &Line = &self.memory.line;
        see(self.boot_due(), Timer::Boot);
        see(self.flash_wakes(), Timer::Flash);
        match line.link {
            Link::Down | Link::Opening => {}
            Link::Waiting { until } => see(Some(until), Timer::Reconnect),
            Link::Greeting { until } => see(Some(until), Timer::ConnAck),
            Link::Open(_) => {
                see(line.suback_due(), Timer::SubAck);
                see(line.ping_due(self.config.keep_alive), Timer::KeepAlive);
                see(line.pong_due(), Timer::PingResponse);
            }
        }
        self.work_timers(&mut see);
        if let Power::On(app) = &self.power {
            see(app.confirms_at, Timer::Confirm);
            if let Some((due, why)) = app.resets_at() {
                let watchdog = why == BootReason::Watchdog;
                see(Some(due), if watchdog { Timer::Watchdog } else { Timer::Crash });
            }
            see(app.mutes_at(), Timer::Mute);
        }
        see(self.beats_at(), Timer::Heartbeat);
    }

    fn flash_wakes(&self) -> Option<SimTime> {
        match self.waits_for_board() {
            true => None,
            false => self.flash.wakes(&self.config.chip),
        }
    }

    fn boot_due(&self) -> Option<SimTime> {
        match self.power {
            Power::Boot {
                stage: BootStage::Checking { until, .. } | BootStage::Starting { until },
                ..
            } => Some(until),
            Power::Off | Power::Boot { .. } | Power::On(_) => None,
        }
    }

    fn work_timers(&self, see: &mut impl FnMut(Option<SimTime>, Timer)) {
        let Some(work) = &self.memory.work else {
            return;
        };
        if let Some(due) = work.stores_again() {
            return see(Some(due), Timer::Storage);
        }
        match &work.step {
            Step::Fetch(fetch) => {
                see(fetch.download.retries_at(), Timer::Retry);
                let patient = self.has(Defect::WaitForEver);
                see(fetch.download.budget_ends().filter(|_| !patient), Timer::RequestBudget);
            }
            Step::Scan { .. } if work.paused => {}
            Step::Scan { until, .. } => see(Some(*until), Timer::Scan),
            Step::Install { until, .. } => see(*until, Timer::Install),
            Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Probation
            | Step::Upgrade
            | Step::Settle(_) => {}
        }
    }

    /// A timer is due.
    pub(super) fn on_timer(&mut self, timer: Timer, due: SimTime, out: &mut Outputs) {
        match timer {
            Timer::Boot => match self.power {
                Power::Boot {
                    stage: BootStage::Checking { .. },
                    ..
                } => self.on_checked(due),
                Power::Boot { .. } | Power::Off | Power::On(_) => self.on_started(due, out),
            },
            Timer::Flash => self.on_flash(due, out),
            Timer::Reconnect => self.connect(due, out),
            Timer::ConnAck | Timer::SubAck | Timer::PingResponse => self.hang_up(ConnectResult::Timeout, due, out),
            Timer::KeepAlive => self.send_ping(due, out),
            Timer::Retry => self.on_retry(due, out),
            Timer::RequestBudget => self.on_budget_spent(due, out),
            Timer::Scan => self.on_scanned(due, out),
            Timer::Install => self.on_installed(due, out),
            Timer::Storage => self.store_again(due),
            Timer::Confirm => self.confirm(due),
            Timer::Crash | Timer::Watchdog => {
                if let Power::On(app) = &self.power
                    && let Some((_, why)) = app.resets_at()
                {
                    self.reset(why, due, out);
                }
            }
            Timer::Mute => self.mute(due, out),
            Timer::Heartbeat => self.beat(due, out),
        }
    }

    fn on_flash(&mut self, due: SimTime, out: &mut Outputs) {
        match self.flash.advance(due, &self.config.chip, &self.behaviors, out) {
            Progress::Idle | Progress::Busy => {}
            Progress::Done(stretch, at) => match self.power {
                Power::Boot { .. } => self.on_boot_flashed(&stretch, at, out),
                Power::On(_) => self.on_stored(stretch, at, out),
                Power::Off => {}
            },
            Progress::PowerFails(_) => self.lose_power(out),
            Progress::Failed(stretch, at, permanent) => self.on_flash_failed(stretch, permanent, at, out),
        }
    }
}
