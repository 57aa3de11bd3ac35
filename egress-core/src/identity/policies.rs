//! Policies by namespace and by what they select: the ones that select a pod are found without looking at the rest.

mod shelves;

use shelves::Shelves;
use std::sync::Arc;

use super::calico::CalicoIndex;
use crate::cluster::calico::CalicoPolicy;
use crate::cluster::{NetworkPolicy, Object, ObjectKind, OtherPolicy};

/// All policies known, kind by kind. A kind that is not installed has none and costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    pub(super) network: Shelves<NetworkPolicy>,
    pub(super) calico: Shelves<CalicoPolicy>,
    /// What Calico's policies refer to.
    pub(super) calico_refers: CalicoIndex,
    pub(super) other: Shelves<OtherPolicy>,
}

/// Which shelves a kind of policy stands on.
pub(crate) trait Shelved: Sized {
    /// All that are known.
    fn shelves(policies: &Policies) -> &Shelves<Self>;
    /// The object, if it is one.
    fn of(object: &Object) -> Option<&Arc<Self>>;
}

impl Shelved for NetworkPolicy {
    fn shelves(policies: &Policies) -> &Shelves<Self> {
        &policies.network
    }

    fn of(object: &Object) -> Option<&Arc<Self>> {
        if let Object::NetworkPolicy(policy) = object { Some(policy) } else { None }
    }
}

impl Shelved for CalicoPolicy {
    fn shelves(policies: &Policies) -> &Shelves<Self> {
        &policies.calico
    }

    fn of(object: &Object) -> Option<&Arc<Self>> {
        if let Object::CalicoPolicy(policy) = object { Some(policy) } else { None }
    }
}

impl Shelved for OtherPolicy {
    fn shelves(policies: &Policies) -> &Shelves<Self> {
        &policies.other
    }

    fn of(object: &Object) -> Option<&Arc<Self>> {
        if let Object::OtherPolicy(policy) = object { Some(policy) } else { None }
    }
}

impl Policies {
    /// Takes in a policy; other objects are none of its business.
    pub(super) fn apply(&mut self, object: Object) {
        match object {
            Object::NetworkPolicy(policy) => self.network.apply(policy),
            Object::CalicoPolicy(policy) => self.calico.apply(policy),
            Object::CalicoNetworkSet(set) => self.calico_refers.apply_set(set),
            Object::CalicoTier(tier) => self.calico_refers.apply_tier(tier),
            Object::OtherPolicy(policy) => self.other.apply(policy),
            _ => {}
        }
    }

    pub(super) fn delete(&mut self, kind: ObjectKind, namespace: &str, name: &str) {
        match kind {
            ObjectKind::NetworkPolicy => self.network.delete(kind, namespace, name),
            ObjectKind::CalicoNetworkPolicy | ObjectKind::CalicoGlobalNetworkPolicy => {
                self.calico.delete(kind, namespace, name);
            }
            ObjectKind::CalicoNetworkSet | ObjectKind::CalicoGlobalNetworkSet => {
                self.calico_refers.delete_set(namespace, name);
            }
            ObjectKind::CalicoTier => self.calico_refers.delete_tier(name),
            ObjectKind::OtherPolicy => self.other.delete(kind, namespace, name),
            _ => {}
        }
    }

    /// Namespaces and names of all policies of a kind.
    pub(super) fn names(&self, kind: ObjectKind) -> Vec<(&str, &str)> {
        match kind {
            ObjectKind::NetworkPolicy => self.network.names(kind),
            ObjectKind::CalicoNetworkPolicy | ObjectKind::CalicoGlobalNetworkPolicy => {
                self.calico.names(kind)
            }
            ObjectKind::CalicoNetworkSet | ObjectKind::CalicoGlobalNetworkSet | ObjectKind::CalicoTier => {
                self.calico_refers.names(kind)
            }
            ObjectKind::OtherPolicy => self.other.names(kind),
            _ => Vec::new(),
        }
    }
}
