//! Follows the files. A notification only says that something happened; what, the files say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{FileSource, Scan};
use crate::host;
use crate::k8s::{Problem, SourceEvent};

/// An edit is a burst of events; it is over when this long nothing happened.
const QUIET: Duration = Duration::from_millis(50);
/// Files that change without pause are read this often.
const PATIENCE: Duration = Duration::from_millis(500);

/// The files cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No watcher at all.
    #[error("cannot watch files: {0}")]
    Start(#[source] notify::Error),
    /// A folder refuses.
    #[error("cannot watch {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The error.
        source: notify::Error,
    },
    /// No thread could be started.
    #[error("cannot start the file watcher: {0}")]
    Thread(#[source] std::io::Error),
}

/// Follows the files until it is dropped.
#[derive(Debug)]
pub struct FileWatch {
    wake: SyncSender<Wake>,
    thread: Option<JoinHandle<()>>,
}

enum Wake {
    Changed,
    Stop,
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // Fails where the thread has ended already.
        let _ = self.wake.send(Wake::Stop);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl FileSource {
    /// Follows the files from a thread of its own and calls `sink` with what changed since [`FileSource::load`].
    ///
    /// # Errors
    /// The kernel refuses to watch them.
    pub fn watch(mut self, sink: impl Fn(SourceEvent) + Send + 'static) -> Result<FileWatch, WatchError> {
        // One waiting notification is as good as many.
        let (wake, woken) = sync_channel(1);
        let notify = wake.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !matters(&event)) {
                return;
            }
            let _ = notify.try_send(Wake::Changed);
        });
        let mut folders = Folders { watcher: watcher.map_err(WatchError::Start)?, watched: BTreeSet::new() };
        let (_, failed) = folders.scan(&self.paths);
        if let Some((folder, source)) = failed.into_iter().next() {
            return Err(WatchError::Folder { folder, source });
        }
        // Something may have changed since it was loaded.
        let _ = wake.try_send(Wake::Changed);
        let follow = move || {
            while wait(&woken) {
                let (scan, _) = folders.scan(&self.paths);
                let events = self.reload(&scan);
                let changed = !events.is_empty();
                events.into_iter().for_each(&sink);
                if changed {
                    // What parsing took.
                    host::give_back_memory();
                }
            }
        };
        let thread = std::thread::Builder::new().name("cluster-state".to_owned()).spawn(follow);
        Ok(FileWatch { wake, thread: Some(thread.map_err(WatchError::Thread)?) })
    }
}

/// Reading files makes events, too; those would never end.
fn matters(event: &notify::Event) -> bool {
    !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

/// Waits for a burst of events to begin and to be over. `false`: stop.
fn wait(woken: &Receiver<Wake>) -> bool {
    if !matches!(woken.recv(), Ok(Wake::Changed)) {
        return false;
    }
    let begun = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed()).min(QUIET);
        match woken.recv_timeout(left) {
            Ok(Wake::Changed) if !left.is_zero() => {}
            Ok(Wake::Changed) | Err(RecvTimeoutError::Timeout) => return true,
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// The watched folders.
struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// Looks for the files, with every folder watched before it is listed for the last time, so that nothing can
    /// happen unseen. Also returns the folders that cannot be watched.
    fn scan(&mut self, paths: &[PathBuf]) -> (Scan, Vec<(PathBuf, notify::Error)>) {
        // A folder that was deleted and made again needs a new watch; for the others this does nothing.
        for folder in &self.watched {
            let _ = watch(&mut self.watcher, folder);
        }
        let mut failed: Vec<(PathBuf, notify::Error)> = Vec::new();
        loop {
            let mut scan = Scan::of(paths);
            let new: Vec<_> = scan
                .folders
                .difference(&self.watched)
                .filter(|folder| failed.iter().all(|(failed, _)| failed != *folder))
                .cloned()
                .collect();
            if new.is_empty() {
                for gone in self.watched.difference(&scan.folders) {
                    // Fails where the folder is gone, and its watch with it.
                    let _ = self.watcher.unwatch(gone);
                }
                self.watched.retain(|folder| scan.folders.contains(folder));
                scan.unwatched.extend(failed.iter().map(|(folder, error)| unwatched(folder, error)));
                return (scan, failed);
            }
            for folder in new {
                match watch(&mut self.watcher, &folder) {
                    Ok(()) => {
                        self.watched.insert(folder);
                    }
                    Err(error) => failed.push((folder, error)),
                }
            }
        }
    }
}

fn watch(watcher: &mut RecommendedWatcher, folder: &Path) -> notify::Result<()> {
    watcher.watch(folder, RecursiveMode::NonRecursive)
}

fn unwatched(folder: &Path, error: &notify::Error) -> Problem {
    let message = format!("cannot be watched for changes: {error}");
    Problem { file: folder.to_owned(), line: 0, object: String::new(), field: String::new(), message }
}
