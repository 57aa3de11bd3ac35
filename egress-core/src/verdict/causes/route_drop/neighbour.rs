//! The next hop's link-layer address cannot be found: nobody there answers ARP or neighbour solicitation.

use std::net::IpAddr;

use super::{device, input, judgement, routed, what};
use crate::decode::{DropSeen, Tap};
use crate::flow::DropRole;
use crate::node::{Answer, Question};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage, questions};

/// The kernel gave up on the neighbour and dropped what waited for it.
pub(super) fn judge(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    let index = if drop.ifindex == 0 { drop.dst_ifindex } else { drop.ifindex };
    let mut name = device(case, drop);
    if drop.netns == case.node.netns() {
        if let Some(link) = super::link::down(case, drop, role) {
            return Some(link);
        }
        if let Some(known) = case.node.device_name(index) {
            name = known;
        }
        let input = input(case, drop);
        let packet = routed(case, drop, input.as_deref());
        let decision = case.node.route(&packet);
        let route = decision.route.filter(|route| route.kind == "unicast" && route.device == index);
        let gateway = route.and_then(|route| route.gateway);
        let rule = decision.policy().filter(|_| route.is_some()).map(ToString::to_string);
        return Some(told(case, drop, role, &name, gateway, rule));
    }
    let asked = Question::Route { netns: drop.netns, to: drop.packet.tuple.destination.ip };
    let gateway = match case.readings.get(&asked) {
        Some(Answer::Route(answer)) => {
            if let Some(device) = &answer.device {
                name.clone_from(device);
            }
            answer.route.as_ref().and_then(|route| route.gateway)
        }
        _ => None,
    };
    Some(told(case, drop, role, &name, gateway, None))
}

fn told(
    case: &Case<'_>,
    drop: &DropSeen,
    role: DropRole,
    device: &str,
    gateway: Option<IpAddr>,
    rule: Option<String>,
) -> Judgement {
    let ip = gateway.unwrap_or(drop.packet.tuple.destination.ip);
    let summary = format!(
        "{} does not answer {} on {device}: the kernel gave up after its probes and dropped {}.",
        hop(ip, gateway, rule.as_deref()),
        protocol(ip),
        what(case, role)
    );
    let judged = judgement(case, drop, "neighbour", Confidence::Certain, summary);
    facts(judged, ip, gateway, device, rule)
}

/// The packet left the pod and was not seen to leave the node, and its next hop is being looked for, or was not found.
pub(super) fn suspected(case: &Case<'_>) -> Option<Judgement> {
    if !case.vanished() {
        return None;
    }
    let Question::Neighbour { netns, index, ip } = questions::next_hop(case.event, case.node)? else {
        return None;
    };
    if let Some(down) = super::link::suspected(case, index) {
        return Some(down);
    }
    let asked = Question::Neighbour { netns, index, ip };
    let Some(Answer::Neighbour { state }) = case.readings.get(&asked) else { return None };
    if !matches!(state.as_str(), "incomplete" | "failed") {
        return None;
    }
    let left = case.event.journey.request(Tap::PodOut)?;
    let input = case.node.device_name(left.ifindex);
    let (rule, route, _) = questions::forwarded_by(case.event, case.node, input.as_deref())?;
    let device = case.node.device_name(index).unwrap_or_else(|| format!("device {index}"));
    let summary = format!(
        "{} does not answer {} on {device} (its entry is {}), so the {} to {} waits in this node.",
        hop(ip, route.gateway, rule.as_deref()),
        protocol(ip),
        state.to_uppercase(),
        case.packet_word(),
        case.target()
    );
    let judged = Judgement::new(Cause::RouteDrop, Confidence::Likely, Stage::Node, summary)
        .with("kind", "neighbour")
        .with("device", device.as_str())
        .at(format!("neighbour resolution of {device}"));
    Some(facts(judged, ip, route.gateway, &device, rule))
}

fn facts(
    judged: Judgement,
    ip: IpAddr,
    gateway: Option<IpAddr>,
    device: &str,
    rule: Option<String>,
) -> Judgement {
    let mut judged = judged.with("neighbour", ip.to_string());
    if let Some(gateway) = gateway {
        judged = judged.with("gateway", gateway.to_string());
    }
    if let Some(rule) = rule {
        judged = judged.hint(format!("policy routing sends it there: ip rule {rule}")).with("rule", rule);
    }
    let family = if ip.is_ipv6() { "-6 " } else { "" };
    judged.advise(format!(
        "Check that {ip} is up and on the network of {device} (VLAN, cabling, security group of a virtual switch, a \
         wrong gateway address or static entry): ip {family}neigh show {ip} dev {device}"
    ))
}

fn hop(ip: IpAddr, gateway: Option<IpAddr>, rule: Option<&str>) -> String {
    match (gateway, rule) {
        (Some(_), Some(_)) => format!("The gateway {ip} that policy routing chose"),
        (Some(_), None) => format!("The gateway {ip}"),
        (None, _) => format!("The next hop {ip}, the destination itself,"),
    }
}

fn protocol(ip: IpAddr) -> &'static str {
    if ip.is_ipv6() { "neighbour solicitation" } else { "ARP" }
}
