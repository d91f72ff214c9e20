//! A run decided down to each device. Nothing below this reads a file or applies a default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::device::{Behaviors, DeviceConfig, DeviceIdentity};
use crate::faults::{Absence, Cheat, LinkProfile, PlannedFault, PlannedServerFault, Sleep};
use crate::luck::Luck;
use crate::measure::Measure;
use crate::model::{AttemptId, CohortName, CohortRule, DeviceId, DeviceIndex, FirmwareVersion, Selector, Slug, Split, Tags};
use crate::server::{Defect, Limits, ServiceTime};
use crate::time::SimTime;
use crate::verdict::Expectation;

use super::start::AtStart;
use super::target::{AdminPlan, TargetPlan};

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Shown everywhere.
    pub name: String,
    /// A sentence, if the file has one.
    pub description: Option<String>,
    /// Source of all luck.
    pub seed: u64,
    /// 16 hex digits over what is played: steps, nouns, faults; not names, expectations or target.
    pub hash: String,
    /// What flags and environment changed, by dotted key.
    pub overrides: BTreeMap<String, String>,
    /// The file as given.
    pub source: String,
    /// Where it was read from, as the user named it; none of a built-in example or of standard input.
    pub file: Option<PathBuf>,
    /// Every default and the seed written out, as TOML.
    pub resolved: String,
    /// Files that `resolved` names: how it calls each, relative to its own folder, and where it is.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// What `check --strict` would refuse.
    pub warnings: Vec<String>,
    /// Steps and faults happen within it.
    pub duration: Duration,
    /// How long the fleet may take to come to rest.
    pub settle: Settle,
    /// When the run ends.
    pub ends: Ends,
    /// Trends leave this out.
    pub warmup: Duration,
    /// Whether transitions are written.
    pub trace: bool,
    /// The server under test.
    pub server: ServerPlan,
    /// Where real firmware runs, if a fleet is on boards.
    pub bench: Option<BenchPlan>,
    /// Versions with their images, in order of the file.
    pub versions: Vec<PlannedVersion>,
    /// Fleets by name.
    pub fleets: Vec<PlannedFleet>,
    /// Which of the devices this process plays.
    pub split: Split,
    /// Devices by (fleet name, number): a [`DeviceIndex`] is a position here.
    pub devices: Vec<PlannedDevice>,
    /// Cohorts by name, `all` left out.
    pub cohorts: Vec<PlannedCohort>,
    /// Steps in order of the file.
    pub steps: Vec<PlannedStep>,
    /// Faults of devices, links and downloads, in order of the file.
    pub faults: Vec<PlannedFault>,
    /// Faults of the server, in order of the file. Their rows are counted behind those of the devices' faults.
    pub server_faults: Vec<PlannedServerFault>,
    /// Who cheats, by fleet and kind. Their rows are counted last.
    pub cheats: Vec<PlannedCheat>,
    /// Every profile that a fault of the kind `link` names.
    pub links: BTreeMap<String, Arc<LinkProfile>>,
    /// Expectations in order of the file.
    pub expectations: Vec<Expectation>,
}

impl Plan {
    /// The source of the run's draws.
    pub fn luck(&self) -> Luck {
        Luck::new(self.seed)
    }

    /// The fleet of a device.
    pub fn fleet_of(&self, device: DeviceIndex) -> &PlannedFleet {
        &self.fleets[usize::from(self.devices[device.at()].fleet)]
    }

    /// When a device is away: spells in order.
    pub fn spells_of(&self, device: DeviceIndex) -> Box<[(SimTime, SimTime)]> {
        let absence = self.fleet_of(device).absence;
        let end = SimTime::ZERO + self.duration;
        absence.map_or_else(Box::default, |absence| {
            absence.spells(self.luck(), self.devices[device.at()].key, end)
        })
    }

    /// The image of a version.
    pub fn image_of(&self, firmware: &FirmwareVersion) -> Option<Bytes> {
        let found = self.versions.iter().find(|version| version.firmware == *firmware);
        found.map(|version| version.image.clone())
    }

    /// The device's own data.
    pub fn identity(&self, device: DeviceIndex) -> DeviceIdentity {
        let planned = &self.devices[device.at()];
        DeviceIdentity {
            id: planned.id.clone(),
            key: planned.key,
            number: planned.number,
        }
    }

    /// How a device cheats, if it does, and the row in which that is counted.
    pub fn cheat_of(&self, device: DeviceIndex) -> Option<(u16, Cheat)> {
        let row = self
            .cheats
            .iter()
            .position(|row| row.devices.binary_search(&device).is_ok())?;
        Some(((self.first_cheat() + row) as u16, self.cheats[row].cheat))
    }

    /// Position of the first row of [`Plan::cheats`] among those that are counted.
    pub fn first_cheat(&self) -> usize {
        self.faults.len() + self.server_faults.len()
    }

    /// Whom a device steals from that does: the next one.
    pub fn victim_of(&self, device: DeviceIndex) -> DeviceId {
        self.devices[(device.at() + 1) % self.devices.len()].id.clone()
    }

    /// Every device that cheats.
    pub fn cheaters(&self) -> impl Iterator<Item = DeviceIndex> {
        self.cheats.iter().flat_map(|row| row.devices.iter().copied())
    }

    /// Devices that match a selection as they stand at the start, in their order; its pick is not looked at.
    pub fn matching_at_start(&self, who: &Selector) -> Vec<DeviceIndex> {
        let start = AtStart {
            fleets: &self.fleets,
            devices: &self.devices,
            cohorts: &self.cohorts,
        };
        let devices = (0..self.devices.len() as u32).map(DeviceIndex);
        devices.filter(|device| start.matches(who, *device)).collect()
    }

    /// The devices that this process plays, in their order.
    pub fn played(&self) -> impl Iterator<Item = DeviceIndex> + use<> {
        let split = self.split;
        let devices = (0..self.devices.len() as u32).map(DeviceIndex);
        devices.filter(move |device| split.holds(*device))
    }

    /// How many devices this process plays.
    pub fn played_count(&self) -> usize {
        self.split.count(self.devices.len())
    }

    /// Every measure that the scenario names, so that series can be laid down before the run.
    pub fn measures(&self) -> impl Iterator<Item = &Measure> {
        let steps = self.steps.iter().filter_map(|step| step.when.as_ref());
        steps.chain(self.expectations.iter().map(|expectation| &expectation.measure))
    }
}

/// How long the fleet may take to come to rest after trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// The latest timer armed, one clean attempt, `chase`, and a minute.
    Auto,
    /// This long.
    For(Duration),
    /// Not judged: the run ends with its duration.
    Off,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// As soon as nothing is left to happen and no attempt is open.
    Settled,
    /// After its duration.
    Duration,
}

/// The server under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPlan {
    /// A server that is there already; `None` is the embedded one, which everything else is about.
    pub target: Option<TargetPlan>,
    /// Where MQTT listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificates, or none.
    pub tls: TlsPlan,
    /// Missing results are asked for after this long.
    pub chase: Duration,
    /// What it refuses beyond.
    pub limits: Limits,
    /// Whether what it knows outlives its process.
    pub on_disk: bool,
    /// Service time of each message of a device, by load.
    pub delay: ServiceTime,
    /// An attempt without an end by then is closed.
    pub deadline: Option<Duration>,
    /// Id of the first attempt.
    pub first_attempt: AttemptId,
    /// A bug planted in it.
    pub defect: Option<Defect>,
}

impl ServerPlan {
    /// Whether the server tells what it does: states, members, manifests. Squall's own does.
    pub fn tells(&self) -> bool {
        self.target
            .as_ref()
            .is_none_or(|target| matches!(target.admin, AdminPlan::Api(_)))
    }
}

/// Where the real firmware of fleets with `engine = "qemu"` runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchPlan {
    /// The program that emulates.
    pub binary: String,
    /// The machine that it emulates.
    pub machine: String,
    /// What stands at the start of flash; `None` is the built-in bootloader.
    pub bootloader: Option<Bytes>,
    /// Boards that may be starting at once.
    pub parallel: u32,
    /// How long a board may be silent before it is reset.
    pub boot_timeout: Duration,
}

/// TLS of the embedded server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsPlan {
    /// A CA and certificates made for the run.
    Auto,
    /// Neither MQTT nor HTTP is encrypted.
    Off,
    /// Files of a certificate chain and its key.
    Files {
        /// Chain, PEM.
        cert: std::path::PathBuf,
        /// Key, PEM.
        key: std::path::PathBuf,
    },
}

/// A version and its image.
#[derive(Clone, Debug)]
pub struct PlannedVersion {
    /// Firmware and version.
    pub firmware: FirmwareVersion,
    /// The image file.
    pub image: Bytes,
}

/// A fleet.
#[derive(Clone, Debug)]
pub struct PlannedFleet {
    /// Its name.
    pub name: String,
    /// Its path to the server.
    pub link: Arc<LinkProfile>,
    /// When its devices sleep, if they do.
    pub sleep: Option<Sleep>,
    /// How its devices are away, if they are.
    pub absence: Option<Absence>,
    /// Its firmware is real and runs on boards; where there are none, it is simulated.
    pub on_boards: bool,
    /// Settings of its devices.
    pub config: Arc<DeviceConfig>,
    /// What versions do on its devices.
    pub behaviors: Arc<Behaviors>,
    /// What its devices run at the start; the first is main.
    pub runs: Vec<FirmwareVersion>,
    /// Image in the primary slot at the start, confirmed.
    pub image: Bytes,
    /// Position of its first device.
    pub first: DeviceIndex,
    /// Number of its devices.
    pub count: u32,
}

/// A device.
#[derive(Clone, Debug)]
pub struct PlannedDevice {
    /// Its id.
    pub id: DeviceId,
    /// Position of its fleet in [`Plan::fleets`].
    pub fleet: u16,
    /// Number in its fleet, from zero.
    pub number: u32,
    /// The key under which it draws.
    pub key: u64,
    /// When it is first powered on.
    pub boot_at: SimTime,
    /// Its tags at the start.
    pub tags: Arc<Tags>,
}

/// The name of the row in which a fleet's cheat is counted: no fault can be called so.
pub(super) fn cheat_row(fleet: &str, cheat: Cheat) -> String {
    format!("{fleet}.{cheat}")
}

/// The devices of a fleet that cheat alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCheat {
    /// Fleet and kind: `demo.flood`, which no fault can be called.
    pub name: String,
    /// What they do.
    pub cheat: Cheat,
    /// Who, in order.
    pub devices: Vec<DeviceIndex>,
}

/// A cohort.
#[derive(Clone, Debug)]
pub struct PlannedCohort {
    /// Its name.
    pub name: CohortName,
    /// By hand or by tags.
    pub rule: CohortRule,
    /// Whom it is made of, as it is written.
    pub who: Selector,
    /// Members by hand at the start.
    pub members: Vec<DeviceIndex>,
}

/// A step.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// Its name: given, or made of verb and position.
    pub name: String,
    /// Line in the scenario file, from 1.
    pub line: u32,
    /// Not before this.
    pub at: StepTime,
    /// Fires once this has held; `None` fires at `at`.
    pub when: Option<Measure>,
    /// How long `when` must have held.
    pub held_for: Duration,
    /// How long after that it fires: somebody has to notice.
    pub late: Duration,
    /// A share over fewer devices satisfies no `when`.
    pub min_count: u64,
    /// What it does.
    pub verb: StepVerb,
}

/// The earliest moment of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepTime {
    /// A moment.
    At(SimTime),
    /// A while after another step fired.
    After {
        /// Name of that step.
        step: String,
        /// How long after.
        by: Duration,
    },
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepVerb {
    /// Makes a deployment, named like the step.
    Deploy {
        /// Packages in manifest order.
        packages: Vec<FirmwareVersion>,
        /// Which devices.
        cohort: CohortName,
        /// Which package is main.
        main: Option<Slug>,
    },
    /// Withdraws the deployments of these steps.
    Cancel {
        /// Names of the steps.
        steps: Vec<String>,
    },
    /// Holds back new offers of the deployments of these steps.
    Pause {
        /// Names of the steps.
        steps: Vec<String>,
    },
    /// Lets the deployments of these steps make offers again.
    Resume {
        /// Names of the steps.
        steps: Vec<String>,
    },
    /// Makes new attempts where those of the deployments of these steps failed.
    Retry {
        /// Names of the steps.
        steps: Vec<String>,
    },
    /// Puts devices into a cohort.
    Join {
        /// Which devices, judged when the step fires.
        who: Selector,
        /// Which cohort.
        cohort: CohortName,
    },
    /// Takes devices out of a cohort.
    Leave {
        /// Which devices, judged when the step fires.
        who: Selector,
        /// Which cohort.
        cohort: CohortName,
    },
    /// Sets tags.
    Tag {
        /// Which devices, judged when the step fires.
        who: Selector,
        /// Tags to set.
        tags: Tags,
    },
    /// Removes tags.
    Untag {
        /// Which devices, judged when the step fires.
        who: Selector,
        /// Keys to remove.
        keys: Vec<String>,
    },
}
