//! `upstream-unreachable`: the path answered with an ICMP error.

use crate::decode::Tap;
use crate::flow::Outcome;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::Unreachable { error, router } = &case.event.outcome else { return None };
    // Left by an uplink, so that whoever answers stands beyond it; an error of this node is another cause.
    case.event.journey.request(Tap::UplinkOut)?;
    if case.node.is_own(*router) {
        return None;
    }
    let code = name(error.v6, error.kind, error.code);
    let summary = format!("{router} answered that {} cannot be reached: {code}.", case.target());
    Some(
        Judgement::new(Cause::UpstreamUnreachable, Confidence::Certain, Stage::Upstream, summary)
            .with("router", router.to_string())
            .with("code", code),
    )
}

fn name(v6: bool, kind: u8, code: u8) -> &'static str {
    match (v6, kind, code) {
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 9) => "network administratively prohibited",
        (false, 3, 10) => "host administratively prohibited",
        (false, 3, 13) | (true, 1, 1) => "communication administratively prohibited",
        (false, 11, _) | (true, 3, _) => "time to live exceeded in transit",
        (true, 1, 0) => "no route to destination",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route to destination",
        _ => "destination unreachable",
    }
}
