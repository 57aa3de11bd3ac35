//! Serving every listener until the agent stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::{Request, Status};

use super::Address;
use super::accept::{Peer, incoming};
use super::listen::Listener;
use super::proto;
use super::service::Service;
use crate::answers::Answers;

/// Why serving ended although nobody asked for it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener failed.
    #[error("gRPC on {address} ended: {source}")]
    Transport {
        /// The listener's address.
        address: Address,
        /// What the server said.
        source: tonic::transport::Error,
    },
    /// The descriptors that reflection answers from cannot be read.
    #[error("gRPC reflection cannot be set up: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Streams that one connection may have open: a client needs one or two.
const STREAMS_PER_CONNECTION: u32 = 16;
/// Bytes that may be on the way to a client that does not take them, on a stream and on all of a connection.
const WINDOWS: (u32, u32) = (64 * 1024, 128 * 1024);
/// Bytes of a question, and of the headers before it.
const QUESTION: usize = 64 * 1024;
const HEADERS: u32 = 16 * 1024;
/// Streams that a client may open and reset again before they were looked at.
const RESETS: usize = 32;
/// How long a client may be silent before it is asked whether it is there, and how long it may take to say so.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How long clients may take to let go when the agent stops.
const GRACE: Duration = Duration::from_secs(1);

/// Serves `answers` on all listeners, with health and reflection beside, until `stop` becomes true (or its sender is
/// gone). Open streams are ended then, and the files of Unix sockets removed.
///
/// # Errors
///
/// A listener failed; the others are stopped too.
pub async fn serve<A: Answers>(
    listeners: Vec<Listener>,
    answers: Arc<A>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<proto::egress_agent_server::EgressAgentServer<Service<A>>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut tasks = JoinSet::new();
    for Listener { address, socket, tls } in listeners {
        let service = Service::new(Arc::clone(&answers), stop.clone());
        let agent =
            proto::egress_agent_server::EgressAgentServer::new(service).max_decoding_message_size(QUESTION);
        let allowed: Arc<[String]> = tls.as_ref().map_or(&[][..], |tls| tls.allowed()).into();
        let router = limited(Server::builder())
            .layer(InterceptorLayer::new(move |request: Request<()>| admit(request, &allowed)))
            .add_service(agent)
            .add_service(health_service.clone())
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        let mut stop = stop.clone();
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tasks.spawn(async move {
            let follow = tls.clone();
            let served = router.serve_with_incoming_shutdown(incoming(socket, tls), stopped);
            let served = match follow {
                None => served.await,
                Some(tls) => tokio::select! {
                    served = served => served,
                    () = tls.follow() => Ok(()),
                },
            };
            served.map_err(|source| ServeError::Transport { address, source })
        });
    }
    let overdue = async move {
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = all(&mut tasks) => ended?,
        () = overdue => {}
    }
    tasks.shutdown().await;
    Ok(())
}

/// What one client can cost.
fn limited(server: Server) -> Server {
    server
        .max_concurrent_streams(Some(STREAMS_PER_CONNECTION))
        .initial_stream_window_size(Some(WINDOWS.0))
        .initial_connection_window_size(Some(WINDOWS.1))
        .http2_max_header_list_size(Some(HEADERS))
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_keepalive_interval(Some(ALIVE.0))
        .http2_keepalive_timeout(Some(ALIVE.1))
}

/// Lets a question through, if whoever asks may.
fn admit(request: Request<()>, allowed: &[String]) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<Peer>();
    let Some(names) = peer.and_then(|peer| peer.names.clone()) else { return Ok(request) };
    if allowed.is_empty() || names.iter().any(|name| allowed.contains(name)) {
        return Ok(request);
    }
    let names = if names.is_empty() { "a client without a name".to_owned() } else { names.join(", ") };
    Err(Status::permission_denied(format!("{names} may not ask this agent (--grpc-allow-client)")))
}

/// Waits for every listener, or for the first failure.
async fn all(tasks: &mut JoinSet<Result<(), ServeError>>) -> Result<(), ServeError> {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(served) => served?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    Ok(())
}
