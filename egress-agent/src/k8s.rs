//! Where the cluster's state comes from, and its way into the types of `egress_core::cluster`.
//!
//! A source first gives everything it knows and then tells changes. Files ([`files::FileSource`]) are one source.

pub mod convert;
pub mod files;
mod problem;

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

/// A source of cluster state. The API server becomes another one.
#[derive(Debug)]
pub enum Source {
    /// Manifests in files and folders.
    Files(files::FileSource),
}

/// Keeps a source followed; dropping it ends that.
#[derive(Debug)]
pub enum SourceWatch {
    /// Manifests in files and folders.
    Files {
        /// The watch.
        _watch: files::FileWatch,
    },
}

impl Source {
    /// Everything the source knows, ending with [`ClusterChange::Synced`].
    #[must_use]
    pub fn changes(&self) -> Vec<ClusterChange> {
        match self {
            Self::Files(files) => files.changes(),
        }
    }

    /// Follows the source and calls `sink` with what changes after [`Source::changes`].
    ///
    /// # Errors
    /// It cannot be followed.
    pub fn watch(
        self,
        sink: impl Fn(SourceEvent) + Send + 'static,
    ) -> Result<SourceWatch, files::WatchError> {
        match self {
            Self::Files(files) => Ok(SourceWatch::Files { _watch: files.watch(sink)? }),
        }
    }
}
