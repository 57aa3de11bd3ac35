//! The kinds of policy objects, one file each. A kind that is not installed has no objects and costs nothing.
//!
//! A kind answers a [`Question`] with a finding for each of its policies that selects the pod for that direction.
//! Kinds with an order of their own (AdminNetworkPolicy tiers, Calico order, Cilium deny) will be put before the
//! NetworkPolicies here, where the order between kinds is one place to read.

mod networkpolicy;

pub(super) use networkpolicy::{NAMESPACE_NAME, describe_peers};

use crate::cluster::{NetworkPolicy, Pod};
use crate::identity::{ClusterIndex, Endpoint};
use crate::protocol::Protocol;
use crate::verdict::{PolicyFinding, Side};

/// One side of a flow.
pub(super) struct Question<'a> {
    /// The cluster.
    pub(super) index: &'a ClusterIndex,
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
}

/// What every policy that selects the pod for this direction says.
pub(super) fn findings(question: &Question<'_>) -> Vec<PolicyFinding> {
    networkpolicy::findings(question)
}

/// A NetworkPolicy that is not (yet) in the cluster would select the pod and admit the traffic.
pub(super) fn admits(policy: &NetworkPolicy, question: &Question<'_>) -> bool {
    networkpolicy::admits(policy, question)
}
