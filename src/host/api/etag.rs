//! Entity tags: what a person may change of a resource, in 16 digits, and changes that are made only if nobody was faster.
//!
//! A tag covers what requests change (tags, rules, pauses) and leaves out what devices do (progress, who is online), so that a change
//! is not refused because a device came online meanwhile. It serves `If-Match` alone.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::ApiError;
use crate::host::core_thread::Guard;
use crate::server::Server;
use crate::wire::api::{CohortView, DeploymentView, DeviceView, VersionView};

/// Something that can be changed.
pub(super) trait Changeable: Serialize + Sized + 'static {
    /// What requests change of it.
    fn changed_by_requests(&self) -> impl Serialize;

    /// Its tag, with the quotes.
    fn tag(&self) -> String {
        let text = serde_json::to_vec(&self.changed_by_requests()).expect("these types have a JSON form");
        let digest = Sha256::digest(text);
        let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{hex}\"")
    }
}

impl Changeable for DeviceView {
    fn changed_by_requests(&self) -> impl Serialize {
        (&self.id, &self.tags, &self.cohorts)
    }
}

impl Changeable for CohortView {
    fn changed_by_requests(&self) -> impl Serialize {
        (&self.name, &self.rule, &self.deployment)
    }
}

impl Changeable for DeploymentView {
    fn changed_by_requests(&self) -> impl Serialize {
        (&self.name, self.active, self.paused)
    }
}

impl Changeable for VersionView {
    fn changed_by_requests(&self) -> impl Serialize {
        (&self.version, &self.digest)
    }
}

/// A body with its tag.
pub(super) struct Tagged<T>(pub(super) T);

impl<T: Changeable> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        ([(ETAG, self.0.tag())], Json(self.0)).into_response()
    }
}

/// The tags of `If-Match`, if it was sent.
pub(super) struct IfMatch(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IF_MATCH) else {
            return Ok(IfMatch(None));
        };
        let text = value
            .to_str()
            .map_err(|_| ApiError::invalid("If-Match", "If-Match: is not ASCII text"))?;
        Ok(IfMatch(Some(text.to_owned())))
    }
}

impl IfMatch {
    /// Lets a change pass only if the resource that `find` gives has one of the tags; where it is not there, the change says so itself.
    pub(super) fn guard<T: Changeable>(self, find: impl FnOnce(&Server) -> Option<T> + Send + 'static) -> Option<Guard> {
        let wanted = self.0?;
        Some(Box::new(move |server| {
            let Some(found) = find(server) else { return true };
            let tag = found.tag();
            wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted == tag)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(tag: &str, online: bool) -> DeviceView {
        DeviceView {
            id: "d".into(),
            tags: [("region".to_owned(), tag.to_owned())].into(),
            cohorts: Vec::new(),
            online,
            build_id: None,
            runs: Vec::new(),
            attempts: Vec::new(),
        }
    }

    #[test]
    fn a_tag_changes_with_what_people_change_alone() {
        assert_eq!(device("west", false).tag(), device("west", true).tag());
        assert_ne!(device("west", false).tag(), device("east", false).tag());
        assert_eq!(device("west", false).tag().len(), 18);
    }
}
