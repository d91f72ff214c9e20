//! A small fleet whose life is told by hand: `a-0`, `a-1` of fleet `a` (tagged), `b-0` of fleet `b`.

use super::super::census::{Census, CensusDevice};
use super::*;
use crate::model::{
    AttemptResult, BootReason, Cause, ConnectResult, DeviceId, FailureReason, Observation, Phase, Prompt, RetryReason, ServerEvent,
    Session, StateReason, Transition, UpdateState,
};

const A0: DeviceIndex = DeviceIndex(0);
const A1: DeviceIndex = DeviceIndex(1);
const B0: DeviceIndex = DeviceIndex(2);

struct Rig {
    recorder: Recorder,
    measures: Vec<Measure>,
}

impl Rig {
    fn asking(measures: &[&str]) -> Rig {
        let device = |id: &str, fleet: &str, region: &str, boot_at: u64| CensusDevice {
            id: DeviceId::new(id),
            fleet: fleet.into(),
            tags: Arc::new(Tags::from([("region".to_owned(), region.to_owned())])),
            runs: vec!["app@1".parse().unwrap(), "modem@1".parse().unwrap()],
            boot_at: SimTime::from_secs(boot_at),
        };
        let measures: Vec<_> = measures.iter().map(|text| Measure::parse(text).unwrap()).collect();
        let recorder = Recorder::new(RecorderSetup {
            census: Census {
                devices: vec![
                    device("a-0", "a", "north", 0),
                    device("a-1", "a", "west", 0),
                    device("b-0", "b", "west", 50),
                ],
                cohorts: vec!["west".into()],
            },
            requested: measures.clone(),
            trace: true,
            warmup: Duration::ZERO,
            faults: Vec::new(),
        });
        Rig { recorder, measures }
    }

    fn see(&mut self, at: u64, device: DeviceIndex, observation: Observation) {
        self.recorder.observe(SimTime::from_secs(at), device, &observation);
    }

    fn step(&mut self, at: u64, device: DeviceIndex, id: u64, from: Phase, to: Phase) {
        let transition = Transition {
            from,
            to,
            cause: Cause::Normal,
        };
        let observation = Observation::Transition {
            transition,
            attempt: Some(attempt(id)),
            reason: None,
        };
        self.see(at, device, observation);
    }

    fn end(&mut self, at: u64, device: DeviceIndex, id: u64, result: AttemptResult) {
        let reason = (result == AttemptResult::Failed).then_some(FailureReason::ResetBeforeConfirm);
        let attempt = attempt(id);
        self.see(at, device, Observation::AttemptEnded { attempt, result, reason });
    }

    fn state(&mut self, at: u64, device: &str, deployment: &str, id: u64, from: UpdateState, to: UpdateState) {
        let event = ServerEvent::StateChanged {
            device: device.into(),
            deployment: deployment.into(),
            attempt: attempt(id),
            from,
            to,
            reason: match to {
                UpdateState::Pending => StateReason::Deployed,
                UpdateState::InProgress => StateReason::Offered,
                UpdateState::Succeeded | UpdateState::Failed => StateReason::Results,
                UpdateState::None | UpdateState::Cancelled => StateReason::Superseded,
            },
        };
        self.recorder.observe_server(SimTime::from_secs(at), &event);
    }

    fn join(&mut self, device: &str, cohort: &str) {
        let event = ServerEvent::CohortJoined {
            device: device.into(),
            cohort: cohort.into(),
        };
        self.recorder.observe_server(SimTime::ZERO, &event);
    }

    fn values(&self, now: u64) -> Vec<Option<f64>> {
        let now = SimTime::from_secs(now);
        let value = |measure| self.recorder.value(measure, now).map(|measured| measured.value);
        self.measures.iter().map(value).collect()
    }
}

fn attempt(id: u64) -> AttemptId {
    AttemptId::new(id).unwrap()
}

#[test]
fn gauges_follow_every_change_of_a_device() {
    let mut rig = Rig::asking(&[
        "devices{state:succeeded} share",
        "devices{state:none} count",
        "devices{runs:app@2} count",
        "devices{runs:app@2,runs:modem@1} count",
        "devices{session:online,fleet:a} share",
        "devices{phase:downloading|retrying} count",
        "devices{tag.region:west} count",
        "devices{!cohort:west} count",
        "devices{cohort:all} count",
        "devices{step:one} count",
        "devices{device:b-0,!session:off} count",
    ]);
    assert_eq!(
        rig.values(0),
        [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 2.0, 3.0, 3.0, 0.0, 0.0].map(Some)
    );
    rig.recorder.second_over(SimTime::ZERO);
    rig.join("b-0", "west");
    rig.state(1, "a-0", "one", 7, UpdateState::None, UpdateState::Pending);
    rig.state(2, "a-0", "one", 7, UpdateState::InProgress, UpdateState::Succeeded);
    rig.see(1, A0, Observation::Session(Session::Online));
    rig.step(1, A1, 8, Phase::Accepted, Phase::Downloading);
    rig.see(
        2,
        A0,
        Observation::Booted {
            build_id: None,
            firmware: "app@2".parse().unwrap(),
            confirmed: false,
            why: BootReason::Software,
        },
    );
    let installed = "modem@2".parse().unwrap();
    rig.see(2, A0, Observation::Installed { firmware: installed });
    rig.recorder
        .set_tags(A0, &Tags::from([("region".to_owned(), "west".to_owned())]));
    let expected = [1.0 / 3.0, 2.0, 1.0, 0.0, 0.5, 1.0, 3.0, 2.0, 3.0, 1.0, 0.0].map(Some);
    assert_eq!(rig.values(3), expected);
    rig.recorder.second_over(SimTime::from_secs(3));
    assert_eq!(rig.values(3), expected, "counted beforehand");
    rig.recorder.remove_tags(A1, &["region".to_owned()]);
    assert_eq!(rig.values(3)[6], Some(2.0));
}

#[test]
fn a_share_of_nothing_is_undefined_and_a_measure_nobody_asked_for_too() {
    let mut rig = Rig::asking(&["devices{fleet:c} share", "attempts{result:failed} share", "update_time p(95)"]);
    assert_eq!(rig.values(9), [None, None, None]);
    rig.measures = vec![Measure::parse("devices count").unwrap()];
    assert_eq!(rig.values(9), [None]);
}

#[test]
fn state_means_the_newest_deployment_unless_a_step_is_named() {
    let mut rig = Rig::asking(&[
        "devices{state:failed} count",
        "devices{step:bad,state:failed} share",
        "devices{step:fix,state:succeeded} share",
        "devices{step:bad|fix,state:succeeded} count",
        "devices{step:bad,!state:failed} count",
    ]);
    rig.state(1, "a-0", "bad", 1, UpdateState::None, UpdateState::Pending);
    rig.state(1, "a-1", "bad", 2, UpdateState::None, UpdateState::Pending);
    rig.state(5, "a-0", "bad", 1, UpdateState::InProgress, UpdateState::Failed);
    assert_eq!(rig.values(5), [Some(1.0), Some(0.5), None, Some(0.0), Some(1.0)]);
    rig.state(6, "a-0", "fix", 3, UpdateState::None, UpdateState::Pending);
    rig.state(9, "a-0", "fix", 3, UpdateState::InProgress, UpdateState::Succeeded);
    assert_eq!(rig.values(9), [Some(0.0), Some(0.5), Some(1.0), Some(1.0), Some(1.0)]);
}

#[test]
fn attempts_and_rollbacks_belong_to_the_deployment_of_their_attempt() {
    let mut rig = Rig::asking(&[
        "attempts{result:failed} share",
        "attempts{result:failed,step:bad} count",
        "attempts{reason:reset-before-confirm,cohort:west} count",
        "rollbacks{step:bad} count",
        "rollbacks{!step:bad} count",
        "attempts rate",
    ]);
    rig.join("a-1", "west");
    rig.state(1, "a-0", "bad", 1, UpdateState::None, UpdateState::Pending);
    rig.step(2, A0, 1, Phase::Idle, Phase::Accepted);
    rig.see(3, A0, Observation::RolledBack);
    rig.end(4, A0, 1, AttemptResult::Failed);
    // The device is ahead of the server's event stream: its attempt is not known yet.
    rig.step(2, A1, 2, Phase::Idle, Phase::Accepted);
    rig.see(3, A1, Observation::RolledBack);
    rig.end(4, A1, 2, AttemptResult::Failed);
    rig.end(4, B0, 9, AttemptResult::Succeeded);
    assert_eq!(rig.values(4)[1..5], [Some(1.0), Some(1.0), Some(1.0), Some(0.0)]);
    rig.state(4, "a-1", "bad", 2, UpdateState::None, UpdateState::Pending);
    rig.state(4, "b-0", "other", 9, UpdateState::None, UpdateState::Pending);
    let expected = [2.0 / 3.0, 2.0, 1.0, 2.0, 0.0, 0.75].map(Some);
    assert_eq!(rig.values(4), expected);
}

#[test]
fn update_time_runs_from_the_first_manifest_to_the_complete_report() {
    let mut rig = Rig::asking(&["update_time max", "update_time count", "update_time{result:failed} count"]);
    let received = || Observation::ManifestReceived { attempt: attempt(1) };
    let published = |complete| Observation::ResultPublished {
        attempt: attempt(1),
        complete,
    };
    rig.see(10, A0, received());
    rig.see(15, A0, published(false));
    rig.see(30, A0, received());
    rig.end(40, A0, 1, AttemptResult::Succeeded);
    rig.see(41, A0, published(true));
    rig.see(60, A0, published(true));
    assert_eq!(rig.values(60), [Some(31.0), Some(1.0), Some(0.0)]);
    assert_eq!(rig.recorder.total().update_time.count(), 1);
}

#[test]
fn deploy_time_runs_from_when_the_attempt_was_due_and_open_ones_are_infinite() {
    let mut rig = Rig::asking(&[
        "deploy_time p(50)",
        "deploy_time max",
        "deploy_time{fleet:b} max",
        "deploy_time count",
    ]);
    for (device, id) in [("a-0", 1), ("b-0", 2)] {
        rig.state(10, device, "one", id, UpdateState::None, UpdateState::Pending);
    }
    rig.state(22, "a-0", "one", 1, UpdateState::InProgress, UpdateState::Succeeded);
    let endless = Some(f64::INFINITY);
    assert_eq!(rig.values(30), [Some(12.0), endless, endless, Some(1.0)]);
    rig.state(57, "b-0", "one", 2, UpdateState::InProgress, UpdateState::Failed);
    let values = rig.values(60);
    assert_eq!(values[1..], [Some(12.0), Some(7.0), Some(2.0)], "b-0 is powered on at 50 s");
    assert!((values[0].unwrap() - 7.0).abs() < 0.01);
}

#[test]
fn phase_time_counts_visits_and_no_time_without_power() {
    let mut rig = Rig::asking(&["phase_time{phase:downloading} max", "phase_time{phase:accepted} count"]);
    rig.see(0, A0, Observation::Session(Session::Offline));
    rig.step(1, A0, 1, Phase::Idle, Phase::Accepted);
    rig.step(2, A0, 1, Phase::Accepted, Phase::Downloading);
    rig.see(6, A0, Observation::Session(Session::Off));
    rig.see(60, A0, Observation::Session(Session::Offline));
    rig.step(60, A0, 1, Phase::Downloading, Phase::Waiting);
    assert_eq!(rig.values(60), [Some(4.0), Some(1.0)]);
    assert_eq!(rig.recorder.total().phase_time[Phase::Idle as usize].count(), 0);
}

#[test]
fn raw_times_run_from_what_really_began_and_by_the_clock() {
    let mut rig = Rig::asking(&[
        "update_time max",
        "update_time_raw max",
        "phase_time{phase:downloading} max",
        "phase_time_raw{phase:downloading} max",
    ]);
    let received = Observation::ManifestReceived { attempt: attempt(1) };
    rig.see(0, A0, Observation::Session(Session::Offline));
    rig.see(1, A0, received.clone());
    rig.step(3, A0, 1, Phase::Idle, Phase::Accepted);
    rig.step(4, A0, 1, Phase::Accepted, Phase::Downloading);
    rig.see(6, A0, Observation::Session(Session::Off));
    rig.see(20, A0, Observation::Session(Session::Offline));
    rig.step(20, A0, 1, Phase::Downloading, Phase::Waiting);
    rig.see(21, A0, received);
    rig.step(22, A0, 1, Phase::Waiting, Phase::Accepted);
    rig.end(30, A0, 1, AttemptResult::Succeeded);
    let complete = true;
    let attempt = attempt(1);
    rig.see(31, A0, Observation::ResultPublished { attempt, complete });
    assert_eq!(rig.values(31), [30.0, 28.0, 2.0, 16.0].map(Some));
}

#[test]
fn wear_is_that_of_the_most_erased_page_of_each_device() {
    let mut rig = Rig::asking(&["wear max", "wear{fleet:a} min", "wear{fleet:b} count", "wear avg"]);
    for (device, wear) in [(A0, Some(7)), (A1, Some(3)), (A0, Some(9)), (B0, None)] {
        let counts = FlashCounts {
            ops: 100,
            erases: 40,
            wear,
        };
        rig.recorder.observe_flash(SimTime::from_secs(1), device, counts);
    }
    assert_eq!(rig.values(1), [9.0, 3.0, 0.0, 6.0].map(Some), "boards count no pages");
    assert!(Measure::parse("wear p(95) <= 12").is_ok() && Measure::parse("wear sum").is_err());
    assert_eq!(Measure::parse("wear avg <= 12").unwrap().to_string(), "wear avg <= 12");
}

#[test]
fn times_of_the_server_are_told_by_what_it_was_to_do() {
    let mut rig = Rig::asking(&[
        "server_time max",
        "server_time{op:connect|subscribe} count",
        "server_time{!op:connect} min",
        "server_time rate",
    ]);
    assert_eq!(rig.values(5), [None; 4], "virtual time has none");
    rig.recorder.observe_harness(HarnessFigures {
        late: Trend::default(),
        cpu: 0.1,
        memory: 1,
        dropped: 0,
        server_cpu: None,
        server_time: vec![
            (Prompt::Connect, Trend::of_counts([(1_000, 3)])),
            (Prompt::Results, Trend::of_counts([(250, 1), (8_000, 1)])),
        ],
    });
    assert_eq!(rig.values(5), [0.008, 3.0, 0.000_25, 1.0].map(Some));
    assert!(Measure::parse("server_time{op:erase} count").is_err() && Measure::parse("server_time{fleet:a} count").is_err());
}

#[test]
fn connect_time_counts_from_when_a_connection_was_wanted() {
    let mut rig = Rig::asking(&[
        "connect_time max",
        "connects{result:refused} count",
        "connects{result:ok} share",
    ]);
    let tried = |result| Observation::ConnectTried {
        result,
        wanted_at: SimTime::from_secs(1),
        tried_at: SimTime::from_secs(4),
    };
    rig.see(2, A0, tried(ConnectResult::Refused));
    rig.see(5, A0, tried(ConnectResult::Ok));
    assert_eq!(rig.values(5), [Some(4.0), Some(1.0), Some(0.5)]);
    assert_eq!(rig.recorder.total().connect_time_raw.max(), Some(1.0));
}

#[test]
fn transitions_are_counted_by_pair_and_cause() {
    let mut rig = Rig::asking(&[
        "transitions{from:idle,to:accepted} count",
        "transitions{cause:power} count",
        "transitions{!from:idle} share",
    ]);
    rig.step(1, A0, 1, Phase::Idle, Phase::Accepted);
    rig.step(2, A0, 1, Phase::Accepted, Phase::Downloading);
    assert_eq!(rig.values(2), [Some(1.0), Some(0.0), Some(1.0)]);
    assert_eq!(rig.recorder.matrix().unseen().len(), 53);
}

#[test]
fn trends_leave_the_warm_up_out_and_counters_do_not() {
    let mut rig = Rig::asking(&["connect_time count", "connects count"]);
    rig.recorder.warmup = SimTime::from_secs(10);
    for at in [9, 10] {
        let tried = Observation::ConnectTried {
            result: ConnectResult::Ok,
            wanted_at: SimTime::ZERO,
            tried_at: SimTime::ZERO,
        };
        rig.see(at, A0, tried);
    }
    assert_eq!(rig.values(10), [Some(1.0), Some(2.0)]);
}

#[test]
fn an_attempt_is_open_at_the_device_or_at_the_server() {
    let mut rig = Rig::asking(&[]);
    rig.state(1, "a-0", "one", 1, UpdateState::None, UpdateState::Pending);
    assert_eq!(rig.recorder.open_attempts(), 1);
    rig.step(2, A0, 1, Phase::Idle, Phase::Accepted);
    rig.step(2, A1, 2, Phase::Idle, Phase::Accepted);
    assert_eq!(rig.recorder.open_attempts(), 2);
    rig.state(3, "a-0", "one", 1, UpdateState::InProgress, UpdateState::Succeeded);
    assert_eq!(rig.recorder.open_attempts(), 2);
    rig.step(4, A0, 1, Phase::Accepted, Phase::Succeeded);
    rig.step(4, A1, 2, Phase::Accepted, Phase::Failed);
    assert_eq!(rig.recorder.open_attempts(), 0);
}

#[test]
fn selectors_find_devices_as_they_are() {
    let mut rig = Rig::asking(&[]);
    rig.join("b-0", "west");
    rig.state(1, "a-1", "one", 1, UpdateState::None, UpdateState::Pending);
    let found = |text: &str| rig.recorder.matching(&Selector::parse(text).unwrap());
    assert_eq!(found("all"), [A0, A1, B0]);
    assert_eq!(found("5 of tag.region:west"), [A1, B0]);
    assert_eq!(found("cohort:west,!device:a-0"), [B0]);
    assert_eq!(found("step:one"), [A1]);
    assert_eq!(found("step:two|three"), []);
    assert_eq!(rig.recorder.device_index("b-0"), Some(B0));
    assert_eq!(rig.recorder.device_index("b-1"), None);
}

#[test]
fn the_fingerprint_does_not_depend_on_the_order_of_devices() {
    let told = |order: [DeviceIndex; 2], at: u64| {
        let mut rig = Rig::asking(&[]);
        order
            .into_iter()
            .for_each(|device| rig.step(at, device, 1, Phase::Idle, Phase::Accepted));
        rig.recorder.fingerprint()
    };
    assert_eq!(told([A0, A1], 5), told([A1, A0], 5));
    assert_ne!(told([A0, A1], 5), told([A0, A1], 6));
    assert_ne!(told([A0, A0], 5), told([A0, A1], 5));
}

#[test]
fn the_timeline_holds_gauges_and_what_happened_since() {
    let mut rig = Rig::asking(&[]);
    rig.see(1, A0, Observation::Session(Session::Online));
    rig.see(1, A0, Observation::ManifestReceived { attempt: attempt(1) });
    rig.recorder.second_over(SimTime::from_secs(1));
    rig.recorder.second_over(SimTime::from_secs(1));
    rig.end(2, A0, 1, AttemptResult::Failed);
    rig.recorder.second_over(SimTime::from_secs(2));
    let rows: Vec<_> = rig.recorder.timeline().rows().collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].sessions[Session::Online as usize], 1);
    assert_eq!((rows[0].happened.manifests, rows[1].happened.manifests), (1, 0));
    assert_eq!(rows[1].happened.ended[AttemptResult::Failed as usize], 1);
}

#[test]
fn requests_are_counted_by_what_came_of_them_and_bytes_by_what_they_were_for() {
    let mut rig = Rig::asking(&[
        "requests{code:200} count",
        "requests{code:none,ranged:yes} count",
        "retries{reason:reset} count",
        "resumes{reason:reset} count",
        "restarts count",
        "restarts{reason:power,fleet:a} count",
        "bytes{kind:wasted} sum",
        "bytes{dir:down} sum",
        "data_used max",
        "data_used{dir:up} p(50)",
        "data_used{kind:wasted} max",
        "first_byte max",
        "first_byte{ranged:yes} max",
        "first_byte_raw{ranged:yes} max",
        "request_time{code:206} max",
        "request_time_raw{code:206} max",
        "download_rate max",
        "download_rate_raw max",
    ]);
    let handler = Observation::HandlerCalled {
        attempt: attempt(1),
        index: 0,
        firmware: "app@2".parse().unwrap(),
    };
    let asks = |offset, due| Observation::Requested {
        offset,
        due: SimTime::from_secs(due),
    };
    let answered = |ranged| Observation::Answered {
        status: if ranged { 206 } else { 200 },
        ranged,
        length: None,
    };
    let waits = |received| Observation::RetryScheduled {
        reason: RetryReason::Reset,
        until: SimTime::ZERO,
        received,
    };
    let lost = Observation::DownloadLost {
        received: 700,
        total: None,
    };
    let life = [
        (1, handler.clone()),
        (2, asks(0, 2)),
        (5, answered(false)),
        (6, waits(500)),
        (7, asks(500, 7)),
        (8, waits(500)),
        // A second late.
        (9, asks(500, 8)),
        (9, answered(true)),
        (10, lost),
        (20, handler),
        (21, asks(0, 21)),
        (22, answered(false)),
        (30, Observation::Downloaded { bytes: 1_000, print: 0 }),
    ];
    for (at, observation) in life {
        rig.see(at, A0, observation);
    }
    for (device, image) in [(A0, 1_700), (A1, 0)] {
        let carried = Carried {
            up: 300,
            protocol: 100,
            image,
            wasted: 0,
        };
        rig.recorder.observe_carried(SimTime::from_secs(30), device, carried);
    }
    let expected = [
        2.0, 1.0, 2.0, 2.0, 1.0, 1.0, 700.0, 1_900.0, 2_100.0, 300.0, 700.0, 3.0, 1.0, 0.0, 2.0, 1.0, 35.0, 111.0,
    ];
    for (position, (found, expected)) in rig.values(31).into_iter().zip(expected).enumerate() {
        let found = found.unwrap_or_else(|| panic!("measure {position} is undefined"));
        assert!(
            (found - expected).abs() <= expected * 0.001,
            "measure {position}: {found} of {expected}"
        );
    }
}

#[test]
fn server_and_device_disagree_where_neither_closed_the_attempt_by_itself() {
    let mut rig = Rig::asking(&[
        "disagreements count",
        "disagreements{why:differs} count",
        "disagreements{why:unreported,fleet:b} count",
    ]);
    let begin = |rig: &mut Rig, device: &str, id: u64| {
        rig.state(1, device, "one", id, UpdateState::None, UpdateState::Pending);
        rig.state(2, device, "one", id, UpdateState::Pending, UpdateState::InProgress);
    };
    for (device, id) in [("a-0", 1), ("a-1", 2), ("b-0", 3)] {
        begin(&mut rig, device, id);
    }
    assert_eq!(rig.values(3), [Some(0.0); 3]);
    rig.end(3, A0, 1, AttemptResult::Failed);
    rig.state(4, "a-0", "one", 1, UpdateState::InProgress, UpdateState::Succeeded);
    rig.end(3, A1, 2, AttemptResult::Succeeded);
    rig.state(4, "a-1", "one", 2, UpdateState::InProgress, UpdateState::Cancelled);
    rig.end(3, B0, 3, AttemptResult::Succeeded);
    assert_eq!(rig.values(5), [Some(2.0), Some(1.0), Some(1.0)]);
    rig.state(6, "b-0", "one", 3, UpdateState::InProgress, UpdateState::Succeeded);
    assert_eq!(rig.values(7), [Some(1.0), Some(1.0), Some(0.0)]);
}

#[test]
fn what_is_about_the_whole_run_takes_no_device() {
    let mut rig = Rig::asking(&[
        "coverage share",
        "coverage count",
        "findings count",
        "findings{rule:settles} count",
    ]);
    rig.step(1, A0, 1, Phase::Idle, Phase::Accepted);
    rig.recorder.observe_findings(vec![("settles", 2), ("always-bootable", 1)]);
    assert_eq!(rig.values(2), [Some(1.0 / 55.0), Some(1.0), Some(3.0), Some(2.0)]);
    let error = Measure::parse("findings{fleet:a} count == 0").unwrap_err();
    assert_eq!(error.message, "`findings` has no label `fleet`");
}
