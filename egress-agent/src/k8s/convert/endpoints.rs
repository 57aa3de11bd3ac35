//! EndpointSlices.

use egress_core::cluster::{Backend, EndpointSlice, PodRef};
use k8s_openapi::api::discovery::v1;

use super::field::Field;
use super::{Errors, ip, names, port, protocol};

/// Label that names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Converts an EndpointSlice. One of host names (`addressType: FQDN`) has no backends.
pub fn endpoint_slice(mut object: v1::EndpointSlice, errors: &mut Errors) -> EndpointSlice {
    let (namespace, name) = names(&mut object.metadata, errors);
    let mut ports = Vec::new();
    let ports_at = Field::root("ports");
    for (index, given) in object.ports.unwrap_or_default().into_iter().enumerate() {
        let at = ports_at.item(index);
        let protocol = protocol(given.protocol.as_deref(), &at.then("protocol"), errors);
        // A port without a number stands for "all ports" and tells nothing about one.
        let number = given.port.and_then(|number| port(number, &at.then("port"), errors));
        ports.extend(number.map(|number| (given.name.unwrap_or_default(), number, protocol)));
    }
    let mut backends = Vec::new();
    let endpoints_at = Field::root("endpoints");
    let addresses = object.address_type != "FQDN";
    for (index, given) in object.endpoints.into_iter().enumerate().filter(|_| addresses) {
        let at = endpoints_at.item(index);
        backends.extend(endpoint(given, &namespace, &at.then("addresses"), errors));
    }
    let service = object.metadata.labels.and_then(|mut labels| labels.remove(SERVICE_NAME));
    EndpointSlice { namespace, name, service, ports, backends }
}

/// An endpoint has usually one address; each becomes a backend.
fn endpoint(given: v1::Endpoint, namespace: &str, at: &Field<'_>, errors: &mut Errors) -> Vec<Backend> {
    let conditions = given.conditions.unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let target = given.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = target.and_then(|target| {
        let namespace = target.namespace.unwrap_or_else(|| namespace.to_owned());
        Some(PodRef { namespace, name: target.name? })
    });
    let mut backends = Vec::new();
    for (index, text) in given.addresses.iter().enumerate() {
        backends.extend(ip(text, &at.item(index), errors).map(|ip| Backend {
            ip,
            ready,
            serving: conditions.serving.unwrap_or(ready),
            pod: pod.clone(),
            node: given.node_name.clone(),
        }));
    }
    backends
}
