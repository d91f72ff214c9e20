//! What a step that fires asks of the server, its *who* resolved at that moment.

use crate::luck::{Purpose, text_key};
use crate::measure::Recorder;
use crate::model::{AdminAction, DeploymentName, DeviceIndex, Selector, Tags, Whom};
use crate::scenario::{Plan, PlannedStep, StepVerb};

use super::pick;
use super::setup::batches;
use super::timeline::{Timeline, position};

/// The actions of a step, in batches. A selection without matches asks for nothing.
pub(super) fn actions(plan: &Plan, step: &PlannedStep, timeline: &mut Timeline, recorder: &mut Recorder) -> Vec<AdminAction> {
    match &step.verb {
        StepVerb::Deploy { packages, cohort, main } => vec![AdminAction::Deploy {
            deployment: DeploymentName::new(step.name.as_str()),
            cohort: cohort.clone(),
            packages: packages.clone(),
            main: main.clone(),
        }],
        StepVerb::Cancel { steps } => steps
            .iter()
            .filter(|name| position(plan, name).is_some_and(|named| timeline.withdraw(named)))
            .map(|name| AdminAction::Cancel {
                deployment: DeploymentName::new(name.as_str()),
            })
            .collect(),
        StepVerb::Pause { steps } => {
            let made = fired(plan, steps, timeline);
            made.iter().for_each(|&(step, _)| timeline.pause(step, true));
            made.into_iter()
                .map(|(_, deployment)| AdminAction::Pause { deployment })
                .collect()
        }
        StepVerb::Resume { steps } => {
            let made = fired(plan, steps, timeline);
            made.iter().for_each(|&(step, _)| timeline.pause(step, false));
            made.into_iter()
                .map(|(_, deployment)| AdminAction::Resume { deployment })
                .collect()
        }
        StepVerb::Retry { steps } => {
            let made = fired(plan, steps, timeline).into_iter();
            made.map(|(_, deployment)| AdminAction::Retry { deployment }).collect()
        }
        StepVerb::Join { who, cohort } => batches(plan, &picked(plan, step, who, recorder))
            .map(|devices| AdminAction::Join {
                cohort: cohort.clone(),
                devices,
            })
            .collect(),
        StepVerb::Leave { who, cohort } => batches(plan, &picked(plan, step, who, recorder))
            .map(|devices| AdminAction::Leave {
                cohort: cohort.clone(),
                devices,
            })
            .collect(),
        StepVerb::Tag { who, tags } => {
            let devices = picked(plan, step, who, recorder);
            devices.iter().for_each(|device| recorder.set_tags(*device, tags));
            batches(plan, &devices)
                .map(|devices| AdminAction::ChangeTags {
                    whom: Whom::Devices(devices),
                    set: tags.clone(),
                    remove: Vec::new(),
                })
                .collect()
        }
        StepVerb::Untag { who, keys } => {
            let devices = picked(plan, step, who, recorder);
            devices.iter().for_each(|device| recorder.remove_tags(*device, keys));
            batches(plan, &devices)
                .map(|devices| AdminAction::ChangeTags {
                    whom: Whom::Devices(devices),
                    set: Tags::new(),
                    remove: keys.clone(),
                })
                .collect()
        }
    }
}

/// Those of the named steps that have fired, with the deployments that they made; the others are passed over.
fn fired(plan: &Plan, steps: &[String], timeline: &Timeline) -> Vec<(usize, DeploymentName)> {
    let made = |name: &String| {
        let step = position(plan, name).filter(|&step| timeline.fired_at(step).is_some())?;
        Some((step, DeploymentName::new(name.as_str())))
    };
    steps.iter().filter_map(made).collect()
}

/// The devices that a selector takes at this moment, in their order; each step ranks anew.
fn picked(plan: &Plan, step: &PlannedStep, who: &Selector, recorder: &Recorder) -> Vec<DeviceIndex> {
    pick::picked(plan, who, recorder.matching(who), Purpose::StepPick, text_key(&step.name))
}
