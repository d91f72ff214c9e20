//! `GET /v1/events`: the event stream without end, as NDJSON, a line an event, or as server-sent events, which resume by
//! `Last-Event-ID`, where `Accept` asks for them. `?after=SEQ` begins behind that event (zero: at the
//! first one); without it the stream begins with what happens next.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::problem::ApiError;
use super::{Api, page};
use crate::host::events::Form;

/// Where the stream is to begin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventQuery {
    after: Option<u64>,
}

/// Follows the events.
pub(crate) async fn follow(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(EventQuery { after }) = query.map_err(|error| page::refused(&error))?;
    let after = match headers.get("last-event-id") {
        Some(last) => Some(number(last)?),
        None => after,
    };
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let form = match accepts.into_iter().any(|accepted| accepted.contains("text/event-stream")) {
        true => Form::ServerSent,
        false => Form::Lines,
    };
    let newest = api.events.newest();
    let after = after.unwrap_or(newest);
    if after > newest {
        return Err(ApiError::invalid(
            "after",
            format!("after: {after} lies ahead, the newest event is {newest}"),
        ));
    }
    api.events.behind(after, 0).map_err(|lost| ApiError::from(lost.problem()))?;
    let body = Body::new(Pieces(api.events.stream(after, form)));
    Ok(([(CONTENT_TYPE, form.media_type())], body).into_response())
}

/// The number of the event that a browser saw last.
fn number(last: &HeaderValue) -> Result<u64, ApiError> {
    let number = last.to_str().ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| ApiError::invalid("Last-Event-ID", "Last-Event-ID: is no number of an event"))
}

/// A body that grows as pieces come.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
