//! `Idempotency-Key` on POST: a request that is sent again under its key is not carried out again, its answer is given once more.
//!
//! The latest answers are kept, in the store too, so that a restart makes nothing twice. The key goes to the store with the change that
//! is made under it: a server that was killed before it answered says that much, and carries nothing out again.

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
use crate::host::store::{ANSWERS_KEPT, Answer, KeyedRequest, StoredAnswer};

/// The header that carries a key.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, bytes.
const KEY_MAX_BYTES: usize = 255;
/// Longest answer that is kept, bytes; those of creations are far shorter.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

tokio::task_local! {
    /// The request that is being carried out, if it has a key.
    static CARRIED_OUT: KeyedRequest;
}

/// The request under way, if it has a key.
pub(super) fn key() -> Option<KeyedRequest> {
    CARRIED_OUT.try_with(Clone::clone).ok()
}

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
    carried: Carried,
}

#[derive(Clone, Debug)]
enum Carried {
    /// It is being carried out.
    UnderWay,
    /// It was.
    Answered(StatusCode, HeaderMap, Bytes),
    /// It was, by a server that ended before it answered.
    Unanswered,
}

/// Holds a key while its request is carried out; lets it go if that comes to no answer.
struct Claim {
    answers: Answers,
    request: KeyedRequest,
}

impl Answers {
    /// What an earlier server remembered, oldest first.
    pub(crate) fn restored(stored: Vec<StoredAnswer>) -> Answers {
        let mut kept = Kept::default();
        for StoredAnswer { to, answer } in stored {
            let carried = answer.and_then(read).unwrap_or(Carried::Unanswered);
            let request = to.request;
            kept.order.push_back(to.key.clone());
            kept.by_key.insert(to.key, Entry { request, carried });
        }
        Answers(Arc::new(Mutex::new(kept)))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer given before, or the right to give the first.
    fn claim(&self, asked: &KeyedRequest) -> Result<Claim, Box<Response>> {
        let mut kept = self.lock();
        let KeyedRequest { key, request } = asked;
        let refused = |kind, title, detail| {
            Err(Box::new(
                ApiError::new(StatusCode::CONFLICT, kind, title, detail).into_response(),
            ))
        };
        match kept.by_key.get(key) {
            Some(entry) if entry.request != *request => {
                let detail = format!("Idempotency-Key: `{key}` was used for another request");
                Err(Box::new(ApiError::invalid("Idempotency-Key", detail).into_response()))
            }
            Some(Entry {
                carried: Carried::Answered(status, headers, body),
                ..
            }) => {
                let mut answer = (*status, headers.clone(), body.clone()).into_response();
                answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                Err(Box::new(answer))
            }
            Some(Entry {
                carried: Carried::UnderWay,
                ..
            }) => {
                let detail = format!("the first request with Idempotency-Key `{key}` is still being carried out");
                refused("in-progress", "Still in progress", detail)
            }
            Some(Entry {
                carried: Carried::Unanswered,
                ..
            }) => {
                let detail =
                    format!("the request with Idempotency-Key `{key}` was carried out, and the server ended before it answered");
                refused("carried-out", "Carried out already", detail)
            }
            None => {
                let (request, carried) = (*request, Carried::UnderWay);
                kept.by_key.insert(key.clone(), Entry { request, carried });
                Ok(Claim {
                    answers: self.clone(),
                    request: asked.clone(),
                })
            }
        }
    }
}

impl Claim {
    /// Keeps the answer; the oldest one makes room.
    fn answered(self, status: StatusCode, headers: HeaderMap, body: Bytes) {
        let mut kept = self.answers.lock();
        if let Some(entry) = kept.by_key.get_mut(&self.request.key) {
            entry.carried = Carried::Answered(status, headers, body);
        }
        kept.order.push_back(self.request.key.clone());
        if kept.order.len() > ANSWERS_KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_key.remove(&oldest);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut kept = self.answers.lock();
        let entry = kept.by_key.get(&self.request.key);
        if entry.is_some_and(|entry| matches!(entry.carried, Carried::UnderWay)) {
            kept.by_key.remove(&self.request.key);
        }
    }
}

/// An answer as it is stored.
fn written(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Answer {
    let text = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    Answer {
        status: status.as_u16(),
        headers: headers.iter().filter_map(text).collect(),
        body: body.to_vec(),
    }
}

/// A stored answer as it is given; nothing if it is none.
fn read(answer: Answer) -> Option<Carried> {
    let header = |(name, value): (String, String)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?));
    let headers = answer.headers.into_iter().map(header).collect::<Option<HeaderMap>>()?;
    Some(Carried::Answered(
        StatusCode::from_u16(answer.status).ok()?,
        headers,
        answer.body.into(),
    ))
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
    let asked = KeyedRequest {
        key,
        request: hash.finalize().into(),
    };
    let claim = api.answers.claim(&asked).map_err(|answer| *answer)?;
    let carried_out = next.run(Request::from_parts(parts, Body::from(body)));
    let answer = CARRIED_OUT.scope(asked.clone(), carried_out).await;
    if answer.status().is_server_error() {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    if body.len() <= ANSWER_MAX_BYTES {
        let stored = StoredAnswer {
            to: asked,
            answer: Some(written(parts.status, &parts.headers, &body)),
        };
        // A core that is gone remembers nothing; what was asked for stands all the same.
        let _remembered = api.core.remember(stored).await;
        claim.answered(parts.status, parts.headers.clone(), body.clone());
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str, request: u8) -> KeyedRequest {
        KeyedRequest {
            key: key.to_owned(),
            request: [request; 32],
        }
    }

    #[test]
    fn a_key_is_held_until_its_answer_and_let_go_without_one() {
        let answers = Answers::default();
        let claim = answers.claim(&asked("k", 1)).ok().unwrap();
        assert_eq!(answers.claim(&asked("k", 1)).err().unwrap().status(), StatusCode::CONFLICT);
        drop(claim);
        let claim = answers.claim(&asked("k", 1)).ok().unwrap();
        claim.answered(StatusCode::CREATED, HeaderMap::new(), Bytes::from_static(b"{}"));
        let again = answers.claim(&asked("k", 1)).err().unwrap();
        assert_eq!(
            (again.status(), &again.headers()[REPLAYED]),
            (StatusCode::CREATED, &HeaderValue::from_static("true"))
        );
        let other = answers.claim(&asked("k", 2)).err().unwrap();
        assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn what_was_stored_is_answered_and_an_answer_that_never_came_is_not_made_up() {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("etag"), HeaderValue::from_static("\"7\""))]);
        let answer = Some(written(StatusCode::CREATED, &headers, &Bytes::from_static(b"{}")));
        let stored = [("answered", answer), ("cut off", None)].map(|(key, answer)| StoredAnswer {
            to: asked(key, 1),
            answer,
        });
        let answers = Answers::restored(stored.into());
        let again = answers.claim(&asked("answered", 1)).err().unwrap();
        assert_eq!(
            (again.status(), &again.headers()["etag"]),
            (StatusCode::CREATED, &"\"7\"".parse().unwrap())
        );
        assert_eq!(
            answers.claim(&asked("cut off", 1)).err().unwrap().status(),
            StatusCode::CONFLICT
        );
        let other = answers.claim(&asked("cut off", 2)).err().unwrap();
        assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
