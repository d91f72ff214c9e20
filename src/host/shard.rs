//! A shard: a thread with its own runtime that accepts and serves connections of devices, MQTT and image requests alike.
//!
//! Every shard accepts from the same listeners, through a descriptor of its own; a connection stays on the shard that accepted it.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::converse;
use super::core_thread::CoreHandle;
use super::doors::Opened;
use super::gate::{Gate, ImageBody, Pass};
use super::images::serve_image;
use super::{http, listen};
use crate::server::{ConnectionId, Door, Refusal};

/// What a shard serves.
#[derive(Clone)]
pub(crate) struct Shard {
    /// TLS for both listeners; plain text without.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// The way to the core.
    pub(crate) core: CoreHandle,
    /// Who may come in.
    pub(crate) gate: Gate,
    /// Connections opened so far, over all shards.
    pub(crate) opened: Arc<AtomicU64>,
}

impl Shard {
    /// Serves for ever.
    ///
    /// # Errors
    /// If a listener cannot be used by this thread's runtime.
    pub(crate) async fn serve(self, mqtt: TcpListener, images: TcpListener, opened: Opened) -> io::Result<Infallible> {
        let (to_mqtt, to_images) = (|| self.gate.enter(Door::Mqtt), || self.gate.enter(Door::Images));
        tokio::try_join!(
            listen::accept(mqtt, opened.clone(), "mqtt", to_mqtt, |stream, pass| self
                .spawn_mqtt(stream, pass)),
            listen::accept(images, opened.clone(), "images", to_images, |stream, pass| self
                .spawn_images(stream, pass)),
        )
        .map(|(never, _)| never)
    }

    fn spawn_mqtt(&self, stream: TcpStream, pass: Pass) {
        let id = ConnectionId(self.opened.fetch_add(1, Ordering::Relaxed) + 1);
        let core = self.core.clone();
        match self.tls.clone() {
            None => drop(tokio::spawn(converse(stream, id, core, pass))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Some(stream) = Box::pin(handshake(tls, stream, pass.gate())).await {
                    converse(stream, id, core, pass).await;
                }
            })),
        }
    }

    fn spawn_images(&self, stream: TcpStream, pass: Pass) {
        let (core, gate) = (self.core.clone(), self.gate.clone());
        let service = service_fn(move |request: Request<Incoming>| -> ImageFuture {
            Box::pin(serve_image(core.clone(), gate.clone(), request))
        });
        match self.tls.clone() {
            None => drop(tokio::spawn(async move {
                unless_outage(pass.gate(), http::answer(stream, service, pass.gate())).await;
            })),
            Some(tls) => drop(tokio::spawn(async move {
                if let Some(stream) = Box::pin(handshake(tls, stream, pass.gate())).await {
                    unless_outage(pass.gate(), http::answer(stream, service, pass.gate())).await;
                }
            })),
        }
    }
}

type ImageFuture = std::pin::Pin<Box<dyn Future<Output = Result<Response<ImageBody>, Infallible>> + Send>>;

/// Serves until that is done, or nobody is to be served any more.
async fn unless_outage(gate: &Gate, serving: impl Future<Output = ()>) {
    tokio::select! {
        () = serving => {}
        () = gate.outage() => {}
    }
}

/// Carries the TLS handshake out; nothing if the client does not, in time. The stream is boxed, for it is most of a connection.
pub(crate) async fn handshake(tls: Arc<ServerConfig>, stream: TcpStream, gate: &Gate) -> Option<Box<TlsStream<TcpStream>>> {
    let accepted = tokio::time::timeout(gate.limits().handshake, TlsAcceptor::from(tls).accept(stream)).await;
    match accepted {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(_)) | Err(_) => {
            gate.put_out(Refusal::Handshake);
            None
        }
    }
}
