//! What the judge holds against a device from the server's side, each broken by a device that is nothing but packets. What a device with
//! a planted defect can show over real sockets stands in `tests/host/judge.rs`.

use std::time::Duration;

use squall::model::{Artifact, DeviceId, Manifest, Secret, StateReason, UpdateState, Url};
use squall::time::SimTime;
use squall::verdict::{Fetched, Witness};
use squall::wire::ota::{CloudMessage, Report, UpdateResults, encode_cloud, encode_results};
use squall::wire::{Packet, Publish, topic};

use super::rig::{KEY, changed, connect, firmware, id, metadata, subscribe};

/// A device and whoever watches it.
#[derive(Default)]
struct Watched {
    witness: Witness,
    now: SimTime,
}

impl Watched {
    fn device() -> DeviceId {
        "d1".into()
    }

    fn sends(&mut self, packet: Packet) -> &mut Self {
        self.witness.sent(self.now, &Watched::device(), &packet);
        self
    }

    fn offered(&mut self, attempt: u64, canceled: bool) -> &mut Self {
        let artifact = |version: &str, main| Artifact {
            slug: firmware(version).slug,
            version: firmware(version).version,
            main,
            url: Url::new(format!("https://images.test/a/{attempt}/0").into_bytes()).unwrap(),
            secret: Secret::new(format!("secret-{attempt}-{main}").into_bytes()).unwrap(),
        };
        let manifest = Manifest {
            canceled,
            artifacts: vec![artifact("app@1.1.0", true)],
        };
        let attempt = id(attempt);
        let payload = encode_cloud(&CloudMessage::UpdateArtifacts { attempt, manifest });
        let packet = Packet::Publish(Publish::at_most_once(topic::OTA_C2D, payload));
        self.witness.transmitted(self.now, &Watched::device(), &packet);
        self
    }

    fn reports(&mut self, attempt: u64, report: Report) -> &mut Self {
        let attempt = id(attempt);
        let payload = encode_results(&UpdateResults { attempt, report });
        self.sends(Packet::Publish(Publish::at_most_once(topic::OTA_D2C, payload)))
    }

    fn fetches(&mut self, attempt: u64) -> &mut Self {
        let fetched = Fetched {
            attempt: id(attempt),
            index: 0,
            secret: None,
            status: 200,
        };
        self.witness.fetched(self.now, &Watched::device(), &fetched);
        self
    }

    /// A device that is online, in the right order.
    fn online() -> Self {
        let mut watched = Watched::default();
        watched.connects(None);
        watched
    }

    fn connects(&mut self, last_attempt: Option<u64>) -> &mut Self {
        self.sends(connect("d1", KEY))
            .sends(metadata(1, None, last_attempt))
            .sends(subscribe("config-cbor-c2d"))
            .sends(subscribe(topic::OTA_C2D))
    }

    fn server(&mut self, attempt: u64, from: UpdateState, to: UpdateState) -> &mut Self {
        let event = changed("d1", "one", attempt, from, to, StateReason::Results);
        self.witness.server(self.now, &event);
        self
    }

    fn later(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    fn broken(&mut self) -> Vec<&'static str> {
        self.witness.take_findings().iter().map(|finding| finding.rule).collect()
    }
}

fn failed() -> Report {
    Report::Results {
        succeeded: vec![].into(),
        failed: vec![0].into(),
        canceled: vec![].into(),
    }
}

#[test]
fn a_device_that_refuses_a_manifest_that_is_well_formed_is_found() {
    let found = Watched::online().offered(7, false).reports(7, Report::Error(2)).broken();
    assert_eq!(found, ["right-attempt-error"]);
    let found = Watched::online().offered(7, false).reports(7, Report::Error(0)).broken();
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_device_that_fetches_an_image_after_its_end_is_found() {
    let mut watched = Watched::online();
    assert_eq!(watched.offered(7, false).fetches(7).reports(7, failed()).broken(), [""; 0]);
    assert_eq!(watched.fetches(7).broken(), ["ended-runs-nothing"]);
}

#[test]
fn a_device_that_starts_an_attempt_that_was_called_off_is_found() {
    assert_eq!(
        Watched::online().offered(7, true).fetches(7).broken(),
        ["called-off-runs-nothing"]
    );
}

#[test]
fn a_device_that_reports_an_attempt_long_superseded_is_found() {
    let mut watched = Watched::online();
    watched.offered(7, false).fetches(7).offered(8, false).fetches(8);
    // It may have been on its way.
    assert_eq!(watched.later(10).reports(7, failed()).broken(), [""; 0]);
    assert_eq!(watched.later(1).reports(7, failed()).broken(), ["superseded-is-silent"]);
}

#[test]
fn a_device_that_forgets_an_attempt_that_it_reported_is_found() {
    let mut watched = Watched::online();
    watched.offered(7, false).reports(7, failed());
    assert_eq!(watched.connects(Some(7)).broken(), [""; 0]);
    let found = watched.sends(connect("d1", KEY)).sends(metadata(2, None, Some(6))).broken();
    assert_eq!(found, ["last-attempt-covers-the-record"]);
}

#[test]
fn a_server_that_opens_two_attempts_or_revives_one_is_found() {
    let mut watched = Watched::default();
    watched
        .server(7, UpdateState::None, UpdateState::Pending)
        .server(7, UpdateState::Pending, UpdateState::InProgress)
        .server(8, UpdateState::None, UpdateState::Pending)
        .server(8, UpdateState::Pending, UpdateState::InProgress);
    assert_eq!(watched.broken(), ["one-open-attempt"]);
    let mut watched = Watched::default();
    watched
        .server(7, UpdateState::None, UpdateState::Pending)
        .server(7, UpdateState::Pending, UpdateState::InProgress)
        .server(7, UpdateState::InProgress, UpdateState::Failed)
        .server(7, UpdateState::Failed, UpdateState::InProgress);
    assert!(watched.broken().contains(&"ends-are-final"));
}
