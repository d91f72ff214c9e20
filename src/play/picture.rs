//! What a screen is told of a run at one moment, and what it asks for. Plain figures: who draws a picture owns no numbers.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::measure::{FaultCame, Happening, Noted, States, TraceNames};
use crate::model::{CohortName, DeviceIndex, Phase, Session, Share, UpdateState, Why};
use crate::time::SimTime;

use super::io::Mode;

/// What is wanted in the next picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Latency, devices and notes of this cohort alone.
    pub cohort: Option<CohortName>,
    /// Devices and notes whose id holds this text, or whose cohort or phase begins with it; empty is all.
    pub filter: String,
    /// Open devices wanted.
    pub devices: usize,
    /// Notes wanted.
    pub notes: usize,
    /// Bars of throughput wanted.
    pub bars: usize,
    /// Seconds in a bar; at least one.
    pub seconds_a_bar: u64,
    /// The device whose life is wanted.
    pub life: Option<DeviceIndex>,
}

/// A run at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When.
    pub at: SimTime,
    /// Steps and faults happen within it.
    pub duration: Duration,
    /// Which driver plays.
    pub mode: Mode,
    /// Name of the scenario.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// Which server is under test: `embedded`, and how it deviates.
    pub server: &'static str,
    /// Where the run stands, in a word: `trouble`, `settling` or `over`.
    pub stage: &'static str,
    /// Devices in all.
    pub devices: u64,
    /// Devices by [`Session`].
    pub sessions: [u64; Session::ALL.len()],
    /// Devices by [`Phase`].
    pub phases: [u64; Phase::ALL.len()],
    /// Devices that are not at rest, or whose attempt the server holds open.
    pub open: u64,
    /// Each cohort, `all` last.
    pub cohorts: Vec<CohortLine>,
    /// The step that comes next.
    pub next: Option<NextStep>,
    /// Expectations in order of the file.
    pub expectations: Vec<Expected>,
    /// What happened a second.
    pub throughput: Throughput,
    /// How long things took.
    pub latency: Vec<LatencyLine>,
    /// Changes of phase, by origin and destination.
    pub flow: Box<[[u64; Phase::ALL.len()]; Phase::ALL.len()]>,
    /// Legal pairs that were seen with a legal cause.
    pub legal_seen: usize,
    /// Changes that were not legal.
    pub illegal: u64,
    /// Faults in order of the file.
    pub faults: Vec<FaultLine>,
    /// Open devices, the one that has been open longest first; with a filter, others that it names behind them.
    pub slowest: Vec<OpenDevice>,
    /// What was noted, the last first.
    pub notes: Vec<NoteLine>,
    /// How many notes there ever were.
    pub noted: u64,
    /// Lateness of the harness, 99th percentile; only in real time.
    pub late_p99: Option<Duration>,
    /// The life that was asked for.
    pub life: Option<Life>,
}

/// A cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CohortLine {
    /// Its name.
    pub name: CohortName,
    /// Its devices by [`UpdateState`] in the newest deployment that reached them.
    pub states: States,
}

impl CohortLine {
    /// Its devices.
    pub fn devices(&self) -> u64 {
        self.states.iter().sum()
    }

    /// Its devices in a state.
    pub const fn of(&self, state: UpdateState) -> u64 {
        self.states[state as usize]
    }
}

/// A step that has not fired.
#[derive(Clone, Debug, PartialEq)]
pub struct NextStep {
    /// Its name.
    pub name: String,
    /// What it waits for.
    pub waits: WaitsFor,
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum WaitsFor {
    /// A moment.
    Until(SimTime),
    /// Another step.
    Step(String),
    /// That a measure holds.
    Measure {
        /// As written.
        text: String,
        /// Its value now, in the unit beside it; `None` is undefined.
        value: Option<f64>,
        /// `s`, `%` (the value is a share of 1), `1/s` or `1`.
        unit: &'static str,
    },
}

/// An expectation as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// As written.
    pub text: String,
    /// Its value now; `None` is undefined.
    pub value: Option<f64>,
    /// `s`, `%` (the value is a share of 1), `1/s` or `1`.
    pub unit: &'static str,
    /// Whether it would pass.
    pub stands: Stands,
}

/// How an expectation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It holds, or was judged to have held.
    Holds,
    /// It does not hold yet: what it waits for may still come.
    NotYet,
    /// It was judged to have failed, or would fail by what has happened already.
    Fails,
}

/// What happened a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Throughput {
    /// Seconds that a bar stands for.
    pub seconds_a_bar: u64,
    /// Each thing that is counted.
    pub rows: Vec<ThroughputRow>,
}

/// One thing that is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThroughputRow {
    /// Its name.
    pub name: &'static str,
    /// Whether it counts bytes.
    pub bytes: bool,
    /// A second, bar by bar, the present last.
    pub bars: Vec<f64>,
    /// In the last second.
    pub now: f64,
    /// In the second that had most.
    pub peak: f64,
    /// Since the start.
    pub total: u64,
}

/// How long one thing took.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyLine {
    /// A metric, or the phase whose visits are timed.
    pub name: &'static str,
    /// Number of values.
    pub count: u64,
    /// Their sum, seconds.
    pub sum: f64,
    /// Median, 95th and 99th percentile and largest, seconds.
    pub spread: [Option<f64>; 4],
}

/// A fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultLine {
    /// Its name.
    pub name: String,
    /// Its kind as written.
    pub kind: String,
    /// Happenings planned; `None` where it strikes single messages, requests or operations.
    pub planned: Option<u64>,
    /// Of each of those; 100 % unless the scenario says otherwise.
    pub chance: Option<Share>,
    /// Happenings so far.
    pub done: u64,
    /// Planned ones that can come about no more.
    pub missed: u64,
    /// Devices that it is on at.
    pub now: u64,
    /// Phases that it struck devices in, with how often.
    pub phases: Vec<(Phase, u64)>,
}

/// A device that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDevice {
    /// Which device.
    pub index: DeviceIndex,
    /// Its id.
    pub id: String,
    /// A cohort that it is in, or its fleet.
    pub group: String,
    /// Where it stands.
    pub phase: Phase,
    /// How it stands to the server.
    pub session: Session,
    /// What the server believes.
    pub state: UpdateState,
    /// How long it has been open; `None` is at rest.
    pub open_for: Option<Duration>,
    /// Why it is where it is, where the driver has said.
    pub why: Option<Why>,
    /// How fast its download has come lately, bytes a second.
    pub rate: Option<u64>,
    /// The fault that holds it, or that struck it last.
    pub fault: Option<HeldBy>,
}

/// A fault at a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBy {
    /// Its name.
    pub name: String,
    /// How long ago it struck; `None` while it is on.
    pub ago: Option<Duration>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteLine {
    /// When.
    pub at: SimTime,
    /// Id of the device concerned; empty is the run.
    pub device: String,
    /// What.
    pub what: Noted,
}

/// One device's life so far.
#[derive(Clone, Debug)]
pub struct Life {
    /// Whose.
    pub device: OpenDevice,
    /// What happened to it; `None` where the run keeps no trace.
    pub happened: Option<Vec<(SimTime, Happening)>>,
    /// Names in what happened.
    pub names: TraceNames,
}

impl Life {
    /// The part of it up to a moment.
    #[must_use]
    pub fn until(mut self, moment: SimTime) -> Life {
        if let Some(happened) = &mut self.happened {
            happened.retain(|(at, _)| *at <= moment);
        }
        self
    }
}

/// Somebody who watches a run in real time: what is wanted is read, pictures go out.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// How often a picture is wanted.
    pub period: Duration,
    /// What is wanted.
    pub ask: Arc<Mutex<Ask>>,
    /// Takes pictures; one that does not fit is dropped.
    pub pictures: SyncSender<Picture>,
}

/// The word for what came of a fault, as a log says it.
pub const fn came_word(came: FaultCame) -> &'static str {
    match came {
        FaultCame::Began => "begins",
        FaultCame::Done => "strikes",
        FaultCame::Missed => "is missed",
        FaultCame::Ended => "ends",
    }
}
