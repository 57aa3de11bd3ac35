//! `networking.k8s.io/v1` NetworkPolicy: isolation by selection, union of the rules.

use super::compare::{Comparison, compare_peers, compare_ports, describe_peers, describe_ports};
use super::{Question, finding};
use crate::cluster::calico::CalicoPolicy;
use crate::cluster::{CiliumPolicy, NetworkPolicy, Rule};
use crate::policy::ladder::Ruling;
use crate::truth::Truth;
use crate::verdict::{PolicyFinding, PolicyResult, Side};

/// Rules beyond these are summed up in one sentence, unless they admit.
const MAX_SENTENCES: usize = 50;

/// What every NetworkPolicy that isolates the pod in this direction says.
pub(super) fn rulings(question: &Question<'_>) -> Vec<Ruling> {
    let policies = question.policies::<NetworkPolicy>();
    policies
        .iter()
        .filter(|(policy, _)| isolates(policy, question.side))
        .map(|(policy, _)| rule_on(policy, question))
        .collect()
}

fn isolates(policy: &NetworkPolicy, side: Side) -> bool {
    match side {
        Side::Egress => policy.isolates_egress,
        Side::Ingress => policy.isolates_ingress,
    }
}

fn rule_on(policy: &NetworkPolicy, question: &Question<'_>) -> Ruling {
    let mut finding = find(policy, question);
    match exemption(question) {
        Exemption::None => {}
        Exemption::Always(why) => {
            finding.result = PolicyResult::NotApplicable;
            finding.why.truncate(1);
            finding.why.push(why);
        }
        Exemption::Unknown(why) if finding.result == PolicyResult::DoesNotAdmit => {
            finding.result = PolicyResult::Undecidable;
            finding.why.push(why);
        }
        Exemption::Unknown(_) => {}
    }
    let admits = match finding.result {
        PolicyResult::Admits | PolicyResult::NotApplicable => Truth::Yes,
        PolicyResult::Undecidable => Truth::Unknown,
        PolicyResult::DoesNotAdmit | PolicyResult::Denies => Truth::No,
    };
    Ruling { finding, admits, denies: Truth::No, isolates: Truth::Yes }
}

/// Traffic that no NetworkPolicy can stop.
enum Exemption {
    None,
    Always(String),
    Unknown(String),
}

/// A pod cannot be cut off from its own node (NetworkPolicy documentation, "What you can't do with network policies").
fn exemption(question: &Question<'_>) -> Exemption {
    match (question.is_own_node(), &question.peer.node) {
        (Truth::Yes, _) if question.side == Side::Egress && question.index.has_policies::<CiliumPolicy>() => {
            Exemption::Unknown("Cilium, unlike the API, may keep a pod from its own node".into())
        }
        (Truth::Yes, _) if question.side == Side::Egress && question.has::<CalicoPolicy>() => {
            Exemption::Unknown("Calico, unlike the API, may keep a pod from its own node".into())
        }
        (Truth::Yes, Some(node)) => Exemption::Always(format!(
            "{} is the pod's own node ({}), and traffic between a pod and its own node is always allowed",
            question.peer.ip, node.name
        )),
        (Truth::Unknown, _) => Exemption::Unknown(
            "it is not known which node the pod runs on, and traffic with its own node is always allowed"
                .into(),
        ),
        _ => Exemption::None,
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
    PolicyFinding { why, ..finding(policy, question, result) }
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
    let peers = compare_peers(&rule.peers, &policy.namespace, question);
    let ports = compare_ports(&rule.ports, question);
    Comparison::all(&[&peers, &ports]).after(format!(
        "{} rule {} admits {} {} {}",
        question.side,
        number + 1,
        describe_ports(&rule.ports, question),
        question.preposition(),
        describe_peers(&rule.peers, &policy.namespace),
    ))
}
