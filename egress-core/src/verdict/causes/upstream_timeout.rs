//! `upstream-timeout`: it left the node (or reached the other pod) and nothing came back.

use crate::decode::Tap;
use crate::flow::Outcome;
use crate::protocol::Protocol;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, PeerKind, PolicyResult, Stage, questions};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    if !matches!(case.event.outcome, Outcome::Unanswered) {
        return None;
    }
    let journey = &case.event.journey;
    if journey.answer(Tap::UplinkIn).is_some() || journey.answer(Tap::PodOut).is_some() {
        return None;
    }
    if journey.request(Tap::PodIn).is_some() && journey.request(Tap::UplinkOut).is_none() {
        return Some(silent_pod(case));
    }
    let left = journey.request(Tap::UplinkOut)?;
    let device = case.node.device(left.ifindex);
    let name = device.map_or_else(|| "the uplink".to_owned(), |device| device.name.clone());
    let source = case.translation.source.map_or(left.tuple.source.ip, |source| source.ip);
    let translated = source != case.event.client.source.ip;
    let as_what = if translated { format!(" as {source}") } else { String::new() };
    let packet = case.packet_word();
    let summary =
        format!("The {packet} to {} left the node by {name}{as_what} and nothing came back.", case.target());
    let mut judgement = Judgement::new(Cause::UpstreamTimeout, Confidence::Certain, Stage::Upstream, summary)
        .with("device", name.clone())
        .with("source", source.to_string());
    // "Nothing came back" may be said where something coming back would have been seen.
    let watched = device.is_some_and(|device| device.watched_in && device.bypass.is_none());
    if !watched {
        judgement.confidence = Confidence::Possible;
        judgement =
            judgement.hint(format!("what comes in by {name} is not watched, so an answer could be missed"));
    } else if !case.node.carried(left.ifindex, Tap::UplinkIn) {
        judgement.confidence = Confidence::Likely;
        judgement = judgement.hint(format!("nothing at all was seen to come in by {name} so far"));
    }
    if case.lost > 0 {
        judgement.confidence = Confidence::Possible;
    }
    let to = left.tuple.destination;
    let kind = case.cluster.resolve(to.ip, to.port, case.protocol(), case.event.first).kind;
    if to.ip != case.event.client.destination.ip && kind == PeerKind::Unresolved {
        // Rules that outlived their backend look like this.
        judgement.confidence = judgement.confidence.max(Confidence::Likely);
        judgement = judgement.with("backend", to.ip.to_string()).hint(format!(
            "it was translated to {}, which is an address of the cluster that no known pod has: a rule that outlived its \
             backend (nft list ruleset, iptables-save -t nat | grep {}) sends it there",
            to.ip, to.ip
        ));
    }
    judgement = questions::by_gateway(case, left.ifindex, judgement);
    if case.denied() {
        judgement = denied_there(case, judgement);
    }
    Some(judgement.advise(format!(
        "Beyond the node: check the remote, its firewall, security groups and the route back; the source address \
         to allow there is {source}."
    )))
}

/// Policies deny it, and this node let it out: the destination's own node may enforce them.
fn denied_there(case: &Case<'_>, judgement: Judgement) -> Judgement {
    let names: Vec<String> = case
        .policy
        .findings()
        .filter(|finding| matches!(finding.result, PolicyResult::DoesNotAdmit | PolicyResult::Denies))
        .map(|finding| match &finding.namespace {
            Some(namespace) => format!("{} {namespace}/{}", finding.kind, finding.name),
            None => format!("{} {}", finding.kind, finding.name),
        })
        .collect();
    judgement.hint(format!(
        "policies do not admit this ({}), and it left this node all the same: the destination's node may drop it",
        names.join(", ")
    ))
}

fn silent_pod(case: &Case<'_>) -> Judgement {
    let pod = case.peer.pod_ref().map_or_else(
        || "the destination pod".to_owned(),
        |pod| format!("pod {}/{}", pod.namespace, pod.name),
    );
    let packet = case.packet_word();
    let summary = format!(
        "The {packet} to {} was delivered to {pod} on this node, which did not answer.",
        case.target()
    );
    let advice = if case.protocol() == Protocol::Tcp {
        // A port on which nothing listens refuses.
        "No refusal came either, so the pod's stack took the SYN: its accept queue is full (ss -ltn in the pod: Recv-Q \
         at Send-Q), its process hangs, or a packet filter inside the pod drops."
    } else {
        "Look at the destination pod: whether its process reads from that port and answers."
    };
    Judgement::new(Cause::UpstreamTimeout, Confidence::Likely, Stage::Upstream, summary)
        .with("by", pod)
        .advise(advice)
}
