//! NetworkPolicies.

use crate::cluster::{
    Expression, IpBlock, LabelSelector, NetworkPolicy, Operator, Peer, PolicyPort, PortMatch, Rule,
};
use crate::policy::fix::yaml::{Yaml, map, word};
use crate::policy::kinds::describe_peers;

/// `podSelector: app=web   egress: to 203.0.113.4/32, TCP 443`
pub(super) fn text(policy: &NetworkPolicy) -> String {
    let (side, preposition, rules) = if policy.isolates_egress {
        ("egress", "to", &policy.egress)
    } else {
        ("ingress", "from", &policy.ingress)
    };
    let rules: Vec<String> = rules
        .iter()
        .map(|rule| {
            let ports: Vec<String> = rule.ports.iter().map(port_text).collect();
            let peers = describe_peers(&rule.peers, &policy.namespace);
            format!("{preposition} {peers}, {}", ports.join(", "))
        })
        .collect();
    format!("podSelector: {}   {side}: {}", policy.selector, rules.join("; "))
}

fn port_text(port: &PolicyPort) -> String {
    match &port.port {
        None => format!("every {} port", port.protocol),
        Some(number) => format!("{} {number}", port.protocol),
    }
}

/// A `networking.k8s.io/v1` document.
pub(super) fn document(policy: &NetworkPolicy) -> Yaml {
    let mut spec = vec![("podSelector".to_owned(), selector(&policy.selector))];
    let sides = [
        (policy.isolates_ingress, "Ingress", "ingress", "from", &policy.ingress),
        (policy.isolates_egress, "Egress", "egress", "to", &policy.egress),
    ];
    let sides = || sides.iter().filter(|(isolates, ..)| *isolates);
    spec.push(("policyTypes".to_owned(), Yaml::List(sides().map(|(_, kind, ..)| word(*kind)).collect())));
    for (_, _, key, peers, rules) in sides() {
        spec.push(((*key).to_owned(), Yaml::List(rules.iter().map(|one| rule(one, peers)).collect())));
    }
    map([
        ("apiVersion", word("networking.k8s.io/v1")),
        ("kind", word("NetworkPolicy")),
        ("metadata", map([("name", word(&policy.name)), ("namespace", word(&policy.namespace))])),
        ("spec", Yaml::Map(spec)),
    ])
}

fn rule(rule: &Rule, peers: &str) -> Yaml {
    map([
        (peers, Yaml::List(rule.peers.iter().map(peer).collect())),
        ("ports", Yaml::List(rule.ports.iter().map(port).collect())),
    ])
}

fn peer(peer: &Peer) -> Yaml {
    match peer {
        Peer::IpBlock(IpBlock { cidr, except }) => {
            let mut block = vec![("cidr".to_owned(), word(cidr.to_string()))];
            if !except.is_empty() {
                let except = except.iter().map(|cidr| word(cidr.to_string())).collect();
                block.push(("except".to_owned(), Yaml::List(except)));
            }
            map([("ipBlock", Yaml::Map(block))])
        }
        Peer::Pods { namespaces, pods } => {
            let parts = [("namespaceSelector", namespaces), ("podSelector", pods)];
            let parts =
                parts.into_iter().filter_map(|(key, part)| Some((key.to_owned(), selector(part.as_ref()?))));
            Yaml::Map(parts.collect())
        }
    }
}

fn port(port: &PolicyPort) -> Yaml {
    let mut entries = vec![("protocol".to_owned(), word(port.protocol.as_str()))];
    match &port.port {
        None => {}
        Some(PortMatch::Number(number)) => entries.push(("port".to_owned(), Yaml::Number(*number))),
        Some(PortMatch::Name(name)) => entries.push(("port".to_owned(), word(name))),
        Some(PortMatch::Range(low, high)) => {
            entries.push(("port".to_owned(), Yaml::Number(*low)));
            entries.push(("endPort".to_owned(), Yaml::Number(*high)));
        }
    }
    Yaml::Map(entries)
}

fn selector(selector: &LabelSelector) -> Yaml {
    let mut parts = Vec::new();
    if !selector.match_labels.is_empty() {
        let labels = selector.match_labels.iter().map(|(key, value)| (key.to_owned(), word(value))).collect();
        parts.push(("matchLabels".to_owned(), Yaml::Map(labels)));
    }
    if !selector.expressions.is_empty() {
        let expressions = selector.expressions.iter().map(expression).collect();
        parts.push(("matchExpressions".to_owned(), Yaml::List(expressions)));
    }
    Yaml::Map(parts)
}

fn expression(expression: &Expression) -> Yaml {
    let Expression { key, operator, values } = expression;
    let operator = match operator {
        Operator::In => "In",
        Operator::NotIn => "NotIn",
        Operator::Exists => "Exists",
        Operator::DoesNotExist => "DoesNotExist",
    };
    let mut entries = vec![("key".to_owned(), word(key)), ("operator".to_owned(), word(operator))];
    if !values.is_empty() {
        entries.push(("values".to_owned(), Yaml::List(values.iter().map(word).collect())));
    }
    Yaml::Map(entries)
}
