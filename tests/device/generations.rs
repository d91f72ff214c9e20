//! Generations of the device SDK: what each row of protocol section 11 says an older one does, and that the rules which it breaks by
//! that are lifted for its fleet, and no others.

use std::time::Duration;

use squall::device::{BootOutcome, DeviceInput, DeviceOutput, FlashTrap, InstallOutcome, LinkLoss, Sdk, Springs, Timer};
use squall::model::{Cause, FailureReason, Observation, Phase, RecordKey, Session};
use squall::wire::{ContentRange, DownloadError, ImageHead};

use super::rig::{Reply, Rig};
use super::setup::{Setup, artifact, main_only, manifest, modem_then_main, version};

const SECOND: Duration = Duration::from_secs(1);

fn setup(sdk: Sdk) -> Setup {
    Setup {
        sdk,
        retry: sdk.retry(),
        sizes: (10_000, 60_000),
        installs: vec![(
            "modem@2.0.0",
            InstallOutcome::SucceedAfter {
                after: 5 * SECOND,
                deaf: false,
            },
        )],
        ..Setup::default()
    }
}

/// Plays `story` with the old generation under the rules that it is held to, then again under all of them: this one is broken then.
#[track_caller]
fn lifts(rule: &str, setup: impl Fn() -> Setup, story: impl Fn(&mut Rig)) {
    let findings = |unlifted| {
        let mut rig = Rig::online(Setup {
            sdk: Sdk::Fota,
            unlifted,
            ..setup()
        });
        story(&mut rig);
        rig.findings()
    };
    assert_eq!(findings(false), [], "lifted");
    let found: Vec<_> = findings(true).into_iter().map(|finding| finding.rule).collect();
    assert!(found.contains(&rule), "only {found:?}");
}

fn cut_and_boot(rig: &mut Rig) {
    rig.cut_power();
    rig.input(DeviceInput::PowerOn);
}

fn write_of(rig: &Rig, wanted: impl Fn(&RecordKey) -> bool) -> Option<usize> {
    rig.observations()
        .position(|o| matches!(o, Observation::RecordWritten { record, .. } if wanted(record)))
}

#[test]
fn the_first_handler_is_called_without_a_record() {
    let story = |rig: &mut Rig| {
        rig.offer(5, modem_then_main());
        rig.run_to(Phase::Installing);
        assert_eq!(rig.stored_results(), None);
        rig.run_to_answer();
        assert_eq!(rig.results(5), (vec![0, 1], vec![], vec![]));
    };
    lifts("record-before-handler", || setup(Sdk::Fota), story);
}

#[test]
fn an_attempt_with_results_stays_stuck_after_a_reboot() {
    let story = |rig: &mut Rig| {
        rig.offer(5, modem_then_main());
        rig.run_to(Phase::Downloading);
        cut_and_boot(rig);
        rig.run_for(600 * SECOND);
        assert_eq!((rig.device.phase(), rig.device.session()), (Phase::Waiting, Session::Online));
        assert_eq!(
            rig.results(5),
            (vec![0], vec![], vec![]),
            "the duplicate is answered with what is stored"
        );
        assert!(rig.device.stuck_by_firmware());
        // A new attempt frees it (protocol, section 11).
        rig.offer(6, main_only());
        rig.run_for(SECOND);
        rig.run_to_answer();
        assert_eq!(rig.results(6), (vec![0], vec![], vec![]));
    };
    let mut newest = Rig::online(setup(Sdk::Newest));
    newest.offer(5, modem_then_main());
    newest.run_to(Phase::Downloading);
    cut_and_boot(&mut newest);
    newest.run_to_answer();
    story(&mut Rig::online(setup(Sdk::Fota)));
}

#[test]
fn the_probation_record_goes_before_the_result_is_stored() {
    let story = |rig: &mut Rig| {
        rig.offer(5, main_only());
        rig.run_to_answer();
        let deleted = rig
            .observations()
            .position(|o| matches!(o, Observation::RecordDeleted { .. }));
        let stored = write_of(rig, |record| *record == RecordKey::Attempt);
        assert!(deleted.is_some() && deleted < stored, "{deleted:?} {stored:?}");
    };
    lifts("probation-around-the-upgrade", || setup(Sdk::Fota), story);
    // What the result of main rests on is gone when it is stored.
    lifts("main-succeeds-running", || setup(Sdk::Fota), story);
}

#[test]
fn a_cancellation_stops_a_commit_until_the_upgrade_is_requested() {
    let story = |rig: &mut Rig| {
        rig.offer(5, main_only());
        rig.run_to(Phase::Staged);
        let writes = |rig: &Rig| rig.device.next_timeout().is_some_and(|(_, timer)| timer == Timer::Flash);
        rig.run_until(10 * SECOND, writes);
        rig.cancel(5);
        rig.run_to_answer();
        assert_eq!(rig.results(5), (vec![], vec![], vec![0]));
        assert_eq!(rig.count(|o| *o == Observation::UpgradeRequested), 0);
        // The record that is left over goes with the next boot.
        cut_and_boot(rig);
        rig.run_for(5 * SECOND);
        assert_eq!(rig.count(|o| matches!(o, Observation::RecordDeleted { .. })), 1);
        assert_eq!(rig.device.running(), &version("app@1.0.0"));
    };
    story(&mut Rig::online(setup(Sdk::Fota)));
}

#[test]
fn a_storage_error_is_not_tried_again() {
    let outcome = |sdk| {
        let mut rig = Rig::online(setup(sdk));
        rig.offer(5, manifest(&[("modem@2.0.0", false)]));
        rig.run_to(Phase::Installing);
        rig.input(DeviceInput::FlashTrap(FlashTrap {
            erases: false,
            after: 0,
            springs: Springs::Fails { permanent: false },
        }));
        rig.run_to_answer();
        rig.run_for(SECOND);
        rig.device.phase()
    };
    assert_eq!(outcome(Sdk::Newest), Phase::Succeeded);
    assert_eq!(outcome(Sdk::Fota), Phase::Rejected);
}

#[test]
fn waits_between_downloads_are_fixed() {
    for sdk in [Sdk::Release090, Sdk::Fota] {
        let mut rig = Rig::online(setup(sdk));
        rig.cloud.replies.extend([Reply::Status(503); 4]);
        rig.offer(5, main_only());
        rig.run_to_answer();
        let waits = rig.seen.iter().filter_map(|(at, output)| match output {
            DeviceOutput::Observed(Observation::RetryScheduled { until, .. }) => Some(until.since(*at)),
            _ => None,
        });
        assert_eq!(waits.collect::<Vec<_>>(), [5 * SECOND; 4]);
    }
}

#[test]
fn a_wrong_range_is_not_noticed() {
    let story = |rig: &mut Rig| {
        rig.cloud.replies.push_back(Reply::BreakAfter(10_000, DownloadError::Reset));
        rig.cloud.replies.push_back(Reply::Head(ImageHead {
            status: 206,
            content_length: Some(50_000),
            content_range: Some(ContentRange {
                first: 0,
                last: 59_999,
                total: 60_000,
            }),
        }));
        rig.offer(5, main_only());
        rig.run_to(Phase::Retrying);
        rig.run_for(6 * SECOND);
        assert_eq!(rig.device.phase(), Phase::Downloading, "the answer is taken");
        rig.run_for(200 * SECOND);
    };
    lifts("only-the-range-asked-for", || setup(Sdk::Fota), story);
}

#[test]
fn bytes_from_another_place_are_written_into_the_image() {
    let story = |rig: &mut Rig| {
        rig.cloud.replies.push_back(Reply::BreakAfter(10_000, DownloadError::Reset));
        rig.cloud.replies.push_back(Reply::From(12_000));
        rig.offer(5, main_only());
        rig.run_to_answer();
        assert_eq!(rig.results(5), (vec![], vec![0], vec![]), "the bootloader notices");
        assert_eq!(rig.device.running(), &version("app@1.0.0"));
    };
    let setup = || Setup {
        images_known: true,
        ..setup(Sdk::Fota)
    };
    lifts("bytes-once-in-order", setup, story);
}

#[test]
fn a_version_can_be_installed_again_and_again() {
    let mut rig = Rig::online(setup(Sdk::Fota));
    for (attempt, order) in [
        (5, main_only()),
        (6, manifest(&[("app@1.0.0", true)])),
        (7, modem_then_main()),
    ] {
        rig.offer(attempt, order);
        rig.run_to_answer();
        rig.run_for(5 * SECOND);
        assert!(
            rig.results(attempt).1.is_empty(),
            "attempt {attempt}: {:?}",
            rig.results(attempt)
        );
    }
}

#[test]
fn a_pause_holds_the_transfer_or_closes_it() {
    for sdk in [Sdk::Newest, Sdk::Fota] {
        let mut rig = Rig::online(setup(sdk));
        rig.offer(5, main_only());
        rig.run_to(Phase::Downloading);
        rig.run_for(SECOND);
        rig.input(DeviceInput::AppPause);
        let stopped = rig.seen.iter().any(|(_, output)| *output == DeviceOutput::StopDownload);
        assert_eq!(stopped, sdk == Sdk::Newest);
        rig.run_for(60 * SECOND);
        assert_eq!(rig.device.phase(), Phase::Downloading);
        rig.input(DeviceInput::AppResume);
        rig.run_to_answer();
        let requests = rig.cloud.requests.len();
        assert_eq!(requests, if sdk == Sdk::Newest { 2 } else { 1 }, "{:?}", rig.cloud.requests);
        assert_eq!(
            rig.cloud.requests.last().is_some_and(|offset| *offset > 0),
            sdk == Sdk::Newest
        );
        assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
    }
}

#[test]
fn a_pause_delays_scan_and_reboot_and_nothing_later() {
    for (phase, held) in [(Phase::Staged, Phase::Staged), (Phase::Committing, Phase::Committing)] {
        let mut rig = Rig::online(setup(Sdk::Newest));
        rig.offer(5, main_only());
        rig.run_to(phase);
        rig.input(DeviceInput::AppPause);
        rig.run_for(100 * SECOND);
        assert_eq!(rig.device.phase(), held);
        rig.input(DeviceInput::AppResume);
        rig.run_to(Phase::Probation);
        rig.input(DeviceInput::AppPause);
        rig.run_to_answer();
        assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
    }
}

#[test]
fn a_paused_download_can_be_cancelled_and_aborted() {
    let end = |act: &dyn Fn(&mut Rig)| {
        let mut rig = Rig::online(setup(Sdk::Newest));
        rig.offer(5, main_only());
        rig.run_to(Phase::Downloading);
        rig.run_for(SECOND);
        rig.input(DeviceInput::AppPause);
        rig.run_for(SECOND);
        act(&mut rig);
        rig.run_to_answer();
        rig.results(5)
    };
    assert_eq!(end(&|rig| rig.cancel(5)), (vec![], vec![], vec![0]));
    assert_eq!(end(&|rig| rig.input(DeviceInput::AppAbort)), (vec![], vec![0], vec![]));
}

#[test]
fn a_refused_subscription_is_passed_over() {
    for (sdk, session) in [(Sdk::Newest, Session::Offline), (Sdk::Fota, Session::Online)] {
        let mut rig = Rig::online(setup(sdk));
        rig.cloud.grants = false;
        rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
        rig.run_for(Duration::from_millis(550));
        assert_eq!(rig.device.session(), session, "{sdk:?}");
    }
}

#[test]
fn the_slot_is_written_while_the_image_is_unconfirmed() {
    let setup = || Setup {
        boot: BootOutcome::ConfirmAfter(300 * SECOND),
        ..setup(Sdk::Fota)
    };
    // The image to go back to is overwritten.
    lifts("unconfirmed-goes-back", setup, |rig| {
        rig.offer(5, main_only());
        rig.run_to(Phase::Probation);
        rig.run_for(SECOND);
        // The attempt is rejected, so that the device takes another while its image is still on trial.
        let broken = [0xa3, 0x00, 0x06, 0x18, 0x20, 0x05, 0x18, 0x63, 0x00];
        rig.deliver(broken.to_vec().into());
        rig.run_for(SECOND);
        rig.offer(6, manifest(&[("app@1.0.0", true)]));
        rig.run_to_answer();
        assert_eq!(rig.handlers(), [(5, 0), (6, 0)]);
        assert_eq!(rig.results(6), (vec![0], vec![], vec![]), "the slot was not refused");
        assert_eq!(rig.device.running(), &version("app@1.0.0"));
    });
}

#[test]
fn a_report_is_given_while_a_handler_runs() {
    for (sdk, reports) in [(Sdk::Newest, 0), (Sdk::Fota, 1)] {
        let mut rig = Rig::online(Setup {
            unlifted: true,
            ..setup(sdk)
        });
        rig.offer(5, manifest(&[("modem@2.0.0", false)]));
        rig.run_to(Phase::Installing);
        rig.ask_for_report(5);
        rig.run_for(SECOND);
        assert_eq!(rig.cloud.reports.len(), reports, "{sdk:?}");
    }
}

#[test]
fn a_cancellation_while_a_result_is_stored_cancels_the_rest() {
    let order = || manifest(&[("modem@2.0.0", false), ("radio@3.0.0", false)]);
    let story = |rig: &mut Rig| {
        rig.offer(5, order());
        rig.run_to(Phase::Installing);
        rig.run_until(60 * SECOND, |rig| {
            rig.count(|o| matches!(o, Observation::HandlerReturned { .. })) > 0
        });
        rig.cancel(5);
        rig.run_to_answer();
    };
    lifts(
        "late-cancel-is-void",
        || setup(Sdk::Fota),
        |rig| {
            story(rig);
            assert_eq!(rig.results(5), (vec![0], vec![], vec![1]));
        },
    );
    let mut newest = Rig::online(setup(Sdk::Newest));
    story(&mut newest);
    assert_eq!(newest.results(5), (vec![0, 1], vec![], vec![]));
}

#[test]
fn a_query_without_a_path_is_lost() {
    let story = |rig: &mut Rig, path: &str| {
        let mut order = manifest(&[]);
        order.artifacts.push(squall::model::Artifact {
            url: "https://images.test?rev=2".parse().unwrap(),
            ..artifact("modem@2.0.0", false)
        });
        rig.offer(5, order);
        rig.run_for(SECOND);
        let asked = rig.seen.iter().find_map(|(_, output)| match output {
            DeviceOutput::StartDownload(request) => Some(request.target.path.clone()),
            _ => None,
        });
        assert_eq!(asked.as_deref(), Some(path));
    };
    story(&mut Rig::online(setup(Sdk::Newest)), "/?rev=2");
    lifts("no-other-host", || setup(Sdk::Fota), |rig| story(rig, "/"));
}

#[test]
fn an_older_generation_ends_updates_and_rollbacks_like_the_newest_where_nothing_interferes() {
    for sdk in Sdk::ALL {
        for (boot, expected) in [
            (BootOutcome::ConfirmAfter(SECOND), (vec![0, 1], vec![], vec![])),
            (BootOutcome::CrashAfter(SECOND), (vec![0], vec![1], vec![])),
        ] {
            let mut rig = Rig::online(Setup { boot, ..setup(sdk) });
            rig.offer(5, modem_then_main());
            rig.run_to_answer();
            assert_eq!(rig.results(5), expected, "{sdk:?} {boot:?}");
            let reason = (boot != BootOutcome::ConfirmAfter(SECOND)).then_some(FailureReason::ResetBeforeConfirm);
            assert_eq!(rig.ends()[0].2, reason);
            assert!(rig.transitions().iter().all(|(_, _, cause)| *cause != Cause::Reject));
        }
    }
}
