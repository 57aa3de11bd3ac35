//! One value of a rule against one of the flow, with the values in words: what all kinds have in common.

mod address;
mod domains;
mod peers;
mod ports;
mod selectors;

pub(super) use address::{compare_range, describe_block, name as address_name};
pub(super) use domains::compare_domains;
pub(in crate::policy) use peers::describe as describe_peers;
pub(super) use peers::{compare as compare_peers, listed};
pub(super) use ports::{compare as compare_ports, compare_one as compare_port, describe as describe_ports};
pub(super) use selectors::{compare_pods, describe_pods, mismatch, unresolved};

use crate::truth::Truth;

/// The answer of one comparison, and the values compared, in words.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) truth: Truth,
    /// Empty where there is nothing to add to the description of the rule.
    pub(super) words: String,
}

impl Comparison {
    pub(super) fn new(truth: impl Into<Truth>, words: impl Into<String>) -> Self {
        Self { truth: truth.into(), words: words.into() }
    }

    /// Any of them: the first of the strongest. Where several refuse, `none` says so in one.
    pub(super) fn any(mut all: Vec<Self>, none: impl FnOnce() -> String) -> Self {
        let truth = Truth::any(all.iter().map(|one| one.truth));
        if truth == Truth::No && all.len() != 1 {
            return Self::new(truth, none());
        }
        match all.iter().position(|one| one.truth == truth) {
            Some(position) => all.swap_remove(position),
            None => Self::new(truth, ""),
        }
    }

    /// All of them: the weakest, with the words of those that are as weak.
    pub(super) fn all(parts: &[&Self]) -> Self {
        let truth = parts.iter().map(|part| part.truth).min().unwrap_or(Truth::Yes);
        let facts: Vec<&str> = parts
            .iter()
            .filter(|part| part.truth == truth && !part.words.is_empty())
            .map(|part| part.words.as_str())
            .collect();
        Self::new(truth, facts.join(" and "))
    }

    /// `what` the rule does, and the values compared.
    pub(super) fn after(self, what: String) -> Self {
        let words = if self.words.is_empty() { what } else { format!("{what}; {}", self.words) };
        Self { truth: self.truth, words }
    }
}
