//! A picture of a rollout in trouble, made by hand, and a screen that draws it into memory.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use squall::dashboard::{Screen, Wish, text_of};
use squall::measure::{FaultCame, Happening, Noted, TraceNames};
use squall::model::{
    AttemptId, BootReason, Cause, CohortName, ConnectResult, DeviceIndex, FailureReason, Phase, RetryReason, Session, Share,
    Transition, UpdateState, Why,
};
use squall::play::{
    CohortLine, Expected, FaultLine, HeldBy, LatencyLine, Life, Mode, NextStep, NoteLine, OpenDevice, Picture, Stands, Throughput,
    ThroughputRow, WaitsFor,
};
use squall::time::SimTime;

/// Seconds of the run at which the picture is taken.
const AT: u64 = 72;

/// Draws `picture` on a screen of this size, after these keys.
pub fn drawn(width: u16, height: u16, keys: &[KeyCode], picture: &Picture) -> String {
    let mut shown = Shown::new(width, height);
    shown.draw(picture);
    for key in keys {
        shown.press(*key);
    }
    shown.draw(picture)
}

/// A screen in memory.
pub struct Shown {
    pub screen: Screen,
    terminal: Terminal<TestBackend>,
}

impl Shown {
    pub fn new(width: u16, height: u16) -> Shown {
        Shown {
            screen: Screen::new(false),
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
        }
    }

    pub fn press(&mut self, key: KeyCode) -> Option<Wish> {
        self.screen.on_key(KeyEvent::new(key, KeyModifiers::NONE))
    }

    pub fn draw(&mut self, picture: &Picture) -> String {
        let drawn = self.terminal.draw(|frame| self.screen.draw(frame, picture)).unwrap();
        text_of(drawn.buffer)
    }
}

/// Seventy-two seconds into a staged rollout with power cuts and a busy server.
pub fn picture() -> Picture {
    let mut sessions = [0; Session::ALL.len()];
    sessions[Session::Online as usize] = 1_994;
    sessions[Session::Offline as usize] = 6;
    let mut phases = [0; Phase::ALL.len()];
    phases[Phase::Idle as usize] = 1_782;
    phases[Phase::Downloading as usize] = 40;
    phases[Phase::Succeeded as usize] = 178;
    Picture {
        at: SimTime::from_secs(AT),
        duration: Duration::from_secs(480),
        mode: Mode::Run,
        name: "staged-rollout".to_owned(),
        seed: 1,
        server: "embedded",
        stage: "trouble",
        devices: 2_000,
        sessions,
        phases,
        open: 61,
        cohorts: vec![
            cohort("canary", [0, 0, 0, 20, 0, 0]),
            cohort("early", [0, 5, 56, 131, 6, 0]),
            cohort("rest", [1_782, 0, 0, 0, 0, 0]),
            cohort("all", [1_782, 5, 56, 151, 6, 0]),
        ],
        next: Some(NextStep {
            name: "everyone".to_owned(),
            waits: WaitsFor::Measure {
                text: "devices{cohort:early,state:succeeded} share >= 95 %".to_owned(),
                value: Some(0.662),
                unit: "%",
            },
        }),
        expectations: vec![
            Expected {
                text: "attempts{result:failed} share <= 5 %".to_owned(),
                value: Some(0.038),
                unit: "%",
                stands: Stands::Holds,
            },
            Expected {
                text: "update_time p(99) < 30s".to_owned(),
                value: Some(31.7),
                unit: "s",
                stands: Stands::Fails,
            },
            Expected {
                text: "devices{runs:app@1.1.0} share >= 95 %".to_owned(),
                value: Some(0.076),
                unit: "%",
                stands: Stands::NotYet,
            },
        ],
        throughput: throughput(),
        latency: latency(),
        flow: flow(),
        legal_seen: 13,
        illegal: 0,
        faults: vec![
            FaultLine {
                name: "cut".to_owned(),
                kind: "power-cut".to_owned(),
                planned: Some(80),
                done: 10,
                now: 1,
                phases: vec![(Phase::Downloading, 10)],
                ..FaultLine::default()
            },
            FaultLine {
                name: "busy".to_owned(),
                kind: "http 503".to_owned(),
                chance: Some(Share(120_000)),
                done: 36,
                now: 200,
                phases: vec![(Phase::Downloading, 36)],
                ..FaultLine::default()
            },
        ],
        slowest: slowest(),
        notes: notes(),
        noted: 6,
        late_p99: Some(Duration::from_micros(812)),
        life: None,
    }
}

fn cohort(name: &str, states: [u64; UpdateState::ALL.len()]) -> CohortLine {
    CohortLine {
        name: CohortName::new(name),
        states,
    }
}

fn throughput() -> Throughput {
    let row = |name, bytes, bars: fn(usize) -> f64, peak, total| {
        let bars: Vec<_> = (0..200).map(|at| if at < 128 { 0.0 } else { bars(at - 128) }).collect();
        ThroughputRow {
            name,
            bytes,
            now: bars[199],
            bars,
            peak,
            total,
        }
    };
    Throughput {
        seconds_a_bar: 1,
        rows: vec![
            row(
                "download",
                true,
                |at| if at < 20 { 0.0 } else { 1_300_000.0 + at as f64 * 1_000.0 },
                1_690_000.0,
                44_040_192,
            ),
            row("offers", false, |at| if at % 20 < 3 { 6.0 } else { 0.0 }, 6.0, 218),
            row("results", false, |at| if at < 30 { 0.0 } else { (at % 7) as f64 }, 6.2, 157),
            row("connects", false, |at| if at < 10 { 200.0 } else { 0.5 }, 200.0, 2_183),
            row("refusals", false, |at| if at > 50 { 1.0 } else { 0.0 }, 3.0, 36),
            row("requests", false, |at| if at < 20 { 0.0 } else { 3.0 }, 9.0, 262),
        ],
    }
}

fn latency() -> Vec<LatencyLine> {
    let line = |name, count, spread: [f64; 4]| LatencyLine {
        name,
        count,
        sum: 0.0,
        spread: spread.map(Some),
    };
    vec![
        line("connect_time", 2_183, [0.34, 0.58, 0.81, 1.40]),
        line("update_time", 157, [11.2, 17.4, 26.1, 31.7]),
        LatencyLine {
            name: "deploy_time",
            count: 0,
            sum: 0.0,
            spread: [None; 4],
        },
        line("downloading", 223, [7.10, 7.62, 8.21, 8.90]),
        line("retrying", 34, [3.71, 8.10, 8.93, 8.93]),
        line("swapping", 171, [0.88, 0.94, 1.02, 1.05]),
        line("probation", 157, [2.00, 2.04, 2.11, 2.13]),
    ]
}

fn flow() -> Box<[[u64; Phase::ALL.len()]; Phase::ALL.len()]> {
    let mut flow = Box::new([[0; Phase::ALL.len()]; Phase::ALL.len()]);
    let seen = [
        (Phase::Idle, Phase::Accepted, 218),
        (Phase::Waiting, Phase::Accepted, 8),
        (Phase::Accepted, Phase::Downloading, 226),
        (Phase::Downloading, Phase::Retrying, 36),
        (Phase::Downloading, Phase::Staged, 178),
        (Phase::Downloading, Phase::Waiting, 9),
        (Phase::Retrying, Phase::Downloading, 34),
        (Phase::Staged, Phase::Committing, 177),
        (Phase::Committing, Phase::Swapping, 175),
        (Phase::Swapping, Phase::Probation, 171),
        (Phase::Probation, Phase::Reverting, 6),
        (Phase::Probation, Phase::Succeeded, 151),
        (Phase::Reverting, Phase::Failed, 6),
    ];
    seen.into_iter()
        .for_each(|(from, to, count)| flow[from as usize][to as usize] = count);
    flow
}

fn slowest() -> Vec<OpenDevice> {
    let fault = |name: &str, ago_ms: Option<u64>| HeldBy {
        name: name.to_owned(),
        ago: ago_ms.map(Duration::from_millis),
    };
    let device = |index, id: &str, phase, open_ms, why, fault| OpenDevice {
        index: DeviceIndex(index),
        id: id.to_owned(),
        group: "early".to_owned(),
        phase,
        session: Session::Online,
        state: UpdateState::InProgress,
        open_for: Some(Duration::from_millis(open_ms)),
        why: Some(why),
        rate: (index == 1_803).then_some(36_864),
        fault,
    };
    vec![
        device(
            412,
            "meter-00412",
            Phase::Retrying,
            21_300,
            Why::Retrying {
                reason: RetryReason::Status,
                failures: 3,
                next_in: Duration::from_millis(8_900),
            },
            Some(fault("busy", None)),
        ),
        device(
            1_803,
            "meter-01803",
            Phase::Downloading,
            14_000,
            Why::Downloading {
                received: 152_064,
                total: Some(262_144),
            },
            Some(fault("cut", Some(6_400))),
        ),
        device(1_377, "meter-01377", Phase::Waiting, 12_200, Why::AwaitsManifest, None),
        // An id as a hostile server could have it.
        device(9, "\u{1b}[2J\u{202e}evil\u{7}", Phase::Swapping, 800, Why::Off, None),
    ]
}

fn notes() -> Vec<NoteLine> {
    let note = |millis, device: &str, what| NoteLine {
        at: SimTime::from_millis(millis),
        device: device.to_owned(),
        what,
    };
    let reverting = Transition {
        from: Phase::Probation,
        to: Phase::Reverting,
        cause: Cause::Power,
    };
    let failed = Transition {
        from: Phase::Reverting,
        to: Phase::Failed,
        cause: Cause::Normal,
    };
    vec![
        note(72_000, "meter-01544", Noted::Fault("cut".to_owned(), FaultCame::Done)),
        note(
            71_840,
            "meter-00977",
            Noted::Transition(failed, Some(FailureReason::ResetBeforeConfirm)),
        ),
        note(71_020, "meter-00977", Noted::RolledBack),
        note(70_220, "meter-00977", Noted::Transition(reverting, None)),
        note(69_930, "meter-00412", Noted::Retry(RetryReason::Status, 0)),
        note(40_000, "", Noted::Run("step `early` fires".to_owned())),
    ]
}

/// The life of the first of the slowest.
pub fn with_life(mut picture: Picture) -> Picture {
    let mut names = TraceNames::default();
    let image = names.intern("app@1.0.0");
    let at = SimTime::from_millis;
    let attempt = AttemptId::new(7).unwrap();
    picture.life = Some(Life {
        device: picture.slowest[0].clone(),
        happened: Some(vec![
            (
                at(500),
                Happening::Booted {
                    image,
                    confirmed: true,
                    why: BootReason::PowerOn,
                },
            ),
            (
                at(740),
                Happening::ConnectTried {
                    result: ConnectResult::Ok,
                    wanted_at: at(500),
                },
            ),
            (at(50_700), Happening::Manifest { attempt }),
            (at(51_000), Happening::Request { offset: 0 }),
            (
                at(51_090),
                Happening::Answer {
                    status: 503,
                    ranged: false,
                    length: None,
                },
            ),
        ]),
        names,
    });
    picture
}
