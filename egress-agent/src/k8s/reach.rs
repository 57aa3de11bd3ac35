//! The cluster as somebody at a laptop sees it: which node a pod is on, which agent runs there, and a way to that agent
//! through the API server, all with the rights of whoever asks.

mod error;
mod pods;

pub use error::ReachError;
pub use pods::{Found, Workload};

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::io::DuplexStream;

use super::api::{is_in_cluster, of_kubeconfig};
use error::{Asked, refused};

/// Label of the agents' pods.
const AGENTS: &str = "app.kubernetes.io/name=egress-agent";
/// Where agents are looked for if one may not list the pods of all namespaces.
const AGENTS_NAMESPACE: &str = "egress-agent";
/// Port of an agent's loopback.
const PORT: u16 = 50051;
/// How long the API server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster, by way of its API server.
#[derive(Clone)]
pub struct Reach {
    client: Client,
    namespace: String,
}

/// The pod of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A way to an agent.
pub struct Forward {
    /// The bytes.
    pub stream: DuplexStream,
    /// What the kubelet says if the port cannot be reached.
    pub trouble: Option<Box<dyn Future<Output = Option<String>> + Send + Unpin>>,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").finish_non_exhaustive()
    }
}

/// Whether there is a kubeconfig without one being named: the variable KUBECONFIG, or `~/.kube/config`.
#[must_use]
pub fn has_kubeconfig() -> bool {
    match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        // One that is not there is told when it is read.
        Some(_) => true,
        None => std::env::home_dir().is_some_and(|home| home.join(".kube/config").is_file()),
    }
}

/// Whether a cluster is at hand without one being named: this is a pod of it, or there is a kubeconfig.
#[must_use]
pub fn has_cluster() -> bool {
    is_in_cluster() || has_kubeconfig()
}

impl Reach {
    /// The cluster of a kubeconfig (none: the usual one) and of a context in it (none: the current one).
    ///
    /// # Errors
    ///
    /// The kubeconfig cannot be used.
    pub async fn open(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, ReachError> {
        let config = of_kubeconfig(kubeconfig, context).await;
        let mut config = config.map_err(|error| ReachError::Config(error.to_string()))?;
        config.connect_timeout = Some(Duration::from_secs(5));
        // A forward may be quiet for hours; each question has a limit of its own.
        config.read_timeout = None;
        config.write_timeout = None;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| ReachError::Config(error.to_string()))?;
        Ok(Self { client, namespace })
    }

    /// The namespace of the context.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The agents that run, by the name of their node; of one namespace, or wherever they may be looked for.
    ///
    /// # Errors
    ///
    /// They cannot be listed.
    pub async fn agents(&self, namespace: Option<&str>) -> Result<BTreeMap<String, AgentPod>, ReachError> {
        let all = match namespace {
            Some(namespace) => self.agents_in(Some(namespace)).await,
            None => match self.agents_in(None).await {
                Err(ReachError::Forbidden(_)) => self.agents_in(Some(AGENTS_NAMESPACE)).await,
                found => found,
            },
        }?;
        let mut agents = BTreeMap::new();
        for pod in all {
            let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
            let ending = pod.metadata.deletion_timestamp.is_some();
            let node = pod.spec.and_then(|spec| spec.node_name).filter(|_| running && !ending);
            let (Some(node), Some(name), Some(namespace)) = (node, pod.metadata.name, pod.metadata.namespace)
            else {
                continue;
            };
            agents.insert(node, AgentPod { namespace, name });
        }
        Ok(agents)
    }

    async fn agents_in(&self, namespace: Option<&str>) -> Result<Vec<Pod>, ReachError> {
        let pods: Api<Pod> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let asked = Asked { verb: "list", resource: "pods", namespace };
        Ok(in_time(asked, pods.list(&ListParams::default().labels(AGENTS))).await?.items)
    }

    /// A way to an agent's port.
    ///
    /// # Errors
    ///
    /// There is none, or one may not have it.
    pub async fn forward(&self, agent: &AgentPod) -> Result<Forward, ReachError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &agent.namespace);
        let asked = Asked {
            verb: "create (before Kubernetes 1.35: get)",
            resource: "pods/portforward",
            namespace: Some(&agent.namespace),
        };
        let mut forwarder = in_time(asked, pods.portforward(&agent.name, &[PORT])).await?;
        let trouble = forwarder.take_error(PORT).map(|trouble| Box::new(Box::pin(trouble)) as Box<_>);
        let stream = forwarder.take_stream(PORT);
        let stream = stream.ok_or_else(|| ReachError::Failed("the port was not forwarded".to_owned()))?;
        Ok(Forward { stream, trouble })
    }
}

/// An answer of the API server, or why there is none.
async fn in_time<T>(
    asked: Asked<'_>,
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ReachError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| refused(error, asked)),
        Err(_) => Err(ReachError::Unreachable(format!("no answer in {} s", PATIENCE.as_secs()))),
    }
}
