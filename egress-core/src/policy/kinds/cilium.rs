//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: a union in which rules that deny win.

mod entities;
mod names;
mod peers;
mod ports;
mod ranges;

pub(in crate::policy) use names::{Sight, sight};
pub(in crate::policy) use peers::describe;

use super::Question;
use super::compare::{Comparison, listed};
use crate::cluster::{CiliumPolicy, CiliumRule, CiliumSpec};
use crate::policy::ladder::Ruling;
use crate::truth::Truth;
use crate::verdict::{PolicyResult, Side};

/// Rules beyond these have no sentence, unless they match.
const MAX_SENTENCES: usize = 50;
/// How many peers are written out.
const MAX_DESCRIBED: usize = 4;

/// What every policy that selects the pod for this direction says.
pub(super) fn rulings(question: &Question<'_>) -> Vec<Ruling> {
    let policies = question.policies::<CiliumPolicy>();
    policies.iter().filter_map(|(policy, _)| rule_on(policy, question)).collect()
}

/// What one policy comes to.
struct Sum {
    admits: Truth,
    denies: Truth,
    isolates: Truth,
    /// Of rules that allow.
    allow: Vec<Comparison>,
    /// Of rules that deny.
    deny: Vec<Comparison>,
}

fn rule_on(policy: &CiliumPolicy, question: &Question<'_>) -> Option<Ruling> {
    let namespace = question.index.namespace(&question.pod.namespace).map(AsRef::as_ref);
    let mut sum = Sum {
        admits: Truth::No,
        denies: Truth::No,
        isolates: Truth::No,
        allow: Vec::new(),
        deny: Vec::new(),
    };
    let mut selectors = Vec::new();
    for (number, spec) in policy.specs.iter().enumerate() {
        let selects = spec.selector.matches_pod(question.pod, namespace);
        let (isolates, allow, deny) = of_side(spec, question.side);
        if selects == Truth::No || (!isolates && allow.is_empty() && deny.is_empty()) {
            continue;
        }
        selectors.push((selects, peers::describe_selector(&spec.selector)));
        let place = if policy.specs.len() > 1 { format!("spec {} ", number + 1) } else { String::new() };
        sum.isolates = sum.isolates.max(selects & isolates.into());
        for (rules, verb) in [(allow, "admits"), (deny, "denies")] {
            for (number, rule) in rules.iter().enumerate() {
                let judged = judge(&place, number, rule, verb, question);
                let matches = judged.truth & selects;
                if verb == "denies" {
                    sum.denies = sum.denies.max(matches);
                    sum.deny.push(judged);
                } else {
                    sum.admits = sum.admits.max(matches);
                    sum.allow.push(judged);
                }
            }
        }
    }
    if selectors.is_empty() {
        return None;
    }
    Some(sum.ruling(policy, &selectors, question))
}

/// Whom a policy selects, in words.
pub(in crate::policy) fn describe_subject(policy: &CiliumPolicy) -> String {
    let selectors = policy.specs.iter().map(|spec| peers::describe_selector(&spec.selector));
    listed(selectors.collect::<Vec<_>>().into_iter(), MAX_DESCRIBED)
}

fn of_side(spec: &CiliumSpec, side: Side) -> (bool, &[CiliumRule], &[CiliumRule]) {
    match side {
        Side::Egress => (spec.isolates_egress, &spec.egress, &spec.egress_deny),
        Side::Ingress => (spec.isolates_ingress, &spec.ingress, &spec.ingress_deny),
    }
}

impl Sum {
    fn ruling(self, policy: &CiliumPolicy, selectors: &[(Truth, String)], question: &Question<'_>) -> Ruling {
        let mut finding = super::finding(policy, question, self.result());
        finding.why = vec![selection(selectors, question)];
        if self.allow.is_empty() {
            finding.why.push(format!("has no {} rules that allow, so it admits nothing", question.side));
        }
        finding.why.extend(told(self.allow));
        finding.why.extend(told(self.deny));
        let mut ruling =
            Ruling { finding, admits: self.admits, denies: self.denies, isolates: self.isolates };
        if self.isolates == Truth::No && ruling.finding.result == PolicyResult::NotApplicable {
            ruling.finding.why.push("does not deny the rest (enableDefaultDeny is off)".into());
        }
        let own_node = question.is_own_node();
        if question.side == Side::Ingress && own_node == Truth::Yes {
            ruling.finding.result = PolicyResult::NotApplicable;
            ruling.finding.why.truncate(1);
            ruling.finding.why.push("Cilium always lets a pod's own node in".into());
            (ruling.admits, ruling.denies) = (Truth::Yes, Truth::No);
        } else if question.side == Side::Ingress && own_node == Truth::Unknown {
            if ruling.finding.result == PolicyResult::DoesNotAdmit {
                ruling.finding.result = PolicyResult::Undecidable;
                ruling.finding.why.push(
                    "it is not known which node the pod runs on, and Cilium always lets its own node in"
                        .into(),
                );
            }
            ruling.admits = ruling.admits.max(Truth::Unknown);
        }
        ruling
    }

    fn result(&self) -> PolicyResult {
        match (self.denies, self.admits, self.isolates) {
            (Truth::Yes, ..) => PolicyResult::Denies,
            (Truth::Unknown, ..) | (Truth::No, Truth::Unknown, _) => PolicyResult::Undecidable,
            (Truth::No, Truth::Yes, _) => PolicyResult::Admits,
            (Truth::No, Truth::No, Truth::Yes) => PolicyResult::DoesNotAdmit,
            (Truth::No, Truth::No, Truth::No) => PolicyResult::NotApplicable,
            (Truth::No, Truth::No, Truth::Unknown) => PolicyResult::Undecidable,
        }
    }
}

/// Sentences, those that match last: the last one is what decides.
fn told(mut judged: Vec<Comparison>) -> impl Iterator<Item = String> {
    let mut number = 0;
    judged.retain(|one| {
        number += 1;
        one.truth != Truth::No || number <= MAX_SENTENCES
    });
    judged.sort_by_key(|one| one.truth);
    judged.into_iter().map(|one| one.words)
}

/// Why the policy has a say.
fn selection(selectors: &[(Truth, String)], question: &Question<'_>) -> String {
    let whose = match question.side {
        Side::Egress => "this pod".to_owned(),
        Side::Ingress => format!("the destination pod {}", question.pod.reference()),
    };
    let certain = selectors.iter().any(|(selects, _)| *selects == Truth::Yes);
    let verb = if certain { "selects" } else { "may select" };
    let by: Vec<&str> = selectors.iter().map(|(_, words)| words.as_str()).collect();
    format!("{verb} {whose} ({}) for {}", by.join("; "), question.side)
}

/// A rule matches any of its peers and any of its ports.
fn judge(place: &str, number: usize, rule: &CiliumRule, verb: &str, question: &Question<'_>) -> Comparison {
    let kind = if verb == "denies" { "deny rule" } else { "rule" };
    let title = format!("{place}{} {kind} {}", question.side, number + 1);
    let has_ports = !rule.ports.is_empty() || !rule.icmps.is_empty();
    let (peers, who) = match &rule.peers {
        None if !has_ports => return Comparison::new(false, format!("{title} is empty: it {verb} nothing")),
        None => (Comparison::new(true, ""), "anyone".to_owned()),
        Some(listed_peers) if listed_peers.is_empty() => {
            return Comparison::new(false, format!("{title} has an empty list of peers: it {verb} nothing"));
        }
        Some(all) => (peers::compare(all, question), listed(all.iter().map(peers::describe), MAX_DESCRIBED)),
    };
    let (ports, beyond) = ports::compare(rule, question);
    let mut judged = Comparison::all(&[&peers, &ports]);
    if judged.truth == Truth::Yes && !rule.unknown.is_empty() {
        let words = format!("its {} is not evaluated", rule.unknown.join(", "));
        judged = Comparison::new(Truth::Unknown, words);
    }
    let mut judged = judged.after(format!(
        "{title} {verb} {} {} {who}",
        ports::describe(rule, question),
        question.preposition()
    ));
    let beyond: Vec<&str> = rule.beyond.iter().map(String::as_str).chain(beyond).collect();
    if judged.truth != Truth::No && !beyond.is_empty() && verb == "admits" {
        judged.words.push_str(&format!("; its {} may still refuse it", beyond.join(" and ")));
    }
    judged
}
