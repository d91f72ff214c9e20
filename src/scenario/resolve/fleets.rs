//! Fleets and their devices: what each runs, is tagged with and will do, when it first boots, and who cheats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::device::{Behaviors, DeviceConfig, ImageBehavior};
use crate::luck::{Purpose, device_key, text_key};
use crate::mcuboot::VerifyingKey;
use crate::measure::Metric;
use crate::model::{DeviceId, DeviceIndex, IngestKey, Tags};
use crate::scenario::deal::{deal, positions, taken};
use crate::scenario::file::{FleetFile, TlsFile};
use crate::scenario::fit;
use crate::scenario::images::Image;
use crate::scenario::plan::{PlannedCheat, PlannedDevice, PlannedFleet, cheat_row};
use crate::time::SimTime;

use super::Resolver;

/// MQTT keep-alive of the devices (protocol 2.1).
const KEEP_ALIVE: Duration = Duration::from_secs(60);

impl Resolver<'_> {
    /// Fleets and their devices, with the key that each fleet's bootloader trusts.
    pub fn fleets(&self, images: &[Image], trusted: &[Option<VerifyingKey>]) -> (Vec<PlannedFleet>, Vec<PlannedDevice>) {
        let mut fleets = Vec::with_capacity(self.file.fleets.len());
        let mut devices = Vec::new();
        for (position, fleet) in self.file.fleets.iter().enumerate() {
            let first = DeviceIndex(devices.len() as u32);
            let keys: Vec<u64> = (0..fleet.count as u32)
                .map(|number| device_key(&fleet.name, number))
                .collect();
            devices.extend(self.devices(fleet, position as u16, &keys));
            let own = &devices[first.at()..];
            fleets.push(self.fleet(fleet, first, own, &keys, images, trusted[position].as_ref()));
        }
        self.check_ids(&devices);
        (fleets, devices)
    }

    fn fleet(
        &self,
        fleet: &FleetFile,
        first: DeviceIndex,
        devices: &[PlannedDevice],
        keys: &[u64],
        images: &[Image],
        trusted: Option<&VerifyingKey>,
    ) -> PlannedFleet {
        let main = &fleet.runs[0].value;
        let config = DeviceConfig {
            main: main.slug.clone(),
            ingest_key: self.ingest_key(),
            chip: Arc::clone(&fleet.flash.chip),
            swap: fleet.flash.swap,
            key: trusted.cloned(),
            reconnect: fleet.reconnect,
            retry: fleet.retry,
            connack_timeout: fleet.connack_timeout,
            keep_alive: KEEP_ALIVE,
            max_artifacts: fleet.max_artifacts,
            tls: !matches!(self.file.server.tls, TlsFile::Off),
            sdk: fleet.sdk,
            quirks: fleet.quirks,
            heartbeat: fleet.heartbeat,
            checks_fit: fleet.checks_fit,
            rollback_lock: fleet.rollback_lock,
            counts_wear: self.asks(Metric::Wear),
            on_board: false,
        };
        let image = images.iter().find(|image| image.firmware == *main);
        PlannedFleet {
            name: fleet.name.clone(),
            link: Arc::clone(&fleet.link),
            sleep: fleet.sleep,
            absence: fleet.absence,
            on_boards: fleet.engine.is_some(),
            config: Arc::new(config),
            behaviors: Arc::new(Behaviors {
                defect: fleet.defect.as_ref().map(|defect| defect.value),
                ..self.behaviors(fleet, devices, keys, images, trusted)
            }),
            runs: fleet.runs.iter().map(|version| version.value.clone()).collect(),
            image: image.map(|image| image.bytes.clone()).unwrap_or_default(),
            first,
            count: fleet.count as u32,
        }
    }

    /// True where a step or an expectation asks for a metric.
    fn asks(&self, metric: Metric) -> bool {
        let steps = self.file.steps.iter().filter_map(|step| step.when.as_ref());
        let expects = self.file.expects.iter().filter_map(|expect| expect.that.as_ref());
        steps.chain(expects).any(|asked| asked.measure.metric == metric)
    }

    /// The devices' password: of the seed, since it guards nothing but the run's own server.
    fn ingest_key(&self) -> IngestKey {
        let part = |ordinal| self.luck.draw(Purpose::ArtifactKey, text_key("ingest key"), ordinal);
        IngestKey::new(format!("{:016x}{:016x}", part(0), part(1)))
    }

    fn behaviors(
        &self,
        fleet: &FleetFile,
        devices: &[PlannedDevice],
        keys: &[u64],
        images: &[Image],
        trusted: Option<&VerifyingKey>,
    ) -> Behaviors {
        let mut behaviors = Behaviors::default();
        for (version, image) in self.file.versions.iter().zip(images) {
            let ordinal = text_key(&version.firmware.to_string());
            let fits = fit::dealt(version, fleet, devices);
            let boot = deal(&version.boot, self.luck, Purpose::BootOutcome, ordinal, keys);
            let behavior = ImageBehavior {
                firmware: Arc::new(version.firmware.clone()),
                boot: boot.unless(&fits, version.elsewhere),
                fits,
                counter: version.counter,
                image: image.bytes.clone().into(),
                build_id: image.build_id,
                own_build_id: image.own_build_id.map(Arc::new),
                sound: image.is_sound(trusted),
            };
            behaviors.images.insert(image.digest, behavior);
            let install = deal(&version.install, self.luck, Purpose::InstallOutcome, ordinal, keys);
            behaviors.installs.insert(version.firmware.clone(), install);
        }
        behaviors
    }

    fn devices(&self, fleet: &FleetFile, position: u16, keys: &[u64]) -> Vec<PlannedDevice> {
        let moments = fleet.arrive.moments(self.luck, &fleet.name, fleet.count as u32);
        let late = self.file.general.duration.as_ref().map_or(0, |duration| {
            let end = SimTime::from(duration.value);
            moments.iter().filter(|moment| **moment > end).count()
        });
        if late > 0 {
            let message = format!(
                "{late} devices of fleet `{}` arrive after the end of the scenario",
                fleet.name
            );
            self.warnings
                .add(fleet.at, message, "make `duration` longer, or `arrive` faster");
        }
        let dealt: Vec<Vec<u8>> = fleet
            .tags
            .iter()
            .map(|(key, shares)| positions(shares, self.luck, Purpose::TagShare, text_key(key), keys))
            .collect();
        let mut combinations: BTreeMap<Vec<u8>, Arc<Tags>> = BTreeMap::new();
        moments
            .into_iter()
            .zip(keys)
            .enumerate()
            .map(|(number, (boot_at, &key))| {
                let chosen: Vec<u8> = dealt.iter().map(|positions| positions[number]).collect();
                let tags = combinations.entry(chosen).or_insert_with_key(|chosen| {
                    let values = fleet
                        .tags
                        .iter()
                        .zip(chosen)
                        .map(|((key, shares), &position)| (key.clone(), shares.parts[usize::from(position)].1.clone()));
                    Arc::new(values.collect())
                });
                PlannedDevice {
                    id: DeviceId::new(fleet.id.value.id(&fleet.name, number as u32)),
                    fleet: position,
                    number: number as u32,
                    key,
                    boot_at,
                    tags: tags.clone(),
                }
            })
            .collect()
    }

    /// Ids of one fleet differ by their numbers; those of several fleets may meet.
    fn check_ids(&self, devices: &[PlannedDevice]) {
        if self.file.fleets.len() < 2 {
            return;
        }
        let mut sorted: Vec<&PlannedDevice> = devices.iter().collect();
        sorted.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let Some(pair) = sorted.windows(2).find(|pair| pair[0].id == pair[1].id) else {
            return;
        };
        let [a, b] = [pair[0], pair[1]].map(|device| &self.file.fleets[usize::from(device.fleet)]);
        let (first, second) = if a.name < b.name { (a, b) } else { (b, a) };
        let message = format!(
            "fleets `{}` and `{}` both have a device `{}`",
            first.name, second.name, pair[0].id
        );
        self.problems.add(second.id.at, message, "put {fleet} into the pattern");
    }

    /// Who cheats: each fleet is ranked once, and dealt to its kinds in their order, so that nobody cheats in two ways.
    pub fn cheats(&self) -> Vec<PlannedCheat> {
        let mut rows = Vec::new();
        let mut first = 0;
        for fleet in &self.file.fleets {
            let rank = |number: u32| self.luck.draw(Purpose::Cheat, device_key(&fleet.name, number), u64::MAX);
            let mut ranked: Vec<(u64, u32)> = Vec::new();
            if !fleet.cheats.is_empty() {
                ranked.extend((0..fleet.count as u32).map(|number| (rank(number), number)));
                ranked.sort_unstable();
            }
            let mut left = ranked.into_iter();
            for (cheat, pick) in &fleet.cheats {
                let wanted = taken(Some(*pick), fleet.count) as usize;
                let mut devices: Vec<_> = left
                    .by_ref()
                    .take(wanted)
                    .map(|(_, number)| DeviceIndex(first + number))
                    .collect();
                devices.sort_unstable();
                rows.push(PlannedCheat {
                    name: cheat_row(&fleet.name, *cheat),
                    cheat: *cheat,
                    devices,
                });
            }
            first += fleet.count as u32;
        }
        rows
    }
}
