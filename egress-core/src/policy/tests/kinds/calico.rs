//! Calico's objects, at random.

use super::of;
use crate::cluster::calico::{Action, CalicoPolicy, Entity, NetworkSet, Rule, Selector, Tier};
use crate::cluster::testing::{Topology, labels};
use crate::cluster::{Object, PortMatch};
use crate::policy::tests::generate::Random;
use crate::policy::tests::plain::{calico_namespace_selectors, calico_selectors};

const NETS: [&str; 6] =
    ["203.0.113.0/24", "203.0.113.4/32", "10.244.0.0/16", "0.0.0.0/0", "2001:db8::/32", "fd00::/16"];
/// One policy at each, so that the order is never left to the version.
const ORDERS: [Option<f64>; 5] = [Some(10.0), Some(999.0), Some(1001.0), Some(5000.0), None];

/// Two more tiers, two network sets and up to five policies.
pub(super) fn add(random: &mut Random, cluster: Topology) -> Topology {
    let tier = |name: &str, order, passes| Tier { name: name.into(), order: Some(order), passes };
    let mut cluster = cluster
        .with(tier("security", 10.0, random.below(2) == 0))
        .with(tier("late", 2_000_000.0, random.below(2) == 0))
        .with(set(random, ""))
        .with(set(random, "data"));
    for order in ORDERS {
        if random.below(2) == 0 {
            cluster = cluster.with(policy(random, order));
        }
    }
    cluster
}

fn set(random: &mut Random, namespace: &str) -> Object {
    let nets = (0..1 + random.below(2)).map(|_| of(random, &NETS).parse().unwrap()).collect();
    let labels = labels(of(random, &["role=x", "role=x,tier=x", "app=a"]));
    let (namespace, domains) = (namespace.to_owned(), vec![]);
    NetworkSet { name: format!("set-{namespace}"), namespace, labels, nets, domains }.into()
}

fn policy(random: &mut Random, order: Option<f64>) -> CalicoPolicy {
    let namespace = of(random, &["", "", "default", "data"]);
    let rules = |random: &mut Random, egress: bool| {
        (random.below(3) > 0).then(|| (0..random.below(4)).map(|_| rule(random, egress)).collect())
    };
    CalicoPolicy {
        namespace: namespace.into(),
        name: format!("calico-{}", order.map_or_else(|| "last".into(), |order| order.to_string())),
        tier: of(random, &["default", "default", "security", "late"]).into(),
        order,
        selector: selector(random),
        namespaces: (namespace.is_empty() && random.below(3) == 0).then(|| namespaces(random)),
        ingress: rules(random, false),
        egress: rules(random, true),
        ..CalicoPolicy::default()
    }
}

fn selector(random: &mut Random) -> Selector {
    of(random, &calico_selectors()).parse().unwrap()
}

fn namespaces(random: &mut Random) -> Selector {
    of(random, &calico_namespace_selectors()).parse().unwrap()
}

fn rule(random: &mut Random, egress: bool) -> Rule {
    let action = [Action::Allow, Action::Allow, Action::Deny, Action::Pass, Action::Log][random.below(5)];
    let mut rule = Rule::of_all(action);
    match random.below(4) {
        0 => rule.protocol = Some([6, 17, 132, 1][random.below(4)]),
        1 => rule.not_protocol = Some([6, 17][random.below(2)]),
        _ => {}
    }
    if random.below(6) == 0 {
        rule.ip_version = Some([4, 6][random.below(2)]);
    }
    let (peer, own) = if egress {
        (&mut rule.destination, &mut rule.source)
    } else {
        (&mut rule.source, &mut rule.destination)
    };
    *peer = end(random);
    if random.below(5) == 0 {
        *own = end(random);
    }
    if random.below(2) == 0 {
        rule.destination.ports = vec![port(random)];
    }
    if random.below(5) == 0 {
        rule.destination.not_ports = vec![port(random)];
    }
    rule
}

fn end(random: &mut Random) -> Entity {
    let mut entity = Entity::default();
    match random.below(6) {
        0 => entity.selector = Some(selector(random)),
        1 => entity.not_selector = Some(selector(random)),
        2 => {
            entity.nets = (0..1 + random.below(2)).map(|_| of(random, &NETS).parse().unwrap()).collect();
        }
        3 => entity.not_nets = vec![of(random, &NETS).parse().unwrap()],
        4 => (entity.selector, entity.namespaces) = (Some(selector(random)), Some(namespaces(random))),
        _ => {}
    }
    entity
}

fn port(random: &mut Random) -> PortMatch {
    match random.below(3) {
        0 => PortMatch::Number([80, 443, 53][random.below(3)]),
        1 => PortMatch::Range(80, 500),
        _ => PortMatch::Name("http".into()),
    }
}
