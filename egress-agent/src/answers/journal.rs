//! The history and those who follow it, in step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use egress_core::history::{Filter, History};
use egress_core::verdict::Verdict;
use tokio::sync::broadcast;

/// A [`History`] that the engine writes and the interfaces read, with a bounded channel to those who follow.
///
/// Verdicts enter both under one lock: who asks for the history and what comes after it misses none and gets none
/// twice.
#[derive(Debug)]
pub struct Journal {
    history: RwLock<History>,
    sender: broadcast::Sender<Arc<Verdict>>,
    missed: AtomicU64,
}

impl Journal {
    /// A journal of at most `max` verdicts, where a follower may be `backlog` verdicts late before it misses some.
    #[must_use]
    pub fn new(max: usize, backlog: usize) -> Self {
        let (sender, _) = broadcast::channel(backlog.max(1));
        Self { history: RwLock::new(History::new(max)), sender, missed: AtomicU64::new(0) }
    }

    /// Adds or revises a verdict and tells the followers. Returns what it replaces. Never waits for a follower.
    pub fn push(&self, verdict: Arc<Verdict>) -> Option<Arc<Verdict>> {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        let previous = history.push(Arc::clone(&verdict));
        // An error says that nobody follows.
        let _ = self.sender.send(verdict);
        previous
    }

    /// The verdicts that a filter lets through, most recently seen first.
    #[must_use]
    pub fn query(&self, filter: &Filter) -> Vec<Arc<Verdict>> {
        self.read().query(filter)
    }

    /// The same, and every verdict that comes after exactly these.
    #[must_use]
    pub fn follow(&self, filter: &Filter) -> (Vec<Arc<Verdict>>, broadcast::Receiver<Arc<Verdict>>) {
        let history = self.read();
        (history.query(filter), self.sender.subscribe())
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

    /// Verdicts held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Verdicts that had to go because of the bound.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.read().evicted()
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
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }
}
