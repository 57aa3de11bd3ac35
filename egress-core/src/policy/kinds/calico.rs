//! Calico's NetworkPolicy and GlobalNetworkPolicy: tiers in their order, in each tier policies in theirs, in each policy
//! the first rule that matches. NetworkPolicies of Kubernetes stand in the default tier at order 1000. What no policy
//! of a tier speaks of gets the tier's default action, if one of them governs the pod; what passes all tiers is up to
//! the profile of the pod's namespace (`kns.…`), which allows everything.

mod end;
mod entity;
mod forwarded;
mod order;
mod ports;
mod rule;
mod tier;

pub(in crate::policy) use entity::describe;

use std::sync::Arc;

use super::{Question, finding};
use crate::cluster::calico::{CalicoPolicy, Rule, Tier};
use crate::policy::ladder::{Ruling, Stage};
use crate::policy::outcomes::Outcomes;
use crate::truth::Truth;
use crate::verdict::{PolicyFinding, PolicyResult, Side};
use end::Ends;
use order::Entry;

/// Calico's policies and, among them, the NetworkPolicies.
pub(super) fn stage(question: &Question<'_>, network: Vec<Ruling>) -> Stage {
    let policies = question.policies::<CalicoPolicy>();
    let mut entries = Vec::new();
    let mut forwarded = Vec::new();
    let namespace = question.index.namespace(&question.pod.namespace).map(Arc::as_ref);
    let ends = Ends::of(question);
    for (policy, _) in &policies {
        let Some(rules) = rules(policy, question.side) else { continue };
        let selects = policy.selects_pod(question.pod, namespace);
        if policy.governs_pods() && selects != Truth::No {
            entries.push(Entry::of_policy(policy, selects, judge(policy, selects, rules, &ends, question)));
        } else if let Some(field) = policy.forwarded {
            forwarded.extend(forwarded::judge(policy, field, rules, &ends, question));
        }
    }
    entries.extend(network.into_iter().map(Entry::of_network_policy));
    let mut stage = order::climb(entries, question);
    if !forwarded.is_empty() {
        // The node's own policies have to let it through as well.
        stage.outcomes = stage.outcomes | Outcomes::DENY;
        stage.findings.append(&mut forwarded);
    }
    stage
}

/// Some policy of this tier certainly governs the pod.
pub(super) fn is_governed(question: &Question<'_>, tier: &str) -> bool {
    let namespace = question.index.namespace(&question.pod.namespace).map(Arc::as_ref);
    let governs = |policy: &CalicoPolicy| {
        policy.tier == tier
            && policy.governs_pods()
            && rules(policy, question.side).is_some()
            && policy.selects_pod(question.pod, namespace) == Truth::Yes
    };
    question.policies::<CalicoPolicy>().iter().any(|(policy, _)| governs(policy))
        || (tier == CalicoPolicy::DEFAULT_TIER && !super::networkpolicy::rulings(question).is_empty())
}

/// The rules for this side; `None` if the policy does not govern it.
fn rules(policy: &CalicoPolicy, side: Side) -> Option<&[Rule]> {
    match side {
        Side::Egress => policy.egress.as_deref(),
        Side::Ingress => policy.ingress.as_deref(),
    }
}

/// What a policy does with the traffic, with a sentence for each rule.
struct Judgement {
    outcomes: Outcomes,
    finding: PolicyFinding,
}

/// Rules beyond these are summed up in one sentence, unless they match.
const MAX_SENTENCES: usize = 50;

fn judge(
    policy: &CalicoPolicy,
    selects: Truth,
    rules: &[Rule],
    ends: &Ends<'_>,
    question: &Question<'_>,
) -> Judgement {
    let mut finding = finding(policy, question, PolicyResult::Undecidable);
    finding.why.push(selection(policy, question));
    if selects == Truth::Unknown {
        finding.why.push("whether it selects this pod depends on labels that are not known".into());
    }
    if let Some(why) = from_own_node(question) {
        finding.why.push(why);
        return Judgement { outcomes: Outcomes::ACCEPT, finding };
    }
    if rules.is_empty() {
        finding.why.push(format!("has no {} rules", question.side));
    }
    let judged: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(number, one)| (rule::compare(policy, number, one, ends, question), rule::outcome(one)))
        .collect();
    let mut outcomes = Outcomes::first_match(
        judged.iter().filter_map(|(compared, outcome)| Some((compared.truth, (*outcome)?))),
    );
    // Rules behind the first that matches are not asked.
    let decisive =
        judged.iter().position(|(compared, outcome)| compared.truth == Truth::Yes && outcome.is_some());
    let asked = decisive.map_or(judged.len(), |position| position + 1);
    let told = judged.iter().take(asked).enumerate();
    let (told, rest): (Vec<_>, Vec<_>) =
        told.partition(|(number, (compared, _))| *number < MAX_SENTENCES || compared.truth != Truth::No);
    finding.why.extend(told.into_iter().map(|(_, (compared, _))| compared.words.clone()));
    if !rest.is_empty() {
        finding.why.push(format!("{} more {} rules do not match it", rest.len(), question.side));
    }
    if selects == Truth::Unknown {
        outcomes = outcomes | Outcomes::UNMATCHED;
    }
    if question.side == Side::Ingress && question.is_own_node() == Truth::Unknown {
        outcomes = outcomes | Outcomes::ACCEPT;
    }
    Judgement { outcomes, finding }
}

/// Why the policy has a say, and when.
fn selection(policy: &CalicoPolicy, question: &Question<'_>) -> String {
    let mut conditions = Vec::new();
    if !policy.selector.is_all() {
        conditions.push(policy.selector.to_string());
    }
    if let Some(namespaces) = &policy.namespaces {
        conditions.push(format!("namespace {namespaces}"));
    }
    if let Some(accounts) = &policy.service_accounts {
        conditions.push(format!("service account {accounts}"));
    }
    let whom = match (conditions.is_empty(), question.side) {
        (true, _) if policy.namespace.is_empty() => "every pod".into(),
        (true, _) => format!("every pod of namespace {}", policy.namespace),
        (false, Side::Egress) => format!("this pod ({})", conditions.join(", ")),
        (false, Side::Ingress) => {
            format!("the destination pod {} ({})", question.pod.reference(), conditions.join(", "))
        }
    };
    let order = policy.order.map_or_else(|| "last".into(), |order| format!("order {order}"));
    let tier = if policy.tier == CalicoPolicy::DEFAULT_TIER {
        String::new()
    } else {
        format!("tier {}, ", policy.tier)
    };
    format!("selects {whom} for {} ({tier}{order})", question.side)
}

/// Calico lets a node reach its own pods, whatever the policies say. The other way they are asked.
fn from_own_node(question: &Question<'_>) -> Option<String> {
    let node = question.peer.node.as_ref().filter(|_| question.side == Side::Ingress)?;
    (question.is_own_node() == Truth::Yes).then(|| {
        format!("{} is the pod's own node ({}), which always reaches it", question.peer.ip, node.name)
    })
}
