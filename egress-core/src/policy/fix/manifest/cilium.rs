//! CiliumNetworkPolicies, as far as fixes go: egress by name, and to DNS servers through Cilium's proxy.

use crate::cluster::{
    CILIUM_NAMESPACE, CiliumFqdn, CiliumPeer, CiliumPolicy, CiliumPort, CiliumRule, CiliumSelector, PortMatch,
};
use crate::policy::fix::yaml::{Yaml, map, word};
use crate::policy::kinds::{describe_peer, describe_subject};

/// `CiliumNetworkPolicy for pods app=web   egress: to api.example.com, TCP 443`
pub(super) fn text(policy: &CiliumPolicy) -> String {
    let rules = policy.specs.iter().flat_map(|spec| &spec.egress).map(|rule| {
        let peers: Vec<String> = rule.peers.iter().flatten().map(describe_peer).collect();
        let ports: Vec<String> = rule.ports.iter().map(port_text).collect();
        format!("to {}, {}", peers.join(", "), ports.join(", "))
    });
    let rules: Vec<String> = rules.collect();
    format!("CiliumNetworkPolicy for {}   egress: {}", describe_subject(policy), rules.join("; "))
}

fn port_text(port: &CiliumPort) -> String {
    let protocol = port.protocol.map_or("port", |protocol| protocol.as_str());
    let names: Vec<&str> = port.dns.iter().map(name).collect();
    let dns = if names.is_empty() { String::new() } else { format!(", DNS rule {}", names.join(", ")) };
    format!("{protocol} {}{dns}", number(port))
}

fn number(port: &CiliumPort) -> String {
    match &port.port {
        Some(PortMatch::Number(number)) => number.to_string(),
        Some(PortMatch::Range(low, _)) => low.to_string(),
        Some(PortMatch::Name(name)) => name.clone(),
        None => "0".into(),
    }
}

fn name(fqdn: &CiliumFqdn) -> &str {
    match fqdn {
        CiliumFqdn::Name(name) | CiliumFqdn::Pattern(name) => name,
    }
}

/// A `cilium.io/v2` document.
pub(super) fn document(policy: &CiliumPolicy) -> Yaml {
    let mut spec = Vec::new();
    for one in &policy.specs {
        spec.push(("endpointSelector".to_owned(), labels(&one.selector)));
        spec.push(("egress".to_owned(), Yaml::List(one.egress.iter().map(rule).collect())));
    }
    map([
        ("apiVersion", word("cilium.io/v2")),
        ("kind", word("CiliumNetworkPolicy")),
        ("metadata", map([("name", word(&policy.name)), ("namespace", word(&policy.namespace))])),
        ("spec", Yaml::Map(spec)),
    ])
}

fn rule(rule: &CiliumRule) -> Yaml {
    let peers = rule.peers.iter().flatten().filter_map(|peer| match peer {
        CiliumPeer::Fqdn(one) => Some(("toFQDNs", fqdn(one))),
        CiliumPeer::Endpoints(selector) => Some(("toEndpoints", labels(selector))),
        _ => None,
    });
    let mut entries: Vec<(String, Yaml)> =
        peers.map(|(field, peer)| (field.to_owned(), Yaml::List(vec![peer]))).collect();
    entries.push(("toPorts".to_owned(), Yaml::List(rule.ports.iter().map(ports).collect())));
    Yaml::Map(entries)
}

fn ports(port: &CiliumPort) -> Yaml {
    let protocol = port.protocol.map_or("ANY", |protocol| protocol.as_str());
    let one = map([("port", word(number(port))), ("protocol", word(protocol))]);
    let mut entries = vec![("ports".to_owned(), Yaml::List(vec![one]))];
    if !port.dns.is_empty() {
        let dns = Yaml::List(port.dns.iter().map(fqdn).collect());
        entries.push(("rules".to_owned(), map([("dns", dns)])));
    }
    Yaml::Map(entries)
}

fn fqdn(fqdn: &CiliumFqdn) -> Yaml {
    match fqdn {
        CiliumFqdn::Name(name) => map([("matchName", word(name))]),
        CiliumFqdn::Pattern(pattern) => map([("matchPattern", word(pattern))]),
    }
}

/// Fixes select by equality alone.
fn labels(selector: &CiliumSelector) -> Yaml {
    let labels = selector.requirements.iter().filter_map(|one| {
        let key = if one.key == CILIUM_NAMESPACE { format!("k8s:{}", one.key) } else { one.key.clone() };
        Some((key, word(one.values.first()?)))
    });
    map([("matchLabels", Yaml::Map(labels.collect()))])
}
