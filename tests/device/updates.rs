//! Attempts that go well, in one piece or another.

use std::time::Duration;

use squall::device::{BootOutcome, DeviceInput, DeviceOutput, InstallOutcome, SwapMethod, clean_duration, clean_ops};
use squall::mcuboot::Flaw;
use squall::model::{AttemptResult, Cause, FailureReason, Observation, Phase, RecordKey};
use squall::wire::Packet;

use super::rig::Rig;
use super::setup::{IMAGE_SIZE, Setup, artifact, chip, id, main_only, manifest, modem_then_main, version};

const SUCCEEDS: InstallOutcome = InstallOutcome::SucceedAfter {
    after: Duration::from_secs(2),
    deaf: false,
};

/// What a trace of one update shows, in words; repetitions of a page are counted.
fn words(rig: &Rig) -> Vec<String> {
    let word = |output: &DeviceOutput| match output {
        DeviceOutput::Connect => "connect".to_owned(),
        DeviceOutput::Disconnect => "disconnect".into(),
        DeviceOutput::Transmit(Packet::Publish(publish)) => format!("publish {}", publish.topic),
        DeviceOutput::Transmit(Packet::Subscribe { filters, .. }) => format!("subscribe {}", filters[0].0),
        DeviceOutput::Transmit(Packet::Connect(_)) => "CONNECT".into(),
        DeviceOutput::Transmit(Packet::PubAck { .. }) => "PUBACK".into(),
        DeviceOutput::Transmit(packet) => format!("{packet:?}"),
        DeviceOutput::StartDownload(request) => format!("GET from {}", request.offset),
        DeviceOutput::StopDownload => "stop".into(),
        DeviceOutput::Read { bytes } => format!("read {bytes}"),
        DeviceOutput::FallSilent => "silent".into(),
        DeviceOutput::Board(order) => format!("{order:?}"),
        DeviceOutput::Observed(observation) => match observation {
            Observation::Transition { transition, .. } => transition.to_string(),
            Observation::Session(session) => format!("session {session}"),
            Observation::ConnectTried { result, .. } => format!("tried: {result}"),
            Observation::ManifestReceived { .. } => "manifest".into(),
            Observation::AttemptEnded { result, .. } => format!("ended: {result}"),
            Observation::ResultPublished { complete, .. } => format!("published, complete: {complete}"),
            Observation::Booted { firmware, confirmed, .. } => format!("booted {firmware}, confirmed: {confirmed}"),
            Observation::Confirmed => "confirmed".into(),
            Observation::HandlerCalled { firmware, .. } => format!("handler of {firmware}"),
            Observation::RecordWritten { record, .. } => format!("stored {}", key(record)),
            Observation::RecordDeleted { record } => format!("deleted {}", key(record)),
            Observation::HandlerReturned { result, .. } => format!("returned {result}"),
            Observation::Downloaded { bytes, .. } => format!("downloaded {bytes}"),
            Observation::UpgradeRequested => "upgrade requested".into(),
            Observation::Requested { offset, .. } => format!("requested from {offset}"),
            Observation::Answered { status, .. } => format!("answered {status}"),
            other => format!("{other:?}"),
        },
    };
    rig.seen.iter().map(|(_, output)| word(output)).collect()
}

fn key(record: &RecordKey) -> String {
    match record {
        RecordKey::Attempt => "attempt".into(),
        RecordKey::Probation => "probation".into(),
        RecordKey::Version(slug) => format!("version/{slug}"),
    }
}

#[test]
fn an_update_of_main_does_everything_in_its_order() {
    let mut rig = Rig::online(Setup::default());
    rig.forget();
    rig.offer(1001, main_only());
    rig.run_to_answer();
    let expected = [
        "manifest",
        "PUBACK",
        "stored attempt",
        "idle>accepted (normal)",
        "accepted>downloading (normal)",
        "handler of app@1.1.0",
        "GET from 0",
        "requested from 0",
        "answered 200",
        "read 4096",
        "read 4096",
        "read 4096",
        "downloaded 10000",
        "downloading>staged (normal)",
        "staged>committing (normal)",
        "stored probation",
        "upgrade requested",
        "silent",
        "session offline",
        "committing>swapping (normal)",
        "swapping>probation (normal)",
        "booted app@1.1.0, confirmed: false",
        "session connecting",
        "connect",
        "CONNECT",
        "publish ingest-cbor",
        "subscribe config-cbor-c2d",
        "subscribe ota-cbor-c2d",
        "publish config-cbor-d2c",
        "publish ingest-cbor",
        "tried: ok",
        "session online",
        "PUBACK",
        "confirmed",
        "stored version/app",
        "stored attempt",
        "deleted probation",
        "probation>succeeded (normal)",
        "ended: succeeded",
        "stored attempt",
        "publish ota-cbor-d2c",
        "published, complete: true",
    ];
    assert_eq!(words(&rig), expected);
    assert_eq!(rig.results(1001), (vec![0], vec![], vec![]));
    assert_eq!(rig.device.running(), &version("app@1.1.0"));
}

#[test]
fn a_clean_update_costs_what_the_plan_expects() {
    for size in [1_000, 4_096, 4_097, IMAGE_SIZE, 60_000] {
        let setup = Setup {
            sizes: (size, size),
            ..Setup::default()
        };
        let config = setup.config();
        let mut rig = Rig::online(setup);
        let began = rig.now;
        rig.offer(1, main_only());
        rig.run_to_answer();
        assert_eq!(rig.device.flash_ops(), clean_ops(&config, size), "{size} bytes");
        // A second until it confirms, and the network: connecting, the request and a hop each for the pages.
        let measured = rig.now.since(began);
        let expected = clean_duration(&config, size) + Duration::from_secs(1);
        let network = Duration::from_millis(40 + 20 * size.div_ceil(4096));
        assert!(
            measured <= expected + network && measured + Duration::from_millis(50) >= expected,
            "{size} bytes: {measured:?}, expected {expected:?}"
        );
    }
}

#[test]
fn packages_run_in_the_order_of_the_manifest_with_main_last() {
    let mut rig = Rig::online(Setup {
        installs: vec![("modem@2.0.0", SUCCEEDS)],
        ..Setup::default()
    });
    rig.offer(5, modem_then_main());
    rig.run_to_answer();
    assert_eq!(rig.handlers(), [(5, 0), (5, 1)]);
    assert_eq!(rig.results(5), (vec![0, 1], vec![], vec![]));
    let installed = |observation: &Observation| matches!(observation, Observation::Installed { firmware } if *firmware == version("modem@2.0.0"));
    assert_eq!(rig.count(installed), 1);
    assert_eq!(
        rig.count(|o| matches!(o, Observation::Installed { .. })),
        1,
        "main is no installed package"
    );
    let phases = rig.path();
    assert_eq!(
        phases[..4],
        [Phase::Accepted, Phase::Installing, Phase::Accepted, Phase::Downloading]
    );
}

#[test]
fn packages_after_main_run_in_the_new_image() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(5, manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]));
    rig.run_to_answer();
    assert_eq!(rig.handlers(), [(5, 0), (5, 1)]);
    assert_eq!(rig.results(5), (vec![0, 1], vec![], vec![]));
    // The manifest is repeated while main is on probation, so the attempt goes on without waiting.
    let causes = rig.transitions();
    assert!(
        causes.contains(&(Phase::Probation, Phase::Accepted, Cause::Normal)),
        "{causes:?}"
    );
    assert!(causes.contains(&(Phase::Installing, Phase::Succeeded, Cause::Normal)));
}

#[test]
fn packages_after_main_wait_for_their_manifest() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmAfter(Duration::from_millis(1))));
    rig.offer(5, manifest(&[("app@1.1.0", true), ("modem@2.0.0", false)]));
    rig.run_to_answer();
    let causes = rig.transitions();
    assert!(
        causes.contains(&(Phase::Probation, Phase::Waiting, Cause::Normal)),
        "{causes:?}"
    );
    assert!(causes.contains(&(Phase::Waiting, Phase::Accepted, Cause::Normal)));
    assert_eq!(rig.results(5), (vec![0, 1], vec![], vec![]));
}

#[test]
fn a_failed_package_cancels_the_rest_in_the_same_write() {
    let fails = InstallOutcome::FailAfter {
        after: Duration::from_secs(1),
        deaf: false,
    };
    let mut rig = Rig::online(Setup {
        installs: vec![("modem@2.0.0", fails)],
        ..Setup::default()
    });
    rig.offer(5, modem_then_main());
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![], vec![0], vec![1]));
    assert_eq!(rig.handlers(), [(5, 0)]);
    assert_eq!(rig.ends(), [(5, AttemptResult::Failed, Some(FailureReason::InstallFailed))]);
    assert_eq!(rig.cloud.reports.len(), 1);
}

#[test]
fn a_package_without_a_handler_fails_without_a_request() {
    let mut rig = Rig::online(Setup {
        installs: vec![("modem@2.0.0", InstallOutcome::Unhandled)],
        ..Setup::default()
    });
    rig.offer(5, modem_then_main());
    rig.run_to_answer();
    assert_eq!(rig.ends(), [(5, AttemptResult::Failed, Some(FailureReason::Unhandled))]);
    assert!(rig.cloud.requests.is_empty());
}

#[test]
fn a_handler_may_cancel_by_itself() {
    let cancels = InstallOutcome::CancelAfter {
        after: Duration::from_secs(1),
        deaf: false,
    };
    let mut rig = Rig::online(Setup {
        installs: vec![("modem@2.0.0", cancels)],
        ..Setup::default()
    });
    rig.offer(5, modem_then_main());
    rig.run_to_answer();
    assert_eq!(rig.results(5), (vec![], vec![], vec![0, 1]));
    assert_eq!(
        rig.ends(),
        [(5, AttemptResult::Cancelled, Some(FailureReason::InstallCanceled))]
    );
}

#[test]
fn an_installed_version_is_skipped_without_handler_or_request() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(1, modem_then_main());
    rig.run_to_answer();
    let (handlers, requests) = (rig.handlers().len(), rig.cloud.requests.len());
    rig.offer(2, modem_then_main());
    rig.run_to_answer();
    assert_eq!(rig.results(2), (vec![0, 1], vec![], vec![]));
    assert_eq!((rig.handlers().len(), rig.cloud.requests.len()), (handlers, requests));
    let last = rig.transitions();
    assert_eq!(last.last(), Some(&(Phase::Accepted, Phase::Succeeded, Cause::Normal)));
}

#[test]
fn a_factory_fresh_device_downloads_even_what_it_runs() {
    let mut rig = Rig::online(Setup::default());
    rig.offer(1, manifest(&[("app@1.0.0", true)]));
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![0], vec![], vec![]));
    assert_eq!(rig.handlers(), [(1, 0)]);
}

#[test]
fn an_image_that_nobody_knows_is_hashed_searched_and_swapped_all_the_same() {
    let mut rig = Rig::online(Setup {
        unknown: true,
        ..Setup::default()
    });
    assert_eq!(rig.device.running(), &version("app@1.0.0"), "as far as the header tells");
    rig.offer(1, main_only());
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![0], vec![], vec![]));
    assert_eq!(rig.device.running(), &version("app@1.1.0"));
}

#[test]
fn updates_follow_each_other_there_and_back() {
    let mut rig = Rig::online(Setup {
        sizes: (10_000, 30_000),
        ..Setup::default()
    });
    for (attempt, target) in [(1, "app@1.1.0"), (2, "app@1.0.0"), (3, "app@1.1.0"), (4, "app@1.0.0")] {
        rig.offer(attempt, manifest(&[(target, true)]));
        rig.run_to_answer();
        assert_eq!(rig.results(attempt), (vec![0], vec![], vec![]), "attempt {attempt}");
        assert_eq!(rig.device.running(), &version(target));
    }
}

#[test]
fn confirmation_can_wait_for_the_first_suback() {
    let within = Some(Duration::from_secs(30));
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmOnConnect { within }));
    rig.offer(1, main_only());
    rig.run_to(Phase::Probation);
    rig.cloud.reachable = false;
    rig.run_for(Duration::from_secs(20));
    assert_eq!(rig.device.phase(), Phase::Probation);
    rig.cloud.reachable = true;
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![0], vec![], vec![]));
    rig.run_for(Duration::from_secs(60));
    assert_eq!(rig.device.phase(), Phase::Succeeded);
}

#[test]
fn a_mute_image_reports_its_success_and_says_no_more() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::MuteAfter(Duration::from_secs(3))));
    rig.offer(1, main_only());
    rig.run_to_answer();
    assert!(rig.device.stuck_by_firmware());
    rig.forget();
    rig.run_for(Duration::from_secs(600));
    assert_eq!(rig.seen, []);
    // Power brings the image back, confirmed; after three seconds it is mute again.
    rig.cut_power();
    rig.input(DeviceInput::PowerOn);
    rig.run_for(Duration::from_secs(2));
    assert!(!rig.device.stuck_by_firmware());
    rig.run_for(Duration::from_secs(3));
    assert!(rig.device.stuck_by_firmware());
}

#[test]
fn a_fault_that_sleeps_shows_long_after_the_success_was_told() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::ConfirmThenMute {
        confirm: Duration::from_secs(3),
        mute: Duration::from_secs(86_400),
    }));
    rig.offer(1, main_only());
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![0], vec![], vec![]));
    rig.run_for(Duration::from_secs(80_000));
    assert!(!rig.device.stuck_by_firmware());
    rig.run_for(Duration::from_secs(10_000));
    assert!(rig.device.stuck_by_firmware());
}

#[test]
fn an_image_that_never_confirms_stays_on_probation() {
    let mut rig = Rig::online(Setup::boot(BootOutcome::Unconfirmed));
    rig.offer(1, main_only());
    rig.run_to(Phase::Probation);
    rig.run_for(Duration::from_secs(3600));
    assert_eq!(rig.device.phase(), Phase::Probation);
    assert!(rig.device.stuck_by_firmware());
    assert!(rig.cloud.reports.is_empty());
}

#[test]
fn an_install_that_never_returns_is_stuck() {
    let never = InstallOutcome::Never { deaf: false };
    let mut rig = Rig::online(Setup {
        installs: vec![("modem@2.0.0", never)],
        ..Setup::default()
    });
    rig.offer(1, modem_then_main());
    rig.run_for(Duration::from_secs(3600));
    assert_eq!(rig.device.phase(), Phase::Installing);
    assert!(rig.device.stuck_by_firmware());
    rig.cancel(1);
    rig.run_to_answer();
    assert_eq!(rig.results(1), (vec![], vec![], vec![0, 1]));
}

#[test]
fn an_image_that_does_not_fit_fails() {
    let limit = u64::from(chip().slot_size - 2 * chip().page_size);
    for (size, fits) in [(limit, true), (limit + 1, false)] {
        let mut rig = Rig::online(Setup {
            sizes: (IMAGE_SIZE, size),
            ..Setup::default()
        });
        rig.offer(1, main_only());
        rig.run_to_answer();
        let expected = if fits {
            (AttemptResult::Succeeded, None)
        } else {
            (AttemptResult::Failed, Some(FailureReason::TooBig))
        };
        assert_eq!(rig.ends(), [(1, expected.0, expected.1)], "{size} bytes");
    }
}

#[test]
fn bytes_that_are_no_image_have_no_build_id() {
    let mut rig = Rig::online(Setup::default());
    rig.cloud.images.insert("/app-1.1.0".into(), vec![0x11; 5000].into());
    rig.offer(1, main_only());
    rig.run_to_answer();
    assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(FailureReason::NoBuildId))]);
    assert_eq!(rig.device.running(), &version("app@1.0.0"));
}

#[test]
fn an_image_with_a_wrong_digest_is_refused_by_the_bootloader() {
    let mut rig = Rig::online(Setup::default());
    let mut bent = rig.cloud.images["/app-1.1.0"].to_vec();
    bent[7000] ^= 1;
    rig.cloud.images.insert("/app-1.1.0".into(), bent.into());
    rig.offer(1, main_only());
    rig.run_to_answer();
    assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(FailureReason::NotSwapped))]);
    assert!(rig.transitions().contains(&(Phase::Swapping, Phase::Failed, Cause::Error)));
    assert_eq!(rig.device.running(), &version("app@1.0.0"));
    // The slot is usable again.
    rig.cloud
        .images
        .insert("/app-1.1.0".into(), super::setup::image("app@1.1.0", IMAGE_SIZE));
    rig.offer(2, main_only());
    rig.run_to_answer();
    assert_eq!(rig.results(2), (vec![0], vec![], vec![]));
}

/// What a device makes of each flaw: whether the download ends, whether the bootloader is asked, and what runs in the end.
#[test]
fn a_flawed_image_ends_where_its_flaw_is_found() {
    let refused = (FailureReason::NotSwapped, Phase::Swapping, "app@1.0.0");
    let unnamed = (FailureReason::NoBuildId, Phase::Staged, "app@1.0.0");
    for swap in [SwapMethod::Offset, SwapMethod::Move] {
        for flaw in Flaw::ALL {
            let (reason, last, runs) = match flaw {
                // Only MCUboot looks at header, digest and signature.
                Flaw::BadSignature | Flaw::WrongKey | Flaw::Unsigned | Flaw::WrongDigest | Flaw::Truncated => refused,
                // Without a header the payload is not found, in which the build id would stand.
                Flaw::NoBuildId | Flaw::ZeroBuildId | Flaw::BadMagic => unnamed,
                // It boots and is no image that anybody asked for; nothing puts it back.
                Flaw::WrongBuildId => (FailureReason::WrongBuildId, Phase::Swapping, "app@1.1.0"),
                Flaw::TooBig => (FailureReason::TooBig, Phase::Downloading, "app@1.0.0"),
            };
            let mut rig = Rig::online(Setup {
                swap,
                flaw: Some(flaw),
                ..Setup::default()
            });
            rig.offer(1, main_only());
            rig.run_to_answer();
            assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(reason))], "{flaw}");
            assert!(
                rig.transitions().contains(&(last, Phase::Failed, Cause::Error)),
                "{flaw}: {:?}",
                rig.transitions()
            );
            assert_eq!(rig.results(1), (vec![], vec![0], vec![]), "{flaw}");
            rig.run_for(Duration::from_secs(10));
            rig.cut_power();
            rig.input(DeviceInput::PowerOn);
            rig.run_for(Duration::from_secs(10));
            assert_eq!(rig.device.running(), &version(runs), "{flaw}");
        }
    }
}

#[test]
fn a_signature_that_is_damaged_in_flash_is_refused() {
    // Bytes that the digest does not cover, in a device that has nobody to tell it that they were changed.
    let mut rig = Rig::online(Setup::default());
    let mut bent = rig.cloud.images["/app-1.1.0"].to_vec();
    *bent.last_mut().unwrap() ^= 1;
    rig.cloud.images.insert("/app-1.1.0".into(), bent.into());
    rig.offer(1, main_only());
    rig.run_to_answer();
    assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(FailureReason::NotSwapped))]);
    assert_eq!(rig.device.running(), &version("app@1.0.0"));
}

#[test]
fn a_url_that_no_device_may_use_fails_without_a_request() {
    let mut rig = Rig::online(Setup::default());
    let mut plain = main_only();
    plain.artifacts[0].url = "http://images.test/app-1.1.0".parse().unwrap();
    rig.offer(1, plain);
    rig.run_to_answer();
    assert_eq!(rig.ends(), [(1, AttemptResult::Failed, Some(FailureReason::Download))]);
    assert!(rig.cloud.requests.is_empty());
}

#[test]
fn every_slug_of_a_manifest_has_its_own_record() {
    let mut rig = Rig::online(Setup::default());
    let mut both = manifest(&[("modem@2.0.0", false), ("modem@2.0.0", false)]);
    both.artifacts[1] = squall::model::Artifact {
        slug: "sensor".parse().unwrap(),
        ..artifact("modem@2.0.0", false)
    };
    rig.offer(1, both);
    rig.run_to_answer();
    assert_eq!(rig.handlers(), [(1, 0), (1, 1)]);
    assert_eq!(rig.device.attempt(), Some(id(1)));
}
