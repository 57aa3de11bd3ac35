//! `firewall-drop`: a filter of this machine dropped or rejected it and policies allow it.

use super::place::{self, owner::Owner, reject};
use crate::decode::{DropSeen, DropSite, FilterKind};
use crate::flow::DropRole;
use crate::node::Attribution;
use crate::policy::Decision;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    // Undecidable policies could explain it as well; then the cause is not known.
    if case.policy.decision != Decision::Allow {
        return None;
    }
    match case.filtered() {
        Some(drop) => Some(dropped(case, drop)),
        None => refused(case),
    }
}

fn dropped(case: &Case<'_>, drop: &DropSeen) -> Judgement {
    let stage = place::stage(case, drop);
    let what = match case.dropped() {
        Some((_, DropRole::Reply)) => format!("the {} of", case.answer_words()),
        Some((_, DropRole::Data)) => "packets of the established flow to".to_owned(),
        _ => format!("the {} to", case.packet_word()),
    };
    let did = if reject::answer(case).is_some() { "rejected" } else { "dropped" };
    let place = match drop.site {
        // Who it was says it already.
        DropSite::Filter(FilterKind::Cgroup) => String::new(),
        _ => format!(" at {}", place::words(case, drop)),
    };
    let summary = format!(
        "{} {did} {what} {}{place}{}; Kubernetes policies allow this{}.",
        who(case, drop, stage),
        case.target(),
        by(case, drop),
        as_of(case),
    );
    let judgement = Judgement::new(Cause::FirewallDrop, Confidence::Certain, stage, summary);
    place::facts(judgement, case, drop).advise(advice(case, drop, stage))
}

/// A reset or an ICMP error that no remote sent, where the drop itself was not reported.
fn refused(case: &Case<'_>) -> Option<Judgement> {
    let refusal = reject::local(case)?;
    let confidence = if case.lost == 0 { Confidence::Likely } else { Confidence::Possible };
    let summary = format!(
        "{} was rejected on this node, not by the remote: the {} left the pod, was not seen to leave the node, and \
         {} came back; Kubernetes policies allow this{}.",
        case.target(),
        case.packet_word(),
        refusal.words,
        as_of(case),
    );
    let advice = "Look for a REJECT rule on the node (nft list ruleset, iptables-save | grep REJECT): this is not a \
                  NetworkPolicy.";
    Some(
        Judgement::new(Cause::FirewallDrop, confidence, Stage::Node, summary)
            .with("rejected_with", refusal.with)
            .at("rejected on the node, no drop event seen")
            .advise(advice),
    )
}

fn who(case: &Case<'_>, drop: &DropSeen, stage: Stage) -> String {
    if drop.site == DropSite::Filter(FilterKind::Cgroup) {
        return "A BPF program attached to the pod's cgroup".to_owned();
    }
    match (stage, case.peer.pod_ref()) {
        (Stage::Pod, _) => "A packet filter inside the pod's own network namespace".to_owned(),
        (Stage::Upstream, Some(pod)) => {
            format!("A packet filter inside the network namespace of pod {}/{}", pod.namespace, pod.name)
        }
        (Stage::Upstream, None) => {
            "A packet filter inside the destination pod's network namespace".to_owned()
        }
        _ => "A packet filter on the node".to_owned(),
    }
}

fn by(case: &Case<'_>, drop: &DropSeen) -> String {
    match place::attribution(case, drop) {
        Attribution::Only { chain: Some(chain), rule: Some(rule), .. } => {
            format!(" (chain {chain}: {rule}, the only rule that drops there)")
        }
        Attribution::Only { chain: Some(chain), .. } => {
            format!(" (chain {chain} is the only one that drops there)")
        }
        Attribution::Only { table, .. } => format!(" (table {table} is the only one that drops there)"),
        Attribution::Program(program) => format!(" ({program} is the only program there)"),
        Attribution::Several(names) => format!(" (what can drop there: {})", names.join(", ")),
        Attribution::Unknown => String::new(),
    }
}

fn as_of(case: &Case<'_>) -> String {
    case.policies_as_of.map_or(String::new(), |at| format!(" as of {at}"))
}

/// Where to look, by what dropped it.
fn advice(case: &Case<'_>, drop: &DropSeen, stage: Stage) -> String {
    let look = match (drop.site, stage) {
        (DropSite::Filter(FilterKind::Cgroup), _) => {
            "See which program is attached to the pod's cgroup and who put it there: bpftool cgroup tree.".to_owned()
        }
        (_, Stage::Pod | Stage::Upstream) => {
            "Look at the packet filter inside the pod: an init container or a sidecar put it there (nft list ruleset, \
             iptables-save in its network namespace)."
                .to_owned()
        }
        (DropSite::Filter(FilterKind::TcIngress | FilterKind::TcEgress), _) => {
            let device = place::device(case, drop).unwrap_or_else(|| "DEVICE".to_owned());
            let way = if drop.site == DropSite::Filter(FilterKind::TcIngress) { "ingress" } else { "egress" };
            format!(
                "See what is attached there: bpftool net show dev {device}, tc filter show dev {device} {way}."
            )
        }
        (DropSite::Filter(FilterKind::Xdp), _) => {
            let device = place::device(case, drop).unwrap_or_else(|| "DEVICE".to_owned());
            format!("See which XDP program is attached there: ip -d link show dev {device}, bpftool net show.")
        }
        _ => "Look at the node's own packet filter rules (nft list ruleset, iptables-save): this is not a \
              NetworkPolicy."
            .to_owned(),
    };
    match place::owner(case, drop) {
        Some(Owner { name, enforces_policies: true }) => format!(
            "{name} drops what the NetworkPolicies allow: it enforces policies of another kind (its own, or \
             cluster-wide ones) or its state on this node is stale. Look at its logs and policies, and restart its \
             pod on this node if they do not explain it. {look}"
        ),
        Some(Owner { name, .. }) => format!("The rule is {name}'s: change it there. {look}"),
        None => look,
    }
}
