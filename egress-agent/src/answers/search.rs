//! A question to the history, answered by the page: what memory holds, merged with what is on disk.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use egress_core::history::Filter;
use egress_core::time::Timestamp;
use egress_core::verdict::Verdict;

use crate::host;
use crate::store::{Cursor, Store};

/// Verdicts read from disk at a time.
const PAGE: usize = 128;
/// How much later than it was last seen a verdict may be revised, microseconds.
const LATE: i64 = 5_000_000;

/// The answer as it is taken: the verdicts that a filter lets through, most recently seen first.
///
/// Between two pages nothing is held but what memory had when it was asked. A verdict that is revised meanwhile, and so
/// moves to where the answer has passed already, comes once more at the end: the latest revision of an id is the one
/// that holds.
#[derive(Debug)]
pub struct Search {
    filter: Filter,
    /// From memory, the most recent first.
    memory: VecDeque<Arc<Verdict>>,
    /// What came from memory comes from nowhere else.
    known: HashSet<String>,
    /// From disk, not taken yet.
    read: VecDeque<Arc<Verdict>>,
    disk: Disk,
    began: Timestamp,
    pages: usize,
}

#[derive(Debug)]
enum Disk {
    More(Arc<Store>, Option<Cursor>),
    /// The last pass: what was revised since the search began.
    Revised(Arc<Store>, Option<Cursor>),
    End,
}

impl Search {
    pub(super) fn new(filter: Filter, memory: Vec<Arc<Verdict>>, store: Option<Arc<Store>>) -> Self {
        let known = match &store {
            Some(_) => memory.iter().map(|verdict| verdict.id.clone()).collect(),
            None => HashSet::new(),
        };
        let disk = store.map_or(Disk::End, |store| Disk::More(store, None));
        let memory = memory.into();
        Self { filter, memory, known, read: VecDeque::new(), disk, began: host::wall_clock(), pages: 0 }
    }

    /// The next verdicts, at most `max` of them; none: that was all.
    pub async fn next(&mut self, max: usize) -> Vec<Arc<Verdict>> {
        let mut taken = Vec::new();
        while taken.len() < max {
            if self.read.is_empty() {
                self.read_page(max).await;
            }
            let at = |queue: &VecDeque<Arc<Verdict>>| queue.front().map(|verdict| verdict.last_seen);
            let (held, read) = (at(&self.memory), at(&self.read));
            let next = if held >= read { self.memory.pop_front() } else { self.read.pop_front() };
            match next {
                Some(verdict) => taken.push(verdict),
                None => break,
            }
        }
        taken
    }

    /// Reads until there is something, or nothing more.
    async fn read_page(&mut self, max: usize) {
        while self.read.is_empty() {
            let (store, after, filter) = match &self.disk {
                Disk::End => return,
                Disk::More(store, after) => (Arc::clone(store), *after, self.filter.clone()),
                Disk::Revised(store, after) => {
                    let revised = Timestamp(self.began.0.saturating_sub(LATE));
                    let since = Some(self.filter.since.map_or(revised, |since| since.max(revised)));
                    (Arc::clone(store), *after, Filter { since, ..self.filter.clone() })
                }
            };
            let wanted = PAGE.min(max.max(1));
            let page = tokio::task::spawn_blocking(move || store.page(&filter, after, wanted)).await;
            // Only a runtime that ends does not run it.
            let Ok(page) = page else {
                self.disk = Disk::End;
                return;
            };
            self.pages += 1;
            let fresh = page.verdicts.into_iter().filter(|verdict| !self.known.contains(&verdict.id));
            self.read.extend(fresh);
            self.disk = match (std::mem::replace(&mut self.disk, Disk::End), page.next) {
                (Disk::More(store, _), Some(next)) => Disk::More(store, Some(next)),
                (Disk::More(store, _), None) if self.pages > 1 => {
                    // Revisions of what came from memory count, too.
                    self.known.clear();
                    Disk::Revised(store, None)
                }
                (Disk::Revised(store, _), Some(next)) => Disk::Revised(store, Some(next)),
                _ => Disk::End,
            };
        }
    }
}
