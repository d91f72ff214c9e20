//! `GET /v1/events`: the event stream as NDJSON, a line an event, without end. `?after=SEQ` begins behind that event (zero: at the
//! first one); without it the stream begins with what happens next.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::problem::ApiError;
use super::{Api, page};

/// Where the stream is to begin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventQuery {
    after: Option<u64>,
}

/// Follows the events.
pub(crate) async fn follow(State(api): State<Api>, query: Result<Query<EventQuery>, QueryRejection>) -> Result<Response, ApiError> {
    let Query(EventQuery { after }) = query.map_err(|error| page::refused(&error))?;
    let newest = api.events.newest();
    let after = after.unwrap_or(newest);
    if after > newest {
        return Err(ApiError::invalid(
            "after",
            format!("after: {after} lies ahead, the newest event is {newest}"),
        ));
    }
    api.events.behind(after, 0).map_err(|lost| ApiError::from(lost.problem()))?;
    let body = Body::new(Pieces(api.events.stream(after)));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
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
