//! Why attempts failed, grouped, in words.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::device::{BootOutcome, InstallOutcome};
use crate::measure::{AttemptSnapshot, DeviceSnapshot};
use crate::model::{AttemptResult, DeploymentName, FailureReason, FirmwareVersion};
use crate::play::Outcome;
use crate::scenario::{Plan, StepVerb};

/// Attempts that failed for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailureGroup {
    pub(super) count: u64,
    /// `rolled back: reset before confirm`.
    pub(super) reason: String,
    /// What in the scenario made it so: `app@1.1.0: crash after 1s`.
    pub(super) detail: Option<String>,
}

/// Failed and rejected attempts by reason, most frequent first.
pub(super) fn failures(outcome: &Outcome) -> Vec<FailureGroup> {
    let mut groups: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    for device in outcome.recorder.devices() {
        for attempt in &device.attempts {
            if matches!(attempt.result, Some(AttemptResult::Failed | AttemptResult::Rejected)) {
                let reason = attempt.reason.map_or_else(|| "for a reason not known".to_owned(), sentence);
                let detail = attempt
                    .reason
                    .and_then(|reason| detail(&outcome.plan, &device, attempt, reason));
                *groups.entry((reason, detail)).or_default() += 1;
            }
        }
    }
    let rows = groups
        .into_iter()
        .map(|((reason, detail), count)| FailureGroup { count, reason, detail });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// A reason as a person says it.
fn sentence(reason: FailureReason) -> String {
    match reason {
        FailureReason::ResetBeforeConfirm => "rolled back: reset before confirm".into(),
        FailureReason::NotSwapped => "not swapped: the bootloader refused the image".into(),
        FailureReason::WrongBuildId => "wrong build id: another one runs than was downloaded".into(),
        FailureReason::NoBuildId => "the image has no build id".into(),
        FailureReason::TooBig => "the image does not fit the slot".into(),
        FailureReason::WrongHardware => "refused: the image is made for other hardware".into(),
        FailureReason::SlotRefused => "no slot to write to: the running image is unconfirmed".into(),
        FailureReason::Status(status) => format!("download: HTTP {status}"),
        FailureReason::Download => "download: failed for good".into(),
        FailureReason::Storage => "storage failed".into(),
        FailureReason::InstallFailed => "the install handler failed".into(),
        FailureReason::Unhandled => "no install handler".into(),
        FailureReason::AppAbort => "aborted by the application".into(),
        FailureReason::InstallCanceled => "the install handler cancelled".into(),
        FailureReason::ServerCancel => "cancelled by the server".into(),
        FailureReason::Superseded => "superseded".into(),
        FailureReason::Rejected(error) => format!("rejected: {error}"),
    }
}

/// What the scenario says of the version that failed on this device.
fn detail(plan: &Plan, device: &DeviceSnapshot<'_>, attempt: &AttemptSnapshot<'_>, reason: FailureReason) -> Option<String> {
    let (packages, main) = deployed(plan, attempt.deployment?)?;
    let behaviors = &plan.fleet_of(device.index).behaviors;
    let number = plan.devices[device.index.at()].number;
    match reason {
        FailureReason::ResetBeforeConfirm
        | FailureReason::NotSwapped
        | FailureReason::WrongBuildId
        | FailureReason::NoBuildId
        | FailureReason::TooBig
        | FailureReason::WrongHardware => {
            let main = main?;
            let image = behaviors.images.values().find(|image| *image.firmware == *main)?;
            Some(match reason {
                FailureReason::ResetBeforeConfirm => format!("{main}: {}", boot_words(image.boot.of(number))),
                _ => main.to_string(),
            })
        }
        FailureReason::InstallFailed | FailureReason::InstallCanceled | FailureReason::Unhandled => {
            let mut others = packages.iter().filter(|package| Some(*package) != main);
            let package = others.next().filter(|_| others.next().is_none())?;
            let install = behaviors.installs.get(package)?;
            Some(format!("{package}: {}", install_words(install.of(number))))
        }
        FailureReason::SlotRefused
        | FailureReason::Status(_)
        | FailureReason::Download
        | FailureReason::Storage
        | FailureReason::AppAbort
        | FailureReason::ServerCancel
        | FailureReason::Superseded
        | FailureReason::Rejected(_) => None,
    }
}

/// Packages of the deployment that a step makes, and which of them is main.
fn deployed<'a>(plan: &'a Plan, deployment: &DeploymentName) -> Option<(&'a [FirmwareVersion], Option<&'a FirmwareVersion>)> {
    let step = plan.steps.iter().find(|step| step.name == deployment.as_str())?;
    let StepVerb::Deploy { packages, main, .. } = &step.verb else {
        return None;
    };
    let main = main
        .as_ref()
        .and_then(|main| packages.iter().find(|package| package.slug == *main));
    Some((packages, main))
}

/// As the scenario language writes it.
fn boot_words(outcome: &BootOutcome) -> String {
    match outcome {
        BootOutcome::ConfirmAfter(after) => format!("confirm after {}", short(*after)),
        BootOutcome::ConfirmOnConnect { within: None } => "confirm on connect".into(),
        BootOutcome::ConfirmOnConnect { within: Some(within) } => format!("confirm on connect within {}", short(*within)),
        BootOutcome::CrashAfter(after) => format!("crash after {}", short(*after)),
        BootOutcome::ConfirmThenCrash { confirm, crash } => {
            format!("confirm after {}, crash after {}", short(*confirm), short(*crash))
        }
        BootOutcome::ConfirmThenMute { confirm, mute } => {
            format!("confirm after {}, mute after {}", short(*confirm), short(*mute))
        }
        BootOutcome::Hang => "hang".into(),
        BootOutcome::HangWatchdog(after) => format!("hang watchdog {}", short(*after)),
        BootOutcome::Unconfirmed => "unconfirmed".into(),
        BootOutcome::MuteAfter(after) => format!("mute after {}", short(*after)),
    }
}

/// As the scenario language writes it.
fn install_words(outcome: &InstallOutcome) -> String {
    let (words, deaf) = match outcome {
        InstallOutcome::SucceedAfter { after, deaf } => (format!("succeed after {}", short(*after)), *deaf),
        InstallOutcome::FailAfter { after, deaf } => (format!("fail after {}", short(*after)), *deaf),
        InstallOutcome::CancelAfter { after, deaf } => (format!("cancel after {}", short(*after)), *deaf),
        InstallOutcome::Never { deaf } => ("never".into(), *deaf),
        InstallOutcome::Unhandled => ("unhandled".into(), false),
    };
    if deaf { format!("{words} deaf") } else { words }
}

/// A time as a person writes it in a scenario: `1s`, `1500ms`, `2m`.
pub(super) fn short(time: Duration) -> String {
    const UNITS: [(u128, &str); 6] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = time.as_nanos();
    let whole = UNITS.iter().find(|(unit, _)| nanos >= *unit && nanos.is_multiple_of(*unit));
    whole.map_or_else(|| "0s".into(), |(unit, name)| format!("{}{name}", nanos / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_read_as_they_were_written() {
        let second = Duration::from_secs(1);
        assert_eq!(boot_words(&BootOutcome::CrashAfter(second)), "crash after 1s");
        assert_eq!(boot_words(&BootOutcome::HangWatchdog(second * 120)), "hang watchdog 2m");
        let install = InstallOutcome::FailAfter {
            after: Duration::from_millis(1500),
            deaf: true,
        };
        assert_eq!(install_words(&install), "fail after 1500ms deaf");
        assert_eq!(
            [
                short(Duration::ZERO),
                short(Duration::from_micros(12_500)),
                short(second * 7200)
            ],
            ["0s", "12500us", "2h"]
        );
    }
}
