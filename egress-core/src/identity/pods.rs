//! Pods by name, by address and by network namespace.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::claims::Claims;
use crate::cluster::{Pod, PodRef};
use crate::time::Mono;

/// All pods known, and those that were there a short while ago.
#[derive(Clone, Debug, Default)]
pub(super) struct PodIndex {
    by_name: BTreeMap<String, BTreeMap<String, Arc<Pod>>>,
    by_ip: Claims<IpAddr>,
    by_netns: Claims<u32>,
    netns_of: HashMap<PodRef, u32>,
    /// By the UIDs that the container runtime knows: those of mirrors of static pods come second.
    by_uid: HashMap<String, PodRef>,
    by_static_uid: HashMap<String, PodRef>,
}

impl PodIndex {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Pod>> {
        self.by_name.get(namespace)?.get(name)
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.by_name.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.by_name.values().flat_map(BTreeMap::values)
    }

    /// Adds or replaces a pod. `listed`: it was there when we first looked.
    pub(super) fn apply(&mut self, pod: Arc<Pod>, at: Mono, listed: bool) {
        let pods = self.by_name.entry(pod.namespace.clone()).or_default();
        let old = pods.insert(pod.name.clone(), Arc::clone(&pod));
        let before = match &old {
            Some(old) if old.is_same(&pod) => old.own_ips(),
            Some(old) => {
                self.retire(old, at);
                &[]
            }
            None => &[],
        };
        for ip in before.iter().filter(|ip| !pod.own_ips().contains(ip)) {
            self.by_ip.close(*ip, &pod, at);
        }
        for ip in pod.own_ips() {
            if before.contains(ip) {
                self.by_ip.refresh(*ip, &pod);
            } else {
                self.by_ip.open(*ip, &pod, at, listed);
            }
        }
        let moved = old.as_ref().is_some_and(|old| has_moved(old, &pod));
        self.by_uid.insert(pod.uid.clone(), pod.reference());
        if let Some(uid) = &pod.static_uid {
            self.by_static_uid.insert(uid.clone(), pod.reference());
        }
        if moved || pod.finished {
            self.leave_netns(&pod, at);
        } else if let Some(netns) = self.netns_of.get(&pod.reference()) {
            self.by_netns.refresh(*netns, &pod);
        }
    }

    pub(super) fn delete(&mut self, namespace: &str, name: &str, at: Mono) {
        let Some(pods) = self.by_name.get_mut(namespace) else { return };
        let Some(pod) = pods.remove(name) else { return };
        if pods.is_empty() {
            self.by_name.remove(namespace);
        }
        self.retire(&pod, at);
    }

    /// Which network namespace a pod runs in. False if there is no such pod, or it is on the host's network.
    pub(super) fn set_netns(&mut self, namespace: &str, name: &str, netns: u32, at: Mono) -> bool {
        let Some(pod) = self.get(namespace, name).filter(|pod| !pod.host_network && !pod.finished).cloned()
        else {
            return false;
        };
        let key = pod.reference();
        if self.netns_of.get(&key) != Some(&netns) {
            self.leave_netns(&pod, at);
            self.netns_of.insert(key, netns);
            self.by_netns.open(netns, &pod, at, false);
        }
        true
    }

    pub(super) fn netns_of(&self, pod: &PodRef) -> Option<u32> {
        self.netns_of.get(pod).copied()
    }

    pub(super) fn by_ip(&self, ip: IpAddr, at: Mono) -> Option<&Arc<Pod>> {
        self.by_ip.at(ip, at)
    }

    pub(super) fn by_netns(&self, netns: u32, at: Mono) -> Option<&Arc<Pod>> {
        self.by_netns.at(netns, at)
    }

    pub(super) fn expire(&mut self, now: Mono) {
        self.by_ip.expire(now);
        self.by_netns.expire(now);
    }

    /// The pod that the container runtime calls by this UID.
    pub(super) fn by_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        let found = self.by_uid.get(uid).or_else(|| self.by_static_uid.get(uid))?;
        self.get(&found.namespace, &found.name).filter(|pod| pod.is_called(uid))
    }

    /// Ends all of a pod's claims.
    fn retire(&mut self, pod: &Pod, at: Mono) {
        self.by_uid.remove(&pod.uid);
        if let Some(uid) = &pod.static_uid {
            self.by_static_uid.remove(uid);
        }
        for ip in pod.own_ips() {
            self.by_ip.close(*ip, pod, at);
        }
        self.leave_netns(pod, at);
    }

    fn leave_netns(&mut self, pod: &Pod, at: Mono) {
        if let Some(netns) = self.netns_of.remove(&pod.reference()) {
            self.by_netns.close(netns, pod, at);
        }
    }
}

/// The pod's network namespace is another one: the path says so, or, where none is given, a new sandbox with other
/// addresses.
fn has_moved(old: &Pod, new: &Pod) -> bool {
    old.netns_path != new.netns_path
        || (new.netns_path.is_none() && !old.ips.is_empty() && !old.ips.iter().any(|ip| new.ips.contains(ip)))
}
