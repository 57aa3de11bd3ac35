//! `upstream-refused`: the remote answered the SYN with a reset.

use crate::decode::Tap;
use crate::flow::Outcome;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, PeerKind, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Refused { ttl } = case.event.outcome else { return None };
    let journey = &case.event.journey;
    let (who, stage, confidence) = if let Some(reset) = journey.answer(Tap::UplinkIn) {
        (format!("{} (TTL {ttl} on arrival)", reset.tuple.source.ip), Stage::Upstream, Confidence::Certain)
    } else if let Some(reset) = journey.answer(Tap::PodOut) {
        let pod =
            case.peer.pod_ref().map(|pod| format!("pod {}/{} ", pod.namespace, pod.name)).unwrap_or_default();
        (format!("{pod}{} on this node", reset.tuple.source.ip), Stage::Upstream, Confidence::Certain)
    } else if case.peer.kind == PeerKind::Node {
        ("the node itself".to_owned(), Stage::Node, Confidence::Certain)
    } else {
        // Not seen to come from anywhere: made on this node, and that is no remote's refusal.
        return None;
    };
    let port = case.event.client.destination.port;
    let summary = format!("{} refused the connection: {who} answered the SYN with a reset.", case.target());
    Some(
        Judgement::new(Cause::UpstreamRefused, confidence, stage, summary)
            .with("ttl", ttl)
            .with("by", who)
            .advise(format!(
                "Check that a server listens on port {port} there, and that nothing in front of it rejects."
            )),
    )
}
