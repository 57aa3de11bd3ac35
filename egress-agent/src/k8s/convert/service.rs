//! Services.

use egress_core::cluster::{Service, ServicePort, ServiceTarget};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::field::Field;
use super::{Errors, ip, names, port, port_name, protocol};

/// Converts a Service.
pub fn service(mut object: v1::Service, errors: &mut Errors) -> Service {
    let (namespace, name) = names(&mut object.metadata, errors);
    let spec = object.spec.unwrap_or_default();
    let at = Field::root("spec");
    let mut cluster_ips = Vec::new();
    let (many_at, many) = (at.then("clusterIPs"), spec.cluster_ips.unwrap_or_default());
    for (index, text) in many.iter().enumerate().filter(|(_, text)| is_address(text)) {
        cluster_ips.extend(ip(text, &many_at.item(index), errors));
    }
    if let (true, Some(text)) = (many.is_empty(), spec.cluster_ip.filter(|text| is_address(text))) {
        cluster_ips.extend(ip(&text, &at.then("clusterIP"), errors));
    }
    let mut external_ips = Vec::new();
    let external_at = at.then("externalIPs");
    for (index, text) in spec.external_ips.iter().flatten().enumerate() {
        external_ips.extend(ip(text, &external_at.item(index), errors));
    }
    let (status, balancer, ingress) = (Field::root("status"), "loadBalancer", "ingress");
    let given = object.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
    for (index, point) in given.iter().flatten().enumerate() {
        if let Some(text) = &point.ip {
            let at = status.then(balancer);
            external_ips.extend(ip(text, &at.then(ingress).item(index).then("ip"), errors));
        }
    }
    let ports_at = at.then("ports");
    let ports = spec.ports.unwrap_or_default().into_iter().enumerate();
    let ports =
        ports.filter_map(|(index, given)| service_port(given, &ports_at.item(index), errors)).collect();
    Service {
        namespace,
        name,
        labels: object.metadata.labels.unwrap_or_default().into(),
        cluster_ips,
        external_ips,
        ports,
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        // An empty selector selects nothing by itself, as none does.
        selector: spec.selector.filter(|selector| !selector.is_empty()).map(Into::into),
    }
}

/// Headless Services have `None`, those not yet allocated nothing.
fn is_address(text: &str) -> bool {
    !text.is_empty() && text != "None"
}

fn service_port(given: v1::ServicePort, at: &Field<'_>, errors: &mut Errors) -> Option<ServicePort> {
    let protocol = protocol(given.protocol.as_deref(), &at.then("protocol"), errors);
    let target_at = at.then("targetPort");
    let number = port(given.port, &at.then("port"), errors);
    let target = match given.target_port {
        // Left out (or 0, which the API server takes for that): the same port.
        None | Some(IntOrString::Int(0)) => number.map(ServiceTarget::Number),
        Some(IntOrString::Int(target)) => port(target, &target_at, errors).map(ServiceTarget::Number),
        Some(IntOrString::String(name)) => port_name(name, &target_at, errors).map(ServiceTarget::Name),
    };
    let node_port = given.node_port.filter(|port| *port != 0);
    let node_port = node_port.and_then(|number| port(number, &at.then("nodePort"), errors));
    Some(ServicePort {
        name: given.name.filter(|name| !name.is_empty()),
        port: number?,
        protocol,
        target: target?,
        node_port,
    })
}
