//! The answer came back to this node and never reached the pod, and no drop says why. No cause of its own: `unknown`,
//! with what was seen of the way back.

use std::net::SocketAddr;

use crate::decode::Tap;
use crate::flow::{Outcome, Sighting};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Direction, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let journey = &case.event.journey;
    if !matches!(case.event.outcome, Outcome::Unanswered) || case.direction != Direction::Egress {
        return None;
    }
    let answer = journey.answer(Tap::UplinkIn).filter(|_| journey.answer(Tap::PodIn).is_none())?;
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
