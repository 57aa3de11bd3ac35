//! The methods of `EgressAgent`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use egress_core::cluster::PodRef;
use egress_core::history::{Filter, PodFilter};
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert;
use super::proto;
use super::proto::query_response::Message;
use crate::answers::{Answers, ExplainError, Search};
use crate::status::AgentStatus;

/// Messages made ready for one client. Beyond that its history waits on disk, and what it follows falls behind in the
/// broadcast channel.
const READY: usize = 4;
/// Verdicts taken from the history at a time.
const PAGE: usize = 64;
/// How long a client may take nothing of its history.
const PATIENCE: Duration = Duration::from_secs(30);

/// The way to one client.
type Client = mpsc::Sender<Result<proto::QueryResponse, Status>>;

/// The gRPC service over an engine.
#[derive(Debug)]
pub(super) struct Service<A> {
    answers: Arc<A>,
    stop: watch::Receiver<bool>,
}

impl<A: Answers> Service<A> {
    pub(super) fn new(answers: Arc<A>, stop: watch::Receiver<bool>) -> Self {
        Self { answers, stop }
    }

    async fn status(&self) -> Result<AgentStatus, Status> {
        let status = self.answers.status().await;
        status.ok_or_else(|| Status::unavailable(ExplainError::Stopped.to_string()))
    }

    /// One pod is asked for, there is nothing about it, and the cluster does not have it either.
    async fn refuse_unknown_pod(&self, filter: &Filter) -> Result<(), Status> {
        let PodFilter::Pod(pod) = &filter.pods else { return Ok(()) };
        if self.answers.knows_pod(pod.clone()).await {
            return Ok(());
        }
        let PodRef { namespace, name } = pod;
        Err(Status::not_found(format!(
            "no pod {namespace}/{name}: neither the history nor the cluster knows it"
        )))
    }
}

type Responses = Pin<Box<dyn Stream<Item = Result<proto::QueryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl<A: Answers> proto::egress_agent_server::EgressAgent for Service<A> {
    type QueryStream = Responses;

    async fn query(
        &self,
        request: Request<proto::QueryRequest>,
    ) -> Result<Response<Self::QueryStream>, Status> {
        let request = request.into_inner();
        let follow = request.follow;
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let filter = convert::filter_from_proto(request, now())?;
        let watched = convert::status_to_proto(&self.status().await?);
        let (mut search, verdicts) = if follow {
            let (search, verdicts) = self.answers.follow(filter.clone());
            (search, Some(verdicts))
        } else {
            (self.answers.search(filter.clone()), None)
        };
        let first = search.next(PAGE.min(limit)).await;
        if first.is_empty() {
            self.refuse_unknown_pod(&filter).await?;
        }
        let (client, ready) = mpsc::channel(READY);
        let answers = Arc::clone(&self.answers);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let sent = async {
                send(&client, Message::Watched(Box::new(watched))).await?;
                send_history(&client, first, search, limit).await
            };
            let (Some(()), Some(verdicts)) = (sent.await, verdicts) else { return };
            if send(&client, Message::EndOfHistory(proto::EndOfHistory {})).await.is_some() {
                forward(verdicts, filter, answers, client, stop).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(ready))))
    }

    async fn explain(
        &self,
        request: Request<proto::ExplainRequest>,
    ) -> Result<Response<proto::ExplainResponse>, Status> {
        let request = convert::explain_request_from_proto(request.into_inner())?;
        match self.answers.explain(request).await {
            Ok(explanation) => Ok(Response::new(convert::explanation_to_proto(&explanation))),
            Err(ExplainError::NotFound(what)) => Err(Status::not_found(what)),
            Err(ExplainError::Invalid(why)) => Err(Status::invalid_argument(why)),
            Err(ExplainError::Failed(why)) => Err(Status::failed_precondition(why)),
            Err(error @ ExplainError::Stopped) => Err(Status::unavailable(error.to_string())),
        }
    }

    async fn get_status(
        &self,
        _request: Request<proto::GetStatusRequest>,
    ) -> Result<Response<proto::GetStatusResponse>, Status> {
        Ok(Response::new(convert::status_to_proto(&self.status().await?)))
    }
}

/// Hands the history to one client, a page at a time. `None`: it has gone, or does not read.
async fn send_history(
    client: &Client,
    mut page: Vec<Arc<Verdict>>,
    mut search: Search,
    limit: usize,
) -> Option<()> {
    let mut left = limit;
    while !page.is_empty() {
        left = left.saturating_sub(page.len());
        for verdict in page {
            send(client, Message::Verdict(Box::new(convert::verdict_to_proto(&verdict)))).await?;
        }
        page = search.next(PAGE.min(left)).await;
    }
    Some(())
}

/// Hands over one message of the history. A client that takes nothing for too long is given up: its stream ends with an
/// error as soon as it reads again.
async fn send(client: &Client, message: Message) -> Option<()> {
    match client.send_timeout(Ok(response(message)), PATIENCE).await {
        Ok(()) => Some(()),
        Err(SendTimeoutError::Closed(_)) => None,
        Err(SendTimeoutError::Timeout(_)) => {
            tracing::debug!("a client that does not read is given up");
            None
        }
    }
}

/// Hands new verdicts to one client until it goes or the agent stops. A client that does not read keeps only this
/// task waiting: what it misses meanwhile is counted and told.
async fn forward<A: Answers>(
    mut verdicts: broadcast::Receiver<Arc<Verdict>>,
    filter: Filter,
    answers: Arc<A>,
    client: Client,
    mut stop: watch::Receiver<bool>,
) {
    let mut stopped = std::pin::pin!(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    loop {
        let received = tokio::select! {
            received = verdicts.recv() => received,
            () = client.closed() => return,
            () = &mut stopped => Err(RecvError::Closed),
        };
        let message = match received {
            Ok(verdict) if filter.matches(&verdict) => {
                Message::Verdict(Box::new(convert::verdict_to_proto(&verdict)))
            }
            Ok(_) => continue,
            Err(RecvError::Lagged(missed)) => {
                answers.subscriber_lagged(missed);
                Message::Lagged(proto::Lagged { missed })
            }
            Err(RecvError::Closed) => {
                // Who is not ready to be told finds the stream at its end.
                let _ = client.try_send(Err(Status::unavailable("the agent is stopping")));
                return;
            }
        };
        let sent = tokio::select! {
            // What can be handed over still is.
            biased;
            sent = client.send(Ok(response(message))) => sent.is_ok(),
            () = &mut stopped => false,
        };
        if !sent {
            return;
        }
    }
}

fn response(message: Message) -> proto::QueryResponse {
    proto::QueryResponse { message: Some(message) }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
