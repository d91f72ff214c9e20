//! Devices and their tags.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Api;
use super::body::JsonBody;
use super::page::PageQuery;
use super::problem::ApiError;
use crate::model::{AdminAction, DeviceId, NewDevice, Tags, is_word};
use crate::wire::api::{DeviceView, DevicesBody, Page, TagsBody};

/// Longest device id, bytes.
const ID_MAX_BYTES: usize = 64;

/// `GET /v1/devices`.
pub(crate) async fn list(State(api): State<Api>, query: PageQuery) -> Result<Json<Page<DeviceView>>, ApiError> {
    let limit = query.limit();
    let after = query.after.map(DeviceId::new);
    api.look(move |server| server.devices(after.as_ref(), limit)).await.map(Json)
}

/// `POST /v1/devices`.
pub(crate) async fn register(State(api): State<Api>, JsonBody(body): JsonBody<DevicesBody>) -> Result<StatusCode, ApiError> {
    let mut devices = Vec::with_capacity(body.devices.len());
    for (index, device) in body.devices.into_iter().enumerate() {
        check_id(&format!("devices[{index}].id"), &device.id)?;
        for (key, value) in &device.tags {
            check_tag(&format!("devices[{index}].tags"), key, Some(value))?;
        }
        devices.push(NewDevice {
            id: device.id,
            tags: device.tags,
        });
    }
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
        check_tag("tags", &key, value.as_deref())?;
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

/// An id is an MQTT user name: text without control characters.
fn check_id(field: &str, id: &DeviceId) -> Result<(), ApiError> {
    let id = id.as_str();
    if id.is_empty() || id.len() > ID_MAX_BYTES || id.chars().any(char::is_control) {
        let shown = id.escape_debug();
        return Err(ApiError::invalid(
            field,
            format!("{field}: `{shown}` is not 1 to {ID_MAX_BYTES} bytes without control characters"),
        ));
    }
    Ok(())
}

/// Tag keys and values are words (contract, section 8).
fn check_tag(field: &str, key: &str, value: Option<&str>) -> Result<(), ApiError> {
    for text in [Some(key), value].into_iter().flatten() {
        if !is_word(text) {
            let (field, shown) = (format!("{field}.{key}"), text.escape_debug());
            return Err(ApiError::invalid(
                &field,
                format!("{field}: `{shown}` is not 1 to 64 of letters, digits, `.`, `_`, `-`"),
            ));
        }
    }
    Ok(())
}
