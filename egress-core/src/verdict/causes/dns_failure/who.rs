//! Who stands behind the addresses of DNS servers.

use std::net::IpAddr;

use crate::cluster::Service;
use crate::decode::Tap;
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::PeerKind;
use crate::verdict::case::Case;

/// The DNS port.
const DNS: u16 = 53;

/// `10.96.0.10 (Service kube-system/kube-dns)`.
pub(super) fn named(case: &Case<'_>, ip: IpAddr) -> String {
    match role(case, ip) {
        Some(role) => format!("{ip} ({role})"),
        None => ip.to_string(),
    }
}

/// `pod kube-system/coredns`, `Service …`, `node …`; nothing for an address outside.
pub(super) fn role(case: &Case<'_>, ip: IpAddr) -> Option<String> {
    if ip.is_loopback() {
        return Some("the pod itself".to_owned());
    }
    let end = case.cluster.resolve(ip, DNS, Protocol::Udp, Mono(u64::MAX));
    if let Some(pod) = end.pod_ref() {
        return Some(format!("pod {pod}"));
    }
    if let Some(service) = &end.service {
        return Some(format!("Service {}", service.reference()));
    }
    if case.node.is_own(ip) {
        return Some("this node".to_owned());
    }
    match (end.kind, &end.node) {
        (PeerKind::Node, Some(node)) => Some(format!("node {}", node.name)),
        (PeerKind::Unresolved, _) => Some("an address of the cluster that nothing known has".to_owned()),
        _ => None,
    }
}

/// Name of the pod on this node that the question was delivered to.
pub(super) fn server_pod(case: &Case<'_>) -> Option<String> {
    let delivered = case.event.journey.request(Tap::PodIn)?;
    let pod = case.cluster.pod_by_ip(delivered.tuple.destination.ip, delivered.at)?;
    Some(pod.reference().to_string())
}

/// The server that had the question, in words.
pub(super) fn server(case: &Case<'_>) -> String {
    server_pod(case).map_or_else(|| "the DNS server".to_owned(), |pod| format!("pod {pod}"))
}

/// The cluster's DNS Service: by the name and label that all distributions give it, else the only one for DNS in
/// the system's namespace.
pub(super) fn cluster_dns<'a>(case: &'a Case<'_>) -> Option<&'a Service> {
    let serves = |service: &&'a Service| {
        !service.cluster_ips.is_empty()
            && service.ports.iter().any(|port| port.port == DNS && port.protocol == Protocol::Udp)
    };
    let all = || case.cluster.services().map(|service| &**service).filter(serves);
    all()
        .find(|service| service.name == "kube-dns" && service.namespace == "kube-system")
        .or_else(|| all().find(|s| s.labels.get("k8s-app") == Some("kube-dns")))
        .or_else(|| all().find(|service| service.name.contains("dns")))
}

/// No server that was asked belongs to the cluster's DNS, or to the node's.
pub(super) fn is_foreign(case: &Case<'_>) -> bool {
    let asked = case.event.client.destination.ip;
    let link_local = match asked {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unique_local() && case.node.is_own(asked),
    };
    !link_local
        && !asked.is_loopback()
        && !case.node.is_own(asked)
        && matches!(case.peer.kind, PeerKind::External | PeerKind::Unresolved)
        && !is_cluster_dns(case)
}

/// The pod is one of the cluster's DNS servers itself: whom it asks is nobody's mistake.
fn is_cluster_dns(case: &Case<'_>) -> bool {
    let (Some(pod), Some(service)) = (&case.pod.pod, cluster_dns(case)) else { return false };
    pod.namespace == service.namespace
        && service.selector.as_ref().is_some_and(|selector| {
            !selector.is_empty() && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
        })
}

/// The address lies in the cluster, and no pod, Service or node is known to have it.
pub(super) fn is_nobody(case: &Case<'_>) -> bool {
    case.peer.kind == PeerKind::Unresolved
}

/// How the pod came to its servers: `dnsPolicy None, dnsConfig.nameservers 198.51.100.53`.
pub(super) fn policy(case: &Case<'_>) -> Option<String> {
    let dns = &case.pod.pod.as_ref()?.dns;
    let policy = dns.policy.as_deref().unwrap_or("ClusterFirst");
    let given: Vec<String> = dns.nameservers.iter().map(ToString::to_string).collect();
    Some(match given.as_slice() {
        [] => format!("dnsPolicy {policy}, no dnsConfig.nameservers"),
        given => format!("dnsPolicy {policy}, dnsConfig.nameservers {}", given.join(", ")),
    })
}
