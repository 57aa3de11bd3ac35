//! The peers of a NetworkPolicy's rule against the other end of the flow.

use super::Comparison;
use super::address::{compare_range, describe_block, name};
use super::selectors::{compare_pods, describe_pods};
use crate::cluster::{CiliumPolicy, Peer};
use crate::policy::kinds::Question;
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// How many peers are written out.
const MAX_DESCRIBED: usize = 4;

/// Any of the peers; an empty list is anyone.
pub(in crate::policy::kinds) fn compare(
    peers: &[Peer],
    namespace: &str,
    question: &Question<'_>,
) -> Comparison {
    if peers.is_empty() {
        return Comparison::new(true, "");
    }
    let compared = peers.iter().map(|peer| match peer {
        Peer::IpBlock(block) => {
            beside_cilium(compare_range(&block.cidr, &block.except, question.peer), question)
        }
        Peer::Pods { namespaces, pods } => {
            compare_pods(namespaces.as_ref(), pods.as_ref(), namespace, question.peer)
        }
    });
    Comparison::any(compared.collect(), || format!("{} is none of these", name(question.peer)))
}

/// Where Cilium enforces NetworkPolicies, its ranges match neither pods nor nodes, unlike what the API says.
fn beside_cilium(range: Comparison, question: &Question<'_>) -> Comparison {
    let inside = matches!(question.peer.kind, PeerKind::Pod | PeerKind::Node);
    if range.truth != Truth::Yes || !inside || !question.index.has_policies::<CiliumPolicy>() {
        return range;
    }
    let words = format!("{} is in the cluster, where Cilium's ranges do not match", name(question.peer));
    Comparison::new(Truth::Unknown, words)
}

/// `10.0.0.0/8 except 10.1.0.0/16`, `pods app=db in namespace data`, `anyone`.
pub(in crate::policy) fn describe(peers: &[Peer], namespace: &str) -> String {
    if peers.is_empty() {
        return "anyone".into();
    }
    let words = peers.iter().map(|peer| match peer {
        Peer::IpBlock(block) => describe_block(block),
        Peer::Pods { namespaces, pods } => describe_pods(namespaces.as_ref(), pods.as_ref(), namespace),
    });
    listed(words, MAX_DESCRIBED)
}

/// The first `most`, and how many more there are.
pub(in crate::policy::kinds) fn listed(words: impl ExactSizeIterator<Item = String>, most: usize) -> String {
    let all = words.len();
    let mut told: Vec<String> = words.take(most).collect();
    if all > most {
        told.push(format!("{} more", all - most));
    }
    told.join(", ")
}
