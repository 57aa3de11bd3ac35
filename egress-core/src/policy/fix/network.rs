//! A fix as a NetworkPolicy.

use super::{Leg, ends, labels, name};
use crate::cluster::{NetworkPolicy, ObjectKind, Rule};
use crate::policy::kinds::Question;
use crate::policy::{PolicyFlow, SideView};
use crate::protocol::Protocol;
use crate::verdict::{PolicyResult, Side};

/// The policy that admits the flow on one side. For a Service: to all its backends.
pub(super) fn allow(
    question: &Question<'_>,
    denying: &SideView,
    flow: &PolicyFlow,
    legs: &[Leg<'_>],
) -> Result<NetworkPolicy, String> {
    if !matches!(flow.protocol, Protocol::Tcp | Protocol::Udp | Protocol::Sctp) {
        return Err(format!(
            "NetworkPolicy knows no {}: what a rule without ports admits besides TCP, UDP and SCTP is up to the \
             network plugin",
            flow.protocol
        ));
    }
    let pod = question.pod;
    let selector = labels::subject(question.index, pod, denying)?;
    let ports = ends::ports(question.index, flow, legs);
    let side = question.side;
    let peers = ends::peers(side, flow, legs, &pod.namespace)?;
    let name = name::of(side, pod, &flow.from, &flow.to, flow);
    let mut policy =
        NetworkPolicy { namespace: pod.namespace.clone(), name, selector, ..NetworkPolicy::default() };
    let rules = vec![Rule { peers, ports }];
    match side {
        Side::Egress => (policy.isolates_egress, policy.egress) = (true, rules),
        Side::Ingress => (policy.isolates_ingress, policy.ingress) = (true, rules),
    }
    Ok(policy)
}

/// The policy of [`allow`] selects only pods that a NetworkPolicy isolates already: see [`labels::subject`].
pub(super) fn is_within(denying: &SideView) -> bool {
    denying.policies.iter().any(|finding| {
        finding.kind == ObjectKind::NetworkPolicy.as_str() && finding.result == PolicyResult::DoesNotAdmit
    })
}
