//! The management API: routes of the nouns, who may use them, and how errors are said. What is changed and shown is the core's; this
//! turns JSON into [`AdminAction`]s and views into JSON. The routes are named in the contract's words, plural in the path.

mod body;
mod cohorts;
mod deployments;
mod devices;
mod etag;
mod events;
mod firmware;
mod idempotency;
mod judge;
mod metrics;
mod openapi;
mod page;
mod problem;
mod times;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::sync::watch;

pub(crate) use self::idempotency::Answers;
use self::problem::ApiError;
use super::core_thread::{CoreHandle, Guard};
use super::events::EventLog;
use super::gate::Gate;
use super::judge::Judge;
use super::shard::handshake;
use super::spool::Spool;
use super::{http, listen};
use crate::model::{AdminAction, KeyHash};
use crate::server::Server;

/// What the routes work with.
#[derive(Clone)]
pub(crate) struct Api {
    /// The way to the core.
    pub(crate) core: CoreHandle,
    /// What has happened.
    pub(crate) events: Arc<EventLog>,
    /// Answers to requests with a key.
    pub(crate) answers: Answers,
    /// Where images are received.
    pub(crate) spool: Spool,
    /// Who may use the API.
    pub(crate) token: KeyHash,
    /// Who holds the server and its devices against the rules, if somebody does.
    pub(crate) judge: Option<Judge>,
    /// Who may come in.
    pub(crate) gate: Gate,
}

impl Api {
    /// Serves for ever; over TLS if so.
    ///
    /// # Errors
    /// If the listener cannot be used by this thread's runtime.
    pub(crate) async fn serve(self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<Infallible> {
        let gate = self.gate.clone();
        let service = TowerToHyperService::new(self.routes());
        let admit = || gate.enter_management();
        // This door is never shut.
        let (_, opened) = watch::channel(0);
        listen::accept(listener, opened, "admin", admit, |stream, permit| {
            let (service, gate, tls) = (service.clone(), gate.clone(), tls.clone());
            drop(tokio::spawn(async move {
                let _permit = permit;
                match tls {
                    None => http::answer(stream, service, &gate).await,
                    Some(tls) => {
                        if let Some(stream) = Box::pin(handshake(tls, stream, &gate)).await {
                            http::answer(stream, service, &gate).await;
                        }
                    }
                }
            }));
        })
        .await
    }

    fn routes(self) -> Router {
        let guarded = Router::new()
            .route("/v1/firmware", get(firmware::list).post(firmware::create))
            .route("/v1/firmware/{slug}", get(firmware::show))
            .route(
                "/v1/firmware/{slug}/versions/{version}",
                put(firmware::upload)
                    .get(firmware::show_version)
                    .delete(firmware::delete_version),
            )
            .route("/v1/devices", get(devices::list).post(devices::register))
            .route("/v1/devices/{id}/history", get(devices::history))
            .route("/v1/attempts/{id}", get(deployments::attempt))
            .route("/v1/attempts/{id}/history", get(deployments::attempt_history))
            .route("/v1/devices/{id}", get(devices::show).patch(devices::tag_one))
            .route("/v1/tags", post(devices::tag_many))
            .route("/v1/cohorts", get(cohorts::list).post(cohorts::create))
            .route("/v1/cohorts/{name}", patch(cohorts::change).get(cohorts::show))
            .route("/v1/cohorts/{name}/members", get(cohorts::members))
            .route("/v1/cohorts/{name}/join", post(cohorts::join))
            .route("/v1/cohorts/{name}/leave", post(cohorts::leave))
            .route("/v1/deployments", get(deployments::list).post(deployments::create))
            .route("/v1/deployments/{name}", get(deployments::show))
            .route("/v1/deployments/{name}/attempts", get(deployments::attempts))
            .route("/v1/deployments/{name}/cancel", post(deployments::cancel))
            .route("/v1/deployments/{name}/pause", post(deployments::pause))
            .route("/v1/deployments/{name}/resume", post(deployments::resume))
            .route("/v1/deployments/{name}/retry", post(deployments::retry))
            .route("/v1/events", get(events::follow))
            .route("/v1/judge", get(judge::show))
            .route("/v1/times", get(times::show))
            .route("/metrics", get(metrics::show))
            .fallback(unknown_path)
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn_with_state(self.clone(), idempotency::once))
            .layer(from_fn_with_state(self.clone(), guard));
        Router::new()
            .route("/healthz", get(health))
            .route("/openapi.json", get(openapi::show))
            .merge(guarded)
            .with_state(self)
    }

    async fn change(&self, action: AdminAction) -> Result<(), ApiError> {
        self.change_if(None, action).await
    }

    async fn change_if(&self, guard: Option<Guard>, action: AdminAction) -> Result<(), ApiError> {
        Ok(self.core.change(action, guard, idempotency::key()).await??)
    }

    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Server) -> T + Send + 'static) -> Result<T, ApiError> {
        Ok(self.core.look(look).await?)
    }
}

/// Lets nobody pass without the token.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if token.is_some_and(|(_, token)| api.token.knows(token.trim())) {
        let _under_way = api.gate.begin_request();
        return problem::worded(next.run(request).await).await;
    }
    let mut refused = ApiError::unauthorized().into_response();
    refused
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refused
}

/// Alive if the core answers.
async fn health(State(api): State<Api>) -> Result<&'static str, ApiError> {
    api.look(|_| ()).await?;
    Ok("ok\n")
}

async fn unknown_path(request: Request) -> Result<Infallible, ApiError> {
    let detail = format!("there is nothing at `{}`", request.uri().path());
    Err(ApiError::new(StatusCode::NOT_FOUND, "unknown-path", "No such path", detail))
}

async fn wrong_method(request: Request) -> Result<Infallible, ApiError> {
    let detail = format!("`{}` does not take {}", request.uri().path(), request.method());
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "Method not allowed",
        detail,
    ))
}
