//! Who carries changes out at the server under test: its own management API, a program of the user's, or nobody.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::model::{AdminAction, CohortRule, Whom};

use super::admin::{Admin, Unmade};

/// How long a program may take for one change.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What is quoted of a program that failed, bytes.
const QUOTED_MAX: usize = 500;

/// Carries changes out.
#[derive(Clone, Debug)]
pub(crate) enum Steward {
    /// The management API of a Squall server.
    Api(Admin),
    /// A program.
    Program(Arc<Program>),
    /// Nobody: what a server must know it knows already.
    Nobody,
}

/// A program that is started for each change.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// Where images are put for it.
    images: PathBuf,
    /// The server's address, which it is told.
    target: String,
}

impl Steward {
    /// A program that finds images under `images` and the server's address in `SQUALL_TARGET`.
    pub fn program(path: &Path, images: &Path, target: String) -> Steward {
        Steward::Program(Arc::new(Program {
            path: path.to_owned(),
            images: images.to_owned(),
            target,
        }))
    }

    /// The management client, where there is one.
    pub fn api(&self) -> Option<&Admin> {
        match self {
            Steward::Api(admin) => Some(admin),
            Steward::Program(_) | Steward::Nobody => None,
        }
    }

    /// Carries one change out; tried once.
    ///
    /// # Errors
    ///
    /// What was said against it, or what happened on the way.
    pub async fn carry_out(&self, action: AdminAction) -> Result<(), Unmade> {
        match self {
            Steward::Api(admin) => admin.carry_out(action).await,
            Steward::Program(program) => program.carry_out(&action).await.map_err(Unmade::Refused),
            Steward::Nobody => Ok(()),
        }
    }
}

impl Steward {
    /// Carries out a preparation. What a server has from an earlier run, or from another shard of this one, is fine where it is the same.
    ///
    /// # Errors
    ///
    /// As [`Steward::carry_out`]; that a thing of this name is there and is another.
    pub async fn prepare(&self, action: AdminAction) -> Result<(), Unmade> {
        let wanted = match &action {
            AdminAction::CreateCohort { cohort, rule } => Some((cohort.clone(), written(rule))),
            _ => None,
        };
        let slug = matches!(action, AdminAction::CreateFirmware { .. });
        let version = match &action {
            AdminAction::CreateVersion { firmware, .. } => Some(firmware.clone()),
            _ => None,
        };
        let Err(Unmade::Exists(why)) = self.carry_out(action).await else {
            return Ok(());
        };
        match (slug, version, wanted, self) {
            (true, ..) => Ok(()),
            (_, Some(firmware), ..) => Err(Unmade::Refused(format!(
                "it has another image of {firmware}, from an earlier run or somebody else: give this one another version, or play it \
                 against a fresh server"
            ))),
            (_, _, Some((cohort, rule)), Steward::Api(admin)) => match admin.rule_of(&cohort).await {
                Ok(found) if found == rule => Ok(()),
                Ok(found) => Err(Unmade::Refused(format!(
                    "it has another cohort `{cohort}`, {}: give this one another name",
                    found.map_or_else(|| "by hand".to_owned(), |rule| format!("where {rule}"))
                ))),
                Err(why) => Err(Unmade::Unanswered(why)),
            },
            _ => Err(Unmade::Exists(why)),
        }
    }
}

impl Program {
    async fn carry_out(&self, action: &AdminAction) -> Result<(), String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", self.path.display());
        if let AdminAction::CreateVersion { firmware, image } = action {
            let written = std::fs::create_dir_all(&self.images)
                .and_then(|()| std::fs::write(self.image(&firmware.to_string()), image.bytes()));
            written.map_err(|error| told(&format_args!("no image for it: {error}")))?;
        }
        let step = format!("{}\n", self.described(action));
        match tokio::time::timeout(TIMEOUT, self.start(step)).await {
            Ok(ended) => ended.map_err(|why| told(&why)),
            Err(_) => Err(told(&format_args!("it took longer than {} s", TIMEOUT.as_secs()))),
        }
    }

    async fn start(&self, step: String) -> Result<(), String> {
        let mut child = Command::new(&self.path)
            .env("SQUALL_TARGET", &self.target)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is the harness's.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("it cannot be started: {error}"))?;
        if let Some(mut input) = child.stdin.take() {
            // A program may do without its input.
            let _ = input.write_all(step.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().filter(|c| !c.is_control()).take(QUOTED_MAX).collect();
        Err(format!("it ended with {}: {said}", output.status))
    }

    fn image(&self, firmware: &str) -> PathBuf {
        self.images.join(format!("{}.bin", firmware.replace('@', "-")))
    }

    /// The change as `squall.step/1`.
    fn described(&self, action: &AdminAction) -> Value {
        let (verb, what) = match action {
            AdminAction::CreateFirmware { slug } => ("create-firmware", json!({ "firmware": slug.to_string() })),
            AdminAction::CreateVersion { firmware, image } => {
                let version = firmware.to_string();
                let path = self.image(&version).display().to_string();
                (
                    "create-version",
                    json!({ "version": version, "image": path, "bytes": image.bytes().len() }),
                )
            }
            AdminAction::DeleteVersion { firmware } => ("delete-version", json!({ "version": firmware.to_string() })),
            AdminAction::RegisterDevices { devices } => {
                let devices = devices
                    .iter()
                    .map(|device| json!({ "id": device.id.to_string(), "tags": device.tags }));
                ("register-devices", json!({ "devices": devices.collect::<Vec<_>>() }))
            }
            AdminAction::CreateCohort { cohort, rule } => (
                "create-cohort",
                json!({ "cohort": cohort.to_string(), "where": written(rule) }),
            ),
            AdminAction::ChangeCohort { cohort, rule } => (
                "change-cohort",
                json!({ "cohort": cohort.to_string(), "where": written(rule) }),
            ),
            AdminAction::Deploy {
                deployment,
                cohort,
                packages,
                main,
            } => {
                let package = |version: &crate::model::FirmwareVersion| {
                    let main = main.as_ref() == Some(&version.slug);
                    let path = self.image(&version.to_string()).display().to_string();
                    json!({ "version": version.to_string(), "main": main, "image": path })
                };
                let packages: Vec<_> = packages.iter().map(package).collect();
                let what = json!({ "deployment": deployment.to_string(), "cohort": cohort.to_string(), "packages": packages });
                ("deploy", what)
            }
            AdminAction::Cancel { deployment } => ("cancel", json!({ "deployment": deployment.to_string() })),
            AdminAction::Pause { deployment } => ("pause", json!({ "deployment": deployment.to_string() })),
            AdminAction::Resume { deployment } => ("resume", json!({ "deployment": deployment.to_string() })),
            AdminAction::Retry { deployment } => ("retry", json!({ "deployment": deployment.to_string() })),
            AdminAction::Join { cohort, devices } => ("join", json!({ "cohort": cohort.to_string(), "devices": texts(devices) })),
            AdminAction::Leave { cohort, devices } => ("leave", json!({ "cohort": cohort.to_string(), "devices": texts(devices) })),
            AdminAction::ChangeTags { whom, set, remove } => {
                let (devices, who) = match whom {
                    Whom::Devices(devices) => (Some(texts(devices)), None),
                    Whom::Matching(who) => (None, Some(who.to_string())),
                };
                (
                    "change-tags",
                    json!({ "devices": devices, "who": who, "set": set, "remove": remove }),
                )
            }
        };
        let mut step = json!({ "schema": "squall.step/1", "verb": verb });
        if let (Value::Object(step), Value::Object(what)) = (&mut step, what) {
            step.extend(what);
        }
        step
    }
}

fn written(rule: &CohortRule) -> Option<String> {
    match rule {
        CohortRule::ByHand => None,
        CohortRule::Where(selector) => Some(selector.to_string()),
    }
}

fn texts(devices: &[crate::model::DeviceId]) -> Vec<String> {
    devices.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(folder: &tempfile::TempDir, script: &str) -> Steward {
        let path = folder.path().join("steps.sh");
        // Written by another process: a test beside this one could inherit the open file, which then cannot be executed.
        let mut writer = std::process::Command::new("sh");
        writer
            .args(["-c", "printf '%s' \"$1\" > \"$0\" && chmod 755 \"$0\""])
            .arg(&path);
        assert!(writer.arg(format!("#!/bin/sh\n{script}\n")).status().unwrap().success());
        Steward::program(&path, &folder.path().join("images"), "mqtt://127.0.0.1:1".to_owned())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_gets_each_change_on_its_input_and_images_as_files() {
        let folder = tempfile::tempdir().unwrap();
        let steward = sh(
            &folder,
            &format!("cat >> {0}/seen; echo $SQUALL_TARGET >> {0}/seen", folder.path().display()),
        );
        let version = AdminAction::CreateVersion {
            firmware: "app@1.1.0".parse().unwrap(),
            image: bytes::Bytes::from_static(b"image").into(),
        };
        steward.carry_out(version).await.unwrap();
        let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
        let (step, target) = seen.split_once('\n').unwrap();
        let step: Value = serde_json::from_str(step).unwrap();
        assert_eq!(
            (step["verb"].as_str(), step["version"].as_str()),
            (Some("create-version"), Some("app@1.1.0"))
        );
        assert_eq!(std::fs::read(step["image"].as_str().unwrap()).unwrap(), b"image");
        assert_eq!(target, "mqtt://127.0.0.1:1\n");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let steward = sh(&folder, "echo 'no such broker' >&2; exit 3");
        let cancel = AdminAction::Cancel {
            deployment: "one".into(),
        };
        let told = steward.carry_out(cancel).await.unwrap_err().to_string();
        assert!(told.ends_with("it ended with exit status: 3: no such broker"), "{told}");
    }
}
