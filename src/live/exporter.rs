//! Serves a run's live figures over HTTP: `GET /metrics`, on a thread of its own.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::play::{Ask, Picture, Viewer};

/// How often the figures are made anew.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a scraper may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

type Page = Arc<Mutex<Bytes>>;

/// Listens at `address`; gives the viewer that feeds what is served, and the address, with the port that was free where none was
/// named. `text` makes the page. What is served ends with the process.
///
/// # Errors
/// When nothing can listen there.
pub fn export(address: SocketAddr, text: fn(&Picture) -> String) -> io::Result<(Viewer, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let page = Page::default();
    let served = Arc::clone(&page);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || runtime.block_on(serve(listener, served)))?;
    let (sender, pictures) = sync_channel::<Picture>(1);
    std::thread::Builder::new().name("metrics-text".to_owned()).spawn(move || {
        while let Ok(picture) = pictures.recv() {
            *page.lock().unwrap_or_else(PoisonError::into_inner) = text(&picture).into();
        }
    })?;
    let viewer = Viewer {
        period: PERIOD,
        ask: Arc::new(Mutex::new(Ask::default())),
        pictures: sender,
    };
    Ok((viewer, bound))
}

async fn serve(listener: TcpListener, page: Page) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    // One after the other: a scraper is one program that asks now and then, and none can make the run carry many.
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(PATIENCE).await;
            continue;
        };
        let answer = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &page))));
        let talk = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .serve_connection(TokioIo::new(socket), answer);
        // A scraper that goes away in the middle is its own affair.
        drop(tokio::time::timeout(PATIENCE, talk).await);
    }
}

fn answer<B>(request: &Request<B>, page: &Page) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, page.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"GET alone\n")),
        _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"figures are at /metrics\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
