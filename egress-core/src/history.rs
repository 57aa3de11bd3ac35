//! The verdicts that can still be asked for: bounded, by id, in the order they were last seen.
//!
//! In memory only. A store on disk may stand beside it, in the agent: it writes what is pushed here, and answers for
//! what had to go.

mod filter;
mod order;
mod weight;

pub use filter::{Filter, PodFilter, ToFilter, ToFilterError, peer_keys};
pub use order::in_order_of_repair;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::cluster::PodRef;
use crate::time::Timestamp;
use crate::verdict::Verdict;

/// Place of a verdict in the order: when it was last seen, then when its id first came.
type Key = (Timestamp, u64);

/// The verdicts held.
#[derive(Debug)]
pub struct History {
    max: usize,
    max_bytes: usize,
    bytes: usize,
    serial: u64,
    evicted: u64,
    /// Where each id stands.
    places: HashMap<String, Key>,
    /// All verdicts, oldest first.
    verdicts: BTreeMap<Key, Arc<Verdict>>,
    /// The places of a pod's verdicts: its own, and those where it is the other end.
    pods: BTreeMap<PodRef, BTreeSet<Key>>,
}

impl History {
    /// A history that holds at most `max` verdicts, at least one.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self::bounded(max, usize::MAX)
    }

    /// A history that holds at most `max` verdicts of about `max_bytes` bytes of memory together, at least one verdict.
    #[must_use]
    pub fn bounded(max: usize, max_bytes: usize) -> Self {
        Self {
            max: max.max(1),
            max_bytes,
            bytes: 0,
            serial: 0,
            evicted: 0,
            places: HashMap::new(),
            verdicts: BTreeMap::new(),
            pods: BTreeMap::new(),
        }
    }

    /// Adds a verdict, or replaces the one with the same id, which is returned. Beyond the bound the one seen the
    /// longest ago goes.
    pub fn push(&mut self, verdict: Arc<Verdict>) -> Option<Arc<Verdict>> {
        let previous = self.places.get(&verdict.id).copied().and_then(|key| self.remove(key));
        let serial = match &previous {
            Some((key, _)) => key.1,
            None => {
                self.serial += 1;
                self.serial
            }
        };
        let key = (verdict.last_seen, serial);
        self.places.insert(verdict.id.clone(), key);
        for pod in pods_of(&verdict) {
            self.pods.entry(pod).or_default().insert(key);
        }
        self.bytes += weight::of(&verdict);
        self.verdicts.insert(key, verdict);
        while self.verdicts.len() > self.max || (self.bytes > self.max_bytes && self.verdicts.len() > 1) {
            let Some(oldest) = self.verdicts.keys().next().copied() else { break };
            self.remove(oldest);
            self.evicted += 1;
        }
        previous.map(|(_, verdict)| verdict)
    }

    /// The verdict of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Verdict>> {
        self.verdicts.get(self.places.get(id)?)
    }

    /// The verdicts that a filter lets through, most recently seen first.
    #[must_use]
    pub fn query(&self, filter: &Filter) -> Vec<Arc<Verdict>> {
        let from = (filter.since.unwrap_or(Timestamp(i64::MIN)), 0);
        let keys: BTreeSet<Key> = match &filter.pods {
            PodFilter::All => {
                let newest_first = self.verdicts.range(from..).rev().map(|(_, verdict)| verdict);
                return newest_first.filter(|verdict| filter.matches(verdict)).cloned().collect();
            }
            PodFilter::Namespace(namespace) => {
                let first = PodRef { namespace: namespace.clone(), name: String::new() };
                let pods = self.pods.range(first..).take_while(|(pod, _)| pod.namespace == *namespace);
                pods.flat_map(|(_, keys)| keys.range(from..)).copied().collect()
            }
            PodFilter::Pod(pod) => {
                self.pods.get(pod).into_iter().flat_map(|keys| keys.range(from..)).copied().collect()
            }
        };
        let newest_first = keys.iter().rev().filter_map(|key| self.verdicts.get(key));
        newest_first.filter(|verdict| filter.matches(verdict)).cloned().collect()
    }

    /// Whether any verdict is about this pod, or has it as the other end.
    #[must_use]
    pub fn knows_pod(&self, pod: &PodRef) -> bool {
        self.pods.contains_key(pod)
    }

    /// Verdicts held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// Last seen, of the verdict seen the longest ago.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.verdicts.keys().next().map(|(at, _)| *at)
    }

    /// Verdicts that had to go because of the bound.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn remove(&mut self, key: Key) -> Option<(Key, Arc<Verdict>)> {
        let verdict = self.verdicts.remove(&key)?;
        self.bytes -= weight::of(&verdict);
        self.places.remove(&verdict.id);
        for pod in pods_of(&verdict) {
            if let Some(keys) = self.pods.get_mut(&pod) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.pods.remove(&pod);
                }
            }
        }
        Some((key, verdict))
    }
}

/// The pods under which a verdict is found: its own, and the other end.
pub fn pods_of(verdict: &Verdict) -> impl Iterator<Item = PodRef> {
    let own = PodRef { namespace: verdict.pod.namespace.clone(), name: verdict.pod.name.clone() };
    std::iter::once(own).chain(verdict.peer.pod.clone())
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::verdict as test_verdict;
