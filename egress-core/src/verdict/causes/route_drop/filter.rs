//! What routing drops by a look at the packet: reverse-path filter, martian addresses, time to live.

use super::{device, judgement, what, whose};
use crate::decode::{DropSeen, Tap};
use crate::flow::DropRole;
use crate::node::{Answer, Question, Routed};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Confidence, questions};

/// The way back to the packet's source does not lead by the device it came in by.
pub(super) fn reverse_path(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    let device = device(case, drop);
    let (sysctl, value) = setting(case, drop, &device);
    let source = drop.packet.tuple.source.ip;
    let back =
        Routed { source: drop.packet.tuple.destination.ip, destination: source, input: None, mark: None };
    let decision = case.node.route(&back);
    let route = (drop.netns == case.node.netns()).then_some(decision.route).flatten();
    let way = match route {
        Some(route) if route.kind == "unicast" => {
            let name = case.node.device_name(route.device);
            format!("the route back to {source} is {}", route.words(name.as_deref()))
        }
        Some(route) => format!("the route back to {source} is {}", route.words(None)),
        None => format!("there is no route back to {source} by {device}"),
    };
    let mode = match value.as_deref() {
        Some("1") => format!(" ({sysctl}=1, strict)"),
        Some("2") => format!(" ({sysctl}=2, loose: any route would do)"),
        _ => String::new(),
    };
    let summary = format!(
        "The reverse-path filter of {} dropped {}, which came in by {device}: {way}{mode}.",
        whose(case, drop),
        what(case, role)
    );
    let mut judged = judgement(case, drop, "rp-filter", Confidence::Certain, summary)
        .with("device", device.as_str())
        .with("sysctl", value.as_deref().map_or_else(|| sysctl.clone(), |value| format!("{sysctl}={value}")));
    if let Some(route) = route {
        let name = case.node.device_name(route.device);
        judged = judged.with("route", route.words(name.as_deref()));
    }
    let loosen = if value.as_deref() == Some("2") {
        format!("Add a route to {source}")
    } else {
        format!("Route {source} by {device}, so that both ways are the same, or set {sysctl}=2 (loose)")
    };
    Some(judged.advise(format!("{loosen}; see where the kernel would answer to with: ip route get {source}")))
}

/// The sysctl that counts (the larger of the device's and that of all devices) and its value, if it could be read.
fn setting(case: &Case<'_>, drop: &DropSeen, device: &str) -> (String, Option<String>) {
    let read = |device: &str| {
        let asked = Question::Setting { netns: drop.netns, name: questions::rp_filter(device) };
        match case.readings.get(&asked) {
            Some(Answer::Setting { value }) => Some(value.clone()),
            _ => None,
        }
    };
    let (all, own) = (read("all"), read(device));
    if all > own { (questions::rp_filter("all"), all) } else { (questions::rp_filter(device), own) }
}

/// An address that cannot come by there.
pub(super) fn martian(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    let device = device(case, drop);
    let tuple = drop.packet.tuple;
    let (source, destination) = (tuple.source.ip, tuple.destination.ip);
    let whose = whose(case, drop);
    let (why, fix) = match &*drop.reason {
        // Somebody translated where it goes and not where it comes from.
        "IP_LOCAL_SOURCE" if source == destination => (
            format!(
                "it was sent back to {destination}, the pod that had sent it, with its own address as source"
            ),
            super::super::hairpin::masquerade(case),
        ),
        "IP_LOCAL_SOURCE" => (
            format!("its source {source} is an address of {whose} itself"),
            format!(
                "The address {source} is there twice: find where {whose} has it (ip -br addr | grep {source}; ip route \
                 show table local) and take it away (ip addr del {source}/32 dev DEVICE), or give the pod another."
            ),
        ),
        "IP_LOCALNET" => (
            format!("a loopback address ({source} → {destination}) must not come by a device"),
            format!("Send it from and to real addresses, or set net.ipv4.conf.{device}.route_localnet=1."),
        ),
        "IP_INVALID_DEST" => (
            format!("its destination {destination} is no address that can be routed"),
            "Correct the address that is dialled, or the rule that translates it to this one.".to_owned(),
        ),
        _ => (
            format!("its source {source} is no address that can be answered"),
            format!(
                "Correct the address that the sender uses (ip addr in its namespace), or what translates it to {source}."
            ),
        ),
    };
    let summary = format!(
        "{} came in by {device} and was dropped as a martian: {why}.",
        super::capital(&what(case, role))
    );
    Some(
        judgement(case, drop, "martian", Confidence::Certain, summary)
            .with("device", device.as_str())
            .with("source", source.to_string())
            .with("destination", destination.to_string())
            .advise(fix),
    )
}

/// Its time to live ended here.
pub(super) fn time_to_live(case: &Case<'_>, drop: &DropSeen) -> Option<Judgement> {
    let v6 = drop.packet.tuple.source.ip.is_ipv6();
    let word = if v6 { "hop limit" } else { "TTL" };
    let began = case.event.journey.request(Tap::PodOut).map(|left| left.ttl);
    let whose = whose(case, drop);
    let target = case.target();
    let packet = case.packet_word();
    let (summary, fix) = match began {
        // It lost hops inside this machine: it went round.
        Some(began) if began > drop.packet.ttl.saturating_add(2) => (
            format!(
                "The {packet} to {target} left the pod with {word} {began} and had {} left when {whose} dropped it: it \
                 went round in a loop.",
                drop.packet.ttl
            ),
            "Look for a route that leads back to where the packet came from (ip route get on each hop).".to_owned(),
        ),
        _ => (
            format!(
                "The {packet} to {target} reached {whose} with {word} {}, which leaves none for the next hop, and was \
                 dropped.",
                drop.packet.ttl
            ),
            if v6 {
                "Find what sets the hop limit so low: the program (IPV6_UNICAST_HOPS), net.ipv6.conf.*.hop_limit in \
                 the pod, or a rule that rewrites it; 64 is usual."
            } else {
                "Find what sets the TTL so low: the program (IP_TTL), net.ipv4.ip_default_ttl in the pod, or a rule \
                 that rewrites it; 64 is usual."
            }
            .to_owned(),
        ),
    };
    Some(judgement(case, drop, "ttl", Confidence::Certain, summary).with("ttl", drop.packet.ttl).advise(fix))
}
