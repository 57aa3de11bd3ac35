//! Which API server, and how to speak to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::fault::root;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// No API server can be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither place names one.
    #[error(
        "no cluster to watch: this is no pod with a service account ({in_cluster}), and there is no usable kubeconfig ({kubeconfig}). Give --cluster-state to read the cluster from files"
    )]
    Nowhere {
        /// Why it cannot be told from inside a cluster.
        in_cluster: InClusterError,
        /// Why no kubeconfig tells it.
        kubeconfig: Box<KubeconfigError>,
    },
    /// The kubeconfig cannot be used.
    #[error("{0}")]
    Kubeconfig(String),
    /// Its settings cannot be used.
    #[error("cannot use the API server at {server}: {source}")]
    Settings {
        /// Its URL.
        server: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// No runtime could be started.
    #[error("cannot start the cluster watcher: {0}")]
    Start(#[from] std::io::Error),
}

/// How to speak to the API server: from inside a cluster as its service account says, else as the kubeconfig says
/// (`KUBECONFIG`, then `~/.kube/config`).
pub(super) async fn config() -> Result<Config, ConnectError> {
    let in_cluster = match Config::incluster() {
        Ok(config) => return Ok(prepared(config)),
        Err(error) => error,
    };
    match Config::from_kubeconfig(&KubeConfigOptions::default()).await {
        Ok(config) => Ok(prepared(config)),
        Err(error) => Err(ConnectError::Nowhere { in_cluster, kubeconfig: Box::new(error) }),
    }
}

/// How to speak to the API server that a kubeconfig names (none: the usual one), in a context (none: the current one).
pub(in crate::k8s) async fn of_kubeconfig(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Config, ConnectError> {
    let named = kubeconfig.map(|path| path.display().to_string());
    let variable = || std::env::var("KUBECONFIG").ok().filter(|paths| !paths.is_empty());
    let place = named.or_else(variable).unwrap_or_else(|| "the kubeconfig".to_owned());
    let unusable = |error: KubeconfigError| ConnectError::Kubeconfig(format!("{place}: {}", root(&error)));
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(unusable)?;
    let known: Vec<&str> = file.contexts.iter().map(|named| named.name.as_str()).collect();
    if let Some(wanted) = context.filter(|wanted| !known.contains(wanted)) {
        let known = if known.is_empty() { "no context".to_owned() } else { known.join(", ") };
        return Err(ConnectError::Kubeconfig(format!("{place} has no context {wanted}; it has {known}")));
    }
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(file, &options).await.map_err(unusable)
}

/// Whether this is a pod with a service account.
pub(in crate::k8s) fn is_in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty())
        && PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount/token").is_file()
}

/// How long to wait is decided request by request.
pub(super) fn prepared(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = None;
    config
}

/// A client; must be called within the runtime that serves it.
pub(super) fn client(config: &Config) -> Result<Client, ConnectError> {
    Client::try_from(config.clone())
        .map_err(|error| ConnectError::Settings { server: server(config), source: Box::new(error) })
}

/// `https://10.96.0.1`, without what may stand behind it.
pub(super) fn server(config: &Config) -> String {
    config.cluster_url.to_string().trim_end_matches('/').to_owned()
}
