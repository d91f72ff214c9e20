//! Deployments, their progress and their attempts.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::body::JsonBody;
use super::etag::{IfMatch, Tagged};
use super::firmware::{parse_package, parse_slug};
use super::page::PageQuery;
use super::problem::ApiError;
use super::{Api, idempotency, page};
use crate::model::{AdminAction, AttemptId, DeploymentName, UpdateState};
use crate::server::Server;
use crate::wire::api::{AttemptView, DeploymentBody, DeploymentView, HistoryEntry, Page};

/// `GET /v1/deployments`.
pub(crate) async fn list(State(api): State<Api>, query: PageQuery) -> Result<Json<Page<DeploymentView>>, ApiError> {
    let limit = query.limit();
    let after = query.after.as_deref().map(DeploymentName::new);
    let page = api
        .look(move |server| server.deployments_behind(after.as_ref(), limit))
        .await?;
    page.map(Json).ok_or_else(|| query.nothing_there())
}

/// `POST /v1/deployments`.
pub(crate) async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<DeploymentBody>,
) -> Result<(StatusCode, Tagged<DeploymentView>), ApiError> {
    let name = match (body.name, idempotency::key_of(&headers)?) {
        (Some(name), _) => name,
        (None, Some(key)) => name_under(&key),
        (None, None) => api.look(Server::free_deployment_name).await?,
    };
    let packages = body
        .packages
        .iter()
        .enumerate()
        .map(|(index, text)| parse_package(&format!("packages[{index}]"), text));
    let deploy = AdminAction::Deploy {
        deployment: name.clone(),
        cohort: body.cohort,
        packages: packages.collect::<Result<_, _>>()?,
        main: body
            .main
            .as_deref()
            .map(parse_slug)
            .transpose()
            .map_err(|error| error.at("main"))?,
    };
    api.change(deploy).await.map_err(ApiError::named_in_body)?;
    Ok((StatusCode::CREATED, view(&api, name).await?))
}

/// `GET /v1/deployments/{name}`.
pub(crate) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Result<Tagged<DeploymentView>, ApiError> {
    view(&api, DeploymentName::new(name)).await
}

/// Which attempts are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttemptQuery {
    after: Option<String>,
    limit: Option<usize>,
    state: Option<String>,
}

/// `GET /v1/deployments/{name}/attempts`.
pub(crate) async fn attempts(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Result<Query<AttemptQuery>, QueryRejection>,
) -> Result<Json<Page<AttemptView>>, ApiError> {
    let Query(query) = query.map_err(|error| page::refused(&error))?;
    let limit = page::limit_of(query.limit);
    let state = match &query.state {
        None => None,
        Some(word) => Some(
            UpdateState::from_word(word)
                .ok_or_else(|| ApiError::invalid("state", format!("state: `{word}` is no state of an attempt")))?,
        ),
    };
    let after = query.after.as_deref().map(parse_attempt).transpose()?;
    let deployment = DeploymentName::new(name.as_str());
    let page = api
        .look(move |server| server.deployment_attempts(&deployment, state, after, limit))
        .await?;
    page.map(Json).ok_or_else(|| ApiError::unknown("deployment", name))
}

/// `POST /v1/deployments/{name}/cancel`.
pub(crate) async fn cancel(api: State<Api>, name: Path<String>, unchanged: IfMatch) -> Result<Tagged<DeploymentView>, ApiError> {
    steer(api, name, unchanged, |deployment| AdminAction::Cancel { deployment }).await
}

/// `POST /v1/deployments/{name}/pause`.
pub(crate) async fn pause(api: State<Api>, name: Path<String>, unchanged: IfMatch) -> Result<Tagged<DeploymentView>, ApiError> {
    steer(api, name, unchanged, |deployment| AdminAction::Pause { deployment }).await
}

/// `POST /v1/deployments/{name}/resume`.
pub(crate) async fn resume(api: State<Api>, name: Path<String>, unchanged: IfMatch) -> Result<Tagged<DeploymentView>, ApiError> {
    steer(api, name, unchanged, |deployment| AdminAction::Resume { deployment }).await
}

/// `POST /v1/deployments/{name}/retry`.
pub(crate) async fn retry(api: State<Api>, name: Path<String>, unchanged: IfMatch) -> Result<Tagged<DeploymentView>, ApiError> {
    steer(api, name, unchanged, |deployment| AdminAction::Retry { deployment }).await
}

async fn steer(
    State(api): State<Api>,
    Path(name): Path<String>,
    unchanged: IfMatch,
    action: impl FnOnce(DeploymentName) -> AdminAction,
) -> Result<Tagged<DeploymentView>, ApiError> {
    let name = DeploymentName::new(name);
    let wanted = name.clone();
    let guard = unchanged.guard(move |server| server.deployment(&wanted));
    api.change_if(guard, action(name.clone())).await?;
    view(&api, name).await
}

/// `GET /v1/attempts/{id}`.
pub(crate) async fn attempt(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<AttemptView>, ApiError> {
    let found = match parse_id(&id) {
        Some(wanted) => api.look(move |server| server.attempt(wanted)).await?,
        None => None,
    };
    found.map(Json).ok_or_else(|| ApiError::unknown("attempt", id))
}

/// `GET /v1/attempts/{id}/history`.
pub(crate) async fn attempt_history(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Vec<HistoryEntry>>, ApiError> {
    let found = match parse_id(&id) {
        Some(wanted) => api.look(move |server| server.attempt_history(wanted)).await?,
        None => None,
    };
    found.map(Json).ok_or_else(|| ApiError::unknown("attempt", id))
}

/// The name of a deployment that was asked for under a key: after a restart the same request finds it taken.
fn name_under(key: &str) -> DeploymentName {
    let hash = Sha256::digest(key);
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    DeploymentName::new(format!("deployment-{hex}"))
}

fn parse_attempt(text: &str) -> Result<AttemptId, ApiError> {
    parse_id(text).ok_or_else(|| ApiError::invalid("after", format!("after: `{text}` is no attempt id")))
}

fn parse_id(text: &str) -> Option<AttemptId> {
    text.parse().ok().and_then(AttemptId::new)
}

async fn view(api: &Api, name: DeploymentName) -> Result<Tagged<DeploymentView>, ApiError> {
    let wanted = name.clone();
    let found = api.look(move |server| server.deployment(&wanted)).await?;
    found.map(Tagged).ok_or_else(|| ApiError::unknown("deployment", name))
}
