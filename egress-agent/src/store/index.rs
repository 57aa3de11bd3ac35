//! The inverted index: under which terms a verdict is found, and which terms answer a question.

use std::collections::BTreeSet;

use egress_core::history::{Filter, PodFilter, peer_keys, pods_of};
use egress_core::verdict::{State, Verdict};

use super::key::hash;

/// Of which pods: the first part of every term.
enum Scope<'a> {
    All,
    Namespace(&'a str),
    Pod(&'a str, &'a str),
}

impl Scope<'_> {
    fn term(&self, kind: &str, value: &str) -> u64 {
        match self {
            Self::All => hash(&["all", kind, value]),
            Self::Namespace(namespace) => hash(&["namespace", namespace, kind, value]),
            Self::Pod(namespace, name) => hash(&["pod", namespace, name, kind, value]),
        }
    }
}

/// Every term of a verdict: each pod and namespace it belongs to, alone, with its cause and with each way to name its
/// peer; its cause and its peer alone; and that it is active.
pub(super) fn terms_of(verdict: &Verdict) -> BTreeSet<u64> {
    let pods: Vec<_> = pods_of(verdict).collect();
    let peers = peer_keys(verdict);
    let mut terms = BTreeSet::new();
    let scopes =
        pods.iter().flat_map(|pod| [Scope::Namespace(&pod.namespace), Scope::Pod(&pod.namespace, &pod.name)]);
    for scope in scopes.chain([Scope::All]) {
        if !matches!(scope, Scope::All) {
            terms.insert(scope.term("any", ""));
        }
        terms.insert(scope.term("cause", verdict.cause.as_str()));
        terms.extend(peers.iter().map(|peer| scope.term("peer", peer)));
    }
    if verdict.state == State::Active {
        terms.insert(active());
    }
    terms
}

/// The term of what is active.
pub(super) fn active() -> u64 {
    hash(&["active"])
}

/// The lists that together hold every verdict a filter lets through, none of them twice; `None`: all verdicts do. The
/// narrowest lists there are: what they hold beyond is left out by the filter itself.
pub(super) fn terms_for(filter: &Filter) -> Option<BTreeSet<u64>> {
    let scope = match &filter.pods {
        PodFilter::All => Scope::All,
        PodFilter::Namespace(namespace) => Scope::Namespace(namespace),
        PodFilter::Pod(pod) => Scope::Pod(&pod.namespace, &pod.name),
    };
    if let Some(to) = &filter.to {
        return Some([scope.term("peer", &to.key())].into());
    }
    if !filter.causes.is_empty() {
        return Some(filter.causes.iter().map(|cause| scope.term("cause", cause.as_str())).collect());
    }
    (!matches!(scope, Scope::All)).then(|| [scope.term("any", "")].into())
}
