//! The pod at the other end: whether it is ready, and which ports it declares.

use super::Surroundings;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Direction};

pub(super) fn hint(case: &Case<'_>, judgement: &mut Judgement, around: &Surroundings<'_>) {
    if case.direction != Direction::Egress
        || !matches!(judgement.cause, Cause::UpstreamTimeout | Cause::UpstreamRefused)
    {
        return;
    }
    let to = case.translation.destination.unwrap_or(case.event.client.destination);
    let Some(pod) = around.index.pod_by_ip(to.ip, case.event.first) else { return };
    let name = pod.reference();
    judgement.detail.insert("pod_ready".to_owned(), pod.ready.into());
    if !pod.ready {
        judgement
            .hints
            .push(format!("pod {name} is not ready: its readiness probe fails, too, or it is starting"));
    }
    let protocol = case.protocol();
    let declared: Vec<String> = pod
        .containers
        .iter()
        .flat_map(|container| &container.ports)
        .filter(|port| port.protocol == protocol)
        .map(|port| match &port.name {
            Some(name) => format!("{} ({name})", port.port),
            None => port.port.to_string(),
        })
        .collect();
    let declares = |port: u16| {
        pod.containers.iter().flat_map(|c| &c.ports).any(|p| p.port == port && p.protocol == protocol)
    };
    if !declared.is_empty() && !declares(to.port) {
        judgement.hints.push(format!("pod {name} declares port {}, not {}", declared.join(", "), to.port));
    }
}
