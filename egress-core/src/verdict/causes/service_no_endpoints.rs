//! `service-no-endpoints`: the Service that was dialled has nobody behind it, or the node does not forward to who is.

mod sight;
mod words;

use serde_json::json;

use self::sight::Sight;
use super::place;
use crate::flow::Outcome;
use crate::identity::{Behind, Door, Lack};
use crate::time::Mono;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Cause, Confidence, Direction, Stage};

/// kube-proxy follows a change of the endpoints within a few seconds.
const JUST_CHANGED: std::time::Duration = std::time::Duration::from_secs(5);

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    let behind = case.behind.filter(|_| case.direction == Direction::Egress)?;
    // A backend was chosen, so there was one.
    if case.translation.destination.is_some() {
        return None;
    }
    let sight = sight::of(case, behind)?;
    let (confidence, summary) = match &behind.lack {
        Some(lack) => (lacking(case, behind, lack, &sight), words::lacking(case, behind, lack, &sight)),
        None => (not_programmed(case, behind, &sight)?, words::not_programmed(case, behind, &sight)),
    };
    let stage = if sight.is_far(behind) { Stage::Upstream } else { Stage::Node };
    let mut judgement = Judgement::new(Cause::ServiceNoEndpoints, confidence, stage, summary);
    judgement = match &sight {
        Sight::Dropped(drop) | Sight::Unroutable(drop) => place::facts(judgement, case, drop),
        _ => judgement.at(words::place(case, behind, &sight)),
    };
    let names = match &case.event.outcome {
        Outcome::Dropped { names, .. } => names.as_slice(),
        Outcome::Dns(failure) => std::slice::from_ref(&failure.name),
        _ => &[],
    };
    if !names.is_empty() {
        judgement = judgement.with("names", place::list(names));
    }
    judgement = facts(judgement, behind).advise(words::fix(case, behind));
    if let Some(ago) = changed(case, behind) {
        judgement = judgement.hint(format!(
            "the Service or its endpoints changed {ago:.1} s from this failure: what holds now may not have held then"
        ));
    }
    if behind.lack.is_some() && case.denied() {
        let names: Vec<String> = case.policy.findings().map(|finding| finding.name.clone()).collect();
        judgement = judgement.hint(format!(
            "policies ({}) do not admit this traffic either: it will be dropped once the Service has endpoints",
            names.join(", ")
        ));
    }
    Some(judgement)
}

/// How sure it is that the failure comes from there being no endpoint.
fn lacking(case: &Case<'_>, behind: &Behind, lack: &Lack, sight: &Sight<'_>) -> Confidence {
    let doubtful = changed(case, behind).is_some()
        || (!behind.listed && *lack != Lack::NoSuchPort)
        // kube-proxy leads local clients of an external address to any endpoint, if it can tell who is local.
        || matches!(lack, Lack::NotLocal { .. } if behind.door != Door::ClusterIp)
        || behind.door == Door::External;
    match sight {
        // Another filter may have been first.
        Sight::Dropped(drop) if case.denied() && !sight::by_kube_proxy(case, drop) => Confidence::Likely,
        Sight::Vanished => Confidence::Likely,
        _ if doubtful || sight.is_far(behind) => Confidence::Likely,
        _ => Confidence::Certain,
    }
}

/// Endpoints take traffic, and the node did not forward to one.
fn not_programmed(case: &Case<'_>, behind: &Behind, sight: &Sight<'_>) -> Option<Confidence> {
    let bypass = |index| case.node.device(index).is_some_and(|device| device.bypass.is_some());
    let sure = match (sight, &behind.door) {
        (Sight::Left(left), Door::ClusterIp) if bypass(left.ifindex) => Confidence::Possible,
        (Sight::Left(_) | Sight::Unroutable(_), Door::ClusterIp) => Confidence::Certain,
        (Sight::Dropped(drop), _) if sight::by_kube_proxy(case, drop) && !case.denied() => Confidence::Likely,
        // Refused by the node itself, as a backend on the node's own network would: then it was forwarded.
        (Sight::Told | Sight::Refused, Door::ClusterIp | Door::NodePort { own: true, .. })
            if case.lost == 0 && !behind.usable.iter().any(|backend| case.node.is_own(backend.ip)) =>
        {
            Confidence::Likely
        }
        _ => return None,
    };
    let doubtful = changed(case, behind).is_some() || !behind.listed;
    Some(if doubtful && sure == Confidence::Certain { Confidence::Likely } else { sure })
}

/// Seconds between the failure and a change of the endpoints close to it.
fn changed(case: &Case<'_>, behind: &Behind) -> Option<f64> {
    let apart = |a: Mono, b: Mono| a.since(b).max(b.since(a));
    let at = behind.changed?;
    let between = apart(at, case.event.first).min(apart(at, case.event.last));
    (between < JUST_CHANGED || at > case.event.first).then_some(between.as_secs_f64())
}

fn facts(judgement: Judgement, behind: &Behind) -> Judgement {
    let mut judgement = judgement
        .with("kind", words::kind(behind.lack.as_ref()))
        .with("service", behind.service.reference().to_string())
        .with("ready", behind.usable.len())
        .with("not_ready", behind.unready.len());
    if let Some(selector) = &behind.service.selector {
        judgement = judgement.with("selector", words::labels(selector));
    }
    if !behind.selected.is_empty() {
        let pods: Vec<String> = behind.selected.iter().map(|(pod, why)| format!("{pod}: {why}")).collect();
        judgement = judgement.with("pods", json!(pods));
    }
    judgement
}
