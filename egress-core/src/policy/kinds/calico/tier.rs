//! The tiers, in their order.

use super::order::Entry;
use super::{Question, Tier};
use crate::cluster::calico::CalicoPolicy;

/// A tier and its policies that govern the pod.
pub(super) struct Standing {
    pub(super) tier: Tier,
    pub(super) entries: Vec<Entry>,
    /// There is a Tier object, or it is the default tier.
    pub(super) known: bool,
}

/// The tiers of these policies: by order, those without one last, by name where orders are equal (`TierLess` of
/// `felix/calc/policy_sorter.go`). A tier without an object comes after all others there, too.
pub(super) fn in_order(entries: Vec<Entry>, question: &Question<'_>) -> Vec<Standing> {
    let mut standings: Vec<Standing> = Vec::new();
    for entry in entries {
        if let Some(standing) = standings.iter_mut().find(|standing| standing.tier.name == entry.tier()) {
            standing.entries.push(entry);
            continue;
        }
        let object = question.index.calico_tier(entry.tier());
        let default = (entry.tier() == CalicoPolicy::DEFAULT_TIER).then(Tier::default_tier);
        let known = object.is_some() || default.is_some();
        let unknown = || Tier { name: entry.tier().to_owned(), order: None, passes: false };
        let tier = object.map(|tier| (**tier).clone()).or(default).unwrap_or_else(unknown);
        standings.push(Standing { tier, entries: vec![entry], known });
    }
    standings.sort_by(|a, b| {
        let order = |standing: &Standing| standing.tier.order.unwrap_or(f64::INFINITY);
        let by_order = b.known.cmp(&a.known).then_with(|| order(a).total_cmp(&order(b)));
        by_order.then_with(|| a.tier.name.cmp(&b.tier.name))
    });
    standings
}
