//! Words for the place of a drop, shared by the causes that name one.

pub(in crate::verdict) mod owner;
pub(in crate::verdict) mod reject;

use serde_json::{Value, json};

use owner::Owner;

use crate::decode::{DropSeen, DropSite, FilterKind, Hook};
use crate::node::Attribution;
use crate::verdict::Stage;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

/// `netfilter FORWARD`, `tc egress of eth0`, `reverse-path filter`, …
pub(in crate::verdict) fn words(case: &Case<'_>, drop: &DropSeen) -> String {
    let device = || device(case, drop).map_or(String::new(), |name| format!(" of {name}"));
    match drop.site {
        DropSite::Filter(FilterKind::Nftables | FilterKind::Netfilter) => match hook(case, drop) {
            Hook::Unknown => "netfilter".to_owned(),
            hook @ (Hook::Ingress | Hook::Egress) => format!("netfilter {}{}", hook.as_str(), device()),
            hook => format!("netfilter {}", hook.as_str()),
        },
        DropSite::Filter(FilterKind::TcIngress) => format!("tc ingress{}", device()),
        DropSite::Filter(FilterKind::TcEgress) => format!("tc egress{}", device()),
        DropSite::Filter(FilterKind::Xdp) => format!("XDP{}", device()),
        DropSite::Filter(FilterKind::Cgroup) => "cgroup BPF program".to_owned(),
        DropSite::Bridge => format!("bridge{}", device()),
        DropSite::Ipsec => "IPsec policy".to_owned(),
        DropSite::NoSocket => "no socket".to_owned(),
        DropSite::Route => "routing".to_owned(),
        DropSite::ReversePath => format!("reverse-path filter{}", device()),
        DropSite::Martian => format!("address check (martian){}", device()),
        DropSite::Neighbour => format!("neighbour resolution{}", device()),
        DropSite::Ttl => "TTL expired".to_owned(),
        DropSite::TooBig => format!("MTU{}", device()),
        DropSite::Resource => format!("queue or buffer{}", device()),
        DropSite::Benign | DropSite::Other => drop.function.to_string(),
    }
}

/// Name of the device the packet was at, in its own namespace.
pub(in crate::verdict) fn device(case: &Case<'_>, drop: &DropSeen) -> Option<String> {
    let index = if drop.ifindex == 0 { drop.dst_ifindex } else { drop.ifindex };
    if case.node.is_node(drop.netns) {
        case.node.device_name(index)
    } else {
        case.node.pod_device(drop.netns).filter(|_| index != 0)
    }
}

/// Where it was: in the node, inside the pod, or inside another pod of this node (the other end).
pub(in crate::verdict) fn stage(case: &Case<'_>, drop: &DropSeen) -> Stage {
    if case.node.is_node(drop.netns) {
        Stage::Node
    } else if case.pod_netns.is_none_or(|pod| pod == drop.netns) {
        Stage::Pod
    } else {
        Stage::Upstream
    }
}

/// The kernel's own words, as facts of the verdict.
pub(in crate::verdict) fn facts(judgement: Judgement, case: &Case<'_>, drop: &DropSeen) -> Judgement {
    let mut judgement = judgement
        .with("reason", &*drop.reason)
        .with("function", &*drop.function)
        .with("packet", case.packet_word())
        .at(words(case, drop));
    let hook = hook(case, drop);
    if hook != Hook::Unknown {
        judgement = judgement.with("hook", hook.as_str());
    }
    if let Some(device) = device(case, drop) {
        judgement = judgement.with("device", device);
    }
    if let Some(with) = reject::answer(case) {
        judgement = judgement.with("rejected_with", with);
    }
    match attribution(case, drop) {
        Attribution::Only { table, chain, rule } => {
            judgement = judgement.with("table", table);
            if let Some(chain) = chain {
                judgement = judgement.with("chain", chain);
            }
            if let Some(rule) = rule {
                judgement = judgement.with("rule", rule);
            }
        }
        Attribution::Program(program) => judgement = judgement.with("program", program),
        Attribution::Several(names) => {
            let key = if is_netfilter(drop) { "tables" } else { "programs" };
            judgement = judgement.with(key, list(&names));
        }
        Attribution::Unknown => {}
    }
    if let Some(owner) = owner(case, drop) {
        judgement = judgement.with("owner", owner.name);
    }
    judgement
}

/// A netfilter hook dropped it.
fn is_netfilter(drop: &DropSeen) -> bool {
    matches!(drop.site, DropSite::Filter(FilterKind::Nftables | FilterKind::Netfilter))
}

/// The netfilter hook, as far as the packet and the filters that are there tell it.
pub(in crate::verdict) fn hook(case: &Case<'_>, drop: &DropSeen) -> Hook {
    match drop.site {
        // Programs at devices and groups, routing, neighbours, queues and sockets are no netfilter hook.
        DropSite::Filter(
            FilterKind::Xdp | FilterKind::TcIngress | FilterKind::TcEgress | FilterKind::Cgroup,
        )
        | DropSite::Ipsec
        | DropSite::Route
        | DropSite::ReversePath
        | DropSite::Martian
        | DropSite::Neighbour
        | DropSite::Ttl
        | DropSite::Resource => Hook::Unknown,
        _ => case.node.attribute(drop).1,
    }
}

/// Who could have dropped it.
pub(in crate::verdict) fn attribution(case: &Case<'_>, drop: &DropSeen) -> Attribution {
    case.node.attribute(drop).0
}

/// Whose rules or program dropped it, where that is known by name.
pub(in crate::verdict) fn owner(case: &Case<'_>, drop: &DropSeen) -> Option<&'static Owner> {
    match attribution(case, drop) {
        Attribution::Only { table, chain, rule } => {
            // The rule says it best: base chains are shared.
            let texts = [rule.unwrap_or_default(), chain.unwrap_or(table)];
            texts.iter().find_map(|text| owner::of(text))
        }
        Attribution::Program(program) => owner::of(&program),
        _ => None,
    }
}

/// A list of strings as JSON.
pub(in crate::verdict) fn list(words: &[String]) -> Value {
    json!(words)
}
