//! Policies of HostEndpoints that govern what the node forwards: whether a HostEndpoint is there and selected is not
//! known, so where such a policy would not admit the traffic nothing can be said for certain.

use super::end::Ends;
use super::{Judgement, Question, judge as judge_rules};
use crate::cluster::calico::{CalicoPolicy, Forwarded, Rule};
use crate::policy::outcomes::Outcomes;
use crate::truth::Truth;
use crate::verdict::{PolicyFinding, PolicyResult};

/// What the policy may do at the node's devices; `None` where it does no harm there.
pub(super) fn judge(
    policy: &CalicoPolicy,
    field: Forwarded,
    rules: &[Rule],
    ends: &Ends<'_>,
    question: &Question<'_>,
) -> Option<PolicyFinding> {
    // Between two pods of one node no device of the node's is passed.
    let same_node = question.peer.pod.as_ref().is_some_and(|peer| peer.node == question.pod.node);
    if same_node {
        return None;
    }
    let Judgement { outcomes, mut finding } = judge_rules(policy, Truth::Yes, rules, ends, question);
    if !outcomes.may(Outcomes::DENY | Outcomes::UNMATCHED) {
        return None;
    }
    finding.result = PolicyResult::Undecidable;
    finding.why[0] = format!(
        "governs what nodes forward at HostEndpoints of {} ({}): whether this node has one is not known",
        policy.selector,
        field.field()
    );
    Some(finding)
}
