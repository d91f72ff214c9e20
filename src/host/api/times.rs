//! `GET /v1/times`: how long the server took for what it was told.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::problem::ApiError;
use crate::wire::api::TimesView;

/// Shows the times, once everything that was asked before is done.
pub(super) async fn show(State(api): State<Api>) -> Result<Json<TimesView>, ApiError> {
    let times = api.core.times();
    Ok(Json(api.look(move |_| times.view()).await?))
}
