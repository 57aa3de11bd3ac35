//! Rules by name against the names that the pod was seen resolving to the other end's address.

use super::Comparison;
use super::selectors::unresolved;
use crate::policy::kinds::Question;
use crate::truth::Truth;
use crate::verdict::PeerKind;

/// Some name that leads to the other end, which has to be outside the cluster, matches.
pub(in crate::policy::kinds) fn compare_domains(
    question: &Question<'_>,
    matches: impl Fn(&str) -> bool,
) -> Comparison {
    let other = question.peer;
    match other.kind {
        PeerKind::External => {}
        PeerKind::Unresolved => return unresolved(other),
        _ => return Comparison::new(false, format!("{} is in the cluster, names are of outside", other.ip)),
    }
    if question.names.is_empty() {
        let words = format!("which name {} was resolved from was not seen", other.ip);
        return Comparison::new(Truth::Unknown, words);
    }
    match question.names.iter().rev().find(|name| matches(name)) {
        Some(name) => Comparison::new(true, format!("{} is {name}", other.ip)),
        None => {
            let names: Vec<&str> = question.names.iter().rev().map(String::as_str).collect();
            Comparison::new(false, format!("{} was resolved from {}", other.ip, names.join(", ")))
        }
    }
}
