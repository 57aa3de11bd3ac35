//! What the agent knows of the cluster: our own small types. The edges (`k8s/` of the agent) turn Kubernetes
//! objects into these; nothing behind them knows k8s-openapi.

pub mod calico;
mod labels;
mod objects;
mod peer;
mod policy;
mod selector;
#[cfg(test)]
pub(crate) mod testing;

pub use labels::Labels;
pub use objects::{
    Backend, Container, ContainerPort, EndpointSlice, Namespace, Node, Object, ObjectKind, ObjectRef, Pod,
    PodDns, PodRef, Service, ServicePort, ServiceTarget,
};
pub use peer::{PeerAnswer, PeerQuestion};
pub use policy::{
    CILIUM_NAMESPACE, CILIUM_NAMESPACE_LABELS, CILIUM_RESERVED, CidrGroups, CiliumCidrGroup, CiliumFqdn,
    CiliumIcmp, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule, CiliumSelector, CiliumSpec, Expression,
    IpBlock, LabelSelector, NamespacedPods, NetworkPolicy, Operator, OtherPolicy, Peer, PolicyPort,
    PortMatch, Rule, Tier, TieredAction, TieredApi, TieredPeer, TieredPolicy, TieredPort, TieredRule,
};
pub(crate) use policy::{Policy, Scope};

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The label every namespace carries its name under (`NamespaceDefaultLabelName`).
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A change of the cluster, from whichever source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum ClusterChange {
    /// An object was added or modified.
    Apply {
        /// The object as it is now.
        object: Object,
    },
    /// An object is gone.
    Delete {
        /// Which.
        object: ObjectRef,
    },
    /// All objects of one kind, at once (a list); what is not in it is gone.
    Reset {
        /// Kind of all the objects.
        kind: ObjectKind,
        /// The objects.
        objects: Vec<Object>,
    },
    /// The source tells pods of this node alone; those of others are asked for one by one.
    PeersOnDemand,
    /// Which pod of another node has this address.
    Peer {
        /// The address.
        ip: IpAddr,
        /// Who has it.
        answer: PeerAnswer,
    },
    /// The source is in step with the cluster as of this time.
    Synced {
        /// "Policies as of".
        at: Timestamp,
    },
}

impl ClusterChange {
    /// Kind of the objects that change; `None` for news of the source.
    #[must_use]
    pub fn kind(&self) -> Option<ObjectKind> {
        match self {
            Self::Apply { object } => Some(object.reference().kind),
            Self::Delete { object } => Some(object.kind),
            Self::Reset { kind, .. } => Some(*kind),
            Self::PeersOnDemand | Self::Peer { .. } | Self::Synced { .. } => None,
        }
    }
}
