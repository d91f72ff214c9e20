//! Image requests: of artifacts that are still to be done, with the secret of their own.

use crate::model::AttemptId;
use crate::verdict::rules::contains;
use crate::verdict::rules::outside::*;

use super::Watch;

/// An image request and its answer, as the server saw them.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    /// Which attempt the path names.
    pub attempt: AttemptId,
    /// Position of the artifact.
    pub index: u8,
    /// What stood in `Authorization: OtaSecret`.
    pub secret: Option<&'a str>,
    /// Status of the answer.
    pub status: u16,
}

impl Watch<'_> {
    /// Holds that a payload tells no secret.
    pub(super) fn published(&mut self, topic: &str, payload: &[u8]) {
        let items: Vec<_> = self.seen().offers().flat_map(|offered| &offered.items).collect();
        if items.is_empty() {
            return;
        }
        let told = items.into_iter().find(|item| contains(payload, &item.secret));
        let told = told.map(|item| format!("the secret of {} was published to {topic}", item.firmware));
        self.hold(&SECRETS_STAY, told.is_none(), || told.unwrap_or_default());
    }

    /// Holds an image request. One without the right secret may be anybody's: it is held against the device only where it carries
    /// another secret that this device was given.
    pub(super) fn fetched(&mut self, fetched: &Fetched<'_>) {
        let Fetched {
            attempt,
            index,
            secret,
            status,
        } = *fetched;
        if status == 401 || status == 403 {
            let secret = secret.unwrap_or_default().as_bytes();
            let items: Vec<_> = self.seen().offers().flat_map(|offered| &offered.items).collect();
            let others = items.into_iter().any(|item| *item.secret == *secret);
            if others {
                self.hold(&SECRETS_STAY, false, || {
                    format!("the request for artifact {index} of attempt {attempt} carried the secret of another one")
                });
            }
            return;
        }
        let Some(offered) = self
            .offered(attempt)
            .filter(|offered| usize::from(index) < offered.items.len())
        else {
            return;
        };
        let (over, canceled) = (offered.is_over(), offered.canceled);
        let firmware = offered.items[usize::from(index)].firmware.clone();
        self.hold(&SECRETS_STAY, true, String::new);
        self.hold(&ENDED_IS_ENDED, !over, || {
            format!("artifact {index} of attempt {attempt} was fetched after the device had reported the end of the attempt")
        });
        self.hold(&CALLED_OFF_RUNS_NOTHING, !canceled, || {
            format!("artifact {index} of attempt {attempt} was fetched, whose first manifest said that it is cancelled")
        });
        let there = |(slug, version): &(_, _)| *slug == firmware.slug && *version == firmware.version;
        let installed = !over && self.seen().installed.iter().any(there);
        self.hold(&NOTHING_FOR_INSTALLED, !installed, || {
            format!("{firmware} was fetched, which the device had reported as installed")
        });
        let at = self.at;
        let seen = self.seen_mut();
        if seen.started.is_none_or(|(started, _)| started < attempt) {
            seen.started = Some((attempt, at));
        }
        if let Some(offered) = seen.offered_mut(attempt) {
            offered.fetched |= 1_u32.checked_shl(index.into()).unwrap_or(0);
        }
    }
}
