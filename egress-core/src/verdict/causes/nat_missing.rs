//! `nat-missing`: it left an uplink with the pod's own address as source, and no answer came.

use crate::decode::Tap;
use crate::flow::Outcome;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, PeerKind, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    if !matches!(case.event.outcome, Outcome::Unanswered) || case.peer.kind != PeerKind::External {
        return None;
    }
    let journey = &case.event.journey;
    let left = journey.request(Tap::UplinkOut)?;
    if left.tuple.source.ip != case.event.client.source.ip || journey.answer(Tap::UplinkIn).is_some() {
        return None;
    }
    // Where untranslated flows get answers, the network routes pod addresses: silence has another cause.
    if case.node.answers_untranslated() {
        return None;
    }
    let confidence = if case.node.translates() { Confidence::Certain } else { Confidence::Possible };
    let device = case.node.device_name(left.ifindex).unwrap_or_else(|| "the uplink".to_owned());
    let summary = format!(
        "The SYN to {} left {device} with the pod's own address {} as source and nothing came back: \
         the answer has no way to the pod.",
        case.target(),
        left.tuple.source.ip
    );
    Some(
        Judgement::new(Cause::NatMissing, confidence, Stage::Uplink, summary)
            .with("source", left.tuple.source.ip.to_string())
            .with("device", device)
            .advise("Check the masquerade rule of the CNI (ipMasq, natOutgoing, ip-masq-agent's ranges)."),
    )
}
