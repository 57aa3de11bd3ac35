//! Where the cluster's state comes from, and its way into the types of `egress_core::cluster`.
//!
//! A source first gives everything it knows and then tells changes: files ([`files::FileSource`]) and an API server
//! ([`api::ApiSource`]) are sources, and what is fed from them cannot tell them apart.

pub mod api;
pub mod convert;
pub mod files;
mod problem;
pub mod reach;

use egress_core::cluster::ClusterChange;

pub use problem::Problem;

/// What a source of cluster state tells.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceEvent {
    /// The cluster changed.
    Changes(Vec<ClusterChange>),
    /// What is wrong with the source now; replaces what was told before, empty when all is well again.
    Problems(Vec<Problem>),
}

/// A source of cluster state.
#[derive(Debug)]
pub enum Source {
    /// Manifests in files and folders.
    Files(files::FileSource),
    /// An API server.
    Api(Box<api::ApiSource>),
}

/// A source cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Files.
    #[error(transparent)]
    Files(#[from] files::WatchError),
    /// An API server.
    #[error("cannot start the cluster watcher: {0}")]
    Api(#[source] std::io::Error),
}

/// Keeps a source followed; dropping it ends that.
#[derive(Debug)]
pub enum SourceWatch {
    /// Manifests in files and folders.
    Files {
        /// The watch.
        _watch: files::FileWatch,
    },
    /// An API server.
    Api {
        /// The watch.
        watch: api::ApiWatch,
    },
}

impl SourceWatch {
    /// Asks for pods of other nodes, where the source tells of them only then.
    #[must_use]
    pub fn asker(&self) -> Option<api::PeerAsker> {
        match self {
            Self::Files { .. } => None,
            Self::Api { watch } => Some(watch.asker()),
        }
    }
}

impl Source {
    /// How to speak to the API server, where this is one.
    #[must_use]
    pub fn api(&self) -> Option<&kube::Config> {
        match self {
            Self::Files(_) => None,
            Self::Api(api) => Some(api.config()),
        }
    }

    /// Everything the source knows, ending with [`ClusterChange::Synced`]. An API server knows nothing until it is
    /// followed.
    #[must_use]
    pub fn changes(&self) -> Vec<ClusterChange> {
        match self {
            Self::Files(files) => files.changes(),
            Self::Api(_) => Vec::new(),
        }
    }

    /// Follows the source and calls `sink` with what changes after [`Source::changes`].
    ///
    /// # Errors
    /// It cannot be followed.
    pub fn watch(
        self,
        sink: impl Fn(SourceEvent) + Send + Sync + 'static,
    ) -> Result<SourceWatch, WatchError> {
        match self {
            Self::Files(files) => Ok(SourceWatch::Files { _watch: files.watch(sink)? }),
            Self::Api(api) => Ok(SourceWatch::Api { watch: api.watch(sink).map_err(WatchError::Api)? }),
        }
    }
}
