//! The kinds of policy objects, one file each, and the order in which they are asked. A kind that is not installed
//! has no objects and costs nothing.
//!
//! A kind answers a [`Question`] with a finding for each of its policies that selects the pod for that direction.

mod calico;
mod cilium;
mod compare;
mod networkpolicy;
mod other;
mod tiered;

pub(super) use calico::describe as describe_entity;
pub(super) use cilium::{Sight, describe as describe_peer, describe_subject, sight};
pub(super) use compare::describe_peers;

use std::sync::Arc;

use ipnet::IpNet;

use super::ladder::{self, Stage};
use super::model::SideView;
use crate::cluster::calico::CalicoPolicy;
use crate::cluster::{CiliumPolicy, NetworkPolicy, Object, ObjectKind, Pod, Policy, Tier, TieredPolicy};
use crate::identity::{ClusterIndex, Endpoint, Shelved};
use crate::protocol::Protocol;
use crate::truth::Truth;
use crate::verdict::{PeerKind, PolicyFinding, PolicyResult, Side};

/// One side of a flow.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The cluster.
    pub(super) index: &'a ClusterIndex,
    /// Policies that are not (yet) in the cluster and are judged as if they were.
    pub(super) added: &'a [Object],
    /// Which direction of the pod is asked about.
    pub(super) side: Side,
    /// The pod whose policies are asked.
    pub(super) pod: &'a Pod,
    /// The other end.
    pub(super) peer: &'a Endpoint,
    /// The end that is dialled: names of ports are its.
    pub(super) destination: &'a Endpoint,
    /// Destination port, if known.
    pub(super) port: Option<u16>,
    /// Protocol.
    pub(super) protocol: Protocol,
    /// Names that the source resolved to the destination's address, as far as was seen.
    pub(super) names: &'a [String],
}

impl Question<'_> {
    /// The policies of a kind that select the pod, and whether that is certain.
    pub(super) fn policies<P: Policy + Shelved>(&self) -> Vec<(Arc<P>, Truth)> {
        let mut found = self.index.policies_selecting::<P>(self.pod);
        let namespace = self.index.namespace(&self.pod.namespace).map(Arc::as_ref);
        for policy in self.added.iter().filter_map(P::of) {
            let selects = policy.selects(self.pod, namespace);
            if selects != Truth::No {
                found.push((Arc::clone(policy), selects));
            }
        }
        found
    }

    /// There are policies of this kind.
    fn has<P: Policy + Shelved>(&self) -> bool {
        self.index.has_policies::<P>() || self.added.iter().any(|object| P::of(object).is_some())
    }

    /// Whether the peer is the pod's own node; not known where the pod's node is not.
    fn is_own_node(&self) -> Truth {
        match &self.peer.node {
            _ if self.peer.kind != PeerKind::Node => Truth::No,
            _ if self.pod.node.is_empty() => Truth::Unknown,
            Some(node) => (node.name == self.pod.node).into(),
            None if !self.index.sees(ObjectKind::Node) => Truth::Unknown,
            None => Truth::No,
        }
    }

    /// `to` or `from`, as a rule of this side says it.
    const fn preposition(&self) -> &'static str {
        match self.side {
            Side::Egress => "to",
            Side::Ingress => "from",
        }
    }
}

/// What all policies that select the pod for this direction say, and what that comes to.
pub(super) fn judge(question: &Question<'_>) -> SideView {
    let mut view = ladder::climb(stages(question));
    if question.peer.pod.as_ref().is_some_and(|other| other.is_same(question.pod)) {
        // A pod cannot be cut off from itself: such packets do not leave it.
        for finding in &mut view.policies {
            finding.result = PolicyResult::NotApplicable;
            finding.why.truncate(1);
            finding.why.push("traffic between a pod and itself is always allowed".into());
        }
        view.decision = super::Decision::Allow;
    }
    view
}

/// The stages in their order.
fn stages(question: &Question<'_>) -> [Stage; 4] {
    [
        other::stage(question),
        tiered::stage(question, Tier::Admin),
        plugin(question),
        tiered::stage(question, Tier::Baseline),
    ]
}

/// The kinds of the network plugin.
fn plugin(question: &Question<'_>) -> Stage {
    let mut network = networkpolicy::rulings(question);
    let of_cilium = cilium::rulings(question);
    if !question.has::<CalicoPolicy>() {
        network.extend(of_cilium);
        return Stage::union(network);
    }
    let stage = calico::stage(question, network);
    if of_cilium.is_empty() {
        return stage;
    }
    // Two plugins, each of which has to let the traffic through.
    let mut beside = Stage::union(of_cilium);
    let outcomes = stage.outcomes.all_of(beside.outcomes);
    let mut findings = stage.findings;
    findings.append(&mut beside.findings);
    Stage { outcomes, findings }
}

/// Whether the pod is isolated already where this policy would isolate it: among Calico's in its tier, else by any
/// policy of the network plugin.
pub(super) fn is_isolated_beside(question: &Question<'_>, added: &Object) -> bool {
    let certain = |rulings: Vec<ladder::Ruling>| rulings.iter().any(|one| one.isolates == Truth::Yes);
    let by_cilium = || certain(cilium::rulings(question));
    let by_network = || certain(networkpolicy::rulings(question));
    match added {
        Object::CalicoPolicy(policy) => calico::is_governed(question, &policy.tier),
        Object::NetworkPolicy(_) if question.has::<CalicoPolicy>() => {
            calico::is_governed(question, CalicoPolicy::DEFAULT_TIER)
        }
        Object::CiliumPolicy(_) if question.has::<CalicoPolicy>() => by_cilium(),
        _ => by_network() || by_cilium(),
    }
}

/// The finding of a policy, without sentences.
fn finding(policy: &impl Policy, question: &Question<'_>, result: PolicyResult) -> PolicyFinding {
    PolicyFinding {
        kind: policy.kind().as_str().into(),
        namespace: Some(policy.namespace().to_owned()).filter(|namespace| !namespace.is_empty()),
        name: policy.name().to_owned(),
        side: question.side,
        result,
        why: Vec::new(),
    }
}

/// The networks that policies which select the pod name for this side.
pub(super) fn lines(index: &ClusterIndex, pod: &Pod, side: Side) -> Vec<IpNet> {
    fn of<P: Policy + Shelved>(index: &ClusterIndex, pod: &Pod, side: Side) -> Vec<IpNet> {
        index.policies_selecting::<P>(pod).iter().flat_map(|(policy, _)| policy.lines(side)).collect()
    }
    let sets = index.calico_sets().flat_map(|set| set.nets.iter().copied());
    let groups = index.cilium_cidr_groups().flat_map(|group| group.cidrs.iter().copied());
    let mut lines: Vec<IpNet> = sets.chain(groups).collect();
    lines.extend(of::<NetworkPolicy>(index, pod, side));
    lines.extend(of::<CalicoPolicy>(index, pod, side));
    lines.extend(of::<CiliumPolicy>(index, pod, side));
    lines.extend(of::<TieredPolicy>(index, pod, side));
    lines
}
