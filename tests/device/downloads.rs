//! Requests that fail, and how the download goes on.

use std::time::Duration;

use squall::device::{Backoff, DeviceInput, DeviceOutput, InstallOutcome, Jitter};
use squall::model::{AttemptResult, Cause, FailureReason, Observation, Phase, RetryReason};
use squall::wire::{ContentRange, DownloadError, DownloadEvent, ImageHead};

use super::rig::{HOP, Reply, Rig};
use super::setup::{Setup, main_only, manifest};

fn retries(rig: &Rig) -> Vec<(RetryReason, Duration)> {
    rig.seen
        .iter()
        .filter_map(|(at, output)| match output {
            DeviceOutput::Observed(Observation::RetryScheduled { reason, until, .. }) => Some((*reason, until.since(*at))),
            _ => None,
        })
        .collect()
}

/// A rig whose first requests get these replies, after a whole attempt.
fn after(replies: &[Reply]) -> Rig {
    let mut rig = Rig::online(Setup::default());
    rig.cloud.replies.extend(replies);
    rig.offer(1, main_only());
    rig.run_to_answer();
    rig
}

fn head(status: u16, range: Option<(u64, u64, u64)>) -> Reply {
    Reply::Head(ImageHead {
        status,
        content_length: None,
        content_range: range.map(|(first, last, total)| ContentRange { first, last, total }),
    })
}

#[test]
fn a_broken_download_is_resumed_where_it_broke() {
    for broken_at in [1, 511, 4095, 4096, 4097, 9999] {
        let rig = after(&[Reply::BreakAfter(broken_at, DownloadError::Reset)]);
        assert_eq!(rig.cloud.requests, [0, broken_at as u64]);
        assert_eq!(
            rig.results(1),
            (vec![0], vec![], vec![]),
            "the image is whole, or it had been refused"
        );
        assert_eq!(retries(&rig).len(), 1);
        assert!(
            rig.transitions()
                .contains(&(Phase::Downloading, Phase::Retrying, Cause::Error))
        );
        assert!(
            rig.transitions()
                .contains(&(Phase::Retrying, Phase::Downloading, Cause::Normal))
        );
    }
}

#[test]
fn a_download_that_breaks_again_and_again_gets_there() {
    let breaks = [Reply::BreakAfter(700, DownloadError::Reset); 14];
    let rig = after(&breaks);
    assert_eq!(rig.results(1), (vec![0], vec![], vec![]));
    let expected: Vec<u64> = (0..15).map(|n| n * 700).collect();
    assert_eq!(rig.cloud.requests, expected);
}

#[test]
fn a_download_that_breaks_behind_its_last_byte_is_complete() {
    let rig = after(&[Reply::BreakAfter(10_000, DownloadError::Reset)]);
    assert_eq!(rig.cloud.requests, [0]);
    assert_eq!(rig.results(1), (vec![0], vec![], vec![]));
}

#[test]
fn waits_double_and_stay_in_the_upper_half() {
    let rig = after(&[Reply::Status(503); 9]);
    let waits = retries(&rig);
    assert_eq!(waits.len(), 9);
    for (n, (reason, wait)) in waits.into_iter().enumerate() {
        let ceiling = Duration::from_millis((5_000 << n).min(300_000));
        assert_eq!(reason, RetryReason::Status);
        assert!(wait >= ceiling / 2 && wait <= ceiling, "retry {n}: {wait:?} of {ceiling:?}");
    }
    let reasons: Vec<_> = rig
        .observations()
        .filter_map(|observation| match observation {
            Observation::Transition { transition, reason, .. } if transition.to == Phase::Retrying => *reason,
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [FailureReason::Status(503); 9]);
}

#[test]
fn transient_trouble_is_tried_again() {
    for (reply, reason) in [
        (Reply::Status(500), RetryReason::Status),
        (Reply::Break(DownloadError::Refused), RetryReason::Connect),
        (Reply::Break(DownloadError::Unreachable), RetryReason::Connect),
        (Reply::Break(DownloadError::Reset), RetryReason::Reset),
        (Reply::Break(DownloadError::TimedOut), RetryReason::Timeout),
        (Reply::BreakAfter(100, DownloadError::Malformed), RetryReason::Aborted),
        (Reply::BreakAfter(100, DownloadError::Aborted), RetryReason::Aborted),
        (Reply::Stall, RetryReason::Timeout),
    ] {
        let rig = after(&[reply]);
        assert_eq!(rig.results(1), (vec![0], vec![], vec![]), "{reply:?}");
        let seen: Vec<_> = retries(&rig).into_iter().map(|(reason, _)| reason).collect();
        assert_eq!(seen, [reason], "{reply:?}");
    }
}

#[test]
fn permanent_trouble_fails_the_attempt() {
    let broken = Reply::BreakAfter(100, DownloadError::Reset);
    for (replies, reason) in [
        (vec![Reply::Status(404)], FailureReason::Status(404)),
        (vec![Reply::Status(401)], FailureReason::Status(401)),
        (vec![Reply::Status(302)], FailureReason::Status(302)),
        (vec![Reply::Status(429)], FailureReason::Status(429)),
        (vec![head(206, Some((0, 9_999, 10_000)))], FailureReason::Status(206)),
        (vec![Reply::Break(DownloadError::Tls)], FailureReason::Download),
        (vec![Reply::Break(DownloadError::Malformed)], FailureReason::Download),
        (vec![broken, head(200, None)], FailureReason::Status(200)),
        (vec![broken, head(416, None)], FailureReason::Status(416)),
        (vec![broken, head(206, None)], FailureReason::Download),
        (vec![broken, head(206, Some((99, 9_999, 10_000)))], FailureReason::Download),
        (vec![broken, head(206, Some((100, 9_999, 12_000)))], FailureReason::Download),
        (vec![broken, head(206, Some((100, 11_999, 12_000)))], FailureReason::Download),
        (vec![broken, head(206, Some((100, 8_000, 10_000)))], FailureReason::Download),
        (vec![broken, Reply::Close], FailureReason::Download),
        // The SDK takes a connection closed without a byte for an empty image.
        (vec![Reply::Close], FailureReason::NoBuildId),
    ] {
        let rig = after(&replies);
        assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(reason))], "{replies:?}");
        assert_eq!(rig.results(1), (vec![], vec![0], vec![]));
    }
}

#[test]
fn a_download_that_fails_for_good_while_a_page_is_written_fails_once() {
    let mut rig = Rig::online(Setup::long());
    rig.offer(1, main_only());
    rig.run_to(Phase::Downloading);
    rig.run_until(Duration::from_secs(1), |rig| rig.device.flash_ops() > 1);
    let reads = |rig: &Rig| {
        rig.seen
            .iter()
            .filter(|(_, output)| matches!(output, DeviceOutput::Read { .. }))
            .count()
    };
    let before = reads(&rig);
    rig.run_until(Duration::from_secs(1), |rig| reads(rig) > before);
    // Both halves of the page arrive, then the connection breaks in a way that is not tried again.
    rig.run_for(HOP);
    rig.input(DeviceInput::Download(DownloadEvent::Broken(DownloadError::Tls)));
    rig.run_to_answer();
    rig.run_for(Duration::from_secs(5));
    assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(FailureReason::Download))]);
    rig.offer(2, main_only());
    rig.run_to_answer();
    assert_eq!(rig.results(2), (vec![0], vec![], vec![]));
}

#[test]
fn a_request_has_120_seconds() {
    let mut rig = Rig::online(Setup::default());
    rig.cloud.replies.push_back(Reply::Stall);
    rig.offer(1, main_only());
    rig.run_to(Phase::Retrying);
    let request = |output: &DeviceOutput| matches!(output, DeviceOutput::StartDownload(_));
    let asked = rig.seen.iter().find(|(_, output)| request(output)).unwrap().0;
    assert_eq!(rig.now.since(asked), Duration::from_secs(120));
    assert!(
        rig.seen
            .iter()
            .any(|(at, output)| *at == rig.now && *output == DeviceOutput::StopDownload)
    );
}

#[test]
fn a_busy_flash_reads_nothing() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(1, main_only());
    rig.run_to(Phase::Staged);
    let reads: Vec<_> = rig
        .seen
        .iter()
        .filter_map(|(at, output)| match output {
            DeviceOutput::Read { bytes } => Some((*at, *bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(reads.len(), 3);
    // 85 ms to erase and 42 ms to write a page, and a hop for its bytes; the first erases the trailer too.
    let gap = |n: usize| reads[n + 1].0.since(reads[n].0);
    assert_eq!(gap(0), Duration::from_micros(10_000 + 2 * 85_000 + 4 * 10_496));
    assert_eq!(gap(1), Duration::from_micros(10_000 + 85_000 + 4 * 10_496));
    assert!(reads.iter().all(|&(_, bytes)| bytes == 4096));
}

#[test]
fn a_package_for_the_application_takes_no_flash() {
    let mut rig = Rig::online(Setup::default());
    rig.cloud.replies.push_back(Reply::BreakAfter(12_345, DownloadError::Reset));
    rig.offer(1, manifest(&[("modem@2.0.0", false)]));
    let before = rig.device.flash_ops();
    rig.run_to_answer();
    assert_eq!(rig.cloud.requests, [0, 12_345]);
    // The first record, the version, the result, and the report's.
    assert_eq!(rig.device.flash_ops() - before, 4);
    assert!(
        !rig.path().contains(&Phase::Retrying),
        "a handler's retries are its own affair"
    );
    assert_eq!(retries(&rig).len(), 1);
}

#[test]
fn a_package_whose_download_fails_for_good_fails() {
    let mut rig = Rig::online(Setup {
        installs: vec![("modem@2.0.0", InstallOutcome::default())],
        ..Setup::default()
    });
    rig.cloud.replies.push_back(Reply::Status(403));
    rig.offer(1, manifest(&[("modem@2.0.0", false)]));
    rig.run_to_answer();
    assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(FailureReason::Status(403)))]);
}

#[test]
fn waits_are_the_devices_own_luck() {
    let waits = |seed| {
        let mut rig = Rig::online(Setup {
            seed,
            retry: Backoff {
                first: Duration::from_secs(1),
                max: Duration::from_secs(64),
                jitter: Jitter::Full,
            },
            ..Setup::default()
        });
        rig.cloud.replies.extend([Reply::Status(503); 5]);
        rig.offer(1, main_only());
        rig.run_to_answer();
        retries(&rig)
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}
