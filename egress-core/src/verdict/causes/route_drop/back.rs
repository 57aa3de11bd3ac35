//! The answer has no way: from the other pod, or through the node to the client.

use super::route_get;
use crate::decode::Tap;
use crate::flow::Outcome;
use crate::node::{Answer, Question, Routed};
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::questions::refusal;
use crate::verdict::{Cause, Confidence, Direction, Stage};

/// The other pod got the packet, and has no route for its answer.
pub(super) fn no_way_back(case: &Case<'_>) -> Option<Judgement> {
    let delivered = case.event.journey.request(Tap::PodIn)?;
    let client = delivered.tuple.source.ip;
    let (netns, stage) = match case.direction {
        Direction::Egress => (case.peer_netns?, Stage::Upstream),
        Direction::Ingress => (case.pod_netns?, Stage::Pod),
    };
    let Some(Answer::Route(answer)) = case.readings.get(&Question::Route { netns, to: client }) else {
        return None;
    };
    let refusal = answer.refused?;
    let pod = case.peer.pod_ref().map_or_else(
        || "The destination pod".to_owned(),
        |pod| format!("Pod {}/{}", pod.namespace, pod.name),
    );
    let why = match (&answer.route, answer.unusable.as_slice()) {
        (Some(route), _) => format!("its route {} refuses", route.words(answer.device.as_deref())),
        (None, []) => "it has no route".to_owned(),
        (None, down) => format!("it has no route, and {} is down", down.join(", ")),
    };
    let summary =
        format!("{pod} got the {} from {client} and cannot answer: {why} {client}.", case.packet_word());
    Some(
        Judgement::new(Cause::RouteDrop, Confidence::Likely, stage, summary)
            .with("kind", refusal.as_str())
            .with("destination", client.to_string())
            .at("routing in the destination pod")
            .advise(format!(
                "Look at the routes inside the destination pod (nsenter -t PID -n ip route get {client}): the CNI \
                 should have made a default route there."
            )),
    )
}

/// The answer came to the node, which routes the pod's address elsewhere.
pub(super) fn lost(case: &Case<'_>) -> Option<Judgement> {
    if !matches!(case.event.outcome, Outcome::Unanswered) || case.direction != Direction::Egress {
        return None;
    }
    let journey = &case.event.journey;
    let answer = journey.answer(Tap::UplinkIn).or_else(|| journey.answer(Tap::PodOut))?;
    let left = journey.request(Tap::PodOut)?;
    if journey.answer(Tap::PodIn).is_some() {
        return None;
    }
    let client = &case.event.client;
    let input = case.node.device_name(answer.ifindex);
    let packet = Routed {
        source: client.destination.ip,
        destination: client.source.ip,
        input: input.as_deref(),
        mark: None,
    };
    let decision = case.node.route(&packet);
    let pods = case.node.device(left.ifindex)?;
    if decision.route.is_some_and(|route| route.device == pods.index || route.device == pods.master) {
        return None;
    }
    let kind = refusal(&decision).map_or("no-route", |refusal| refusal.as_str());
    let by = input.as_deref().unwrap_or("its uplink");
    let pod = client.source.ip;
    let instead = match (decision.route, decision.refusing_rule()) {
        (Some(route), _) => {
            let device = case.node.device_name(route.device);
            format!("its route to {pod} is {}", route.words(device.as_deref()))
        }
        (None, Some((rule, _))) => format!("its rule {rule} refuses it"),
        (None, None) => format!("it has no route to {pod}"),
    };
    let confidence = if decision.sure && case.lost == 0 { Confidence::Certain } else { Confidence::Likely };
    let summary = format!(
        "The answer of {} came in by {by} and was not delivered: the pod is behind {}, and this node lost the way \
         there: {instead}.",
        case.target(),
        pods.name
    );
    let mut judged = Judgement::new(Cause::RouteDrop, confidence, Stage::Node, summary)
        .with("kind", kind)
        .with("destination", pod.to_string())
        .with("device", pods.name.as_str())
        .at("routing of the answer");
    if let Some(route) = decision.route {
        let device = case.node.device_name(route.device);
        judged = judged.with("route", route.words(device.as_deref()));
    }
    Some(judged.advise(format!(
        "Put the pod's route back (ip route add {} dev {}): the CNI makes it when the pod starts, so restarting the pod \
         or the CNI agent does too; check with: {}",
        super::host(pod),
        pods.name,
        route_get(&packet)
    )))
}
