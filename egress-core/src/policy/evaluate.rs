//! One flow against all policies: both sides, one destination.

use super::kinds::{self, Question};
use super::model::{Decision, PolicyFlow, PolicyView, SideView};
use super::services;
use crate::identity::{ClusterIndex, Endpoint};
use crate::protocol::Protocol;
use crate::verdict::{PeerKind, Side};

/// What the cluster's policies say to this traffic.
///
/// Policies apply after destination NAT, so a Service is judged by its backends, one by one.
#[must_use]
pub fn evaluate(index: &ClusterIndex, flow: &PolicyFlow) -> PolicyView {
    if flow.to.kind == PeerKind::Service {
        services::evaluate(index, flow)
    } else {
        evaluate_destination(index, flow, &flow.to, Some(flow.port))
    }
}

/// The same for one destination that is no Service. `port`: `None` where it is not known.
pub(super) fn evaluate_destination(
    index: &ClusterIndex,
    flow: &PolicyFlow,
    to: &Endpoint,
    port: Option<u16>,
) -> PolicyView {
    let PolicyFlow { from, protocol, .. } = flow;
    let protocol = *protocol;
    let side = |side, subject: &Endpoint, peer: &Endpoint| {
        let pod = subject.pod.as_deref()?;
        let names = flow.names.as_slice();
        let added = &[];
        let question = Question { index, added, side, pod, peer, destination: to, port, protocol, names };
        Some(kinds::judge(&question))
    };
    let egress = side(Side::Egress, from, to);
    let ingress = side(Side::Ingress, to, from);
    let decisions =
        [&egress, &ingress].map(|view| view.as_ref().map_or(Decision::Allow, |view| view.decision));
    let of_network_policy = |view: &SideView| view.policies.iter().any(|one| one.kind == "NetworkPolicy");
    let isolated = [&egress, &ingress].iter().any(|view| view.as_ref().is_some_and(of_network_policy));
    let defined = matches!(protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp);
    // An end in the cluster that is not known may have policies of its own.
    let unknown = [from, to].iter().any(|end| end.kind == PeerKind::Unresolved);
    let unseen = if unknown { Decision::Undecidable } else { Decision::Allow };
    PolicyView {
        decision: decisions[0].and(decisions[1]).and(unseen),
        egress,
        ingress,
        undefined_protocol: isolated && !defined,
        backends: None,
    }
}
