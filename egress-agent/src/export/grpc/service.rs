//! The methods of `EgressAgent`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use egress_core::cluster::PodRef;
use egress_core::history::{Filter, PodFilter};
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::convert;
use super::proto;
use super::proto::query_response::Message;
use crate::answers::{Answers, ExplainError};
use crate::status::AgentStatus;

/// Messages made ready for one following client; beyond that it falls behind in the broadcast channel.
const READY: usize = 16;

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
        let anything = Filter { pods: filter.pods.clone(), ..Filter::default() };
        if !self.answers.query(&anything).is_empty() || self.answers.knows_pod(pod.clone()).await {
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
        let filter = convert::filter_from_proto(request, now())?;
        let watched = Message::Watched(Box::new(convert::status_to_proto(&self.status().await?)));
        let (verdicts, receiver) = if follow {
            let (verdicts, receiver) = self.answers.follow(&filter);
            (verdicts, Some(receiver))
        } else {
            (self.answers.query(&filter), None)
        };
        if verdicts.is_empty() {
            self.refuse_unknown_pod(&filter).await?;
        }
        let held = verdicts
            .into_iter()
            .map(|verdict| Message::Verdict(Box::new(convert::verdict_to_proto(&verdict))));
        let held =
            tokio_stream::iter(std::iter::once(watched).chain(held)).map(|message| Ok(response(message)));
        let Some(receiver) = receiver else { return Ok(Response::new(Box::pin(held))) };
        let end = tokio_stream::once(Ok(response(Message::EndOfHistory(proto::EndOfHistory {}))));
        let (sender, ready) = mpsc::channel(READY);
        let answers = Arc::clone(&self.answers);
        tokio::spawn(forward(receiver, filter, answers, sender, self.stop.clone()));
        Ok(Response::new(Box::pin(held.chain(end).chain(ReceiverStream::new(ready)))))
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

/// Hands new verdicts to one client until it goes or the agent stops. A client that does not read keeps only this
/// task waiting: what it misses meanwhile is counted and told.
async fn forward<A: Answers>(
    mut verdicts: broadcast::Receiver<Arc<Verdict>>,
    filter: Filter,
    answers: Arc<A>,
    client: mpsc::Sender<Result<proto::QueryResponse, Status>>,
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
