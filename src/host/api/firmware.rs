//! Firmware and its versions.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;

use super::body::{ImageBody, JsonBody};
use super::etag::{IfMatch, Tagged};
use super::page::PageQuery;
use super::problem::ApiError;
use super::{Api, page};
use crate::host::core_thread::CoreGone;
use crate::mcuboot::{SignatureVerdict, inspect};
use crate::model::{AdminAction, FirmwareVersion, Slug, Version};
use crate::wire::api::{FirmwareBody, FirmwareView, McubootView, Page, VersionView};

/// Unit in which flash is written, bytes; places the trailer of a whole slot.
const FLASH_ALIGN: u32 = 4;

/// `GET /v1/firmware`.
pub(crate) async fn list(State(api): State<Api>, query: PageQuery) -> Result<Json<Page<FirmwareView>>, ApiError> {
    let limit = query.limit();
    let after = query.after.as_deref().map(parse_slug).transpose();
    let after = after.map_err(|_| query.nothing_there())?;
    let page = api.look(move |server| server.firmware_behind(after.as_ref(), limit)).await?;
    page.map(Json).ok_or_else(|| query.nothing_there())
}

/// `POST /v1/firmware`.
pub(crate) async fn create(
    State(api): State<Api>,
    JsonBody(body): JsonBody<FirmwareBody>,
) -> Result<(StatusCode, Json<FirmwareView>), ApiError> {
    let slug = parse_slug(&body.slug)?;
    api.change(AdminAction::CreateFirmware { slug: slug.clone() }).await?;
    Ok((StatusCode::CREATED, view(&api, slug).await?))
}

/// `GET /v1/firmware/{slug}`.
pub(crate) async fn show(State(api): State<Api>, Path(slug): Path<String>) -> Result<Json<FirmwareView>, ApiError> {
    view(&api, parse_slug(&slug)?).await
}

/// What an image must be to be taken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadQuery {
    require: Option<String>,
}

/// `PUT /v1/firmware/{slug}/versions/{version}`: the body is the image file.
pub(crate) async fn upload(
    State(api): State<Api>,
    Path((slug, version)): Path<(String, String)>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    ImageBody(received): ImageBody,
) -> Result<(StatusCode, Tagged<VersionView>), ApiError> {
    let Query(query) = query.map_err(|error| page::refused(&error))?;
    let firmware = parse_version(&slug, &version)?;
    match query.require.as_deref() {
        None => {}
        Some("mcuboot") => check_mcuboot(&firmware.version, &seen(received.image.bytes().clone()).await?)?,
        Some(other) => return Err(ApiError::invalid("require", format!("require: `{other}` is not `mcuboot`"))),
    }
    api.change(AdminAction::CreateVersion {
        firmware: firmware.clone(),
        image: received.image.clone(),
    })
    .await?;
    Ok((StatusCode::CREATED, version_view(&api, firmware).await?))
}

/// `GET /v1/firmware/{slug}/versions/{version}`.
pub(crate) async fn show_version(
    State(api): State<Api>,
    Path((slug, version)): Path<(String, String)>,
) -> Result<Tagged<VersionView>, ApiError> {
    version_view(&api, parse_version(&slug, &version)?).await
}

/// `DELETE /v1/firmware/{slug}/versions/{version}`.
pub(crate) async fn delete_version(
    State(api): State<Api>,
    Path((slug, version)): Path<(String, String)>,
    unchanged: IfMatch,
) -> Result<StatusCode, ApiError> {
    let firmware = parse_version(&slug, &version)?;
    let wanted = firmware.clone();
    let guard = unchanged.guard(move |server| server.version(&wanted));
    api.change_if(guard, AdminAction::DeleteVersion { firmware }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads `SLUG@VERSION` of a package list.
pub(crate) fn parse_package(field: &str, text: &str) -> Result<FirmwareVersion, ApiError> {
    let (slug, version) = text
        .split_once('@')
        .ok_or_else(|| ApiError::invalid(field, format!("{field}: `{text}` is not SLUG@VERSION")))?;
    parse_version(slug, version).map_err(|error| error.at(field))
}

/// Reads the slug of a firmware.
pub(crate) fn parse_slug(text: &str) -> Result<Slug, ApiError> {
    text.parse()
        .map_err(|error| ApiError::invalid("slug", format!("slug: `{text}` {error}")))
}

fn parse_version(slug: &str, version: &str) -> Result<FirmwareVersion, ApiError> {
    let slug = parse_slug(slug)?;
    let version: Version = version
        .parse()
        .map_err(|error| ApiError::invalid("version", format!("version: `{version}` {error}")))?;
    Ok(FirmwareVersion { slug, version })
}

async fn view(api: &Api, slug: Slug) -> Result<Json<FirmwareView>, ApiError> {
    let wanted = slug.clone();
    let found = api.look(move |server| server.firmware_named(&wanted)).await?;
    found.map(Json).ok_or_else(|| ApiError::unknown("firmware", slug))
}

async fn version_view(api: &Api, firmware: FirmwareVersion) -> Result<Tagged<VersionView>, ApiError> {
    let wanted = firmware.clone();
    let found = api
        .look(move |server| Some((server.version(&wanted)?, server.image_of(&wanted)?)))
        .await?;
    let (view, image) = found.ok_or_else(|| ApiError::unknown("version", firmware))?;
    let mcuboot = Some(seen(image).await?);
    Ok(Tagged(VersionView { mcuboot, ..view }))
}

/// What MCUboot would see of an image, looked at on a thread that nobody waits for: of a long one every byte is read.
async fn seen(image: Bytes) -> Result<McubootView, ApiError> {
    let seen = tokio::task::spawn_blocking(move || seen_by_mcuboot(&image)).await;
    Ok(seen.map_err(|_| CoreGone)?)
}

fn seen_by_mcuboot(image: &[u8]) -> McubootView {
    let seen = inspect(image, None, None, FLASH_ALIGN);
    let signature = match seen.signature {
        Some(SignatureVerdict::Unchecked(scheme) | SignatureVerdict::Good(scheme)) => Some(scheme.to_string()),
        Some(SignatureVerdict::Unsigned | SignatureVerdict::Bad(_)) | None => None,
    };
    McubootView {
        version: seen.header.as_ref().map(|header| header.version.to_string()),
        image_size_bytes: seen.header.as_ref().map(|header| header.image_size),
        signature,
        defects: seen.defects.iter().map(ToString::to_string).collect(),
    }
}

/// Refuses an image that MCUboot would not start, or whose header tells of another version.
fn check_mcuboot(version: &Version, seen: &McubootView) -> Result<(), ApiError> {
    if let Some(defect) = seen.defects.first() {
        return Err(ApiError::invalid("image", format!("image: {defect}")));
    }
    let named = version.to_string();
    let told = seen.version.clone().unwrap_or_default();
    let release = told.split('+').next().unwrap_or_default();
    if told == named || release == named {
        return Ok(());
    }
    let detail = format!("version: the header of the image says {told}, not `{named}`");
    Err(ApiError::invalid("version", detail))
}
