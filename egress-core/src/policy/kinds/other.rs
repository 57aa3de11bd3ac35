//! Policies of kinds that are not evaluated: they may admit and they may deny, before or after all others.

use super::{Question, finding};
use crate::cluster::OtherPolicy;
use crate::policy::ladder::Stage;
use crate::policy::outcomes::Outcomes;
use crate::verdict::{PolicyFinding, PolicyResult};

pub(super) fn stage(question: &Question<'_>) -> Stage {
    let policies = question.policies::<OtherPolicy>();
    if policies.is_empty() {
        return Stage::empty();
    }
    let findings = policies.iter().map(|(policy, _)| find(policy, question)).collect();
    // Where they stand in the order is as little known as what they say.
    let outcomes = Outcomes::ACCEPT | Outcomes::DENY | Outcomes::PASS;
    Stage { outcomes, findings }
}

fn find(policy: &OtherPolicy, question: &Question<'_>) -> PolicyFinding {
    let whom = if policy.namespace.is_empty() { "any pod" } else { "any pod of its namespace" };
    PolicyFinding {
        kind: policy.kind.clone(),
        name: policy.name.clone(),
        why: vec![format!("may select {whom} for {}", question.side), why(policy)],
        ..finding(policy, question, PolicyResult::Undecidable)
    }
}

fn why(policy: &OtherPolicy) -> String {
    let OtherPolicy { kind, api_version, name, unread, reason, .. } = policy;
    let reason = if reason.is_empty() { "`egress-agent status` says why" } else { reason };
    match (unread, name.is_empty()) {
        (false, _) => format!("{kind} of {api_version} is a kind that is not evaluated"),
        (true, false) => format!("it could not be read: {reason}"),
        (true, true) => format!("no {kind} of {api_version} can be read: {reason}"),
    }
}
