//! The pod's own routing refuses: no packet is ever made, `connect` fails at once.

use super::host;
use crate::node::{Answer, Question, Refusal, RouteAnswer};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Stage};

/// What the pod's routing said when it was asked again.
pub(super) fn answer<'a>(case: &Case<'a>) -> Option<&'a RouteAnswer> {
    let asked = Question::Route { netns: case.event.netns, to: case.event.client.destination.ip };
    match case.readings.get(&asked) {
        Some(Answer::Route(answer)) => Some(answer),
        _ => None,
    }
}

pub(super) fn judge(case: &Case<'_>, seen: Refusal) -> Judgement {
    let to = case.event.client.destination.ip;
    let answer = answer(case);
    let confirmed = answer.and_then(|answer| answer.refused);
    let confidence = if confirmed.is_some() { Confidence::Certain } else { Confidence::Likely };
    let kind = confirmed.unwrap_or(seen);
    let family = if to.is_ipv6() { "-6 " } else { "" };
    let inside = format!("nsenter -t PID -n ip {family}route get {to}, with the PID of a process of the pod");
    let new = |kind: &str, summary: String| {
        Judgement::new(Cause::RouteDrop, confidence, Stage::Pod, summary)
            .with("kind", kind)
            .with("destination", to.to_string())
            .at("the pod's own routing")
    };
    let down = answer.map(|answer| answer.unusable.as_slice()).unwrap_or_default();
    let mut judged = match (kind, down, answer.and_then(|answer| answer.route.as_ref())) {
        (Refusal::NoRoute, [device, ..], _) => new(
            "link-down",
            format!(
                "{device} inside the pod is down, so that its network namespace has no route to {to}: connecting to {} \
                 fails before a packet is sent.",
                case.target()
            ),
        )
        .with("device", device.as_str())
        .advise(format!("Bring it up, or restart the pod and see what the CNI says (kubectl describe pod, the CNI's log): {inside}")),
        (Refusal::NoRoute, [], _) => new(
            kind.as_str(),
            format!(
                "The pod's own network namespace has no route to {to}: connecting to {} fails before a packet is sent.",
                case.target()
            ),
        )
        .advise(format!(
            "The pod lacks a route to {} (usually the default route that the CNI makes): restart the pod, see the CNI's \
             log, and look inside: {inside}",
            host(to)
        )),
        (kind, _, route) => {
            let name = route.map_or_else(|| format!("a route or rule of type {}", kind.as_str()), |route| route.words(None));
            let judged = new(
                kind.as_str(),
                format!(
                    "Inside the pod's own network namespace {name} refuses {to}: connecting to {} fails before a packet \
                     is sent.",
                    case.target()
                ),
            );
            let judged = if route.is_some() { judged.with("route", name.as_str()) } else { judged };
            judged.advise(format!(
                "Take it out inside the pod (ip {family}route del {name}): an init container, a sidecar or the CNI put it \
                 there; look with: {inside}"
            ))
        }
    };
    if confirmed.is_none() {
        judged = judged.hint("the pod's routes could not be read; this is what one of its tables answered");
    }
    judged
}
