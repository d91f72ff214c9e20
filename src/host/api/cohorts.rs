//! Cohorts: by rule or by hand, and who is in them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Api;
use super::body::JsonBody;
use super::etag::{IfMatch, Tagged};
use super::page::PageQuery;
use super::problem::ApiError;
use crate::model::{AdminAction, CohortName, CohortRule, DeviceId, Selector};
use crate::wire::api::{CohortBody, CohortView, MembersBody, Page};

/// `GET /v1/cohorts`.
pub(crate) async fn list(State(api): State<Api>, query: PageQuery) -> Result<Json<Page<CohortView>>, ApiError> {
    let limit = query.limit();
    let after = query.after.as_deref().map(CohortName::new);
    let page = api.look(move |server| server.cohorts_behind(after.as_ref(), limit)).await?;
    page.map(Json).ok_or_else(|| query.nothing_there())
}

/// `POST /v1/cohorts`.
pub(crate) async fn create(
    State(api): State<Api>,
    JsonBody(body): JsonBody<CohortBody>,
) -> Result<(StatusCode, Tagged<CohortView>), ApiError> {
    let name = body
        .name
        .ok_or_else(|| ApiError::invalid("name", "name: a cohort needs one"))?;
    let rule = parse_rule(body.rule.as_deref())?;
    api.change(AdminAction::CreateCohort {
        cohort: name.clone(),
        rule,
    })
    .await?;
    Ok((StatusCode::CREATED, view(&api, name).await?))
}

/// `GET /v1/cohorts/{name}`.
pub(crate) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Result<Tagged<CohortView>, ApiError> {
    view(&api, CohortName::new(name)).await
}

/// `PATCH /v1/cohorts/{name}`.
pub(crate) async fn change(
    State(api): State<Api>,
    Path(name): Path<String>,
    unchanged: IfMatch,
    JsonBody(body): JsonBody<CohortBody>,
) -> Result<Tagged<CohortView>, ApiError> {
    if body.name.is_some_and(|given| given.as_str() != name) {
        return Err(ApiError::invalid("name", format!("name: a cohort keeps its name `{name}`")));
    }
    let cohort = CohortName::new(name);
    let rule = parse_rule(body.rule.as_deref())?;
    let wanted = cohort.clone();
    let guard = unchanged.guard(move |server| server.cohort(&wanted));
    let change = AdminAction::ChangeCohort {
        cohort: cohort.clone(),
        rule,
    };
    api.change_if(guard, change).await?;
    view(&api, cohort).await
}

/// `GET /v1/cohorts/{name}/members`.
pub(crate) async fn members(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: PageQuery,
) -> Result<Json<Page<DeviceId>>, ApiError> {
    let limit = query.limit();
    let after = query.after.map(DeviceId::new);
    let cohort = CohortName::new(name.as_str());
    let page = api
        .look(move |server| server.cohort_members(&cohort, after.as_ref(), limit))
        .await?;
    page.map(Json).ok_or_else(|| ApiError::unknown("cohort", name))
}

/// `POST /v1/cohorts/{name}/join`.
pub(crate) async fn join(
    State(api): State<Api>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<MembersBody>,
) -> Result<Tagged<CohortView>, ApiError> {
    let cohort = CohortName::new(name);
    api.change(AdminAction::Join {
        cohort: cohort.clone(),
        devices: body.devices,
    })
    .await?;
    view(&api, cohort).await
}

/// `POST /v1/cohorts/{name}/leave`.
pub(crate) async fn leave(
    State(api): State<Api>,
    Path(name): Path<String>,
    JsonBody(body): JsonBody<MembersBody>,
) -> Result<Tagged<CohortView>, ApiError> {
    let cohort = CohortName::new(name);
    api.change(AdminAction::Leave {
        cohort: cohort.clone(),
        devices: body.devices,
    })
    .await?;
    view(&api, cohort).await
}

fn parse_rule(text: Option<&str>) -> Result<CohortRule, ApiError> {
    let Some(text) = text else { return Ok(CohortRule::ByHand) };
    let selector = Selector::parse(text).map_err(|error| ApiError::invalid("where", format!("where: {error}")))?;
    Ok(CohortRule::Where(selector))
}

async fn view(api: &Api, name: CohortName) -> Result<Tagged<CohortView>, ApiError> {
    let wanted = name.clone();
    let found = api.look(move |server| server.cohort(&wanted)).await?;
    found.map(Tagged).ok_or_else(|| ApiError::unknown("cohort", name))
}
