//! The rules of one policy of a tier.

use crate::cluster::{ObjectKind, PolicyPort, TieredAction, TieredPeer, TieredPort, TieredRule};
use crate::policy::kinds::Question;
use crate::policy::kinds::compare::{
    Comparison, address_name, compare_domains, compare_pods, compare_port, compare_range, describe_pods,
    describe_ports, listed, mismatch, unresolved,
};
use crate::policy::outcomes::Outcomes;
use crate::protocol::Protocol;
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// Rules beyond these have no sentence, unless they match.
const MAX_SENTENCES: usize = 50;
/// How many peers are written out.
const MAX_DESCRIBED: usize = 4;

/// What becomes of the traffic, and a sentence for each rule up to the one that decides.
pub(super) fn judge(rules: &[TieredRule], question: &Question<'_>) -> (Outcomes, Vec<String>) {
    let mut judged = Vec::new();
    let mut why = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let compared = compare(number, rule, question);
        judged.push((compared.truth, outcome(rule.action)));
        if compared.truth != Truth::No || number < MAX_SENTENCES {
            why.push(compared.words);
        }
        if compared.truth == Truth::Yes {
            break;
        }
    }
    if judged.iter().all(|(truth, _)| *truth == Truth::No) {
        why.push(format!("none of its {} {} rules speaks of this", rules.len(), question.side));
    }
    (Outcomes::first_match(judged), why)
}

const fn outcome(action: TieredAction) -> Outcomes {
    match action {
        TieredAction::Accept => Outcomes::ACCEPT,
        TieredAction::Deny => Outcomes::DENY,
        TieredAction::Pass => Outcomes::PASS,
    }
}

/// A rule matches any of its peers and any of its ports.
fn compare(number: usize, rule: &TieredRule, question: &Question<'_>) -> Comparison {
    let peers = rule.peers.iter().map(|peer| compare_peer(peer, question)).collect();
    let peers = Comparison::any(peers, || format!("{} is none of these", address_name(question.peer)));
    let ports = compare_ports(&rule.ports, question);
    let verb = match rule.action {
        TieredAction::Accept => "admits",
        TieredAction::Deny => "denies",
        TieredAction::Pass => "passes on",
    };
    let name = if rule.name.is_empty() { String::new() } else { format!(" ({})", rule.name) };
    let ports_told = if rule.ports.is_empty() {
        "every port".to_owned()
    } else {
        listed(rule.ports.iter().map(|port| describe_port(port, question)), MAX_DESCRIBED)
    };
    Comparison::all(&[&peers, &ports]).after(format!(
        "{} rule {}{name} {verb} {ports_told} {} {}",
        question.side,
        number + 1,
        question.preposition(),
        listed(rule.peers.iter().map(describe_peer), MAX_DESCRIBED),
    ))
}

fn compare_peer(peer: &TieredPeer, question: &Question<'_>) -> Comparison {
    let other = question.peer;
    match peer {
        TieredPeer::Pods(pods) => compare_pods(Some(&pods.namespaces), pods.pods.as_ref(), "", other),
        TieredPeer::Nodes(selector) => match (other.kind, &other.node) {
            (PeerKind::Unresolved, _) => unresolved(other),
            (PeerKind::Node, Some(node)) if !question.index.sees(ObjectKind::Node) => {
                Comparison::new(Truth::Unknown, format!("the labels of node {} are not known", node.name))
            }
            (PeerKind::Node, Some(node)) => match mismatch(selector, &node.labels) {
                Some(has) => Comparison::new(false, format!("node {} {has}", node.name)),
                None => Comparison::new(true, format!("{} is node {}", other.ip, node.name)),
            },
            (PeerKind::Node, None) => {
                Comparison::new(Truth::Unknown, format!("{} is a node that is not known", other.ip))
            }
            _ => Comparison::new(false, format!("{} is no node", address_name(other))),
        },
        TieredPeer::Networks(networks) => Comparison::any(
            networks.iter().map(|network| compare_range(network, &[], other)).collect(),
            || format!("{} is outside", address_name(other)),
        ),
        TieredPeer::DomainNames(patterns) => {
            let matching = |name: &str| patterns.iter().any(|pattern| is_domain(pattern, name));
            compare_domains(question, matching)
        }
        TieredPeer::Unknown(field) => {
            Comparison::new(Truth::Unknown, format!("the peer {field} is not evaluated"))
        }
    }
}

/// `*.` stands for one label or more.
fn is_domain(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_end_matches('.').to_ascii_lowercase();
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        Some(parent) => name.strip_suffix(parent).is_some_and(|head| head.len() > 1 && head.ends_with('.')),
        None => name == pattern,
    }
}

/// Any of the ports; an empty list is everything.
fn compare_ports(ports: &[TieredPort], question: &Question<'_>) -> Comparison {
    if ports.is_empty() {
        return Comparison::new(true, "");
    }
    let Question { protocol, port, .. } = question;
    if !matches!(protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp) {
        return Comparison::new(false, format!("a rule with ports does not speak of {protocol}"));
    }
    let compared = ports.iter().map(|one| match one {
        TieredPort::Number(number) => compare_port(number, question),
        TieredPort::Name(name) => compare_port(&named(name, *protocol), question),
        TieredPort::Unknown(field) => {
            Comparison::new(Truth::Unknown, format!("the port {field} is not evaluated"))
        }
    });
    let this = port.map_or_else(|| protocol.to_string(), |port| format!("{protocol} {port}"));
    let mut any = Comparison::any(compared.collect(), || format!("{this} is none of these"));
    if any.truth == Truth::Yes {
        any.words.clear();
    }
    any
}

fn named(name: &str, protocol: Protocol) -> PolicyPort {
    PolicyPort { protocol, port: Some(crate::cluster::PortMatch::Name(name.to_owned())) }
}

fn describe_port(port: &TieredPort, question: &Question<'_>) -> String {
    match port {
        TieredPort::Number(number) => describe_ports(std::slice::from_ref(number), question),
        TieredPort::Name(name) => format!("port {name}"),
        TieredPort::Unknown(field) => field.clone(),
    }
}

fn describe_peer(peer: &TieredPeer) -> String {
    match peer {
        TieredPeer::Pods(pods) => describe_pods(Some(&pods.namespaces), pods.pods.as_ref(), ""),
        TieredPeer::Nodes(selector) if selector.is_empty() => "every node".into(),
        TieredPeer::Nodes(selector) => format!("nodes {selector}"),
        TieredPeer::Networks(networks) => listed(networks.iter().map(ToString::to_string), MAX_DESCRIBED),
        TieredPeer::DomainNames(names) => listed(names.iter().cloned(), MAX_DESCRIBED),
        TieredPeer::Unknown(field) => field.clone(),
    }
}
