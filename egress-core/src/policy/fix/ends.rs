//! The two ends of an allow rule: pods by their labels, everything else by its address.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Leg, labels};
use crate::cluster::{IpBlock, LabelSelector, Labels, NAMESPACE_NAME, Peer, PolicyPort, PortMatch, Service};
use crate::identity::{ClusterIndex, Endpoint};
use crate::policy::PolicyFlow;
use crate::policy::kinds::Question;
use crate::policy::services;
use crate::protocol::Protocol;
use crate::verdict::{PeerKind, Side};

/// The well-known port of DNS.
const DNS: u16 = 53;
/// Longest name of a host, in characters (RFC 1035, section 2.3.4, as text).
const LONGEST_NAME: usize = 253;

/// The flow asks a DNS server: it needs UDP, and TCP for long answers.
pub(super) fn is_dns(flow: &PolicyFlow) -> bool {
    let dialled = flow.to.service_port.as_ref().map_or(flow.port, |port| port.port);
    matches!(flow.protocol, Protocol::Tcp | Protocol::Udp) && (dialled == DNS || flow.port == DNS)
}

/// One end, as a policy in `namespace` names it.
fn peer(end: &Endpoint, namespace: &str) -> Result<Peer, String> {
    if let Some(pod) = &end.pod {
        let by_service = end.service.as_ref().and_then(|service| selected_by(service, &pod.labels));
        let labels = by_service.unwrap_or_else(|| labels::lasting(pod));
        if labels.is_empty() {
            return Err(labels::unlabelled(pod));
        }
        return Ok(pods(labels, &pod.namespace, namespace));
    }
    match (end.kind, end.address()) {
        (PeerKind::External | PeerKind::Node, Some(ip)) => {
            Ok(Peer::IpBlock(IpBlock { cidr: IpNet::from(ip), except: Vec::new() }))
        }
        (_, Some(ip)) => {
            Err(format!("what {ip} is in the cluster is not known: allow the pods behind it by their labels"))
        }
        (_, None) => Err("the address to allow is not known".into()),
    }
}

/// The name that was last resolved to a destination outside, if it can be written into a rule.
pub(super) fn host(question: &Question<'_>, flow: &PolicyFlow) -> Option<String> {
    let outward = question.side == Side::Egress && question.peer.kind == PeerKind::External;
    let has_ports = matches!(flow.protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp);
    let name = flow.names.last().filter(|_| outward && has_ports)?.trim_end_matches('.').to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    (!name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain) && !is_address).then_some(name)
}

/// The other end, as a rule of `namespace` for this side names it.
pub(super) fn peers(
    side: Side,
    flow: &PolicyFlow,
    legs: &[Leg<'_>],
    namespace: &str,
) -> Result<Vec<Peer>, String> {
    match side {
        Side::Egress => destinations(flow, legs, namespace),
        Side::Ingress => Ok(vec![peer(&flow.from, namespace)?]),
    }
}

/// What the flow goes to, as an egress rule of `namespace` names it.
fn destinations(flow: &PolicyFlow, legs: &[Leg<'_>], namespace: &str) -> Result<Vec<Peer>, String> {
    let mut peers: Vec<Peer> = Vec::new();
    for leg in legs {
        let peer = peer(&Endpoint { service: flow.to.service.clone(), ..leg.to.clone() }, namespace)?;
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    Ok(peers)
}

/// The ports after translation. For DNS both protocols.
pub(super) fn ports(index: &ClusterIndex, flow: &PolicyFlow, legs: &[Leg<'_>]) -> Vec<PolicyPort> {
    let mut numbers: BTreeSet<(Protocol, u16)> = legs.iter().map(|leg| (flow.protocol, leg.port)).collect();
    if is_dns(flow) {
        let other = if flow.protocol == Protocol::Tcp { Protocol::Udp } else { Protocol::Tcp };
        let translated = other_ports(index, flow, other);
        if translated.is_empty() {
            numbers.extend(legs.iter().map(|leg| (other, leg.port)));
        }
        numbers.extend(translated);
    }
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    // UDP first where both are there, as DNS is written everywhere.
    numbers.sort_by_key(|(protocol, port)| (*protocol == Protocol::Tcp, *port));
    numbers
        .into_iter()
        .map(|(protocol, port)| PolicyPort { protocol, port: Some(PortMatch::Number(port)) })
        .collect()
}

/// Where the Service forwards the same port of another protocol to.
fn other_ports(index: &ClusterIndex, flow: &PolicyFlow, protocol: Protocol) -> BTreeSet<(Protocol, u16)> {
    let (Some(service), Some(dialled)) = (&flow.to.service, &flow.to.service_port) else {
        return BTreeSet::new();
    };
    let same = |port: &&crate::cluster::ServicePort| port.port == dialled.port && port.protocol == protocol;
    let Some(port) = service.ports.iter().find(same) else { return BTreeSet::new() };
    let to = Endpoint { service_port: Some(port.clone()), ..flow.to.clone() };
    services::backends(index, &to).iter().map(|backend| (protocol, backend.port)).collect()
}

/// A Service's selector, if it has one and it selects these labels.
fn selected_by(service: &Service, labels: &Labels) -> Option<Labels> {
    let selector = service.selector.as_ref().filter(|selector| !selector.is_empty())?;
    selector.iter().all(|(key, value)| labels.get(key) == Some(value)).then(|| selector.clone())
}

fn pods(labels: Labels, of: &str, seen_from: &str) -> Peer {
    let named = || Labels::from([(NAMESPACE_NAME, of)]);
    Peer::Pods {
        namespaces: (of != seen_from).then(|| LabelSelector::of_labels(named())),
        pods: Some(LabelSelector::of_labels(labels)),
    }
}
