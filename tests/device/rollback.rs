//! Images that do not hold what they promise.

use std::time::Duration;

use squall::device::BootOutcome;
use squall::model::{AttemptResult, BootReason, Cause, FailureReason, Observation, Phase, Session};

use super::rig::Rig;
use super::setup::{Setup, main_only, manifest, modem_then_main, version};

const SECOND: Duration = Duration::from_secs(1);

fn boots(rig: &Rig) -> Vec<(String, bool, BootReason)> {
    let boot = |observation: &Observation| match observation {
        Observation::Booted {
            firmware,
            confirmed,
            why,
            ..
        } => Some((firmware.version.to_string(), *confirmed, *why)),
        _ => None,
    };
    rig.observations().filter_map(boot).collect()
}

#[test]
fn an_image_that_is_reset_before_it_confirms_is_rolled_back() {
    let five = 5 * SECOND;
    for (outcome, why) in [
        (BootOutcome::CrashAfter(five), BootReason::Crash),
        (BootOutcome::HangWatchdog(five), BootReason::Watchdog),
        (
            BootOutcome::ConfirmThenCrash {
                confirm: 9 * SECOND,
                crash: five,
            },
            BootReason::Crash,
        ),
    ] {
        let mut rig = Rig::online(Setup::boot(outcome));
        rig.forget();
        rig.offer(1, modem_then_main());
        rig.run_to_answer();
        assert_eq!(rig.results(1), (vec![0], vec![1], vec![]), "{outcome:?}");
        assert_eq!(
            rig.ends(),
            [(1, AttemptResult::Failed, Some(FailureReason::ResetBeforeConfirm))]
        );
        assert_eq!(rig.count(|o| *o == Observation::RolledBack), 1);
        assert_eq!(rig.count(|o| *o == Observation::Confirmed), 0);
        assert_eq!(rig.device.running(), &version("app@1.0.0"));
        assert_eq!(
            boots(&rig),
            [
                ("1.1.0".to_owned(), false, BootReason::Software),
                ("1.0.0".to_owned(), true, why)
            ]
        );
        let tail: Vec<_> = rig.transitions().into_iter().rev().take(3).rev().collect();
        assert_eq!(
            tail,
            [
                (Phase::Swapping, Phase::Probation, Cause::Normal),
                (Phase::Probation, Phase::Reverting, Cause::Power),
                (Phase::Reverting, Phase::Failed, Cause::Normal)
            ]
        );
    }
}

#[test]
fn a_rolled_back_device_takes_the_next_version() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::CrashAfter(SECOND)));
    rig.offer(1, main_only());
    rig.run_to_answer();
    rig.offer(2, manifest(&[("app@1.0.0", true)]));
    rig.run_to_answer();
    assert_eq!(rig.results(2), (vec![0], vec![], vec![]));
    rig.offer(3, main_only());
    rig.run_to_answer();
    assert_eq!(rig.results(3), (vec![], vec![0], vec![]), "no version record was left behind");
}

#[test]
fn an_image_that_misses_its_connection_resets() {
    let within = Some(10 * SECOND);
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmOnConnect { within }));
    rig.offer(1, main_only());
    rig.run_to(Phase::Probation);
    rig.cloud.reachable = false;
    rig.run_to(Phase::Failed);
    rig.cloud.reachable = true;
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![], vec![0], vec![]));
    assert_eq!(boots(&rig).last(), Some(&("1.0.0".to_owned(), true, BootReason::Software)));
}

#[test]
fn an_image_that_hangs_waits_for_power() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::Hang));
    rig.offer(1, main_only());
    rig.run_for(Duration::from_secs(3600));
    assert_eq!(
        (rig.device.phase(), rig.device.session()),
        (Phase::Probation, Session::Offline)
    );
    assert!(rig.device.stuck_by_firmware());
    assert_eq!(rig.device.next_timeout(), None);
    rig.cut_power();
    rig.run_for(SECOND);
    rig.input(squall::device::DeviceInput::PowerOn);
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![], vec![0], vec![]));
    assert_eq!(rig.device.running(), &version("app@1.0.0"));
}

#[test]
fn an_image_that_confirms_and_crashes_later_stays() {
    let outcome = BootOutcome::ConfirmThenCrash {
        confirm: 2 * SECOND,
        crash: 7 * SECOND,
    };
    let mut rig = Rig::online(Setup::boot(outcome));
    rig.offer(1, main_only());
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![0], vec![], vec![]));
    rig.forget();
    rig.run_for(60 * SECOND);
    let crashes = boots(&rig);
    assert!(crashes.len() > 5, "{crashes:?}");
    assert!(
        crashes
            .iter()
            .all(|boot| *boot == ("1.1.0".to_owned(), true, BootReason::Crash))
    );
    assert_eq!(rig.transitions(), [], "an ended attempt stays ended");
}

#[test]
fn power_lost_on_probation_rolls_back() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmAfter(5 * SECOND)));
    rig.offer(1, main_only());
    rig.run_until(Duration::from_secs(60), |rig| rig.device.running() == &version("app@1.1.0"));
    rig.cut_power();
    rig.input(squall::device::DeviceInput::PowerOn);
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![], vec![0], vec![]));
    assert_eq!(rig.device.running(), &version("app@1.0.0"));
}

#[test]
fn a_confirmed_image_survives_any_reset() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(1, main_only());
    rig.run_to_answer();
    for _ in 0..3 {
        rig.cut_power();
        rig.input(squall::device::DeviceInput::PowerOn);
        rig.run_for(2 * SECOND);
        assert_eq!(rig.device.running(), &version("app@1.1.0"));
        assert_eq!(rig.device.phase(), Phase::Succeeded);
    }
}
