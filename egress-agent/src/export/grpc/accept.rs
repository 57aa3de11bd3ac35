//! Connections as they come in: so many at a time, each soon with something to say, over TLS where that is asked for.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::handshakes::Handshakes;
use super::listen::Socket;
use super::tls::{self, ServerTls};

/// Connections of one listener at a time; who comes later waits.
const CONNECTIONS: usize = 64;
/// How long a client may take to shake hands, and then to say the first word.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection, which it does while descriptors are short.
const REFUSED: Duration = Duration::from_millis(100);

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// The names in its certificate, where it had to show one.
    pub(super) names: Option<Arc<Vec<String>>>,
}

/// A connection that was taken.
pub(super) struct Connection {
    io: Box<dyn Stream>,
    peer: Peer,
    /// Until the first word.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The connections of a socket, until the stream is dropped.
pub(super) fn incoming(
    socket: Socket,
    tls: Option<Arc<ServerTls>>,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let ended = sender.clone();
        tokio::select! {
            () = accept(&socket, tls, sender) => {}
            () = ended.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

/// Takes connections. Where nobody has to show who they are, a connection has a place before it is taken; over TLS only
/// after that, because strangers may come in any number.
async fn accept(socket: &Socket, tls: Option<Arc<ServerTls>>, sender: mpsc::Sender<io::Result<Connection>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut handshakes = Handshakes::default();
    loop {
        let place = match &tls {
            Some(_) => None,
            None => Arc::clone(&places).acquire_owned().await.ok(),
        };
        let stream = match socket.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!("a gRPC connection was not taken: {error}");
                sleep(REFUSED).await;
                continue;
            }
        };
        let io: Box<dyn Stream> = match (stream, &tls) {
            (Accepted::Tcp(stream, from), Some(tls)) => {
                let shaken = shake_hands(TlsAcceptor::from(tls.config()), stream, Arc::clone(&places));
                let sender = sender.clone();
                handshakes.begin(from.ip(), async move {
                    match timeout(PATIENCE, shaken).await {
                        // The server may have ended.
                        Ok(Ok(connection)) => drop(sender.send(Ok(connection)).await),
                        Ok(Err(error)) => tracing::debug!("a client without TLS as it should be: {error}"),
                        Err(_) => tracing::debug!("a client that does not shake hands"),
                    }
                });
                continue;
            }
            (Accepted::Tcp(stream, _), None) => Box::new(stream),
            (Accepted::Unix(stream), _) => Box::new(stream),
        };
        let Some(place) = place else { return };
        if sender.send(Ok(Connection::new(io, Peer::default(), place))).await.is_err() {
            return;
        }
    }
}

/// What a socket gave.
pub(super) enum Accepted {
    /// Of a Unix socket.
    Unix(tokio::net::UnixStream),
    /// Of a port, and who is at the other end.
    Tcp(TcpStream, SocketAddr),
}

/// A connection whose other end has shown a certificate of the authority, once there is a place for it.
async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    places: Arc<Semaphore>,
) -> io::Result<Connection> {
    let stream = acceptor.accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates();
    let names = certificates.and_then(<[_]>::first).map(|own| tls::names(own)).unwrap_or_default();
    let place = places.acquire_owned().await.map_err(io::Error::other)?;
    Ok(Connection::new(Box::new(stream), Peer { names: Some(Arc::new(names)) }, place))
}

impl Connection {
    fn new(io: Box<dyn Stream>, peer: Peer, place: OwnedSemaphorePermit) -> Self {
        Self { io, peer, deadline: Some(Box::pin(sleep(PATIENCE))), _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.deadline = None;
        } else if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
