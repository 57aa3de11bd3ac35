//! What is watched: a row for each resource.

use egress_core::cluster::ObjectKind;

/// A resource that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    /// `apiVersion`s that have it, the best first: the first that the server serves is watched.
    pub(super) versions: &'static [&'static str],
    /// As in the URL.
    pub(super) plural: &'static str,
    /// `kind` of its objects.
    pub(super) kind: &'static str,
    /// Ours, where every server has it. Objects of other resources are told one by one.
    pub(super) object: Option<ObjectKind>,
    /// Which of its objects.
    pub(super) scope: Scope,
    /// What hangs on it.
    pub(super) use_: Use,
}

/// Which objects of a resource are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of the cluster.
    All,
    /// Pods of this node.
    Node,
}

/// What hangs on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Without it there is nothing to watch.
    Pods,
    /// Who is who.
    Identity,
    /// What is allowed. Where it cannot be read, nothing is known to be.
    Policies,
}

impl Watched {
    /// Comes with a CustomResourceDefinition, if at all.
    pub(super) const fn is_custom(&self) -> bool {
        self.object.is_none()
    }
}

const fn built_in(
    versions: &'static [&'static str],
    plural: &'static str,
    kind: &'static str,
    object: ObjectKind,
    use_: Use,
) -> Watched {
    let scope = if matches!(use_, Use::Pods) { Scope::Node } else { Scope::All };
    Watched { versions, plural, kind, object: Some(object), scope, use_ }
}

const fn custom(versions: &'static [&'static str], plural: &'static str, kind: &'static str) -> Watched {
    Watched { versions, plural, kind, object: None, scope: Scope::All, use_: Use::Policies }
}

/// Versions of Calico's kinds: its own storage, or (where its API server or its v3 definitions are the only ones)
/// what people write.
const CALICO: &[&str] = &["crd.projectcalico.org/v1", "projectcalico.org/v3"];
const CILIUM: &[&str] = &["cilium.io/v2"];

/// Everything that is watched.
pub(super) const WATCHED: &[Watched] = &[
    built_in(&["v1"], "pods", "Pod", ObjectKind::Pod, Use::Pods),
    built_in(&["v1"], "namespaces", "Namespace", ObjectKind::Namespace, Use::Identity),
    built_in(
        &["networking.k8s.io/v1"],
        "networkpolicies",
        "NetworkPolicy",
        ObjectKind::NetworkPolicy,
        Use::Policies,
    ),
    built_in(&["v1"], "services", "Service", ObjectKind::Service, Use::Identity),
    built_in(
        &["discovery.k8s.io/v1"],
        "endpointslices",
        "EndpointSlice",
        ObjectKind::EndpointSlice,
        Use::Identity,
    ),
    built_in(&["v1"], "nodes", "Node", ObjectKind::Node, Use::Identity),
    custom(&["policy.networking.k8s.io/v1alpha1"], "adminnetworkpolicies", "AdminNetworkPolicy"),
    custom(
        &["policy.networking.k8s.io/v1alpha1"],
        "baselineadminnetworkpolicies",
        "BaselineAdminNetworkPolicy",
    ),
    custom(&["policy.networking.k8s.io/v1alpha2"], "clusternetworkpolicies", "ClusterNetworkPolicy"),
    custom(CILIUM, "ciliumnetworkpolicies", "CiliumNetworkPolicy"),
    custom(CILIUM, "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy"),
    custom(&["cilium.io/v2", "cilium.io/v2alpha1"], "ciliumcidrgroups", "CiliumCIDRGroup"),
    custom(CALICO, "networkpolicies", "NetworkPolicy"),
    custom(CALICO, "globalnetworkpolicies", "GlobalNetworkPolicy"),
    custom(CALICO, "networksets", "NetworkSet"),
    custom(CALICO, "globalnetworksets", "GlobalNetworkSet"),
    custom(CALICO, "tiers", "Tier"),
];

/// A resource in the version that is watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource {
    /// Its row.
    pub(super) row: &'static Watched,
    /// `apiVersion`
    pub(super) api_version: &'static str,
}

impl Resource {
    /// `""` for the core group.
    pub(super) fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// `networkpolicies.networking.k8s.io`
    pub(super) fn qualified(&self) -> String {
        match self.group() {
            "" => self.row.plural.to_owned(),
            group => format!("{}.{group}", self.row.plural),
        }
    }

    /// The path of all its objects.
    pub(super) fn path(&self) -> String {
        self.path_in(None)
    }

    /// The path of its objects in one namespace, or of all of them.
    pub(super) fn path_in(&self, namespace: Option<&str>) -> String {
        let root = if self.group().is_empty() { "api" } else { "apis" };
        let place = namespace.map_or_else(String::new, |name| format!("namespaces/{name}/"));
        format!("/{root}/{}/{place}{}", self.api_version, self.row.plural)
    }

    /// The resource of a kind that every server has.
    pub(super) fn built_in(kind: ObjectKind) -> Option<Self> {
        let row = WATCHED.iter().find(|row| row.object == Some(kind))?;
        Some(Self { row, api_version: row.versions.first()? })
    }

    /// Its policies are in namespaces, and select pods of their own alone.
    pub(super) fn is_namespaced_policy(&self) -> bool {
        matches!(self.row.kind, "NetworkPolicy" | "CiliumNetworkPolicy")
    }
}
