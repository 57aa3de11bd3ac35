//! Namespaces and nodes.

use egress_core::cluster::{Namespace, Node};
use k8s_openapi::api::core::v1;

use super::field::Field;
use super::{Errors, NAMESPACE_NAME_LABEL, cidr, name};

/// Converts a Namespace. The label with its name is there even if the manifest lacks it, as the API server sees to it.
pub fn namespace(mut object: v1::Namespace, errors: &mut Errors) -> Namespace {
    let name = name(&mut object.metadata, errors);
    let mut labels = object.metadata.labels.unwrap_or_default();
    labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.clone());
    let labels = labels.into();
    Namespace { name, labels }
}

/// Converts a Node.
pub fn node(mut object: v1::Node, errors: &mut Errors) -> Node {
    let addresses = object.status.and_then(|status| status.addresses).unwrap_or_default();
    let mut ips = Vec::new();
    // Host names stand among the addresses.
    for ip in addresses.iter().filter_map(|address| address.address.parse().ok()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    let spec = Field::root("spec");
    let mut pod_cidrs = Vec::new();
    if let Some(given) = object.spec {
        let (at, many) = (spec.then("podCIDRs"), given.pod_cidrs.unwrap_or_default());
        for (index, text) in many.iter().enumerate() {
            pod_cidrs.extend(cidr(text, &at.item(index), errors));
        }
        if let (true, Some(text)) = (many.is_empty(), given.pod_cidr) {
            pod_cidrs.extend(cidr(&text, &spec.then("podCIDR"), errors));
        }
    }
    Node {
        name: name(&mut object.metadata, errors),
        labels: object.metadata.labels.unwrap_or_default().into(),
        ips,
        pod_cidrs,
    }
}
