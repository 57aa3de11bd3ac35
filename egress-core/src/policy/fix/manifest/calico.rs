//! NetworkPolicies of Calico, as far as fixes go: rules that allow a protocol to or from one end.

use super::words;
use crate::cluster::PortMatch;
use crate::cluster::calico::{CalicoPolicy, Entity, Rule};
use crate::policy::fix::yaml::{Yaml, map, word};
use crate::policy::kinds::describe_entity;
use crate::protocol::Protocol;

/// `Calico NetworkPolicy for app == "web"   egress: to 203.0.113.4/32, TCP 443`
pub(super) fn text(policy: &CalicoPolicy) -> String {
    let (side, preposition, rules) = match (&policy.egress, &policy.ingress) {
        (Some(rules), _) => ("egress", "to", rules.as_slice()),
        (None, rules) => ("ingress", "from", rules.as_deref().unwrap_or_default()),
    };
    let rules: Vec<String> = rules
        .iter()
        .map(|rule| {
            let peer = if side == "egress" { &rule.destination } else { &rule.source };
            let ports: Vec<String> = rule.destination.ports.iter().map(ToString::to_string).collect();
            let protocol = protocol(rule);
            format!("{preposition} {}, {protocol} {}", describe_entity(peer, policy), ports.join(", "))
        })
        .collect();
    format!("Calico NetworkPolicy for {}   {side}: {}", policy.selector, rules.join("; "))
}

fn protocol(rule: &Rule) -> &'static str {
    rule.protocol.map_or(Protocol::Tcp, Protocol::from_number).as_str()
}

/// A `projectcalico.org/v3` document.
pub(super) fn document(policy: &CalicoPolicy) -> Yaml {
    let mut spec = vec![("tier".to_owned(), word(&policy.tier))];
    spec.extend(policy.order.map(|order| ("order".to_owned(), Yaml::Decimal(order))));
    spec.push(("selector".to_owned(), word(policy.selector.to_string())));
    for (kind, field, given) in
        [("Ingress", "ingress", &policy.ingress), ("Egress", "egress", &policy.egress)]
    {
        let Some(given) = given else { continue };
        spec.push(("types".to_owned(), words([kind])));
        spec.push((field.to_owned(), Yaml::List(given.iter().map(rule).collect())));
    }
    map([
        ("apiVersion", word("projectcalico.org/v3")),
        ("kind", word("NetworkPolicy")),
        ("metadata", map([("name", word(&policy.name)), ("namespace", word(&policy.namespace))])),
        ("spec", Yaml::Map(spec)),
    ])
}

fn rule(rule: &Rule) -> Yaml {
    let mut entries =
        vec![("action".to_owned(), word("Allow")), ("protocol".to_owned(), word(protocol(rule)))];
    for (field, end) in [("source", &rule.source), ("destination", &rule.destination)] {
        if !end.is_anyone() {
            entries.push((field.to_owned(), entity(end)));
        }
    }
    Yaml::Map(entries)
}

fn entity(entity: &Entity) -> Yaml {
    let mut entries: Vec<(String, Yaml)> = Vec::new();
    let mut add = |field: &str, value: Yaml| entries.push((field.to_owned(), value));
    if let Some(selector) = &entity.selector {
        add("selector", word(selector.to_string()));
    }
    if let Some(namespaces) = &entity.namespaces {
        add("namespaceSelector", word(namespaces.to_string()));
    }
    if !entity.nets.is_empty() {
        add("nets", words(&entity.nets));
    }
    if !entity.not_nets.is_empty() {
        add("notNets", words(&entity.not_nets));
    }
    if !entity.domains.is_empty() {
        add("domains", words(&entity.domains));
    }
    let ports = entity.ports.iter().map(|port| match port {
        PortMatch::Number(number) => Yaml::Number(*number),
        PortMatch::Range(low, high) => word(format!("{low}:{high}")),
        PortMatch::Name(name) => word(name),
    });
    let ports: Vec<Yaml> = ports.collect();
    if !ports.is_empty() {
        add("ports", Yaml::List(ports));
    }
    Yaml::Map(entries)
}
