//! Errors of the management API, as RFC 9457 wants them: every one names thing and value, and the field if one is wrong.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use crate::host::core_thread::CoreGone;
use crate::server::AdminError;
use crate::wire::api::Problem;

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Problem>);

impl ApiError {
    /// An error of kind `kind`; `title` is the same for all of a kind.
    pub(crate) fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        ApiError(Box::new(Problem {
            kind: kind.to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
        }))
    }

    /// A value that is not acceptable; `detail` names field and value.
    pub(crate) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-value", "Invalid value", detail).at(field)
    }

    /// Something that the path names is not there.
    pub(crate) fn unknown(noun: &str, name: impl std::fmt::Display) -> Self {
        ApiError::new(
            StatusCode::NOT_FOUND,
            &format!("unknown-{noun}"),
            &format!("No such {noun}"),
            format!("unknown {noun} `{name}`"),
        )
    }

    /// No token, or a wrong one.
    pub(crate) fn unauthorized() -> Self {
        let detail = "send `Authorization: Bearer TOKEN`; the token is in the credentials file that the ready line names";
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
    }

    /// A body that is too long.
    pub(crate) fn too_large(what: &str, limit: u64) -> Self {
        let detail = format!("{what} is longer than {limit} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large", detail)
    }

    /// True for a body that was too long or came too slowly.
    pub(crate) fn is_over_a_limit(&self) -> bool {
        [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT]
            .map(|status| status.as_u16())
            .contains(&self.0.status)
    }

    /// The same error about `field`.
    pub(crate) fn at(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned());
        self
    }

    /// The same error where what is unknown was named in the body, not in the path.
    pub(crate) fn named_in_body(mut self) -> Self {
        if self.0.status == StatusCode::NOT_FOUND.as_u16() {
            self.0.status = StatusCode::UNPROCESSABLE_ENTITY.as_u16();
        }
        self
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        ApiError(Box::new(problem))
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        let detail = error.to_string();
        match error {
            AdminError::Unknown { noun, name } => ApiError::unknown(noun, name),
            AdminError::Exists { noun, .. } => ApiError::new(
                StatusCode::CONFLICT,
                &format!("{noun}-exists"),
                &format!("The {noun} exists already"),
                detail,
            ),
            AdminError::Invalid { field, .. } => ApiError::invalid(field, detail),
            AdminError::Changed => ApiError::new(StatusCode::PRECONDITION_FAILED, "changed", "Changed meanwhile", detail),
            AdminError::Conflict { .. } => ApiError::new(StatusCode::CONFLICT, "conflict", "Not possible in this state", detail),
        }
    }
}

impl From<CoreGone> for ApiError {
    fn from(_: CoreGone) -> Self {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ending",
            "The server is ending",
            "the server is ending",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&*self.0).expect("a problem has a JSON form");
        (status, [(CONTENT_TYPE, "application/problem+json")], json).into_response()
    }
}

/// An error answer that the router made, as a problem.
pub(crate) async fn worded(answer: Response) -> Response {
    let ours = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/problem+json");
    if ours || !(answer.status().is_client_error() || answer.status().is_server_error()) {
        return answer;
    }
    let status = answer.status();
    let said = answer
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let detail = String::from_utf8_lossy(&said).into_owned();
    ApiError::new(status, "bad-request", "Bad request", detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_in_a_body_is_not_an_unknown_path() {
        let error = || AdminError::Unknown {
            noun: "cohort",
            name: "west".to_owned(),
        };
        let problem = ApiError::from(error()).0;
        assert_eq!(
            (problem.status, &*problem.kind, &*problem.detail),
            (404, "unknown-cohort", "unknown cohort `west`")
        );
        assert_eq!(ApiError::from(error()).named_in_body().0.status, 422);
    }

    #[test]
    fn an_invalid_value_names_its_field() {
        let problem = ApiError::from(AdminError::Invalid {
            field: "slug",
            message: "contains `/`".to_owned(),
        })
        .0;
        assert_eq!(
            (problem.status, problem.field.as_deref(), &*problem.detail),
            (422, Some("slug"), "slug: contains `/`")
        );
    }
}
