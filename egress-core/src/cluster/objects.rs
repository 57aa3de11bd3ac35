//! Pods, Services and the rest, reduced to what identity and policy need.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::calico::{CalicoPolicy, NetworkSet, Tier};
use super::{CiliumCidrGroup, CiliumPolicy, Labels, NetworkPolicy, OtherPolicy, Policy, TieredPolicy};
use crate::protocol::Protocol;

/// Any object the agent keeps. Whoever keeps it shares it: the source that told of it, and the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Object {
    /// A pod.
    Pod(Arc<Pod>),
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// A node.
    Node(Arc<Node>),
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// A `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy(Arc<NetworkPolicy>),
    /// A NetworkPolicy or GlobalNetworkPolicy of Calico.
    CalicoPolicy(Arc<CalicoPolicy>),
    /// A NetworkSet or GlobalNetworkSet of Calico.
    CalicoNetworkSet(Arc<NetworkSet>),
    /// A Tier of Calico.
    CalicoTier(Arc<Tier>),
    /// A policy of a kind that is not evaluated.
    OtherPolicy(Arc<OtherPolicy>),
    /// A policy in the admin or the baseline tier.
    TieredPolicy(Arc<TieredPolicy>),
    /// A policy of Cilium's.
    CiliumPolicy(Arc<CiliumPolicy>),
    /// A set of ranges that Cilium's policies refer to.
    CiliumCidrGroup(Arc<CiliumCidrGroup>),
}

/// Kind of an [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// Pod.
    Pod,
    /// Namespace.
    Namespace,
    /// Node.
    Node,
    /// Service.
    Service,
    /// EndpointSlice.
    EndpointSlice,
    /// NetworkPolicy.
    NetworkPolicy,
    /// NetworkPolicy of Calico.
    CalicoNetworkPolicy,
    /// GlobalNetworkPolicy of Calico.
    CalicoGlobalNetworkPolicy,
    /// NetworkSet of Calico.
    CalicoNetworkSet,
    /// GlobalNetworkSet of Calico.
    CalicoGlobalNetworkSet,
    /// Tier of Calico.
    CalicoTier,
    /// A policy of a kind that is not evaluated.
    OtherPolicy,
    /// AdminNetworkPolicy.
    AdminNetworkPolicy,
    /// BaselineAdminNetworkPolicy.
    BaselineAdminNetworkPolicy,
    /// ClusterNetworkPolicy (`policy.networking.k8s.io`).
    ClusterNetworkPolicy,
    /// CiliumNetworkPolicy.
    CiliumNetworkPolicy,
    /// CiliumClusterwideNetworkPolicy.
    CiliumClusterwideNetworkPolicy,
    /// CiliumCIDRGroup.
    CiliumCidrGroup,
}

/// Every kind, with its name in manifests and its resource's name in the API; with the group where another kind has the
/// same name.
const KINDS: &[(ObjectKind, &str, &str)] = &[
    (ObjectKind::Pod, "Pod", "pods"),
    (ObjectKind::Namespace, "Namespace", "namespaces"),
    (ObjectKind::Node, "Node", "nodes"),
    (ObjectKind::Service, "Service", "services"),
    (ObjectKind::EndpointSlice, "EndpointSlice", "endpointslices"),
    (ObjectKind::NetworkPolicy, "NetworkPolicy", "networkpolicies"),
    (ObjectKind::CalicoNetworkPolicy, "NetworkPolicy.projectcalico.org", "networkpolicies.projectcalico.org"),
    (ObjectKind::CalicoGlobalNetworkPolicy, "GlobalNetworkPolicy", "globalnetworkpolicies"),
    (ObjectKind::CalicoNetworkSet, "NetworkSet", "networksets"),
    (ObjectKind::CalicoGlobalNetworkSet, "GlobalNetworkSet", "globalnetworksets"),
    (ObjectKind::CalicoTier, "Tier", "tiers"),
    (ObjectKind::OtherPolicy, "OtherPolicy", "otherpolicies"),
    (ObjectKind::AdminNetworkPolicy, "AdminNetworkPolicy", "adminnetworkpolicies"),
    (ObjectKind::BaselineAdminNetworkPolicy, "BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies"),
    (ObjectKind::ClusterNetworkPolicy, "ClusterNetworkPolicy", "clusternetworkpolicies"),
    (ObjectKind::CiliumNetworkPolicy, "CiliumNetworkPolicy", "ciliumnetworkpolicies"),
    (
        ObjectKind::CiliumClusterwideNetworkPolicy,
        "CiliumClusterwideNetworkPolicy",
        "ciliumclusterwidenetworkpolicies",
    ),
    (ObjectKind::CiliumCidrGroup, "CiliumCIDRGroup", "ciliumcidrgroups"),
];

impl ObjectKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(kind, ..)| *kind)
    }

    /// As manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The resource's name in the API, as `kubectl get` takes it.
    #[must_use]
    pub fn resource(self) -> &'static str {
        self.row().2
    }

    /// It is a kind of policy, or of what only policies refer to.
    #[must_use]
    pub fn is_policy(self) -> bool {
        !matches!(self, Self::Pod | Self::Namespace | Self::Node | Self::Service | Self::EndpointSlice)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        let found = KINDS.iter().find(|(kind, ..)| *kind == self);
        found.unwrap_or(&KINDS[0])
    }
}

/// Names an object. `namespace` is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind.
    pub kind: ObjectKind,
    /// Namespace, empty if the kind has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// `NetworkPolicy shop/allow-dns`, `Node worker-1`
impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        let slash = if namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {namespace}{slash}{name}", kind.as_str())
    }
}

impl Object {
    /// The name of this object.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        let (namespace, name) = match self {
            Self::Pod(o) => (o.namespace.as_str(), o.name.as_str()),
            Self::Namespace(o) => ("", o.name.as_str()),
            Self::Node(o) => ("", o.name.as_str()),
            Self::Service(o) => (o.namespace.as_str(), o.name.as_str()),
            Self::EndpointSlice(o) => (o.namespace.as_str(), o.name.as_str()),
            Self::NetworkPolicy(o) => (o.namespace(), o.name()),
            Self::CalicoPolicy(o) => (o.namespace(), o.name()),
            Self::CalicoNetworkSet(o) => (o.namespace.as_str(), o.name.as_str()),
            Self::CalicoTier(o) => ("", o.name.as_str()),
            Self::OtherPolicy(o) => (o.namespace(), o.name()),
            Self::TieredPolicy(o) => (o.namespace(), o.name()),
            Self::CiliumPolicy(o) => (o.namespace(), o.name()),
            Self::CiliumCidrGroup(o) => ("", o.name.as_str()),
        };
        ObjectRef { kind: self.kind(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The kind of this object.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Pod(_) => ObjectKind::Pod,
            Self::Namespace(_) => ObjectKind::Namespace,
            Self::Node(_) => ObjectKind::Node,
            Self::Service(_) => ObjectKind::Service,
            Self::EndpointSlice(_) => ObjectKind::EndpointSlice,
            Self::NetworkPolicy(o) => o.kind(),
            Self::CalicoPolicy(o) => o.kind(),
            Self::CalicoNetworkSet(o) if o.namespace.is_empty() => ObjectKind::CalicoGlobalNetworkSet,
            Self::CalicoNetworkSet(_) => ObjectKind::CalicoNetworkSet,
            Self::CalicoTier(_) => ObjectKind::CalicoTier,
            Self::OtherPolicy(o) => o.kind(),
            Self::TieredPolicy(o) => o.kind(),
            Self::CiliumPolicy(o) => o.kind(),
            Self::CiliumCidrGroup(_) => ObjectKind::CiliumCidrGroup,
        }
    }
}

macro_rules! objects {
    ($($kind:ident: $type:ident),*) => {$(
        impl From<$type> for Object {
            fn from(object: $type) -> Self {
                Self::$kind(Arc::new(object))
            }
        }
    )*};
}

objects! {
    Pod: Pod,
    Namespace: Namespace,
    Node: Node,
    Service: Service,
    EndpointSlice: EndpointSlice,
    NetworkPolicy: NetworkPolicy,
    CalicoPolicy: CalicoPolicy,
    CalicoNetworkSet: NetworkSet,
    CalicoTier: Tier,
    OtherPolicy: OtherPolicy,
    TieredPolicy: TieredPolicy,
    CiliumPolicy: CiliumPolicy,
    CiliumCidrGroup: CiliumCidrGroup
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`, empty if the source has none.
    pub uid: String,
    /// Of the mirror of a static pod, the UID that its cgroup has (annotation `kubernetes.io/config.hash`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_uid: Option<String>,
    /// `metadata.labels`
    pub labels: Labels,
    /// `spec.nodeName`, empty if unscheduled.
    pub node: String,
    /// `status.podIPs`, primary first.
    pub ips: Vec<IpAddr>,
    /// `spec.hostNetwork`
    pub host_network: bool,
    /// Controlling owner as `Kind/name` (ReplicaSet resolved to its Deployment where the name tells), if any.
    pub workload: Option<String>,
    /// `status.phase` is Succeeded or Failed.
    pub finished: bool,
    /// The Ready condition is true.
    pub ready: bool,
    /// Why it is not ready, in the words of its status (`CrashLoopBackOff`, `containers with unready status: [web]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Containers with their ports.
    pub containers: Vec<Container>,
    /// How it resolves names.
    #[serde(default)]
    pub dns: Box<PodDns>,
    /// `spec.serviceAccountName`, empty if the source has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_account: String,
    /// Path of the pod's network namespace (annotation `egress-agent.io/netns`), only ever set by a file source.
    pub netns_path: Option<String>,
}

/// `spec.dnsPolicy` and `spec.dnsConfig` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodDns {
    /// `dnsPolicy`; `None` where the source does not say: `ClusterFirst`.
    pub policy: Option<String>,
    /// `dnsConfig.nameservers`
    pub nameservers: Vec<IpAddr>,
    /// `dnsConfig.searches`
    pub searches: Vec<String>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// `name`
    pub name: String,
    /// `ports`
    pub ports: Vec<ContainerPort>,
    /// Environment variables that set a proxy (`HTTPS_PROXY`, …), name and value.
    pub proxy_env: Vec<(String, String)>,
    /// Id that the runtime gave it (`containerID` of its status, without `containerd://`), once it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerPort {
    /// `name`, if any.
    pub name: Option<String>,
    /// `containerPort`
    pub port: u16,
    /// `protocol`
    pub protocol: Protocol,
}

impl Pod {
    /// `namespace` and `name`.
    #[must_use]
    pub fn reference(&self) -> PodRef {
        PodRef { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The same object, in whatever version: equal namespace, name and UID.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.namespace == other.namespace && self.uid == other.uid
    }

    /// Whether the container runtime calls it by this UID.
    #[must_use]
    pub fn is_called(&self, uid: &str) -> bool {
        !uid.is_empty() && (self.uid == uid || self.static_uid.as_deref() == Some(uid))
    }

    /// The addresses that are this pod's alone: none on the host network, none once it has finished.
    #[must_use]
    pub fn own_ips(&self) -> &[IpAddr] {
        if self.host_network || self.finished { &[] } else { &self.ips }
    }
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`; `kubernetes.io/metadata.name` is always there.
    pub labels: Labels,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`
    pub labels: Labels,
    /// `status.addresses` that are IPs.
    pub ips: Vec<IpAddr>,
    /// `spec.podCIDRs`
    pub pod_cidrs: Vec<ipnet::IpNet>,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels`
    pub labels: Labels,
    /// `spec.clusterIPs` without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs` and `status.loadBalancer.ingress[].ip`.
    pub external_ips: Vec<IpAddr>,
    /// `spec.ports`
    pub ports: Vec<ServicePort>,
    /// `spec.selector`; `None` where the Service has none.
    pub selector: Option<Labels>,
    /// `spec.internalTrafficPolicy` is `Local`: ClusterIPs lead to endpoints on the client's node only.
    #[serde(default)]
    pub internal_local: bool,
    /// `spec.externalTrafficPolicy` is `Local`: node ports and external addresses lead to endpoints on the node
    /// that was dialled only.
    #[serde(default)]
    pub external_local: bool,
    /// `spec.publishNotReadyAddresses`
    #[serde(default)]
    pub publish_not_ready: bool,
}

impl Service {
    /// `namespace` and `name`.
    #[must_use]
    pub fn reference(&self) -> PodRef {
        PodRef { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServicePort {
    /// `name`, if any.
    pub name: Option<String>,
    /// `port`
    pub port: u16,
    /// `protocol`
    pub protocol: Protocol,
    /// `targetPort`
    pub target: ServiceTarget,
    /// `nodePort`, if any.
    pub node_port: Option<u16>,
}

/// `targetPort` of a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceTarget {
    /// By number.
    Number(u16),
    /// By container port name.
    Name(String),
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// Label `kubernetes.io/service-name`.
    pub service: Option<String>,
    /// `ports`: name (may be empty), number, protocol.
    pub ports: Vec<(String, u16, Protocol)>,
    /// `endpoints`, one for each address.
    pub backends: Vec<Backend>,
}

/// One address of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// The address.
    pub ip: IpAddr,
    /// `conditions.ready`, true if unset.
    pub ready: bool,
    /// `conditions.serving`, as ready if unset.
    pub serving: bool,
    /// `targetRef` of kind Pod.
    pub pod: Option<PodRef>,
    /// `nodeName`
    pub node: Option<String>,
}

/// Names a pod (or a Service) in a verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
