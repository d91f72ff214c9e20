//! Power lost at particular moments, and what a device does with what it finds stored. By exhaustion: `sweep`.

use std::time::Duration;

use squall::device::{BootOutcome, DeviceInput, SwapMethod};
use squall::model::{Cause, Phase, Session};

use super::rig::Rig;
use super::setup::{Setup, id, main_only, modem_then_main};

const SECOND: Duration = Duration::from_secs(1);

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
    let run = |swap, sizes, armed: bool, boot| {
        let mut rig = Rig::online(Setup {
            boot,
            swap,
            sizes,
            ..Setup::default()
        });
        if armed {
            rig.input(DeviceInput::PowerCut {
                after_flash_ops: u32::MAX,
            });
        }
        rig.offer(5, main_only());
        rig.run_to_answer();
        rig.run_for(SECOND);
        (rig.device.flash_ops(), rig.now, rig.device.running().clone())
    };
    for swap in [SwapMethod::Offset, SwapMethod::Move] {
        for sizes in [(4_500, 5_000), (10_000, 4_000), (4_000, 10_000)] {
            for boot in [BootOutcome::ConfirmAfter(SECOND), BootOutcome::CrashAfter(SECOND)] {
                let [whole, stepwise] = [false, true].map(|armed| run(swap, sizes, armed, boot));
                assert_eq!(whole, stepwise, "{swap:?} {sizes:?} {boot:?}");
            }
        }
    }
}
