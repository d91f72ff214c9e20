//! Devices and their tags.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;

use serde::Deserialize;

use super::body::JsonBody;
use super::etag::{IfMatch, Tagged};
use super::problem::ApiError;
use super::{Api, page};
use crate::model::{AdminAction, DeviceId, Key, NewDevice, Selector, Tags, Term, Test, UpdateState, Whom, is_word};
use crate::wire::api::{DeviceView, DevicesBody, HistoryEntry, Page, TagsBody};

/// `GET /v1/devices`.
pub(crate) async fn list(
    State(api): State<Api>,
    query: Result<Query<DeviceQuery>, QueryRejection>,
) -> Result<Json<Page<DeviceView>>, ApiError> {
    let Query(query) = query.map_err(|error| page::refused(&error))?;
    let limit = page::limit_of(query.limit);
    let who = query.selection()?;
    let after = query.after.map(DeviceId::new);
    let found = api
        .look(move |server| server.devices_meant(&who, after.as_ref(), limit))
        .await?;
    Ok(Json(found?))
}

/// Which devices are wanted: all conditions hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceQuery {
    after: Option<String>,
    limit: Option<usize>,
    who: Option<String>,
    tag: Option<String>,
    cohort: Option<String>,
    state: Option<String>,
    version: Option<String>,
}

impl DeviceQuery {
    fn selection(&self) -> Result<Selector, ApiError> {
        let mut who = match &self.who {
            Some(who) => parse_who("who", who)?,
            None => Selector::all(),
        };
        if let Some(tag) = &self.tag {
            let pair = tag.split_once(':').filter(|(key, _)| is_word(key));
            let (key, value) = pair.ok_or_else(|| ApiError::invalid("tag", format!("tag: `{tag}` is not KEY:VALUE")))?;
            who.terms.push(term(Key::Tag(key.to_owned()), value));
        }
        let known = |state: &String| UpdateState::from_word(state).is_some();
        if let Some(state) = self.state.as_ref().filter(|state| !known(state)) {
            return Err(ApiError::invalid(
                "state",
                format!("state: `{state}` is no state of an attempt"),
            ));
        }
        for (key, value) in [
            (Key::Cohort, &self.cohort),
            (Key::State, &self.state),
            (Key::Runs, &self.version),
        ] {
            who.terms.extend(value.iter().map(|value| term(key.clone(), value)));
        }
        Ok(who)
    }
}

fn term(key: Key, value: &str) -> Term {
    let values = vec![value.to_owned()];
    Term {
        negated: false,
        test: Test::Key { key, values },
    }
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
pub(crate) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Tagged<DeviceView>, ApiError> {
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
    unchanged: IfMatch,
    JsonBody(body): JsonBody<TagsBody>,
) -> Result<Tagged<DeviceView>, ApiError> {
    for (field, given) in [("devices", body.devices.is_some()), ("who", body.who.is_some())] {
        if given {
            let detail = format!("{field}: the path names the device; leave `{field}` out");
            return Err(ApiError::invalid(field, detail));
        }
    }
    let id = DeviceId::new(id);
    let wanted = id.clone();
    let guard = unchanged.guard(move |server| server.device(&wanted));
    api.change_if(guard, change_tags(Whom::Devices(vec![id.clone()]), body.tags))
        .await?;
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

async fn view(api: &Api, id: DeviceId) -> Result<Tagged<DeviceView>, ApiError> {
    let wanted = id.clone();
    let found = api.look(move |server| server.device(&wanted)).await?;
    found.map(Tagged).ok_or_else(|| ApiError::unknown("device", id))
}
