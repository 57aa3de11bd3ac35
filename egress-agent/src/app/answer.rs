//! The engine as the interfaces ask it.

use std::sync::Arc;

use egress_core::cluster::PodRef;
use egress_core::explain as core;
use egress_core::history::Filter;
use egress_core::identity::ClusterIndex;
use egress_core::verdict::Verdict;
use tokio::sync::{broadcast, oneshot};

use crate::answers::{Answers, ExplainError, ExplainRequest, Explanation, Journal, LocalPod};
use crate::engine::{Message, Outbox};
use crate::status::AgentStatus;

/// Answers from the journal, and from the engine by its mailbox.
#[derive(Debug)]
pub(super) struct EngineAnswers {
    pub(super) journal: Arc<Journal>,
    pub(super) outbox: Outbox,
}

impl EngineAnswers {
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.outbox.send(message(reply));
        answer.await.ok()
    }
}

impl Answers for EngineAnswers {
    fn query(&self, filter: &Filter) -> Vec<Arc<Verdict>> {
        self.journal.query(filter)
    }

    fn follow(&self, filter: &Filter) -> (Vec<Arc<Verdict>>, broadcast::Receiver<Arc<Verdict>>) {
        self.journal.follow(filter)
    }

    fn subscriber_lagged(&self, missed: u64) {
        self.journal.add_missed(missed);
    }

    async fn status(&self) -> Option<AgentStatus> {
        self.ask(Message::Status).await
    }

    async fn knows_pod(&self, pod: PodRef) -> bool {
        self.ask(|reply| Message::KnowsPod(pod, reply)).await.unwrap_or(false)
    }

    async fn local_pods(&self) -> Option<Vec<LocalPod>> {
        self.ask(Message::LocalPods).await
    }

    async fn explain(&self, request: ExplainRequest) -> Result<Explanation, ExplainError> {
        let answer = self.ask(|reply| Message::Explain(Box::new(request), reply)).await;
        answer.ok_or(ExplainError::Stopped)?.map_err(|error| refused(&error))
    }
}

/// What the policies of an index say.
pub(super) fn explain(index: &ClusterIndex, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
    core::explain(index, request).map_err(|error| refused(&error))
}

fn refused(error: &core::ExplainError) -> ExplainError {
    if error.is_not_found() {
        ExplainError::NotFound(error.to_string())
    } else {
        ExplainError::Invalid(error.to_string())
    }
}
