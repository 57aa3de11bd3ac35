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
                judgement = judgement.hint(
                    "a packet filter dropped it, and whether policies deny it could not be decided: see the policies \
                     with result undecidable; what they lack (an object that was not found) decides",
                );
            } else {
                judgement = judgement.hint(format!(
                    "what decides: the source of {} in this kernel at that reason, and the counters of nstat -az and \
                     ip -s link before and after",
                    drop.function
                ));
            }
            judgement
        }
        Outcome::Refused { ttl } => new(
            Stage::Node,
            format!("{} was refused by a reset, and where it was made was not seen.", case.target()),
        )
        .with("ttl", *ttl)
        .hint(
            "made on this node (a REJECT rule, a proxy, a Service without endpoints) or beyond it: the devices on the \
             way out are not all watched (see status); tcpdump on the uplink tells whether the SYN left",
        ),
        Outcome::Unreachable { error, router } => new(
            Stage::Node,
            format!(
                "{} was answered by an ICMP error of {router} (type {}, code {}), and no drop was reported.",
                case.target(),
                error.kind,
                error.code
            ),
        )
        .with("router", router.to_string())
        .with("type", error.kind)
        .with("code", error.code)
        .hint(
            "a route of this node that refuses, or a REJECT rule: ip route get ADDRESS from POD iif DEVICE tells the \
             route, nft list ruleset the rules",
        ),
        _ => new(Stage::Node, format!("{} got no answer; where it was lost was not seen.", case.target()))
            .hint(
                "no drop was reported, and the packet was not seen to leave the node: whether it left tells tcpdump on \
                 the uplink; which devices are watched tells status",
            ),
    }
}
