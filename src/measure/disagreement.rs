//! Where the server holds another end of an attempt than the device.

use crate::model::{AttemptResult, UpdateState};

use super::roster::AttemptRow;

/// How they disagree: the device has ended and the server does not know; they hold different ends; the server holds an end that the
/// device never came to.
pub(super) const DISAGREEMENTS: &[&str] = &["unreported", "differs", "unfounded"];

/// How server and device disagree about an attempt; `None` where they agree, where it is open, or where the server closed it itself.
pub(super) fn disagreement(attempt: &AttemptRow) -> Option<&'static str> {
    if attempt.deployment.is_none() || attempt.closed_by_server {
        return None;
    }
    let told = match attempt.result {
        // What replaced it counts.
        Some(AttemptResult::Superseded) => return None,
        Some(AttemptResult::Succeeded) => UpdateState::Succeeded,
        Some(AttemptResult::Failed | AttemptResult::Rejected) => UpdateState::Failed,
        Some(AttemptResult::Cancelled) => UpdateState::Cancelled,
        None => return matches!(attempt.state, UpdateState::Succeeded | UpdateState::Failed).then_some("unfounded"),
    };
    match attempt.state.ended() {
        false => Some("unreported"),
        true => (attempt.state != told).then_some("differs"),
    }
}
