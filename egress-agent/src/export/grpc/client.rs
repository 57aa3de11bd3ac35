//! The client side: one agent, asked over its Unix socket or a port.

use std::error::Error as _;
use std::time::Duration;

use egress_core::history::{PodFilter, ToFilter};
use egress_core::verdict::{Cause, Verdict};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status, Streaming};

use super::proto::egress_agent_client::EgressAgentClient;
use super::proto::query_response::Message;
use super::{Address, ClientTls, ConvertError, convert, proto};
use crate::answers::{ExplainRequest, Explanation};
use crate::status::AgentStatus;

/// How long an agent may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// A connection to one agent.
#[derive(Clone, Debug)]
pub struct AgentClient {
    inner: EgressAgentClient<Channel>,
    place: String,
}

/// Why an agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the address, or the connection broke.
    #[error("cannot reach the agent at {address}: {why}")]
    Unreachable {
        /// Where it is asked.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The pod asked for is not known.
    #[error("{0}")]
    NotFound(String),
    /// The agent does not accept the question.
    #[error("the agent does not accept the question: {0}")]
    Invalid(String),
    /// The agent could not answer.
    #[error("the agent at {address} failed: {why}")]
    Failed {
        /// Where it was asked.
        address: String,
        /// What the agent said.
        why: String,
    },
    /// The agent's answer is not what the interface says.
    #[error(transparent)]
    Malformed(#[from] ConvertError),
}

/// What is asked of `Query`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryOptions {
    /// Of which pods.
    pub pods: PodFilter,
    /// Last seen within this time.
    pub since: Option<Duration>,
    /// Any of these causes; empty: every cause.
    pub causes: Vec<Cause>,
    /// Towards this peer.
    pub to: Option<ToFilter>,
    /// Go on with verdicts as they are made and revised.
    pub follow: bool,
    /// So many of the most recently seen at most.
    pub limit: Option<u32>,
}

/// One message of the answer to `Query`.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryMessage {
    /// What was watched; first, once.
    Watched(Box<AgentStatus>),
    /// A verdict, new or revised.
    Verdict(Box<Verdict>),
    /// Following: what comes after this is new.
    EndOfHistory,
    /// Following: so many verdicts were passed over because this client was too slow.
    Lagged(u64),
}

/// The answer to `Query` as it comes in.
#[derive(Debug)]
pub struct QueryMessages {
    stream: Streaming<proto::QueryResponse>,
    place: String,
}

impl AgentClient {
    /// Connects to an agent.
    ///
    /// # Errors
    ///
    /// Nobody answers there.
    pub async fn connect(address: &Address) -> Result<Self, ClientError> {
        Self::connect_with(address, None).await
    }

    /// Connects to an agent; over TLS to a port, if there is something to know of it.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or it is not who it should be.
    pub async fn connect_with(address: &Address, tls: Option<&ClientTls>) -> Result<Self, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable { address: address.to_string(), why };
        // The authority is a formality: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://egress-agent").connect_timeout(CONNECT);
        let (target, tls) = (address.clone(), tls.cloned());
        let connector = tower::service_fn(move |_: Uri| {
            let (target, tls) = (target.clone(), tls.clone());
            async move { dial(&target, tls.as_ref()).await.map(TokioIo::new) }
        });
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| unreachable(innermost(&error)))?;
        Ok(Self { inner: EgressAgentClient::new(channel), place: address.to_string() })
    }

    /// An agent at the other end of a stream that was made already; `place` says in words where that is.
    ///
    /// # Errors
    ///
    /// Nobody answers there.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        place: String,
    ) -> Result<Self, ClientError> {
        // There is the one stream: a second connection cannot be had.
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
            std::future::ready(stream)
        });
        let endpoint = Endpoint::from_static("http://egress-agent").connect_timeout(CONNECT);
        let connected = endpoint.connect_with_connector(connector).await;
        let channel = connected
            .map_err(|error| ClientError::Unreachable { address: place.clone(), why: innermost(&error) })?;
        Ok(Self { inner: EgressAgentClient::new(channel), place })
    }

    /// Asks for verdicts.
    ///
    /// # Errors
    ///
    /// The pod is not known, the question is not accepted, or the agent does not answer.
    pub async fn query(&mut self, options: &QueryOptions) -> Result<QueryMessages, ClientError> {
        let response = self.inner.query(convert::query_to_proto(options)).await;
        let stream = response.map_err(|status| from_status(status, &self.place))?.into_inner();
        Ok(QueryMessages { stream, place: self.place.clone() })
    }

    /// Asks what the policies say of a connection.
    ///
    /// # Errors
    ///
    /// An end is not known, the question is not accepted, or the agent does not answer.
    pub async fn explain(&mut self, request: &ExplainRequest) -> Result<Explanation, ClientError> {
        let response = self.inner.explain(convert::explain_request_to_proto(request)).await;
        let response = response.map_err(|status| from_status(status, &self.place))?;
        Ok(convert::explanation_from_proto(response.into_inner())?)
    }

    /// Asks what the agent sees.
    ///
    /// # Errors
    ///
    /// The agent does not answer.
    pub async fn status(&mut self) -> Result<AgentStatus, ClientError> {
        let response = self.inner.get_status(proto::GetStatusRequest {}).await;
        let response = response.map_err(|status| from_status(status, &self.place))?;
        Ok(convert::status_from_proto(response.into_inner()))
    }
}

impl QueryMessages {
    /// The next message; `None` when the answer is complete.
    ///
    /// # Errors
    ///
    /// The connection broke, the agent stopped, or the message makes no sense.
    pub async fn next(&mut self) -> Result<Option<QueryMessage>, ClientError> {
        loop {
            let next = self.stream.message().await.map_err(|status| from_status(status, &self.place))?;
            let Some(response) = next else { return Ok(None) };
            return Ok(Some(match response.message {
                Some(Message::Watched(status)) => {
                    QueryMessage::Watched(Box::new(convert::status_from_proto(*status)))
                }
                Some(Message::Verdict(verdict)) => {
                    QueryMessage::Verdict(Box::new(convert::verdict_from_proto(*verdict)?))
                }
                Some(Message::EndOfHistory(_)) => QueryMessage::EndOfHistory,
                Some(Message::Lagged(lagged)) => QueryMessage::Lagged(lagged.missed),
                // A kind of message that this client does not know.
                None => continue,
            }));
        }
    }
}

fn from_status(status: Status, place: &str) -> ClientError {
    let why = status.message().to_owned();
    match status.code() {
        Code::NotFound => ClientError::NotFound(why),
        Code::InvalidArgument => ClientError::Invalid(why),
        Code::Unavailable => {
            let why = status.source().map_or(why, innermost);
            ClientError::Unreachable { address: place.to_owned(), why }
        }
        code => {
            let why = if why.is_empty() { code.description().to_owned() } else { why };
            ClientError::Failed { address: place.to_owned(), why }
        }
    }
}

/// The error that started it: `No such file or directory`, not "transport error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Any kind of connection.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn dial(address: &Address, tls: Option<&ClientTls>) -> std::io::Result<Box<dyn Io>> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Address::Tcp { host, port } => (host, *port),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.clone()).map_err(std::io::Error::other)?,
    };
    Ok(Box::new(TlsConnector::from(tls.config.clone()).connect(name, stream).await?))
}
