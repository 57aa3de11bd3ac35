//! The peers of a rule against the other end of the flow.

use super::Comparison;
use crate::cluster::{Expression, IpBlock, LabelSelector, Labels, Operator, Peer};
use crate::identity::Endpoint;
use crate::policy::kinds::Question;
use crate::policy::truth::Truth;
use crate::verdict::PeerKind;

/// How many peers are written out.
const MAX_DESCRIBED: usize = 4;
/// The label every namespace has (`NamespaceDefaultLabelName`).
pub(in crate::policy) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Any of the peers; an empty list is anyone.
pub(super) fn compare(peers: &[Peer], namespace: &str, question: &Question<'_>) -> Comparison {
    if peers.is_empty() {
        return Comparison::new(true, "");
    }
    let mut compared: Vec<Comparison> =
        peers.iter().map(|peer| compare_one(peer, namespace, question.peer)).collect();
    let truth = Truth::any(compared.iter().map(|one| one.truth));
    let position = compared.iter().position(|one| one.truth == truth);
    if truth == Truth::No && compared.len() > 1 {
        return Comparison::new(truth, format!("{} is none of these", name(question.peer)));
    }
    position.map_or_else(|| Comparison::new(truth, ""), |position| compared.swap_remove(position))
}

fn compare_one(peer: &Peer, namespace: &str, other: &Endpoint) -> Comparison {
    match peer {
        Peer::IpBlock(block) => compare_block(block, other),
        Peer::Pods { namespaces, pods } => {
            let selected = compare_namespace(namespaces.as_ref(), namespace, other);
            if selected.truth == Truth::No {
                return selected;
            }
            let pod = compare_pod(pods.as_ref(), other);
            if pod.truth <= selected.truth { pod } else { selected }
        }
    }
}

/// `ipBlock` speaks of the address alone, whoever has it.
fn compare_block(block: &IpBlock, other: &Endpoint) -> Comparison {
    let Some(ip) = other.address() else {
        return Comparison::new(Truth::Unknown, format!("the address of {} is not known", name(other)));
    };
    if ip.is_ipv4() != block.cidr.addr().is_ipv4() {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        return Comparison::new(false, format!("{ip} is {family}"));
    }
    if !block.cidr.contains(&ip) {
        return Comparison::new(false, format!("{ip} is outside"));
    }
    match block.except.iter().find(|except| except.contains(&ip)) {
        Some(except) => Comparison::new(false, format!("{ip} is in the excepted {except}")),
        None => Comparison::new(true, format!("{ip} is inside")),
    }
}

/// Selectors match pods with an address of their own, nothing else.
fn not_a_pod(other: &Endpoint) -> Option<Comparison> {
    if other.pod.is_some() {
        return None;
    }
    let ip = other.ip;
    Some(match (other.kind, &other.node) {
        (PeerKind::Unresolved, _) => {
            let words = match other.address() {
                Some(ip) => format!("{ip} is in the cluster, but what it is is not known"),
                None => "the Service has no endpoint to compare".into(),
            };
            Comparison::new(Truth::Unknown, words)
        }
        (PeerKind::Node, Some(node)) => {
            Comparison::new(false, format!("{ip} is node {}, which no selector matches", node.name))
        }
        (PeerKind::Node, None) => {
            Comparison::new(false, format!("{ip} is a node, which no selector matches"))
        }
        (PeerKind::Service, _) => Comparison::new(Truth::Unknown, format!("{ip} is a Service's address")),
        (PeerKind::External | PeerKind::Pod, _) => {
            Comparison::new(false, format!("{ip} is outside the cluster, not a pod"))
        }
    })
}

fn compare_namespace(selector: Option<&LabelSelector>, namespace: &str, other: &Endpoint) -> Comparison {
    if let Some(answer) = not_a_pod(other) {
        return answer;
    }
    let Some(pod) = &other.pod else { return Comparison::new(false, "") };
    let Some(selector) = selector else {
        let words = format!("pod {} is not in namespace {namespace}", pod.reference());
        return Comparison::new(pod.namespace == namespace, words);
    };
    if let Some(object) = &other.namespace {
        let words = mismatch(selector, &object.labels).map(|has| format!("namespace {} {has}", object.name));
        return Comparison::new(words.is_none(), words.unwrap_or_default());
    }
    // The Namespace object is missing: of its labels only the name is certain.
    let certain = Labels::from([(NAMESPACE_NAME, pod.namespace.as_str())]);
    let (known, unknown) = split(selector, NAMESPACE_NAME);
    match mismatch(&known, &certain) {
        Some(has) => Comparison::new(false, format!("namespace {} {has}", pod.namespace)),
        None if unknown.is_empty() => Comparison::new(true, ""),
        None => Comparison::new(
            Truth::Unknown,
            format!("the labels of namespace {} are not known", pod.namespace),
        ),
    }
}

fn compare_pod(selector: Option<&LabelSelector>, other: &Endpoint) -> Comparison {
    if let Some(answer) = not_a_pod(other) {
        return answer;
    }
    let Some(pod) = &other.pod else { return Comparison::new(false, "") };
    match selector.and_then(|selector| mismatch(selector, &pod.labels)) {
        Some(has) => Comparison::new(false, format!("pod {} {has}", pod.reference())),
        None => Comparison::new(true, format!("pod {} is one", pod.reference())),
    }
}

/// The first requirement that these labels do not meet, as what they have instead.
fn mismatch(selector: &LabelSelector, labels: &Labels) -> Option<String> {
    let has = |key: &str| match labels.get(key) {
        Some(value) => format!("has {key}={value}"),
        None => format!("has no label {key}"),
    };
    let unequal = selector.match_labels.iter().find(|(key, value)| labels.get(key) != Some(value));
    unequal
        .map(|(key, _)| has(key))
        .or_else(|| selector.expressions.iter().find(|one| !one.matches(labels)).map(|one| has(&one.key)))
}

/// The requirements on `key`, and all others.
fn split(selector: &LabelSelector, key: &str) -> (LabelSelector, LabelSelector) {
    let (mut on_key, mut others) = (LabelSelector::default(), LabelSelector::default());
    for (name, value) in &selector.match_labels {
        let part = if name == key { &mut on_key } else { &mut others };
        part.match_labels.insert(name, value);
    }
    for expression in &selector.expressions {
        let part = if expression.key == key { &mut on_key } else { &mut others };
        part.expressions.push(expression.clone());
    }
    (on_key, others)
}

/// `10.0.0.0/8 except 10.1.0.0/16`, `pods app=db in namespace data`, `anyone`.
pub(in crate::policy) fn describe(peers: &[Peer], namespace: &str) -> String {
    if peers.is_empty() {
        return "anyone".into();
    }
    let mut words: Vec<String> =
        peers.iter().take(MAX_DESCRIBED).map(|peer| describe_one(peer, namespace)).collect();
    if peers.len() > MAX_DESCRIBED {
        words.push(format!("{} more", peers.len() - MAX_DESCRIBED));
    }
    words.join(", ")
}

fn describe_one(peer: &Peer, namespace: &str) -> String {
    match peer {
        Peer::IpBlock(IpBlock { cidr, except }) if except.is_empty() => cidr.to_string(),
        Peer::IpBlock(IpBlock { cidr, except }) => {
            let except: Vec<String> = except.iter().map(ToString::to_string).collect();
            format!("{cidr} except {}", except.join(", "))
        }
        Peer::Pods { namespaces, pods } => {
            let pods = match pods {
                Some(selector) if !selector.is_empty() => format!("pods {selector}"),
                _ => "every pod".into(),
            };
            format!("{pods} in {}", describe_namespaces(namespaces.as_ref(), namespace))
        }
    }
}

fn describe_namespaces(selector: Option<&LabelSelector>, own: &str) -> String {
    let Some(selector) = selector else { return format!("namespace {own}") };
    if selector.is_empty() {
        return "every namespace".into();
    }
    match (selector.match_labels.iter().next(), selector.expressions.as_slice()) {
        (Some((key, name)), []) if key == NAMESPACE_NAME && selector.match_labels.len() == 1 => {
            format!("namespace {name}")
        }
        (None, [Expression { key, operator: Operator::In, values }]) if key == NAMESPACE_NAME => {
            format!("namespaces {}", values.join(", "))
        }
        _ => format!("namespaces {selector}"),
    }
}

/// The other end, as a person calls it.
fn name(other: &Endpoint) -> String {
    match (other.pod_ref(), other.address()) {
        (Some(pod), Some(ip)) => format!("pod {pod} ({ip})"),
        (Some(pod), None) => format!("pod {pod}"),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "the destination".into(),
    }
}
