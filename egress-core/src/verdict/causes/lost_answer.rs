//! The answer came back to this node and never reached the pod, and no drop says why. No cause of its own: `unknown`,
//! with what was seen of the way back.

use std::net::SocketAddr;

use crate::decode::Tap;
use crate::flow::{Outcome, Sighting};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Direction, Stage};

/// The client sent its SYN again although the answer had gone to its device.
fn not_taken(case: &Case<'_>, answer: &Sighting) -> Judgement {
    let device = case.node.device_name(answer.ifindex).unwrap_or_else(|| "the pod's device".to_owned());
    let summary = format!(
        "The answer of {} reached the pod by {device}, and the pod's socket did not take it: the {} was sent again.",
        case.target(),
        case.packet_word(),
    );
    Judgement::new(Cause::Unknown, Confidence::Possible, Stage::Pod, summary)
        .with("kind", "answer-not-taken")
        .with("answer_by", device)
        .hint(
            "no drop inside the pod was reported; what decides: nstat -az in the pod's network namespace (TcpInCsumErrors:              a checksum offload that lies; IpInAddrErrors), an XDP program at the pod's device, and tcpdump there",
        )
        .advise(
            "Look inside the pod, not at the remote, which answers: at packet filters, at programs on eth0, and at              checksum offload of the devices on the way (ethtool -K DEVICE tx off tells).",
        )
}

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let journey = &case.event.journey;
    if !matches!(case.event.outcome, Outcome::Unanswered) || case.direction != Direction::Egress {
        return None;
    }
    if let Some(taken) = journey.answer(Tap::PodIn) {
        return Some(not_taken(case, taken));
    }
    let answer = journey.answer(Tap::UplinkIn)?;
    let left = journey.request(Tap::UplinkOut)?;
    let name = |seen: &Sighting| {
        case.node.device_name(seen.ifindex).unwrap_or_else(|| format!("device {}", seen.ifindex))
    };
    let (out, back) = (name(left), name(answer));
    let (from, to) = (answer.tuple.source, answer.tuple.destination);
    let mut judgement = Judgement::new(Cause::Unknown, Confidence::Possible, Stage::Node, String::new())
        .with("kind", "answer-lost")
        .with("left_by", out.clone())
        .with("answer_by", back.clone())
        .with("answer_from", SocketAddr::new(from.ip, from.port).to_string())
        .with("answer_to", SocketAddr::new(to.ip, to.port).to_string())
        .at(format!("after coming in by {back}"));
    let translated = left.tuple.source != case.event.client.source;
    let why = if from.ip != left.tuple.destination.ip {
        judgement = judgement.hint(format!(
            "the answer came from {} and not from {}: conntrack does not know it as an answer; what stands in front of \
             the remote must answer from the address that was dialled",
            from.ip, left.tuple.destination.ip
        ));
        "it came from another address than the one it was sent to".to_owned()
    } else if translated && case.node.is_own(to.ip) {
        judgement = judgement.hint(format!(
            "it was addressed to the node ({}) and had to be translated back to {}: conntrack has no entry for it \
             (notrack rules, entries flushed or timed out), or takes it for invalid; what decides: conntrack -L -p tcp \
             --reply-src {} and nft list ruleset (notrack)",
            to.ip, case.event.client.source.ip, from.ip
        ));
        format!("it was addressed to the node's own {} and not translated back to the pod", to.ip)
    } else {
        judgement = judgement.hint(format!(
            "no drop was reported; what decides: ip route get {} from {} iif {back} on this node",
            to.ip, from.ip
        ));
        format!("it was addressed to {}", to.ip)
    };
    if out != back {
        judgement = judgement.hint(format!(
            "the way is asymmetric: out by {out}, back by {back}; a strict reverse-path filter \
             (net.ipv4.conf.{back}.rp_filter) and stateful filters on only one of the ways do not like that"
        ));
    }
    judgement.summary =
        format!("The answer of {} came in by {back} but was not delivered to the pod: {why}.", case.target());
    Some(judgement.advise(
        "Look at this node, not at the remote, which answers: at notrack rules, at rules that drop invalid packets, at \
         what flushes conntrack, and at the route back to the pod.",
    ))
}
