//! The history on disk: what `query` answers from across restarts and for pods that are gone.
//!
//! One file, written by a thread of its own about twice a second, bounded by size and age. Verdicts stand in the order
//! in which they were last seen; an inverted index finds those of a pod, a namespace, a cause or a peer without a walk
//! over the rest. Nothing but a small cache of pages is held in memory.
//!
//! A commit is atomic: `kill -9` loses what was not committed yet, half a second, and a file is never half written. A
//! disk that is full or broken costs the writing only: verdicts are held in memory meanwhile, `status` says so, and
//! writing is tried again.

mod error;
mod facts;
mod file;
mod index;
mod key;
mod read;
mod schema;
mod write;
mod writer;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use facts::{Facts, Gap};
pub use read::{Cursor, Page};

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use egress_core::cluster::PodRef;
use egress_core::history::Filter;
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;

use facts::Shared;
use writer::{Command, Writer};

/// Verdicts that may wait for the writing thread.
const QUEUE: usize = 8192;

/// Where the history is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder; made if it is not there.
    pub dir: PathBuf,
    /// Bytes that the file may take, about.
    pub max_bytes: u64,
    /// Verdicts last seen longer ago than this go.
    pub max_age: Duration,
}

/// The open store. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    queue: Option<SyncSender<Command>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Verdicts that were active when it ended, the most recent of them, with a hint that says for how long nobody
    /// watched.
    pub active: Vec<Verdict>,
}

impl Store {
    /// Opens the store of a folder, or begins one.
    ///
    /// A file that is no history of ours, or of another version, is set aside under another name and told in
    /// [`Facts::problems`]. So is a disk that fails: the store then begins without its file and goes on trying.
    ///
    /// # Errors
    ///
    /// Another agent has it open, or the folder cannot be used at all.
    pub fn open(options: Options, now: Timestamp) -> Result<(Self, Earlier), StoreError> {
        let shared = Arc::new(Shared::default());
        let (writer, earlier) = Writer::open(options, Arc::clone(&shared), now)?;
        let (queue, commands) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || writer.run(&commands))
            .map_err(StoreError::Thread)?;
        Ok((Self { shared, queue: Some(queue), thread: Mutex::new(Some(thread)) }, earlier))
    }

    /// Has a verdict written, new or revised. Never waits: what finds no room in the queue is counted as lost.
    pub fn write(&self, verdict: Arc<Verdict>) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            queue.try_send(Command::Write(verdict))
        {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The verdicts that a filter lets through, most recently seen first, at most `max`, from `after` on. Reads the
    /// disk: not for threads that must not wait. Of a store that cannot be read there are none.
    #[must_use]
    pub fn page(&self, filter: &Filter, after: Option<Cursor>, max: usize) -> Page {
        read::page(&self.shared, filter, after, max)
    }

    /// Whether any verdict is about this pod, or has it as the other end. Reads the disk.
    #[must_use]
    pub fn knows_pod(&self, pod: &PodRef) -> bool {
        let filter = Filter { pods: egress_core::history::PodFilter::Pod(pod.clone()), ..Filter::default() };
        !self.page(&filter, None, 1).verdicts.is_empty()
    }

    /// How it stands.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.shared.facts()
    }

    /// Verdicts that were not written because the queue or the memory for waiting ones was full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was given so far is on disk, or could not be written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if let Some(queue) = &self.queue
            && queue.send(Command::Flush(done)).is_ok()
        {
            // An error says that the thread has ended, so nothing waits any more.
            let _ = wait.recv();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the history panicked");
        }
    }
}
