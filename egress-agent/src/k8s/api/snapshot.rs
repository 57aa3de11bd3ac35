//! A cluster as one question needs it, read once and with the rights of whoever asks.
//!
//! Only what the question concerns is read: the pods and policies of the namespaces of its ends, of a Service what stands
//! behind it; of the whole cluster only what an address may belong to. What may not be read is told, and what depends
//! on it comes out undecidable.

mod concern;
mod lists;
mod progress;
mod reader;
mod rounds;
#[cfg(test)]
mod tests;
mod want;

pub use progress::Progress;

use std::path::Path;
use std::time::Duration;

use egress_core::explain::ExplainRequest;
use egress_core::identity::ClusterIndex;
use kube::Client;

use super::connect::{self, ConnectError};
use lists::Lists;
use reader::Reader;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A cluster, by way of its API server.
pub struct Cluster {
    client: Client,
    server: String,
    namespace: String,
}

/// What was read of a cluster.
#[derive(Debug)]
pub struct Snapshot {
    /// All that the question concerns.
    pub index: ClusterIndex,
    /// The question, with namespaces where the ones meant are known.
    pub request: ExplainRequest,
    /// What could not be read and what follows from that, a sentence each.
    pub unseen: Vec<String>,
}

/// Why a cluster could not be read: one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The question names nothing.
    #[error("{0}")]
    Question(String),
    /// The server does not know who asks.
    #[error("{0}: unauthorized: the API server does not accept these credentials (401)")]
    Unauthorized(String),
    /// A right is missing without which there is no answer at all; names it.
    #[error("{0}")]
    Forbidden(String),
    /// No answer.
    #[error("cannot reach the API server at {server}: {why}")]
    Unreachable {
        /// Its URL.
        server: String,
        /// Why not.
        why: String,
    },
    /// An answer of no use.
    #[error("{server}: {why}")]
    Failed {
        /// Its URL.
        server: String,
        /// Why not.
        why: String,
    },
}

impl Cluster {
    /// The cluster of a kubeconfig and a context in it; where neither is named that of this pod, else that of the usual
    /// kubeconfig. Nothing is asked of it yet.
    ///
    /// # Errors
    /// None is named, or its settings cannot be used.
    pub async fn open(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, ConnectError> {
        let named = kubeconfig.is_some() || context.is_some();
        let config = if named {
            connect::of_kubeconfig(kubeconfig, context).await?
        } else {
            connect::config().await?
        };
        let mut config = connect::prepared(config);
        config.connect_timeout = Some(CONNECT);
        let client = connect::client(&config)?;
        Ok(Self { client, server: connect::server(&config), namespace: config.default_namespace.clone() })
    }

    /// Reads what a question needs. `progress` says meanwhile how far that is.
    ///
    /// # Errors
    /// The server does not answer, does not know who asks, or does not let them see the ends of the question.
    pub async fn read(
        &self,
        request: &ExplainRequest,
        progress: &Progress,
    ) -> Result<Snapshot, SnapshotError> {
        let lists = Lists::new(&self.client, progress);
        Reader::new(&lists, &self.server, &self.namespace).read(request).await
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, namespace, client: _ } = self;
        f.debug_struct("Cluster")
            .field("server", server)
            .field("namespace", namespace)
            .finish_non_exhaustive()
    }
}
