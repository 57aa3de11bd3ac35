//! Which policy is asked when, and what becomes of those that are not.

use std::cmp::Ordering;

use super::tier::{self, Standing};
use super::{Judgement, Question};
use crate::cluster::ObjectKind;
use crate::cluster::Policy as _;
use crate::cluster::calico::{CalicoPolicy, Tier};
use crate::policy::ladder::{self, Ruling, Stage};
use crate::policy::outcomes::Outcomes;
use crate::truth::Truth;
use crate::verdict::{PolicyFinding, PolicyResult};

/// The order of a NetworkPolicy of Kubernetes, as Calico takes it in (`K8sNetworkPolicyOrder` is 1000).
const NETWORK_POLICY_ORDER: f64 = 1000.0;

/// A policy at its place.
pub(super) struct Entry {
    tier: String,
    /// The greatest where the policy has none.
    order: f64,
    kind: ObjectKind,
    name: String,
    /// It certainly governs the pod.
    certain: bool,
    outcomes: Outcomes,
    finding: PolicyFinding,
}

impl Entry {
    pub(super) fn tier(&self) -> &str {
        &self.tier
    }

    pub(super) fn of_policy(policy: &CalicoPolicy, selects: Truth, judgement: Judgement) -> Self {
        Self {
            tier: policy.tier.clone(),
            order: policy.order.unwrap_or(f64::INFINITY),
            kind: policy.kind(),
            name: policy.short_name().to_owned(),
            certain: selects == Truth::Yes,
            outcomes: judgement.outcomes,
            finding: judgement.finding,
        }
    }

    pub(super) fn of_network_policy(ruling: Ruling) -> Self {
        let outcomes = match ruling.admits {
            Truth::Yes => Outcomes::ACCEPT,
            Truth::Unknown => Outcomes::ACCEPT | Outcomes::UNMATCHED,
            Truth::No => Outcomes::UNMATCHED,
        };
        Self {
            tier: CalicoPolicy::DEFAULT_TIER.into(),
            order: NETWORK_POLICY_ORDER,
            kind: ObjectKind::NetworkPolicy,
            name: ruling.finding.name.clone(),
            certain: ruling.isolates == Truth::Yes,
            outcomes,
            finding: ruling.finding,
        }
    }
}

/// Asks tier after tier.
pub(super) fn climb(entries: Vec<Entry>, question: &Question<'_>) -> Stage {
    let mut stage = Stage::empty();
    let mut decided_by: Option<String> = None;
    for Standing { tier, mut entries, known } in tier::in_order(entries, question) {
        let asked = stage.outcomes.may(Outcomes::PASS | Outcomes::UNMATCHED);
        let governed = entries.iter().any(|entry| entry.certain);
        let mut outcomes = in_tier(&mut entries, &tier, asked, &mut decided_by);
        if outcomes.may(Outcomes::UNMATCHED) {
            let default = if tier.passes { Outcomes::PASS } else { Outcomes::DENY };
            outcomes = outcomes.or_else(if governed { default } else { default | Outcomes::PASS });
        }
        if !known {
            // Where the tier stands and what it does by default is not known.
            outcomes = outcomes | Outcomes::PASS;
        }
        stage.outcomes = stage.outcomes.then(outcomes);
        stage.findings.extend(entries.into_iter().map(|entry| entry.finding));
    }
    stage
}

/// Asks the policies of one tier. Policies of the same kind and order are asked by name; for policies of different kinds
/// that depends on Calico's version.
fn in_tier(entries: &mut [Entry], tier: &Tier, asked: bool, decided_by: &mut Option<String>) -> Outcomes {
    entries.sort_by(|a, b| place(a, b).then_with(|| (a.kind, &a.name).cmp(&(b.kind, &b.name))));
    let mut outcomes = Outcomes::UNMATCHED;
    for equals in entries.chunk_by_mut(|a, b| place(a, b) == Ordering::Equal) {
        let goes_on = asked && outcomes.may(Outcomes::UNMATCHED);
        let mut by_kind: Vec<Outcomes> = Vec::new();
        for alike in equals.chunk_by_mut(|a, b| a.kind == b.kind) {
            let mut of_kind = Outcomes::UNMATCHED;
            for entry in alike {
                // NetworkPolicies are a union: none of them comes before another.
                let in_union = entry.kind == ObjectKind::NetworkPolicy;
                if goes_on && (in_union || of_kind.may(Outcomes::UNMATCHED)) {
                    settle(entry, tier);
                } else {
                    ladder::unasked(&mut entry.finding, decided_by.as_deref());
                }
                of_kind = of_kind.or_else(entry.outcomes);
                let decides = !entry.outcomes.may(Outcomes::UNMATCHED | Outcomes::PASS);
                if decided_by.is_none() && decides && goes_on {
                    *decided_by = Some(ladder::title(&entry.finding));
                }
            }
            by_kind.push(of_kind);
        }
        outcomes = outcomes.or_else(Outcomes::in_any_order(by_kind));
    }
    outcomes
}

fn place(a: &Entry, b: &Entry) -> Ordering {
    a.order.total_cmp(&b.order)
}

/// What a policy that is asked says for itself.
fn settle(entry: &mut Entry, tier: &Tier) {
    if entry.kind == ObjectKind::NetworkPolicy {
        return;
    }
    let finding = &mut entry.finding;
    let outcomes = entry.outcomes;
    finding.result = if outcomes == Outcomes::ACCEPT {
        PolicyResult::Admits
    } else if outcomes == Outcomes::DENY {
        PolicyResult::Denies
    } else if outcomes == Outcomes::PASS {
        PolicyResult::NotApplicable
    } else if outcomes != Outcomes::UNMATCHED {
        PolicyResult::Undecidable
    } else if tier.passes {
        finding.why.push(format!("no rule matches, and tier {} passes on what none speaks of", tier.name));
        PolicyResult::NotApplicable
    } else {
        PolicyResult::DoesNotAdmit
    };
}
