//! Request bodies: JSON with errors that name the field, images taken piece by piece up to a limit.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderValue, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::Api;
use super::problem::ApiError;
use crate::host::gate::Gate;
use crate::server::Refusal;

/// Room that is made for a body before its bytes come.
const AHEAD_MAX: usize = 1 << 20;
/// How long a client may pause within a body.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A JSON body of type `T`, whatever its content type says.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let bytes = gather(request, "the JSON body", api.gate.limits().body, &api.gate).await?;
        parse(&bytes).map(JsonBody)
    }
}

/// The bytes of an image.
pub(crate) struct ImageBody(pub(crate) Bytes);

impl FromRequest<Api> for ImageBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let promised = request.headers().get("content-digest").cloned();
        let image = gather(request, "the image", api.gate.limits().image, &api.gate).await?;
        check_digest(promised.as_ref(), &image)?;
        Ok(ImageBody(image))
    }
}

/// Holds a body against its `Content-Digest` (RFC 9530), of which SHA-256 is understood.
fn check_digest(promised: Option<&HeaderValue>, body: &[u8]) -> Result<(), ApiError> {
    let Some(promised) = promised else { return Ok(()) };
    let text = promised.to_str().unwrap_or_default();
    let digest = text.split(',').find_map(|member| member.trim().strip_prefix("sha-256="));
    let bytes = digest.and_then(|digest| digest.strip_prefix(':')?.strip_suffix(':'));
    let Some(wanted) = bytes.and_then(|bytes| BASE64_STANDARD.decode(bytes).ok()) else {
        let detail = "Content-Digest: is not `sha-256=:BASE64:`";
        return Err(ApiError::invalid("Content-Digest", detail));
    };
    let found = Sha256::digest(body);
    if wanted == found.as_slice() {
        return Ok(());
    }
    let detail = format!("Content-Digest: the body has sha-256=:{}:", BASE64_STANDARD.encode(found));
    Err(ApiError::invalid("Content-Digest", detail))
}

/// Takes a body of at most `limit` bytes in; one that is longer, or pauses, is counted at the gate.
pub(crate) async fn gather(request: Request, what: &str, limit: u64, gate: &Gate) -> Result<Bytes, ApiError> {
    let gathered = gather_within(request, what, usize::try_from(limit).unwrap_or(usize::MAX)).await;
    if gathered.as_ref().is_err_and(ApiError::is_over_a_limit) {
        gate.put_out(Refusal::Body);
    }
    gathered
}

async fn gather_within(request: Request, what: &str, limit: usize) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(what, limit));
    }
    let mut body: Body = request.into_body();
    // What is announced is not yet there.
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default().min(AHEAD_MAX));
    loop {
        let next = tokio::time::timeout(PAUSE_MAX, body.frame()).await;
        let next = next.map_err(|_| {
            broken(
                StatusCode::REQUEST_TIMEOUT,
                format!("{what} paused for more than {PAUSE_MAX:?}"),
            )
        })?;
        let Some(frame) = next else { return Ok(bytes.freeze()) };
        let frame = frame.map_err(|error| broken(StatusCode::BAD_REQUEST, format!("{what} broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        if bytes.len() + piece.len() > limit {
            return Err(ApiError::too_large(what, limit));
        }
        bytes.extend_from_slice(&piece);
    }
}

fn broken(status: StatusCode, detail: String) -> ApiError {
    ApiError::new(status, "incomplete-body", "Incomplete body", detail)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        match path.as_str() {
            // Where the fault lies beside every field, such as a body that breaks off.
            "." | "?" => ApiError::new(StatusCode::BAD_REQUEST, "invalid-json", "Invalid JSON body", message),
            field => ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid-json",
                "Invalid JSON body",
                format!("{field}: {message}"),
            )
            .at(field),
        }
    })?;
    json.end().map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid-json",
            "Invalid JSON body",
            error.to_string(),
        )
    })?;
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_held_against_its_digest() {
        let check = |promised: &str| check_digest(Some(&HeaderValue::from_str(promised).unwrap()), b"image").is_ok();
        let right = BASE64_STANDARD.encode(Sha256::digest(b"image"));
        let wrong = BASE64_STANDARD.encode(Sha256::digest(b"other"));
        assert!(check(&format!("sha-256=:{right}:")) && check(&format!("md5=:AA==:, sha-256=:{right}:")));
        assert!(!check(&format!("sha-256=:{wrong}:")) && !check("sha-256=x") && !check("md5=:AA==:"));
        assert!(check_digest(None, b"image").is_ok());
    }
    use crate::wire::api::{DevicesBody, FirmwareBody};

    fn said<T: DeserializeOwned>(json: &str) -> String {
        match parse::<T>(json.as_bytes()) {
            Ok(_) => "fine".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn a_wrong_value_deep_inside_is_named_by_its_path() {
        assert_eq!(
            said::<DevicesBody>(r#"{"devices":[{"id":"a","tags":{"region":"west"}}]}"#),
            "fine"
        );
        let error = said::<DevicesBody>(r#"{"devices":[{"id":"a"},{"id":"b","tags":{"region":5}}]}"#);
        assert!(
            error.contains(r#"field: Some("devices[1].tags.region")"#) && error.contains("integer `5`"),
            "{error}"
        );
    }

    #[test]
    fn unknown_fields_and_trailing_text_are_refused() {
        assert!(said::<FirmwareBody>(r#"{"slug":"app","sluug":1}"#).contains("sluug"));
        assert!(said::<FirmwareBody>(r#"{"slug":"app"} x"#).contains("trailing"));
        assert!(said::<FirmwareBody>("{}").contains("missing field `slug`"));
    }
}
