//! What the interfaces ask of the engine. The gRPC server knows no more of it than this.

mod causes;
mod journal;
mod search;

pub use egress_core::explain::{ExplainRequest, Explanation};
pub use journal::Journal;
pub use search::Search;

use std::future::Future;
use std::sync::Arc;

use egress_core::cluster::PodRef;
use egress_core::history::Filter;
use egress_core::verdict::Verdict;
use tokio::sync::broadcast;

use crate::status::AgentStatus;

/// The engine, as the interfaces see it. No method may wait for the network or for a slow client.
pub trait Answers: Send + Sync + 'static {
    /// The verdicts that a filter lets through, most recently seen first, to be taken by the page.
    fn search(&self, filter: Filter) -> Search;

    /// The same, and every verdict made or revised after exactly these, unfiltered.
    fn follow(&self, filter: Filter) -> (Search, broadcast::Receiver<Arc<Verdict>>);

    /// Verdicts passed over because a following client did not read in time: to be counted as lost.
    fn subscriber_lagged(&self, missed: u64);

    /// What the agent sees, and what it does not; `None` if the engine has stopped.
    fn status(&self) -> impl Future<Output = Option<AgentStatus>> + Send;

    /// Whether the history knows a pod of this name, or the cluster has, or recently had it.
    fn knows_pod(&self, pod: PodRef) -> impl Future<Output = bool> + Send;

    /// The pods of this node that have a network namespace of their own; `None` if the engine has stopped.
    fn local_pods(&self) -> impl Future<Output = Option<Vec<LocalPod>>> + Send;

    /// What the policies say of a connection.
    fn explain(
        &self,
        request: ExplainRequest,
    ) -> impl Future<Output = Result<Explanation, ExplainError>> + Send;
}

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// Its name.
    pub pod: PodRef,
    /// Controlling workload, `Kind/name`.
    pub workload: Option<String>,
}

/// Why there is no explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// An end is not known; says which.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense; says why.
    #[error("{0}")]
    Invalid(String),
    /// What is needed for an answer cannot be read; says what.
    #[error("{0}")]
    Failed(String),
    /// The engine has stopped.
    #[error("the agent is stopping")]
    Stopped,
}
