//! Cluster state from an API server: lists, and watches from there on.
//!
//! The client library does connections, TLS and tokens; lists and watches are read here, because a bookmark or the
//! end of a quiet watch says that all is in step, one object that cannot be read must not take its list with it, and
//! a list of ten thousand objects must not stand in memory as it was written.
//!
//! It runs on a thread of its own, which may wait for the engine; then the API server waits too, and nothing is lost.

mod backoff;
mod body;
mod connect;
mod discover;
mod fault;
mod follow;
mod hub;
mod kinds;
mod object;
mod pages;
mod peers;
mod run;
mod snapshot;
mod split;
mod standing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use kube::{Client, Config};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::SourceEvent;
use crate::host;
pub use connect::ConnectError;
pub(in crate::k8s) use connect::{is_in_cluster, of_kubeconfig};
use hub::Hub;
pub use peers::PeerAsker;
pub use snapshot::{Cluster, Progress, Snapshot, SnapshotError};

/// An API server that is to be followed.
pub struct ApiSource {
    runtime: Runtime,
    client: Client,
    config: Config,
    node: String,
}

/// Follows it until dropped.
#[derive(Debug)]
pub struct ApiWatch {
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    asker: PeerAsker,
}

impl ApiSource {
    /// The API server of this cluster, else the one that the kubeconfig names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// None is named, or its settings cannot be used.
    pub fn find(node: &str) -> Result<Self, ConnectError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config = runtime.block_on(connect::config())?;
        let client = {
            let _within = runtime.enter();
            connect::client(&config)?
        };
        Ok(Self { runtime, client, config, node: node.to_owned() })
    }

    /// How to speak to it.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Follows it from a thread of its own and calls `sink` with everything it tells, from the beginning on. `sink`
    /// may wait.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch(
        self,
        sink: impl Fn(SourceEvent) + Send + Sync + 'static,
    ) -> Result<ApiWatch, std::io::Error> {
        let Self { runtime, client, config, node } = self;
        let hub = Arc::new(Hub::new(&connect::server(&config), sink, host::wall_clock));
        let (stop, stopped) = oneshot::channel();
        let (asker, questions) = peers::channel();
        let follow = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run::run(client, &node, hub, questions) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("cluster-api".to_owned()).spawn(follow)?;
        Ok(ApiWatch { stop: Some(stop), thread: Some(thread), asker })
    }
}

impl ApiWatch {
    /// Asks which pods of other nodes have an address.
    #[must_use]
    pub fn asker(&self) -> PeerAsker {
        self.asker.clone()
    }
}

impl Drop for ApiWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for ApiSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSource").field("server", &connect::server(&self.config)).finish_non_exhaustive()
    }
}
