//! An engine for tests: a journal, a status, and a list of pods.

use std::sync::Arc;

use egress_core::cluster::PodRef;
use egress_core::history::Filter;
use egress_core::verdict::Verdict;
use tokio::sync::broadcast;

use crate::answers::{Answers, ExplainError, ExplainRequest, Explanation, Journal, LocalPod, Search};
use crate::status::AgentStatus;

/// Answers from a journal; knows the pod `default/quiet` beside those it holds verdicts of.
#[derive(Debug)]
pub(crate) struct FakeEngine(pub(crate) Journal);

impl FakeEngine {
    /// An engine that holds these verdicts, with room for `backlog` more at a slow follower.
    pub(crate) fn new(verdicts: Vec<Verdict>, backlog: usize) -> Arc<Self> {
        let journal = Journal::new(None, backlog);
        for verdict in verdicts {
            journal.push(Arc::new(verdict));
        }
        Arc::new(Self(journal))
    }
}

impl Answers for FakeEngine {
    fn search(&self, filter: Filter) -> Search {
        self.0.search(filter)
    }

    fn follow(&self, filter: Filter) -> (Search, broadcast::Receiver<Arc<Verdict>>) {
        self.0.follow(filter)
    }

    fn subscriber_lagged(&self, missed: u64) {
        self.0.add_missed(missed);
    }

    async fn status(&self) -> Option<AgentStatus> {
        Some(super::status())
    }

    async fn knows_pod(&self, pod: PodRef) -> bool {
        self.0.knows_pod(&pod).await || (pod.namespace == "default" && pod.name == "quiet")
    }

    async fn local_pods(&self) -> Option<Vec<LocalPod>> {
        let pod = |name: &str| PodRef { namespace: "default".into(), name: name.into() };
        let workload = Some("Deployment/api-client".into());
        Some(vec![
            LocalPod { pod: pod("api-client"), workload },
            LocalPod { pod: pod("quiet"), workload: None },
        ])
    }

    async fn explain(&self, request: ExplainRequest) -> Result<Explanation, ExplainError> {
        if request.from == "nobody" {
            return Err(ExplainError::NotFound("no pod default/nobody".into()));
        }
        Ok(super::explanation())
    }
}
