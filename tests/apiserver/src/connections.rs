//! Connections: accepted, served, and broken off when the server is to be out of reach.

use std::io;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::answer::Shared;

/// Serves until `reachable` is dropped. While it is false every connection is reset: the port stays ours, and clients
/// see what they see of a server that is gone.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
    mut reachable: watch::Receiver<bool>,
) {
    let tls = tls.map(TlsAcceptor::from);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                if *reachable.borrow() {
                    connections.spawn(connection(stream, tls.clone(), Arc::clone(&shared)));
                } else {
                    shared.requests.note("connect", "");
                    // Without lingering the close is a reset; where that cannot be had it is an end without an answer.
                    let _ = reset(stream);
                }
            }
            Some(_) = connections.join_next() => {}
            changed = reachable.changed() => {
                if changed.is_err() {
                    return;
                }
                if !*reachable.borrow() {
                    connections.abort_all();
                }
            }
        }
    }
}

fn reset(stream: TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Events are small and must not wait for one another.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match tls {
        None => http(stream, shared).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                http(stream, shared).await;
            }
        }
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, shared: Arc<Shared>) {
    let service = service_fn(move |request| Arc::clone(&shared).answer(request));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // A client that goes in the middle is no matter.
    let _ = served.await;
}
