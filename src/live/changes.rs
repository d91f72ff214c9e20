//! Changes on their way to a server that may know this scenario from an earlier run: a deployment whose name is taken gets a number, and
//! what is asked or told of it is brought under the name of its step.

use std::collections::BTreeMap;

use crate::model::{AdminAction, DeploymentName, ServerEvent};

use super::admin::Unmade;
use super::steward::Steward;

/// Stands between the name of a step, which cannot hold it, and the number.
const NUMBERED: char = '.';
/// Most deployments of one name on a server.
const NUMBER_MAX: u32 = 1_000;

/// Carries the changes of a run out.
pub(crate) struct Changes {
    steward: Steward,
    /// What deployments are called at the server, where that is not what their step is called.
    names: BTreeMap<DeploymentName, DeploymentName>,
}

impl Changes {
    pub fn of(steward: Steward) -> Changes {
        Changes {
            steward,
            names: BTreeMap::new(),
        }
    }

    /// Carries one change out.
    ///
    /// # Errors
    ///
    /// As [`Steward::carry_out`].
    pub async fn carry_out(&mut self, action: AdminAction) -> Result<(), Unmade> {
        let AdminAction::Deploy { deployment: step, .. } = &action else {
            return self.steward.carry_out(self.called(action)).await;
        };
        let step = step.clone();
        let mut made = self.steward.carry_out(action.clone()).await;
        for number in 2..=NUMBER_MAX {
            if !matches!(made, Err(Unmade::Exists(_))) {
                break;
            }
            let name = DeploymentName::new(format!("{step}{NUMBERED}{number}"));
            self.names.insert(step.clone(), name);
            made = self.steward.carry_out(self.called(action.clone())).await;
        }
        made
    }

    /// The change with deployments called as they are at the server.
    fn called(&self, mut action: AdminAction) -> AdminAction {
        match &mut action {
            AdminAction::Deploy { deployment, .. }
            | AdminAction::Cancel { deployment }
            | AdminAction::Pause { deployment }
            | AdminAction::Resume { deployment }
            | AdminAction::Retry { deployment } => {
                if let Some(name) = self.names.get(deployment) {
                    deployment.clone_from(name);
                }
            }
            AdminAction::CreateFirmware { .. }
            | AdminAction::CreateVersion { .. }
            | AdminAction::DeleteVersion { .. }
            | AdminAction::RegisterDevices { .. }
            | AdminAction::CreateCohort { .. }
            | AdminAction::ChangeCohort { .. }
            | AdminAction::Join { .. }
            | AdminAction::Leave { .. }
            | AdminAction::ChangeTags { .. } => {}
        }
        action
    }
}

/// The event with a numbered deployment called as its step is.
pub(crate) fn step_named(mut event: ServerEvent) -> ServerEvent {
    if let ServerEvent::StateChanged { deployment, .. } = &mut event {
        let numbered = deployment.as_str().rsplit_once(NUMBERED);
        let step = numbered.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(step) = step.map(|(step, _)| DeploymentName::new(step)) {
            *deployment = step;
        }
    }
    event
}
