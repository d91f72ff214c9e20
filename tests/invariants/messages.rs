//! Devices with a defect on a rig: messages and answers that our server would never send.

use std::time::Duration;

use bytes::Bytes;
use squall::device::{Defect, DeviceInput, InstallOutcome, LinkLoss, SwapMethod};
use squall::model::{Manifest, Phase, Session};
use squall::wire::{ContentRange, DownloadError, DownloadEvent, ImageHead};

use super::found_on_rig;
use crate::device::rig::{Reply, Rig};
use crate::device::setup::{Setup, main_only, manifest, modem_then_main};

const SECOND: Duration = Duration::from_secs(1);

/// A message of type 6 for `attempt` with an unknown key: a rejection.
fn broken(attempt: u8) -> Bytes {
    vec![0xa3, 0x00, 0x06, 0x18, 0x20, attempt, 0x18, 0x63, 0x00].into()
}

/// A package whose handler takes long, and may not listen.
fn slow(deaf: bool) -> Setup {
    let after = 20 * SECOND;
    Setup {
        installs: vec![("modem@2.0.0", InstallOutcome::SucceedAfter { after, deaf })],
        ..Setup::default()
    }
}

/// Runs until the fleet would have come to rest.
fn rest(rig: &mut Rig) {
    rig.run_for(120 * SECOND);
}

#[test]
fn rule_5_finds_an_answer_to_an_unreadable_message() {
    found_on_rig(
        Setup::default,
        Defect::AnswerUnreadable,
        "unreadable-changes-nothing",
        |rig| {
            rig.offer(5, main_only());
            rest(rig);
            // One report may still be owed to a message that came while another was prepared.
            for _ in 0..2 {
                rig.deliver(Bytes::from_static(b"garbage"));
                rest(rig);
            }
        },
    );
}

#[test]
fn rule_6_finds_a_malformed_message_without_an_answer() {
    found_on_rig(Setup::default, Defect::IgnoreMalformed, "malformed-is-answered", |rig| {
        rig.deliver(broken(7));
        rest(rig);
    });
}

#[test]
fn rule_7_finds_a_wrong_error() {
    found_on_rig(Setup::default, Defect::MistakeError, "right-attempt-error", |rig| {
        rig.offer_now(9, manifest(&[("modem@2.0.0", false); 5]));
        rest(rig);
    });
}

#[test]
fn rule_23_finds_an_ended_attempt_that_starts_again() {
    found_on_rig(Setup::default, Defect::ReviveEnded, "ended-runs-nothing", |rig| {
        rig.offer(5, manifest(&[("modem@2.0.0", false)]));
        rest(rig);
        rig.offer_now(5, manifest(&[("modem@2.0.0", false)]));
        rest(rig);
    });
}

#[test]
fn a_page_that_is_written_without_an_erase_is_found() {
    found_on_rig(Setup::default, Defect::SkipErase, "flash-as-allowed", |rig| {
        rig.offer(5, main_only());
        rest(rig);
        // The old image stands in the secondary slot now.
        rig.offer(6, manifest(&[("app@1.0.0", true)]));
        rest(rig);
    });
}

#[test]
fn rule_30_finds_a_bootloader_that_does_not_check() {
    found_on_rig(Setup::default, Defect::SkipImageCheck, "always-bootable", |rig| {
        let mut bent = rig.cloud.images["/app-1.1.0"].to_vec();
        bent[7000] ^= 1;
        rig.cloud.images.insert("/app-1.1.0".into(), bent.into());
        rig.offer(5, main_only());
        rest(rig);
    });
}

#[test]
fn rule_30_finds_a_swap_that_is_not_resumed_from_its_status() {
    for swap in [SwapMethod::Offset, SwapMethod::Move] {
        for defect in [Defect::SkipStatusEntry, Defect::ForgetSwap] {
            let setup = || Setup {
                swap,
                ..Setup::default()
            };
            found_on_rig(setup, defect, "always-bootable", |rig| {
                rig.offer(5, main_only());
                rig.run_to(Phase::Swapping);
                // Half of the pages have moved.
                rig.run_for(Duration::from_millis(800));
                assert_eq!(rig.device.phase(), Phase::Swapping);
                rig.cut_power();
                rig.input(DeviceInput::PowerOn);
                rest(rig);
            });
        }
    }
}

#[test]
fn rule_31_finds_a_cancellation_of_another_attempt_that_is_obeyed() {
    found_on_rig(Setup::long, Defect::ObeyAnyCancel, "canceled-for-a-reason", |rig| {
        rig.offer(5, main_only());
        rig.run_to(Phase::Downloading);
        rig.cancel(4);
        rest(rig);
    });
}

#[test]
fn rule_32_finds_a_cancellation_that_is_obeyed_too_late() {
    found_on_rig(Setup::default, Defect::CancelAfterSuccess, "late-cancel-is-void", |rig| {
        rig.offer(5, modem_then_main());
        rig.run_to(Phase::Downloading);
        rig.cancel(5);
        rest(rig);
    });
}

#[test]
fn rule_33_finds_a_commit_that_is_stopped() {
    found_on_rig(Setup::default, Defect::CancelCommit, "commit-is-not-stopped", |rig| {
        rig.offer(5, main_only());
        rig.run_to(Phase::Committing);
        rig.cancel(5);
        rest(rig);
    });
}

#[test]
fn rule_34_finds_a_cancelled_attempt_that_starts() {
    found_on_rig(Setup::default, Defect::IgnoreCancel, "called-off-runs-nothing", |rig| {
        rig.offer(5, modem_then_main());
        rig.cancel(5);
        rest(rig);
    });
}

#[test]
fn rule_35_finds_a_manifest_whose_flag_is_ignored() {
    found_on_rig(Setup::default, Defect::IgnoreCanceledFlag, "canceled-from-the-start", |rig| {
        let canceled = Manifest {
            canceled: true,
            ..modem_then_main()
        };
        rig.offer(5, canceled);
        rest(rig);
    });
}

#[test]
fn rule_36_finds_an_older_pending_attempt_that_wins() {
    found_on_rig(
        || slow(true),
        Defect::FirstPendingWins,
        "latest-pending-wins",
        |rig| {
            rig.offer(5, modem_then_main());
            rig.run_to(Phase::Installing);
            rig.offer(6, main_only());
            rig.offer(7, manifest(&[("app@1.0.0", true)]));
            rest(rig);
        },
    );
}

#[test]
fn rule_38_finds_a_superseded_attempt_that_goes_on() {
    found_on_rig(
        || slow(true),
        Defect::IgnoreSupersession,
        "superseded-starts-nothing",
        |rig| {
            rig.offer(5, modem_then_main());
            rig.run_to(Phase::Installing);
            rig.offer(6, main_only());
            rest(rig);
        },
    );
}

#[test]
fn rule_40_finds_an_outcome_of_a_replaced_incarnation_that_is_kept() {
    found_on_rig(
        || slow(true),
        Defect::KeepStaleOutcome,
        "replaced-changes-nothing",
        |rig| {
            rig.offer(5, modem_then_main());
            rig.run_to(Phase::Installing);
            rig.deliver(broken(5));
            rest(rig);
        },
    );
}

#[test]
fn rule_42_finds_a_last_attempt_id_that_falls() {
    found_on_rig(Setup::default, Defect::ForgetLargestId, "run-id-names-the-boot", |rig| {
        rig.offer(5, main_only());
        rest(rig);
        rig.input(DeviceInput::Disconnected(LinkLoss::Closed));
        rest(rig);
        assert_eq!(rig.device.session(), Session::Online);
    });
}

#[test]
fn rule_52_finds_a_redirect_that_is_followed() {
    found_on_rig(Setup::default, Defect::FollowRedirect, "no-other-host", |rig| {
        rig.cloud.replies.push_back(Reply::Status(302));
        rig.offer(5, main_only());
        rest(rig);
    });
}

#[test]
fn rule_54_finds_a_range_that_was_not_asked_for() {
    found_on_rig(
        Setup::default,
        Defect::SkipContentRangeCheck,
        "only-the-range-asked-for",
        |rig| {
            let range = ContentRange {
                first: 0,
                last: 9_999,
                total: 10_000,
            };
            let head = ImageHead {
                status: 206,
                content_length: Some(10_000),
                content_range: Some(range),
            };
            rig.cloud.replies.push_back(Reply::BreakAfter(100, DownloadError::Reset));
            rig.cloud.replies.push_back(Reply::Head(head));
            rig.offer(5, main_only());
            rig.run_for(20 * SECOND);
            assert_eq!(rig.cloud.requests, [0, 100]);
            let body = Bytes::from(vec![0; 9_900]);
            for event in [DownloadEvent::Body(body), DownloadEvent::Finished] {
                rig.input(DeviceInput::Download(event));
            }
            rest(rig);
        },
    );
}

#[test]
fn rule_55_finds_a_wait_that_is_too_short() {
    found_on_rig(Setup::default, Defect::RetryTooSoon, "waits-in-bounds", |rig| {
        rig.cloud.replies.push_back(Reply::Status(503));
        rig.offer(5, main_only());
        rest(rig);
    });
}

#[test]
fn rule_56_finds_a_permanent_status_that_is_tried_again() {
    found_on_rig(
        Setup::default,
        Defect::RetryPermanentStatus,
        "only-server-errors-are-retried",
        |rig| {
            rig.cloud.replies.push_back(Reply::Status(404));
            rig.offer(5, main_only());
            rest(rig);
        },
    );
}
