//! What is said of packets that are too big.

use super::Sizes;
use crate::decode::DropSeen;
use crate::flow::{Gap, IcmpFate, SizeKind, TooBig};
use crate::node::Attribution;
use crate::protocol::Protocol;
use crate::time::Mono;
use crate::verdict::Stage;
use crate::verdict::case::Case;
use crate::verdict::causes::place as places;

/// `detail.kind`
pub(super) const fn kind(found: &TooBig) -> &'static str {
    match found.kind {
        SizeKind::Here(_) => "local",
        SizeKind::Icmp(_) => "icmp",
        SizeKind::Sent(_) | SizeKind::Received(_) => "blackhole",
    }
}

/// `detail.icmp`: what became of the message that tells the sender.
pub(super) fn fate(found: &TooBig) -> &'static str {
    match &found.icmp {
        IcmpFate { dropped: Some(_), .. } => "dropped",
        IcmpFate { delivered: true, .. } => "delivered",
        IcmpFate { came_in: true, .. } => "lost",
        IcmpFate { .. } => "not-seen",
    }
}

/// Where it broke, for the path.
pub(super) fn place(sizes: &Sizes<'_>) -> String {
    let mtu = if sizes.mtu == 0 { String::new() } else { format!(" {}", sizes.mtu) };
    match (&sizes.found.kind, &sizes.device) {
        (SizeKind::Here(_), Some(device)) => format!("MTU{mtu} of {device}"),
        (SizeKind::Here(drop), None) => format!("MTU{mtu} in {}", drop.function),
        (SizeKind::Icmp(router), _) => format!("MTU{mtu} beyond {router}"),
        (SizeKind::Sent(_), _) => "large segments vanish".to_owned(),
        (SizeKind::Received(_), _) => "large segments never arrive".to_owned(),
    }
}

/// `1500-byte packets`, or without the number.
pub(super) fn packets(bytes: u32) -> String {
    if bytes == 0 { "large packets".to_owned() } else { format!("{bytes}-byte packets") }
}

/// The sentence.
pub(super) fn summary(case: &Case<'_>, sizes: &Sizes<'_>) -> String {
    let target = case.target();
    let packets = packets(sizes.packet);
    let tcp = case.protocol() == Protocol::Tcp;
    match &sizes.found.kind {
        SizeKind::Here(drop) => {
            let device = sizes.device.as_deref().unwrap_or("the next device");
            let takes = if sizes.mtu == 0 { String::new() } else { format!(", which takes {}", sizes.mtu) };
            let of = if drop.packet.tuple.source.ip == case.event.client.source.ip { "to" } else { "of" };
            let wheres = if places::stage(case, drop) == Stage::Pod { "The pod" } else { "The node" };
            format!(
                "{wheres} drops {packets} {of} {target}: they do not fit into {device}{takes}. {}",
                consequence(case, sizes.found, tcp)
            )
        }
        SizeKind::Icmp(router) => {
            let most =
                if sizes.mtu == 0 { String::new() } else { format!(" {} bytes are the most;", sizes.mtu) };
            let whose = if case.node.is_own(*router) { "the node itself" } else { "a router on the way" };
            format!(
                "{router}, {whose}, cannot pass on {packets} to {target}:{most} it said so by ICMP. {}",
                consequence(case, sizes.found, tcp)
            )
        }
        SizeKind::Sent(alive) => {
            let proof = if alive.sacked > 0 {
                "later, smaller segments of the same connection arrive"
            } else if alive.closed {
                "the remote still closes the connection"
            } else if alive.answered {
                "the same host answers small packets meanwhile"
            } else {
                "small segments were acknowledged just before"
            };
            format!(
                "Large segments to {target} vanish ({packets} sent {} times in {}), while {proof}; no ICMP message says \
                 why: a path-MTU black hole.",
                sizes.found.again,
                seconds(sizes.found),
            )
        }
        SizeKind::Received(gap) => {
            let what = match gap {
                Gap::BeforeFin => "the end of the answer arrived, what comes before it did not",
                Gap::BeforeSegments { .. } => {
                    "later, smaller segments arrived, the large ones before them did not"
                }
            };
            format!(
                "Large segments of {target} do not reach the pod: {what}, not even after {}; this looks like a path-MTU \
                 black hole on the way back.",
                seconds(sizes.found),
            )
        }
    }
}

/// Why path-MTU discovery does not help.
fn consequence(case: &Case<'_>, found: &TooBig, tcp: bool) -> String {
    let still = if found.again > 0 {
        format!("{} later the sender still exceeds that", seconds(found))
    } else {
        "No answer came".to_owned()
    };
    match &found.icmp {
        IcmpFate { dropped: Some(drop), .. } => {
            format!("{still}, since the ICMP message that would tell it is dropped {}.", filter(case, drop))
        }
        IcmpFate { delivered: true, .. } if tcp => {
            format!("{still}, although the ICMP message was delivered to the pod.")
        }
        IcmpFate { delivered: true, .. } => {
            format!("{still}, although it was told by ICMP: it forbids fragmentation.")
        }
        IcmpFate { came_in: true, .. } => {
            format!("{still}: the ICMP message came in, but was not seen to reach the pod.")
        }
        IcmpFate { .. } => format!("{still}: no ICMP message tells it."),
    }
}

/// Where an ICMP message was dropped.
pub(super) fn filter(case: &Case<'_>, drop: &DropSeen) -> String {
    let stage = if places::stage(case, drop) == Stage::Pod { "inside the pod" } else { "on the node" };
    let by = match places::attribution(case, drop) {
        Attribution::Only { chain: Some(chain), .. } => format!(" by chain {chain}"),
        Attribution::Only { table, .. } => format!(" by table {table}"),
        _ => String::new(),
    };
    format!("{stage} at {}{by}", places::words(case, drop))
}

fn seconds(found: &TooBig) -> String {
    format!("{:.1} s", found.after.as_secs_f64())
}

/// What was seen, in order.
pub(in crate::verdict) fn evidence(case: &Case<'_>, found: &TooBig) -> Vec<(Mono, Stage, String)> {
    let (first, last) = (case.event.first, case.event.last);
    let mut list = Vec::new();
    match &found.kind {
        SizeKind::Here(drop) => {
            let text = format!(
                "kernel dropped a packet of {} bytes: {} in {}",
                drop.packet.length, drop.reason, drop.function
            );
            list.push((first, places::stage(case, drop), text));
        }
        SizeKind::Icmp(router) => {
            let text = format!(
                "ICMP from {router}: a packet of {} bytes is too big, {} bytes are the most",
                found.size, found.mtu
            );
            list.push((first, Stage::Upstream, text));
        }
        SizeKind::Sent(alive) => {
            let text = format!(
                "a segment was sent {} times and is not acknowledged; after it {} segments were (SACK), {} bytes of the \
                 connection before it",
                found.again + 1,
                alive.sacked,
                alive.acknowledged
            );
            list.push((last, Stage::Upstream, text));
        }
        SizeKind::Received(Gap::BeforeFin) => {
            let text = "the remote's FIN reached the pod and its socket did not take it".to_owned();
            list.push((first, Stage::Pod, text));
        }
        SizeKind::Received(Gap::BeforeSegments { ranges }) => {
            let text = format!("the socket holds {ranges} ranges of data behind a hole that stays");
            list.push((last, Stage::Pod, text));
        }
    }
    if let Some(router) = found.icmp.router {
        let said = |text: &str| format!("the ICMP message of {router} (MTU {}) {text}", found.mtu);
        if let Some(drop) = &found.icmp.dropped {
            let text = said(&format!("was dropped {}", filter(case, drop)));
            list.push((first, places::stage(case, drop), text));
        } else if found.icmp.delivered {
            list.push((first, Stage::Pod, said("reached the pod")));
        }
    }
    if found.again > 0 && !matches!(found.kind, SizeKind::Sent(_)) {
        let text = format!("the sender exceeded that again, {} times in {}", found.again, seconds(found));
        list.push((last, Stage::Pod, text));
    }
    list
}
