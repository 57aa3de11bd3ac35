//! Cilium's sets of ranges, which its policies refer to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ClusterIndex;
use crate::cluster::CiliumCidrGroup;

/// By name.
#[derive(Clone, Debug, Default)]
pub(super) struct CidrGroups(BTreeMap<String, Arc<CiliumCidrGroup>>);

impl CidrGroups {
    pub(super) fn apply(&mut self, group: Arc<CiliumCidrGroup>) {
        self.0.insert(group.name.clone(), group);
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Namespaces, which they have none of, and names.
    pub(super) fn names(&self) -> Vec<(&str, &str)> {
        self.0.keys().map(|name| ("", name.as_str())).collect()
    }
}

impl ClusterIndex {
    /// The CiliumCIDRGroup of this name.
    #[must_use]
    pub fn cilium_cidr_group(&self, name: &str) -> Option<&Arc<CiliumCidrGroup>> {
        self.policies.cilium_refers.0.get(name)
    }

    /// All CiliumCIDRGroups, by name.
    pub fn cilium_cidr_groups(&self) -> impl Iterator<Item = &Arc<CiliumCidrGroup>> {
        self.policies.cilium_refers.0.values()
    }
}
