//! `policy-drop`: a filter dropped it (or it vanished inside the node), and Kubernetes policies deny it.

use super::place;
use crate::decode::DropSite;
use crate::flow::Outcome;
use crate::node::Attribution;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Affects, Cause, Confidence, PolicyFinding, PolicyResult, Side, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    if !case.denied() {
        return None;
    }
    let dropped = case.filtered();
    let silent_dns = matches!(&case.event.outcome, Outcome::Dns(failure)
        if failure.outcome == crate::flow::DnsOutcome::Timeout)
        && never_left(case);
    if dropped.is_none() && !case.vanished() && !silent_dns {
        return None;
    }
    let confidence = confidence(case);
    let stage = dropped.map_or(Stage::Node, |drop| place::stage(case, drop));
    let mut judgement = Judgement::new(Cause::PolicyDrop, confidence, stage, summary(case));
    judgement = match dropped {
        Some(drop) => place::facts(judgement, case, drop),
        None => judgement.at("after leaving the pod, no drop event seen"),
    };
    if let Outcome::Dropped { names, .. } = &case.event.outcome
        && !names.is_empty()
    {
        judgement = judgement.with("names", place::list(names));
    }
    if let Some((side, _)) = case.policy.denying_sides().next() {
        judgement = judgement.with("side", side.as_str());
    }
    Some(judgement.fix(case.fix.clone()))
}

/// The question left the pod and was seen nowhere else.
fn never_left(case: &Case<'_>) -> bool {
    use crate::decode::Tap;
    let journey = &case.event.journey;
    journey.request(Tap::PodOut).is_some()
        && journey.request(Tap::UplinkOut).is_none()
        && journey.request(Tap::PodIn).is_none()
}

/// Certain when the dropping chain is attributed or nothing else on this node filters there.
fn confidence(case: &Case<'_>) -> Confidence {
    let Some(drop) = case.filtered() else { return Confidence::Likely };
    let attributed = matches!(place::attribution(case, drop), Attribution::Only { .. });
    let netfilter = matches!(drop.site, DropSite::Filter(_));
    if attributed && netfilter && !case.policy.undefined_protocol {
        Confidence::Certain
    } else {
        Confidence::Likely
    }
}

fn denies(finding: &PolicyFinding) -> bool {
    matches!(finding.result, PolicyResult::DoesNotAdmit | PolicyResult::Denies)
}

fn summary(case: &Case<'_>) -> String {
    let Some((side, view)) = case.policy.denying_sides().next() else {
        return format!("Policies deny {}.", case.target());
    };
    let word = side.as_str();
    let names: Vec<String> = view
        .policies
        .iter()
        .filter(|finding| denies(finding))
        .map(|finding| match &finding.namespace {
            Some(namespace) => format!("{namespace}/{}", finding.name),
            None => finding.name.clone(),
        })
        .collect();
    let kind = view.policies.iter().find(|f| denies(f)).map_or("NetworkPolicy", |finding| &finding.kind);
    let what = if case.affects() == Affects::Dns { "DNS to " } else { "" };
    let whose = if side == Side::Egress { "this pod" } else { "the destination pod" };
    match names.as_slice() {
        [one] => format!(
            "{kind} {one} selects {whose} for {word} and none of its {word} rules admits {what}{}.",
            case.target()
        ),
        many => format!(
            "{} policies select {whose} for {word} ({}) and none of their {word} rules admits {what}{}.",
            many.len(),
            many.join(", "),
            case.target()
        ),
    }
}
