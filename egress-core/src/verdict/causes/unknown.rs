//! `unknown`: a real failure that no cause explains, with the kernel's own words.

use super::{hairpin, place};
use crate::decode::{DropSeen, DropSite};
use crate::flow::Outcome;
use crate::policy::Decision;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

/// What is known of places that are no cause of their own.
fn known(drop: &DropSeen) -> Option<&'static str> {
    if drop.reason.ends_with("_CSUM") {
        Some(
            "its checksum is wrong: a device on the way claims to compute it and does not (ethtool -K DEVICE tx off, \
             tx-udp_tnl-csum-segmentation off for tunnels), or a rule changed the packet without renewing it",
        )
    } else if drop.reason.starts_with("TCP_MD5") || drop.reason.starts_with("TCP_AO") {
        Some(
            "the receiver's socket wants signed segments (TCP-MD5, TCP-AO) and this one is not signed as agreed",
        )
    } else if drop.site == DropSite::Ipsec {
        Some(
            "an IPsec policy blocks it, or wants it encrypted and there is no state (no key) to do it with, or it came \
             unencrypted where it must not: ip xfrm policy and ip xfrm state tell which",
        )
    } else if drop.function.starts_with("nf_queue") {
        Some(
            "a rule hands such packets to a queue (NFQUEUE, nft queue) and no program reads it: start that program, or let \
             the rule bypass it (--queue-bypass, queue flags bypass); nft list ruleset and cat \
             /proc/net/netfilter/nfnetlink_queue tell which",
        )
    } else {
        None
    }
}

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Judgement {
    let new = |stage, summary| Judgement::new(Cause::Unknown, Confidence::Possible, stage, summary);
    match &case.event.outcome {
        Outcome::Dropped { drop, .. } => {
            if let Some((summary, fix)) = hairpin::at_bridge(case, drop) {
                let judgement = new(place::stage(case, drop), summary).with("kind", "hairpin");
                return place::facts(judgement, case, drop).advise(fix);
            }
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
            } else if let Some(hint) = known(drop) {
                judgement = judgement.hint(hint);
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
        _ if case.is_on_host() => new(
            Stage::Node,
            format!("{} got no answer; where it was lost was not seen.", case.target()),
        )
        .hint(
            "the pod is on the host's network, and drops of the node's own packets are not watched: a filter in the \
             output chains (nft list ruleset), a route (ip route get ADDRESS) or a neighbour (ip neigh) can be the cause",
        ),
        _ => new(Stage::Node, format!("{} got no answer; where it was lost was not seen.", case.target()))
            .hint(
                "no drop was reported, and the packet was not seen to leave the node: whether it left tells tcpdump on \
                 the uplink; which devices are watched tells status",
            ),
    }
}
