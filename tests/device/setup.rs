//! What a rig's device is made of, and what it is asked to install.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use squall::device::{
    Backoff, Behaviors, BootOutcome, Chip, Dealt, Defect, Device, DeviceConfig, DeviceIdentity, ImageBehavior, InstallOutcome,
    Jitter, Quirks, RollbackLock, Sdk, SwapMethod,
};
use squall::luck::{Luck, device_key};
use squall::mcuboot::{
    Flaw, ImageHeader, ImageInfo, ImageSpec, Pattern, SigningKey, Slot, build_image, find_build_id, own_build_id, slice_reader,
};
use squall::measure::{Census, CensusDevice};
use squall::model::{Artifact, AttemptId, BuildId, DeviceId, Digest, FirmwareVersion, IngestKey, Manifest};
use squall::time::SimTime;
use squall::verdict::{Build, Least, Referee, RefereeSetup, Waits};
use squall::wire::ImagePrint;

use super::rig::{Cloud, Rig};

/// Bytes of a main image unless a test says otherwise: three pages, the last one short.
pub const IMAGE_SIZE: u64 = 10_000;

pub fn id(number: u64) -> AttemptId {
    AttemptId::new(number).unwrap()
}

pub fn version(text: &str) -> FirmwareVersion {
    text.parse().unwrap()
}

/// Figures near those of an nRF52840.
pub fn chip() -> Chip {
    Chip {
        name: "test".into(),
        page_size: 4096,
        write_size: 4,
        page_erase: Duration::from_millis(85),
        kib_write: Duration::from_micros(10_496),
        slot_size: 20 * 4096,
        kib_hash: Duration::from_micros(854),
        verify: Duration::from_millis(20),
        boot: Duration::from_millis(30),
    }
}

/// The key that images are signed with and that bootloaders hold.
fn key() -> SigningKey {
    SigningKey::from_seed(1)
}

pub fn image(firmware: &str, size: u64) -> Bytes {
    flawed_image(firmware, size, None)
}

/// An image with something wrong, for a slot of [`chip`].
pub fn flawed_image(firmware: &str, size: u64, flaw: Option<Flaw>) -> Bytes {
    let firmware = version(firmware);
    let number = firmware.version.to_string();
    let seed = number.bytes().map(u64::from).sum();
    let sound = ImageSpec::new(
        firmware.slug.to_string(),
        number.parse().unwrap(),
        size,
        Pattern::Random { seed },
    );
    let slot = Slot {
        size: chip().slot_size,
        align: chip().write_size,
        confirmed: false,
    };
    let spec = ImageSpec {
        signed_by: Some(key()),
        slot: Some(slot).filter(|_| flaw == Some(Flaw::TooBig)),
        flaw,
        ..sound
    };
    build_image(&spec).unwrap()
}

/// What a fleet knows of an image that its bootloaders run, or of a flawed one.
fn known(firmware: &str, image: &Bytes, boot: BootOutcome, sound: bool) -> (Digest, ImageBehavior) {
    let info = ImageInfo::read(slice_reader(image)).ok();
    let header = image.first_chunk().and_then(|head| ImageHeader::from_bytes(head).ok());
    let behavior = ImageBehavior {
        fits: Dealt::Same(true),
        counter: 0,
        firmware: version(firmware).into(),
        boot: Dealt::Same(boot),
        image: image.clone().into(),
        build_id: header
            .and_then(|header| find_build_id(&header, slice_reader(image)))
            .map(BuildId),
        own_build_id: header
            .and_then(|header| own_build_id(&header, slice_reader(image)))
            .map(|id| BuildId(id).into()),
        sound,
    };
    (Digest(info.map_or([0; 32], |info| info.digest)), behavior)
}

/// How a rig is set up; a plain one has `app@1.0.0` running and `app@1.1.0` to be had.
pub struct Setup {
    pub seed: u64,
    pub chip: Chip,
    pub sizes: (u64, u64),
    pub boot: BootOutcome,
    pub installs: Vec<(&'static str, InstallOutcome)>,
    pub retry: Backoff,
    pub keep_alive: Duration,
    pub swap: SwapMethod,
    pub sdk: Sdk,
    pub quirks: Quirks,
    pub heartbeat: Option<Duration>,
    /// Its firmware runs on a board, which the test plays.
    pub on_board: bool,
    /// What is wrong with the image of `app@1.1.0`.
    pub flaw: Option<Flaw>,
    /// The referee knows what every image holds.
    pub images_known: bool,
    /// Rules that the generation of the SDK breaks are held all the same.
    pub unlifted: bool,
    /// Versions whose images the device's fleet does not know.
    pub unknown: bool,
    /// A defect of the device, which then is expected to break rules.
    pub defect: Option<Defect>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            seed: 1,
            chip: chip(),
            sizes: (IMAGE_SIZE, IMAGE_SIZE),
            boot: BootOutcome::ConfirmAfter(Duration::from_secs(1)),
            installs: Vec::new(),
            retry: Backoff {
                first: Duration::from_secs(5),
                max: Duration::from_secs(300),
                jitter: Jitter::Half,
            },
            keep_alive: Duration::from_secs(60),
            swap: SwapMethod::Offset,
            sdk: Sdk::Newest,
            quirks: Quirks::default(),
            heartbeat: None,
            on_board: false,
            flaw: None,
            images_known: false,
            unlifted: false,
            unknown: false,
            defect: None,
        }
    }
}

impl Setup {
    /// An image whose download takes a while.
    pub fn long() -> Setup {
        Setup {
            sizes: (IMAGE_SIZE, 60_000),
            ..Setup::default()
        }
    }

    pub fn boot(boot: BootOutcome) -> Setup {
        Setup {
            boot,
            ..Setup::default()
        }
    }

    pub fn config(&self) -> DeviceConfig {
        let constant = Duration::from_millis(500);
        DeviceConfig {
            checks_fit: false,
            rollback_lock: RollbackLock::Off,
            main: "app".parse().unwrap(),
            ingest_key: IngestKey::new("ingest-key"),
            chip: Arc::new(match self.on_board {
                true => self.chip.without_times(),
                false => self.chip.clone(),
            }),
            swap: self.swap,
            key: Some(key().verifying_key()),
            reconnect: Backoff {
                first: constant,
                max: constant,
                jitter: Jitter::Fixed,
            },
            retry: self.retry,
            connack_timeout: Duration::from_millis(500),
            keep_alive: self.keep_alive,
            max_artifacts: 4,
            tls: true,
            sdk: self.sdk,
            quirks: self.quirks,
            heartbeat: self.heartbeat,
            counts_wear: false,
            on_board: self.on_board,
        }
    }

    pub fn build(self) -> Rig {
        let old = image("app@1.0.0", self.sizes.0);
        let new = flawed_image("app@1.1.0", self.sizes.1, self.flaw);
        // A build id that stands twice is nothing that a bootloader looks at.
        let sound = self.flaw.is_none_or(|flaw| flaw == Flaw::WrongBuildId);
        let images = [
            known("app@1.0.0", &old, BootOutcome::default(), true),
            known("app@1.1.0", &new, self.boot, sound),
        ];
        let installs = self
            .installs
            .iter()
            .map(|&(firmware, outcome)| (version(firmware), Dealt::Same(outcome)));
        let behaviors = Behaviors {
            images: if self.unknown { BTreeMap::new() } else { images.into() },
            installs: installs.collect(),
            defect: self.defect,
        };
        let referee = self.referee(&behaviors);
        let identity = DeviceIdentity {
            id: DeviceId::new("rig-00000"),
            key: device_key("rig", 0),
            number: 0,
        };
        let config = Arc::new(self.config());
        let device = Device::new(identity, config, Arc::new(behaviors), Luck::new(self.seed), old.clone());
        let mut cloud = Cloud::default();
        cloud.images.insert("/app-1.0.0".into(), old);
        cloud.images.insert("/app-1.1.0".into(), new);
        cloud.images.insert("/modem-2.0.0".into(), Bytes::from(vec![0x5a; 30_000]));
        cloud.images.insert("/radio-3.0.0".into(), Bytes::from(vec![0xa5; 20_000]));
        Rig::new(device, cloud, referee, self.defect.is_none() && !self.unlifted)
    }

    /// Watches the one device of a rig.
    fn referee(&self, behaviors: &Behaviors) -> Referee {
        let build = Build {
            retry: Waits {
                first: self.retry.first,
                max: self.retry.max,
                least: match self.retry.jitter {
                    Jitter::Fixed => Least::Whole,
                    Jitter::Half => Least::Half,
                    Jitter::Full => Least::Nothing,
                },
            },
            lifted: if self.unlifted {
                Vec::new()
            } else {
                self.sdk.breaks().to_vec()
            },
            duplicates_cancel: !self.quirks.ignores_canceled_duplicate,
            disguised: behaviors.disguised().collect(),
            ..Build::default()
        };
        let census = Census {
            devices: vec![CensusDevice {
                id: "rig-00000".into(),
                fleet: "rig".into(),
                tags: Arc::default(),
                runs: vec![version("app@1.0.0")],
                boot_at: SimTime::ZERO,
            }],
            cohorts: Vec::new(),
        };
        Referee::new(RefereeSetup {
            census: &census,
            builds: [("rig".into(), build)].into(),
            images: behaviors
                .images
                .values()
                .filter(|_| self.images_known)
                .map(|known| (known.firmware.as_ref().clone(), ImagePrint::of(&known.image)))
                .collect(),
        })
    }
}

pub fn artifact(firmware: &str, main: bool) -> Artifact {
    let FirmwareVersion { slug, version } = version(firmware);
    Artifact {
        url: format!("https://images.test/{slug}-{version}").parse().unwrap(),
        secret: "q7Zk2mXw9RtB4nVc8LdY1pHs".parse().unwrap(),
        slug,
        main,
        version,
    }
}

pub fn manifest(artifacts: &[(&str, bool)]) -> Manifest {
    Manifest {
        canceled: false,
        artifacts: artifacts.iter().map(|&(firmware, main)| artifact(firmware, main)).collect(),
    }
}

pub fn main_only() -> Manifest {
    manifest(&[("app@1.1.0", true)])
}

pub fn modem_then_main() -> Manifest {
    manifest(&[("modem@2.0.0", false), ("app@1.1.0", true)])
}
