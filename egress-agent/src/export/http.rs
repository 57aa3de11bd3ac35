//! `/metrics`, `/healthz` and `/readyz` over HTTP, and the page for people, if wanted.
//!
//! This port is open to the pods of the node: connections are few, and one that sends nothing is closed.

mod address;

pub use address::{HttpAddress, HttpAddressError};

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use egress_core::time::Timestamp;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::metrics::{Conntrack, Metrics, Readings, plain};
use super::web::{self, Peer};
use crate::answers::Answers;
use crate::status::{AgentStatus, HookState};

/// Connections served at a time.
const CONNECTIONS: usize = 32;
/// How long a client may take to ask.
const HEADERS: Duration = Duration::from_secs(10);
/// How long the engine may take to say how it is.
const ENGINE: Duration = Duration::from_secs(2);

/// What kept HTTP from listening.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics: {why}")]
pub struct HttpError {
    address: HttpAddress,
    why: String,
}

/// A listening HTTP server, not yet serving.
#[derive(Debug)]
pub struct HttpListener(TcpListener);

impl HttpListener {
    /// Takes an address.
    ///
    /// # Errors
    ///
    /// It is taken, or the system refuses it.
    pub async fn bind(address: &HttpAddress) -> Result<Self, HttpError> {
        let bound = match *address {
            HttpAddress::One(at) => TcpListener::bind(at).await,
            // The IPv6 socket takes IPv4 too, where there is IPv6 at all.
            HttpAddress::Any(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
                }
                bound => bound,
            },
        };
        bound.map(Self).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => "the port is taken by another agent or program".to_owned(),
                _ => error.to_string(),
            };
            HttpError { address: address.clone(), why }
        })
    }

    /// The address, with the port the system chose if 0 was asked for.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What the pages are made of.
struct Pages<A> {
    answers: Arc<A>,
    metrics: Arc<Metrics>,
    /// Reads the conntrack table of the node's namespace.
    conntrack: Box<dyn Fn() -> Option<Conntrack> + Send + Sync>,
}

/// Serves until `stop` becomes true (or its sender is gone). `conntrack` reads the table of the node's namespace; it
/// must not block for long. `web` says whether there is a page for people.
pub async fn serve<A: Answers>(
    HttpListener(listener): HttpListener,
    answers: Arc<A>,
    metrics: Arc<Metrics>,
    conntrack: impl Fn() -> Option<Conntrack> + Send + Sync + 'static,
    web: bool,
    mut stop: watch::Receiver<bool>,
) {
    let people = web.then(|| web::routes(Arc::clone(&answers)));
    let pages = Arc::new(Pages { answers, metrics, conntrack: Box::new(conntrack) });
    let router = Router::new()
        .route("/metrics", get(metrics_page::<A>))
        .route("/healthz", get(healthz::<A>))
        .route("/readyz", get(readyz::<A>))
        .with_state(pages)
        .merge(people.unwrap_or_default());
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stopped = std::pin::pin!(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (stream, Peer(peer), permit))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = &mut stopped => break,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let told = move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(peer);
                    request
                };
                let service = TowerToHyperService::new(router.clone().map_request(told));
                let builder = builder.clone();
                connections.spawn(async move {
                    // A client that breaks off is no concern of ours.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    drop(permit);
                });
            }
            // Out of file descriptors, or the client is gone already: neither ends the server.
            Err(error) => {
                tracing::warn!("metrics: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
}

async fn metrics_page<A: Answers>(State(pages): State<Arc<Pages<A>>>, request: HeaderMap) -> Response {
    let status = match status(&*pages.answers).await {
        Ok(status) => status,
        Err(refusal) => return refusal,
    };
    let readings = Readings { status, conntrack: (pages.conntrack)(), wall: now() };
    let accept = request.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    match pages.metrics.encode(readings, Instant::now()) {
        Ok(text) if plain::wanted(accept) => {
            ([(header::CONTENT_TYPE, plain::TYPE)], plain::plain(&text)).into_response()
        }
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Alive: the engine answers.
async fn healthz<A: Answers>(State(pages): State<Arc<Pages<A>>>) -> Response {
    match status(&*pages.answers).await {
        Ok(_) => "ok\n".into_response(),
        Err(refusal) => refusal,
    }
}

/// Ready: the cluster has been read once, and a hook is attached.
async fn readyz<A: Answers>(State(pages): State<Arc<Pages<A>>>) -> Response {
    let status = match status(&*pages.answers).await {
        Ok(status) => status,
        Err(refusal) => return refusal,
    };
    let mut missing = Vec::new();
    if status.policies_as_of.is_empty() {
        missing.push("the cluster's objects have not been read completely yet\n");
    }
    if !status.hooks.iter().any(|hook| hook.state != HookState::Refused) {
        missing.push("no hook is attached\n");
    }
    match missing.is_empty() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, missing.concat()).into_response(),
    }
}

async fn status<A: Answers>(answers: &A) -> Result<AgentStatus, Response> {
    let late = || (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n").into_response();
    tokio::time::timeout(ENGINE, answers.status()).await.ok().flatten().ok_or_else(late)
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
