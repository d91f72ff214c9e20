//! Devices and their tags.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Api;
use super::body::JsonBody;
use super::page::PageQuery;
use super::problem::ApiError;
use crate::model::{AdminAction, DeviceId, NewDevice, Selector, Tags, Whom};
use crate::wire::api::{DeviceView, DevicesBody, HistoryEntry, Page, TagsBody};

/// `GET /v1/devices`.
pub(crate) async fn list(State(api): State<Api>, query: PageQuery) -> Result<Json<Page<DeviceView>>, ApiError> {
    let limit = query.limit();
    let after = query.after.map(DeviceId::new);
    api.look(move |server| server.devices(after.as_ref(), limit)).await.map(Json)
}

/// `POST /v1/devices`.
pub(crate) async fn register(State(api): State<Api>, JsonBody(body): JsonBody<DevicesBody>) -> Result<StatusCode, ApiError> {
    let devices = body.devices.into_iter().map(|device| NewDevice {
        id: device.id,
        tags: device.tags,
    });
    let devices = devices.collect();
    api.change(AdminAction::RegisterDevices { devices }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/devices/{id}`.
pub(crate) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<DeviceView>, ApiError> {
    view(&api, DeviceId::new(id)).await
}

/// `GET /v1/devices/{id}/history`.
pub(crate) async fn history(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Vec<HistoryEntry>>, ApiError> {
    let wanted = DeviceId::new(id.as_str());
    let found = api.look(move |server| server.device_history(&wanted)).await?;
    found.map(Json).ok_or_else(|| ApiError::unknown("device", id))
}

/// `PATCH /v1/devices/{id}`.
pub(crate) async fn tag_one(
    State(api): State<Api>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<TagsBody>,
) -> Result<Json<DeviceView>, ApiError> {
    for (field, given) in [("devices", body.devices.is_some()), ("who", body.who.is_some())] {
        if given {
            let detail = format!("{field}: the path names the device; leave `{field}` out");
            return Err(ApiError::invalid(field, detail));
        }
    }
    let id = DeviceId::new(id);
    api.change(change_tags(Whom::Devices(vec![id.clone()]), body.tags)).await?;
    view(&api, id).await
}

/// `POST /v1/tags`.
pub(crate) async fn tag_many(State(api): State<Api>, JsonBody(body): JsonBody<TagsBody>) -> Result<StatusCode, ApiError> {
    let whom = match (body.devices, body.who) {
        (Some(devices), None) => Whom::Devices(devices),
        (None, Some(who)) => Whom::Matching(parse_who("who", &who)?),
        (Some(_), Some(_)) => return Err(ApiError::invalid("who", "who: give `devices` or `who`, not both")),
        (None, None) => return Err(ApiError::invalid("devices", "devices: give `devices` or `who`")),
    };
    api.change(change_tags(whom, body.tags))
        .await
        .map_err(ApiError::named_in_body)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a selection.
pub(crate) fn parse_who(field: &str, text: &str) -> Result<Selector, ApiError> {
    Selector::parse(text).map_err(|error| ApiError::invalid(field, format!("{field}: `{text}`: {error}")))
}

fn change_tags(whom: Whom, changes: BTreeMap<String, Option<String>>) -> AdminAction {
    let mut set = Tags::new();
    let mut remove = Vec::new();
    for (key, value) in changes {
        match value {
            Some(value) => drop(set.insert(key, value)),
            None => remove.push(key),
        }
    }
    AdminAction::ChangeTags { whom, set, remove }
}

async fn view(api: &Api, id: DeviceId) -> Result<Json<DeviceView>, ApiError> {
    let wanted = id.clone();
    let found = api.look(move |server| server.device(&wanted)).await?;
    found.map(Json).ok_or_else(|| ApiError::unknown("device", id))
}
