//! The stages of one side, in their order, and what they come to.
//!
//! 1. the admin tier ([`admin`](super::kinds)), which may decide before everything else,
//! 2. the kinds of the network plugin, among them NetworkPolicy,
//! 3. the baseline tier, which is asked about what nobody spoke of.
//!
//! What none of them denies is allowed.

use super::model::SideView;
use super::outcomes::Outcomes;
use crate::truth::Truth;
use crate::verdict::{PolicyFinding, PolicyResult};

/// What the policies of a stage come to, and what each of them says.
pub(super) struct Stage {
    pub(super) outcomes: Outcomes,
    pub(super) findings: Vec<PolicyFinding>,
}

/// What one policy of a union says: the order among such policies does not matter.
pub(super) struct Ruling {
    pub(super) finding: PolicyFinding,
    /// One of its rules admits the traffic.
    pub(super) admits: Truth,
    /// One of its rules denies it, whatever others admit.
    pub(super) denies: Truth,
    /// What none of the union's policies admits is denied on account of this one.
    pub(super) isolates: Truth,
}

impl Stage {
    /// A stage without policies.
    pub(super) const fn empty() -> Self {
        Self { outcomes: Outcomes::UNMATCHED, findings: Vec::new() }
    }

    /// A union: a rule that denies wins, then one that admits; what is left is denied if a policy isolates the pod.
    pub(super) fn union(rulings: Vec<Ruling>) -> Self {
        let any = |one: fn(&Ruling) -> Truth| Truth::any(rulings.iter().map(one));
        let decided = [
            (any(|ruling| ruling.denies), Outcomes::DENY),
            (any(|ruling| ruling.admits), Outcomes::ACCEPT),
            (any(|ruling| ruling.isolates), Outcomes::DENY),
        ];
        Self {
            outcomes: Outcomes::first_match(decided),
            findings: rulings.into_iter().map(|ruling| ruling.finding).collect(),
        }
    }
}

/// Climbs the stages. Policies that are not asked any more have no say, and say so.
pub(super) fn climb(stages: impl IntoIterator<Item = Stage>) -> SideView {
    let mut outcomes = Outcomes::UNMATCHED;
    let mut policies: Vec<PolicyFinding> = Vec::new();
    let mut decided_by: Option<String> = None;
    for mut stage in stages {
        let goes_on = outcomes.may(Outcomes::PASS | Outcomes::UNMATCHED);
        if !goes_on {
            stage.findings.iter_mut().for_each(|finding| unasked(finding, decided_by.as_deref()));
        }
        outcomes = outcomes.then(stage.outcomes);
        decided_by = decided_by.or_else(|| decider(&stage.findings));
        policies.append(&mut stage.findings);
    }
    SideView { isolated: !policies.is_empty(), decision: outcomes.decision(), policies }
}

/// The policy is not asked because another decided before it.
pub(super) fn unasked(finding: &mut PolicyFinding, decided_by: Option<&str>) {
    finding.result = PolicyResult::NotApplicable;
    let by = decided_by.unwrap_or("a policy before it");
    finding.why.push(format!("is not asked: {by} decides before it"));
}

fn decider(findings: &[PolicyFinding]) -> Option<String> {
    let deciding =
        |finding: &&PolicyFinding| matches!(finding.result, PolicyResult::Admits | PolicyResult::Denies);
    let isolating = |finding: &&PolicyFinding| finding.result == PolicyResult::DoesNotAdmit;
    findings.iter().find(deciding).or_else(|| findings.iter().find(isolating)).map(title)
}

/// `AdminNetworkPolicy deny-metadata`, `NetworkPolicy default/deny-all`.
pub(super) fn title(finding: &PolicyFinding) -> String {
    match &finding.namespace {
        Some(namespace) => format!("{} {namespace}/{}", finding.kind, finding.name),
        None => format!("{} {}", finding.kind, finding.name),
    }
}
