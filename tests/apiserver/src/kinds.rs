//! The kinds a fresh server knows, and those that a CustomResourceDefinition adds.

use serde_json::Value;

/// A resource of one version of a group, as in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    /// As `networkpolicies`.
    pub(crate) plural: String,
}

impl Resource {
    /// `v1`, `networking.k8s.io/v1`
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods`, `networkpolicies.networking.k8s.io`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// What kind of objects a resource holds.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
}

/// `apiVersion`, plural, kind, namespaced.
const BUILT_IN: &[(&str, &str, &str, bool)] = &[
    ("v1", "configmaps", "ConfigMap", true),
    ("v1", "events", "Event", true),
    ("v1", "namespaces", "Namespace", false),
    ("v1", "nodes", "Node", false),
    ("v1", "pods", "Pod", true),
    ("v1", "secrets", "Secret", true),
    ("v1", "serviceaccounts", "ServiceAccount", true),
    ("v1", "services", "Service", true),
    ("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", false),
    ("apps/v1", "daemonsets", "DaemonSet", true),
    ("apps/v1", "deployments", "Deployment", true),
    ("apps/v1", "replicasets", "ReplicaSet", true),
    ("apps/v1", "statefulsets", "StatefulSet", true),
    ("batch/v1", "cronjobs", "CronJob", true),
    ("batch/v1", "jobs", "Job", true),
    ("coordination.k8s.io/v1", "leases", "Lease", true),
    ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", true),
    ("events.k8s.io/v1", "events", "Event", true),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", true),
    ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", false),
    ("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", false),
];

pub(crate) fn built_in() -> impl Iterator<Item = (Resource, Kind)> {
    BUILT_IN.iter().map(|(api_version, plural, kind, namespaced)| {
        let kind = Kind { kind: (*kind).to_owned(), namespaced: *namespaced };
        (resource(api_version, plural), kind)
    })
}

pub(crate) fn resource(api_version: &str, plural: &str) -> Resource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Resource { group: group.to_owned(), version: version.to_owned(), plural: plural.to_owned() }
}

/// The resources that a CustomResourceDefinition serves.
pub(crate) fn defined_by(definition: &Value) -> Vec<(Resource, Kind)> {
    let text = |path: &str| definition.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let served = versions.filter(|version| version["served"] != Value::Bool(false));
    served
        .filter_map(|version| {
            let version = version["name"].as_str()?.to_owned();
            let resource =
                Resource { group: text("/spec/group"), version, plural: text("/spec/names/plural") };
            let kind = Kind { kind: text("/spec/names/kind"), namespaced: text("/spec/scope") != "Cluster" };
            Some((resource, kind))
        })
        .collect()
}
