//! Images over HTTP: the core decides (design decision 12), this writes its answer. Bodies are slices of the stored image.

use std::convert::Infallible;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};

use super::core_thread::{CoreHandle, Message};
use super::gate::{Gate, ImageBody};
use super::judge::SeenRequest;
use crate::wire::{ImageAnswer, ImageRequest};

/// Answers one request for an image.
pub(crate) async fn serve_image(
    core: CoreHandle,
    gate: Gate,
    request: Request<Incoming>,
) -> Result<Response<ImageBody>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(with_header(empty(StatusCode::METHOD_NOT_ALLOWED), ALLOW, "GET, HEAD"));
    }
    let head_only = request.method() == Method::HEAD;
    let path = request
        .uri()
        .path_and_query()
        .map_or_else(|| "/".to_owned(), ToString::to_string);
    let authorization = text_of(&request, &AUTHORIZATION);
    let range = text_of(&request, &RANGE);
    let seen = core.is_judged().then(|| (path.clone(), authorization.clone(), range.clone()));
    let answer = core
        .look(move |server| {
            server.serve_image(&ImageRequest {
                path: &path,
                authorization: authorization.as_deref(),
                range: range.as_deref(),
            })
        })
        .await;
    if let (Some((path, authorization, range)), Ok(answer)) = (seen, &answer) {
        let request = Box::new(SeenRequest {
            path,
            authorization,
            range,
            answer: answer.clone(),
        });
        // With the core gone, the answer below says so.
        let _core_gone = core.tell(Message::Requested(request)).await;
    }
    Ok(match answer {
        // Hyper leaves the body of an answer to HEAD out, so nothing of it is counted.
        Ok(answer) if head_only => written(answer, ImageBody::whole),
        Ok(answer) => {
            let (answer, body) = gate.answer(answer);
            written(answer, |_| body)
        }
        Err(_core_gone) => empty(StatusCode::SERVICE_UNAVAILABLE),
    })
}

/// A header's value; what is not text is read as an empty one, hence refused where it matters.
fn text_of(request: &Request<Incoming>, name: &HeaderName) -> Option<String> {
    request
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap_or_default().to_owned())
}

fn written(mut answer: ImageAnswer, body: impl FnOnce(Bytes) -> ImageBody) -> Response<ImageBody> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = empty(status);
    if status.is_success() {
        response = with_header(response, CONTENT_TYPE, "application/octet-stream");
        response = with_header(response, ACCEPT_RANGES, "bytes");
    }
    if status == StatusCode::UNAUTHORIZED {
        response = with_header(response, WWW_AUTHENTICATE, "OtaSecret");
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response = with_header(response, RETRY_AFTER, "1");
    }
    if let Some(part) = answer.content_range {
        response = with_header(
            response,
            CONTENT_RANGE,
            &format!("bytes {}-{}/{}", part.first, part.last, part.total),
        );
    }
    if let Some(total) = answer.unsatisfied_total {
        response = with_header(response, CONTENT_RANGE, &format!("bytes */{total}"));
    }
    *response.body_mut() = body(std::mem::take(&mut answer.body));
    response
}

fn empty(status: StatusCode) -> Response<ImageBody> {
    let mut response = Response::new(ImageBody::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn with_header(mut response: Response<ImageBody>, name: HeaderName, value: &str) -> Response<ImageBody> {
    let value = value.parse().expect("digits and plain words make a header value");
    response.headers_mut().insert(name, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ContentRange;

    fn answer(status: u16) -> ImageAnswer {
        ImageAnswer {
            status,
            content_range: None,
            unsatisfied_total: None,
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_part_says_which_one_it_is() {
        let content_range = Some(ContentRange {
            first: 3,
            last: 9,
            total: 10,
        });
        let response = written(
            ImageAnswer {
                content_range,
                ..answer(206)
            },
            ImageBody::whole,
        );
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONTENT_RANGE]),
            (206, &"bytes 3-9/10".parse().unwrap())
        );
        let response = written(
            ImageAnswer {
                unsatisfied_total: Some(10),
                ..answer(416)
            },
            ImageBody::whole,
        );
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONTENT_RANGE]),
            (416, &"bytes */10".parse().unwrap())
        );
    }

    #[test]
    fn a_missing_secret_is_told_how_to_come() {
        assert_eq!(
            written(answer(401), ImageBody::whole).headers()[WWW_AUTHENTICATE],
            "OtaSecret"
        );
        assert!(
            written(answer(403), ImageBody::whole)
                .headers()
                .get(WWW_AUTHENTICATE)
                .is_none()
        );
    }
}
