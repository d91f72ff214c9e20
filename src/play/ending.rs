//! How a run comes to its end: trouble, then settle, then rest.

use std::time::Duration;

use crate::device::{BootOutcome, InstallOutcome, clean_duration};
use crate::model::FirmwareVersion;
use crate::scenario::{Plan, PlannedFleet, Settle, StepVerb};
use crate::time::SimTime;

use super::io::RunEnd;

/// How long a run must have been quiet after the last answer of the server's management: in real time its events come behind it.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// What an automatic settle bound allows beyond what can be calculated.
const GRACE: Duration = Duration::from_secs(60);

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Steps and faults happen.
    Trouble,
    /// Trouble is over; the driver has been asked for its latest timer.
    Asked,
    /// The fleet must come to rest.
    Settling {
        /// By this moment.
        until: SimTime,
    },
    /// Over.
    Over {
        /// How.
        end: RunEnd,
        /// The settle bound passed with attempts open.
        unsettled: bool,
    },
}

/// When a fleet must have come to rest; `None` where that is not judged.
pub(super) fn settle_bound(plan: &Plan, now: SimTime, latest_timer: Option<SimTime>) -> Option<SimTime> {
    match plan.settle {
        Settle::Off => None,
        Settle::For(bound) => Some(now + bound),
        Settle::Auto => {
            let latest = latest_timer.map_or(now, |timer| timer.max(now));
            Some(latest + last_offer(plan) + clean_attempt(plan) + plan.server.chase + GRACE)
        }
    }
}

/// How long a device may wait for its turn where offers are paced.
fn last_offer(plan: &Plan) -> Duration {
    let rate = plan.server.limits.offers;
    rate.and_then(|rate| rate.due(plan.devices.len() as u64)).unwrap_or_default()
}

/// The longest time that any deployment of the plan takes on any fleet's chip without trouble.
fn clean_attempt(plan: &Plan) -> Duration {
    let deployments = plan.steps.iter().filter_map(|step| match &step.verb {
        StepVerb::Deploy { packages, .. } => Some(packages),
        StepVerb::Cancel { .. }
        | StepVerb::Pause { .. }
        | StepVerb::Resume { .. }
        | StepVerb::Retry { .. }
        | StepVerb::Join { .. }
        | StepVerb::Leave { .. }
        | StepVerb::Tag { .. }
        | StepVerb::Untag { .. } => None,
    });
    let on_fleet = |packages: &Vec<FirmwareVersion>, fleet: &PlannedFleet| {
        packages.iter().map(|package| package_time(plan, fleet, package)).sum()
    };
    deployments
        .flat_map(|packages| plan.fleets.iter().map(move |fleet| on_fleet(packages, fleet)))
        .max()
        .unwrap_or_default()
}

/// Download, flash, boots, and the longest that the version itself takes to come to an end on this fleet.
fn package_time(plan: &Plan, fleet: &PlannedFleet, package: &FirmwareVersion) -> Duration {
    let image = plan.versions.iter().find(|version| version.firmware == *package);
    let bytes = image.map_or(0, |version| version.image.len() as u64);
    let boots = fleet.behaviors.images.values().filter(|image| image.firmware == *package);
    let boot = boots.flat_map(|image| image.boot.outcomes()).map(boot_time).max();
    let install = fleet.behaviors.installs.get(package);
    let install = install.and_then(|dealt| dealt.outcomes().iter().map(install_time).max());
    clean_duration(&fleet.config, bytes) + boot.unwrap_or_default() + install.unwrap_or_default()
}

/// From the start of an image until it is confirmed or reset.
fn boot_time(outcome: &BootOutcome) -> Duration {
    match *outcome {
        BootOutcome::ConfirmAfter(after)
        | BootOutcome::CrashAfter(after)
        | BootOutcome::HangWatchdog(after)
        | BootOutcome::MuteAfter(after) => after,
        BootOutcome::ConfirmThenCrash { confirm, crash } => confirm.max(crash),
        BootOutcome::ConfirmOnConnect { within } => within.unwrap_or_default(),
        BootOutcome::Hang | BootOutcome::Unconfirmed => Duration::ZERO,
    }
}

/// From the last byte until the handler returns.
fn install_time(outcome: &InstallOutcome) -> Duration {
    match *outcome {
        InstallOutcome::SucceedAfter { after, .. }
        | InstallOutcome::FailAfter { after, .. }
        | InstallOutcome::CancelAfter { after, .. } => after,
        InstallOutcome::Never { .. } | InstallOutcome::Unhandled => Duration::ZERO,
    }
}
