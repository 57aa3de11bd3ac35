//! The file of a store: opened, set aside where it cannot be read, and marked as alive.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use egress_core::time::Timestamp;
use redb::{Builder, Database, DatabaseError, StorageError};

use super::error::{OpenError, StoreError, panicked};
use super::schema;

/// Pages held in memory, bytes. The kernel's page cache holds the rest, as long as nobody else needs the memory.
const CACHE: usize = 2 * 1024 * 1024;

/// The file of a folder.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("history.redb")
}

/// Makes the folder. Only its owner may look into it: verdicts tell who talks to whom.
pub(super) fn make_folder(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| StoreError::Folder { dir: dir.to_owned(), source })
}

/// When the file was last touched: the last sign of life of the agent that wrote it.
pub(super) fn touched(path: &Path) -> Option<Timestamp> {
    let at = fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(i64::try_from(at.as_micros()).ok()?))
}

/// Bytes that the file takes on disk. Its length says less: it grows by doubling, and what was never written is a hole.
pub(super) fn bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map_or(0, |meta| meta.blocks() * 512)
}

/// A sign of life.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.set_modified(SystemTime::now())
}

/// Opens the file, or begins one.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = Builder::new().set_cache_size(CACHE).create(path).map_err(refused)?;
        schema::prepare(&database)?;
        Ok(database)
    }));
    opened.unwrap_or_else(|panic| Err(OpenError::Unreadable(panicked(&*panic).why)))
}

fn refused(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::InUse,
        DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::InvalidData => OpenError::Unreadable("it is not a database".to_owned()),
            io::ErrorKind::UnexpectedEof => OpenError::Unreadable("it is cut short".to_owned()),
            io::ErrorKind::IsADirectory => OpenError::Unreadable("it is a folder".to_owned()),
            _ => OpenError::Disk(error.to_string()),
        },
        DatabaseError::Storage(error @ StorageError::Corrupted(_)) => {
            OpenError::Unreadable(error.to_string())
        }
        DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => {
            OpenError::Unreadable(error.to_string())
        }
        other => OpenError::Disk(other.to_string()),
    }
}

/// Moves a file out of the way. One is kept, the latest: they take room.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension("unreadable");
    if fs::symlink_metadata(&aside).is_ok_and(|meta| meta.is_dir()) {
        fs::remove_dir_all(&aside)?;
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}
