//! `route-drop`: this machine has no way to route it, or refuses to.

mod back;
mod filter;
mod link;
mod neighbour;
mod pod;
mod refused;

use std::net::IpAddr;

use super::place;
use crate::decode::{DropSeen, DropSite};
use crate::flow::{DropRole, Outcome};
use crate::node::Routed;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage, questions};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    match &case.event.outcome {
        Outcome::Dropped { drop, role, .. } => dropped(case, drop, *role),
        Outcome::Unreachable { error, router } if case.node.is_own(*router) => refused::told(case, error),
        Outcome::Unroutable { refusal } => Some(pod::judge(case, *refusal)),
        Outcome::Unanswered => {
            neighbour::suspected(case).or_else(|| back::no_way_back(case)).or_else(|| back::lost(case))
        }
        _ => None,
    }
}

/// A table of the pod refused, and another leads there after all: no failure.
pub(in crate::verdict) fn is_routed(case: &Case<'_>) -> bool {
    matches!(case.event.outcome, Outcome::Unroutable { .. })
        && pod::answer(case).is_some_and(|answer| answer.refused.is_none())
}

fn dropped(case: &Case<'_>, drop: &DropSeen, role: DropRole) -> Option<Judgement> {
    let judgement = match drop.site {
        DropSite::Route => refused::judge(case, drop, role),
        DropSite::Neighbour => neighbour::judge(case, drop, role),
        DropSite::ReversePath => filter::reverse_path(case, drop, role),
        DropSite::Martian => filter::martian(case, drop, role),
        DropSite::Ttl => filter::time_to_live(case, drop),
        DropSite::Resource | DropSite::Other => link::judge(case, drop, role),
        _ => None,
    }?;
    Some(place::facts(judgement, case, drop))
}

/// A judgement of this kind.
fn judgement(
    case: &Case<'_>,
    drop: &DropSeen,
    kind: &str,
    confidence: Confidence,
    summary: String,
) -> Judgement {
    Judgement::new(Cause::RouteDrop, confidence, place::stage(case, drop), summary).with("kind", kind)
}

/// Whose routing it is, in words.
fn whose(case: &Case<'_>, drop: &DropSeen) -> &'static str {
    match place::stage(case, drop) {
        Stage::Pod => "the pod's own network namespace",
        Stage::Upstream => "the destination pod's network namespace",
        Stage::Node | Stage::Uplink => "this node",
    }
}

/// `the SYN to …`, `the SYN-ACK of …`.
fn what(case: &Case<'_>, role: DropRole) -> String {
    match role {
        DropRole::Opening => format!("the {} to {}", case.packet_word(), case.target()),
        DropRole::Reply => format!("the {} of {}", case.answer_words(), case.target()),
        DropRole::Data => format!("a segment of the connection to {}", case.target()),
    }
}

/// The packet as routing saw it.
fn routed<'a>(case: &Case<'_>, drop: &DropSeen, input: Option<&'a str>) -> Routed<'a> {
    questions::routed(case.event, drop, case.node, input)
}

/// Name of the device that a packet came in by.
fn input(case: &Case<'_>, drop: &DropSeen) -> Option<String> {
    questions::input(drop, case.node)
}

/// Name of the device of a drop.
fn device(case: &Case<'_>, drop: &DropSeen) -> String {
    questions::device_name(drop, case.node).unwrap_or_else(|| format!("device {}", drop.ifindex))
}

/// `ip route get …` for a person to repeat what the kernel did.
fn route_get(packet: &Routed<'_>) -> String {
    let family = if packet.destination.is_ipv6() { "-6 " } else { "" };
    let input = packet.input.map(|device| format!(" iif {device}")).unwrap_or_default();
    format!("ip {family}route get {} from {}{input}", packet.destination, packet.source)
}

/// The shortest prefix that a route to a single address would have.
fn host(ip: IpAddr) -> String {
    format!("{ip}/{}", if ip.is_ipv6() { 128 } else { 32 })
}

/// With a capital letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
