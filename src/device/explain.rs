//! Why a device is where it is.

use std::time::Duration;

use super::Device;
use super::attempt::{Attempt, Stage};
use super::behavior::InstallOutcome;
use super::boot::{BootStage, Power};
use super::fetch::{Fetch, Sink};
use super::session::Link;
use super::step::Step;
use crate::model::{Phase, Why};
use crate::time::SimTime;

impl Device {
    /// Why it is where it is.
    pub fn explain(&self, now: SimTime) -> Why {
        let until = |due: SimTime| due.since(now);
        let app = match &self.power {
            Power::Off => return Why::Off,
            Power::Boot {
                stage: BootStage::Dead, ..
            } => return Why::Bricked,
            Power::Boot { .. } => {
                let done = self.next_timeout().map_or(Duration::ZERO, |(due, _)| until(due));
                return Why::Flashing { done_in: done };
            }
            Power::On(app) if app.silent => return Why::Hangs,
            Power::On(app) => app,
        };
        if let Some(work) = &self.memory.work
            && let Some(why) = self.explain_step(&work.step, now)
        {
            return why;
        }
        if self.shown.phase == Phase::Probation {
            return Why::OnProbation {
                confirms_in: app.confirms_at.or(app.mutes_at()).map(until),
            };
        }
        match (self.memory.line.link, self.shown.phase) {
            (Link::Waiting { until: next }, _) => Why::Reconnecting { next_in: until(next) },
            (Link::Opening | Link::Greeting { .. }, _) => Why::Connecting,
            (Link::Open(_) | Link::Down, Phase::Waiting) => Why::AwaitsManifest,
            (Link::Open(_) | Link::Down, phase) if phase.at_rest() => Why::AtRest,
            (Link::Open(_) | Link::Down, _) => Why::Installing,
        }
    }

    fn explain_step(&self, step: &Step, now: SimTime) -> Option<Why> {
        match step {
            Step::Fetch(fetch) => Some(explain_fetch(fetch, now)),
            Step::Install { .. } => Some(Why::Installing),
            Step::Scan { until, .. } => Some(Why::Flashing {
                done_in: until.since(now),
            }),
            Step::Probation | Step::Upgrade => self.flash.ends().map(|ends| Why::Flashing {
                done_in: ends.since(now),
            }),
            Step::First | Step::Final | Step::Report(_) | Step::DropProbation | Step::Settle(_) => None,
        }
    }

    /// True when its own firmware keeps it from ending what it began: `hang`, `mute`, `unconfirmed`, or an install that never
    /// returns. Such a device is stuck, not broken.
    pub fn stuck_by_firmware(&self) -> bool {
        let Power::On(app) = &self.power else {
            return false;
        };
        if app.silent {
            return app.resets_at().is_none();
        }
        let unconfirmed = app.never_confirms && !self.flash.primary.is_confirmed();
        let never = self.memory.work.as_ref().is_some_and(|work| match &work.step {
            Step::Install { until, .. } => until.is_none(),
            Step::Fetch(fetch) => matches!(fetch.sink, Sink::Application(InstallOutcome::Never { .. })),
            Step::First
            | Step::Final
            | Step::Report(_)
            | Step::DropProbation
            | Step::Scan { .. }
            | Step::Probation
            | Step::Upgrade
            | Step::Settle(_) => false,
        });
        unconfirmed || never || self.waits_for_nothing()
    }
}

impl Device {
    /// A generation that does not take the repeated manifest of an attempt that it restored unfinished.
    fn waits_for_nothing(&self) -> bool {
        let restored =
            |attempt: &Attempt| attempt.stage == Stage::Open && attempt.manifest.is_none() && attempt.on_probation.is_none();
        !self.config.sdk.rehydrates() && self.memory.attempt.as_ref().is_some_and(restored)
    }
}

fn explain_fetch(fetch: &Fetch, now: SimTime) -> Why {
    let (received, total) = fetch.download.progress();
    let (failures, reason) = fetch.download.trouble();
    match fetch.download.retries_at() {
        Some(next) => Why::Retrying {
            reason,
            failures,
            next_in: next.since(now),
        },
        None => Why::Downloading { received, total },
    }
}
