//! The Director: timeline, `when`, trouble and settle, the end of the run. A core too: sightings and time go in, directives come out.
//!
//! A driver carries out [`Director::setup`] before time zero, powers the devices on at their planned moments, hands over every
//! sighting and calls [`Director::handle_timeout`] when [`Director::next_timeout`] is due; it decides nothing itself. After
//! [`Directive::Stop`] it names the devices that are still busy ([`Director::left_open`]) and takes the [`Outcome`].

mod io;
mod outcome;

use std::sync::Arc;

use crate::measure::Recorder;
use crate::model::{AdminAction, DeviceIndex, Why};
use crate::scenario::Plan;
use crate::time::SimTime;

pub use io::{Directive, Mode, RunEnd, Sighting, Snapshot, Stamped};
pub use outcome::{Checks, HarnessReport, Machine, Outcome, RunError, Status};

/// Conducts one run.
#[derive(Debug)]
pub struct Director {
    plan: Arc<Plan>,
    mode: Mode,
    end: Option<RunEnd>,
}

impl Director {
    /// A director at the start of a run.
    pub fn new(plan: Arc<Plan>, mode: Mode) -> Director {
        Director { plan, mode, end: None }
    }

    /// What the server must be told before time zero, in this order: firmware, versions, devices with tags in batches of at most
    /// 1,000, cohorts, members. Answers to these are the driver's to check; an error ends the run by [`Director::fail`]. Events that
    /// the server tells meanwhile are sightings at [`SimTime::ZERO`].
    pub fn setup(&self) -> Vec<AdminAction> {
        Vec::new()
    }

    /// Takes one thing that the driver saw.
    pub fn handle_sighting(&mut self, at: SimTime, sighting: Sighting, out: &mut Vec<Directive>) {
        let _ = (at, sighting, out);
    }

    /// Does what is due. A late call is fine: what was missed is made up for.
    pub fn handle_timeout(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        let _ = (now, out);
    }

    /// When [`Director::handle_timeout`] is due next; `None` once the run is over.
    #[must_use]
    pub fn next_timeout(&self) -> Option<SimTime> {
        None
    }

    /// The answer to [`Directive::EndTrouble`]: the latest timer that any device has armed, keep-alive and heartbeat left out.
    pub fn trouble_ended(&mut self, now: SimTime, latest_timer: Option<SimTime>, out: &mut Vec<Directive>) {
        let _ = (now, latest_timer, out);
    }

    /// The user asks for the end (Ctrl-C): emits [`Directive::Stop`], unless the run is over already.
    pub fn interrupt(&mut self, now: SimTime, out: &mut Vec<Directive>) {
        let _ = now;
        self.end.get_or_insert(RunEnd::Interrupted);
        out.push(Directive::Stop);
    }

    /// The run cannot go on: emits [`Directive::Stop`], unless the run is over already.
    pub fn fail(&mut self, now: SimTime, message: impl Into<String>, out: &mut Vec<Directive>) {
        let _ = now;
        self.end.get_or_insert_with(|| RunEnd::Failed(message.into()));
        out.push(Directive::Stop);
    }

    /// After [`Directive::Stop`]: this device is not at rest. `why` is its `Device::explain`; a device that its own firmware keeps
    /// from ending (`Device::stuck_by_firmware`) is stuck and breaks no rule.
    pub fn left_open(&mut self, device: DeviceIndex, why: Why, stuck_by_firmware: bool) {
        let _ = (device, why, stuck_by_firmware);
    }

    /// Figures for the progress line.
    #[must_use]
    pub fn snapshot(&self, now: SimTime) -> Snapshot {
        Snapshot {
            at: now,
            online: 0,
            open: 0,
            ok: 0,
            failed: 0,
        }
    }

    /// Judges what is left to judge and closes the books.
    pub fn finish(self, now: SimTime, harness: Option<HarnessReport>, started_at: Option<String>) -> Outcome {
        Outcome {
            plan: self.plan,
            mode: self.mode,
            elapsed: now,
            end: self.end.unwrap_or(RunEnd::Interrupted),
            recorder: Recorder::default(),
            judgements: Vec::new(),
            findings: Vec::new(),
            checks: Checks::default(),
            errors: Vec::new(),
            started_at,
            harness,
        }
    }
}
