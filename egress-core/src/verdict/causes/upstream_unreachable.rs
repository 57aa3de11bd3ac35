//! `upstream-unreachable`: the path answered with an ICMP error.

mod code;

use crate::decode::Tap;
use crate::flow::Outcome;
use crate::verdict::case::Case;
use crate::verdict::distance::{away, hops};
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

use code::Kind;

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Unreachable { error, router } = &case.event.outcome else { return None };
    let (code, kind) = code::name(error.v6, error.kind, error.code);
    let journey = &case.event.journey;
    // An error of this node, or of a pod on it, is another cause.
    if kind == Kind::TooBig || case.node.is_own(*router) {
        return None;
    }
    let (left, came) = (journey.request(Tap::UplinkOut), journey.answer(Tap::UplinkIn));
    let unwatched = || {
        journey.request(Tap::PodIn).is_none()
            && case.node.uplink_to(case.event.client.destination.ip).is_some_and(|uplink| !uplink.watched_out)
    };
    let confidence = match (left, came) {
        (Some(_), _) | (_, Some(_)) => Confidence::Certain,
        _ if unwatched() => Confidence::Likely,
        _ => return None,
    };
    let itself = *router == case.event.client.destination.ip
        || case.translation.destination.is_some_and(|to| to.ip == *router);
    let place = match came {
        Some(came) => format!(" ({}, TTL {})", away(came.ttl), came.ttl),
        None => String::new(),
    };
    let who =
        if itself { format!("The destination itself{place}") } else { format!("Router {router}{place}") };
    let means = match kind {
        Kind::TtlExceeded => {
            let ttl = left.map_or_else(String::new, |left| format!(" of {}", left.ttl));
            format!(
                ": it used up its time to live{ttl} on the way, as packets do that routers send in a circle"
            )
        }
        Kind::Prohibited => ": a firewall there refuses it and says so".to_owned(),
        _ => String::new(),
    };
    let summary = format!("{who} answered that {} cannot be reached: {code}{means}.", case.target());
    let mut judgement = Judgement::new(Cause::UpstreamUnreachable, confidence, Stage::Upstream, summary)
        .with("router", router.to_string())
        .with("code", code)
        .with("kind", kind.as_str())
        .with("icmp", format!("{}/{}", error.kind, error.code))
        .with("by", if itself { "destination" } else { "router" });
    if let Some(left) = left {
        judgement = judgement.with("source", left.tuple.source.ip.to_string());
    }
    if let Some(came) = came {
        judgement = judgement.with("ttl", came.ttl).with("hops", hops(came.ttl));
    }
    if confidence == Confidence::Likely {
        judgement = judgement.hint("the uplink is not watched, so that it left the node was not seen");
    }
    let source = left.map_or(case.event.client.source.ip, |left| left.tuple.source.ip);
    let advice = kind.advice(case, *router, itself, source);
    Some(judgement.advise(advice))
}
