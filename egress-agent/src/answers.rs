//! What the interfaces ask of the engine. The gRPC server knows no more of it than this.

mod journal;

pub use journal::Journal;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use egress_core::cluster::PodRef;
use egress_core::history::Filter;
use egress_core::policy::{BackendView, Decision, SideView};
use egress_core::protocol::Protocol;
use egress_core::verdict::{Fix, Verdict};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::status::AgentStatus;

/// The engine, as the interfaces see it. No method may wait for the network or for a slow client.
pub trait Answers: Send + Sync + 'static {
    /// The verdicts that a filter lets through, most recently seen first.
    fn query(&self, filter: &Filter) -> Vec<Arc<Verdict>>;

    /// The same, and every verdict made or revised after exactly these, unfiltered.
    fn follow(&self, filter: &Filter) -> (Vec<Arc<Verdict>>, broadcast::Receiver<Arc<Verdict>>);

    /// Verdicts passed over because a following client did not read in time: to be counted as lost.
    fn subscriber_lagged(&self, missed: u64);

    /// What the agent sees, and what it does not.
    fn status(&self) -> impl Future<Output = AgentStatus> + Send;

    /// Whether the cluster has, or recently had, a pod of this name.
    fn knows_pod(&self, pod: PodRef) -> impl Future<Output = bool> + Send;

    /// What the policies say of a connection.
    fn explain(
        &self,
        request: ExplainRequest,
    ) -> impl Future<Output = Result<Explanation, ExplainError>> + Send;
}

/// A connection to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainRequest {
    /// `[NS/]POD` or an address.
    pub from: String,
    /// `[NS/]POD`, an address, or `[NS/]SERVICE`.
    pub to: String,
    /// Destination port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Names to resolve to addresses of the caller's choice.
    pub dns: Vec<(String, IpAddr)>,
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

/// What the policies say of a connection. The serde form is the JSON contract of `explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Both sides together; for a Service, all its backends.
    pub decision: Decision,
    /// The source's side, `null` where the source is not a pod.
    pub egress: Option<SideView>,
    /// The destination's side, `null` where the destination is not a pod.
    pub ingress: Option<SideView>,
    /// What to do about a denial.
    pub fix: Option<Fix>,
    /// The Service's backends one by one; absent where the destination is no Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<BackendView>>,
}
