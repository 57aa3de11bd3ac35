//! Serving every listener until the agent stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::Address;
use super::listen::{Listener, Socket};
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
const STREAMS_PER_CONNECTION: u32 = 64;

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
    let agent = proto::egress_agent_server::EgressAgentServer::new(Service::new(answers, stop.clone()));
    let router = |reflection_v1, reflection_v1alpha| {
        Server::builder()
            .max_concurrent_streams(Some(STREAMS_PER_CONNECTION))
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(agent.clone())
            .add_service(health_service.clone())
            .add_service(reflection_v1)
            .add_service(reflection_v1alpha)
    };
    let mut tasks = JoinSet::new();
    for Listener { address, socket } in listeners {
        let router = router(reflection().build_v1()?, reflection().build_v1alpha()?);
        let mut stop = stop.clone();
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tasks.spawn(async move {
            let served = match socket {
                Socket::Unix(listener, _file) => {
                    router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped).await
                }
                Socket::Tcp(listener) => {
                    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
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
