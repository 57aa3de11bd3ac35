//! How a store stands, for `status`, and what its threads share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use egress_core::time::Timestamp;
use redb::Database;

/// Nobody watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From then, about.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
}

/// How a store stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where it is.
    pub folder: PathBuf,
    /// Verdicts on disk.
    pub verdicts: u64,
    /// Bytes that the file takes on disk.
    pub bytes: u64,
    /// When the oldest was last seen.
    pub oldest: Option<Timestamp>,
    /// Times in which nobody watched, the latest last.
    pub gaps: Vec<Gap>,
    /// Writing fails since then, and why. Verdicts are held in memory meanwhile.
    pub failing: Option<(Timestamp, String)>,
    /// What was wrong with the file at the start.
    pub set_aside: Option<String>,
}

impl Facts {
    /// What `status` should say, a line for each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let failing = self.failing.as_ref().map(|(since, why)| {
            format!("history: nothing can be written to disk since {since} ({why}): kept in memory only")
        });
        failing.into_iter().chain(self.set_aside.clone()).collect()
    }
}

/// What the store's handle and its thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Open, unless the disk fails.
    database: RwLock<Option<Arc<Database>>>,
    facts: Mutex<Facts>,
    /// Verdicts not written for want of room.
    pub(super) lost: AtomicU64,
}

impl Shared {
    pub(super) fn database(&self) -> Option<Arc<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_database(&self, database: Option<Database>) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database.map(Arc::new);
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn add_lost(&self, count: usize) {
        self.lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
