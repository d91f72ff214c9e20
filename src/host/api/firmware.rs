//! Firmware and its versions.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Api;
use super::body::{ImageBody, JsonBody};
use super::page::PageQuery;
use super::problem::ApiError;
use crate::model::{AdminAction, FirmwareVersion, Slug, Version};
use crate::wire::api::{FirmwareBody, FirmwareView, Page, VersionView};

/// `GET /v1/firmware`.
pub(crate) async fn list(State(api): State<Api>, query: PageQuery) -> Result<Json<Page<FirmwareView>>, ApiError> {
    let all = api.look(|server| server.firmware()).await?;
    query.cut(all, |firmware| &firmware.slug).map(Json)
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

/// `PUT /v1/firmware/{slug}/versions/{version}`: the body is the image file.
pub(crate) async fn upload(
    State(api): State<Api>,
    Path((slug, version)): Path<(String, String)>,
    ImageBody(image): ImageBody,
) -> Result<(StatusCode, Json<VersionView>), ApiError> {
    let firmware = parse_version(&slug, &version)?;
    api.change(AdminAction::CreateVersion {
        firmware: firmware.clone(),
        image,
    })
    .await?;
    Ok((StatusCode::CREATED, version_view(&api, firmware).await?))
}

/// `GET /v1/firmware/{slug}/versions/{version}`.
pub(crate) async fn show_version(
    State(api): State<Api>,
    Path((slug, version)): Path<(String, String)>,
) -> Result<Json<VersionView>, ApiError> {
    version_view(&api, parse_version(&slug, &version)?).await
}

/// `DELETE /v1/firmware/{slug}/versions/{version}`.
pub(crate) async fn delete_version(
    State(api): State<Api>,
    Path((slug, version)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let firmware = parse_version(&slug, &version)?;
    api.change(AdminAction::DeleteVersion { firmware }).await?;
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

async fn version_view(api: &Api, firmware: FirmwareVersion) -> Result<Json<VersionView>, ApiError> {
    let wanted = firmware.clone();
    let found = api.look(move |server| server.version(&wanted)).await?;
    found.map(Json).ok_or_else(|| ApiError::unknown("version", firmware))
}
