//! Through the API server: which nodes a question concerns, and their agents' answers as one.

mod fan;
mod plan;

pub(super) use fan::Fan;
pub(super) use plan::Plan;

use std::time::Duration;

use super::args::ServerArgs;
use super::exit::Failure;
use crate::export::grpc::{AgentClient, ClientError};
use crate::k8s::reach::{AgentPod, Reach, ReachError};

/// How long a node may take until its agent can be asked.
const CONNECT: Duration = Duration::from_secs(10);
/// How long after a broken connection the kubelet may say why.
const WHY: Duration = Duration::from_millis(200);

/// Opens the cluster that the flags name.
pub(super) async fn open(args: &ServerArgs) -> Result<Reach, Failure> {
    Ok(Reach::open(args.kubeconfig.as_deref(), args.context.as_deref()).await?)
}

/// The agent of one node: the one that is named, else that of the pod, else any.
pub(super) async fn one(
    args: &ServerArgs,
    pod: Option<&egress_core::cluster::PodRef>,
) -> Result<AgentClient, Failure> {
    let reach = open(args).await?;
    let agents = reach.agents(args.agent_namespace.as_deref()).await?;
    let node = match (&args.node, pod) {
        (Some(node), _) => Some(node.clone()),
        (None, Some(pod)) => reach.pod(pod).await?.and_then(|found| found.node),
        (None, None) => None,
    };
    let (node, agent) = match node {
        Some(node) => {
            let agent = agents.get(&node).cloned();
            let agent = agent.ok_or_else(|| Failure::NoAgent(format!("no agent runs on node {node}")))?;
            (node, agent)
        }
        None => agents
            .into_iter()
            .next()
            .ok_or_else(|| Failure::NoAgent("no agent runs in this cluster".into()))?,
    };
    match tokio::time::timeout(CONNECT, connect(&reach, &node, &agent)).await {
        Ok(client) => {
            client.map_err(|why| Failure::NoAgent(format!("the agent of node {node} does not answer: {why}")))
        }
        Err(_) => Err(Failure::NoAgent(format!("the agent of node {node} does not answer: timed out"))),
    }
}

/// A connection to an agent, through the API server.
async fn connect(reach: &Reach, node: &str, agent: &AgentPod) -> Result<AgentClient, String> {
    let forward = reach.forward(agent).await.map_err(|error| error.to_string())?;
    let place = format!("pod {}/{} on {node}", agent.namespace, agent.name);
    match AgentClient::over(forward.stream, place).await {
        Ok(client) => Ok(client),
        Err(error) => {
            let told = match forward.trouble {
                Some(trouble) => tokio::time::timeout(WHY, trouble).await.ok().flatten(),
                None => None,
            };
            Err(told.unwrap_or_else(|| match error {
                ClientError::Unreachable { why, .. } => why,
                other => other.to_string(),
            }))
        }
    }
}

impl From<ReachError> for Failure {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Unreachable(_) => Self::NoAgent(error.to_string()),
            ReachError::NotFound(what) => Self::NotFound(what),
            ReachError::Config(_) | ReachError::Forbidden(_) | ReachError::Failed(_) => {
                Self::Failed(error.to_string())
            }
        }
    }
}
