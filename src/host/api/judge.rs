//! `GET /v1/judge`: how the rules have fared so far.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Api;
use super::problem::ApiError;
use crate::wire::api::JudgeView;

/// Shows the judge's count, once everything that was asked before is judged.
pub(super) async fn show(State(api): State<Api>) -> Result<Json<JudgeView>, ApiError> {
    let Some(judge) = api.judge.clone() else {
        let detail = "nobody judges here: start the server with `--judge`";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no-judge", "No judge", detail));
    };
    Ok(Json(api.look(move |_| judge.view()).await?))
}
