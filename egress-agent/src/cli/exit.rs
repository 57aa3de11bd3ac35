//! How a command ends.

use std::io;

use super::config::Problems;
use crate::answers::ExplainError;
use crate::export::grpc::{Address, ClientError};
use crate::k8s::api::SnapshotError;

/// Why a command failed: one line (of a settings file one for each thing), and the exit status that goes with it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// The settings file cannot be used; says all that is wrong with it.
    #[error(transparent)]
    Settings(Problems),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The pod (or Service) asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// No agent answers.
    #[error(transparent)]
    Unreachable(ClientError),
    /// No agent answers at either of the default addresses.
    #[error(
        "no agent answers at {socket} ({socket_error}) nor at {port} ({port_error}); say where with --server or --kubeconfig"
    )]
    NoDefault {
        /// The default socket.
        socket: Address,
        /// Why not there.
        socket_error: String,
        /// The default port.
        port: Address,
        /// Why not there.
        port_error: String,
    },
    /// No agent answers, through the API server, or the API server does not; says which and why.
    #[error("{0}")]
    NoAgent(String),
    /// Some node did not answer; says which and why.
    #[error("partial answer: {0}")]
    Partial(String),
    /// The reader of our output is gone: no failure of ours.
    #[error("the output was closed")]
    ReaderGone,
}

impl Failure {
    /// Exit status of the process.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Failed(_) | Self::Settings(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Unreachable(_) | Self::NoDefault { .. } | Self::NoAgent(_) => 4,
            Self::Partial(_) => 5,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable { .. } => Self::Unreachable(error),
            ClientError::NotFound(what) => Self::NotFound(what),
            ClientError::Invalid(_) | ClientError::Failed { .. } | ClientError::Malformed(_) => {
                Self::Failed(error.to_string())
            }
        }
    }
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::NotFound(what) => Self::NotFound(what),
            ExplainError::Invalid(why) => Self::Usage(why),
            ExplainError::Failed(_) | ExplainError::Stopped => Self::Failed(error.to_string()),
        }
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Question(why) => Self::Usage(why),
            SnapshotError::Unreachable { .. } => Self::NoAgent(error.to_string()),
            SnapshotError::Unauthorized(_) | SnapshotError::Forbidden(_) | SnapshotError::Failed { .. } => {
                Self::Failed(error.to_string())
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        // The chain of causes on one line.
        Self::Failed(format!("{error:#}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}
