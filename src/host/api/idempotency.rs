//! `Idempotency-Key` on POST: a request that is sent again under its key is not carried out again, its answer is given once more.
//!
//! Answers are kept in memory, the latest of them, and go with the process. What must not be made twice after a restart has a name of
//! its own, which is taken then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use super::Api;
use super::body::gather;
use super::problem::ApiError;
use crate::host::core_thread::CoreGone;

/// The header that carries a key.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, bytes.
const KEY_MAX_BYTES: usize = 255;
/// Answers kept.
const KEPT_MAX: usize = 10_000;
/// Longest answer that is kept, bytes; those of creations are far shorter.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Requests by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    by_key: BTreeMap<String, Entry>,
    /// Keys with answers, oldest first.
    order: VecDeque<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Of method, path and body.
    request: [u8; 32],
    /// `None` while it is carried out.
    answer: Option<(StatusCode, HeaderMap, Bytes)>,
}

/// Holds a key while its request is carried out; lets it go if that comes to no answer.
struct Claim {
    answers: Answers,
    key: String,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer given before, or the right to give the first.
    fn claim(&self, key: &str, request: [u8; 32]) -> Result<Claim, Box<Response>> {
        let mut kept = self.lock();
        match kept.by_key.get(key) {
            Some(entry) if entry.request != request => {
                let detail = format!("Idempotency-Key: `{key}` was used for another request");
                Err(Box::new(ApiError::invalid("Idempotency-Key", detail).into_response()))
            }
            Some(Entry {
                answer: Some((status, headers, body)),
                ..
            }) => {
                let mut answer = (*status, headers.clone(), body.clone()).into_response();
                answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                Err(Box::new(answer))
            }
            Some(Entry { answer: None, .. }) => {
                let detail = format!("the first request with Idempotency-Key `{key}` is still being carried out");
                let answer = ApiError::new(StatusCode::CONFLICT, "in-progress", "Still in progress", detail).into_response();
                Err(Box::new(answer))
            }
            None => {
                let answer = None;
                kept.by_key.insert(key.to_owned(), Entry { request, answer });
                let (answers, key) = (self.clone(), key.to_owned());
                Ok(Claim { answers, key })
            }
        }
    }
}

impl Claim {
    /// Keeps the answer; the oldest one makes room.
    fn answered(self, status: StatusCode, headers: HeaderMap, body: Bytes) {
        let mut kept = self.answers.lock();
        if let Some(entry) = kept.by_key.get_mut(&self.key) {
            entry.answer = Some((status, headers, body));
        }
        kept.order.push_back(self.key.clone());
        if kept.order.len() > KEPT_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_key.remove(&oldest);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut kept = self.answers.lock();
        if kept.by_key.get(&self.key).is_some_and(|entry| entry.answer.is_none()) {
            kept.by_key.remove(&self.key);
        }
    }
}

/// Gives a request's answer once more if it was carried out before.
pub(super) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let key = match key_of(request.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(error) => return error.into_response(),
    };
    // On a task of its own, so that it is carried out, and its answer kept, also when the client leaves meanwhile.
    let carried_out = tokio::spawn(async move { under_key(&api, key, request, next).await });
    match carried_out.await {
        Ok(answer) => answer.unwrap_or_else(|answer| answer),
        Err(_) => ApiError::from(CoreGone).into_response(),
    }
}

/// The key of a request, if it has one.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().trim_matches('"');
    if (1..=KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(key.to_owned()));
    }
    let detail = format!("Idempotency-Key: is not 1 to {KEY_MAX_BYTES} printable characters without spaces");
    Err(ApiError::invalid("Idempotency-Key", detail))
}

async fn under_key(api: &Api, key: String, request: Request, next: Next) -> Result<Response, Response> {
    let (parts, body) = request.into_parts();
    let limit = api.gate.limits().body;
    let body = gather(Request::from_parts(parts.clone(), body), "the JSON body", limit, &api.gate)
        .await
        .map_err(IntoResponse::into_response)?;
    let mut hash = Sha256::new();
    hash.update(parts.method.as_str());
    hash.update([0]);
    hash.update(parts.uri.to_string());
    hash.update([0]);
    hash.update(&body);
    let claim = api.answers.claim(&key, hash.finalize().into()).map_err(|answer| *answer)?;
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    if answer.status().is_server_error() {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    if body.len() <= ANSWER_MAX_BYTES {
        claim.answered(parts.status, parts.headers.clone(), body.clone());
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_held_until_its_answer_and_let_go_without_one() {
        let answers = Answers::default();
        let claim = answers.claim("k", [1; 32]).ok().unwrap();
        assert_eq!(answers.claim("k", [1; 32]).err().unwrap().status(), StatusCode::CONFLICT);
        drop(claim);
        let claim = answers.claim("k", [1; 32]).ok().unwrap();
        claim.answered(StatusCode::CREATED, HeaderMap::new(), Bytes::from_static(b"{}"));
        let again = answers.claim("k", [1; 32]).err().unwrap();
        assert_eq!(
            (again.status(), &again.headers()[REPLAYED]),
            (StatusCode::CREATED, &HeaderValue::from_static("true"))
        );
        let other = answers.claim("k", [2; 32]).err().unwrap();
        assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
