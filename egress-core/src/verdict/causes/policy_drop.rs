//! `policy-drop`: a filter dropped it (or it vanished inside the node), and Kubernetes policies deny it.

use super::place::{self, owner::Owner, reject};
use crate::flow::Outcome;
use crate::policy::SideView;
use crate::verdict::case::Case;
use crate::verdict::judge::Judgement;
use crate::verdict::{Affects, Cause, Confidence, PolicyFinding, PolicyResult, Side, Stage};

pub(in crate::verdict) fn judge(case: &Case<'_>) -> Option<Judgement> {
    if !case.denied() {
        return None;
    }
    let dropped = case.filtered();
    let refusal = reject::local(case);
    let silent_dns = matches!(&case.event.outcome, Outcome::Dns(failure)
        if failure.outcome == crate::flow::DnsOutcome::Timeout && failure.facts.chain.is_empty())
        && never_left(case);
    if dropped.is_none() && refusal.is_none() && !case.vanished() && !silent_dns {
        return None;
    }
    let confidence = confidence(case);
    let stage = dropped.map_or(Stage::Node, |drop| place::stage(case, drop));
    let mut judgement = Judgement::new(Cause::PolicyDrop, confidence, stage, summary(case));
    judgement = match (dropped, refusal) {
        (Some(drop), _) => place::facts(judgement, case, drop),
        (None, Some(refusal)) => judgement
            .with("rejected_with", refusal.with)
            .at("rejected on the node, no drop event seen")
            .hint(format!("{} came back that no remote sent", refusal.words)),
        (None, None) => judgement.at("after leaving the pod, no drop event seen"),
    };
    if let Some(Owner { name, enforces_policies: false }) = dropped.and_then(|drop| place::owner(case, drop))
    {
        judgement = judgement.hint(format!(
            "the rule that dropped it is {name}'s, which enforces no policies: it has to go as well"
        ));
    }
    if let Outcome::Dropped { names, .. } = &case.event.outcome
        && !names.is_empty()
    {
        judgement = judgement.with("names", place::list(names));
    }
    let sides: Vec<Side> = case.policy.denying_sides().map(|(side, _)| side).collect();
    if let Some(side) = sides.first() {
        judgement = judgement.with("side", if sides.len() > 1 { "both" } else { side.as_str() });
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

/// Certain when the dropping chain or program is attributed: nothing else filters there.
fn confidence(case: &Case<'_>) -> Confidence {
    let attributed = case.filtered().is_some_and(|drop| place::attribution(case, drop).is_one());
    if attributed && !case.policy.undefined_protocol {
        Confidence::Certain
    } else if case.filtered().is_none() && case.lost > 0 {
        Confidence::Possible
    } else {
        Confidence::Likely
    }
}

fn denies(finding: &PolicyFinding) -> bool {
    matches!(finding.result, PolicyResult::DoesNotAdmit | PolicyResult::Denies)
}

/// A sentence for each side that denies.
fn summary(case: &Case<'_>) -> String {
    let sides: Vec<String> =
        case.policy.denying_sides().map(|(side, view)| sentence(case, side, view)).collect();
    match sides.as_slice() {
        [] => format!("Policies deny {}.", case.target()),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} And {} Both sides have to allow it.", rest.join(" ")),
    }
}

fn sentence(case: &Case<'_>, side: Side, view: &SideView) -> String {
    let word = side.as_str();
    let denying: Vec<&PolicyFinding> = view.policies.iter().filter(|finding| denies(finding)).collect();
    let what = if case.affects() == Affects::Dns { "DNS to " } else { "" };
    let target = case.target();
    let whose = if side == Side::Egress { "this pod" } else { "the destination pod" };
    // Of a rule that denies, the last sentence is the one that decides.
    if let Some(one) = denying.iter().find(|finding| finding.result == PolicyResult::Denies) {
        let selects = one.why.first().map_or("", String::as_str);
        let rule = one.why.last().map_or("", String::as_str);
        return format!("{} {} {selects}, and its {rule}.", one.kind, full_name(one));
    }
    match denying.as_slice() {
        [one] => {
            let selects =
                one.why.first().map_or_else(|| format!("selects {whose} for {word}"), String::clone);
            let rules = one.why.len().saturating_sub(1);
            let alone = if view.policies.len() == 1 {
                format!(" No other policy selects {whose}.")
            } else {
                String::new()
            };
            let empty = one.why.iter().any(|why| why.starts_with("has no "));
            let rules = if empty { 0 } else { rules };
            format!(
                "{} {} {selects} and none of its {rules} {word} rules admits {what}{target}.{alone}",
                one.kind,
                full_name(one),
            )
        }
        many => {
            let names: Vec<String> = many.iter().map(|finding| full_name(finding)).collect();
            format!(
                "{} policies select {whose} for {word} ({}) and none of their {word} rules admits {what}{target}.",
                many.len(),
                names.join(", "),
            )
        }
    }
}

fn full_name(finding: &PolicyFinding) -> String {
    match &finding.namespace {
        Some(namespace) => format!("{namespace}/{}", finding.name),
        None => finding.name.clone(),
    }
}
