//! `firewall-drop`: a filter of this machine dropped it and policies allow it.

use super::place;
use crate::flow::DropRole;
use crate::node::Attribution;
use crate::policy::Decision;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let drop = case.filtered()?;
    // Undecidable policies could explain it as well; then the cause is not known.
    if case.policy.decision != Decision::Allow {
        return None;
    }
    let stage = place::stage(case, drop);
    let whose = if stage == Stage::Pod { "inside the pod's own network namespace" } else { "on the node" };
    let by = match place::attribution(case, drop) {
        Attribution::Only { chain: Some(chain), .. } => {
            format!(" (chain {chain} is the only one that drops there)")
        }
        Attribution::Only { table, .. } => format!(" (table {table} is the only one that drops there)"),
        Attribution::Several(tables) => format!(" (tables that drop there: {})", tables.join(", ")),
        Attribution::Unknown => String::new(),
    };
    let as_of = case.policies_as_of.map_or(String::new(), |at| format!(" as of {at}"));
    let what = match case.dropped() {
        Some((_, DropRole::Reply)) => format!("the answer ({}) of", case.packet_word()),
        Some((_, DropRole::Data)) => "packets of the established flow to".to_owned(),
        _ => format!("the {} to", case.packet_word()),
    };
    let summary = format!(
        "A packet filter {whose} dropped {what} {} at {}{by}; Kubernetes policies allow this{as_of}.",
        case.target(),
        place::words(case, drop),
    );
    let judgement = Judgement::new(Cause::FirewallDrop, Confidence::Certain, stage, summary);
    let advice = if stage == Stage::Pod {
        "Look at the packet filter inside the pod (nft list ruleset, iptables-save in its network namespace)."
    } else {
        "Look at the node's own packet filter rules: this is not a NetworkPolicy."
    };
    Some(place::facts(judgement, case, drop).advise(advice))
}
