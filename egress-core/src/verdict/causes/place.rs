//! Words for the place of a drop, shared by the causes that name one.

use serde_json::{Value, json};

use crate::decode::{DropSeen, DropSite, FilterKind, Hook};
use crate::node::Attribution;
use crate::verdict::Stage;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;

/// `netfilter FORWARD`, `tc egress of eth0`, `reverse-path filter`, …
pub(in crate::verdict) fn words(case: &Case<'_>, drop: &DropSeen) -> String {
    let device = || {
        let index = if drop.ifindex == 0 { drop.dst_ifindex } else { drop.ifindex };
        let own = stage(case, drop) == Stage::Node;
        let name = if own { case.node.device_name(index) } else { case.node.pod_device(drop.netns) };
        name.map_or(String::new(), |name| format!(" of {name}"))
    };
    match drop.site {
        DropSite::Filter(FilterKind::Nftables | FilterKind::Netfilter) => match hook(case, drop) {
            Hook::Unknown => "netfilter".to_owned(),
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

/// Where it was: inside the pod, in the node, or inside the pod at the other end.
pub(in crate::verdict) fn stage(case: &Case<'_>, drop: &DropSeen) -> Stage {
    let node = case.node.netns();
    if case.peer_netns.is_some_and(|peer| peer == drop.netns && Some(peer) != case.pod_netns) {
        return Stage::Upstream;
    }
    if node == 0 || drop.netns == node || drop.netns == 0 { Stage::Node } else { Stage::Pod }
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
    // Inside a pod the numbers of devices are others.
    if stage(case, drop) == Stage::Node
        && let Some(device) = case.node.device_name(drop.ifindex)
    {
        judgement = judgement.with("device", device);
    }
    match attribution(case, drop) {
        Attribution::Only { table, chain } => {
            judgement = judgement.with("table", table);
            if let Some(chain) = chain {
                judgement = judgement.with("chain", chain);
            }
        }
        Attribution::Several(tables) => {
            judgement = judgement.with("tables", tables.into_iter().map(Value::from).collect::<Vec<_>>());
        }
        Attribution::Unknown => {}
    }
    judgement
}

/// The netfilter hook. A bridged packet (`br_netfilter`) has no route in any hook, so where it came in by a port of a
/// bridge and nothing drops before routing, it was forwarded.
pub(in crate::verdict) fn hook(case: &Case<'_>, drop: &DropSeen) -> Hook {
    let bridged = case.node.device(drop.ifindex).is_some_and(|device| device.master != 0);
    let kind = match drop.site {
        DropSite::Filter(kind) => kind,
        // Routing, neighbours, queues and sockets are no netfilter hook.
        DropSite::Route
        | DropSite::ReversePath
        | DropSite::Martian
        | DropSite::Neighbour
        | DropSite::Ttl
        | DropSite::Resource => return Hook::Unknown,
        _ => return drop.hook,
    };
    let v6 = drop.packet.tuple.source.ip.is_ipv6();
    if drop.hook == Hook::Prerouting
        && bridged
        && case.node.attribute(kind, drop.hook, v6) == Attribution::Unknown
    {
        return Hook::Forward;
    }
    drop.hook
}

/// Who could have dropped it, if it was netfilter of the node.
pub(in crate::verdict) fn attribution(case: &Case<'_>, drop: &DropSeen) -> Attribution {
    match drop.site {
        DropSite::Filter(kind @ (FilterKind::Nftables | FilterKind::Netfilter))
            if stage(case, drop) == Stage::Node =>
        {
            case.node.attribute(kind, hook(case, drop), drop.packet.tuple.source.ip.is_ipv6())
        }
        _ => Attribution::Unknown,
    }
}

/// A list of strings as JSON.
pub(in crate::verdict) fn list(words: &[String]) -> Value {
    json!(words)
}
