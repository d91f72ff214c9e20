//! Devices and their tags.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Api;
use super::body::JsonBody;
use super::page::PageQuery;
use super::problem::ApiError;
use crate::model::{AdminAction, DeviceId, NewDevice, Tags};
use crate::wire::api::{DeviceView, DevicesBody, Page, TagsBody};

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

/// `PATCH /v1/devices/{id}`.
pub(crate) async fn tag_one(
    State(api): State<Api>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<TagsBody>,
) -> Result<Json<DeviceView>, ApiError> {
    if !body.devices.is_empty() {
        return Err(ApiError::invalid(
            "devices",
            "devices: the path names the device; leave `devices` out",
        ));
    }
    let id = DeviceId::new(id);
    tag(&api, vec![id.clone()], body.tags).await?;
    view(&api, id).await
}

/// `POST /v1/tags`.
pub(crate) async fn tag_many(State(api): State<Api>, JsonBody(body): JsonBody<TagsBody>) -> Result<StatusCode, ApiError> {
    tag(&api, body.devices, body.tags).await.map_err(ApiError::named_in_body)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tag(api: &Api, devices: Vec<DeviceId>, changes: BTreeMap<String, Option<String>>) -> Result<(), ApiError> {
    let mut tags = Tags::new();
    let mut keys = Vec::new();
    for (key, value) in changes {
        match value {
            Some(value) => drop(tags.insert(key, value)),
            None => keys.push(key),
        }
    }
    if !tags.is_empty() {
        api.change(AdminAction::Tag {
            devices: devices.clone(),
            tags,
        })
        .await?;
    }
    if !keys.is_empty() {
        api.change(AdminAction::Untag { devices, keys }).await?;
    }
    Ok(())
}

async fn view(api: &Api, id: DeviceId) -> Result<Json<DeviceView>, ApiError> {
    let wanted = id.clone();
    let found = api.look(move |server| server.device(&wanted)).await?;
    found.map(Json).ok_or_else(|| ApiError::unknown("device", id))
}
