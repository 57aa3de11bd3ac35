//! `upstream-refused`: the remote answered the SYN with a reset, or another local pod said that nothing listens.

use crate::decode::{IcmpError, Tap};
use crate::flow::Outcome;
use crate::verdict::case::Case;
use crate::verdict::distance::{away, hops};
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, PeerKind, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    match &case.event.outcome {
        Outcome::Refused { ttl } => by_reset(case, *ttl),
        Outcome::Unreachable { error, router } => by_pod(case, error, *router),
        _ => None,
    }
}

fn by_reset(case: &Case<'_>, ttl: u8) -> Option<Judgement> {
    let journey = &case.event.journey;
    let mut from_afar = false;
    let (who, stage, confidence) = if let Some(reset) = journey.answer(Tap::UplinkIn) {
        from_afar = true;
        let ip = reset.tuple.source.ip;
        (format!("{ip} (TTL {ttl} on arrival: {})", away(ttl)), Stage::Upstream, Confidence::Certain)
    } else if let Some(reset) = journey.answer(Tap::PodOut) {
        (
            format!("{}{} on this node", pod_word(case), reset.tuple.source.ip),
            Stage::Upstream,
            Confidence::Certain,
        )
    } else if case.peer.kind == PeerKind::Node {
        ("the node itself".to_owned(), Stage::Node, Confidence::Certain)
    } else {
        // Not seen to come from anywhere: made on this node, and that is no remote's refusal.
        return None;
    };
    let port = case.event.client.destination.port;
    let summary = format!("{} refused the connection: {who} answered the SYN with a reset.", case.target());
    let mut judgement = Judgement::new(Cause::UpstreamRefused, confidence, stage, summary)
        .with("ttl", ttl)
        .with("by", who)
        .advise(format!(
            "Check that a server listens on port {port} there, and that nothing in front of it rejects."
        ));
    if from_afar {
        judgement = judgement.with("hops", hops(ttl));
        if let Some(left) = journey.request(Tap::UplinkOut) {
            judgement = judgement.with("source", left.tuple.source.ip.to_string());
        }
    }
    Some(judgement)
}

/// A local pod answered that nothing listens on its port (UDP, SCTP).
fn by_pod(case: &Case<'_>, error: &IcmpError, from: std::net::IpAddr) -> Option<Judgement> {
    let port_closed = matches!((error.v6, error.kind, error.code), (false, 3, 2 | 3) | (true, 1, 4));
    let delivered = case.event.journey.request(Tap::PodIn)?;
    if !port_closed || delivered.tuple.destination.ip != from {
        return None;
    }
    let to = case.translation.destination.unwrap_or(case.event.client.destination);
    let summary = format!(
        "{} refused the {}: {}{from} on this node answered that nothing listens on port {}.",
        case.target(),
        case.packet_word(),
        pod_word(case),
        to.port,
    );
    Some(
        Judgement::new(Cause::UpstreamRefused, Confidence::Certain, Stage::Upstream, summary)
            .with("by", from.to_string())
            .with("code", "port unreachable")
            .advise(format!(
                "Check that a server listens on {} port {} in that pod.",
                case.protocol(),
                to.port
            )),
    )
}

fn pod_word(case: &Case<'_>) -> String {
    case.peer.pod_ref().map(|pod| format!("pod {}/{} ", pod.namespace, pod.name)).unwrap_or_default()
}
