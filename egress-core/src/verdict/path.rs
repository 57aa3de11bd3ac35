//! The way of the packet, hop by hop, with the broken hop last.

use super::case::Case;
use super::judge::Judgement;
use super::{Cause, Hop, HopOutcome, PathHop, PeerKind, Stage};
use crate::decode::Tap;
use crate::flow::{DnsOutcome, Outcome, SizeKind};

/// Builds the path of a judged case.
#[must_use]
pub fn path(case: &Case<'_>, judgement: &Judgement) -> Vec<PathHop> {
    let mut path = vec![pod_hop(case, judgement)];
    if judgement.stage == Stage::Pod {
        return path;
    }
    if case.event.outcome.dropped().is_some() {
        // Inside the pod at the other end.
        if judgement.stage == Stage::Upstream {
            path.push(hop(Hop::Node, None, HopOutcome::Passed));
            path.push(broken(Hop::Peer, None, HopOutcome::Dropped, judgement));
            return path;
        }
        path.push(broken(Hop::Node, None, HopOutcome::Dropped, judgement));
        return path;
    }
    if judgement.stage == Stage::Node && matches!(case.event.outcome, Outcome::Reset(_)) {
        path.push(broken(Hop::Node, None, HopOutcome::Refused, judgement));
        return path;
    }
    let journey = &case.event.journey;
    // Nothing was seen to be dropped, but the node is where it ended, on its way out or back.
    if judgement.stage == Stage::Node && matches!(judgement.cause, Cause::RouteDrop | Cause::LocalResource) {
        path.push(broken(Hop::Node, None, HopOutcome::Dropped, judgement));
        return path;
    }
    if let Some(left) = journey.request(Tap::UplinkOut) {
        let translated = left.tuple.source.ip != case.event.client.source.ip
            || left.tuple.destination != case.event.client.destination;
        let passed = if translated { HopOutcome::Translated } else { HopOutcome::Passed };
        path.push(hop(Hop::Node, None, passed));
        let device = case.node.device_name(left.ifindex);
        if judgement.cause == Cause::NatMissing {
            path.push(broken(Hop::Uplink, device, HopOutcome::Passed, judgement));
        } else {
            path.push(hop(Hop::Uplink, device, HopOutcome::Passed));
        }
        if judgement.cause == Cause::Unknown && journey.answer(Tap::UplinkIn).is_some() {
            // The answer was lost after it had come back.
            path.push(hop(Hop::Upstream, None, HopOutcome::Passed));
            path.push(broken(Hop::Node, None, HopOutcome::Dropped, judgement));
            return path;
        }
        path.push(broken(Hop::Upstream, None, end(case, judgement.cause), judgement));
    } else if let Some(delivered) = journey.request(Tap::PodIn) {
        path.push(hop(Hop::Node, None, HopOutcome::Passed));
        path.push(broken(
            Hop::Peer,
            case.node.device_name(delivered.ifindex),
            end(case, judgement.cause),
            judgement,
        ));
    } else if judgement.stage == Stage::Upstream {
        path.push(hop(Hop::Node, None, HopOutcome::Unseen));
        let far = if matches!(case.peer.kind, PeerKind::Pod | PeerKind::Service) {
            Hop::Peer
        } else {
            Hop::Upstream
        };
        path.push(broken(far, None, end(case, judgement.cause), judgement));
    } else {
        path.push(broken(Hop::Node, None, node_end(case, judgement.cause), judgement));
    }
    path
}

fn pod_hop(case: &Case<'_>, judgement: &Judgement) -> PathHop {
    let device = case.pod_device.clone().or_else(|| {
        let left = case.event.journey.request(Tap::PodOut)?;
        case.node.device_name(left.ifindex)
    });
    if judgement.cause == Cause::MeshBlocked && judgement.stage == Stage::Pod {
        return broken(Hop::Pod, Some("lo".to_owned()), HopOutcome::Refused, judgement);
    }
    if judgement.stage == Stage::Pod {
        let outcome = match case.event.outcome {
            Outcome::Tls(_) => HopOutcome::Refused,
            _ => HopOutcome::Dropped,
        };
        return broken(Hop::Pod, device, outcome, judgement);
    }
    hop(Hop::Pod, device, HopOutcome::Passed)
}

fn end(case: &Case<'_>, cause: Cause) -> HopOutcome {
    match cause {
        // An error is an answer: only a question that got none met silence.
        Cause::DnsFailure => match &case.event.outcome {
            Outcome::Dns(failure) if failure.outcome != DnsOutcome::Timeout => HopOutcome::Refused,
            _ => HopOutcome::Silent,
        },
        // A router that says so has dropped it; who says nothing is silent.
        Cause::Mtu => match &case.event.outcome {
            Outcome::TooBig(found) if matches!(found.kind, SizeKind::Icmp(_)) => HopOutcome::Dropped,
            _ => HopOutcome::Silent,
        },
        Cause::MeshBlocked
        | Cause::UpstreamRefused
        | Cause::UpstreamUnreachable
        | Cause::UpstreamReset
        | Cause::TlsFailure => HopOutcome::Refused,
        Cause::ServiceNoEndpoints
            if matches!(case.event.outcome, Outcome::Refused { .. } | Outcome::Unreachable { .. }) =>
        {
            HopOutcome::Refused
        }
        // The other pod's machine dropped it, or could not answer.
        Cause::RouteDrop | Cause::LocalResource => HopOutcome::Dropped,
        _ => HopOutcome::Silent,
    }
}

fn node_end(case: &Case<'_>, cause: Cause) -> HopOutcome {
    match cause {
        Cause::PolicyDrop | Cause::FirewallDrop | Cause::RouteDrop | Cause::LocalResource | Cause::Mtu => {
            HopOutcome::Dropped
        }
        Cause::UpstreamRefused => HopOutcome::Refused,
        Cause::ServiceNoEndpoints => match case.event.outcome {
            Outcome::Unanswered => HopOutcome::Dropped,
            _ => HopOutcome::Refused,
        },
        _ => HopOutcome::Unseen,
    }
}

const fn hop(hop: Hop, device: Option<String>, outcome: HopOutcome) -> PathHop {
    PathHop { hop, device, outcome, r#where: None }
}

fn broken(hop: Hop, device: Option<String>, outcome: HopOutcome, judgement: &Judgement) -> PathHop {
    PathHop { hop, device, outcome, r#where: judgement.place.clone() }
}
