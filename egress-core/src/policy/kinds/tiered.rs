//! The admin and the baseline tier: policies by priority, rules in their order, the first that matches decides.

mod rules;

use super::Question;
use crate::cluster::{Tier, TieredApi, TieredPolicy, TieredRule};
use crate::policy::ladder::{Stage, title, unasked};
use crate::policy::outcomes::Outcomes;
use crate::truth::Truth;
use crate::verdict::{PolicyFinding, PolicyResult, Side};

/// One policy's part in its tier.
struct Part {
    priority: u16,
    outcomes: Outcomes,
    finding: PolicyFinding,
}

/// What the policies of a tier say.
pub(super) fn stage(question: &Question<'_>, tier: Tier) -> Stage {
    let policies = question.policies::<TieredPolicy>();
    let chain = |wanted: fn(TieredApi) -> bool| {
        let mut parts: Vec<Part> = policies
            .iter()
            .filter(|(policy, _)| policy.tier == tier && wanted(policy.api))
            // A policy without rules for a direction does not affect it.
            .filter(|(policy, _)| !rules_of(policy, question.side).is_empty())
            .map(|(policy, selects)| part(policy, *selects, question))
            .collect();
        parts.sort_by_key(|part| part.priority);
        in_order(parts)
    };
    let (mut older, mut newer) =
        (chain(|api| api != TieredApi::Cluster), chain(|api| api == TieredApi::Cluster));
    older.findings.append(&mut newer.findings);
    // The two versions of the API do not say which of them is asked first.
    Stage { outcomes: Outcomes::in_any_order([older.outcomes, newer.outcomes]), findings: older.findings }
}

fn rules_of(policy: &TieredPolicy, side: Side) -> &[TieredRule] {
    match side {
        Side::Egress => &policy.egress,
        Side::Ingress => &policy.ingress,
    }
}

fn part(policy: &TieredPolicy, selects: Truth, question: &Question<'_>) -> Part {
    let (mut outcomes, why) = rules::judge(rules_of(policy, question.side), question);
    let mut finding = super::finding(policy, question, PolicyResult::NotApplicable);
    finding.why = vec![selection(policy, selects, question)];
    finding.why.extend(why);
    if selects == Truth::Unknown {
        outcomes = outcomes | Outcomes::UNMATCHED;
    }
    finding.result = result(outcomes);
    Part { priority: policy.priority, outcomes, finding }
}

fn result(outcomes: Outcomes) -> PolicyResult {
    let goes_on = Outcomes::PASS | Outcomes::UNMATCHED;
    match (outcomes.may(Outcomes::ACCEPT), outcomes.may(Outcomes::DENY), outcomes.may(goes_on)) {
        (true, false, false) => PolicyResult::Admits,
        (false, true, false) => PolicyResult::Denies,
        (false, false, _) => PolicyResult::NotApplicable,
        _ => PolicyResult::Undecidable,
    }
}

/// Why the policy has a say.
fn selection(policy: &TieredPolicy, selects: Truth, question: &Question<'_>) -> String {
    let whose = match question.side {
        Side::Egress => "this pod".to_owned(),
        Side::Ingress => format!("the destination pod {}", question.pod.reference()),
    };
    let place = match policy.tier {
        Tier::Admin => format!("admin tier, priority {}", policy.priority),
        Tier::Baseline => "baseline tier".to_owned(),
    };
    let verb = if selects == Truth::Unknown { "may select" } else { "selects" };
    format!("{verb} {whose} for {} ({place})", question.side)
}

/// The policies by priority. Which of several of one priority wins is not defined.
fn in_order(parts: Vec<Part>) -> Stage {
    let mut stage = Stage::empty();
    let mut decided_by: Option<String> = None;
    let mut parts = parts.into_iter().peekable();
    while let Some(first) = parts.next() {
        let mut group = vec![first];
        while let Some(next) = parts.next_if(|next| next.priority == group[0].priority) {
            group.push(next);
        }
        if !stage.outcomes.may(Outcomes::UNMATCHED) {
            group.iter_mut().for_each(|part| unasked(&mut part.finding, decided_by.as_deref()));
        }
        let outcomes = Outcomes::in_any_order(group.iter().map(|part| part.outcomes));
        if group.len() > 1 {
            tell_tie(&mut group, outcomes);
        }
        stage.outcomes = stage.outcomes.or_else(outcomes);
        if decided_by.is_none() && !stage.outcomes.may(Outcomes::UNMATCHED) {
            decided_by = group
                .iter()
                .find(|part| !part.outcomes.may(Outcomes::UNMATCHED))
                .map(|part| title(&part.finding));
        }
        stage.findings.extend(group.into_iter().map(|part| part.finding));
    }
    stage
}

/// Policies of one priority that decide differently leave it open.
fn tell_tie(group: &mut [Part], together: Outcomes) {
    let ends = [Outcomes::ACCEPT, Outcomes::DENY, Outcomes::PASS];
    if ends.into_iter().filter(|end| together.may(*end)).count() < 2 {
        return;
    }
    let names: Vec<String> = group.iter().map(|part| part.finding.name.clone()).collect();
    for part in group.iter_mut() {
        let matches = ends.into_iter().any(|end| part.outcomes.may(end));
        if matches && part.finding.result != PolicyResult::Undecidable {
            let others: Vec<&str> =
                names.iter().filter(|name| **name != part.finding.name).map(String::as_str).collect();
            part.finding.result = PolicyResult::Undecidable;
            part.finding.why.push(format!(
                "{} has the same priority {} and says otherwise: which of them wins is not defined",
                others.join(", "),
                part.priority
            ));
        }
    }
}
