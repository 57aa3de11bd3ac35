//! The history and those who follow it, in step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use egress_core::cluster::PodRef;
use egress_core::history::{Filter, History};
use egress_core::verdict::{Cause, Verdict};
use tokio::sync::broadcast;

use super::causes::Causes;
use super::search::Search;
use crate::store::{Facts, Store};

/// Verdicts held in memory where nothing keeps them on disk, and the bytes they may take.
const MEMORY: (usize, usize) = (100_000, 16 * 1024 * 1024);
/// Verdicts held in memory before those on disk, and the bytes they may take: what is revised now, and what is not
/// written yet.
const BEFORE_DISK: (usize, usize) = (100_000, 4 * 1024 * 1024);

/// A history that the engine writes and the interfaces read, with a bounded channel to those who follow.
///
/// Verdicts enter both under one lock: who asks for the history and what comes after it misses none and gets none
/// twice. Behind it there may be a [`Store`], which has all that the memory had to let go.
#[derive(Debug)]
pub struct Journal {
    memory: RwLock<History>,
    store: Option<Arc<Store>>,
    causes: Mutex<Causes>,
    sender: broadcast::Sender<Arc<Verdict>>,
    missed: AtomicU64,
}

impl Journal {
    /// A journal in memory and, where there is a store, on disk. A follower may be `backlog` verdicts late before it
    /// misses some.
    #[must_use]
    pub fn new(store: Option<Store>, backlog: usize) -> Self {
        let (max, bytes) = if store.is_some() { BEFORE_DISK } else { MEMORY };
        let (sender, _) = broadcast::channel(backlog.max(1));
        Self {
            memory: RwLock::new(History::bounded(max, bytes)),
            store: store.map(Arc::new),
            causes: Mutex::default(),
            sender,
            missed: AtomicU64::new(0),
        }
    }

    /// Adds or revises a verdict and tells the followers. Returns the cause it had before, if it is not new. Never waits
    /// for a follower or the disk.
    pub fn push(&self, verdict: Arc<Verdict>) -> Option<Cause> {
        let known =
            self.causes.lock().unwrap_or_else(PoisonError::into_inner).learn(&verdict.id, verdict.cause);
        if let Some(store) = &self.store {
            store.write(Arc::clone(&verdict));
        }
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.push(Arc::clone(&verdict));
        // An error says that nobody follows.
        let _ = self.sender.send(verdict);
        known
    }

    /// Takes up a verdict of an earlier run. It is nothing new, so nobody is told.
    pub fn resume(&self, verdict: Arc<Verdict>) {
        if let Some(store) = &self.store {
            store.write(Arc::clone(&verdict));
        }
        self.memory.write().unwrap_or_else(PoisonError::into_inner).push(verdict);
    }

    /// Waits until all verdicts are on disk, where there is one.
    pub fn flush(&self) {
        if let Some(store) = &self.store {
            store.flush();
        }
    }

    /// The verdicts that a filter lets through, most recently seen first, to be taken by the page.
    #[must_use]
    pub fn search(&self, filter: Filter) -> Search {
        let held = self.read().query(&filter);
        Search::new(filter, held, self.store.clone())
    }

    /// What memory holds of these. Where there is a disk, it has more.
    #[must_use]
    pub fn in_memory(&self, filter: &Filter) -> Vec<Arc<Verdict>> {
        self.read().query(filter)
    }

    /// A search, and every verdict that comes after exactly what it finds.
    #[must_use]
    pub fn follow(&self, filter: Filter) -> (Search, broadcast::Receiver<Arc<Verdict>>) {
        let memory = self.read();
        let (held, receiver) = (memory.query(&filter), self.sender.subscribe());
        drop(memory);
        (Search::new(filter, held, self.store.clone()), receiver)
    }

    /// Whether any verdict is about this pod, or has it as the other end.
    pub async fn knows_pod(&self, pod: &PodRef) -> bool {
        if self.read().knows_pod(pod) {
            return true;
        }
        let pods = egress_core::history::PodFilter::Pod(pod.clone());
        !self.search(Filter { pods, ..Filter::default() }).next(1).await.is_empty()
    }

    /// Counts verdicts that a follower was too slow for.
    pub fn add_missed(&self, missed: u64) {
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }

    /// Verdicts that followers were too slow for.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Verdicts that can be asked for: on disk, or in memory where that is all there is.
    #[must_use]
    pub fn len(&self) -> u64 {
        let held = u64::try_from(self.read().len()).unwrap_or(u64::MAX);
        self.facts().map_or(held, |facts| facts.verdicts.max(held))
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Verdicts that are lost to the history: those that memory had to let go where there is no disk, and those that
    /// could not be written where there is.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.store.as_ref().map_or_else(|| self.read().evicted(), |store| store.lost())
    }

    /// How the store stands, if there is one.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        self.store.as_ref().map(|store| store.facts())
    }

    /// Clients that follow.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Verdicts that the slowest follower has not taken yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.sender.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, History> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }
}
