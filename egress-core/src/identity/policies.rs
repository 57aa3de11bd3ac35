//! Policies by namespace and by what they select: the ones that select a pod are found without looking at the rest.

mod shelves;

use shelves::Shelves;
use std::sync::Arc;

use super::calico::CalicoIndex;
use super::cilium::CidrGroups;
use crate::cluster::calico::CalicoPolicy;
use crate::cluster::{CiliumPolicy, NetworkPolicy, Object, ObjectKind, OtherPolicy, TieredPolicy};

/// Which shelves a kind of policy stands on.
pub(crate) trait Shelved: Sized {
    /// All that are known.
    fn shelves(policies: &Policies) -> &Shelves<Self>;
    /// The object, if it is one.
    fn of(object: &Object) -> Option<&Arc<Self>>;
}

/// A row for each type: its field, its type, the kinds of objects that are of it.
macro_rules! shelved {
    ($($field:ident: $policy:ident = $($kind:ident)|+;)+) => {
        /// All policies known, type by type. A kind that is not installed has none and costs nothing.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Policies {
            $(pub(super) $field: Shelves<$policy>,)+
            /// What Calico's policies refer to.
            pub(super) calico_refers: CalicoIndex,
            /// What Cilium's policies refer to.
            pub(super) cilium_refers: CidrGroups,
        }

        $(impl Shelved for $policy {
            fn shelves(policies: &Policies) -> &Shelves<Self> {
                &policies.$field
            }

            fn of(object: &Object) -> Option<&Arc<Self>> {
                if let Object::$policy(policy) = object { Some(policy) } else { None }
            }
        })+

        impl Policies {
            /// Takes in a policy; other objects are none of its business.
            pub(super) fn apply(&mut self, object: Object) {
                match object {
                    $(Object::$policy(policy) => self.$field.apply(policy),)+
                    Object::CalicoNetworkSet(set) => self.calico_refers.apply_set(set),
                    Object::CalicoTier(tier) => self.calico_refers.apply_tier(tier),
                    Object::CiliumCidrGroup(group) => self.cilium_refers.apply(group),
                    _ => {}
                }
            }

            pub(super) fn delete(&mut self, kind: ObjectKind, namespace: &str, name: &str) {
                match kind {
                    $($(ObjectKind::$kind)|+ => self.$field.delete(kind, namespace, name),)+
                    ObjectKind::CalicoNetworkSet | ObjectKind::CalicoGlobalNetworkSet => {
                        self.calico_refers.delete_set(namespace, name);
                    }
                    ObjectKind::CalicoTier => self.calico_refers.delete_tier(name),
                    ObjectKind::CiliumCidrGroup => self.cilium_refers.delete(name),
                    _ => {}
                }
            }

            /// Namespaces and names of all policies of a kind.
            pub(super) fn names(&self, kind: ObjectKind) -> Vec<(&str, &str)> {
                match kind {
                    $($(ObjectKind::$kind)|+ => self.$field.names(kind),)+
                    ObjectKind::CalicoNetworkSet | ObjectKind::CalicoGlobalNetworkSet | ObjectKind::CalicoTier => {
                        self.calico_refers.names(kind)
                    }
                    ObjectKind::CiliumCidrGroup => self.cilium_refers.names(),
                    _ => Vec::new(),
                }
            }
        }
    };
}

shelved! {
    network: NetworkPolicy = NetworkPolicy;
    calico: CalicoPolicy = CalicoNetworkPolicy | CalicoGlobalNetworkPolicy;
    cilium: CiliumPolicy = CiliumNetworkPolicy | CiliumClusterwideNetworkPolicy;
    other: OtherPolicy = OtherPolicy;
    tiered: TieredPolicy = AdminNetworkPolicy | BaselineAdminNetworkPolicy | ClusterNetworkPolicy;
}
