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

/// Round trips of an attempt: handshakes of its connections, subscriptions, messages, requests.
const ROUND_TRIPS: u32 = 20;

/// Tries to connect beyond this are not waited for.
const TRIES_MAX: u64 = 1_000;

/// The longest time that any deployment of the plan takes on any fleet's chip and link without trouble.
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
        let flash: Duration = packages.iter().map(|package| package_time(plan, fleet, package)).sum();
        let bytes = packages.iter().map(|package| package_bytes(plan, package)).sum();
        flash + link_time(fleet, bytes)
    };
    deployments
        .flat_map(|packages| plan.fleets.iter().map(move |fleet| on_fleet(packages, fleet)))
        .max()
        .unwrap_or_default()
}

/// Download, flash, boots, and the longest that the version itself takes to come to an end on this fleet.
fn package_time(plan: &Plan, fleet: &PlannedFleet, package: &FirmwareVersion) -> Duration {
    let bytes = package_bytes(plan, package);
    let boots = fleet.behaviors.images.values().filter(|image| *image.firmware == *package);
    let boot = boots.flat_map(|image| image.boot.outcomes()).map(boot_time).max();
    let install = fleet.behaviors.installs.get(package);
    let install = install.and_then(|dealt| dealt.outcomes().iter().map(install_time).max());
    clean_duration(&fleet.config, bytes) + boot.unwrap_or_default() + install.unwrap_or_default()
}

fn package_bytes(plan: &Plan, package: &FirmwareVersion) -> u64 {
    let image = plan.versions.iter().find(|version| version.firmware == *package);
    image.map_or(0, |version| version.image.len() as u64)
}

/// What the link adds when it is slow and nothing goes wrong: the image's bytes, round trips, one loss of it, and sleep.
fn link_time(fleet: &PlannedFleet, bytes: u64) -> Duration {
    let link = &fleet.link;
    let bytes_take = link
        .down
        .map_or(Duration::ZERO, |rate| Duration::from_secs(bytes * 8 / rate.max(1) + 1));
    let slow_trip = link.latency.of_draw(u64::MAX / 100 * 99) * 2;
    let dropped = link.drops.as_ref().map_or(Duration::ZERO, |drops| *drops.lasting.end());
    let waits = link.quota.map_or(Duration::ZERO, |quota| quota.per);
    let busy = bytes_take + slow_trip * ROUND_TRIPS + *link.join.end() + connecting(fleet, slow_trip);
    let slept = fleet.sleep.map_or(Duration::ZERO, |sleep| {
        let periods = busy.as_nanos() / sleep.awake.as_nanos().max(1) + 1;
        sleep.every * u32::try_from(periods).unwrap_or(u32::MAX)
    });
    busy + dropped + waits + slept
}

/// How long it may take until a connection stands whose CONNACK is waited for no longer than a slow round trip: of ten times as many
/// tries as are needed on average, hardly any device needs more.
fn connecting(fleet: &PlannedFleet, slow_trip: Duration) -> Duration {
    let (limit, link) = (fleet.config.connack_timeout, &fleet.link);
    if limit > slow_trip {
        return Duration::ZERO;
    }
    let hundredths = (1..100)
        .filter(|percent| link.latency.of_draw(u64::MAX / 100 * percent) * 2 < limit)
        .count() as u64;
    let tries = (1_000 / hundredths.max(1)).min(TRIES_MAX) as u32;
    (limit + fleet.config.reconnect.max + slow_trip) * tries
}

/// From the start of an image until it is confirmed or reset.
fn boot_time(outcome: &BootOutcome) -> Duration {
    match *outcome {
        BootOutcome::ConfirmAfter(after)
        | BootOutcome::CrashAfter(after)
        | BootOutcome::HangWatchdog(after)
        | BootOutcome::MuteAfter(after) => after,
        BootOutcome::ConfirmThenCrash { confirm, crash } => confirm.max(crash),
        BootOutcome::ConfirmThenMute { confirm, .. } => confirm,
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
