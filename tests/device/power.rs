//! Power lost at every flash operation of an update, torn in each way, and what becomes of it (protocol 7.4).

use std::collections::BTreeSet;
use std::time::Duration;

use squall::device::{BootOutcome, DeviceInput, InstallOutcome};
use squall::luck::{Luck, Purpose, device_key};
use squall::model::{Cause, FailureReason, Manifest, Observation, Phase, RecordKey, Session};

use super::rig::Rig;
use super::setup::{Setup, id, main_only, manifest, modem_then_main, version};

const SECOND: Duration = Duration::from_secs(1);

/// Two pages, so that every operation of a swap and all pairs of cuts are soon visited.
const SIZES: (u64, u64) = (4_500, 5_000);

/// Enough for an operation to be torn in every way.
const SEEDS: std::ops::Range<u64> = 0..5;

fn setup(seed: u64, sizes: (u64, u64)) -> Setup {
    Setup {
        seed,
        sizes,
        boot: BootOutcome::ConfirmAfter(SECOND),
        installs: vec![("modem@2.0.0", InstallOutcome::default())],
        ..Setup::default()
    }
}

/// Flash operations of the attempt when nothing happens.
fn ops(sizes: (u64, u64), manifest: &Manifest) -> u32 {
    let mut rig = Rig::online(setup(0, sizes));
    rig.offer(5, manifest.clone());
    rig.run_to_answer();
    u32::try_from(rig.device.flash_ops()).unwrap()
}

/// Runs until power is gone, powers on again a second later.
fn run_into_cut(rig: &mut Rig) -> bool {
    let end = rig.now + 100 * SECOND;
    while rig.device.session() != Session::Off {
        if rig.cloud.is_answered() && rig.device.phase().ended() || !rig.step(end) {
            return false;
        }
    }
    rig.run_for(SECOND);
    true
}

/// What was durable of main when power failed, as the device told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Before,
    Probation,
    Requested,
    Confirmed,
}

fn reached(rig: &Rig) -> Reached {
    let stored = |key: &RecordKey| rig.count(|o| matches!(o, Observation::RecordWritten { record, .. } if record == key)) > 0;
    if rig.count(|o| *o == Observation::Confirmed) > 0 {
        Reached::Confirmed
    } else if rig.count(|o| *o == Observation::UpgradeRequested) > 0 {
        Reached::Requested
    } else if stored(&RecordKey::Probation) {
        Reached::Probation
    } else {
        Reached::Before
    }
}

/// Lets the attempt end, and holds its outcome against the table.
fn judge(rig: &mut Rig, main: u64, others: &[u64], at_cut: Reached, context: &str) {
    rig.run_to_answer();
    rig.run_for(5 * SECOND);
    let (succeeded, failed, canceled) = rig.results(5);
    let rolled_back = rig.count(|o| *o == Observation::RolledBack) > 0;
    let main_succeeded = succeeded.contains(&main);
    match at_cut {
        Reached::Before => assert!(main_succeeded, "{context}: nothing was committed"),
        Reached::Probation => assert!(!main_succeeded, "{context}: the upgrade was never requested"),
        Reached::Requested => assert_eq!(main_succeeded, !rolled_back, "{context}"),
        Reached::Confirmed => assert!(main_succeeded && !rolled_back, "{context}: confirmed"),
    }
    let running = if main_succeeded { "app@1.1.0" } else { "app@1.0.0" };
    assert_eq!(rig.device.running(), &version(running), "{context}");
    for other in others {
        let expected = if main_succeeded || *other < main {
            &succeeded
        } else {
            &canceled
        };
        assert!(expected.contains(other), "{context}: {succeeded:?} {failed:?} {canceled:?}");
    }
    let expected = if main_succeeded { Phase::Succeeded } else { Phase::Failed };
    assert_eq!(rig.device.phase(), expected, "{context}");
    let ends = rig.ends();
    assert_eq!(ends.len(), 1, "{context}: {ends:?}");
    if !main_succeeded {
        let reason = if rolled_back {
            FailureReason::ResetBeforeConfirm
        } else {
            FailureReason::NotSwapped
        };
        assert_eq!(ends[0].2, Some(reason), "{context}");
    }
}

/// One cut after so many operations; what was visited.
fn cut_once(sizes: (u64, u64), order: &Manifest, main: u64, others: &[u64], seed: u64, after: u32) -> (Phase, Reached, bool) {
    let mut rig = Rig::online(setup(seed, sizes));
    rig.offer(5, order.clone());
    rig.input(DeviceInput::PowerCut { after_flash_ops: after });
    assert!(run_into_cut(&mut rig), "cut after {after} operations did not come");
    let (phase, at_cut) = (rig.device.phase(), reached(&rig));
    rig.input(DeviceInput::PowerOn);
    let context = format!("seed {seed}, cut after {after} in {phase}");
    judge(&mut rig, main, others, at_cut, &context);
    let rolled_back = rig.count(|o| *o == Observation::RolledBack) > 0;
    (phase, at_cut, rolled_back)
}

#[test]
fn a_cut_at_every_flash_operation_ends_as_the_table_says() {
    let orders = [
        ("main alone", main_only(), 0, vec![]),
        ("package, main", modem_then_main(), 1, vec![0]),
        (
            "main, package",
            manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]),
            0,
            vec![1],
        ),
    ];
    let torn: BTreeSet<_> = SEEDS
        .map(|seed| Luck::new(seed).below(Purpose::TornOperation, device_key("rig", 0), 0, 3))
        .collect();
    assert_eq!(torn.len(), 3, "an operation is torn in every way");
    let mut visited = 0;
    for (name, order, main, others) in &orders {
        for sizes in [SIZES, (10_000, 4_000), (4_000, 10_000)] {
            let total = ops(sizes, order);
            let mut kinds = BTreeSet::new();
            for after in 0..total {
                for seed in SEEDS {
                    kinds.insert(cut_once(sizes, order, *main, others, seed, after));
                    visited += 1;
                }
            }
            let phases: BTreeSet<_> = kinds.iter().map(|&(phase, ..)| phase).collect();
            println!("{name}, {sizes:?}: {total} operations, cut in {phases:?}");
            for phase in [Phase::Downloading, Phase::Committing, Phase::Swapping, Phase::Probation] {
                assert!(phases.contains(&phase), "{name}: no cut in {phase}");
            }
            assert!(
                kinds.iter().any(|&(.., rolled_back)| rolled_back),
                "{name}: no cut before confirmation"
            );
        }
    }
    println!("{visited} points visited");
    assert!(visited > 1500);
}

#[test]
fn two_cuts_anywhere_leave_a_bootable_device_and_an_end() {
    let order = modem_then_main();
    let total = ops(SIZES, &order);
    let (mut visited, mut again) = (0, BTreeSet::new());
    for first in 0..total {
        for second in 1..total + 10 {
            let mut rig = Rig::online(setup(u64::from(first * 31 + second), SIZES));
            rig.offer(5, order.clone());
            rig.input(DeviceInput::PowerCut { after_flash_ops: first });
            assert!(run_into_cut(&mut rig));
            rig.input(DeviceInput::PowerOn);
            rig.input(DeviceInput::PowerCut { after_flash_ops: second });
            if !run_into_cut(&mut rig) {
                break;
            }
            rig.input(DeviceInput::PowerOn);
            rig.run_to_answer();
            rig.run_for(5 * SECOND);
            let (succeeded, failed, _) = rig.results(5);
            let running = if succeeded.contains(&1) { "app@1.1.0" } else { "app@1.0.0" };
            assert_eq!(rig.device.running(), &version(running), "cuts after {first} and {second}");
            assert!(succeeded.contains(&0) && (succeeded.contains(&1) || failed.contains(&1)));
            again.extend(rig.transitions().into_iter().filter(|&(from, to, _)| from == to));
            visited += 1;
        }
    }
    println!("{visited} pairs visited, {again:?}");
    assert!(visited > 1000);
    for phase in [Phase::Swapping, Phase::Reverting] {
        assert!(again.contains(&(phase, phase, Cause::Power)), "never cut twice in {phase}");
    }
}

#[test]
fn a_cut_at_every_operation_of_a_rollback_ends_in_failure() {
    let mut visited = 0;
    for sizes in [SIZES, (10_000, 4_000), (4_000, 10_000)] {
        let mut whole = Rig::online(Setup {
            boot: BootOutcome::CrashAfter(SECOND),
            ..setup(0, sizes)
        });
        whole.offer(5, main_only());
        whole.run_to(Phase::Probation);
        let start = whole.device.flash_ops();
        whole.run_to_answer();
        let total = u32::try_from(whole.device.flash_ops() - start).unwrap();
        for after in 1..total {
            for seed in SEEDS {
                let mut rig = Rig::online(Setup {
                    boot: BootOutcome::CrashAfter(SECOND),
                    ..setup(seed, sizes)
                });
                rig.offer(5, main_only());
                rig.run_to(Phase::Probation);
                rig.input(DeviceInput::PowerCut { after_flash_ops: after });
                assert!(run_into_cut(&mut rig));
                rig.input(DeviceInput::PowerOn);
                rig.run_to_answer();
                let context = format!("seed {seed}, {sizes:?}, cut after {after}");
                assert_eq!(rig.results(5), (vec![], vec![0], vec![]), "{context}");
                assert_eq!(rig.device.running(), &version("app@1.0.0"), "{context}");
                assert_eq!(rig.count(|o| *o == Observation::RolledBack), 1, "{context}");
                visited += 1;
            }
        }
    }
    println!("{visited} points visited");
    assert!(visited > 400);
}

#[test]
fn a_restored_attempt_waits_for_its_manifest() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, modem_then_main());
    rig.run_to(Phase::Downloading);
    rig.run_for(SECOND / 4);
    rig.cut_power();
    let offer = rig.cloud.offer.take();
    rig.input(DeviceInput::PowerOn);
    rig.run_for(10 * SECOND);
    assert_eq!((rig.device.phase(), rig.device.session()), (Phase::Waiting, Session::Online));
    assert!(rig.cloud.reports.len() == 1, "nothing is reported spontaneously");
    let (attempt, order) = offer.unwrap();
    rig.offer(attempt.number(), order);
    rig.run_for(SECOND / 10);
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]), "what is durable is told again");
    rig.run_to_answer();
    assert_eq!(rig.cloud.requests.last(), Some(&0), "the download begins again");
    assert_eq!(rig.handlers(), [(5, 0), (5, 1), (5, 1)]);
}

#[test]
fn a_waiting_attempt_survives_any_number_of_cuts() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    let offer = rig.cloud.offer.take();
    for _ in 0..3 {
        rig.cut_power();
        rig.input(DeviceInput::PowerOn);
        rig.run_for(2 * SECOND);
    }
    let waiting = (Phase::Waiting, Phase::Waiting, Cause::Power);
    assert_eq!(
        rig.transitions()[2..],
        [(Phase::Downloading, Phase::Waiting, Cause::Power), waiting, waiting]
    );
    rig.offer(5, offer.unwrap().1);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
}

#[test]
fn an_ended_attempt_is_silent_after_a_reboot() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, main_only());
    rig.run_to_answer();
    rig.run_for(SECOND);
    let reports = rig.cloud.reports.len();
    rig.cut_power();
    rig.input(DeviceInput::PowerOn);
    rig.run_for(10 * SECOND);
    assert_eq!(rig.cloud.reports.len(), reports);
    assert_eq!(rig.device.attempt(), Some(id(5)));
    rig.ask_for_report(5);
    rig.run_for(SECOND);
    assert_eq!(rig.cloud.reports.len(), reports + 1);
}

#[test]
fn power_lost_while_off_or_on_while_on_changes_nothing() {
    let mut rig = Rig::plain();
    rig.cut_power();
    assert!(rig.seen.is_empty());
    rig.input(DeviceInput::PowerOn);
    rig.run_for(2 * SECOND);
    rig.forget();
    rig.input(DeviceInput::PowerOn);
    assert!(rig.seen.is_empty());
}

#[test]
fn whole_and_stepwise_work_leave_the_same_flash() {
    // An armed cut that never comes makes the device do every operation by itself.
    for sizes in [SIZES, (10_000, 4_000), (4_000, 10_000)] {
        let run = |armed: bool, boot| {
            let mut rig = Rig::online(Setup { boot, ..setup(0, sizes) });
            if armed {
                rig.input(DeviceInput::PowerCut {
                    after_flash_ops: u32::MAX,
                });
            }
            rig.offer(5, main_only());
            rig.run_to_answer();
            rig.run_for(SECOND);
            rig.forget();
            (format!("{:?}", rig.device.flash_ops()), rig.now, rig.device.running().clone())
        };
        for boot in [BootOutcome::ConfirmAfter(SECOND), BootOutcome::CrashAfter(SECOND)] {
            assert_eq!(run(false, boot), run(true, boot), "{sizes:?} {boot:?}");
        }
    }
}
