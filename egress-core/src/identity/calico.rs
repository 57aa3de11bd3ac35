//! Calico's tiers and network sets, which its policies refer to.

mod held;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::ClusterIndex;
use crate::cluster::ObjectKind;
use crate::cluster::calico::{NetworkSet, Tier};
use held::Held;

/// Tiers and network sets.
#[derive(Clone, Debug, Default)]
pub(super) struct CalicoIndex {
    tiers: BTreeMap<String, Arc<Tier>>,
    /// By namespace, which is empty for GlobalNetworkSets, and name.
    sets: BTreeMap<(String, String), Arc<NetworkSet>>,
    /// The same by what they hold.
    held: Held,
}

impl CalicoIndex {
    pub(super) fn apply_tier(&mut self, tier: Arc<Tier>) {
        self.tiers.insert(tier.name.clone(), tier);
    }

    pub(super) fn apply_set(&mut self, set: Arc<NetworkSet>) {
        self.delete_set(&set.namespace, &set.name);
        self.held.insert(&set);
        self.sets.insert((set.namespace.clone(), set.name.clone()), set);
    }

    pub(super) fn delete_tier(&mut self, name: &str) {
        self.tiers.remove(name);
    }

    pub(super) fn delete_set(&mut self, namespace: &str, name: &str) {
        if let Some(set) = self.sets.remove(&(namespace.to_owned(), name.to_owned())) {
            self.held.remove(&set);
        }
    }

    /// Namespaces and names of all objects of a kind.
    pub(super) fn names(&self, kind: ObjectKind) -> Vec<(&str, &str)> {
        let sets = self.sets.keys().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        match kind {
            ObjectKind::CalicoTier => self.tiers.keys().map(|name| ("", name.as_str())).collect(),
            ObjectKind::CalicoNetworkSet => sets.filter(|(namespace, _)| !namespace.is_empty()).collect(),
            ObjectKind::CalicoGlobalNetworkSet => {
                sets.filter(|(namespace, _)| namespace.is_empty()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl ClusterIndex {
    /// Calico's tier of this name.
    #[must_use]
    pub fn calico_tier(&self, name: &str) -> Option<&Arc<Tier>> {
        self.policies.calico_refers.tiers.get(name)
    }

    /// All network sets of Calico.
    pub fn calico_sets(&self) -> impl Iterator<Item = &Arc<NetworkSet>> {
        self.policies.calico_refers.sets.values()
    }

    /// The network sets with a net that holds this address, by namespace and name.
    #[must_use]
    pub fn calico_sets_holding(&self, ip: IpAddr) -> Vec<&Arc<NetworkSet>> {
        self.policies.calico_refers.held.holding(ip)
    }

    /// The network sets that name domains.
    #[must_use]
    pub fn calico_sets_of_domains(&self) -> &[Arc<NetworkSet>] {
        self.policies.calico_refers.held.of_domains()
    }
}
