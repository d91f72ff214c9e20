//! Request bodies: JSON with errors that name the field, images taken piece by piece up to a limit.

use std::io;
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

use super::Api;
use super::problem::ApiError;
use crate::host::core_thread::CoreGone;
use crate::host::gate::Gate;
use crate::host::spool::Received;
use crate::model::Digest;
use crate::server::Refusal;

/// A JSON body of type `T`, whatever its content type says.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let bytes = gather(request, "the JSON body", api.gate.limits().body, &api.gate).await?;
        parse(&bytes).map(JsonBody)
    }
}

/// An image, received.
pub(crate) struct ImageBody(pub(crate) Received);

impl FromRequest<Api> for ImageBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let promised = request.headers().get("content-digest").cloned();
        let mut upload = api.spool.begin();
        let limit = api.gate.limits().image;
        take(request, "the image", limit, &api.gate, |piece| {
            upload.add(piece).map_err(no_room)
        })
        .await?;
        // On a thread that may wait for the disk.
        let received = tokio::task::spawn_blocking(move || upload.finish()).await;
        let received = received.map_err(|_| CoreGone)?.map_err(no_room)?;
        check_digest(promised.as_ref(), &received.image.digest())?;
        Ok(ImageBody(received))
    }
}

fn no_room(error: io::Error) -> ApiError {
    let detail = format!("the image cannot be stored: {error}");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no-room", "No room", detail)
}

/// Holds a body against its `Content-Digest` (RFC 9530), of which SHA-256 is understood.
fn check_digest(promised: Option<&HeaderValue>, found: &Digest) -> Result<(), ApiError> {
    let Some(promised) = promised else { return Ok(()) };
    let text = promised.to_str().unwrap_or_default();
    let digest = text.split(',').find_map(|member| member.trim().strip_prefix("sha-256="));
    let bytes = digest.and_then(|digest| digest.strip_prefix(':')?.strip_suffix(':'));
    let Some(wanted) = bytes.and_then(|bytes| BASE64_STANDARD.decode(bytes).ok()) else {
        let detail = "Content-Digest: is not `sha-256=:BASE64:`";
        return Err(ApiError::invalid("Content-Digest", detail));
    };
    if wanted == found.0 {
        return Ok(());
    }
    let detail = format!("Content-Digest: the body has sha-256=:{}:", BASE64_STANDARD.encode(found.0));
    Err(ApiError::invalid("Content-Digest", detail))
}

/// Gathers a body of at most `limit` bytes; one that is longer, or pauses, is counted at the gate.
pub(crate) async fn gather(request: Request, what: &str, limit: u64, gate: &Gate) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    take(request, what, limit, gate, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })
    .await?;
    Ok(bytes.freeze())
}

/// Hands a body of at most `limit` bytes over piece by piece; one that is longer, or pauses, is counted at the gate.
async fn take(
    request: Request,
    what: &str,
    limit: u64,
    gate: &Gate,
    piece: impl FnMut(&[u8]) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let taken = take_within(request, what, limit, gate.limits().pause, piece).await;
    if taken.as_ref().is_err_and(ApiError::is_over_a_limit) {
        gate.put_out(Refusal::Body);
    }
    taken
}

async fn take_within(
    request: Request,
    what: &str,
    limit: u64,
    longest_pause: Duration,
    mut take: impl FnMut(&[u8]) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(what, limit));
    }
    let mut body: Body = request.into_body();
    let mut taken = 0;
    loop {
        let next = tokio::time::timeout(longest_pause, body.frame()).await;
        let next = next.map_err(|_| {
            broken(
                StatusCode::REQUEST_TIMEOUT,
                format!("{what} paused for more than {longest_pause:?}"),
            )
        })?;
        let Some(frame) = next else { return Ok(()) };
        let frame = frame.map_err(|error| broken(StatusCode::BAD_REQUEST, format!("{what} broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        taken += piece.len() as u64;
        if taken > limit {
            return Err(ApiError::too_large(what, limit));
        }
        take(&piece)?;
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
    use crate::model::ImageFile;
    use crate::wire::api::{DevicesBody, FirmwareBody};

    fn digest(text: &'static str) -> Digest {
        ImageFile::from(text).digest()
    }

    #[test]
    fn a_body_is_held_against_its_digest() {
        let check = |promised: &str| check_digest(Some(&HeaderValue::from_str(promised).unwrap()), &digest("image")).is_ok();
        let right = BASE64_STANDARD.encode(digest("image").0);
        let wrong = BASE64_STANDARD.encode(digest("other").0);
        assert!(check(&format!("sha-256=:{right}:")) && check(&format!("md5=:AA==:, sha-256=:{right}:")));
        assert!(!check(&format!("sha-256=:{wrong}:")) && !check("sha-256=x") && !check("md5=:AA==:"));
        assert!(check_digest(None, &digest("image")).is_ok());
    }

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
