//! Which groups, versions and resources there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::status::Refusal;
use crate::store::Store;

/// `/version`
pub(crate) fn version() -> Value {
    json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0-egress-apiserver", "platform": "linux/amd64"})
}

/// `/api`
pub(crate) fn core() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`
pub(crate) fn groups(store: &Store) -> Value {
    let groups: Vec<_> = versions(store).iter().map(|(group, versions)| entry(group, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`
pub(crate) fn group(store: &Store, name: &str) -> Result<Value, Refusal> {
    let versions = versions(store);
    let found = versions.get(name).ok_or_else(Refusal::no_such_resource)?;
    let mut group = entry(name, found);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(group)
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(crate) fn resources(store: &Store, group: &str, version: &str) -> Result<Value, Refusal> {
    let served = store.kinds().filter(|(resource, _)| resource.group == group && resource.version == version);
    let mut resources = Vec::new();
    let mut group_version = String::new();
    for (resource, kind) in served {
        group_version = resource.api_version();
        resources.push(json!({
            "name": resource.plural, "singularName": kind.kind.to_lowercase(), "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }));
        if resource.plural == "pods" {
            resources.push(json!({
                "name": "pods/portforward", "singularName": "", "namespaced": true,
                "kind": "PodPortForwardOptions", "verbs": ["create", "get"],
            }));
        }
    }
    if resources.is_empty() {
        return Err(Refusal::no_such_resource());
    }
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    }))
}

/// The versions of each group but the core group.
fn versions(store: &Store) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (resource, _) in store.kinds().filter(|(resource, _)| !resource.group.is_empty()) {
        let versions = all.entry(resource.group.clone()).or_default();
        if !versions.contains(&resource.version) {
            versions.push(resource.version.clone());
        }
    }
    all
}

fn entry(group: &str, versions: &[String]) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}
