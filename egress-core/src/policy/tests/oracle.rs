//! A second evaluator, as plain as the API's text: lists are searched from end to end, and what cannot be known does
//! not occur. The real one must agree with it on thousands of clusters.

use std::net::IpAddr;

use super::super::{Decision, PolicyFlow, evaluate};
use super::generate::{Random, Traffic, topology, traffic};
use crate::cluster::testing::{NOW, Topology};
use crate::cluster::{LabelSelector, Labels, Object, Operator, Peer, Pod, PortMatch, Rule};
use crate::identity::ClusterIndex;
use crate::protocol::Protocol;
use crate::verdict::Side;

pub(super) fn pod_at(objects: &[Object], ip: IpAddr) -> Option<&Pod> {
    objects.iter().find_map(|object| match object {
        Object::Pod(pod) if !pod.host_network && pod.ips.contains(&ip) => Some(&**pod),
        _ => None,
    })
}

pub(super) fn node_at(objects: &[Object], ip: IpAddr) -> Option<&str> {
    objects.iter().find_map(|object| match object {
        Object::Node(node) if node.ips.contains(&ip) => Some(node.name.as_str()),
        _ => None,
    })
}

pub(super) fn namespace_labels<'a>(objects: &'a [Object], name: &str) -> &'a Labels {
    let found = objects.iter().find_map(|object| match object {
        Object::Namespace(namespace) if namespace.name == name => Some(&namespace.labels),
        _ => None,
    });
    found.expect("every namespace is there")
}

pub(super) fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    for (key, value) in &selector.match_labels {
        if labels.get(key) != Some(value) {
            return false;
        }
    }
    for expression in &selector.expressions {
        let listed =
            labels.get(&expression.key).map(|value| expression.values.iter().any(|one| one == value));
        let holds = match (expression.operator, listed) {
            (Operator::In, Some(listed)) => listed,
            (Operator::NotIn, Some(listed)) => !listed,
            (Operator::Exists, Some(_)) | (Operator::NotIn | Operator::DoesNotExist, None) => true,
            (Operator::In | Operator::Exists, None) | (Operator::DoesNotExist, Some(_)) => false,
        };
        if !holds {
            return false;
        }
    }
    true
}

pub(super) fn in_network(ip: IpAddr, cidr: &ipnet::IpNet) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, true),
        IpAddr::V6(ip) => (ip.to_bits(), false),
    };
    let ((ip, ip_v4), (net, net_v4)) = (bits(ip), bits(cidr.addr()));
    let shift = 128 - u32::from(cidr.prefix_len());
    ip_v4 == net_v4 && (shift == 128 || ip >> shift == net >> shift)
}

fn rule_admits(objects: &[Object], one: &Rule, own: &str, peer: IpAddr, traffic: Traffic) -> bool {
    let peer_matches = |wanted: &Peer| match wanted {
        Peer::IpBlock(block) => {
            in_network(peer, &block.cidr) && !block.except.iter().any(|cidr| in_network(peer, cidr))
        }
        Peer::Pods { namespaces, pods } => pod_at(objects, peer).is_some_and(|pod| {
            let in_namespace = match namespaces {
                None => pod.namespace == own,
                Some(selector) => selects(selector, namespace_labels(objects, &pod.namespace)),
            };
            in_namespace && pods.as_ref().is_none_or(|selector| selects(selector, &pod.labels))
        }),
    };
    let named = |name: &str| {
        let pod = pod_at(objects, traffic.to)?;
        let ports = pod.containers.iter().flat_map(|container| &container.ports);
        let mut found =
            ports.filter(|port| port.protocol == traffic.protocol && port.name.as_deref() == Some(name));
        found.next().map(|port| port.port)
    };
    let port_matches = |wanted: &crate::cluster::PolicyPort| {
        wanted.protocol == traffic.protocol
            && traffic.protocol != Protocol::Icmp
            && match &wanted.port {
                None => true,
                Some(PortMatch::Number(number)) => *number == traffic.port,
                Some(PortMatch::Range(low, high)) => *low <= traffic.port && traffic.port <= *high,
                Some(PortMatch::Name(name)) => named(name) == Some(traffic.port),
            }
    };
    (one.peers.is_empty() || one.peers.iter().any(peer_matches))
        && (one.ports.is_empty() || one.ports.iter().any(port_matches))
}

/// What the NetworkPolicies of one side say: `None` if none isolates the pod, else whether one admits the traffic.
pub(super) fn side_outcome(
    objects: &[Object],
    side: Side,
    pod: &Pod,
    peer: IpAddr,
    traffic: Traffic,
) -> Option<bool> {
    let mut isolated = false;
    for object in objects {
        let Object::NetworkPolicy(policy) = object else { continue };
        if policy.namespace != pod.namespace || !selects(&policy.selector, &pod.labels) {
            continue;
        }
        let (isolates, rules) = match side {
            Side::Egress => (policy.isolates_egress, &policy.egress),
            Side::Ingress => (policy.isolates_ingress, &policy.ingress),
        };
        if !isolates {
            continue;
        }
        isolated = true;
        let own_node = node_at(objects, peer) == Some(pod.node.as_str());
        if own_node || rules.iter().any(|one| rule_admits(objects, one, &policy.namespace, peer, traffic)) {
            return Some(true);
        }
    }
    isolated.then_some(false)
}

/// The API's rules, read once more.
pub(super) fn admits(objects: &[Object], traffic: Traffic) -> bool {
    let (from, to) = (pod_at(objects, traffic.from), pod_at(objects, traffic.to));
    let same = from.is_some_and(|from| to.is_some_and(|to| std::ptr::eq(from, to)));
    let side_admits = |side, pod, peer| side_outcome(objects, side, pod, peer, traffic) != Some(false);
    let egress = from.is_none_or(|pod| same || side_admits(Side::Egress, pod, traffic.to));
    let ingress = to.is_none_or(|pod| same || side_admits(Side::Ingress, pod, traffic.from));
    egress && ingress
}

/// As the real evaluator takes it.
pub(super) fn flow(index: &ClusterIndex, traffic: Traffic) -> PolicyFlow {
    let Traffic { from, to, port, protocol } = traffic;
    PolicyFlow {
        from: index.resolve_client(from, NOW),
        to: index.resolve(to, port, protocol, NOW),
        port,
        protocol,
        names: vec![],
    }
}

#[test]
fn the_evaluator_agrees_with_a_plain_reading_of_the_api() {
    let (mut denied, mut allowed) = (0, 0);
    for seed in 0..4_000 {
        let mut random = Random::new(seed);
        let cluster: Topology = topology(&mut random);
        let index = cluster.clone().index();
        for _ in 0..20 {
            let traffic = traffic(&mut random, &cluster);
            let expected = if admits(&cluster.objects, traffic) { Decision::Allow } else { Decision::Deny };
            let view = evaluate(&index, &flow(&index, traffic));
            assert_eq!(view.decision, expected, "seed {seed}, {traffic:?}: {view:#?}");
            if expected == Decision::Deny { denied += 1 } else { allowed += 1 }
        }
    }
    println!("{allowed} flows allowed, {denied} denied");
    assert!(denied > 10_000 && allowed > 10_000, "both happen often: {denied} denied, {allowed} allowed");
}
