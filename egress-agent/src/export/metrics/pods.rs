//! Whose counters: the pods that exist, and those that are gone and have their minute.

use std::collections::BTreeMap;

use egress_core::cluster::PodRef;
use egress_core::tally::Tally;
use egress_core::time::Mono;
use egress_core::verdict::Verdict;

use super::series::Series;
use super::write::Snapshot;
use super::{AFTERLIFE, REMEMBERED};

/// The counters of every pod.
#[derive(Debug)]
pub(super) struct Pods {
    pod_label: bool,
    /// By namespace and name.
    pods: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Without the label `pod`: what pods that are gone left to their namespace and workload. A sum must not fall
    /// while one of its pods is there.
    left: BTreeMap<(String, String), Series>,
}

/// A pod and its counters.
#[derive(Debug, Default)]
struct Entry {
    /// Empty where the source of the cluster state has none.
    uid: String,
    /// Empty while none is known.
    workload: String,
    /// Since when it is gone.
    gone: Option<Mono>,
    /// Its minute is over; only its name is remembered, so that late events do not begin it anew.
    ended: bool,
    series: Series,
}

impl Pods {
    pub(super) fn new(pod_label: bool) -> Self {
        Self { pod_label, pods: BTreeMap::new(), left: BTreeMap::new() }
    }

    pub(super) fn verdict(&mut self, verdict: &Verdict) {
        let pod = &verdict.pod;
        self.update((&pod.namespace, &pod.name, &pod.uid), pod.workload.as_deref(), |series| {
            *series.verdicts.entry((verdict.cause, verdict.direction)).or_default() += 1;
        });
    }

    pub(super) fn tally(&mut self, tally: &Tally) {
        let pod = &tally.pod;
        self.update((&pod.namespace, &pod.name, &pod.uid), pod.workload.as_deref(), |series| {
            series.count(&tally.what);
        });
    }

    pub(super) fn gone(&mut self, pod: &PodRef, now: Mono) {
        let entry = self.pods.get_mut(&pod.namespace).and_then(|pods| pods.get_mut(&pod.name));
        if let Some(entry) = entry {
            entry.gone.get_or_insert(now);
        }
    }

    /// Ends the series whose time has come.
    pub(super) fn expire(&mut self, now: Mono) {
        for (namespace, pods) in &mut self.pods {
            pods.retain(|_, entry| {
                let Some(gone) = entry.gone else { return true };
                let age = now.since(gone);
                if age >= AFTERLIFE && !entry.ended {
                    entry.ended = true;
                    let series = std::mem::take(&mut entry.series);
                    if !self.pod_label {
                        let key = (namespace.clone(), entry.workload.clone());
                        self.left.entry(key).or_default().add(&series);
                    }
                }
                // Without a uid a successor could not be told from it: its name is free at once.
                !entry.ended || (age < REMEMBERED && !entry.uid.is_empty())
            });
        }
        self.pods.retain(|_, pods| !pods.is_empty());
        self.left.retain(|(namespace, workload), _| {
            let pods = self.pods.get(namespace).into_iter().flat_map(BTreeMap::values);
            pods.filter(|pod| !pod.ended).any(|pod| pod.workload == *workload)
        });
    }

    /// What a scrape shows.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut rows = BTreeMap::new();
        for (namespace, pods) in &self.pods {
            for (name, entry) in pods.iter().filter(|(_, entry)| !entry.ended) {
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

    /// Counts something of a pod. Its names are copied only when they are new: this runs for every event.
    fn update(
        &mut self,
        (namespace, name, uid): (&str, &str, &str),
        workload: Option<&str>,
        count: impl FnOnce(&mut Series),
    ) {
        let known = self.pods.get_mut(namespace).and_then(|pods| pods.get_mut(name));
        let mut new = Entry::default();
        let found = known.is_some();
        let entry = known.unwrap_or(&mut new);
        // A successor of the same name; what is left of the minute of the first is not worth a second series.
        if entry.uid != uid {
            uid.clone_into(&mut entry.uid);
            (entry.gone, entry.ended) = (None, false);
        }
        if entry.ended {
            return;
        }
        if let Some(workload) = workload.filter(|_| entry.workload.is_empty()) {
            workload.clone_into(&mut entry.workload);
        }
        count(&mut entry.series);
        if !found {
            self.pods.entry(namespace.to_owned()).or_default().insert(name.to_owned(), new);
        }
    }
}
