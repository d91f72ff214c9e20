//! A run that never was: its plan made by hand, its figures told to a recorder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use squall::device::{Backoff, Behaviors, BootOutcome, Chip, Dealt, DeviceConfig, ImageBehavior, Jitter, SwapMethod};
use squall::faults::LinkProfile;
use squall::luck::device_key;
use squall::measure::{Census, CensusDevice, Measure, Recorder, RecorderSetup, Trend};
use squall::model::{
    AttemptId, AttemptResult, BootReason, Cause, CohortRule, ConnectResult, DeviceIndex, Digest, FailureReason, FirmwareVersion,
    IngestKey, Observation, Phase, ServerEvent, Session, Split, StateReason, Tags, Transition, UpdateState,
};
use squall::play::{Checks, Filled, HarnessReport, Lateness, Machine, Mode, Outcome, RunEnd, ThreadFigures};
use squall::scenario::{
    Ends, Plan, PlannedCohort, PlannedDevice, PlannedFleet, PlannedStep, PlannedVersion, ServerPlan, Settle, StepTime, StepVerb,
    TlsPlan,
};
use squall::server::Limits;
use squall::time::SimTime;
use squall::verdict::{Expectation, JudgedAt, Judgement, Modes, judge};

/// Devices of the run; the first four are canaries.
pub const DEVICES: u32 = 20;
const CANARIES: u32 = 4;
/// Its new version crashes.
pub const CRASHER: DeviceIndex = DeviceIndex(7);
/// Its attempt is open at the end.
pub const SLOW: DeviceIndex = DeviceIndex(11);

fn version(text: &str) -> FirmwareVersion {
    text.parse().expect("versions of this rig are well formed")
}

fn expectation(line: u32, text: &str) -> Expectation {
    Expectation {
        text: text.to_owned(),
        name: None,
        line,
        measure: Measure::parse(text).expect("measures of this rig are well formed"),
        at: JudgedAt::End,
        abort_on_fail: false,
        after: Duration::ZERO,
        mode: Modes::Both,
    }
}

fn deploy(name: &str, line: u32, at: u64, cohort: &str) -> PlannedStep {
    PlannedStep {
        late: std::time::Duration::ZERO,
        name: name.to_owned(),
        line,
        at: StepTime::At(SimTime::from_secs(at)),
        when: None,
        held_for: Duration::ZERO,
        min_count: 1,
        verb: StepVerb::Deploy {
            packages: vec![version("app@1.1.0")],
            cohort: cohort.into(),
            main: Some("app".parse().expect("a slug")),
        },
    }
}

pub fn plan() -> Plan {
    let device = |number: u32| PlannedDevice {
        id: format!("meter-{number:05}").as_str().into(),
        fleet: 0,
        number,
        key: device_key("meter", number),
        boot_at: SimTime::from_millis(u64::from(number) * 10),
        tags: Arc::new(Tags::from([("region".to_owned(), "north".to_owned())])),
    };
    let cohort = |name: &str, members: std::ops::Range<u32>| PlannedCohort {
        name: name.into(),
        who: squall::model::Selector::all(),
        rule: CohortRule::ByHand,
        members: members.map(DeviceIndex).collect(),
    };
    Plan {
        split: Split::WHOLE,
        name: "staged".to_owned(),
        description: None,
        seed: 1,
        hash: "3f9c21ab00c0ffee".to_owned(),
        overrides: BTreeMap::from([("fleet.meter.count".to_owned(), "20".to_owned())]),
        file: None,
        source: "# as given\n".to_owned(),
        resolved: "# with every default\n".to_owned(),
        files: Vec::new(),
        warnings: Vec::new(),
        duration: Duration::from_secs(600),
        settle: Settle::Auto,
        ends: Ends::Settled,
        warmup: Duration::ZERO,
        trace: true,
        server: ServerPlan {
            target: None,
            listen: "127.0.0.1:0".parse().expect("an address"),
            tls: TlsPlan::Auto,
            chase: Duration::from_secs(30),
            limits: Limits::open(),
            on_disk: false,
            delay: Default::default(),
            first_attempt: squall::model::AttemptId::FIRST,
            defect: None,
            deadline: None,
        },
        bench: None,
        server_faults: Vec::new(),
        versions: vec![PlannedVersion {
            firmware: version("app@1.1.0"),
            image: Bytes::from_static(b"image"),
        }],
        fleets: vec![fleet()],
        devices: (0..DEVICES).map(device).collect(),
        cohorts: vec![cohort("canary", 0..CANARIES), cohort("rest", CANARIES..DEVICES)],
        steps: vec![deploy("canary", 9, 12, "canary"), deploy("everyone", 10, 40, "rest")],
        faults: Vec::new(),
        cheats: Vec::new(),
        links: BTreeMap::new(),
        expectations: vec![
            expectation(14, "attempts{result:failed} share <= 10 %"),
            expectation(15, "devices{runs:app@1.1.0} share >= 95 %"),
            expectation(16, "update_time p(99) < 15s"),
            expectation(17, "deploy_time{cohort:rest} p(99) < 1m"),
            expectation(18, "rollbacks count < 5"),
        ],
    }
}

fn fleet() -> PlannedFleet {
    let wait = Backoff {
        first: Duration::from_millis(500),
        max: Duration::from_millis(500),
        jitter: Jitter::Fixed,
    };
    let config = DeviceConfig {
        main: "app".parse().expect("a slug"),
        ingest_key: IngestKey::new("a key that no report may show"),
        chip: Arc::new(Chip {
            name: "nrf52840".to_owned(),
            page_size: 4096,
            write_size: 4,
            page_erase: Duration::from_millis(85),
            kib_write: Duration::from_millis(10),
            slot_size: 1 << 19,
            kib_hash: Duration::from_micros(50),
            verify: Duration::from_millis(1),
            boot: Duration::from_millis(50),
        }),
        swap: SwapMethod::Offset,
        key: None,
        reconnect: wait,
        retry: wait,
        connack_timeout: Duration::from_millis(500),
        keep_alive: Duration::from_secs(60),
        max_artifacts: 4,
        tls: true,
        sdk: squall::device::Sdk::Newest,
        quirks: squall::device::Quirks::default(),
        checks_fit: false,
        rollback_lock: squall::device::RollbackLock::Off,
        heartbeat: None,
        counts_wear: false,
        on_board: false,
    };
    let mut by_number = vec![0; DEVICES as usize];
    by_number[CRASHER.at()] = 1;
    let image = ImageBehavior {
        fits: squall::device::Dealt::Same(true),
        counter: 0,
        firmware: version("app@1.1.0").into(),
        boot: Dealt::Each {
            outcomes: vec![
                BootOutcome::ConfirmAfter(Duration::from_secs(2)),
                BootOutcome::CrashAfter(Duration::from_secs(1)),
            ],
            by_number,
        },
        image: Bytes::from_static(b"image").into(),
        build_id: None,
        own_build_id: None,
        sound: true,
    };
    PlannedFleet {
        on_boards: false,
        name: "meter".to_owned(),
        sleep: None,
        absence: None,
        link: Arc::new(LinkProfile::fixed("wifi", Duration::from_millis(14))),
        config: Arc::new(config),
        behaviors: Arc::new(Behaviors {
            images: BTreeMap::from([(Digest([7; 32]), image)]),
            installs: BTreeMap::new(),
            defect: None,
        }),
        runs: vec![version("app@1.0.0")],
        image: Bytes::from_static(b"old image"),
        first: DeviceIndex(0),
        count: DEVICES,
    }
}

/// Tells a recorder the life of every device.
struct Teller {
    recorder: Recorder,
    plan: Plan,
}

impl Teller {
    fn see(&mut self, millis: u64, device: DeviceIndex, observation: Observation) {
        self.recorder.observe(SimTime::from_millis(millis), device, &observation);
    }

    fn step(&mut self, millis: u64, device: DeviceIndex, from: Phase, to: Phase, cause: Cause, reason: Option<FailureReason>) {
        let observation = Observation::Transition {
            transition: Transition { from, to, cause },
            attempt: Some(attempt(device)),
            reason,
        };
        self.see(millis, device, observation);
    }

    fn state(&mut self, millis: u64, device: DeviceIndex, from: UpdateState, to: UpdateState, reason: StateReason) {
        let event = ServerEvent::StateChanged {
            device: self.plan.devices[device.at()].id.clone(),
            deployment: if device.0 < CANARIES {
                "canary".into()
            } else {
                "everyone".into()
            },
            attempt: attempt(device),
            from,
            to,
            reason,
        };
        self.recorder.observe_server(SimTime::from_millis(millis), &event);
    }

    fn boot(&mut self, millis: u64, device: DeviceIndex, firmware: &str, confirmed: bool) {
        let observation = Observation::Booted {
            build_id: None,
            firmware: version(firmware),
            confirmed,
            why: BootReason::PowerOn,
        };
        self.see(millis, device, observation);
    }

    fn connect(&mut self, device: DeviceIndex) {
        let at = u64::from(device.0) * 10;
        self.see(at, device, Observation::Session(Session::Connecting));
        self.boot(at, device, "app@1.0.0", true);
        let tried = Observation::ConnectTried {
            result: ConnectResult::Ok,
            wanted_at: SimTime::from_millis(at),
            tried_at: SimTime::from_millis(at),
        };
        self.see(at + 112 + at % 7, device, tried);
        self.see(at + 112 + at % 7, device, Observation::Session(Session::Online));
    }

    /// Everything from the deployment on; times spread by the device's number.
    fn update(&mut self, device: DeviceIndex) {
        use Cause::{Normal, Power};
        use Phase::{Accepted, Committing, Downloading, Failed, Idle, Probation, Reverting, Staged, Succeeded, Swapping};
        let due = if device.0 < CANARIES { 12_000 } else { 40_000 };
        let spread = u64::from(device.0) * 130;
        self.state(due, device, UpdateState::None, UpdateState::Pending, StateReason::Deployed);
        self.state(
            due + 1,
            device,
            UpdateState::Pending,
            UpdateState::InProgress,
            StateReason::Offered,
        );
        let received = Observation::ManifestReceived {
            attempt: attempt(device),
        };
        self.see(due + 15, device, received);
        self.step(due + 16, device, Idle, Accepted, Normal, None);
        self.step(due + 20, device, Accepted, Downloading, Normal, None);
        if device == SLOW {
            return;
        }
        let staged = due + 7_100 + spread;
        self.step(staged, device, Downloading, Staged, Normal, None);
        self.step(staged + 1, device, Staged, Committing, Normal, None);
        self.step(staged + 3, device, Committing, Swapping, Normal, None);
        self.step(staged + 883, device, Swapping, Probation, Normal, None);
        self.boot(staged + 883, device, "app@1.1.0", false);
        let (result, state) = if device == CRASHER {
            let reason = Some(FailureReason::ResetBeforeConfirm);
            self.step(staged + 1_883, device, Probation, Reverting, Power, None);
            self.see(staged + 2_700, device, Observation::RolledBack);
            self.boot(staged + 2_700, device, "app@1.0.0", true);
            self.end(staged + 2_701, device, AttemptResult::Failed, reason);
            self.step(staged + 2_701, device, Reverting, Failed, Normal, reason);
            (2_710, UpdateState::Failed)
        } else {
            self.see(staged + 2_883, device, Observation::Confirmed);
            self.end(staged + 2_884, device, AttemptResult::Succeeded, None);
            self.step(staged + 2_884, device, Probation, Succeeded, Normal, None);
            (2_900, UpdateState::Succeeded)
        };
        let published = Observation::ResultPublished {
            attempt: attempt(device),
            complete: true,
        };
        self.see(staged + result, device, published);
        self.state(
            staged + result + 14,
            device,
            UpdateState::InProgress,
            state,
            StateReason::Results,
        );
    }

    fn end(&mut self, millis: u64, device: DeviceIndex, result: AttemptResult, reason: Option<FailureReason>) {
        let attempt = attempt(device);
        self.see(millis, device, Observation::AttemptEnded { attempt, result, reason });
    }
}

fn attempt(device: DeviceIndex) -> AttemptId {
    AttemptId::new(u64::from(device.0) + 1).expect("above zero")
}

/// What the run came to, as `sim` or as `run` would tell it.
pub fn outcome(mode: Mode) -> Outcome {
    let plan = plan();
    let census = Census {
        devices: plan
            .devices
            .iter()
            .map(|device| CensusDevice {
                id: device.id.clone(),
                fleet: "meter".into(),
                tags: Arc::clone(&device.tags),
                runs: plan.fleets[0].runs.clone(),
                boot_at: device.boot_at,
            })
            .collect(),
        cohorts: plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect(),
    };
    let recorder = Recorder::new(RecorderSetup {
        census,
        requested: plan.measures().cloned().collect(),
        trace: true,
        warmup: Duration::ZERO,
        faults: Vec::new(),
    });
    let mut teller = Teller { recorder, plan };
    for device in (0..DEVICES).map(DeviceIndex) {
        let joined = ServerEvent::CohortJoined {
            device: teller.plan.devices[device.at()].id.clone(),
            cohort: if device.0 < CANARIES { "canary".into() } else { "rest".into() },
        };
        teller.recorder.observe_server(SimTime::ZERO, &joined);
        teller.connect(device);
        teller.update(device);
    }
    for second in 1..=58 {
        teller.recorder.second_over(SimTime::from_secs(second));
    }
    let Teller { recorder, plan } = teller;
    let elapsed = SimTime::from_millis(58_000);
    let judgements = plan.expectations.iter().enumerate().map(|(position, expectation)| {
        let measured = recorder.value(&expectation.measure, elapsed);
        Judgement {
            expectation: position,
            judged_at: elapsed,
            measured: measured.map(|measured| measured.value),
            passed: judge(expectation, measured),
            aborted: false,
        }
    });
    Outcome {
        judgements: judgements.collect(),
        plan: Arc::new(plan),
        mode,
        elapsed,
        end: RunEnd::Settled,
        fired: vec![Some(SimTime::from_secs(12)), Some(SimTime::from_secs(40))],
        server_windows: Vec::new(),
        recorder,
        findings: Vec::new(),
        checks: Checks {
            rules: 11,
            checks: 1_204_338,
        },
        left_open: Vec::new(),
        errors: Vec::new(),
        started_at: (mode == Mode::Run).then(|| "2026-11-23T14:05:09Z".to_owned()),
        harness: (mode == Mode::Run).then(harness),
        twin: None,
    }
}

fn harness() -> HarnessReport {
    HarnessReport {
        valid: true,
        reasons: Vec::new(),
        carries: None,
        late_p99_s: 0.0009,
        late_at_rest_s: 0.0011,
        late: Trend::default(),
        lateness: (1..=58)
            .map(|second| Lateness {
                at: SimTime::from_secs(second),
                p99_s: 0.0004 + 0.0005 * (second % 7) as f64 / 6.0,
                wakes: 40,
            })
            .collect(),
        cpu_percent: 23.4,
        memory_bytes: 48 << 20,
        free_memory_bytes: Some(5 << 30),
        descriptors: Some(Filled {
            most: 1_038,
            of: Some(20_000),
        }),
        ports: Some(Filled {
            most: 2_410,
            of: Some(28_232),
        }),
        threads: vec![ThreadFigures {
            name: "shard-0".to_owned(),
            cpu_percent: 9.5,
            busiest_percent: 14.0,
        }],
        dropped: 0,
        server_memory_bytes: Some(31 << 20),
        server_cpu_percent: Some(12.0),
        server_time: Vec::new(),
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            os: "an operating system".to_owned(),
        },
    }
}
