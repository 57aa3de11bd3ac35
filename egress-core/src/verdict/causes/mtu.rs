//! `mtu`: packets are larger than a link on their way takes, and the sender does not learn it or does not mind.

mod advice;
mod overlay;
mod words;

use crate::decode::DropSeen;
use crate::flow::{Outcome, SizeKind, TooBig};
use crate::verdict::case::Case;
use crate::verdict::causes::place;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

pub(in crate::verdict) use words::evidence;

/// The smallest MTU that IPv6 allows: with it packets pass wherever they can pass at all.
const SAFE: u32 = 1280;

/// Length of the TCP time stamp option, which most connections carry in every segment.
const TIMESTAMPS: u32 = 12;

/// What is to be said of a size problem.
struct Sizes<'a> {
    found: &'a TooBig,
    /// The packet that was too big, 0 where unknown.
    packet: u32,
    /// What it may measure, 0 where nobody said.
    mtu: u32,
    /// Device of the node (or pod) that is too narrow.
    device: Option<String>,
    /// The tunnel that carries the flow.
    overlay: Option<overlay::Overlay>,
}

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let Outcome::TooBig(found) = &case.event.outcome else { return None };
    let mut sizes = measure(case, found);
    let (stage, mut confidence) = match &found.kind {
        SizeKind::Here(drop) => {
            // These functions drop for other reasons too.
            let by_size = &*drop.reason == "PKT_TOO_BIG";
            if !by_size && sizes.mtu != 0 && sizes.packet != 0 && sizes.packet <= sizes.mtu {
                return None;
            }
            let sure = by_size || sizes.mtu != 0;
            (place::stage(case, drop), if sure { Confidence::Certain } else { Confidence::Likely })
        }
        SizeKind::Icmp(router) if case.node.is_own(*router) => (Stage::Node, Confidence::Certain),
        SizeKind::Icmp(_) => (Stage::Upstream, Confidence::Certain),
        SizeKind::Sent(alive) if alive.meanwhile() => (Stage::Upstream, Confidence::Likely),
        SizeKind::Sent(_) | SizeKind::Received(_) => (Stage::Upstream, Confidence::Possible),
    };
    // Silence says less where events were lost.
    if case.lost > 0 && matches!(found.kind, SizeKind::Sent(_) | SizeKind::Received(_)) {
        confidence = Confidence::Possible;
    }
    if matches!(found.kind, SizeKind::Sent(_) | SizeKind::Received(_))
        && let Some(overlay) = sizes.overlay.as_ref().filter(|overlay| overlay.is_too_wide())
    {
        // Nobody said a number, but the tunnel's header leaves no more room than this.
        sizes.mtu = overlay.room();
    }
    let summary = words::summary(case, &sizes);
    let mut judgement = Judgement::new(Cause::Mtu, confidence, stage, summary);
    judgement = judgement.with("kind", words::kind(found)).at(words::place(&sizes));
    for (key, value) in [("packet_size", sizes.packet), ("mtu", sizes.mtu), ("mss", found.mss)] {
        if value != 0 {
            judgement = judgement.with(key, value);
        }
    }
    if let Some(mtu) = case.pod_mtu {
        judgement = judgement.with("pod_mtu", mtu);
    }
    if let Some(device) = &sizes.device {
        judgement = judgement.with("device", device.clone());
    }
    match &found.kind {
        SizeKind::Here(drop) => {
            judgement = judgement.with("reason", &*drop.reason).with("function", &*drop.function);
        }
        SizeKind::Icmp(router) => judgement = judgement.with("router", router.to_string()),
        SizeKind::Sent(alive) => {
            judgement = judgement.with("direction", "sent").with("sacked", alive.sacked);
        }
        SizeKind::Received(_) => judgement = judgement.with("direction", "received"),
    }
    if !matches!(found.kind, SizeKind::Sent(_) | SizeKind::Received(_)) {
        judgement = judgement.with("icmp", words::fate(found));
    }
    if let Some(overlay) = &sizes.overlay {
        judgement = overlay.facts(judgement);
    }
    Some(advice::advise(case, &sizes, judgement))
}

/// Finds the numbers: of the packet, and of the device that is too narrow for it.
fn measure<'a>(case: &Case<'_>, found: &'a TooBig) -> Sizes<'a> {
    let overlay = overlay::of(case, found);
    let (device, limit) = match &found.kind {
        SizeKind::Here(drop) => narrow(case, drop),
        _ => (None, 0),
    };
    let mtu = if found.mtu == 0 { limit } else { found.mtu };
    Sizes { found, packet: packet_size(case, found), mtu, device, overlay }
}

/// The device that is too narrow, and its MTU where that is known.
fn narrow(case: &Case<'_>, drop: &DropSeen) -> (Option<String>, u32) {
    let of = |index| {
        let device = case.node.device(index);
        (device.map(|device| device.name.clone()), device.map_or(0, |device| device.mtu))
    };
    let inside = place::stage(case, drop) == Stage::Pod;
    match &*drop.function {
        // One end of a pair hands over to the other, which takes less.
        "__dev_forward_skb2" | "__dev_forward_skb" if inside => {
            let host = case.event.journey.request(crate::decode::Tap::PodOut);
            host.map_or((None, 0), |seen| of(seen.ifindex))
        }
        "__dev_forward_skb2" | "__dev_forward_skb" => {
            if drop.packet.tuple.destination.ip == case.pod.ip {
                (case.pod_device.clone(), case.pod_mtu.unwrap_or(0))
            } else {
                (case.node.device_name(drop.ifindex).map(|name| format!("the other end of {name}")), 0)
            }
        }
        _ if inside => (case.pod_device.clone(), case.pod_mtu.unwrap_or(0)),
        "br_dev_queue_push_xmit" | "br_nf_dev_queue_xmit" => of(drop.ifindex),
        _ if drop.dst_ifindex != 0 => of(drop.dst_ifindex),
        _ => of(drop.ifindex),
    }
}

/// The packet that was too big. A super-packet (GSO) is cut into segments later: then the segment counts.
fn packet_size(case: &Case<'_>, found: &TooBig) -> u32 {
    let source_mtu = match &found.kind {
        SizeKind::Here(drop) => case.node.device(drop.iif).map(|device| device.mtu),
        _ => None,
    };
    let most = source_mtu.filter(|mtu| *mtu != 0).or(case.pod_mtu);
    match found.size {
        0 => segment(case, found.mss),
        size if most.is_none_or(|most| size <= most) => size,
        _ if found.mss != 0 => segment(case, found.mss),
        _ => most.unwrap_or(0),
    }
}

/// The packet of a full segment; 0 if its size is not known.
fn segment(case: &Case<'_>, mss: u32) -> u32 {
    if mss == 0 {
        return 0;
    }
    let header = if case.event.client.source.ip.is_ipv4() { 40 } else { 60 };
    let bare = mss.saturating_add(header);
    // With time stamps a segment fills the packet that its sender believes in.
    case.pod_mtu.filter(|mtu| bare.saturating_add(TIMESTAMPS) == *mtu).unwrap_or(bare)
}
