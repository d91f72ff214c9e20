//! A shard: a thread with its own runtime that accepts and serves connections of devices, MQTT and image requests alike.
//!
//! Every shard accepts from the same listeners, through a descriptor of its own; a connection stays on the shard that accepted it.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::converse;
use super::core_thread::CoreHandle;
use super::images::serve_image;
use super::{http, listen};
use crate::server::ConnectionId;

/// How long a client may take for its TLS handshake; devices on slow links need seconds.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a shard serves.
#[derive(Clone)]
pub(crate) struct Shard {
    /// TLS for both listeners; plain text without.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The way to the core.
    pub(crate) core: CoreHandle,
    /// Connections opened so far, over all shards.
    pub(crate) opened: Arc<AtomicU64>,
}

impl Shard {
    /// Serves for ever.
    ///
    /// # Errors
    /// If a listener cannot be used by this thread's runtime.
    pub(crate) async fn serve(self, mqtt: TcpListener, images: TcpListener) -> io::Result<Infallible> {
        let mqtt = tokio::net::TcpListener::from_std(mqtt)?;
        let images = tokio::net::TcpListener::from_std(images)?;
        let accept_mqtt = listen::accept(&mqtt, "mqtt", |stream| self.spawn_mqtt(stream));
        let accept_images = listen::accept(&images, "images", |stream| self.spawn_images(stream));
        tokio::join!(accept_mqtt, accept_images);
        unreachable!("accepting never ends")
    }

    fn spawn_mqtt(&self, stream: TcpStream) {
        let id = ConnectionId(self.opened.fetch_add(1, Ordering::Relaxed) + 1);
        let core = self.core.clone();
        match self.tls.clone() {
            None => drop(tokio::spawn(converse(stream, id, core))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Some(stream) = Box::pin(handshake(tls, stream)).await {
                    converse(stream, id, core).await;
                }
            })),
        }
    }

    fn spawn_images(&self, stream: TcpStream) {
        let core = self.core.clone();
        let service = service_fn(move |request: Request<Incoming>| -> ImageFuture { Box::pin(serve_image(core.clone(), request)) });
        match self.tls.clone() {
            None => drop(tokio::spawn(http::answer(stream, service))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Some(stream) = Box::pin(handshake(tls, stream)).await {
                    http::answer(stream, service).await;
                }
            })),
        }
    }
}

type ImageFuture = std::pin::Pin<Box<dyn Future<Output = Result<Response<http_body_util::Full<bytes::Bytes>>, Infallible>> + Send>>;

/// Carries the TLS handshake out; nothing if the client does not, in time. The stream is boxed, for it is most of a connection.
pub(crate) async fn handshake(tls: Arc<ServerConfig>, stream: TcpStream) -> Option<Box<TlsStream<TcpStream>>> {
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream)).await;
    accepted.ok()?.ok().map(Box::new)
}
