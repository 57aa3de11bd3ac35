//! One flow against all policies: both sides, one destination.

use super::kinds::{self, Question};
use super::model::{Decision, PolicyFlow, PolicyView, SideView};
use super::services;
use crate::identity::{ClusterIndex, Endpoint};
use crate::protocol::Protocol;
use crate::verdict::{PeerKind, PolicyResult, Side};

/// What the cluster's policies say to this traffic.
///
/// Policies apply after destination NAT, so a Service is judged by its backends, one by one.
#[must_use]
pub fn evaluate(index: &ClusterIndex, flow: &PolicyFlow) -> PolicyView {
    if flow.to.kind == PeerKind::Service {
        services::evaluate(index, flow)
    } else {
        evaluate_destination(index, &flow.from, &flow.to, Some(flow.port), flow.protocol)
    }
}

/// The same for one destination that is no Service. `port`: `None` where it is not known.
pub(super) fn evaluate_destination(
    index: &ClusterIndex,
    from: &Endpoint,
    to: &Endpoint,
    port: Option<u16>,
    protocol: Protocol,
) -> PolicyView {
    let side = |side, subject: &Endpoint, peer: &Endpoint| {
        let pod = subject.pod.as_deref()?;
        Some(evaluate_side(&Question { index, side, pod, peer, destination: to, port, protocol }))
    };
    let egress = side(Side::Egress, from, to);
    let ingress = side(Side::Ingress, to, from);
    let decisions =
        [&egress, &ingress].map(|view| view.as_ref().map_or(Decision::Allow, |view| view.decision));
    let isolated = [&egress, &ingress].iter().any(|view| view.as_ref().is_some_and(|view| view.isolated));
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

fn evaluate_side(question: &Question<'_>) -> SideView {
    let mut findings = kinds::findings(question);
    match exemption(question) {
        Exemption::None => SideView::of(findings),
        Exemption::Always(why) => {
            for finding in &mut findings {
                finding.result = PolicyResult::NotApplicable;
                finding.why.truncate(1);
                finding.why.push(why.clone());
            }
            SideView { isolated: !findings.is_empty(), decision: Decision::Allow, policies: findings }
        }
        Exemption::Unknown(why) => {
            for finding in findings.iter_mut().filter(|f| f.result == PolicyResult::DoesNotAdmit) {
                finding.result = PolicyResult::Undecidable;
                finding.why.push(why.clone());
            }
            SideView::of(findings)
        }
    }
}

/// Traffic that no policy can stop.
enum Exemption {
    None,
    Always(String),
    Unknown(String),
}

/// A pod cannot be cut off from itself nor from its own node (NetworkPolicy documentation, "The two sorts of pod
/// isolation" and "What you can't do with network policies").
fn exemption(question: &Question<'_>) -> Exemption {
    let Question { pod, peer, .. } = question;
    if peer.pod.as_ref().is_some_and(|other| other.is_same(pod)) {
        return Exemption::Always("traffic between a pod and itself is always allowed".into());
    }
    if peer.kind != PeerKind::Node {
        return Exemption::None;
    }
    match &peer.node {
        _ if pod.node.is_empty() => Exemption::Unknown(
            "it is not known which node the pod runs on, and traffic with its own node is always allowed"
                .into(),
        ),
        Some(node) if node.name == pod.node => Exemption::Always(format!(
            "{} is the pod's own node ({}), and traffic between a pod and its own node is always allowed",
            peer.ip, node.name
        )),
        _ => Exemption::None,
    }
}
