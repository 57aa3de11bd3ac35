//! Whom a rule speaks of.

use super::entities;
use crate::cluster::{
    CILIUM_NAMESPACE, CILIUM_RESERVED, CiliumFqdn, CiliumPeer, CiliumSelector, Expression, LabelSelector,
    Operator, Service,
};
use crate::policy::kinds::Question;
use crate::policy::kinds::compare::{
    Comparison, address_name, compare_domains, compare_range, describe_block, unresolved,
};
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// Any of the peers.
pub(super) fn compare(peers: &[CiliumPeer], question: &Question<'_>) -> Comparison {
    let compared = peers.iter().map(|peer| compare_one(peer, question)).collect();
    Comparison::any(compared, || format!("{} is none of these", address_name(question.peer)))
}

fn compare_one(peer: &CiliumPeer, question: &Question<'_>) -> Comparison {
    let other = question.peer;
    let in_words = || format!("{} is {}", address_name(other), entities::what(question));
    match peer {
        CiliumPeer::Endpoints(selector) => compare_selector(selector, question),
        CiliumPeer::Cidr(block) => {
            let compared = compare_range(&block.cidr, &block.except, other);
            match (compared.truth, other.kind) {
                (Truth::Yes, PeerKind::Pod) => Comparison::new(
                    false,
                    format!("{} is a pod, and Cilium's ranges match none", address_name(other)),
                ),
                (Truth::Yes, PeerKind::Node) => Comparison::new(
                    Truth::Unknown,
                    format!(
                        "{} is a node: whether ranges match nodes is a setting (policy-cidr-match-mode)",
                        other.ip
                    ),
                ),
                (Truth::Yes, PeerKind::Unresolved | PeerKind::Service) => unresolved(other),
                _ => compared,
            }
        }
        CiliumPeer::CidrGroup(name) => match other.kind {
            PeerKind::Pod => Comparison::new(false, in_words()),
            _ => Comparison::new(Truth::Unknown, format!("what {name} holds is not known")),
        },
        CiliumPeer::Entity(entity) => entities::compare(entity, question),
        CiliumPeer::Service { namespace, name } => services(question, |service| {
            service.name == *name && (namespace.is_empty() || service.namespace == *namespace)
        }),
        CiliumPeer::Services { namespace, selector } => services(question, |service| {
            (namespace.is_empty() || service.namespace == *namespace) && selector.matches(&service.labels)
        }),
        CiliumPeer::Fqdn(fqdn) => compare_domains(question, |name| is_match(fqdn, name)),
        CiliumPeer::Nodes(_) => match other.kind {
            PeerKind::Node => Comparison::new(Truth::Unknown, "rules by node labels are not evaluated"),
            PeerKind::Unresolved => unresolved(other),
            _ => Comparison::new(false, in_words()),
        },
        CiliumPeer::Groups(field) => match other.kind {
            PeerKind::Pod | PeerKind::Node => Comparison::new(false, in_words()),
            _ => Comparison::new(Truth::Unknown, format!("what {field} holds is not known")),
        },
    }
}

/// Labels of a pod's identity; of what is no pod only `reserved:` labels.
fn compare_selector(selector: &CiliumSelector, question: &Question<'_>) -> Comparison {
    let other = question.peer;
    if matches!(other.kind, PeerKind::Unresolved | PeerKind::Service) {
        return unresolved(other);
    }
    let compared: Vec<Comparison> =
        selector.requirements.iter().map(|one| compare_requirement(one, question)).collect();
    match compared.into_iter().min_by_key(|one| one.truth) {
        Some(weakest) => weakest,
        None => Comparison::new(true, format!("{} is one", address_name(other))),
    }
}

fn compare_requirement(one: &Expression, question: &Question<'_>) -> Comparison {
    let other = question.peer;
    if let Some(entity) = one.key.strip_prefix(CILIUM_RESERVED) {
        let is = entities::compare(entity, question);
        return match one.operator {
            Operator::Exists | Operator::In => is,
            Operator::DoesNotExist | Operator::NotIn => {
                let truth = match is.truth {
                    Truth::Yes => Truth::No,
                    Truth::No => Truth::Yes,
                    Truth::Unknown => Truth::Unknown,
                };
                Comparison::new(truth, is.words)
            }
        };
    }
    let Some(pod) = &other.pod else {
        let words = format!("{} is {}, not a pod", address_name(other), entities::what(question));
        return Comparison::new(one.matches_value(None), words);
    };
    let truth = one.matches_pod(pod, other.namespace.as_deref());
    let words = match (truth, one.key.as_str()) {
        (Truth::Yes, _) => format!("pod {} is one", pod.reference()),
        (Truth::Unknown, key) => format!("what pod {} has as {key} for Cilium is not known", pod.reference()),
        (Truth::No, CILIUM_NAMESPACE) => format!("pod {} is in namespace {}", pod.reference(), pod.namespace),
        (Truth::No, key) => match pod.labels.get(key) {
            Some(value) => format!("pod {} has {key}={value}", pod.reference()),
            None => format!("pod {} does not match {one}", pod.reference()),
        },
    };
    Comparison::new(truth, words)
}

/// The other end stands behind a Service that is meant. Whether Services with a selector count depends on Cilium's
/// version.
fn services(question: &Question<'_>, is_meant: impl Fn(&Service) -> bool) -> Comparison {
    let other = question.peer;
    let behind = |service: &Service| {
        service
            .ports
            .iter()
            .any(|port| question.index.backends(service, port).iter().any(|backend| backend.ip == other.ip))
    };
    let mut found =
        question.index.services().filter(|service| is_meant(service) && behind(service)).peekable();
    let Some(first) = found.peek() else {
        return Comparison::new(false, format!("{} is behind no such Service", address_name(other)));
    };
    let name = first.reference();
    if found.any(|service| service.selector.is_none()) {
        return Comparison::new(true, format!("{} is behind Service {name}", address_name(other)));
    }
    let words =
        format!("Service {name} has a selector: whether toServices speaks of it depends on Cilium's version");
    Comparison::new(Truth::Unknown, words)
}

/// `matchName` and `matchPattern`: `*` is any run of letters, digits, `-` and `_` within a label; `*` alone is every
/// name; `**.` in front is one label or more.
fn is_match(fqdn: &CiliumFqdn, name: &str) -> bool {
    let clean = |text: &str| text.trim().trim_end_matches('.').to_ascii_lowercase();
    let name = clean(name);
    match fqdn {
        CiliumFqdn::Name(wanted) => clean(wanted) == name,
        CiliumFqdn::Pattern(pattern) => {
            let pattern = clean(pattern);
            match pattern.strip_prefix("**.") {
                _ if pattern == "*" || pattern == "**" => true,
                Some(parent) => name
                    .match_indices('.')
                    .any(|(dot, _)| dot > 0 && name.get(dot + 1..).is_some_and(|rest| is_glob(parent, rest))),
                None => is_glob(&pattern, &name),
            }
        }
    }
}

fn is_glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(after) = name.strip_prefix(head) else { return false };
    let within = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let run = after.find(|c| !within(c)).unwrap_or(after.len());
    (0..=run).any(|taken| after.get(taken..).is_some_and(|left| is_glob(rest, left)))
}

/// `pods app=db in namespace data`, `10.0.0.0/8`, `world`, `*.example.com`.
pub(super) fn describe(peer: &CiliumPeer) -> String {
    match peer {
        CiliumPeer::Endpoints(selector) => describe_selector(selector),
        CiliumPeer::Cidr(block) => describe_block(block),
        CiliumPeer::CidrGroup(name) | CiliumPeer::Groups(name) => name.clone(),
        CiliumPeer::Entity(entity) => format!("entity {entity}"),
        CiliumPeer::Service { namespace, name } if namespace.is_empty() => format!("Service {name}"),
        CiliumPeer::Service { namespace, name } => format!("Service {namespace}/{name}"),
        CiliumPeer::Services { selector, .. } => format!("Services {selector}"),
        CiliumPeer::Fqdn(CiliumFqdn::Name(name) | CiliumFqdn::Pattern(name)) => name.clone(),
        CiliumPeer::Nodes(selector) => format!("nodes {}", described(selector)),
    }
}

fn described(selector: &LabelSelector) -> String {
    if selector.is_empty() { "of any kind".into() } else { selector.to_string() }
}

/// A selector in words, its namespace apart.
pub(super) fn describe_selector(selector: &CiliumSelector) -> String {
    let (places, others): (Vec<_>, Vec<_>) =
        selector.requirements.iter().partition(|one| one.key == CILIUM_NAMESPACE);
    let words: Vec<String> = others
        .iter()
        .map(|one| match (one.operator, one.values.as_slice()) {
            (Operator::In, [value]) => format!("{}={value}", one.key),
            _ => one.to_string(),
        })
        .collect();
    let pods = if words.is_empty() { "every pod".to_owned() } else { format!("pods {}", words.join(",")) };
    match places.as_slice() {
        [] => pods,
        [Expression { operator: Operator::Exists, .. }] => format!("{pods} in every namespace"),
        [Expression { operator: Operator::In, values, .. }] if values.len() == 1 => {
            format!("{pods} in namespace {}", values.join(", "))
        }
        [Expression { operator: Operator::In, values, .. }] => {
            format!("{pods} in namespaces {}", values.join(", "))
        }
        several => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!("{pods} where {}", several.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_match_as_documented() {
        let name = |text: &str| CiliumFqdn::Name(text.into());
        let pattern = |text: &str| CiliumFqdn::Pattern(text.into());
        let table = [
            (name("api.example.com"), "API.example.com.", true),
            (name("example.com"), "api.example.com", false),
            (pattern("*"), "a.b.example.com", true),
            (pattern("*.example.com"), "api.example.com", true),
            (pattern("*.example.com"), "example.com", false),
            (pattern("*.example.com"), "a.b.example.com", false),
            (pattern("**.example.com"), "a.b.example.com", true),
            (pattern("**.example.com"), "example.com", false),
            (pattern("api-*.example.com"), "api-eu.example.com", true),
            (pattern("api*"), "api.example.com", false),
            (pattern("sub*.ex*ple.com"), "sub1.example.com", true),
        ];
        for (fqdn, text, expected) in table {
            assert_eq!(is_match(&fqdn, text), expected, "{fqdn:?} {text}");
        }
    }
}
