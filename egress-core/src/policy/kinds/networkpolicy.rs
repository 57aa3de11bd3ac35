//! `networking.k8s.io/v1` NetworkPolicy: isolation by selection, union of the rules.

mod peers;
mod ports;

pub(in crate::policy) use peers::{NAMESPACE_NAME, describe as describe_peers};

use super::Question;
use crate::cluster::{NetworkPolicy, Rule};
use crate::policy::truth::Truth;
use crate::verdict::{PolicyFinding, PolicyResult, Side};

/// Rules beyond these are summed up in one sentence, unless they admit.
const MAX_SENTENCES: usize = 50;

/// The answer of one comparison, and the values compared, in words.
pub(super) struct Comparison {
    truth: Truth,
    /// Empty where there is nothing to add to the description of the rule.
    words: String,
}

impl Comparison {
    fn new(truth: impl Into<Truth>, words: impl Into<String>) -> Self {
        Self { truth: truth.into(), words: words.into() }
    }
}

/// What every NetworkPolicy that isolates the pod in this direction says.
pub(super) fn findings(question: &Question<'_>) -> Vec<PolicyFinding> {
    let policies = question.index.network_policies_selecting(question.pod);
    policies
        .iter()
        .filter(|policy| isolates(policy, question.side))
        .map(|policy| find(policy, question))
        .collect()
}

/// This policy selects the pod and one of its rules admits the traffic.
pub(super) fn admits(policy: &NetworkPolicy, question: &Question<'_>) -> bool {
    policy.namespace == question.pod.namespace
        && policy.selector.matches(&question.pod.labels)
        && isolates(policy, question.side)
        && find(policy, question).result == PolicyResult::Admits
}

fn isolates(policy: &NetworkPolicy, side: Side) -> bool {
    match side {
        Side::Egress => policy.isolates_egress,
        Side::Ingress => policy.isolates_ingress,
    }
}

fn find(policy: &NetworkPolicy, question: &Question<'_>) -> PolicyFinding {
    let rules = match question.side {
        Side::Egress => &policy.egress,
        Side::Ingress => &policy.ingress,
    };
    let judged: Vec<Comparison> =
        rules.iter().enumerate().map(|(number, rule)| judge(policy, number, rule, question)).collect();
    let truth = Truth::any(judged.iter().map(|rule| rule.truth));
    let result = match truth {
        Truth::Yes => PolicyResult::Admits,
        Truth::No => PolicyResult::DoesNotAdmit,
        Truth::Unknown => PolicyResult::Undecidable,
    };
    let mut why = vec![selection(policy, question)];
    if rules.is_empty() {
        why.push(format!("has no {} rules, so it admits nothing", question.side));
    }
    let (told, rest) = judged.split_at(judged.len().min(MAX_SENTENCES));
    why.extend(told.iter().map(|rule| rule.words.clone()));
    why.extend(
        rest.iter().filter(|rule| rule.truth == truth && truth != Truth::No).map(|rule| rule.words.clone()),
    );
    if !rest.is_empty() {
        let more = rest.iter().filter(|rule| rule.truth == Truth::No).count();
        why.push(format!("{more} more {} rules do not admit it", question.side));
    }
    PolicyFinding {
        kind: "NetworkPolicy".into(),
        namespace: Some(policy.namespace.clone()),
        name: policy.name.clone(),
        side: question.side,
        result,
        why,
    }
}

/// Why the policy has a say.
fn selection(policy: &NetworkPolicy, question: &Question<'_>) -> String {
    let side = question.side;
    if policy.selector.is_empty() {
        return format!("selects every pod of namespace {} for {side}", policy.namespace);
    }
    match side {
        Side::Egress => format!("selects this pod ({}) for {side}", policy.selector),
        Side::Ingress => {
            format!(
                "selects the destination pod {} ({}) for {side}",
                question.pod.reference(),
                policy.selector
            )
        }
    }
}

/// A rule admits what matches any of its peers and any of its ports.
fn judge(policy: &NetworkPolicy, number: usize, rule: &Rule, question: &Question<'_>) -> Comparison {
    let peers = peers::compare(&rule.peers, &policy.namespace, question);
    let ports = ports::compare(&rule.ports, question);
    let truth = peers.truth & ports.truth;
    let preposition = match question.side {
        Side::Egress => "to",
        Side::Ingress => "from",
    };
    let what = format!(
        "{} rule {} admits {} {preposition} {}",
        question.side,
        number + 1,
        ports::describe(&rule.ports, question),
        peers::describe(&rule.peers, &policy.namespace),
    );
    let facts: Vec<&str> = [&peers, &ports]
        .into_iter()
        .filter(|part| part.truth == truth && !part.words.is_empty())
        .map(|part| part.words.as_str())
        .collect();
    let words = if facts.is_empty() { what } else { format!("{what}; {}", facts.join(" and ")) };
    Comparison { truth, words }
}
