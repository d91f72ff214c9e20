//! Makes pictures. What costs is made anew once a second: the rest of a picture follows counts that are kept up to date.

use std::time::Duration;

use crate::faults::Target;
use crate::measure::{AnswerClass, FaultFigures, Group, Happened, Happening, Kind, Matrix, Measure, Note, Op, Recorder, Trend};
use crate::model::{CohortName, DeviceIndex, LEGAL, Phase, Session, UpdateState, Why};
use crate::scenario::{Plan, StepTime, TlsPlan};
use crate::time::SimTime;
use crate::verdict::{Expectation, Judgement};

use super::Director;
use super::Outcome;
use super::ending::Stage;
use super::picture::{
    Ask, CohortLine, Expected, FaultLine, HeldBy, LatencyLine, Life, NextStep, NoteLine, OpenDevice, Picture, Stands, Throughput,
    ThroughputRow, WaitsFor,
};
use super::timeline::Timeline;

/// Most open devices that are looked at for a filter in one picture, and most that an id brings in besides.
const LOOKED_AT: usize = 5_000;
const NAMED: usize = 50;
/// Over how long the rate of a download is taken.
const RATE_OVER: Duration = Duration::from_secs(2);

/// What is kept from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Watching {
    /// When the part below was made, and for what.
    made: Option<(SimTime, Option<CohortName>, u64, usize)>,
    expectations: Vec<Expected>,
    next: Option<NextStep>,
    throughput: Throughput,
    latency: Vec<LatencyLine>,
    life: Option<Watched>,
    /// Downloads of the devices shown last.
    downloads: Vec<Download>,
    /// A filter, and the first devices whose id begins with it: looked for once.
    named: (String, Vec<DeviceIndex>),
}

/// How far a download was, at one moment and at a later one.
#[derive(Clone, Copy, Debug)]
struct Download {
    device: DeviceIndex,
    from: (SimTime, u64),
    next: (SimTime, u64),
}

/// The life that is being followed.
#[derive(Debug)]
struct Watched {
    device: DeviceIndex,
    /// Rows of the trace that were looked at.
    seen: usize,
    happened: Vec<(SimTime, Happening)>,
}

impl Director {
    /// Begins to keep what pictures show; called before the first sighting.
    pub fn watch(&mut self) {
        self.looks_seldom = false;
        self.schedule();
        self.recorder.watch();
    }

    /// Bytes of images came to devices.
    pub fn count_image_bytes(&mut self, at: SimTime, bytes: u64) {
        self.recorder.count_image_bytes(at, bytes);
    }

    /// The run as it stands. `why` says why a device is where it is, as far as the driver knows.
    #[must_use]
    pub fn picture(&mut self, now: SimTime, ask: &Ask, why: &dyn Fn(DeviceIndex) -> Option<Why>) -> Picture {
        let mut watching = std::mem::take(&mut self.watching);
        watching.refresh(self, now, ask);
        watching.name(&self.recorder, &ask.filter);
        let life = ask.life.map(|device| watching.follow(self, now, device, why));
        let mut slowest = slowest(&self.recorder, &self.plan, now, (ask, &watching.named.1), why);
        watching.time_downloads(now, &mut slowest);
        let picture = Picture {
            at: now,
            duration: self.plan.duration,
            mode: self.mode,
            name: self.plan.name.clone(),
            seed: self.plan.seed,
            server: match self.plan.server.tls {
                _ if self.plan.server.target.is_some() => "external",
                TlsPlan::Off => "embedded, no TLS",
                TlsPlan::Auto | TlsPlan::Files { .. } => "embedded",
            },
            stage: match self.stage {
                Stage::Trouble => "trouble",
                Stage::Asked | Stage::Settling { .. } => "settling",
                Stage::Over { .. } => "over",
            },
            devices: self.recorder.device_count(),
            sessions: by(Session::ALL, |session| self.recorder.in_session(session)),
            phases: by(Phase::ALL, |phase| self.recorder.in_phase(phase)),
            open: self.recorder.open_attempts(),
            cohorts: cohorts(&self.recorder),
            next: watching.next.clone(),
            expectations: watching.expectations.clone(),
            throughput: watching.throughput.clone(),
            latency: watching.latency.clone(),
            flow: flow(self.recorder.matrix()),
            legal_seen: LEGAL.len() - self.recorder.matrix().unseen().len(),
            illegal: self.recorder.matrix().illegal(),
            faults: faults(&self.recorder, &self.plan),
            slowest,
            notes: notes(&self.recorder, &self.plan, ask),
            noted: self.recorder.noted(),
            late_p99: None,
            life,
        };
        self.watching = watching;
        picture
    }
}

impl Watching {
    /// Makes anew what is made once a second, or for something else than the last time.
    fn refresh(&mut self, director: &Director, now: SimTime, ask: &Ask) {
        let second = SimTime::from_secs(now.as_nanos() / 1_000_000_000);
        let made = Some((second, ask.cohort.clone(), ask.seconds_a_bar, ask.bars));
        if self.made == made {
            return;
        }
        self.made = made;
        let (recorder, plan) = (&director.recorder, &director.plan);
        let value = |measure: &Measure| recorder.value(measure, now).map(|measured| measured.value);
        self.expectations = director
            .judging
            .judged()
            .map(|(position, judgement)| expected(&plan.expectations[position], judgement, value))
            .collect();
        self.next = next_step(plan, &director.timeline, value);
        self.throughput = throughput(recorder, ask);
        let group = ask.cohort.as_ref().and_then(|cohort| {
            let mut cohorts = recorder.by_cohort();
            cohorts.find(|(name, _)| *name == cohort).map(|(_, group)| group)
        });
        self.latency = latency(group.unwrap_or_else(|| recorder.total()));
    }

    /// Looks for the devices that a filter names, where it is another than the last time.
    fn name(&mut self, recorder: &Recorder, filter: &str) {
        if self.named.0 != filter {
            self.named = (filter.to_owned(), recorder.starting_with(filter).take(NAMED).collect());
        }
    }

    /// Says how fast the downloads among `devices` have come lately.
    fn time_downloads(&mut self, now: SimTime, devices: &mut [OpenDevice]) {
        let before = std::mem::take(&mut self.downloads);
        for device in devices {
            let Some(Why::Downloading { received, .. }) = device.why else {
                continue;
            };
            let known = before.iter().find(|download| download.device == device.index);
            let download = Download::seen(known, device.index, (now, received));
            device.rate = download.rate((now, received));
            self.downloads.push(download);
        }
    }

    /// Follows one device through the trace, from where it was left.
    fn follow(&mut self, director: &Director, now: SimTime, device: DeviceIndex, why: &dyn Fn(DeviceIndex) -> Option<Why>) -> Life {
        if self.life.as_ref().is_none_or(|life| life.device != device) {
            self.life = Some(Watched {
                device,
                seen: 0,
                happened: Vec::new(),
            });
        }
        let trace = director.recorder.trace();
        if let (Some(life), Some(trace)) = (&mut self.life, trace) {
            let rows = trace.rows_from(life.seen);
            let own = rows.iter().filter(|row| row.device == device);
            life.happened.extend(own.map(|row| (row.at, row.happening)));
            life.seen += rows.len();
        }
        let happened = self.life.as_ref().map(|life| life.happened.clone());
        Life {
            device: open_device(&director.recorder, &director.plan, now, device, why),
            happened: happened.filter(|_| trace.is_some()),
            names: trace.map(|trace| trace.names().clone()).unwrap_or_default(),
        }
    }
}

impl Download {
    /// Takes note of how far it is at a moment; another download than the one `known` begins anew.
    fn seen(known: Option<&Download>, device: DeviceIndex, (now, received): (SimTime, u64)) -> Download {
        let begun = Download {
            device,
            from: (now, received),
            next: (now, received),
        };
        match known {
            Some(known) if known.next.1 > received || now.since(known.next.0) > RATE_OVER * 2 => begun,
            Some(known) if now.since(known.next.0) >= RATE_OVER => Download {
                from: known.next,
                ..begun
            },
            Some(known) => *known,
            None => begun,
        }
    }

    /// Bytes a second since the earlier moment, once that is long enough ago.
    fn rate(&self, (now, received): (SimTime, u64)) -> Option<u64> {
        let took = now.since(self.from.0);
        let bytes = received.saturating_sub(self.from.1);
        (took >= RATE_OVER / 2).then(|| (bytes as f64 / took.as_secs_f64()) as u64)
    }
}

fn expected(expectation: &Expectation, judgement: Option<&Judgement>, value: impl Fn(&Measure) -> Option<f64>) -> Expected {
    let measure = &expectation.measure;
    let value = judgement.map_or_else(|| value(measure), |judgement| judgement.measured);
    let holds = |value: f64| measure.comparison.is_none_or(|comparison| comparison.holds(value));
    Expected {
        text: expectation.text.clone(),
        value,
        unit: measure.unit(),
        stands: match (judgement, value) {
            (Some(judgement), _) if judgement.passed => Stands::Holds,
            (Some(_), _) => Stands::Fails,
            (None, None) => Stands::NotYet,
            (None, Some(value)) if holds(value) => Stands::Holds,
            (None, Some(value)) if may_come(measure, value) => Stands::NotYet,
            (None, Some(_)) => Stands::Fails,
        },
    }
}

/// Whether a measure that does not hold can be expected to: gauges go up and down, what is counted or timed only adds up.
fn may_come(measure: &Measure, value: f64) -> bool {
    measure.comparison.is_none_or(|comparison| match comparison.op {
        _ if measure.metric.kind() == Kind::Gauge => true,
        Op::More | Op::AtLeast | Op::Unequal => true,
        Op::Equal => value < comparison.limit,
        Op::Less | Op::AtMost => false,
    })
}

fn by<T: Copy, const N: usize>(all: &[T], count: impl Fn(T) -> u64) -> [u64; N] {
    let mut counts = [0; N];
    counts.iter_mut().zip(all).for_each(|(slot, value)| *slot = count(*value));
    counts
}

fn cohorts(recorder: &Recorder) -> Vec<CohortLine> {
    let lines = recorder.states_by_cohort().map(|(name, states)| CohortLine {
        name: name.clone(),
        states,
    });
    let all = CohortLine {
        name: CohortName::all(),
        states: by(UpdateState::ALL, |state| recorder.in_state(state)),
    };
    lines.chain([all]).collect()
}

fn next_step(plan: &Plan, timeline: &Timeline, value: impl Fn(&Measure) -> Option<f64>) -> Option<NextStep> {
    let (position, earliest) = timeline.next()?;
    let step = &plan.steps[position];
    let waits = match (&step.when, earliest, &step.at) {
        (Some(measure), Some(_), _) => WaitsFor::Measure {
            text: measure.to_string(),
            value: value(measure),
            unit: measure.unit(),
        },
        (None, Some(at), _) => WaitsFor::Until(at),
        (_, None, StepTime::At(at)) => WaitsFor::Until(*at),
        (_, None, StepTime::After { step, .. }) => WaitsFor::Step(step.clone()),
    };
    Some(NextStep {
        name: step.name.clone(),
        waits,
    })
}

/// What throughput counts: name, whether it is bytes, which count.
type Counted = (&'static str, bool, fn(&Happened) -> u64);

const COUNTED: [Counted; 6] = [
    ("download", true, |happened| happened.image_bytes),
    ("offers", false, |happened| happened.manifests),
    ("results", false, |happened| happened.ended.iter().sum()),
    ("connects", false, |happened| happened.connects_ok),
    ("refusals", false, refusals),
    ("requests", false, |happened| happened.requests),
];

/// Image answers of status 400 or above, and tries to connect that failed.
fn refusals(happened: &Happened) -> u64 {
    let classes = [AnswerClass::Client, AnswerClass::Busy, AnswerClass::Server];
    let answers: u64 = classes.iter().map(|class| happened.answers[*class as usize]).sum();
    answers + happened.connects_failed
}

fn throughput(recorder: &Recorder, ask: &Ask) -> Throughput {
    let stride = recorder.timeline().stride();
    let seconds_a_bar = ask.seconds_a_bar.max(stride);
    let mut rows: Vec<_> = COUNTED
        .iter()
        .map(|&(name, bytes, _)| ThroughputRow {
            name,
            bytes,
            bars: vec![0.0; ask.bars],
            ..ThroughputRow::default()
        })
        .collect();
    let last = recorder.timeline().rows().last().map_or(SimTime::ZERO, |row| row.at);
    for row in recorder.timeline().rows() {
        let back = (last.since(row.at).as_secs() / seconds_a_bar) as usize;
        for (line, (_, _, count)) in rows.iter_mut().zip(&COUNTED) {
            let count = count(&row.happened);
            let rate = count as f64 / stride as f64;
            line.total += count;
            line.peak = line.peak.max(rate);
            line.now = rate;
            if let Some(bar) = ask.bars.checked_sub(back + 1) {
                line.bars[bar] += count as f64 / seconds_a_bar as f64;
            }
        }
    }
    Throughput { seconds_a_bar, rows }
}

/// The metrics, then the phases that took most time in all.
fn latency(group: &Group) -> Vec<LatencyLine> {
    let line = |name: &'static str, trend: &Trend| {
        let [med, p95, p99] = trend.percentiles([50.0, 95.0, 99.0]);
        LatencyLine {
            name,
            count: trend.count(),
            sum: trend.sum(),
            spread: [med, p95, p99, trend.max()],
        }
    };
    let timed = Phase::ALL
        .iter()
        .map(|phase| (phase.word(), &group.phase_time[*phase as usize]));
    let mut phases: Vec<_> = timed.filter(|(_, trend)| trend.count() > 0).collect();
    phases.sort_by(|(_, one), (_, other)| other.sum().total_cmp(&one.sum()));
    let phases = phases.into_iter().map(|(name, trend)| line(name, trend));
    let [connect, update, deploy] = [
        line("connect_time", &group.connect_time),
        line("update_time", &group.update_time),
        line("deploy_time", &group.deploy_time),
    ];
    [connect, update, deploy].into_iter().chain(phases).collect()
}

/// Pairs over all causes.
fn flow(matrix: &Matrix) -> Box<[[u64; Phase::ALL.len()]; Phase::ALL.len()]> {
    let mut pairs = Box::new([[0; Phase::ALL.len()]; Phase::ALL.len()]);
    for (transition, count) in matrix.rows() {
        pairs[transition.from as usize][transition.to as usize] += count;
    }
    pairs
}

/// Those of the plan, then the cheats.
fn faults(recorder: &Recorder, plan: &Plan) -> Vec<FaultLine> {
    let chances = plan.faults.iter().map(|fault| Some(fault.chance));
    let chances = chances.chain(std::iter::repeat(None));
    recorder
        .faults()
        .iter()
        .zip(chances)
        .map(|(figures, chance)| FaultLine {
            chance,
            ..fault(figures)
        })
        .collect()
}

fn fault(figures: &FaultFigures) -> FaultLine {
    let struck = Phase::ALL.iter().map(|phase| (*phase, figures.phases[*phase as usize]));
    FaultLine {
        name: figures.name.to_string(),
        kind: figures.kind.to_string(),
        planned: figures.planned,
        chance: None,
        done: figures.done,
        missed: figures.missed,
        now: figures.on,
        phases: struck.filter(|(_, count)| *count > 0).collect(),
    }
}

fn slowest(
    recorder: &Recorder,
    plan: &Plan,
    now: SimTime,
    (ask, named): (&Ask, &[DeviceIndex]),
    why: &dyn Fn(DeviceIndex) -> Option<Why>,
) -> Vec<OpenDevice> {
    let wanted = |device: &DeviceIndex| is_wanted(recorder, plan, *device, ask);
    let mut found: Vec<_> = recorder
        .open_devices()
        .take(LOOKED_AT)
        .map(|(_, device)| device)
        .filter(wanted)
        .take(ask.devices)
        .collect();
    if !ask.filter.is_empty() && found.len() < ask.devices {
        let named = named.iter().copied().filter(wanted);
        let named: Vec<_> = named.filter(|device| !found.contains(device)).collect();
        found.extend(named);
        found.truncate(ask.devices);
    }
    found
        .into_iter()
        .map(|device| open_device(recorder, plan, now, device, why))
        .collect()
}

fn is_wanted(recorder: &Recorder, plan: &Plan, device: DeviceIndex, ask: &Ask) -> bool {
    if ask.cohort.as_ref().is_some_and(|cohort| !recorder.is_in(device, cohort)) {
        return false;
    }
    let text = ask.filter.as_str();
    if text.is_empty() || plan.devices[device.at()].id.as_str().contains(text) {
        return true;
    }
    let device = recorder.device(device);
    device.phase.word().starts_with(text) || device.cohorts.iter().any(|cohort| cohort.as_str().starts_with(text))
}

fn open_device(
    recorder: &Recorder,
    plan: &Plan,
    now: SimTime,
    device: DeviceIndex,
    why: &dyn Fn(DeviceIndex) -> Option<Why>,
) -> OpenDevice {
    let row = recorder.device(device);
    // What is wrong with image requests holds nobody who makes none.
    let requests = matches!(row.phase, Phase::Downloading | Phase::Retrying | Phase::Installing);
    let may_hold = |fault: usize| {
        let known = plan.faults.get(fault);
        known.is_none_or(|fault| requests || fault.kind.target() != Target::Requests)
    };
    OpenDevice {
        index: device,
        id: plan.devices[device.at()].id.to_string(),
        group: row.cohorts.first().map_or(row.fleet, |cohort| cohort.as_str()).to_owned(),
        phase: row.phase,
        session: row.session,
        state: row.state,
        open_for: recorder.open_since(device).map(|since| now.since(since)),
        why: why(device),
        rate: None,
        fault: recorder.held_by(device, &may_hold).map(|(name, struck)| HeldBy {
            name: name.to_owned(),
            ago: struck.map(|at| now.since(at)),
        }),
    }
}

fn notes(recorder: &Recorder, plan: &Plan, ask: &Ask) -> Vec<NoteLine> {
    let wanted = |note: &&Note| note.device.is_none_or(|device| is_wanted(recorder, plan, device, ask));
    let line = |note: &Note| NoteLine {
        at: note.at,
        device: note
            .device
            .map_or_else(String::new, |device| plan.devices[device.at()].id.to_string()),
        what: note.what.clone(),
    };
    recorder.notes().filter(wanted).take(ask.notes).map(line).collect()
}

impl Outcome {
    /// What was noted to the end, the last first, and how many notes there ever were; where somebody watched.
    pub fn notes(&self) -> (u64, Vec<NoteLine>) {
        let all = Ask {
            notes: usize::MAX,
            ..Ask::default()
        };
        (self.recorder.noted(), notes(&self.recorder, &self.plan, &all))
    }
}

impl Picture {
    /// Devices in a session.
    pub const fn in_session(&self, session: Session) -> u64 {
        self.sessions[session as usize]
    }

    /// The line of all devices.
    pub fn all(&self) -> Option<&CohortLine> {
        self.cohorts.last()
    }

    /// How long is left of the duration.
    pub fn left(&self) -> Duration {
        self.duration.saturating_sub(self.at.since(SimTime::ZERO))
    }
}
