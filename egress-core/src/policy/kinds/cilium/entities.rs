//! Entities: classes of ends that have no labels of their own.

use crate::policy::kinds::Question;
use crate::policy::kinds::compare::{Comparison, address_name};
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// Whether the other end is of this entity.
pub(super) fn compare(entity: &str, question: &Question<'_>) -> Comparison {
    let other = question.peer;
    let truth = match (entity, other.kind) {
        ("all", _) => Truth::Yes,
        ("none", _) => Truth::No,
        (_, PeerKind::Unresolved | PeerKind::Service) => {
            let words =
                format!("what {} is is not known, so whether it is of {entity} is not", address_name(other));
            return Comparison::new(Truth::Unknown, words);
        }
        ("world", kind) => (kind == PeerKind::External).into(),
        ("world-ipv4", kind) => (kind == PeerKind::External && other.ip.is_ipv4()).into(),
        ("world-ipv6", kind) => (kind == PeerKind::External && other.ip.is_ipv6()).into(),
        ("cluster", PeerKind::External) | ("kube-apiserver", _) => return apiserver(question),
        ("cluster", _) => Truth::Yes,
        ("host", _) => question.is_own_node(),
        ("remote-node", PeerKind::Node) => match question.is_own_node() {
            Truth::Yes => Truth::No,
            Truth::No => Truth::Yes,
            Truth::Unknown => Truth::Unknown,
        },
        ("remote-node" | "health" | "ingress", _) => Truth::No,
        // A pod without labels yet, or one that Cilium does not manage: neither can be seen from outside.
        ("init", PeerKind::Pod) if other.pod.as_ref().is_some_and(|pod| pod.ready) => Truth::No,
        ("init" | "unmanaged", PeerKind::Pod) => Truth::Unknown,
        ("init" | "unmanaged", _) => Truth::No,
        _ => {
            return Comparison::new(Truth::Unknown, format!("the entity {entity} is not evaluated"));
        }
    };
    let words = match truth {
        Truth::Unknown => format!("whether {} is of {entity} cannot be seen", address_name(other)),
        Truth::Yes | Truth::No => format!("{} is {}", address_name(other), what(question)),
    };
    Comparison::new(truth, words)
}

/// What the other end is, in words.
pub(super) fn what(question: &Question<'_>) -> &'static str {
    match (question.peer.kind, question.is_own_node()) {
        (PeerKind::External, _) => "outside the cluster",
        (PeerKind::Node, Truth::Yes) => "the pod's own node",
        (PeerKind::Node, Truth::No) => "another node",
        (PeerKind::Node, Truth::Unknown) => "a node",
        _ => "in the cluster",
    }
}

/// The API server is what the Service default/kubernetes leads to.
fn apiserver(question: &Question<'_>) -> Comparison {
    let other = question.peer;
    let service = question.index.service("default", "kubernetes");
    let mut slices = service.into_iter().flat_map(|service| question.index.slices_of(service)).peekable();
    if slices.peek().is_none() {
        let words = "which addresses the API server has is not known (EndpointSlices of default/kubernetes)";
        return Comparison::new(Truth::Unknown, words);
    }
    let is = slices.flat_map(|slice| &slice.backends).any(|backend| backend.ip == other.ip);
    let words = if is { "an API server" } else { "none of the API servers" };
    Comparison::new(is, format!("{} is {words}", address_name(other)))
}
