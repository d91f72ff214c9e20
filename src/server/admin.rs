//! Changes that people and scenarios ask for: whether each is allowed, and what it does. A change that is refused changes nothing.

use crate::model::{
    AdminAction, CohortName, CohortRule, DeviceId, FirmwareVersion, ImageFile, Key, NewDevice, Slug, Tags, Whom, is_word,
};
use crate::time::SimTime;

use super::catalog::Image;
use super::cohorts::ALL;
use super::io::{AdminError, ServerOutputs};
use super::record::{CohortNumber, DeviceNumber, Record};
use super::sessions::{DEVICE_ID_MAX, is_device_id};
use super::{DEVICES_MAX, Server};

/// Most tags of a device.
const TAGS_MAX: usize = 64;

impl Server {
    pub(super) fn administer(&mut self, action: AdminAction, now: SimTime, out: &mut ServerOutputs) -> Result<(), AdminError> {
        match action {
            AdminAction::CreateFirmware { slug } => self.create_firmware(slug, out),
            AdminAction::CreateVersion { firmware, image } => self.create_version(firmware, image, out),
            AdminAction::DeleteVersion { firmware } => self.delete_version(firmware, out),
            AdminAction::RegisterDevices { devices } => self.register_devices(devices, now, out),
            AdminAction::CreateCohort { cohort, rule } => self.create_cohort(cohort, rule, now, out),
            AdminAction::ChangeCohort { cohort, rule } => self.change_cohort(&cohort, rule, now, out),
            AdminAction::Deploy {
                deployment,
                cohort,
                packages,
                main,
            } => self.deploy(deployment, &cohort, packages, main.as_ref(), now, out),
            AdminAction::Cancel { deployment } => self.cancel(&deployment, now, out),
            AdminAction::Pause { deployment } => self.pause_offers(&deployment, out),
            AdminAction::Resume { deployment } => self.resume_offers(&deployment, now, out),
            AdminAction::Retry { deployment } => self.retry(&deployment, now, out),
            AdminAction::Join { cohort, devices } => self.move_by_hand(&cohort, &devices, true, now, out),
            AdminAction::Leave { cohort, devices } => self.move_by_hand(&cohort, &devices, false, now, out),
            AdminAction::ChangeTags { whom, set, remove } => self.change_tags(&whom, &set, &remove, now, out),
        }
    }

    fn create_firmware(&mut self, slug: Slug, out: &mut ServerOutputs) -> Result<(), AdminError> {
        check_slug(&slug)?;
        if self.ledger.catalog.versions(&slug).is_some() {
            return Err(exists("firmware", &slug));
        }
        self.commit(Record::FirmwareCreated { slug }, out);
        Ok(())
    }

    /// Making a version again with the same image changes nothing; with another image it is refused.
    fn create_version(&mut self, firmware: FirmwareVersion, image: ImageFile, out: &mut ServerOutputs) -> Result<(), AdminError> {
        if self.ledger.catalog.versions(&firmware.slug).is_none() {
            return Err(unknown("firmware", &firmware.slug));
        }
        let written = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte);
        if !firmware.version.as_bytes().iter().all(written) {
            let message = format!(
                "`{}` may contain only letters, digits, `.`, `_`, `-` and `+`",
                firmware.version
            );
            return Err(invalid("version", message));
        }
        if image.bytes().is_empty() {
            return Err(invalid("image", "is empty"));
        }
        let (digest, image) = (image.digest(), Image::examine(image.bytes().clone()));
        match self.ledger.catalog.version(&firmware) {
            Some(present) if present == digest => return Ok(()),
            Some(_) => return Err(exists("version", &firmware)),
            None => {}
        }
        if self.ledger.catalog.image(&digest).is_none() {
            let record = Record::ImageStored {
                digest,
                build_id: image.build_id,
                image: image.bytes,
            };
            self.commit(record, out);
        }
        self.commit(Record::VersionCreated { firmware, digest }, out);
        Ok(())
    }

    /// A version that was deployed once stays for ever: its attempts show it, and its image may be downloaded hours later.
    fn delete_version(&mut self, firmware: FirmwareVersion, out: &mut ServerOutputs) -> Result<(), AdminError> {
        if self.ledger.catalog.version(&firmware).is_none() {
            return Err(unknown("version", &firmware));
        }
        if let Some(deployment) = self.ledger.deployments.iter().find(|deployment| deployment.brings(&firmware)) {
            let message = format!(
                "`{firmware}` was deployed by `{}`: it is kept and never changes",
                deployment.name
            );
            return Err(AdminError::Conflict { message });
        }
        self.commit(Record::VersionDeleted { firmware }, out);
        Ok(())
    }

    fn register_devices(&mut self, devices: Vec<NewDevice>, now: SimTime, out: &mut ServerOutputs) -> Result<(), AdminError> {
        for device in &devices {
            if !is_device_id(&device.id) {
                let message = format!(
                    "`{}` is not 1 to {DEVICE_ID_MAX} bytes without control characters",
                    device.id.as_str().escape_debug()
                );
                return Err(invalid("devices", message));
            }
            check_tags(&device.tags)?;
        }
        if self.ledger.registry.len() + devices.len() > DEVICES_MAX {
            return Err(invalid("devices", format!("a server holds at most {DEVICES_MAX} devices")));
        }
        for NewDevice { id, tags } in devices {
            match self.ledger.registry.find(&id) {
                Some(known) => self.set_tags(known, tags, now, out),
                None => {
                    self.register(id, tags, now, out);
                }
            }
        }
        Ok(())
    }

    fn create_cohort(
        &mut self,
        cohort: CohortName,
        rule: CohortRule,
        now: SimTime,
        out: &mut ServerOutputs,
    ) -> Result<(), AdminError> {
        check_cohort_name(&cohort)?;
        check_rule(&rule)?;
        if self.ledger.cohorts.find(&cohort).is_some() {
            return Err(exists("cohort", &cohort));
        }
        let follows = matches!(rule, CohortRule::Where(_));
        self.commit(Record::CohortCreated { cohort, rule }, out);
        if follows {
            self.follow_all_rules(now, out);
        }
        Ok(())
    }

    /// A cohort that becomes one by hand keeps its members.
    fn change_cohort(
        &mut self,
        name: &CohortName,
        rule: CohortRule,
        now: SimTime,
        out: &mut ServerOutputs,
    ) -> Result<(), AdminError> {
        let cohort = self.cohort_to_change(name)?;
        check_rule(&rule)?;
        self.commit(Record::CohortChanged { cohort, rule }, out);
        self.follow_all_rules(now, out);
        Ok(())
    }

    fn move_by_hand(
        &mut self,
        name: &CohortName,
        devices: &[DeviceId],
        join: bool,
        now: SimTime,
        out: &mut ServerOutputs,
    ) -> Result<(), AdminError> {
        let cohort = self.cohort_to_change(name)?;
        if let CohortRule::Where(rule) = &self.ledger.cohorts.at(cohort).rule {
            let message = format!("the members of cohort `{name}` follow its rule `{rule}`");
            return Err(AdminError::Conflict { message });
        }
        for device in self.known_devices(devices)? {
            if self.ledger.registry.at(device).is_in(cohort) == join {
                continue;
            }
            let (leaves, joins): (&[_], &[_]) = if join { (&[], &[cohort]) } else { (&[cohort], &[]) };
            self.change_cohorts(device, leaves, joins, now, out);
        }
        Ok(())
    }

    fn change_tags(
        &mut self,
        whom: &Whom,
        set: &Tags,
        remove: &[String],
        now: SimTime,
        out: &mut ServerOutputs,
    ) -> Result<(), AdminError> {
        check_tags(set)?;
        if let Some(key) = remove.iter().find(|key| set.contains_key(*key)) {
            return Err(invalid("tags", format!("`{key}` is to be set and removed")));
        }
        let mut changed = Vec::new();
        for device in self.devices_of(whom)? {
            let mut tags = self.ledger.registry.at(device).tags().clone();
            tags.retain(|key, _| !remove.contains(key));
            tags.extend(set.clone());
            check_tags(&tags)?;
            changed.push((device, tags));
        }
        changed
            .into_iter()
            .for_each(|(device, tags)| self.set_tags(device, tags, now, out));
        Ok(())
    }

    fn set_tags(&mut self, device: DeviceNumber, tags: Tags, now: SimTime, out: &mut ServerOutputs) {
        if self.ledger.registry.at(device).tags() != &tags {
            self.commit(Record::DeviceTagged { device, tags }, out);
            self.follow_rules(device, now, out);
        }
    }

    fn follow_all_rules(&mut self, now: SimTime, out: &mut ServerOutputs) {
        for device in self.ledger.registry.numbers() {
            self.follow_rules(device, now, out);
        }
    }

    fn cohort_to_change(&self, name: &CohortName) -> Result<CohortNumber, AdminError> {
        let cohort = self.ledger.cohorts.find(name).ok_or_else(|| unknown("cohort", name))?;
        if cohort == ALL {
            let message = "cohort `all` always holds every device".to_owned();
            return Err(AdminError::Conflict { message });
        }
        Ok(cohort)
    }

    fn devices_of(&self, whom: &Whom) -> Result<Vec<DeviceNumber>, AdminError> {
        match whom {
            Whom::Devices(ids) => self.known_devices(ids),
            Whom::Matching(who) => self.select(who),
        }
    }

    fn known_devices(&self, ids: &[DeviceId]) -> Result<Vec<DeviceNumber>, AdminError> {
        let find = |id: &DeviceId| self.ledger.registry.find(id).ok_or_else(|| unknown("device", id));
        ids.iter().map(find).collect()
    }
}

fn check_slug(slug: &Slug) -> Result<(), AdminError> {
    let word = std::str::from_utf8(slug.as_bytes()).is_ok_and(is_word);
    let message = || {
        format!(
            "`{}` is not made of letters, digits, `.`, `_` and `-`",
            slug.to_string().escape_debug()
        )
    };
    if word { Ok(()) } else { Err(invalid("slug", message())) }
}

fn check_tags(tags: &Tags) -> Result<(), AdminError> {
    if tags.len() > TAGS_MAX {
        return Err(invalid(
            "tags",
            format!("{} tags, a device has at most {TAGS_MAX}", tags.len()),
        ));
    }
    match tags.iter().flat_map(|(key, value)| [key, value]).find(|word| !is_word(word)) {
        Some(word) => {
            let message = format!("`{}` is not 1 to 64 letters, digits, `.`, `_` and `-`", word.escape_debug());
            Err(invalid("tags", message))
        }
        None => Ok(()),
    }
}

/// Names of cohorts are those of scenarios (contract, section 1).
fn check_cohort_name(name: &CohortName) -> Result<(), AdminError> {
    let text = name.as_str();
    let written = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(written) {
        return Ok(());
    }
    let message = format!("`{}` is not 1 to 32 of `a` to `z`, digits and `-`", text.escape_debug());
    Err(invalid("name", message))
}

fn check_rule(rule: &CohortRule) -> Result<(), AdminError> {
    let CohortRule::Where(selector) = rule else {
        return Ok(());
    };
    if selector.pick.is_some() {
        return Err(invalid(
            "where",
            "a rule takes every device that matches; it cannot pick some of them",
        ));
    }
    match selector.keys().find(|key| !matches!(key, Key::Tag(_) | Key::Device)) {
        Some(key) => Err(invalid(
            "where",
            format!("a rule knows the keys `tag.K` and `device`, not `{key}`"),
        )),
        None => Ok(()),
    }
}

pub(super) fn unknown(noun: &'static str, name: impl ToString) -> AdminError {
    let name = name.to_string();
    AdminError::Unknown { noun, name }
}

pub(super) fn exists(noun: &'static str, name: impl ToString) -> AdminError {
    let name = name.to_string();
    AdminError::Exists { noun, name }
}

pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> AdminError {
    let message = message.into();
    AdminError::Invalid { field, message }
}
