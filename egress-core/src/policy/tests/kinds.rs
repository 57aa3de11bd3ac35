//! Generated policies of all kinds against a second evaluator, as plain as their documents: policies are sorted and
//! searched from end to end. Only what is always known occurs.

use std::net::IpAddr;

use super::super::{Decision, evaluate};
use super::generate::{Random, Traffic, topology, traffic};
use super::oracle::{flow, in_network, namespace_labels, node_at, pod_at, selects, side_outcome};
use crate::cluster::testing::{Topology, ports, selector};
use crate::cluster::{
    CILIUM_NAMESPACE, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule, CiliumSelector, CiliumSpec,
    Expression, IpBlock, NamespacedPods, Object, Operator, Pod, Tier, TieredAction, TieredApi, TieredPeer,
    TieredPolicy, TieredPort, TieredRule,
};
use crate::protocol::Protocol;
use crate::verdict::Side;

const APPS: [&str; 4] = ["", "app=a", "app=b", "tier=x"];
const TEAMS: [&str; 3] = ["", "team=one", "team=two"];
const RANGES: [&str; 4] = ["0.0.0.0/0", "203.0.113.0/24", "10.244.1.0/24", "2001:db8::/32"];
const PORTS: [&str; 4] = ["", "TCP 80", "TCP 440-500", "UDP 53"];

fn of<'a>(random: &mut Random, all: &[&'a str]) -> &'a str {
    all[random.below(all.len())]
}

fn any_tiered(random: &mut Random, number: u16) -> TieredPolicy {
    let baseline = random.below(3) == 0;
    let rules = |random: &mut Random, egress: bool| -> Vec<TieredRule> {
        (0..random.below(4)).map(|_| any_rule(random, egress)).collect()
    };
    TieredPolicy {
        api: TieredApi::Cluster,
        name: format!("tiered-{number}"),
        tier: if baseline { Tier::Baseline } else { Tier::Admin },
        priority: 100 - number,
        subject: any_pods(random),
        ingress: rules(random, false),
        egress: rules(random, true),
    }
}

fn any_pods(random: &mut Random) -> NamespacedPods {
    let pods = (random.below(2) == 0).then(|| selector(of(random, &APPS)));
    NamespacedPods { namespaces: selector(of(random, &TEAMS)), pods }
}

fn any_rule(random: &mut Random, egress: bool) -> TieredRule {
    let action = [TieredAction::Accept, TieredAction::Deny, TieredAction::Pass][random.below(3)];
    let peer = match random.below(if egress { 3 } else { 1 }) {
        0 => TieredPeer::Pods(any_pods(random)),
        1 => TieredPeer::Nodes(selector("")),
        _ => TieredPeer::Networks(vec![of(random, &RANGES).parse().unwrap()]),
    };
    let ports = ports(of(random, &PORTS)).into_iter().map(TieredPort::Number).collect();
    TieredRule { name: String::new(), action, peers: vec![peer], ports }
}

fn any_cilium(random: &mut Random, number: usize) -> CiliumPolicy {
    let rules = |random: &mut Random| (0..random.below(3)).map(|_| cilium_rule(random)).collect::<Vec<_>>();
    let (ingress, ingress_deny) = (rules(random), rules(random));
    let (egress, egress_deny) = (rules(random), rules(random));
    let spec = CiliumSpec {
        selector: identity(of(random, &APPS), None),
        isolates_ingress: random.below(2) == 0,
        isolates_egress: random.below(2) == 0,
        ingress,
        ingress_deny,
        egress,
        egress_deny,
    };
    let namespace = of(random, &["default", "data", ""]).to_owned();
    CiliumPolicy { namespace, name: format!("cilium-{number}"), specs: vec![spec] }
}

fn identity(text: &str, namespace: Option<&str>) -> CiliumSelector {
    let one = |key: &str, value: &str| Expression {
        key: key.into(),
        operator: Operator::In,
        values: vec![value.into()].into_iter().collect(),
    };
    let labels = selector(text);
    let mut requirements: Vec<_> = labels.match_labels.iter().map(|(key, value)| one(key, value)).collect();
    requirements.extend(namespace.map(|name| one(CILIUM_NAMESPACE, name)));
    CiliumSelector { requirements }
}

fn cilium_rule(random: &mut Random) -> CiliumRule {
    let peer = match random.below(4) {
        0 => CiliumPeer::Endpoints(identity(of(random, &APPS), Some(of(random, &["default", "data"])))),
        1 => CiliumPeer::Cidr(IpBlock {
            cidr: of(random, &["203.0.113.0/24", "2001:db8::/32"]).parse().unwrap(),
            except: vec![],
        }),
        2 => CiliumPeer::Entity(of(random, &["world", "host", "remote-node", "all", "none"]).into()),
        _ => return CiliumRule::default(),
    };
    let ports = ports(of(random, &PORTS)).into_iter();
    let ports =
        ports.map(|one| CiliumPort { protocol: Some(one.protocol), port: one.port, beyond: String::new() });
    CiliumRule { peers: Some(vec![peer]), ports: ports.collect(), ..CiliumRule::default() }
}

fn port_matches(protocol: Protocol, port: Option<&crate::cluster::PortMatch>, traffic: Traffic) -> bool {
    use crate::cluster::PortMatch;
    protocol == traffic.protocol
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
        let Some(peers) = &rule.peers else { return false };
        let peers = peers.iter().any(|wanted| match wanted {
            CiliumPeer::Endpoints(selector) => pod_at(objects, peer).is_some_and(|pod| has(selector, pod)),
            CiliumPeer::Cidr(block) => in_network(peer, &block.cidr) && pod_at(objects, peer).is_none(),
            CiliumPeer::Entity(entity) => match entity.as_str() {
                "all" => true,
                "world" => pod_at(objects, peer).is_none() && node.is_none(),
                "host" => node == Some(pod.node.as_str()),
                "remote-node" => node.is_some() && node != Some(pod.node.as_str()),
                _ => false,
            },
            _ => false,
        });
        let ports = rule.ports.is_empty()
            || rule
                .ports
                .iter()
                .any(|port| port_matches(port.protocol.unwrap(), port.port.as_ref(), traffic));
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
    let (denied, admitted, isolated) = cilium(objects, side, pod, peer, traffic);
    let by_namespace = side_outcome(objects, side, pod, peer, traffic);
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

fn allows(objects: &[Object], traffic: Traffic) -> bool {
    let (from, to) = (pod_at(objects, traffic.from), pod_at(objects, traffic.to));
    if from.is_some_and(|from| to.is_some_and(|to| std::ptr::eq(from, to))) {
        return true;
    }
    from.is_none_or(|pod| side_allows(objects, Side::Egress, pod, traffic.to, traffic))
        && to.is_none_or(|pod| side_allows(objects, Side::Ingress, pod, traffic.from, traffic))
}

#[test]
fn policies_of_all_kinds_agree_with_a_plain_reading_of_their_documents() {
    let (mut denied, mut allowed, mut open) = (0, 0, 0);
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let mut cluster: Topology = topology(&mut random);
        for number in 0..random.below(4) {
            cluster = cluster.with(any_tiered(&mut random, u16::try_from(number).unwrap()));
        }
        for number in 0..random.below(4) {
            cluster = cluster.with(any_cilium(&mut random, number));
        }
        let index = cluster.clone().index();
        for _ in 0..10 {
            let traffic = traffic(&mut random, &cluster);
            let view = evaluate(&index, &flow(&index, traffic));
            let expected = if allows(&cluster.objects, traffic) { Decision::Allow } else { Decision::Deny };
            match view.decision {
                // Where Cilium and the API differ (a NetworkPolicy's ranges, the own node) both may hold.
                Decision::Undecidable => open += 1,
                decision => assert_eq!(decision, expected, "seed {seed}, {traffic:?}: {view:#?}"),
            }
            if expected == Decision::Deny { denied += 1 } else { allowed += 1 }
        }
    }
    println!("{allowed} flows allowed, {denied} denied, {open} of them open");
    assert!(
        denied > 5_000 && allowed > 5_000 && open < 3_000,
        "{denied} denied, {allowed} allowed, {open} open"
    );
}
