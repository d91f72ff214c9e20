//! What a boot restores from storage, and how it judges a test boot (protocol 6.5, reconciliation).

use super::Device;
use super::attempt::Attempt;
use super::boot::Power;
use super::defect::Defect;
use super::io::Outputs;
use super::records::{MOST_ARTIFACTS, ProbationRecord};
use crate::model::{ArtifactResult, BuildId, FailureReason, FirmwareVersion, Phase};

/// The judgment on a main artifact whose probation is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its position in the manifest.
    pub(super) index: u8,
    /// Succeeded or failed.
    pub(super) result: ArtifactResult,
    /// Why it failed.
    pub(super) reason: Option<FailureReason>,
    /// What was to be installed.
    pub(super) firmware: FirmwareVersion,
    /// Passed when the device booted, not when the application confirmed.
    pub(super) at_boot: bool,
}

impl Device {
    /// Brings RAM up to what is stored, before the first connection.
    pub(super) fn restore(&mut self, out: &mut Outputs) {
        let limit = self.config.max_artifacts;
        self.memory.attempt = self.flash.records.attempt(limit).as_ref().map(Attempt::restored);
        if let Some(probation) = self.flash.records.probation(self.probation_limit()) {
            // Without a record before the first handler, the one that is stored may be of an attempt before.
            let older = |attempt: &Attempt| attempt.id != probation.attempt;
            if !self.config.sdk.records_first() && self.memory.attempt.as_ref().is_some_and(older) {
                self.memory.attempt = None;
            }
            if self.is_decided(&probation) {
                self.memory.drop_probation = true;
            } else {
                self.judge(probation);
                return;
            }
        }
        self.show_restored(out);
    }

    /// True if the record is left over: the main artifact has its result, or the attempt is another.
    fn is_decided(&self, probation: &ProbationRecord) -> bool {
        self.memory.attempt.as_ref().is_some_and(|attempt| {
            let of_this = attempt.id == probation.attempt;
            let pending =
                |results: &super::records::Results| probation.index < results.count() && results.of(probation.index).is_none();
            !(of_this && attempt.results().is_some_and(pending))
        })
    }

    /// Positions that a probation record may name: of a manifest that the device takes, or of any.
    pub(super) fn probation_limit(&self) -> u8 {
        match self.config.sdk.bounds_probation() {
            true => self.config.max_artifacts,
            false => MOST_ARTIFACTS,
        }
    }

    fn judge(&mut self, probation: ProbationRecord) {
        let generation = self.next_generation();
        let attempt = self.memory.attempt.get_or_insert_with(|| Attempt {
            generation,
            ..Attempt::rebuilt(probation.attempt, probation.index)
        });
        let index = probation.index;
        let running: Option<BuildId> = match &self.power {
            Power::On(app) => app.build_id.as_deref().copied(),
            Power::Off | Power::Boot { .. } => None,
        };
        let expected = running == Some(probation.build_id);
        if expected && !self.flash.primary.is_confirmed() && self.behaviors.defect != Some(Defect::SucceedUnconfirmed) {
            attempt.on_probation = Some(index);
            return;
        }
        self.memory.drop_probation = self.has(Defect::DeleteProbationEarly);
        let distrusted = expected && self.has(Defect::FailConfirmedAtBoot);
        let (result, reason) = if (expected && !distrusted) || self.has(Defect::SucceedAfterRollback) {
            (ArtifactResult::Succeeded, None)
        } else if self.shown.phase == Phase::Reverting {
            (ArtifactResult::Failed, Some(FailureReason::ResetBeforeConfirm))
        } else if !self.flash.primary.is_confirmed() {
            (ArtifactResult::Failed, Some(FailureReason::WrongBuildId))
        } else {
            (ArtifactResult::Failed, Some(FailureReason::NotSwapped))
        };
        self.memory.verdict = Some(Box::new(Verdict {
            index,
            result,
            reason,
            firmware: self.tried(probation),
            at_boot: true,
        }));
    }

    /// What a probation tried. Its slug becomes the key of a version record, which stays for life.
    fn tried(&self, mut probation: ProbationRecord) -> FirmwareVersion {
        self.behaviors.share_slug(&mut probation.slug);
        FirmwareVersion {
            slug: probation.slug,
            version: probation.version,
        }
    }

    /// The application has confirmed: main on probation has succeeded.
    pub(super) fn reconcile_confirmed(&mut self) {
        let limit = self.probation_limit();
        let on_probation = self.memory.attempt.as_ref().and_then(|attempt| attempt.on_probation);
        let (Some(index), Some(probation)) = (on_probation, self.flash.records.probation(limit)) else {
            return;
        };
        self.memory.drop_probation = self.has(Defect::DeleteProbationEarly);
        let result = match self.has(Defect::FailConfirmed) {
            false => ArtifactResult::Succeeded,
            true => ArtifactResult::Failed,
        };
        self.memory.verdict = Some(Box::new(Verdict {
            index,
            result,
            reason: None,
            firmware: self.tried(probation),
            at_boot: false,
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::device::flash::Progress;
    use crate::device::records::{AttemptRecord, RecordBody, Results};
    use crate::device::{Backoff, Behaviors, Chip, DeviceConfig, DeviceIdentity, DeviceInput, Jitter, Quirks, Sdk, SwapMethod};
    use crate::luck::Luck;
    use crate::mcuboot::{ImageInfo, ImageSpec, Pattern, build_image, find_build_id, slice_reader};
    use crate::model::{Artifact, AttemptId, DeviceId, IngestKey, Manifest, RecordKey};
    use crate::time::SimTime;
    use crate::wire::ota::{CloudMessage, encode_cloud};

    fn device() -> (Device, BuildId) {
        let spec = ImageSpec::new("app", "1.0.0".parse().unwrap(), 3000, Pattern::Counter);
        let image: Bytes = build_image(&spec).unwrap();
        let info = ImageInfo::read(slice_reader(&image)).unwrap();
        let build_id = BuildId(find_build_id(&info.header, slice_reader(&image)).unwrap());
        let constant = Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_millis(500),
            jitter: Jitter::Fixed,
        };
        let millisecond = Duration::from_millis(1);
        let config = DeviceConfig {
            main: "app".parse().unwrap(),
            ingest_key: IngestKey::new("key"),
            chip: Arc::new(Chip {
                name: "test".into(),
                page_size: 4096,
                write_size: 4,
                page_erase: millisecond,
                kib_write: millisecond,
                slot_size: 10 * 4096,
                kib_hash: millisecond,
                verify: millisecond,
                boot: millisecond,
            }),
            swap: SwapMethod::Offset,
            key: None,
            reconnect: constant,
            retry: constant,
            connack_timeout: Duration::from_secs(1),
            keep_alive: Duration::from_secs(60),
            max_artifacts: 4,
            tls: true,
            sdk: Sdk::Newest,
            quirks: Quirks::default(),
            checks_fit: false,
            rollback_lock: super::super::RollbackLock::Off,
            heartbeat: None,
            counts_wear: false,
            on_board: false,
        };
        let identity = DeviceIdentity {
            id: DeviceId::new("d"),
            key: 1,
            number: 0,
        };
        let device = Device::new(
            identity,
            Arc::new(config),
            Arc::new(Behaviors::default()),
            Luck::new(1),
            image,
        );
        (device, build_id)
    }

    fn boot(device: &mut Device) {
        let mut out = Outputs::new();
        device.handle_input(DeviceInput::PowerOn, SimTime::ZERO, &mut out);
        device.handle_timeout(SimTime::from_secs(1), &mut out);
    }

    fn probation(build_id: BuildId) -> Bytes {
        let record = ProbationRecord {
            attempt: AttemptId::new(7).unwrap(),
            index: 1,
            slug: "app".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            build_id,
        };
        record.encode()
    }

    fn manifest(count: usize) -> Bytes {
        let artifact = |number: usize| Artifact {
            slug: format!("part-{number}").parse().unwrap(),
            main: false,
            url: "https://h/".parse().unwrap(),
            secret: "s".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
        };
        encode_cloud(&CloudMessage::UpdateArtifacts {
            attempt: AttemptId::new(7).unwrap(),
            manifest: Manifest {
                canceled: false,
                artifacts: (0..count).map(artifact).collect(),
            },
        })
    }

    /// Protocol 7.4, C2, and section 14: the count comes with the manifest.
    #[test]
    fn an_attempt_is_rebuilt_from_its_probation() {
        let (mut device, build_id) = device();
        device.flash.records.write(&RecordKey::Probation, &probation(build_id));
        boot(&mut device);
        let results = |device: &Device| *device.memory.attempt.as_ref().unwrap().results().unwrap();
        assert_eq!(results(&device).count(), 2);
        assert_eq!(results(&device).of(1), Some(ArtifactResult::Succeeded));
        assert_eq!(device.flash.records.probation(4), None);
        let mut out = Outputs::new();
        device.on_cloud_message(&manifest(1), SimTime::from_secs(1), &mut out);
        assert!(
            device.memory.attempt.as_ref().unwrap().manifest.is_none(),
            "fewer than are known"
        );
        device.on_cloud_message(&manifest(3), SimTime::from_secs(1), &mut out);
        assert_eq!(results(&device).count(), 3);
        assert_eq!(
            device
                .memory
                .attempt
                .as_ref()
                .unwrap()
                .next_artifact()
                .map(|(index, _)| index),
            Some(0)
        );
    }

    /// Protocol 6.6: the flag in the record outlives the boot, and ends with what cancels.
    #[test]
    fn a_restored_attempt_that_was_cancelled_runs_nothing_until_it_is_cancelled_again() {
        let (mut device, _) = device();
        let attempt = AttemptId::new(7).unwrap();
        let record = AttemptRecord {
            attempt,
            body: RecordBody::Results {
                cancel: true,
                results: Results::pending(2),
            },
        };
        device.flash.records.write(&RecordKey::Attempt, &record.encode());
        boot(&mut device);
        let mut out = Outputs::new();
        device.on_cloud_message(&manifest(2), SimTime::from_secs(1), &mut out);
        device.work_on(SimTime::from_secs(1), &mut out);
        let next = |device: &Device| {
            device
                .memory
                .attempt
                .as_ref()
                .unwrap()
                .next_artifact()
                .map(|(index, _)| index)
        };
        assert_eq!((next(&device), device.running_handler()), (None, None));
        let cancel = encode_cloud(&CloudMessage::CancelUpdate { attempt });
        device.on_cloud_message(&cancel, SimTime::from_secs(1), &mut out);
        let results = *device.memory.attempt.as_ref().unwrap().results().unwrap();
        assert_eq!([0, 1].map(|index| results.of(index)), [Some(ArtifactResult::Canceled); 2]);
    }

    #[test]
    fn corrupt_records_count_as_absent() {
        let (mut device, build_id) = device();
        device.flash.records.write(&RecordKey::Attempt, b"\xbf\x00\x01\x01\x07");
        let mut long = probation(build_id).to_vec();
        long.push(0);
        device.flash.records.write(&RecordKey::Probation, &long);
        boot(&mut device);
        assert!(device.memory.attempt.is_none());
        assert_eq!(device.phase(), Phase::Idle);
        let progress = device.flash.advance(
            SimTime::from_secs(2),
            &device.config.chip,
            &device.behaviors,
            &mut Outputs::new(),
        );
        assert_eq!(progress, Progress::Idle, "nothing is stored");
    }

    /// Any bytes, and records with a byte that is another.
    fn damaged(whole: Bytes) -> impl Strategy<Value = Vec<u8>> {
        let bent = (any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(at, byte)| {
            let mut bytes = whole.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        });
        prop_oneof![proptest::collection::vec(any::<u8>(), 0..64), bent]
    }

    fn attempt_record() -> Bytes {
        let mut results = Results::pending(3);
        results.set(0, ArtifactResult::Succeeded);
        let body = RecordBody::Results { cancel: false, results };
        AttemptRecord {
            attempt: AttemptId::new(7).unwrap(),
            body,
        }
        .encode()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A result is there because a valid record says so, or because the image of a valid probation runs.
        #[test]
        fn invariant_29_corrupt_records_never_produce_success(
            attempt in damaged(attempt_record()),
            trial in damaged(probation(BuildId([5; 20]))),
        ) {
            let (mut device, build_id) = device();
            device.flash.records.write(&RecordKey::Attempt, &attempt);
            device.flash.records.write(&RecordKey::Probation, &trial);
            boot(&mut device);
            let said = AttemptRecord::decode(&attempt, 4);
            let tried = ProbationRecord::decode(&trial, 4).filter(|trial| trial.build_id == build_id);
            let Some(results) = device.memory.attempt.as_ref().and_then(|attempt| attempt.results()) else {
                return Ok(());
            };
            for index in (0..results.count()).filter(|&index| results.of(index) == Some(ArtifactResult::Succeeded)) {
                let stored = matches!(
                    &said,
                    Some(AttemptRecord { body: RecordBody::Results { results, .. }, .. }) if results.of(index) == Some(ArtifactResult::Succeeded)
                );
                let ran = tried.as_ref().is_some_and(|trial| trial.index == index);
                prop_assert!(stored || ran, "artifact {} of {:?}", index, results);
            }
        }
    }
}
