//! What the SDK is known to do otherwise than it says: each quirk on, as in the real device, and off.

use std::time::Duration;

use squall::device::{BootOutcome, DeviceInput, Quirks};
use squall::model::{AttemptResult, FailureReason, Manifest, Phase, RecordKey};
use squall::wire::DownloadError;

use super::rig::{Reply, Rig};
use super::setup::{Setup, id, main_only, manifest, version};

fn rig(quirks: Quirks) -> Rig {
    Rig::online(Setup { quirks, ..Setup::long() })
}

#[test]
fn an_answer_that_is_closed_at_once_is_an_empty_image_or_a_failure_to_be_tried_again() {
    for close_is_success in [true, false] {
        let quirks = Quirks {
            close_is_success,
            ..Quirks::default()
        };
        let mut first = rig(quirks);
        first.cloud.replies.push_back(Reply::Close);
        first.offer(1, main_only());
        first.run_to_answer();

        let mut ranged = rig(quirks);
        ranged
            .cloud
            .replies
            .push_back(Reply::BreakAfter(10_000, DownloadError::Reset));
        ranged.cloud.replies.push_back(Reply::Close);
        ranged.offer(1, main_only());
        ranged.run_to_answer();

        let (results, ends) = if close_is_success {
            (
                (vec![], vec![0], vec![]),
                [FailureReason::NoBuildId, FailureReason::Download].map(Some),
            )
        } else {
            ((vec![0], vec![], vec![]), [None, None])
        };
        for (rig, reason) in [&first, &ranged].into_iter().zip(ends) {
            assert_eq!(rig.results(1), results);
            assert_eq!(rig.ends()[0].2, reason);
        }
    }
}

#[test]
fn an_empty_image_is_not_taken_for_the_one_that_stands_in_the_slot() {
    let mut rig = rig(Quirks::default());
    rig.offer(1, main_only());
    rig.run_to_answer();
    // Version 1.0.0 stands in the secondary slot now.
    rig.cloud.replies.push_back(Reply::Close);
    rig.offer(2, manifest(&[("app@1.0.0", true)]));
    rig.run_to_answer();
    assert_eq!(
        rig.ends()[1],
        (2, AttemptResult::Failed, Some(FailureReason::NoBuildId)),
        "protocol 5.3"
    );
    assert_eq!(rig.device.running(), &version("app@1.1.0"));
}

#[test]
fn a_cancelled_duplicate_is_passed_over_or_cancels() {
    for (ignores_canceled_duplicate, results) in [(true, (vec![0], vec![], vec![])), (false, (vec![], vec![], vec![0]))] {
        let mut rig = rig(Quirks {
            ignores_canceled_duplicate,
            ..Quirks::default()
        });
        rig.offer(1, main_only());
        rig.run_to(Phase::Downloading);
        let canceled = Manifest {
            canceled: true,
            ..main_only()
        };
        rig.offer_now(1, canceled);
        rig.cloud.offer = Some((id(1), main_only()));
        rig.run_to_answer();
        assert_eq!(rig.results(1), results, "{ignores_canceled_duplicate}");
    }
}

/// Protocol 7.4, C2: a record rebuilt from probation does not tell that packages come behind main.
#[test]
fn packages_behind_main_are_forgotten_or_installed_when_the_attempt_record_was_lost() {
    for forgets_packages_behind_main in [true, false] {
        // Main is confirmed, and has its result, before the manifest can come again.
        let mut rig = Rig::online(Setup {
            quirks: Quirks {
                forgets_packages_behind_main,
                ..Quirks::default()
            },
            ..Setup::boot(BootOutcome::ConfirmAfter(Duration::from_millis(1)))
        });
        rig.offer(1, manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]));
        rig.run_to(Phase::Committing);
        rig.run_to(Phase::Swapping);
        rig.input(DeviceInput::LoseRecord(RecordKey::Attempt));
        rig.run_for(Duration::from_secs(120));
        let handlers: &[_] = if forgets_packages_behind_main {
            &[(1, 0)]
        } else {
            &[(1, 0), (1, 1)]
        };
        assert_eq!(rig.handlers(), handlers, "{:?}", rig.device.phase());
        let succeeded = (0..handlers.len() as u64).collect::<Vec<_>>();
        assert_eq!(rig.results(1), (succeeded, vec![], vec![]));
        assert_eq!(rig.device.running(), &version("app@1.1.0"));
    }
}
