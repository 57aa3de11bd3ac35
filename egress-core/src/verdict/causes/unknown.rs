//! `unknown`: a real failure that no cause explains, with the kernel's own words.

use super::place;
use crate::flow::Outcome;
use crate::policy::Decision;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Judgement {
    let new = |stage, summary| Judgement::new(Cause::Unknown, Confidence::Possible, stage, summary);
    match &case.event.outcome {
        Outcome::Dropped { drop, .. } => {
            let summary = format!(
                "The kernel dropped the {} to {}: {} in {} ({}); no known cause explains it.",
                case.packet_word(),
                case.target(),
                drop.reason,
                drop.function,
                place::words(case, drop),
            );
            let mut judgement = place::facts(new(place::stage(case, drop), summary), case, drop);
            if case.filtered().is_some() && case.policy.decision == Decision::Undecidable {
                judgement = judgement
                    .hint("a packet filter dropped it, and whether policies deny it could not be decided");
            }
            judgement
        }
        Outcome::Refused { ttl } => new(
            Stage::Node,
            format!("{} was refused by a reset that did not come from the remote.", case.target()),
        )
        .with("ttl", *ttl)
        .hint("a reset made on this node: a REJECT rule, a proxy, or a Service without endpoints"),
        Outcome::Unreachable { router, .. } => {
            new(Stage::Node, format!("{} was answered by an ICMP error of {router}.", case.target()))
                .with("router", router.to_string())
        }
        _ => new(Stage::Node, format!("{} got no answer; where it was lost was not seen.", case.target()))
            .hint("no drop was reported, and the packet was not seen to leave the node"),
    }
}
