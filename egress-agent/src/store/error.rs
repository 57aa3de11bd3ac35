//! What can be wrong with a store.

use std::io;
use std::path::PathBuf;

/// Why a history cannot be kept in a folder. Each is one line that names it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has it open.
    #[error("the history in {} is in use by another agent: each needs a folder of its own", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be made or used.
    #[error("cannot keep the history in {}: {source}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread could be had.
    #[error("cannot start the thread that writes the history: {0}")]
    Thread(io::Error),
}

/// Why the file could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Somebody else has it open.
    InUse,
    /// It is no history of ours that this version can read; says why.
    Unreadable(String),
    /// The disk failed: full, read-only, broken.
    Disk(String),
}

/// Why the store could not be read or written just now.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct DiskError {
    pub(super) why: String,
    /// The file itself is damaged: no later attempt will find it better.
    pub(super) damaged: bool,
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for DiskError {
            fn from(error: $error) -> Self {
                let error = redb::Error::from(error);
                let damaged = matches!(
                    error,
                    redb::Error::Corrupted(_) | redb::Error::TableTypeMismatch { .. } | redb::Error::TableDoesNotExist(_)
                );
                Self { why: describe(&error), damaged }
            }
        })*
    };
}

from_redb!(
    redb::StorageError,
    redb::TransactionError,
    redb::TableError,
    redb::CommitError,
    redb::SetDurabilityError
);

/// What the system said, without the database's own words around it.
pub(super) fn describe(error: &redb::Error) -> String {
    match error {
        redb::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The text of a panic: the database may panic on a file that was altered behind its back.
pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> DiskError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let why = format!("its content is damaged: {}", text.as_deref().unwrap_or("no reason given"));
    DiskError { why, damaged: true }
}
