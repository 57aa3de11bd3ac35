//! Label selectors against the other end, which has to be a pod for them.

use super::Comparison;
use crate::cluster::{Expression, LabelSelector, Labels, NAMESPACE_NAME, Operator};
use crate::identity::Endpoint;
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// Selectors match pods with an address of their own, nothing else. `None`: it is one.
pub(in crate::policy::kinds) fn not_a_pod(other: &Endpoint) -> Option<Comparison> {
    if other.pod.is_some() {
        return None;
    }
    let ip = other.ip;
    Some(match (other.kind, &other.node) {
        (PeerKind::Unresolved, _) => unresolved(other),
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

/// What is said of an end in the cluster that is not known.
pub(in crate::policy::kinds) fn unresolved(other: &Endpoint) -> Comparison {
    let words = match other.address() {
        Some(ip) => format!("what {ip} is in the cluster is not known"),
        None => "the Service has no endpoint to compare".into(),
    };
    Comparison::new(Truth::Unknown, words)
}

/// The namespaces selected; `None`: the namespace `own` alone.
pub(in crate::policy::kinds) fn compare_namespace(
    selector: Option<&LabelSelector>,
    own: &str,
    other: &Endpoint,
) -> Comparison {
    if let Some(answer) = not_a_pod(other) {
        return answer;
    }
    let Some(pod) = &other.pod else { return Comparison::new(false, "") };
    let Some(selector) = selector else {
        let words = format!("pod {} is not in namespace {own}", pod.reference());
        return Comparison::new(pod.namespace == own, words);
    };
    if let Some(object) = &other.namespace {
        let words = mismatch(selector, &object.labels).map(|has| format!("namespace {} {has}", object.name));
        return Comparison::new(words.is_none(), words.unwrap_or_default());
    }
    // The Namespace object is missing: of its labels only the name is certain.
    match selector.matches_name_only(&pod.namespace) {
        Truth::No => Comparison::new(false, format!("namespace {} is not one of these", pod.namespace)),
        Truth::Yes => Comparison::new(true, ""),
        Truth::Unknown => Comparison::new(
            Truth::Unknown,
            format!("the labels of namespace {} are not known", pod.namespace),
        ),
    }
}

/// The pods selected; `None`: every pod.
pub(in crate::policy::kinds) fn compare_pod(
    selector: Option<&LabelSelector>,
    other: &Endpoint,
) -> Comparison {
    if let Some(answer) = not_a_pod(other) {
        return answer;
    }
    let Some(pod) = &other.pod else { return Comparison::new(false, "") };
    match selector.and_then(|selector| mismatch(selector, &pod.labels)) {
        Some(has) => Comparison::new(false, format!("pod {} {has}", pod.reference())),
        None => Comparison::new(true, format!("pod {} is one", pod.reference())),
    }
}

/// Both the namespaces and the pods selected.
pub(in crate::policy::kinds) fn compare_pods(
    namespaces: Option<&LabelSelector>,
    pods: Option<&LabelSelector>,
    own: &str,
    other: &Endpoint,
) -> Comparison {
    let selected = compare_namespace(namespaces, own, other);
    if selected.truth == Truth::No {
        return selected;
    }
    let pod = compare_pod(pods, other);
    if pod.truth <= selected.truth { pod } else { selected }
}

/// The first requirement that these labels do not meet, as what they have instead.
pub(in crate::policy::kinds) fn mismatch(selector: &LabelSelector, labels: &Labels) -> Option<String> {
    let has = |key: &str| match labels.get(key) {
        Some(value) => format!("has {key}={value}"),
        None => format!("has no label {key}"),
    };
    let unequal = selector.match_labels.iter().find(|(key, value)| labels.get(key) != Some(value));
    unequal
        .map(|(key, _)| has(key))
        .or_else(|| selector.expressions.iter().find(|one| !one.matches(labels)).map(|one| has(&one.key)))
}

/// `pods app=db in namespace data`, `every pod in namespaces team=a`.
pub(in crate::policy::kinds) fn describe_pods(
    namespaces: Option<&LabelSelector>,
    pods: Option<&LabelSelector>,
    own: &str,
) -> String {
    let pods = match pods {
        Some(selector) if !selector.is_empty() => format!("pods {selector}"),
        _ => "every pod".into(),
    };
    format!("{pods} in {}", describe_namespaces(namespaces, own))
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
