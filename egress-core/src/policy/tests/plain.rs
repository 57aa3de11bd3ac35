//! A second evaluator of all kinds, as plain as their documents: policies are sorted and searched from end to end.

mod calico;

pub(super) use calico::{namespace_selectors as calico_namespace_selectors, selectors as calico_selectors};

use std::net::IpAddr;

use super::generate::Traffic;
use super::oracle::{self, in_network, namespace_labels, node_at, pod_at, selects, side_outcome};
use crate::cluster::testing::ip;
use crate::cluster::{
    CILIUM_NAMESPACE, CiliumPeer, CiliumRule, CiliumSelector, NamespacedPods, Object, Pod, Tier,
    TieredAction, TieredPeer, TieredPolicy, TieredPort,
};
use crate::identity::ClusterIndex;
use crate::policy::PolicyFlow;
use crate::protocol::Protocol;
use crate::verdict::Side;

/// What every pod resolved, and whose addresses these are.
const NAMES: [(&str, &str); 2] = [("203.0.113.4", "a.example.com"), ("2001:db8::4", "b.example.com")];

fn name_of(address: IpAddr) -> Option<&'static str> {
    NAMES.iter().find(|(of, _)| ip(of) == address).map(|(_, name)| *name)
}

/// As the real evaluator takes it.
pub(super) fn flow(index: &ClusterIndex, traffic: Traffic) -> PolicyFlow {
    let names = name_of(traffic.to).map(str::to_owned).into_iter().collect();
    PolicyFlow { names, ..oracle::flow(index, traffic) }
}

/// A rule lets Cilium see the pod's DNS answers for this name.
fn is_seen(objects: &[Object], pod: &Pod, name: &str) -> bool {
    let policies = objects.iter().filter_map(|object| match object {
        Object::CiliumPolicy(policy) => Some(policy),
        _ => None,
    });
    let mut own = policies.filter(|policy| {
        (policy.namespace.is_empty() || policy.namespace == pod.namespace)
            && has(&policy.specs[0].selector, pod)
    });
    own.any(|policy| {
        let mut ports = policy.specs[0].egress.iter().flat_map(|rule| &rule.ports);
        ports.any(|port| port.dns.iter().any(|fqdn| fqdn.matches(name)))
    })
}

fn port_matches(protocol: Protocol, port: Option<&crate::cluster::PortMatch>, traffic: Traffic) -> bool {
    use crate::cluster::PortMatch;
    protocol == traffic.protocol
        && traffic.protocol != Protocol::Icmp
        && match port {
            None => true,
            Some(PortMatch::Number(number)) => *number == traffic.port,
            Some(PortMatch::Range(low, high)) => (*low..=*high).contains(&traffic.port),
            Some(PortMatch::Name(_)) => false,
        }
}

fn in_pods(objects: &[Object], pods: &NamespacedPods, pod: &Pod) -> bool {
    selects(&pods.namespaces, namespace_labels(objects, &pod.namespace))
        && pods.pods.as_ref().is_none_or(|pods| selects(pods, &pod.labels))
}

/// What a tier does: the first rule of the first policy.
fn tier(
    objects: &[Object],
    wanted: Tier,
    side: Side,
    pod: &Pod,
    peer: IpAddr,
    traffic: Traffic,
) -> Option<TieredAction> {
    let mut policies: Vec<&TieredPolicy> = objects
        .iter()
        .filter_map(|object| if let Object::TieredPolicy(policy) = object { Some(&**policy) } else { None })
        .filter(|policy| policy.tier == wanted && in_pods(objects, &policy.subject, pod))
        .collect();
    policies.sort_by_key(|policy| policy.priority);
    let rules = policies.iter().flat_map(|policy| match side {
        Side::Egress => &policy.egress,
        Side::Ingress => &policy.ingress,
    });
    let mut matching = rules.filter(|rule| {
        let peers = rule.peers.iter().any(|wanted| match wanted {
            TieredPeer::Pods(pods) => pod_at(objects, peer).is_some_and(|pod| in_pods(objects, pods, pod)),
            TieredPeer::Nodes(_) => node_at(objects, peer).is_some(),
            TieredPeer::Networks(networks) => networks.iter().any(|network| in_network(peer, network)),
            _ => false,
        });
        let ports = rule.ports.is_empty()
            || rule.ports.iter().any(|port| match port {
                TieredPort::Number(one) => port_matches(one.protocol, one.port.as_ref(), traffic),
                _ => false,
            });
        peers && ports
    });
    matching.next().map(|rule| rule.action)
}

fn has(selector: &CiliumSelector, pod: &Pod) -> bool {
    selector.requirements.iter().all(|one| {
        let value =
            if one.key == CILIUM_NAMESPACE { Some(pod.namespace.as_str()) } else { pod.labels.get(&one.key) };
        value.is_some_and(|value| one.values.iter().any(|one| one == value))
    })
}

/// What Cilium's policies do: denied, admitted, or whether the rest is denied.
fn cilium(objects: &[Object], side: Side, pod: &Pod, peer: IpAddr, traffic: Traffic) -> (bool, bool, bool) {
    let node = node_at(objects, peer);
    let matches = |rule: &CiliumRule| {
        let everyone = rule.peers.is_none() && !rule.ports.is_empty();
        let peers = everyone
            || rule.peers.iter().flatten().any(|wanted| match wanted {
                CiliumPeer::Endpoints(selector) => {
                    pod_at(objects, peer).is_some_and(|pod| has(selector, pod))
                }
                CiliumPeer::Cidr(block) => in_network(peer, &block.cidr) && pod_at(objects, peer).is_none(),
                CiliumPeer::Entity(entity) => match entity.as_str() {
                    "all" => true,
                    "world" => pod_at(objects, peer).is_none() && node.is_none(),
                    "host" => node == Some(pod.node.as_str()),
                    "remote-node" => node.is_some() && node != Some(pod.node.as_str()),
                    _ => false,
                },
                CiliumPeer::Fqdn(fqdn) => {
                    name_of(peer).is_some_and(|name| fqdn.matches(name) && is_seen(objects, pod, name))
                }
                _ => false,
            });
        let ports = rule.ports.is_empty()
            || rule.ports.iter().any(|port| {
                port_matches(port.protocol.unwrap_or(traffic.protocol), port.port.as_ref(), traffic)
            });
        peers && ports
    };
    let (mut denied, mut admitted, mut isolated) = (false, false, false);
    for object in objects {
        let Object::CiliumPolicy(policy) = object else { continue };
        let spec = &policy.specs[0];
        if !(policy.namespace.is_empty() || policy.namespace == pod.namespace) || !has(&spec.selector, pod) {
            continue;
        }
        let (isolates, allow, deny) = match side {
            Side::Egress => (spec.isolates_egress, &spec.egress, &spec.egress_deny),
            Side::Ingress => (spec.isolates_ingress, &spec.ingress, &spec.ingress_deny),
        };
        let speaks = isolates || !allow.is_empty() || !deny.is_empty();
        if side == Side::Ingress && node == Some(pod.node.as_str()) {
            admitted |= speaks;
            isolated |= isolates;
            continue;
        }
        denied |= deny.iter().any(matches);
        admitted |= allow.iter().any(matches);
        isolated |= isolates;
    }
    (denied, admitted, isolated)
}

/// One side of the traffic, stage by stage.
fn side_allows(objects: &[Object], side: Side, pod: &Pod, peer: IpAddr, traffic: Traffic) -> bool {
    match tier(objects, Tier::Admin, side, pod, peer, traffic) {
        Some(TieredAction::Accept) => return true,
        Some(TieredAction::Deny) => return false,
        Some(TieredAction::Pass) | None => {}
    }
    let by_namespace = side_outcome(objects, side, pod, peer, traffic);
    if objects.iter().any(|object| matches!(object, Object::CalicoPolicy(_))) {
        return match calico::tiers(objects, side, pod, peer, traffic) {
            Some(admitted) => admitted,
            None => tier(objects, Tier::Baseline, side, pod, peer, traffic) != Some(TieredAction::Deny),
        };
    }
    let (denied, admitted, isolated) = cilium(objects, side, pod, peer, traffic);
    if denied {
        return false;
    }
    if admitted || by_namespace == Some(true) {
        return true;
    }
    if isolated || by_namespace == Some(false) {
        return false;
    }
    tier(objects, Tier::Baseline, side, pod, peer, traffic) != Some(TieredAction::Deny)
}

/// The documents, read once more.
pub(super) fn allows(objects: &[Object], traffic: Traffic) -> bool {
    let (from, to) = (pod_at(objects, traffic.from), pod_at(objects, traffic.to));
    if from.is_some_and(|from| to.is_some_and(|to| std::ptr::eq(from, to))) {
        return true;
    }
    from.is_none_or(|pod| side_allows(objects, Side::Egress, pod, traffic.to, traffic))
        && to.is_none_or(|pod| side_allows(objects, Side::Ingress, pod, traffic.from, traffic))
}
