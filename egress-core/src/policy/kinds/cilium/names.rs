//! `toFQDNs`: names, which Cilium learns only from DNS answers that go through its proxy. Those are the answers to
//! questions that an egress rule with `toPorts[].rules.dns` lets through; an address stands for the name that was asked,
//! not for the CNAMEs behind it. What one pod of a node taught it counts for all of them (`pkg/fqdn/doc.go`).

use crate::cluster::{CiliumFqdn, CiliumPolicy, Pod};
use crate::policy::kinds::Question;
use crate::policy::kinds::compare::{Comparison, compare_domains};
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// What Cilium sees of a pod's DNS answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Sight {
    /// A rule lets it see the answers for this name.
    Seen,
    /// Its rules for DNS do not list this name.
    Unlisted,
    /// It has no rule for DNS.
    Blind,
    /// Whether a rule that would do is for this pod is not known.
    Unknown,
}

/// A rule by name. Where no answer for a name that matches can have been seen, it matches nothing.
pub(super) fn compare(fqdn: &CiliumFqdn, question: &Question<'_>) -> Comparison {
    let compared = compare_domains(question, |name| fqdn.matches(name));
    if question.peer.kind != PeerKind::External {
        return compared;
    }
    if compared.truth == Truth::No {
        return Comparison::new(false, format!("{} (CNAMEs do not count)", compared.words));
    }
    let matching = question.names.iter().rev().find(|name| fqdn.matches(name)).map(String::as_str);
    let own = sight(question, matching);
    match own {
        Sight::Seen => return compared,
        Sight::Unknown => {
            let words =
                format!("{} (whether a rule lets Cilium see DNS answers is not known)", compared.words);
            return Comparison::new(Truth::Unknown, words);
        }
        Sight::Unlisted | Sight::Blind => {}
    }
    let what = match (own, matching) {
        (Sight::Unlisted, Some(name)) => {
            format!("{}, but no DNS rule lists {name}, so Cilium does not see its answers", compared.words)
        }
        (_, Some(_)) => format!("{}, but no rule lets Cilium see DNS answers", compared.words),
        (_, None) => "no rule lets Cilium see DNS answers, from which it learns names".into(),
    };
    if taught_by_others(question, matching) {
        let words = format!("{what}; other pods of the node may have shown it some");
        return Comparison::new(Truth::Unknown, words);
    }
    Comparison::new(false, what)
}

/// What Cilium sees of the pod's answers for this name; without a name, for any.
pub(in crate::policy) fn sight(question: &Question<'_>, name: Option<&str>) -> Sight {
    let policies = question.policies::<CiliumPolicy>();
    let all = policies.iter().map(|(policy, _)| of_policy(policy, question.pod, question, name));
    all.max_by_key(|sight| match sight {
        Sight::Blind => 0,
        Sight::Unlisted => 1,
        Sight::Unknown => 2,
        Sight::Seen => 3,
    })
    .unwrap_or(Sight::Blind)
}

fn of_policy(policy: &CiliumPolicy, pod: &Pod, question: &Question<'_>, name: Option<&str>) -> Sight {
    let namespace = question.index.namespace(&pod.namespace).map(AsRef::as_ref);
    let (mut listed, mut any) = (Truth::No, false);
    for spec in &policy.specs {
        let mut dns = spec.egress.iter().flat_map(|rule| &rule.ports).flat_map(|port| &port.dns).peekable();
        if dns.peek().is_none() {
            continue;
        }
        let selects = spec.selector.matches_pod(pod, namespace);
        any |= selects != Truth::No;
        if name.is_none_or(|name| dns.any(|fqdn| fqdn.matches(name))) {
            listed = listed.max(selects);
        }
    }
    match listed {
        Truth::Yes => Sight::Seen,
        Truth::Unknown => Sight::Unknown,
        Truth::No if any => Sight::Unlisted,
        Truth::No => Sight::Blind,
    }
}

/// Another pod of the same node may have asked for such a name where Cilium sees the answer.
fn taught_by_others(question: &Question<'_>, name: Option<&str>) -> bool {
    let node = &question.pod.node;
    let mut others = question.index.pods().filter(|other| {
        let there = node.is_empty() || other.node.is_empty() || other.node == *node;
        there && !other.is_same(question.pod) && !other.host_network && !other.finished
    });
    others.any(|other| {
        let policies = question.index.policies_selecting::<CiliumPolicy>(other);
        let mut all = policies.iter().map(|(policy, _)| of_policy(policy, other, question, name));
        all.any(|sight| matches!(sight, Sight::Seen | Sight::Unknown))
    })
}
