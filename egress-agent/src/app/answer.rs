//! The engine as the interfaces ask it.

use std::sync::Arc;

use egress_core::cluster::PodRef;
use egress_core::explain as core;
use egress_core::history::Filter;
use egress_core::identity::ClusterIndex;
use egress_core::verdict::Verdict;
use tokio::sync::{broadcast, oneshot};

use super::pace::{Fresh, Pace};
use crate::answers::{Answers, ExplainError, ExplainRequest, Explanation, Journal, LocalPod, Search};
use crate::engine::{Message, Outbox};
use crate::status::AgentStatus;

/// Answers from the journal, and from the engine by its mailbox.
#[derive(Debug)]
pub(super) struct EngineAnswers {
    pub(super) journal: Arc<Journal>,
    pub(super) outbox: Outbox,
    /// Statuses that were asked for.
    pub(super) statuses: Fresh<AgentStatus>,
    /// Other questions.
    pub(super) pace: Pace,
}

impl EngineAnswers {
    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.outbox.send(message(reply));
        answer.await.ok()
    }
}

impl Answers for EngineAnswers {
    fn search(&self, filter: Filter) -> Search {
        self.journal.search(filter)
    }

    fn follow(&self, filter: Filter) -> (Search, broadcast::Receiver<Arc<Verdict>>) {
        self.journal.follow(filter)
    }

    fn subscriber_lagged(&self, missed: u64) {
        self.journal.add_missed(missed);
    }

    async fn status(&self) -> Option<AgentStatus> {
        self.statuses.get(self.ask(Message::Status)).await
    }

    async fn knows_pod(&self, pod: PodRef) -> bool {
        if self.journal.knows_pod(&pod).await {
            return true;
        }
        self.pace.turn().await;
        self.ask(|reply| Message::KnowsPod(pod, reply)).await.unwrap_or(false)
    }

    async fn local_pods(&self) -> Option<Vec<LocalPod>> {
        self.ask(Message::LocalPods).await
    }

    async fn explain(&self, request: ExplainRequest) -> Result<Explanation, ExplainError> {
        self.pace.turn().await;
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
