//! Rejections, cancellations, supersession, duplicates, report requests.

use std::time::Duration;

use bytes::Bytes;
use squall::device::{BootOutcome, DeviceInput, InstallOutcome, LinkLoss};
use squall::model::{AttemptError, AttemptResult, Cause, FailureReason, Manifest, Observation, Phase, Session};
use squall::wire::ota::Report;
use squall::wire::{DownloadError, Packet, topic};

use super::rig::{Reply, Rig};
use super::setup::{Setup, id, main_only, manifest, modem_then_main};

const SECOND: Duration = Duration::from_secs(1);

/// A message of type 6 for `attempt` with an unknown key: a rejection.
fn broken(attempt: u8) -> Bytes {
    vec![0xa3, 0x00, 0x06, 0x18, 0x20, attempt, 0x18, 0x63, 0x00].into()
}

fn canceled(manifest: Manifest) -> Manifest {
    Manifest {
        canceled: true,
        ..manifest
    }
}

fn slow(deaf: bool) -> Setup {
    let after = 30 * SECOND;
    Setup {
        installs: vec![("modem@2.0.0", InstallOutcome::SucceedAfter { after, deaf })],
        ..Setup::default()
    }
}

/// Reports of an attempt, in order.
fn reports(rig: &Rig, attempt: u64) -> Vec<Report> {
    rig.cloud
        .reports
        .iter()
        .filter(|report| report.attempt == id(attempt))
        .map(|report| report.report.clone())
        .collect()
}

fn nothing() -> Report {
    Report::Results {
        succeeded: vec![].into(),
        failed: vec![].into(),
        canceled: vec![].into(),
    }
}

#[test]
fn a_message_that_breaks_the_schema_is_rejected() {
    let mut rig = Rig::online(Setup::default());
    rig.deliver(broken(7));
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 7), [Report::Error(3)]);
    assert_eq!(rig.transitions(), [(Phase::Idle, Phase::Rejected, Cause::Reject)]);
    let reason = FailureReason::Rejected(AttemptError::CannotParseMessage);
    assert_eq!(rig.ends(), [(7, AttemptResult::Rejected, Some(reason))]);
    // A sound manifest with the same id does not revive it.
    rig.offer(7, main_only());
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 7), [Report::Error(3), Report::Error(3)]);
    assert_eq!(rig.device.phase(), Phase::Rejected);
    // A new id does.
    rig.offer(8, main_only());
    rig.run_to_answer();
    assert_eq!(rig.results(8), (vec![0], vec![], vec![]));
}

#[test]
fn five_artifacts_are_too_many() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(9, manifest(&[("modem@2.0.0", false); 5]));
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 9), [Report::Error(1)]);
}

#[test]
fn what_has_no_trustworthy_id_changes_nothing() {
    let mut rig = Rig::online(Setup::default());
    rig.forget();
    let ops = rig.device.flash_ops();
    for payload in ["", "\u{0}", "garbage", "\u{a2}"] {
        rig.deliver(Bytes::from(payload.to_owned()));
    }
    // Id 0, and an empty slug, which is dropped.
    rig.deliver(Bytes::from_static(b"\xa2\x00\x07\x18\x20\x00"));
    rig.run_for(SECOND);
    let acknowledged = rig.transmitted().iter().all(|packet| matches!(packet, Packet::PubAck { .. }));
    assert!(acknowledged && rig.transitions().is_empty());
    assert_eq!(rig.device.flash_ops(), ops);
}

#[test]
fn rejection_of_the_running_attempt_replaces_it() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.run_for(SECOND / 2);
    rig.deliver(broken(5));
    rig.run_to(Phase::Rejected);
    rig.run_for(SECOND);
    assert!(
        rig.transitions()
            .contains(&(Phase::Downloading, Phase::Rejected, Cause::Reject))
    );
    assert_eq!(reports(&rig, 5), [Report::Error(3)]);
    rig.run_for(60 * SECOND);
    assert_eq!(rig.device.phase(), Phase::Rejected);
    assert_eq!(rig.ends().len(), 1);
}

#[test]
fn rejection_during_a_deaf_handler_waits_for_it() {
    let mut rig = Rig::online(slow(true));
    rig.offer(5, modem_then_main());
    rig.run_to(Phase::Installing);
    rig.run_for(2 * SECOND);
    rig.deliver(broken(5));
    rig.run_for(20 * SECOND);
    assert_eq!(rig.device.phase(), Phase::Installing);
    rig.run_to(Phase::Rejected);
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 5), [Report::Error(3)], "its outcome is discarded");
    let stored = rig.count(|o| matches!(o, Observation::Installed { .. }));
    assert_eq!(stored, 0);
}

#[test]
fn rejection_of_an_ended_attempt_replaces_it() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, main_only());
    rig.run_to_answer();
    rig.run_for(SECOND);
    rig.deliver(broken(5));
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 5).last(), Some(&Report::Error(3)));
    assert_eq!(
        rig.transitions().last(),
        Some(&(Phase::Succeeded, Phase::Rejected, Cause::Reject))
    );
}

#[test]
fn rejection_on_probation_survives_the_rollback() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::CrashAfter(10 * SECOND)));
    rig.offer(5, main_only());
    rig.run_until(60 * SECOND, |rig| {
        rig.device.phase() == Phase::Probation && rig.device.session() == Session::Online
    });
    rig.deliver(broken(5));
    rig.run_to(Phase::Reverting);
    rig.run_to(Phase::Rejected);
    let tail: Vec<_> = rig.transitions().into_iter().rev().take(3).rev().collect();
    assert_eq!(
        tail,
        [
            (Phase::Probation, Phase::Rejected, Cause::Reject),
            (Phase::Rejected, Phase::Reverting, Cause::Power),
            (Phase::Reverting, Phase::Rejected, Cause::Normal)
        ]
    );
    assert_eq!(rig.ends().len(), 1, "an end is told once");
}

#[test]
fn an_unconfirmed_image_keeps_its_slot_shut() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::Unconfirmed));
    rig.offer(5, main_only());
    rig.run_until(60 * SECOND, |rig| {
        rig.device.phase() == Phase::Probation && rig.device.session() == Session::Online
    });
    rig.deliver(broken(5));
    rig.run_to(Phase::Rejected);
    rig.offer(6, manifest(&[("app@1.0.0", true)]));
    rig.run_to_answer();
    assert_eq!(
        rig.ends().last(),
        Some(&(6, AttemptResult::Failed, Some(FailureReason::SlotRefused)))
    );
}

#[test]
fn cancel_while_downloading_cancels_everything() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]));
    rig.run_to(Phase::Downloading);
    rig.run_for(SECOND / 4);
    rig.cancel(5);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![], vec![], vec![0, 1]));
    assert!(
        rig.transitions()
            .contains(&(Phase::Downloading, Phase::Cancelled, Cause::Cancel))
    );
    assert_eq!(rig.ends(), [(5, AttemptResult::Cancelled, Some(FailureReason::ServerCancel))]);
    assert_eq!(rig.handlers(), [(5, 0)]);
}

#[test]
fn cancel_interrupts_the_wait_before_a_retry() {
    let mut rig = Rig::online(Setup::default());
    rig.cloud.replies.push_back(Reply::Break(DownloadError::Refused));
    rig.offer(5, main_only());
    rig.run_to(Phase::Retrying);
    let before = rig.now;
    rig.cancel(5);
    rig.run_to(Phase::Cancelled);
    assert!(rig.now.since(before) < SECOND);
}

#[test]
fn cancel_of_a_staged_image_is_in_time_and_of_a_committed_one_is_not() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, main_only());
    rig.run_to(Phase::Staged);
    rig.cancel(5);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![], vec![], vec![0]));
    rig.offer(6, main_only());
    rig.run_to(Phase::Committing);
    rig.cancel(6);
    rig.run_to_answer();
    assert_eq!(rig.results(6), (vec![0], vec![], vec![]));
}

#[test]
fn cancel_after_the_first_success_has_no_effect() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, modem_then_main());
    rig.run_to(Phase::Downloading);
    rig.cancel(5);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0, 1], vec![], vec![]));
}

#[test]
fn a_handler_that_succeeds_in_spite_of_a_cancellation_is_kept_and_the_rest_runs() {
    let mut rig = Rig::online(slow(true));
    rig.offer(5, modem_then_main());
    rig.run_to(Phase::Installing);
    rig.run_for(5 * SECOND);
    rig.cancel(5);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0, 1], vec![], vec![]));
}

#[test]
fn a_handler_that_listens_returns_canceled() {
    let mut rig = Rig::online(slow(false));
    rig.offer(5, modem_then_main());
    rig.run_to(Phase::Installing);
    rig.run_for(5 * SECOND);
    rig.cancel(5);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![], vec![], vec![0, 1]));
    assert!(
        rig.transitions()
            .contains(&(Phase::Installing, Phase::Cancelled, Cause::Cancel))
    );
}

#[test]
fn cancel_on_probation_spares_main() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmAfter(10 * SECOND)));
    rig.offer(5, manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]));
    rig.run_until(60 * SECOND, |rig| {
        rig.device.phase() == Phase::Probation && rig.device.session() == Session::Online
    });
    rig.cancel(5);
    rig.run_for(SECOND);
    assert_eq!(rig.results(5), (vec![], vec![], vec![1]));
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![1]));
    assert_eq!(
        rig.transitions().last(),
        Some(&(Phase::Probation, Phase::Cancelled, Cause::Cancel))
    );
    assert_eq!(rig.ends(), [(5, AttemptResult::Cancelled, Some(FailureReason::ServerCancel))]);
}

#[test]
fn cancel_of_another_attempt_is_ignored() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.cancel(4);
    rig.cancel(6);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
}

#[test]
fn cancel_in_the_instant_of_the_manifest_runs_no_handler() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, modem_then_main());
    rig.cancel(5);
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![], vec![], vec![0, 1]));
    assert!(rig.handlers().is_empty() && rig.cloud.requests.is_empty());
}

#[test]
fn an_unseen_manifest_that_is_cancelled_ends_at_once() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, canceled(modem_then_main()));
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![], vec![], vec![0, 1]));
    assert_eq!(rig.transitions(), [(Phase::Idle, Phase::Cancelled, Cause::Cancel)]);
    assert!(rig.handlers().is_empty());
    assert_eq!(reports(&rig, 5).len(), 1);
}

#[test]
fn a_cancelled_duplicate_of_a_running_attempt_is_a_duplicate() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.offer(5, canceled(main_only()));
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
}

#[test]
fn a_restored_attempt_is_cancelled_by_its_manifest_unless_something_succeeded() {
    for (first, expected) in [("app@1.1.0", (vec![], vec![0, 1])), ("modem@2.0.0", (vec![0, 1], vec![]))] {
        let main_first = first == "app@1.1.0";
        let order = if main_first {
            manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)])
        } else {
            modem_then_main()
        };
        let mut rig = Rig::online(Setup::default());
        rig.offer(5, order.clone());
        rig.run_to(Phase::Downloading);
        rig.cut_power();
        rig.cloud.offer = Some((id(5), canceled(order)));
        rig.input(DeviceInput::PowerOn);
        rig.run_to_answer();
        let (succeeded, _, cancelled) = rig.results(5);
        assert_eq!((succeeded, cancelled), expected, "{first} first");
    }
}

#[test]
fn a_waiting_attempt_is_cancelled_by_message() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.cut_power();
    rig.cloud.offer = None;
    rig.input(DeviceInput::PowerOn);
    rig.run_until(10 * SECOND, |rig| rig.device.session() == Session::Online);
    assert_eq!(rig.device.phase(), Phase::Waiting);
    rig.cancel(5);
    rig.run_to(Phase::Cancelled);
    assert!(rig.transitions().contains(&(Phase::Waiting, Phase::Cancelled, Cause::Cancel)));
}

#[test]
fn a_newer_attempt_supersedes_a_download() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]));
    rig.run_to(Phase::Downloading);
    rig.run_for(SECOND / 4);
    rig.offer(6, manifest(&[("app@1.0.0", true)]));
    rig.run_to_answer();
    assert_eq!(rig.results(6), (vec![0], vec![], vec![]));
    assert_eq!(reports(&rig, 5), [], "its results are stored, not reported");
    assert_eq!(rig.ends()[0], (5, AttemptResult::Superseded, Some(FailureReason::Superseded)));
    assert_eq!(rig.handlers(), [(5, 0), (6, 0)]);
    let causes = rig.transitions();
    assert!(causes.contains(&(Phase::Downloading, Phase::Cancelled, Cause::Cancel)));
    assert!(causes.contains(&(Phase::Cancelled, Phase::Accepted, Cause::Cancel)));
}

#[test]
fn the_latest_pending_attempt_wins() {
    let mut rig = Rig::online(slow(true));
    rig.offer(5, modem_then_main());
    rig.run_to(Phase::Installing);
    rig.run_for(2 * SECOND);
    for attempt in [6, 7, 8] {
        rig.offer(attempt, main_only());
    }
    rig.deliver(broken(7));
    rig.offer(9, main_only());
    // A report of the old attempt is still given, once its handler is through; of a pending one there is none.
    rig.ask_for_report(9);
    rig.run_to_answer();
    assert_eq!(rig.results(9), (vec![0], vec![], vec![]));
    for vanished in [6, 7, 8] {
        assert_eq!(reports(&rig, vanished), []);
    }
    let handlers = rig.handlers();
    assert_eq!(
        handlers,
        [(5, 0), (9, 0)],
        "main of attempt 5 was cancelled though the package succeeded"
    );
}

#[test]
fn a_rejection_may_supersede() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.deliver(broken(6));
    rig.run_to(Phase::Rejected);
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 5), []);
    assert_eq!(reports(&rig, 6), [Report::Error(3)]);
}

#[test]
fn an_irreversible_attempt_goes_on_and_the_reboot_loses_the_newer_one() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, main_only());
    rig.run_to(Phase::Committing);
    let offer = rig.cloud.offer.clone();
    rig.offer(6, manifest(&[("modem@2.0.0", false)]));
    rig.cloud.offer = offer;
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![0], vec![], vec![]));
    assert_eq!(rig.handlers(), [(5, 0)]);
}

#[test]
fn supersession_on_probation_waits_for_the_verdict() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmAfter(10 * SECOND)));
    rig.offer(5, manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]));
    rig.run_until(60 * SECOND, |rig| {
        rig.device.phase() == Phase::Probation && rig.device.session() == Session::Online
    });
    rig.offer(6, manifest(&[("modem@2.0.0", false)]));
    rig.run_to_answer();
    assert_eq!(rig.results(6), (vec![0], vec![], vec![]));
    assert_eq!(rig.ends()[0], (5, AttemptResult::Superseded, Some(FailureReason::Superseded)));
    assert_eq!(rig.handlers(), [(5, 0), (6, 0)]);
}

#[test]
fn duplicates_are_answered_only_if_there_is_something_to_say() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.offer(5, main_only());
    rig.run_for(SECOND / 10);
    assert_eq!(reports(&rig, 5), []);
    rig.run_to_answer();
    rig.run_for(SECOND);
    let before = reports(&rig, 5).len();
    rig.offer(5, main_only());
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 5).len(), before + 1);
    // Another count of artifacts: ignored.
    rig.offer(5, modem_then_main());
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 5).len(), before + 1);
}

#[test]
fn a_report_request_is_answered_by_the_current_attempt_alone() {
    let mut rig = Rig::online(slow(true));
    rig.ask_for_report(5);
    rig.run_for(SECOND);
    assert!(rig.cloud.reports.is_empty());
    rig.offer(5, modem_then_main());
    rig.run_to(Phase::Installing);
    rig.ask_for_report(4);
    rig.ask_for_report(5);
    rig.run_for(10 * SECOND);
    assert!(rig.cloud.reports.is_empty(), "it waits while a handler runs");
    rig.run_to(Phase::Downloading);
    assert_eq!(reports(&rig, 5).len(), 1);
    rig.run_to_answer();
    rig.run_for(SECOND);
    let before = reports(&rig, 5);
    rig.ask_for_report(5);
    rig.run_for(SECOND);
    let after = reports(&rig, 5);
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after.last(), before.last());
}

#[test]
fn an_attempt_without_results_reports_its_header() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmAfter(20 * SECOND)));
    rig.offer(5, main_only());
    rig.run_until(60 * SECOND, |rig| {
        rig.device.phase() == Phase::Probation && rig.device.session() == Session::Online
    });
    rig.run_for(SECOND);
    rig.ask_for_report(5);
    rig.run_for(SECOND);
    assert_eq!(reports(&rig, 5), [nothing()]);
}

#[test]
fn the_outbox_keeps_a_report_until_there_is_a_session() {
    let mut rig = Rig::online(slow(false));
    rig.offer(5, manifest(&[("modem@2.0.0", false)]));
    rig.run_to(Phase::Installing);
    rig.run_for(2 * SECOND);
    rig.cloud.reachable = false;
    rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
    rig.run_to(Phase::Succeeded);
    rig.run_for(5 * SECOND);
    assert!(rig.cloud.reports.is_empty());
    rig.cloud.reachable = true;
    rig.forget();
    rig.run_to_answer();
    let topics: Vec<_> = rig
        .transmitted()
        .iter()
        .filter_map(|packet| match packet {
            Packet::Publish(publish) => Some(publish.topic.to_string()),
            Packet::Subscribe { .. } => Some("subscribe".into()),
            _ => None,
        })
        .collect();
    assert_eq!(topics[..4], [topic::INGEST, "subscribe", "subscribe", topic::OTA_D2C]);
}

#[test]
fn the_largest_id_received_is_told_at_the_next_session() {
    let last = |rig: &Rig| {
        let publishes = rig.transmitted().into_iter().rev().filter_map(|packet| match packet {
            Packet::Publish(publish) => squall::wire::session::decode(&publish.payload).ok(),
            _ => None,
        });
        publishes.map(|metadata| metadata.last_attempt).next().unwrap()
    };
    let mut rig = Rig::online(Setup::long());
    rig.offer(5, main_only());
    rig.run_to(Phase::Downloading);
    rig.cancel(9);
    rig.cancel(7);
    rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
    rig.run_for(SECOND);
    assert_eq!(
        last(&rig),
        Some(id(9)),
        "a cancellation counts as received, and a smaller id changes nothing"
    );
    rig.cut_power();
    rig.input(DeviceInput::PowerOn);
    rig.run_for(SECOND);
    assert_eq!(last(&rig), Some(id(5)), "after a reboot, what is stored");
}
