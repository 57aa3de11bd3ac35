//! No route, or one that refuses.

use super::{capital, host, input, judgement, route_get, routed, what, whose};
use crate::decode::{DropSeen, IcmpError, Tap};
use crate::flow::DropRole;
use crate::node::{LinkState, Refusal, Routed, RoutingDecision};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::questions::refusal;
use crate::verdict::{Cause, Confidence, Stage};

/// Routing refused it, by the place of the drop.
pub(super) fn judge(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    if let Some(off) = switched_off(case, drop, role) {
        return Some(off);
    }
    let input = input(case, drop);
    let packet = routed(case, drop, input.as_deref());
    let decision = case.node.route(&packet);
    let says = Says::of(drop);
    let found = refusal(&decision);
    let (kind, confidence) = match (found, says) {
        (Some(found), says) if says.fits(found) => {
            (found, if decision.sure { Confidence::Certain } else { Confidence::Likely })
        }
        // A route whose device is going away is discarded as well, and the tables show nothing of that.
        (_, Says::Discarded) => return None,
        (_, Says::NoRoute) => (Refusal::NoRoute, Confidence::Likely),
        (_, Says::Prohibited) => (Refusal::Prohibit, Confidence::Likely),
        (_, Says::Refused) => (Refusal::Unreachable, Confidence::Possible),
    };
    let agreed = found == Some(kind);
    Some(refused(case, drop, role, &packet, &decision, kind, confidence, agreed))
}

#[expect(clippy::too_many_arguments, reason = "the facts of one sentence")]
fn refused(
    case: &Case<'_>,
    drop: &DropSeen,
    role: DropRole,
    packet: &Routed<'_>,
    decision: &RoutingDecision<'_>,
    kind: Refusal,
    confidence: Confidence,
    agreed: bool,
) -> Judgement {
    let to = packet.destination;
    let whose = whose(case, drop);
    let what = what(case, role);
    let check = route_get(packet);
    if kind == Refusal::NoRoute {
        if let Some((device, route)) = case.node.lost_route(to).filter(|_| agreed) {
            let summary = format!(
                "Device {device} is down, and {whose} has no route to {to} since: it dropped {what}. The route {} \
                 went with the device.",
                route.words(Some(device))
            );
            return judgement(case, drop, "link-down", confidence, summary)
                .with("route", route.words(Some(device)))
                .with("link", device)
                .advise(format!(
                    "Bring it up (ip link set {device} up) and put the route back; check with: {check}"
                ));
        }
        let summary = format!("{} has no route to {to}, and dropped {what}.", capital(whose));
        let mut judged =
            judgement(case, drop, kind.as_str(), confidence, summary).with("destination", to.to_string());
        if !agreed {
            judged = judged.hint("the routing tables as they were read have a route by now");
        }
        for down in case.node.devices().iter().filter(|device| device.link == LinkState::Down) {
            judged = judged.hint(format!("device {} is down: its routes went with it", down.name));
        }
        return judged.advise(format!(
            "Add the route that is missing (ip route add {} via GATEWAY dev DEVICE, or a default route), or find what \
             should have made it: the CNI, the node's network configuration, a routing daemon. Check with: {check}",
            host(to)
        ));
    }
    let (name, undo) = match (decision.route.filter(|_| agreed), decision.refusing_rule().filter(|_| agreed))
    {
        (Some(route), _) => {
            let words = route.words(None);
            (format!("route {words}"), format!("ip route del {words}"))
        }
        (None, Some((rule, _))) => {
            (format!("rule {rule}"), format!("ip rule del priority {}", rule.priority))
        }
        (None, None) => (
            format!("a {} route or rule that was not read", kind.as_str()),
            "ip rule; ip route show table all".to_owned(),
        ),
    };
    let summary = format!("On {whose} the {name} refuses {to}: it dropped {what}.");
    let mut judged = judgement(case, drop, kind.as_str(), confidence, summary);
    if agreed {
        judged = judged.with("route", name.trim_start_matches("route ").trim_start_matches("rule "));
    }
    if let Some(rule) = decision.policy().filter(|_| agreed) {
        judged =
            judged.with("rule", rule.to_string()).hint(format!("policy routing led there: ip rule {rule}"));
    }
    judged.advise(format!(
        "Take it out ({undo}) if it is not meant for this traffic, or add a more specific route; check with: {check}"
    ))
}

/// Forwarding, or IPv6, is switched off.
fn switched_off(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    let v6 = drop.packet.tuple.destination.ip.is_ipv6();
    let device = input(case, drop);
    let (sysctl, value, what_for) = match &*drop.reason {
        "IPV6DISABLED" => {
            let device = device.as_deref().unwrap_or("all").replace('.', "/");
            (format!("net.ipv6.conf.{device}.disable_ipv6"), "1", "IPv6 is switched off there")
        }
        // A link-local source is never forwarded, whatever the setting.
        "IP_INADDRERRORS" if v6 && is_link_local(drop) => return None,
        "IP_INADDRERRORS" if v6 => {
            ("net.ipv6.conf.all.forwarding".to_owned(), "0", "it does not forward IPv6")
        }
        "IP_INADDRERRORS" => ("net.ipv4.ip_forward".to_owned(), "0", "it does not forward IPv4"),
        _ => return None,
    };
    let by = device.map(|device| format!(" that came in by {device}")).unwrap_or_default();
    let summary = format!(
        "{} dropped {}{by}: {what_for} ({sysctl}={value}).",
        capital(whose(case, drop)),
        what(case, role)
    );
    let wanted = if value == "0" { "1" } else { "0" };
    Some(
        judgement(case, drop, "no-route", Confidence::Likely, summary)
            .with("sysctl", format!("{sysctl}={value}"))
            .advise(format!("Set it on the node: sysctl -w {sysctl}={wanted}, and find what switched it.")),
    )
}

fn is_link_local(drop: &DropSeen) -> bool {
    matches!(drop.packet.tuple.source.ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// An ICMP error of this node itself, whose drop was not seen: routing says which route it was.
pub(super) fn told(case: &Case<'_>, error: &IcmpError) -> Option<Judgement> {
    let input = case.event.journey.request(Tap::PodOut).and_then(|left| case.node.device_name(left.ifindex));
    let packet = Routed {
        source: error.about.source.ip,
        destination: error.about.destination.ip,
        input: input.as_deref(),
        mark: None,
    };
    let decision = case.node.route(&packet);
    let found = refusal(&decision)?;
    let fits = match (error.v6, error.kind, error.code) {
        (false, 3, 0) | (true, 1, 0) => matches!(found, Refusal::NoRoute | Refusal::Unreachable),
        (false, 3, 1) | (true, 1, 3) => found == Refusal::Unreachable,
        (false, 3, 13) | (true, 1, 1 | 6) => found == Refusal::Prohibit,
        _ => false,
    };
    if !fits {
        return None;
    }
    let to = packet.destination;
    let name = decision.route.map_or_else(
        || decision.refusing_rule().map_or_else(|| "no route".to_owned(), |(rule, _)| format!("rule {rule}")),
        |route| route.words(None),
    );
    let summary = format!(
        "This node itself answered that {} cannot be reached (ICMP type {} code {}): its routing says {name}.",
        case.target(),
        error.kind,
        error.code
    );
    Some(
        Judgement::new(Cause::RouteDrop, Confidence::Likely, Stage::Node, summary)
            .with("kind", found.as_str())
            .with("route", name)
            .with("destination", to.to_string())
            .advise(format!("Correct the node's routes or rules; check with: {}", route_get(&packet))),
    )
}

/// What the place of the drop alone says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    NoRoute,
    Discarded,
    Prohibited,
    Refused,
}

impl Says {
    fn of(drop: &DropSeen) -> Self {
        match (&*drop.reason, &*drop.function) {
            (_, "dst_discard" | "dst_discard_out") => Self::Discarded,
            (_, "ip6_pkt_prohibit" | "ip6_pkt_prohibit_out") => Self::Prohibited,
            // IPv4 tells a missing route by its reason; IPv6 drops missing and unreachable alike.
            ("NOT_SPECIFIED", "ip_error") => Self::Refused,
            _ => Self::NoRoute,
        }
    }

    fn fits(self, refusal: Refusal) -> bool {
        match self {
            Self::NoRoute => matches!(refusal, Refusal::NoRoute | Refusal::Unreachable),
            Self::Discarded => refusal == Refusal::Blackhole,
            Self::Prohibited => refusal == Refusal::Prohibit,
            // Before 5.17 a missing route has no reason of its own either.
            Self::Refused => true,
        }
    }
}
