//! Whom a rule speaks of.

use super::{entities, names, ranges};
use crate::cluster::{
    CILIUM_NAMESPACE, CILIUM_RESERVED, CiliumFqdn, CiliumPeer, CiliumSelector, Expression, LabelSelector,
    ObjectKind, Operator, Service,
};
use crate::policy::kinds::Question;
use crate::policy::kinds::compare::{Comparison, address_name, describe_block, unresolved};
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
        CiliumPeer::Cidr(block) => ranges::compare(&block.cidr, &block.except, question),
        CiliumPeer::CidrGroups { groups, except } => ranges::compare_groups(groups, except, question),
        CiliumPeer::Entity(entity) => entities::compare(entity, question),
        CiliumPeer::Service { namespace, name } => services(question, |service| {
            service.name == *name && (namespace.is_empty() || service.namespace == *namespace)
        }),
        CiliumPeer::Services { namespace, selector } => services(question, |service| {
            (namespace.is_empty() || service.namespace == *namespace) && selector.matches(&service.labels)
        }),
        CiliumPeer::Fqdn(fqdn) => names::compare(fqdn, question),
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
        let kinds = [ObjectKind::Service, ObjectKind::EndpointSlice];
        if !kinds.into_iter().all(|kind| question.index.sees(kind)) {
            return Comparison::new(Truth::Unknown, "what stands behind these Services is not known");
        }
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

/// `pods app=db in namespace data`, `10.0.0.0/8`, `world`, `*.example.com`.
pub(in crate::policy) fn describe(peer: &CiliumPeer) -> String {
    match peer {
        CiliumPeer::Endpoints(selector) => describe_selector(selector),
        CiliumPeer::Cidr(block) => describe_block(block),
        CiliumPeer::CidrGroups { groups, except } => ranges::describe_groups(groups, except),
        CiliumPeer::Groups(name) => name.clone(),
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
