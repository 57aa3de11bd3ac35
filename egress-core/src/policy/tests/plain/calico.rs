//! Calico's documents, read once more.

use std::net::IpAddr;
use std::sync::LazyLock;

use crate::cluster::calico::{Action, CalicoPolicy, Entity, Rule, Selector};
use crate::cluster::{Labels, Object, Pod, PortMatch};
use crate::policy::tests::generate::Traffic;
use crate::policy::tests::oracle::{in_network, namespace_labels, node_at, pod_at, side_outcome};
use crate::protocol::Protocol;
use crate::verdict::Side;

/// What a selector of pods and sets says of labels.
type OfLabels = fn(&Labels) -> bool;
/// What a selector of namespaces says of their labels; `None` for what is in none.
type OfNamespace = fn(Option<&Labels>) -> bool;

/// Selectors that occur, and what they mean.
const SELECTORS: &[(&str, OfLabels)] = &[
    ("all()", |_| true),
    ("has(tier)", |labels| labels.contains_key("tier")),
    ("!has(tier)", |labels| !labels.contains_key("tier")),
    ("app != 'a'", |labels| labels.get("app") != Some("a")),
    ("app in {'a', 'b'}", |labels| matches!(labels.get("app"), Some("a" | "b"))),
    ("tier not in {'x'}", |labels| labels.get("tier") != Some("x")),
    ("app == 'a' && tier == 'x'", |labels| labels.get("app") == Some("a") && labels.get("tier") == Some("x")),
    ("app == 'c' || has(role)", |labels| labels.get("app") == Some("c") || labels.contains_key("role")),
];

/// Selectors of namespaces that occur, likewise.
const NAMESPACES: &[(&str, OfNamespace)] = &[
    ("all()", |labels| labels.is_some()),
    ("global()", |labels| labels.is_none()),
    ("has(team)", |labels| labels.is_some_and(|labels| labels.contains_key("team"))),
    ("team != 'one'", |labels| labels.is_none_or(|labels| labels.get("team") != Some("one"))),
];

/// Selectors of pods and sets, for the generator.
pub(in crate::policy::tests) fn selectors() -> Vec<&'static str> {
    SELECTORS.iter().map(|(text, _)| *text).collect()
}

/// Selectors of namespaces, likewise.
pub(in crate::policy::tests) fn namespace_selectors() -> Vec<&'static str> {
    NAMESPACES.iter().map(|(text, _)| *text).collect()
}

fn read<T: Copy>(table: &[(&str, T)]) -> Vec<(Selector, T)> {
    table.iter().map(|(text, meaning)| (text.parse().unwrap(), *meaning)).collect()
}

/// What a selector says of labels. Those of fixes are not in the table: equal labels.
fn holds(selector: &Selector, labels: &Labels) -> bool {
    static READ: LazyLock<Vec<(Selector, OfLabels)>> = LazyLock::new(|| read(SELECTORS));
    if let Some((_, meaning)) = READ.iter().find(|(one, _)| one == selector) {
        return meaning(labels);
    }
    selector.to_string().split(" && ").all(|term| {
        let (key, value) = term.split_once(" == ").expect(term);
        labels.get(key) == Some(value.trim_matches('"'))
    })
}

fn holds_of_namespace(selector: &Selector, objects: &[Object], name: Option<&str>) -> bool {
    let labels = name.map(|name| namespace_labels(objects, name));
    static READ: LazyLock<Vec<(Selector, OfNamespace)>> = LazyLock::new(|| read(NAMESPACES));
    if let Some((_, meaning)) = READ.iter().find(|(one, _)| one == selector) {
        return meaning(labels);
    }
    labels.is_some_and(|labels| holds(selector, labels))
}

/// A pod or a network set that has an address: its labels, and its namespace.
fn things(objects: &[Object], ip: IpAddr) -> Vec<(&Labels, Option<&str>)> {
    let pod = pod_at(objects, ip).map(|pod| (&pod.labels, Some(pod.namespace.as_str())));
    let sets = objects.iter().filter_map(|object| match object {
        Object::CalicoNetworkSet(set) if set.nets.iter().any(|net| in_network(ip, net)) => {
            Some((&set.labels, Some(set.namespace.as_str()).filter(|name| !name.is_empty())))
        }
        _ => None,
    });
    pod.into_iter().chain(sets).collect()
}

fn end_matches(
    objects: &[Object],
    entity: &Entity,
    own: &str,
    ip: IpAddr,
    dialled: Option<(u16, Protocol)>,
) -> bool {
    let all = things(objects, ip);
    let restricted = entity.selector.is_some()
        || entity.namespaces.is_some()
        || (entity.not_selector.is_some() && !own.is_empty());
    let selected = all.iter().any(|(labels, namespace)| {
        let in_namespace = match &entity.namespaces {
            Some(selector) => holds_of_namespace(selector, objects, *namespace),
            None => own.is_empty() || *namespace == Some(own),
        };
        in_namespace && entity.selector.as_ref().is_none_or(|selector| holds(selector, labels))
    });
    let excluded = entity
        .not_selector
        .as_ref()
        .is_some_and(|selector| all.iter().any(|(labels, _)| holds(selector, labels)));
    let on_port = |ports: &[PortMatch]| {
        ports.iter().any(|port| match (port, dialled) {
            (PortMatch::Number(number), Some((port, _))) => *number == port,
            (PortMatch::Range(low, high), Some((port, _))) => (*low..=*high).contains(&port),
            (PortMatch::Name(name), Some((port, protocol))) => {
                let pod = pod_at(objects, ip);
                let ports = pod.iter().flat_map(|pod| &pod.containers).flat_map(|one| &one.ports);
                let mut named =
                    ports.filter(|one| one.name.as_deref() == Some(name) && one.protocol == protocol);
                named.next().is_some_and(|one| one.port == port)
            }
            (_, None) => false,
        })
    };
    let has_ports = !entity.ports.is_empty() || !entity.not_ports.is_empty();
    let portless = dialled.is_some_and(|(_, protocol)| protocol == Protocol::Icmp);
    (!restricted || selected)
        && !excluded
        && (entity.nets.is_empty() || entity.nets.iter().any(|net| in_network(ip, net)))
        && !entity.not_nets.iter().any(|net| in_network(ip, net))
        && (entity.ports.is_empty() || on_port(&entity.ports))
        && !on_port(&entity.not_ports)
        && !(has_ports && portless)
}

fn rule_matches(objects: &[Object], rule: &Rule, own: &str, traffic: Traffic) -> bool {
    let protocol = match traffic.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
        _ if traffic.to.is_ipv4() => 1,
        _ => 58,
    };
    rule.protocol.is_none_or(|wanted| wanted == protocol)
        && rule.not_protocol != Some(protocol)
        && rule.ip_version.is_none_or(|version| (version == 4) == traffic.to.is_ipv4())
        && end_matches(objects, &rule.source, own, traffic.from, None)
        && end_matches(objects, &rule.destination, own, traffic.to, Some((traffic.port, traffic.protocol)))
}

/// Tier after tier: whether they admit the traffic, `None` where all pass it on.
pub(super) fn tiers(
    objects: &[Object],
    side: Side,
    pod: &Pod,
    peer: IpAddr,
    traffic: Traffic,
) -> Option<bool> {
    let mut tiers: Vec<(f64, &str, bool)> = vec![(1_000_000.0, "default", false)];
    tiers.extend(objects.iter().filter_map(|object| match object {
        Object::CalicoTier(tier) => Some((tier.order.unwrap(), tier.name.as_str(), tier.passes)),
        _ => None,
    }));
    tiers.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, name, passes) in tiers {
        match in_tier(objects, name, side, pod, peer, traffic) {
            InTier::Admitted => return Some(true),
            InTier::Denied => return Some(false),
            InTier::Silent if !passes => return Some(false),
            InTier::Silent | InTier::Passed | InTier::Ungoverned => {}
        }
    }
    None
}

/// What the policies of a tier do.
enum InTier {
    Admitted,
    Denied,
    Passed,
    /// None of its rules matches.
    Silent,
    /// None of its policies governs the pod.
    Ungoverned,
}

fn in_tier(objects: &[Object], tier: &str, side: Side, pod: &Pod, peer: IpAddr, traffic: Traffic) -> InTier {
    let mut policies: Vec<(&CalicoPolicy, &[Rule])> = objects
        .iter()
        .filter_map(|object| if let Object::CalicoPolicy(policy) = object { Some(&**policy) } else { None })
        .filter(|policy| policy.tier == tier && governs(objects, policy, pod))
        .filter_map(|policy| {
            let rules = if side == Side::Egress { &policy.egress } else { &policy.ingress };
            Some((policy, rules.as_deref()?))
        })
        .collect();
    let order = |policy: &CalicoPolicy| policy.order.unwrap_or(f64::INFINITY);
    policies.sort_by(|(a, _), (b, _)| order(a).total_cmp(&order(b)).then_with(|| a.name.cmp(&b.name)));
    let network = if tier == "default" { side_outcome(objects, side, pod, peer, traffic) } else { None };
    if policies.is_empty() && network.is_none() {
        return InTier::Ungoverned;
    }
    let own_node = side == Side::Ingress && node_at(objects, peer) == Some(pod.node.as_str());
    let mut network = network.filter(|admits| *admits);
    for (policy, rules) in policies {
        if order(policy) > 1000.0 && network.take().is_some() {
            return InTier::Admitted;
        }
        if own_node {
            return InTier::Admitted;
        }
        let matching = rules.iter().filter(|rule| rule.action != Action::Log);
        let mut matching = matching.filter(|rule| rule_matches(objects, rule, &policy.namespace, traffic));
        match matching.next().map(|rule| rule.action) {
            Some(Action::Allow) => return InTier::Admitted,
            Some(Action::Deny) => return InTier::Denied,
            Some(Action::Pass) => return InTier::Passed,
            Some(Action::Log) | None => {}
        }
    }
    if network.is_some() { InTier::Admitted } else { InTier::Silent }
}

fn governs(objects: &[Object], policy: &CalicoPolicy, pod: &Pod) -> bool {
    (policy.namespace.is_empty() || policy.namespace == pod.namespace)
        && holds(&policy.selector, &pod.labels)
        && policy
            .namespaces
            .as_ref()
            .is_none_or(|selector| holds_of_namespace(selector, objects, Some(&pod.namespace)))
}
