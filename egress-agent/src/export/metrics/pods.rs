//! Whose counters: the pods that exist, and those that are gone and have their minute.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use egress_core::tally::Tally;
use egress_core::verdict::Verdict;

use super::AFTERLIFE;
use super::series::Series;
use super::write::Snapshot;

/// The counters of every pod.
#[derive(Debug)]
pub(super) struct Pods {
    pod_label: bool,
    /// By namespace and name: looked up for every event.
    pods: HashMap<String, HashMap<String, Entry>>,
    /// Without the label `pod`: what pods that are gone left to their namespace and workload. A sum must not fall
    /// while one of its pods is there.
    left: BTreeMap<(String, String), Series>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Empty while none is known.
    workload: String,
    life: Life,
    series: Series,
}

/// Whether a pod is there.
#[derive(Debug, Default, PartialEq)]
enum Life {
    /// It was never announced: an event that came after its end, or before the news of it.
    #[default]
    Unannounced,
    /// It is there.
    Alive,
    /// It is gone, or its minute has begun without an announcement.
    Gone(Instant),
}

impl Pods {
    pub(super) fn new(pod_label: bool) -> Self {
        Self { pod_label, pods: HashMap::new(), left: BTreeMap::new() }
    }

    pub(super) fn verdict(&mut self, verdict: &Verdict) {
        let pod = &verdict.pod;
        self.update(&pod.namespace, &pod.name, pod.workload.as_deref(), |entry| {
            *entry.series.verdicts.entry((verdict.cause, verdict.direction)).or_default() += 1;
        });
    }

    pub(super) fn tally(&mut self, tally: &Tally) {
        let pod = &tally.pod;
        self.update(&pod.namespace, &pod.name, pod.workload.as_deref(), |entry| {
            entry.series.count(&tally.what)
        });
    }

    pub(super) fn known(&mut self, namespace: &str, name: &str) {
        self.update(namespace, name, None, |entry| entry.life = Life::Alive);
    }

    pub(super) fn forget(&mut self, namespace: &str, name: &str, now: Instant) {
        let entry = self.pods.get_mut(namespace).and_then(|pods| pods.get_mut(name));
        if let Some(entry) = entry.filter(|entry| !matches!(entry.life, Life::Gone(_))) {
            entry.life = Life::Gone(now);
        }
        self.expire(now);
    }

    /// Ends the series whose time has come.
    pub(super) fn expire(&mut self, now: Instant) {
        for (namespace, pods) in &mut self.pods {
            pods.retain(|_, entry| {
                match entry.life {
                    Life::Alive => return true,
                    Life::Unannounced => {
                        entry.life = Life::Gone(now);
                        return true;
                    }
                    Life::Gone(since) if now.saturating_duration_since(since) < AFTERLIFE => return true,
                    Life::Gone(_) => {}
                }
                if !self.pod_label {
                    let key = (namespace.clone(), std::mem::take(&mut entry.workload));
                    self.left.entry(key).or_default().add(&entry.series);
                }
                false
            });
        }
        self.pods.retain(|_, pods| !pods.is_empty());
        self.left.retain(|(namespace, workload), _| {
            self.pods.get(namespace).is_some_and(|pods| pods.values().any(|pod| pod.workload == *workload))
        });
    }

    /// What a scrape shows.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut rows = BTreeMap::new();
        for (namespace, pods) in &self.pods {
            for (name, entry) in pods {
                let name = self.pod_label.then(|| name.clone());
                let key = (namespace.clone(), name, entry.workload.clone());
                let series: &mut Series = rows.entry(key).or_default();
                series.add(&entry.series);
            }
        }
        for ((namespace, workload), series) in &self.left {
            rows.entry((namespace.clone(), None, workload.clone())).or_default().add(series);
        }
        Snapshot::new(rows)
    }

    /// Does something to the entry of a pod. The names are copied only when they are new: this runs for every event.
    fn update(
        &mut self,
        namespace: &str,
        name: &str,
        workload: Option<&str>,
        change: impl FnOnce(&mut Entry),
    ) {
        let change = |entry: &mut Entry| {
            if let Some(workload) = workload.filter(|_| entry.workload.is_empty()) {
                workload.clone_into(&mut entry.workload);
            }
            change(entry);
        };
        if let Some(entry) = self.pods.get_mut(namespace).and_then(|pods| pods.get_mut(name)) {
            return change(entry);
        }
        let mut entry = Entry::default();
        change(&mut entry);
        self.pods.entry(namespace.to_owned()).or_default().insert(name.to_owned(), entry);
    }
}
