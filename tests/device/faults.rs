//! What goes wrong inside a device: flash errors at every operation, turned bits, lost records, an application that aborts.

use std::collections::BTreeSet;
use std::time::Duration;

use squall::device::{DeviceInput, FlashTrap, Springs};
use squall::model::{AttemptResult, Cause, FailureReason, Observation, Phase, RecordKey, Session};

use super::rig::Rig;
use super::setup::{Setup, main_only, modem_then_main, version};

const SIZES: (u64, u64) = (4_500, 5_000);

fn setup() -> Setup {
    Setup {
        sizes: SIZES,
        ..Setup::default()
    }
}

fn trap(after: u32, erases: bool, springs: Springs) -> DeviceInput {
    DeviceInput::FlashTrap(FlashTrap { erases, after, springs })
}

fn failures(rig: &Rig) -> usize {
    rig.count(|o| matches!(o, Observation::FlashFailed { .. }))
}

#[test]
fn an_error_at_any_flash_operation_leaves_a_bootable_device_and_an_end() {
    for permanent in [false, true] {
        let mut ends = BTreeSet::new();
        let mut visited = 0;
        for after in 0.. {
            let mut rig = Rig::online(setup());
            rig.input(trap(after, false, Springs::Fails { permanent }));
            rig.offer(5, modem_then_main());
            rig.run_to_answer();
            rig.run_for(Duration::from_secs(10));
            if failures(&rig) == 0 {
                break;
            }
            visited += 1;
            let context = format!("permanent: {permanent}, after {after} operations");
            assert_eq!(failures(&rig), 1, "{context}");
            assert!(
                rig.device.phase().ended() && rig.device.session() == Session::Online,
                "{context}"
            );
            let &(_, result, reason) = rig.ends().last().unwrap();
            let runs = rig.device.running() == &version("app@1.1.0");
            match result {
                AttemptResult::Succeeded => assert!(runs, "{context}"),
                AttemptResult::Failed | AttemptResult::Rejected => {}
                other => panic!("{context}: {other}"),
            }
            ends.insert((result, reason));
        }
        assert!(visited > 40, "{visited} operations visited");
        let storage = (AttemptResult::Failed, Some(FailureReason::Storage));
        assert!(ends.contains(&storage), "{ends:?}");
        let rejected = ends.iter().any(|(result, _)| *result == AttemptResult::Rejected);
        assert_eq!(
            rejected, permanent,
            "a record that cannot be stored for good fails the attempt: {ends:?}"
        );
        let rolled_back = ends.contains(&(AttemptResult::Failed, Some(FailureReason::ResetBeforeConfirm)));
        assert_eq!(
            rolled_back, permanent,
            "an image that cannot be confirmed goes back: {ends:?}"
        );
    }
}

#[test]
fn a_record_is_stored_again_after_twenty_milliseconds_and_then_later_and_later() {
    let mut rig = Rig::online(setup());
    rig.offer(5, main_only());
    let mut failed_at = Vec::new();
    for _ in 0..5 {
        rig.input(trap(0, false, Springs::Fails { permanent: false }));
        let before = failures(&rig);
        rig.run_until(Duration::from_secs(10), |rig| failures(rig) > before);
        failed_at.push(rig.now);
    }
    let waits: Vec<_> = failed_at.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect();
    for (wait, ideal) in waits.iter().zip([20, 40, 80, 160]) {
        assert!((ideal..ideal + 5).contains(wait), "{waits:?}");
    }
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
}

#[test]
fn power_fails_at_the_erase_that_was_counted() {
    let mut rig = Rig::online(Setup::long());
    rig.input(trap(7, true, Springs::PowerFails { waits: true }));
    rig.offer(5, main_only());
    let before = rig.device.flash_erases();
    rig.run_until(Duration::from_secs(60), |rig| rig.device.session() == Session::Off);
    let struck = rig.device.flash_erases() - before;
    assert!((7..=8).contains(&struck), "{struck} erases, the last one torn");
    rig.input(DeviceInput::PowerOn);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
}

#[test]
fn a_forgotten_trap_does_not_spring() {
    let mut rig = Rig::online(setup());
    rig.input(trap(3, false, Springs::PowerFails { waits: true }));
    rig.input(trap(5, false, Springs::Fails { permanent: true }));
    rig.input(DeviceInput::ForgetTraps);
    rig.offer(5, main_only());
    rig.run_to_answer();
    assert_eq!((failures(&rig), rig.results(5)), (0, (vec![0], vec![], vec![])));
}

#[test]
fn an_image_with_a_turned_bit_is_not_swapped_in() {
    for (bits, draw) in [(1, 0x0123_4567_89ab_cdef), (1, 77), (64, 3)] {
        let mut rig = Rig::online(setup());
        rig.offer(5, main_only());
        rig.run_to(Phase::Committing);
        rig.input(DeviceInput::FlipBits { bits, draw });
        rig.run_to_answer();
        assert_eq!(rig.results(5), (vec![], vec![0], vec![]), "{bits} bits");
        assert_eq!(rig.device.running(), &version("app@1.0.0"));
        assert_eq!(rig.ends().last().unwrap().2, Some(FailureReason::NotSwapped));
    }
}

#[test]
fn a_lost_version_record_costs_a_download_more() {
    let mut rig = Rig::online(setup());
    rig.offer(5, main_only());
    rig.run_to_answer();
    let record = RecordKey::Version("app".parse().unwrap());
    rig.input(DeviceInput::LoseRecord(record.clone()));
    rig.input(DeviceInput::PowerCut { after_flash_ops: 0 });
    rig.input(DeviceInput::PowerOn);
    rig.run_for(Duration::from_secs(3));
    assert_eq!(rig.count(|o| *o == Observation::RecordLost { record: record.clone() }), 1);
    rig.offer(6, main_only());
    rig.run_to_answer();
    assert_eq!(
        rig.handlers(),
        [(5, 0), (6, 0)],
        "the version is not skipped (protocol 7.4, C4)"
    );
}

#[test]
fn a_lost_attempt_record_makes_the_attempt_begin_anew() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.input(DeviceInput::LoseRecord(RecordKey::Attempt));
    rig.input(DeviceInput::PowerCut { after_flash_ops: 0 });
    rig.input(DeviceInput::PowerOn);
    rig.run_until(Duration::from_secs(5), |rig| rig.device.phase() == Phase::Idle);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]), "protocol 7.4, C1");
}

#[test]
fn a_record_that_is_rewritten_in_time_is_not_lost() {
    let mut rig = Rig::online(setup());
    rig.input(DeviceInput::LoseRecord(RecordKey::Attempt));
    rig.offer(5, main_only());
    rig.run_to_answer();
    assert_eq!(rig.count(|o| matches!(o, Observation::RecordLost { .. })), 0);
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
}

#[test]
fn an_application_aborts_its_download_and_nothing_else() {
    for phase in [Phase::Downloading, Phase::Staged] {
        let mut rig = Rig::online(Setup::long());
        rig.offer(5, main_only());
        rig.run_to(phase);
        rig.run_for(Duration::from_millis(5));
        rig.input(DeviceInput::AppAbort);
        rig.run_to_answer();
        assert_eq!(
            rig.results(5),
            (vec![], vec![0], vec![]),
            "FAILED, never CANCELED (protocol 6.11)"
        );
        assert_eq!(rig.ends(), [(5, AttemptResult::Failed, Some(FailureReason::AppAbort))]);
        assert!(rig.transitions().contains(&(phase, Phase::Failed, Cause::Error)));
    }
    let mut rig = Rig::online(setup());
    rig.offer(5, main_only());
    rig.run_to(Phase::Committing);
    rig.input(DeviceInput::AppAbort);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]), "too late");
}

#[test]
fn a_processor_that_was_not_scheduled_does_what_is_due_as_of_the_present() {
    let mut rig = Rig::online(Setup {
        keep_alive: Duration::from_secs(10),
        ..Setup::default()
    });
    let late = rig.now + Duration::from_secs(300);
    let mut out = Vec::new();
    rig.device.catch_up(late, late, &mut out);
    assert_eq!(out.len(), 1, "one ping, and no lost connection: {out:?}");
    assert!(rig.device.next_timeout().unwrap().0 > late);
}
