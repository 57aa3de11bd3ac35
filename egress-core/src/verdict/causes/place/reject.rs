//! Refusals made on this node: a REJECT answers in the remote's name.

use crate::decode::{IcmpError, Tap};
use crate::flow::{DropRole, Outcome};
use crate::identity::Endpoint;
use crate::node::DeviceRole;
use crate::verdict::PeerKind;
use crate::verdict::case::Case;

/// A refusal that no remote sent.
pub(in crate::verdict) struct Refusal {
    /// `tcp-reset`, `sctp-abort` or `icmp port unreachable`, as `detail.rejected_with` says it.
    pub(in crate::verdict) with: &'static str,
    /// The same in a sentence.
    pub(in crate::verdict) words: String,
}

/// The refusal of a flow that was refused without leaving the node, although both ways out are watched.
pub(in crate::verdict) fn local(case: &Case<'_>) -> Option<Refusal> {
    let refusal = match &case.event.outcome {
        Outcome::Refused { ttl } if case.event.client.protocol == 132 => {
            Refusal { with: "sctp-abort", words: format!("an SCTP ABORT (TTL {ttl})") }
        }
        Outcome::Refused { ttl } => Refusal { with: "tcp-reset", words: format!("a TCP reset (TTL {ttl})") },
        Outcome::Unreachable { error, router } => {
            let with = only_filters_say(error)?;
            Refusal { with, words: format!("{with} from {router}") }
        }
        _ => return None,
    };
    (went_nowhere(case) && would_be_seen(case)).then_some(refusal)
}

/// What told the sender of a dropped packet that it was refused, if anything did.
pub(in crate::verdict) fn answer(case: &Case<'_>) -> Option<&'static str> {
    let (_, role) = case.dropped()?;
    let answered = role == DropRole::Opening && case.event.journey.answer(Tap::PodIn).is_some();
    (answered && case.event.client.protocol == 6 && went_nowhere(case)).then_some("tcp-reset")
}

/// ICMP errors that only a packet filter sends for a packet that it did not forward: routes say others.
fn only_filters_say(error: &IcmpError) -> Option<&'static str> {
    match (error.v6, error.kind, error.code) {
        (false, 3, 3) | (true, 1, 4) => Some("icmp port unreachable"),
        (false, 3, 9) => Some("icmp network prohibited"),
        (false, 3, 10) => Some("icmp host prohibited"),
        _ => None,
    }
}

/// It was seen to leave the pod at most, and the answer nowhere before it reached the pod.
fn went_nowhere(case: &Case<'_>) -> bool {
    let journey = &case.event.journey;
    [Tap::UplinkOut, Tap::PodIn].iter().all(|tap| journey.request(*tap).is_none())
        && [Tap::UplinkIn, Tap::PodOut].iter().all(|tap| journey.answer(*tap).is_none())
}

/// Had it gone on, it would have been seen: it is for another machine or pod, and the way there is watched.
fn would_be_seen(case: &Case<'_>) -> bool {
    let to = case.translation.destination.map_or(case.event.client.destination.ip, |to| to.ip);
    if case.peer.kind == PeerKind::Node || case.node.is_own(to) {
        return false;
    }
    let watched = |role| {
        let mut devices = case.node.devices().iter().filter(|device| device.role == role).peekable();
        devices.peek().is_some()
            && devices.all(|device| {
                let direction = if role == DeviceRole::Pod { device.watched_in } else { device.watched_out };
                direction && device.bypass.is_none()
            })
    };
    // A Service may forward to a pod here or elsewhere.
    let here = matches!(case.peer.kind, PeerKind::Pod | PeerKind::Service);
    watched(DeviceRole::Uplink) && (!here || watched(DeviceRole::Pod)) && !is_itself(case.pod, case.peer)
}

fn is_itself(pod: &Endpoint, peer: &Endpoint) -> bool {
    pod.pod_ref().is_some() && pod.pod_ref() == peer.pod_ref()
}
