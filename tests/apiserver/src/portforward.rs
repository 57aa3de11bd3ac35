//! `pods/portforward` over WebSocket, with the channels of `v4.channel.k8s.io`: two for each port, data and error,
//! each beginning with the port's number (`pkg/kubelet/kubelet/portforward/websocket.go`).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::{self, Message, protocol::Role};

use crate::request::Call;
use crate::status::Refusal;

/// Subprotocols that carry the channels, in the order in which they are preferred.
const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io", "portforward.k8s.io"];

/// Where a port of a pod really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Ports of pods, by namespace, pod and port.
#[derive(Debug, Default)]
pub(crate) struct Targets(Mutex<BTreeMap<(String, String, u16), Target>>);

impl Targets {
    pub(crate) fn insert(&self, namespace: &str, pod: &str, port: u16, target: Target) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((namespace.to_owned(), pod.to_owned(), port), target);
    }

    pub(crate) fn remove(&self, namespace: &str, pod: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(held_namespace, held, _), _| {
            (held_namespace.as_str(), held.as_str()) != (namespace, pod)
        });
    }

    fn get(&self, namespace: &str, pod: &str, port: u16) -> Option<Target> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(namespace.to_owned(), pod.to_owned(), port)).cloned()
    }
}

/// What is agreed on with a client that asks for a forward.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) headers: HeaderMap,
    /// In the order of the channels.
    ports: Vec<(u16, Option<Target>)>,
}

/// Checks a request for a forward.
pub(crate) fn accept(targets: &Targets, call: &Call, headers: &HeaderMap) -> Result<Accepted, Refusal> {
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| Refusal::new(400, "Upgrade request required"))?;
    let offered =
        headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let offered: Vec<_> = offered.split(',').map(str::trim).collect();
    let protocol = PROTOCOLS.iter().find(|protocol| offered.contains(protocol));
    let protocol = protocol.ok_or_else(|| Refusal::new(400, "no known WebSocket subprotocol is offered"))?;
    let (namespace, pod) =
        (call.namespace.as_deref().unwrap_or_default(), call.name.as_deref().unwrap_or_default());
    let mut ports = Vec::new();
    for text in call.query.get("ports").unwrap_or_default().split(',') {
        let port = text.parse().map_err(|_| Refusal::new(400, format!("invalid port \"{text}\"")))?;
        ports.push((port, targets.get(namespace, pod, port)));
    }
    let mut headers = HeaderMap::new();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    let answer = derive_accept_key(key.as_bytes()).parse();
    headers.insert(SEC_WEBSOCKET_ACCEPT, answer.map_err(|_| Refusal::new(400, "invalid Sec-WebSocket-Key"))?);
    Ok(Accepted { headers, ports })
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Target {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// Carries bytes both ways until either side ends.
pub(crate) async fn serve(upgraded: Upgraded, accepted: Accepted) -> Result<(), tungstenite::Error> {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut sink, mut stream) = socket.split();
    let (to_client, mut messages) = mpsc::channel::<Message>(16);
    let mut writers = Vec::new();
    for (channel, (port, target)) in (0u8..).step_by(2).zip(accepted.ports) {
        for channel in [channel, channel + 1] {
            sink.send(frame(channel, &port.to_le_bytes())).await?;
        }
        let connected = match &target {
            Some(target) => target.connect().await,
            None => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
        };
        match connected {
            Ok(connection) => {
                let (reader, writer) = tokio::io::split(connection);
                tokio::spawn(from_pod(channel, reader, to_client.clone()));
                writers.push(Some(writer));
            }
            Err(error) => {
                let message =
                    format!("error forwarding port {port} to pod: dial tcp4 127.0.0.1:{port}: {error}");
                sink.send(frame(channel + 1, message.as_bytes())).await?;
                writers.push(None);
            }
        }
    }
    drop(to_client);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => sink.send(message).await?,
                // Every port has ended.
                None => return sink.send(Message::Close(None)).await,
            },
            message = stream.next() => match message.transpose()? {
                Some(Message::Binary(bytes)) => to_pod(&bytes, &mut writers).await,
                Some(Message::Close(_)) | None => return Ok(()),
                Some(_) => {}
            },
        }
    }
}

async fn from_pod(channel: u8, mut reader: ReadHalf<Box<dyn Duplex>>, to_client: mpsc::Sender<Message>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        if to_client.send(frame(channel, &buffer[..read])).await.is_err() {
            return;
        }
    }
}

async fn to_pod(bytes: &Bytes, writers: &mut [Option<WriteHalf<Box<dyn Duplex>>>]) {
    let Some((channel, data)) = bytes.split_first() else { return };
    let Some(slot) = writers.get_mut(usize::from(*channel / 2)).filter(|_| channel % 2 == 0) else { return };
    if let Some(writer) = slot
        && writer.write_all(data).await.is_err()
    {
        *slot = None;
    }
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.into())
}
